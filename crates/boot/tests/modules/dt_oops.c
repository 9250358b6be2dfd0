// SPDX-License-Identifier: GPL-2.0
// Reads where nothing is.
#include <linux/module.h>

static int __init dt_oops_init(void)
{
	return READ_ONCE(*(int *)8);
}

module_init(dt_oops_init);
MODULE_LICENSE("GPL");
