// SPDX-License-Identifier: GPL-2.0
// Loads, says so, and has something that others use.
#include <linux/module.h>

int dt_answer(void);
int dt_answer(void)
{
	return 42;
}
EXPORT_SYMBOL_GPL(dt_answer);

static int __init dt_good_init(void)
{
	pr_info("dt_good: here\n");
	return 0;
}

static void __exit dt_good_exit(void)
{
}

module_init(dt_good_init);
module_exit(dt_good_exit);
MODULE_VERSION("1");
MODULE_LICENSE("GPL");
