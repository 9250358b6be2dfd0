// SPDX-License-Identifier: GPL-2.0
/* The smallest module worth building against: it exports one function. */
#include <linux/module.h>
#include <linux/printk.h>

#include "hello.h"

int lab_hello(const char *who)
{
	pr_info("lab_hello: hello, %s\n", who);
	return 0;
}
EXPORT_SYMBOL_GPL(lab_hello);

static int __init hello_init(void)
{
	return lab_hello("kernel");
}

static void __exit hello_exit(void)
{
}

module_init(hello_init);
module_exit(hello_exit);
MODULE_DESCRIPTION("drivetrain lab: exports lab_hello()");
MODULE_VERSION("1.0");
MODULE_LICENSE("GPL");
