// SPDX-License-Identifier: GPL-2.0
// Waits for what never comes.
#include <linux/completion.h>
#include <linux/module.h>

static DECLARE_COMPLETION(dt_never);

static int __init dt_hang_init(void)
{
	wait_for_completion(&dt_never);
	return 0;
}

module_init(dt_hang_init);
MODULE_LICENSE("GPL");
