//! `drivetrain check` on files that are made on the spot: neither a lab nor a configuration is needed.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod common;

use common::{bare, finish};
use drivetrain_kmod::fixture::ModuleBuilder;
use tempfile::TempDir;

const RELEASE: &str = "5.14.0-427.31.1.el9_4.x86_64";
const SYMVERS: &str = "0x00000011\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\t\n\
    0x00000022\t_printk\tvmlinux\tEXPORT_SYMBOL\t\n";
const CONFIG: &str = "CONFIG_X86_64=y\nCONFIG_SMP=y\nCONFIG_PREEMPT_BUILD=y\nCONFIG_MODULE_UNLOAD=y\n\
    CONFIG_MODVERSIONS=y\n";

/// A directory with a kernel's table of symbols, and its unpacked kernel-devel.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::Builder::new().prefix("drivetrain-check-").tempdir().unwrap());
        files.write("Module.symvers", SYMVERS.as_bytes());
        files.write(&format!("root/usr/src/kernels/{RELEASE}/Module.symvers"), SYMVERS.as_bytes());
        files.write(&format!("root/usr/src/kernels/{RELEASE}/.config"), CONFIG.as_bytes());
        files
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn check(&self, arguments: &[&str]) -> common::Output {
        let mut command = bare(self.0.path());
        finish(command.arg("check").args(arguments))
    }
}

/// A module that fits the kernel.
fn module(name: &str) -> ModuleBuilder {
    ModuleBuilder::new(name, RELEASE).version("module_layout", 0x11).import("_printk", 0x22)
}

#[test]
fn a_kernel_of_which_only_symbols_are_known_is_said_to_be_no_more() {
    let files = Files::new();
    files.write("a.ko", &module("a").set("vermagic", &format!("{RELEASE} SMX ")).build());
    let bare = files.check(&["a.ko", "--kernel", "Module.symvers", "--release", RELEASE]).succeeds();
    insta::assert_snapshot!(bare.stdout, @r"
    fits by its symbols: 1 module on 5.14.0-427.31.1.el9_4.x86_64, 1 symbol found with the right CRC
    not judged: nothing at hand tells the flags of the version magic and the machine of kernel 5.14.0-427.31.1.el9_4.x86_64: the modules were compared with each other in this, and not with the kernel. Its kernel-devel or kernel-core, an RPM or unpacked, tells it
    not judged: whether the symbols are those of kernel 5.14.0-427.31.1.el9_4.x86_64: only --release says so
    ");
    let bare =
        files.check(&["a.ko", "--kernel", "Module.symvers", "--release", RELEASE, "--json"]).succeeds();
    assert_eq!(bare.json()["not_judged"].as_array().unwrap().len(), 2);
    let tree = files.check(&["a.ko", "--kernel", "root"]).ends_with(6);
    insta::assert_snapshot!(tree.stdout, @r#"
    a: does not load
        does not load: version magic: module has "SMX", kernel has "SMP preempt mod_unload modversions"
    does not load: 1 of 1 module on 5.14.0-427.31.1.el9_4.x86_64
    "#);
    let json = files.check(&["a.ko", "--kernel", "root", "--json"]).ends_with(6).json();
    assert_eq!(json["reference"]["source"], "configuration");
    assert_eq!(json["not_judged"].as_array().unwrap().len(), 0);
    files.write("b.ko", &module("b").build());
    let whole = files.check(&["b.ko", "--kernel", "root"]).succeeds();
    insta::assert_snapshot!(whole.stdout, @"loads: 1 module on 5.14.0-427.31.1.el9_4.x86_64, 1 symbol found with the right CRC");
}

#[test]
fn modules_of_another_release_that_are_let_through_are_counted() {
    let files = Files::new();
    let flags = "SMP preempt mod_unload modversions ";
    let other = "5.14.0-427.el9_4.x86_64";
    files.write("set/a.ko", &module("a").set("vermagic", &format!("{other} {flags}")).build());
    files.write("set/b.ko", &module("b").set("vermagic", &format!("{other} {flags}")).build());
    files.write("set/c.ko", &module("c").build());
    let refused = files.check(&["set", "--kernel", "root"]).ends_with(6);
    insta::assert_snapshot!(refused.stdout, @r"
    a: does not load
        not publishable: built for kernel 5.14.0-427.el9_4.x86_64, not for 5.14.0-427.31.1.el9_4.x86_64
    b: does not load
        not publishable: built for kernel 5.14.0-427.el9_4.x86_64, not for 5.14.0-427.31.1.el9_4.x86_64
    does not load: 2 of 3 modules on 5.14.0-427.31.1.el9_4.x86_64
    ");
    let through = files.check(&["set", "--kernel", "root", "--any-release"]).succeeds();
    insta::assert_snapshot!(through.stdout, @r"
    loads: 3 modules on 5.14.0-427.31.1.el9_4.x86_64, 3 symbols found with the right CRC
    ignored: 2 of 3 modules built for 5.14.0-427.el9_4.x86_64 and not for 5.14.0-427.31.1.el9_4.x86_64: with --any-release symbols alone decide. Such modules are never published
    ");
    let all = files.check(&["set", "--kernel", "root", "--any-release", "--verbose"]).succeeds();
    all.says("a: loads\n    not publishable: built for kernel 5.14.0-427.el9_4.x86_64, not for");
    let json = files.check(&["set", "--kernel", "root", "--any-release", "--json"]).succeeds().json();
    assert!(json["ignored"].as_str().unwrap().starts_with("2 of 3 modules"), "{json}");
    // What symbols decide is decided as strictly as without.
    files.write(
        "set/a.ko",
        &module("a").import("gone", 0x33).set("vermagic", &format!("{other} {flags}")).build(),
    );
    let refused = files.check(&["set", "--kernel", "root", "--any-release"]).ends_with(6);
    refused.says("a: does not load\n    does not load: symbol gone").says("does not load: 1 of 3 modules");
}
