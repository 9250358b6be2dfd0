// SPDX-License-Identifier: GPL-2.0
/* Does not compile, on the line that says so: triage has to report exactly broken.c:9. */
#include <linux/module.h>
#include <linux/netdevice.h>

static int __init broken_init(void)
{
	struct net_device *dev = NULL;
	return dev->no_such_member_in_any_kernel;
}

module_init(broken_init);
MODULE_LICENSE("GPL");
