# Before every program on the machine. The login may come with any locale, any umask, and without /usr/sbin.
mask=$(umask)
umask 077
LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
# Not /tmp: that may be emptied by a service, or hold nothing that is larger than memory.
base=/var/tmp/.drivetrain-jobs-$(id -u)
