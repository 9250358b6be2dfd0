//! A component that does not compile for some kernels.

use std::path::PathBuf;
use std::process::Command;

use super::{Kernel, Site};

/// A component like the lab's that does not compile, for these kernels.
pub fn picky(site: &Site, not_for: &[&Kernel]) -> PathBuf {
    let top = site.path("rpmbuild");
    drop(std::fs::remove_dir_all(&top));
    for name in ["SOURCES/picky", "SPECS", "SRPMS"] {
        std::fs::create_dir_all(top.join(name)).unwrap();
    }
    let script = format!(
        "cd {top}/SOURCES && rpm2cpio {trap} | cpio -i --quiet && tar -xzf broken-kmod-1.0.tgz && mv \
         broken-kmod-1.0 picky-kmod-1.0 && sed 's/broken/picky/g' broken-kmod.spec >../SPECS/picky-kmod.spec && \
         cd picky-kmod-1.0 && sed -i 's/broken/picky/g' * && rm broken.c && printf '%s' \"$SOURCE\" >picky.c && echo 'ccflags-y += \
         $(if $(filter {releases},$(KERNELRELEASE)),-DMEMBER_IS_GONE)' >>$(ls Kbuild Makefile 2>/dev/null | head -n 1) && cd .. && \
         tar -czf picky-kmod-1.0.tgz picky-kmod-1.0",
        top = top.display(),
        trap = site.trap("broken-kmod").display(),
        releases = not_for.iter().map(|kernel| kernel.release.as_str()).collect::<Vec<_>>().join(" "),
    );
    let source = "#include <linux/module.h>\n#include <linux/netdevice.h>\n\n\
         static int __init picky_init(void)\n{\n\tstruct net_device *dev = NULL;\n\
         #ifdef MEMBER_IS_GONE\n\treturn dev->gone_since_this_kernel;\n#else\n\
         \treturn dev != NULL;\n#endif\n}\nmodule_init(picky_init);\nMODULE_LICENSE(\"GPL\");\n";
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run(Command::new("bash").args(["-ec", &script]).env("SOURCE", source));
    run(Command::new("rpmbuild")
        .args(["-bs", "--quiet", "--define"])
        .arg(format!("_topdir {}", top.display()))
        .arg(top.join("SPECS/picky-kmod.spec")));
    top.join("SRPMS/picky-kmod-1.0-1.src.rpm")
}
