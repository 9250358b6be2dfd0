// SPDX-License-Identifier: GPL-2.0
// Is left out of what is installed.
#include <linux/module.h>

int dt_lost(void);
int dt_lost(void)
{
	return 1;
}
EXPORT_SYMBOL_GPL(dt_lost);
MODULE_LICENSE("GPL");
