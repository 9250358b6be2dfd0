// SPDX-License-Identifier: GPL-2.0
// Needs the module that is left out.
#include <linux/module.h>

int dt_lost(void);

static int __init dt_orphan_init(void)
{
	return dt_lost() - 1;
}

module_init(dt_orphan_init);
MODULE_LICENSE("GPL");
