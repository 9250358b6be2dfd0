//! The packages of the train beyond the base: what a system boots and is managed with (BaseOS), and what a build
//! root for kernel modules has (AppStream).
//!
//! Debian's multiarch directories are compiled into its programs, and stay. Its alternatives become plain links.

use crate::repack::Package;

const EMPTY: Package = Package::EMPTY;

/// Bytecode for all modules, which an emulated machine would take long to make; it stands whatever the time of the
/// files is.
macro_rules! compiled {
    () => {
        "PYTHONHASHSEED=0 python3 -m compileall -q -s \"$PWD\" -p / --invalidation-mode unchecked-hash usr/lib >&2"
    };
}

/// BaseOS: command line tools, their libraries, RPM.
pub(crate) const TOOLS: &[Package] = &[
    // Command line tools.
    Package { name: "sed", debs: &["sed"], requires: &["filesystem"], ..EMPTY },
    Package { name: "grep", debs: &["grep"], requires: &["filesystem"], ..EMPTY },
    Package { name: "libsigsegv", debs: &["libsigsegv2"], ..EMPTY },
    Package { name: "mpfr", debs: &["libmpfr6"], ..EMPTY },
    Package { name: "readline", debs: &["libreadline8"], ..EMPTY },
    Package {
        name: "gawk",
        debs: &["gawk"],
        provides: &["/bin/awk"],
        script: "rm -rf etc; ln -s gawk usr/bin/awk",
        ..EMPTY
    },
    Package { name: "findutils", debs: &["findutils"], ..EMPTY },
    Package { name: "diffutils", debs: &["diffutils"], ..EMPTY },
    Package { name: "tar", debs: &["tar"], script: "rm -rf etc usr/sbin", ..EMPTY },
    Package { name: "gzip", debs: &["gzip"], ..EMPTY },
    Package { name: "xz", debs: &["xz-utils"], ..EMPTY },
    Package { name: "bzip2-libs", debs: &["libbz2-1.0"], ..EMPTY },
    Package { name: "bzip2", debs: &["bzip2"], ..EMPTY },
    Package { name: "zstd", debs: &["zstd"], ..EMPTY },
    Package { name: "cpio", debs: &["cpio"], script: "rm -rf usr/sbin", ..EMPTY },
    Package {
        name: "which",
        debs: &["debianutils"],
        version: Some("2.21"),
        script: "mv usr/bin/which.debianutils which; rm -rf usr; mkdir -p usr/bin; mv which usr/bin/which",
        ..EMPTY
    },
    Package { name: "bc", debs: &["bc"], ..EMPTY },
    Package { name: "less", debs: &["less"], script: "rm -rf usr/lib", ..EMPTY },
    Package { name: "file-libs", debs: &["libmagic1", "libmagic-mgc"], ..EMPTY },
    Package { name: "file", debs: &["file"], ..EMPTY },
    Package { name: "openssl", debs: &["openssl"], ..EMPTY },
    Package {
        name: "procps-ng",
        debs: &["procps"],
        script: "rm -rf etc usr/lib/sysctl.d",
        ..EMPTY
    },
    Package { name: "procps-ng-libs", debs: &["libproc2-0"], ..EMPTY },
    // Their libraries.
    Package { name: "libstdc++", debs: &["libstdc++6"], script: "rm -rf usr/share", ..EMPTY },
    Package { name: "libgomp", debs: &["libgomp1"], ..EMPTY },
    Package { name: "libxcrypt", debs: &["libcrypt1"], ..EMPTY },
    Package { name: "libdb", debs: &["libdb5.3"], ..EMPTY },
    Package { name: "audit-libs", debs: &["libaudit1"], ..EMPTY },
    Package { name: "libcap-ng", debs: &["libcap-ng0"], ..EMPTY },
    Package { name: "pam", debs: &["libpam0g"], ..EMPTY },
    Package { name: "popt", debs: &["libpopt0"], ..EMPTY },
    Package { name: "lua-libs", debs: &["liblua5.3-0"], ..EMPTY },
    Package { name: "sqlite-libs", debs: &["libsqlite3-0"], ..EMPTY },
    Package { name: "expat", debs: &["libexpat1"], ..EMPTY },
    Package { name: "libicu", debs: &["libicu72"], ..EMPTY },
    Package { name: "libxml2", debs: &["libxml2"], ..EMPTY },
    Package { name: "nettle", debs: &["libnettle8", "libhogweed6"], ..EMPTY },
    Package { name: "libarchive", debs: &["libarchive13"], ..EMPTY },
    Package { name: "elfutils-libelf", debs: &["libelf1"], ..EMPTY },
    Package { name: "elfutils-libs", debs: &["libdw1", "libasm1"], ..EMPTY },
    Package { name: "dbus-libs", debs: &["libdbus-1-3"], ..EMPTY },
    Package { name: "libblkid", debs: &["libblkid1"], ..EMPTY },
    Package { name: "libuuid", debs: &["libuuid1"], ..EMPTY },
    Package { name: "libmount", debs: &["libmount1"], ..EMPTY },
    Package { name: "libsmartcols", debs: &["libsmartcols1"], ..EMPTY },
    Package { name: "libfdisk", debs: &["libfdisk1"], ..EMPTY },
    Package { name: "ncurses-base", debs: &["libncursesw6", "ncurses-base"], script: "rm -rf etc", ..EMPTY },
    Package {
        name: "util-linux",
        debs: &["util-linux", "util-linux-extra", "mount", "fdisk"],
        requires: &["filesystem"],
        script: "rm -rf etc usr/lib/udev usr/lib/systemd usr/share",
        ..EMPTY
    },
    Package { name: "make", debs: &["make"], script: "rm -rf usr/include", ..EMPTY },
    Package { name: "jansson", debs: &["libjansson4"], ..EMPTY },
    Package {
        name: "binutils",
        debs: &["binutils", "binutils-common", "binutils-x86-64-linux-gnu", "libbinutils", "libctf0", "libctf-nobfd0"],
        script: "rm -rf etc usr/share usr/bin/*gp-* usr/bin/*gprofng* usr/lib/x86_64-linux-gnu/gprofng usr/bin/*dwp",
        ..EMPTY
    },
    Package { name: "bubblewrap", debs: &["bubblewrap"], script: "rm -rf usr/share", ..EMPTY },
    // RPM.
    Package { name: "fsverity-utils-libs", debs: &["libfsverity0"], ..EMPTY },
    Package {
        name: "rpm-libs",
        debs: &["librpm9", "librpmio9"],
        requires: &["rpm"],
        ..EMPTY
    },
    Package { name: "rpm-build-libs", debs: &["librpmbuild9"], ..EMPTY },
    Package { name: "rpm-sign-libs", debs: &["librpmsign9"], ..EMPTY },
    Package {
        name: "rpm",
        debs: &["rpm-common", "rpm", "rpm2cpio"],
        requires: &["bash", "coreutils"],
        script: "rm -rf etc usr/share
# Debian has its database in the home directory.
sed -i 's,^%_dbpath.*,%_dbpath /var/lib/rpm,' usr/lib/rpm/macros
find usr/lib/rpm/platform -mindepth 1 -maxdepth 1 ! -name 'x86_64-linux' ! -name 'noarch-linux' ! -name 'amd64-linux' -exec rm -rf {} +
cd usr/bin
for file in *; do case $file in rpm|rpmdb|rpmkeys|rpmquery|rpmverify|rpm2cpio|rpm2archive) ;; *) rm $file ;; esac; done
cd ../lib/rpm
for file in *; do case $file in macros|rpmrc|platform|rpmpopt*|rpmdb_*) ;; *) rm -rf $file ;; esac; done
mkdir -p macros.d ../../../var/lib/rpm",
        ..EMPTY
    },
];

/// BaseOS: dnf, systemd, the SSH server, the boot loader.
pub(crate) const SYSTEM: &[Package] = &[
    // dnf.
    Package { name: "libffi", debs: &["libffi8"], ..EMPTY },
    Package { name: "glib2", debs: &["libglib2.0-0"], script: "rm -rf usr/share", ..EMPTY },
    Package { name: "json-c", debs: &["libjson-c5"], ..EMPTY },
    Package { name: "libyaml", debs: &["libyaml-0-2"], ..EMPTY },
    Package { name: "libmodulemd", debs: &["libmodulemd2"], ..EMPTY },
    Package { name: "libcomps", debs: &["libcomps0"], ..EMPTY },
    Package { name: "libsolv", debs: &["libsolv1", "libsolvext1"], ..EMPTY },
    Package { name: "libassuan", debs: &["libassuan0"], ..EMPTY },
    Package { name: "npth", debs: &["libnpth0"], ..EMPTY },
    Package { name: "gnupg2", debs: &["gpg", "gpgconf", "gpg-agent"], script: "rm -rf etc usr/lib usr/share", ..EMPTY },
    Package { name: "gpgme", debs: &["libgpgme11"], requires: &["gnupg2"], ..EMPTY },
    Package { name: "libunistring", debs: &["libunistring2"], ..EMPTY },
    Package { name: "libidn2", debs: &["libidn2-0"], ..EMPTY },
    Package { name: "libtasn1", debs: &["libtasn1-6"], ..EMPTY },
    Package { name: "p11-kit", debs: &["libp11-kit0"], ..EMPTY },
    Package { name: "gnutls", debs: &["libgnutls30"], ..EMPTY },
    Package { name: "libcom_err", debs: &["libcom-err2"], ..EMPTY },
    Package { name: "keyutils-libs", debs: &["libkeyutils1"], ..EMPTY },
    Package {
        name: "krb5-libs",
        debs: &["libkrb5-3", "libk5crypto3", "libgssapi-krb5-2", "libkrb5support0"],
        ..EMPTY
    },
    Package { name: "libbrotli", debs: &["libbrotli1"], ..EMPTY },
    Package { name: "cyrus-sasl-lib", debs: &["libsasl2-2"], ..EMPTY },
    Package { name: "openldap", debs: &["libldap-2.5-0"], script: "rm -rf etc", ..EMPTY },
    Package { name: "libnghttp2", debs: &["libnghttp2-14"], ..EMPTY },
    Package { name: "libpsl", debs: &["libpsl5"], ..EMPTY },
    Package { name: "librtmp", debs: &["librtmp1"], ..EMPTY },
    Package { name: "libssh2", debs: &["libssh2-1"], ..EMPTY },
    Package { name: "libcurl", debs: &["libcurl3-gnutls"], ..EMPTY },
    Package { name: "librepo", debs: &["librepo0"], ..EMPTY },
    Package { name: "libdnf", debs: &["libdnf2", "libdnf2-common"], ..EMPTY },
    Package { name: "libtirpc", debs: &["libtirpc3"], script: "rm -rf etc", ..EMPTY },
    Package { name: "libnsl2", debs: &["libnsl2"], ..EMPTY },
    Package {
        name: "python3-libs",
        debs: &["libpython3.11-minimal", "libpython3.11-stdlib", "libpython3.11"],
        script: concat!(
            "rm -rf etc usr/share usr/lib/x86_64-linux-gnu/libpython3.11.a
cd usr/lib/python3.11
rm -rf test tkinter idlelib ensurepip lib2to3 turtledemo pydoc_data config-3.11-* lib-dynload/*test* lib-dynload/nis.*
cd ../../..\n",
            compiled!()
        ),
        ..EMPTY
    },
    Package {
        name: "python3",
        debs: &["python3.11-minimal", "python3-minimal"],
        provides: &["/usr/bin/python3", "python(abi) = 3.11"],
        requires: &["python3-libs"],
        script: "rm -rf etc usr/share usr/lib; rm -f usr/bin/py3*",
        ..EMPTY
    },
    Package { name: "python3-rpm", debs: &["python3-rpm"], requires: &["python3"], script: compiled!(), ..EMPTY },
    Package { name: "python3-gpg", debs: &["python3-gpg"], requires: &["python3"], script: compiled!(), ..EMPTY },
    Package {
        name: "python3-libcomps",
        debs: &["python3-libcomps"],
        requires: &["python3"],
        script: compiled!(),
        ..EMPTY
    },
    Package {
        name: "python3-libdnf",
        debs: &["python3-libdnf", "python3-hawkey"],
        provides: &["python3-hawkey"],
        requires: &["python3"],
        script: concat!("rm -rf usr/lib/python3/dist-packages/hawkey/test\n", compiled!()),
        ..EMPTY
    },
    Package {
        name: "python3-dnf",
        debs: &["python3-dnf"],
        requires: &[
            "python3",
            "python3-gpg",
            "python3-hawkey",
            "python3-libcomps",
            "python3-libdnf",
            "python3-rpm",
            "dnf-data",
        ],
        script: compiled!(),
        ..EMPTY
    },
    Package {
        name: "dnf-data",
        debs: &["dnf-data"],
        script: "rm -rf usr/lib/systemd etc/libreport etc/cron.daily
mkdir -p etc/dnf etc/yum.repos.d var/log var/cache/dnf
printf '[main]\\ngpgcheck=1\\ninstallonly_limit=3\\nclean_requirements_on_remove=True\\nbest=True\\nskip_if_unavailable=False\\n' >etc/dnf/dnf.conf",
        ..EMPTY
    },
    Package { name: "dnf", debs: &["dnf"], requires: &["python3-dnf"], ..EMPTY },
    // What boots.
    Package { name: "libapparmor", debs: &["libapparmor1"], ..EMPTY },
    Package { name: "libseccomp", debs: &["libseccomp2"], ..EMPTY },
    Package { name: "iptables-libs", debs: &["libip4tc2", "libxtables12"], script: "rm -rf etc", ..EMPTY },
    Package { name: "libargon2", debs: &["libargon2-1"], ..EMPTY },
    Package { name: "device-mapper-libs", debs: &["libdevmapper1.02.1"], ..EMPTY },
    Package { name: "cryptsetup-libs", debs: &["libcryptsetup12"], ..EMPTY },
    Package {
        name: "systemd",
        debs: &["systemd", "systemd-sysv", "libsystemd-shared"],
        requires: &["util-linux", "kmod", "setup"],
        keep: &["usr/lib/udev"],
        // kernel-install is the lab's, which does as RHEL's. Nothing of the rest has a place in a guest without D-Bus.
        script: "rm -rf usr/bin/kernel-install usr/lib/kernel etc/kernel usr/share etc/rc*.d etc/pam.d etc/X11 etc/xdg
rm -f usr/lib/tmpfiles.d/{x11,legacy,home,debian}.conf usr/lib/udev/rules.d/{70-uaccess,71-seat,73-seat-late,90-vconsole}.rules
mkdir -p var/log/journal etc/systemd/system etc/systemd/network usr/share/factory
rmdir var/log/journal",
        ..EMPTY
    },
    Package {
        name: "systemd-udev",
        debs: &["udev"],
        requires: &["systemd"],
        keep: &["usr/lib/udev"],
        script: "rm -rf usr/lib/udev/hwdb.d usr/share etc/init.d usr/lib/udev/rules.d/{80-debian-compat,60-persistent-alsa,78-sound-card,70-camera,60-fido-id,60-infiniband,60-sensor,70-joystick,70-mouse,70-touchpad,60-persistent-v4l,75-probe_mtd,60-autosuspend,73-special-net-names,64-btrfs}.rules",
        ..EMPTY
    },
    Package { name: "systemd-boot", debs: &["systemd-boot-efi", "systemd-boot"], script: "rm -rf etc usr/lib/systemd/system* usr/lib/systemd/systemd-bless-boot usr/share; find usr -name '*ia32*' -delete", ..EMPTY },
    Package {
        name: "e2fsprogs-libs",
        debs: &["libext2fs2", "libss2"],
        ..EMPTY
    },
    Package { name: "e2fsprogs", debs: &["e2fsprogs"], script: "rm -rf etc/cron.d usr/lib usr/share", ..EMPTY },
    Package { name: "cloud-utils-growpart", debs: &["cloud-guest-utils"], requires: &["util-linux", "gawk", "sed"], script: "rm -f usr/bin/{ec2metadata,vcs-run}", ..EMPTY },
    Package { name: "libbpf", debs: &["libbpf1"], ..EMPTY },
    Package { name: "libmnl", debs: &["libmnl0"], ..EMPTY },
    Package { name: "libmd", debs: &["libmd0"], ..EMPTY },
    Package { name: "libbsd", debs: &["libbsd0"], ..EMPTY },
    Package {
        name: "iproute",
        debs: &["iproute2"],
        script: "rm -rf etc usr/lib/tc; rm -rf usr/lib/*/tc; find usr -name tc -delete; rm -f usr/sbin/arpd usr/bin/{nstat,rdma,routel,lnstat,ctstat,rtstat}; rm -rf usr/share",
        ..EMPTY
    },
    Package { name: "libedit", debs: &["libedit2"], ..EMPTY },
    Package { name: "libcbor", debs: &["libcbor0.8"], ..EMPTY },
    Package { name: "libfido2", debs: &["libfido2-1"], ..EMPTY },
    Package { name: "tcp_wrappers-libs", debs: &["libwrap0"], script: "rm -rf etc", ..EMPTY },
    Package { name: "openssh", debs: &["openssh-client"], script: "mkdir keep; mv usr/bin/ssh-keygen keep; rm -rf etc usr; mkdir -p usr/bin etc/ssh; mv keep/* usr/bin/; rmdir keep", ..EMPTY },
    Package {
        name: "openssh-clients",
        debs: &["openssh-client"],
        requires: &["openssh"],
        script: "rm -rf etc usr/share usr/lib usr/bin/ssh-keygen",
        ..EMPTY
    },
    Package {
        name: "openssh-server",
        debs: &["openssh-server", "openssh-sftp-server"],
        requires: &["openssh", "systemd"],
        script: concat!(
            "rm -rf etc usr/share usr/lib/systemd
mkdir -p etc/ssh usr/lib/systemd/system/multi-user.target.wants
cat >etc/ssh/sshd_config <<'END-OF-FILE'\n",
            include_str!("../guest/sshd_config"),
            "END-OF-FILE\ncat >usr/lib/systemd/system/sshd.service <<'END-OF-FILE'\n",
            include_str!("../guest/sshd.service"),
            "END-OF-FILE\nln -s ../sshd.service usr/lib/systemd/system/multi-user.target.wants/"
        ),
        ..EMPTY
    },
    Package { name: "busybox", debs: &["busybox-static"], script: "rm -rf usr/share", ..EMPTY },
    Package {
        name: "dracut",
        version: Some("057"),
        requires: &["bash", "busybox", "coreutils", "cpio", "kmod", "zstd"],
        script: concat!(
            "mkdir -p usr/bin usr/lib/dracut
cat >usr/lib/dracut/init <<'END-OF-FILE'\n",
            include_str!("../guest/initramfs-init"),
            "END-OF-FILE\ncat >usr/bin/dracut <<'END-OF-FILE'\n",
            include_str!("../guest/dracut"),
            "END-OF-FILE\nchmod 755 usr/bin/dracut usr/lib/dracut/init"
        ),
        ..EMPTY
    },
    Package {
        name: "lab-kernel-install",
        provides: &["/bin/kernel-install"],
        requires: &["bash", "coreutils", "dracut", "sed"],
        script: concat!(
            "mkdir -p usr/bin; cat >usr/bin/kernel-install <<'END-OF-FILE'\n",
            include_str!("../guest/kernel-install"),
            "END-OF-FILE\nchmod 755 usr/bin/kernel-install"
        ),
        ..EMPTY
    },
];

/// AppStream: compilers, headers, rpmbuild.
pub(crate) const TOOLCHAIN: &[Package] = &[
    Package { name: "libmpc", debs: &["libmpc3"], ..EMPTY },
    Package { name: "isl", debs: &["libisl23"], ..EMPTY },
    Package {
        name: "cpp",
        debs: &["cpp-12", "cpp"],
        script: "ln -s x86_64-linux-gnu-cpp-12 usr/lib/cpp 2>&- || :",
        ..EMPTY
    },
    Package {
        name: "gcc",
        debs: &["gcc-12", "gcc", "libgcc-12-dev", "libcc1-0"],
        requires: &["binutils", "cpp", "glibc-devel", "libgomp"],
        script: "rm -rf usr/share usr/bin/*lto-dump* usr/bin/*gcov-{tool,dump}*; ln -s gcc usr/bin/cc; ln -s gcc usr/bin/c99
cd usr/lib/gcc/x86_64-linux-gnu/12; rm -f lto1 lib{asan,tsan,lsan,ubsan,itm,quadmath,hwasan}.* *san_preinit.o",
        ..EMPTY
    },
    Package {
        name: "kernel-headers",
        debs: &["linux-libc-dev"],
        script: "rm -rf usr/lib",
        ..EMPTY
    },
    Package {
        name: "libxcrypt-devel",
        debs: &["libcrypt-dev"],
        script: "find . -name '*.a' -delete",
        ..EMPTY
    },
    Package {
        name: "glibc-devel",
        debs: &["libc6-dev"],
        provides: &["glibc-headers"],
        requires: &["glibc", "kernel-headers", "libxcrypt-devel"],
        script: "rm -rf usr/bin; rm -f usr/lib/x86_64-linux-gnu/lib{c,m-2.36,mvec,resolv}.a",
        ..EMPTY
    },
    Package { name: "zlib-devel", debs: &["zlib1g-dev"], requires: &["zlib"], script: "find . -name '*.a' -delete", ..EMPTY },
    Package {
        name: "elfutils-libelf-devel",
        debs: &["libelf-dev"],
        requires: &["elfutils-libelf", "zlib-devel"],
        script: "find . -name '*.a' -delete",
        ..EMPTY
    },
    Package {
        name: "openssl-devel",
        debs: &["libssl-dev"],
        requires: &["openssl-libs"],
        script: "find . -name '*.a' -delete",
        ..EMPTY
    },
    Package { name: "elfutils", debs: &["elfutils"], ..EMPTY },
    Package { name: "debugedit", debs: &["debugedit"], ..EMPTY },
    Package { name: "patch", debs: &["patch"], ..EMPTY },
    Package { name: "hiredis", debs: &["libhiredis0.14"], ..EMPTY },
    Package { name: "ccache", debs: &["ccache"], script: "rm -rf usr/sbin", ..EMPTY },
    Package {
        name: "perl-interpreter",
        debs: &["perl-base"],
        provides: &["/usr/bin/perl", "perl"],
        ..EMPTY
    },
    Package {
        name: "redhat-rpm-config",
        version: Some("210"),
        noarch: true,
        script: "mkdir -p usr/lib/rpm/macros.d; printf '%%_vendor redhat\\n%%rhel 9\\n%%dist .el9\\n%%_unitdir /usr/lib/systemd/system\\n%%_udevrulesdir /usr/lib/udev/rules.d\\n%%_modulesloaddir /usr/lib/modules-load.d\\n' >usr/lib/rpm/macros.d/macros.redhat",
        ..EMPTY
    },
    Package {
        name: "rpm-build",
        debs: &["rpm"],
        requires: &[
            "rpm",
            "binutils",
            "bzip2",
            "cpio",
            "debugedit",
            "diffutils",
            "elfutils",
            "file",
            "findutils",
            "gawk",
            "grep",
            "gzip",
            "make",
            "patch",
            "perl-interpreter",
            "redhat-rpm-config",
            "sed",
            "tar",
            "util-linux",
            "which",
            "xz",
            "zstd",
        ],
        script: "rm -rf usr/share
cd usr/bin
for file in *; do case $file in rpm|rpmdb|rpmkeys|rpmquery|rpmverify|rpmsign|rpmgraph) rm $file ;; esac; done
cd ../lib/rpm
rm -rf rpmpopt* rpmdb_*",
        ..EMPTY
    },
];
