// SPDX-License-Identifier: GPL-2.0
// Uses dt_good, and a module of the kernel's own tree.
#include <linux/crc-itu-t.h>
#include <linux/module.h>

int dt_answer(void);

static int __init dt_user_init(void)
{
	WARN(crc_itu_t(0, "x", 1) != dt_answer(), "dt_user: a warning on purpose\n");
	return 0;
}

static void __exit dt_user_exit(void)
{
}

module_init(dt_user_init);
module_exit(dt_user_exit);
MODULE_LICENSE("GPL");
