// SPDX-License-Identifier: GPL-2.0
// Takes the whole machine down.
#include <linux/module.h>
#include <linux/panic.h>

static int __init dt_panic_init(void)
{
	panic("dt_panic: on purpose");
	return 0;
}

module_init(dt_panic_init);
MODULE_LICENSE("GPL");
