// SPDX-License-Identifier: GPL-2.0
/* Uses the function that lab_hello exports: it builds only against hello-kmod-devel. */
#include <linux/module.h>

#include <hello.h>

static int __init hello_user_init(void)
{
	return lab_hello("dependent module");
}

static void __exit hello_user_exit(void)
{
}

module_init(hello_user_init);
module_exit(hello_user_exit);
MODULE_DESCRIPTION("drivetrain lab: calls lab_hello()");
MODULE_VERSION("1.0");
MODULE_LICENSE("GPL");
