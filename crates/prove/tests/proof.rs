//! Kernels from every place where they are found, and modules judged by them.
#![allow(clippy::unwrap_used)]

mod support;

use camino::Utf8Path;
use drivetrain_kmod::{KernelSymbols, Machine, ReferenceSource, Severity, VermagicPolicy};
use drivetrain_model::KernelRelease;
use drivetrain_prove::{ModuleFile, Proof, prove, read_kernel};
use rpm::CompressionType;
use support::{
    EXTRA, MODULES, Place, RELEASE, SOURCES, chain, gzip, module, package, patch, read, symvers, zstd,
    zstd_package,
};

const NAMESPACES: &str = "CONFIG_MODULES=y\nCONFIG_MODULE_ALLOW_MISSING_NAMESPACE_IMPORTS=y\n";
const OTHER: &str = "5.14.0-500.el9.x86_64";

fn release(text: &str) -> KernelRelease {
    KernelRelease::parse(text).unwrap()
}

/// A kernel-devel RPM: the configuration comes before the table, and far more after it.
fn devel() -> Vec<u8> {
    let path = |name: &str| format!("{SOURCES}/{name}");
    zstd_package(&[
        (&path(".config"), NAMESPACES.as_bytes()),
        (&path("Makefile"), b"# make\n"),
        (&path("Module.symvers"), symvers().as_bytes()),
        (&path("include/config/kernel.release"), RELEASE.as_bytes()),
    ])
}

/// A kernel-core RPM that has modules as well, as those of Enterprise Linux 8.
fn core() -> Vec<u8> {
    let path = |name: &str| format!("{MODULES}/{name}");
    zstd_package(&[
        (&path("config"), b"# CONFIG_MODULE_ALLOW_MISSING_NAMESPACE_IMPORTS is not set\n"),
        (&path("extra/other.ko"), b"not looked at"),
        (&path("kernel/drivers/one.ko.zst"), &zstd(&module("one").struct_size(1088).build())),
        (&path("symvers.gz"), &gzip(symvers().as_bytes())),
    ])
}

fn check(path: &Utf8Path, asked: Option<&str>) {
    let kernel = read_kernel(path, asked.map(release).as_ref()).unwrap();
    assert_eq!((kernel.release.as_str(), kernel.symbols.len()), (RELEASE, 3), "{path}");
}

#[test]
fn a_kernel_is_found_in_every_form() {
    let place = Place::new();
    let (tree, modules) = ("root/usr/src/kernels", "root2/lib/modules");
    let table = place.write(&format!("{tree}/{RELEASE}/Module.symvers"), symvers());
    let symbols = place.write(&format!("{modules}/{RELEASE}/symvers.zst"), zstd(symvers().as_bytes()));
    place.write("copy/include/config/kernel.release", format!("{RELEASE}\n"));
    let copied = place.write("copy/Module.symvers", symvers());
    for path in [
        &place.write("kernel-devel.rpm", devel()),
        &place.write("kernel-core", core()),
        &place.path().join("root"),
        table.parent().unwrap(),
        &table,
        &place.path().join("root2"),
        symbols.parent().unwrap(),
        &symbols,
        &place.path().join("copy"),
        &copied,
    ] {
        check(path, None);
        check(path, Some(RELEASE));
        let error = read_kernel(path, Some(&release(OTHER))).unwrap_err();
        assert!(
            error.to_string().ends_with("Module.symvers") || error.to_string().contains(OTHER),
            "{error}"
        );
    }
    let bare = place.write("table.gz", gzip(symvers().as_bytes()));
    check(&bare, Some(RELEASE));
}

#[test]
fn what_else_the_files_tell_is_used() {
    let place = Place::new();
    let kernel = read_kernel(&place.write("devel.rpm", devel()), None).unwrap();
    assert!(kernel.allow_missing_namespace_imports && kernel.reference.is_none());
    let kernel = read_kernel(&place.write("core.rpm", core()), None).unwrap();
    assert!(!kernel.allow_missing_namespace_imports);
    let reference = kernel.reference.unwrap();
    assert_eq!((reference.machine, reference.module_struct_size), (Some(Machine::X86_64), Some(1088)));

    let directory = format!("lib/modules/{RELEASE}");
    place.write(&format!("{directory}/symvers.gz"), gzip(symvers().as_bytes()));
    place.write(&format!("{directory}/config"), NAMESPACES);
    place.write(&format!("{directory}/kernel/net/a.ko.gz"), gzip(&module("a").build()));
    place.write(&format!("{directory}/kernel/other/b.ko"), b"not the first");
    let kernel = read_kernel(&place.path().join(&directory), None).unwrap();
    assert!(kernel.allow_missing_namespace_imports);
    assert_eq!(kernel.reference.unwrap().module_struct_size, Some(896));
}

const CONFIG: &str = "# CONFIG_PREEMPT_RT is not set\nCONFIG_X86_64=y\nCONFIG_SMP=y\nCONFIG_PREEMPT_BUILD=y\n\
    CONFIG_MODULE_UNLOAD=y\nCONFIG_MODVERSIONS=y\n";
const CONFIG_HEADER: &str = "#define CONFIG_X86_64 1\n#define CONFIG_SMP 1\n#define CONFIG_PREEMPT_BUILD 1\n\
    #define CONFIG_MODULE_UNLOAD 1\n#define CONFIG_MODVERSIONS 1\n";

/// Kernels with their configuration and without a module, in every form.
fn configured(place: &Place) -> Vec<KernelSymbols> {
    let mut paths = Vec::new();
    for (number, (name, text)) in [
        (".config", CONFIG),
        ("config", CONFIG),
        ("include/config/auto.conf", CONFIG),
        ("include/generated/autoconf.h", CONFIG_HEADER),
    ]
    .into_iter()
    .enumerate()
    {
        let table = format!("{SOURCES}/Module.symvers");
        let config = format!("{SOURCES}/{name}");
        let devel = zstd_package(&[(&config, text.as_bytes()), (&table, symvers().as_bytes())]);
        paths.push(place.write(&format!("devel{number}.rpm"), devel));
        place.write(&format!("{number}{config}"), text);
        paths.push(place.write(&format!("{number}{table}"), symvers()));
    }
    let core = zstd_package(&[
        (&format!("{MODULES}/config"), CONFIG.as_bytes()),
        (&format!("{MODULES}/symvers.gz"), &gzip(symvers().as_bytes())),
    ]);
    paths.push(place.write("core.rpm", core));
    paths.iter().map(|path| read_kernel(path, None).unwrap()).collect()
}

fn judge(kernel: &KernelSymbols, bytes: Vec<u8>) -> Proof {
    let file = ModuleFile { package: None, path: "a.ko".to_owned(), bytes };
    prove(&[file], kernel, VermagicPolicy::Exact).unwrap()
}

/// Whoever patches one module patches all of them: they fit each other, and not the kernel.
#[test]
fn a_kernel_without_modules_at_hand_is_known_by_its_configuration() {
    let place = Place::new();
    let good = module("a").build();
    for kernel in configured(&place) {
        assert_eq!(kernel.reference.as_ref().unwrap().source, ReferenceSource::Configuration);
        let proof = judge(&kernel, good.clone());
        assert!(proof.verdict.is_good() && proof.untold().is_none(), "{proof}");
        for (from, to, finding) in [
            (" SMP preempt", " SMX preempt", "version magic: module has \"SMX preempt"),
            (" modversions ", "             ", "version magic: module has \"SMP preempt mod_unload\""),
        ] {
            let proof = judge(&kernel, patch(good.clone(), from.as_bytes(), to.as_bytes()));
            assert!(!proof.verdict.loads() && proof.to_string().contains(finding), "{proof}");
        }
        let mut aarch64 = good.clone();
        aarch64[18] = 183;
        let proof = judge(&kernel, aarch64);
        assert!(proof.to_string().contains("built for aarch64, kernel is x86_64"), "{proof}");
    }
}

#[test]
fn a_module_of_the_kernels_tree_tells_more_than_its_configuration() {
    let place = Place::new();
    let core = zstd_package(&[
        (&format!("{MODULES}/config"), b"CONFIG_ARM64=y\n"),
        (&format!("{MODULES}/kernel/one.ko"), &module("one").build()),
        (&format!("{MODULES}/symvers.gz"), &gzip(symvers().as_bytes())),
    ]);
    let kernel = read_kernel(&place.write("core.rpm", core), None).unwrap();
    let reference = kernel.reference.unwrap();
    assert_eq!((reference.source, reference.machine), (ReferenceSource::Module, Some(Machine::X86_64)));
}

#[test]
fn what_nothing_tells_of_a_kernel_is_said() {
    let place = Place::new();
    let kernel = read_kernel(&place.write("Module.symvers", symvers()), Some(&release(RELEASE))).unwrap();
    let proof = judge(&kernel, module("a").build());
    assert!(proof.verdict.is_good());
    assert_eq!(proof.untold(), Some("the flags of the version magic and the machine"));
    let power = zstd_package(&[
        (&format!("{SOURCES}/.config"), b"CONFIG_PPC64=y\n"),
        (&format!("{SOURCES}/Module.symvers"), symvers().as_bytes()),
    ]);
    let kernel = read_kernel(&place.write("ppc.rpm", power), None).unwrap();
    assert_eq!(judge(&kernel, module("a").build()).untold(), Some("the flags of the version magic"));
}

#[test]
fn a_kernel_that_cannot_be_read_is_named() {
    let place = Place::new();
    place.write(&format!("two/usr/src/kernels/{RELEASE}/Module.symvers"), symvers());
    place.write(&format!("two/usr/src/kernels/{OTHER}/Module.symvers"), symvers());
    place.write("odd/include/config/kernel.release", "two words\n");
    place.write("odd/Module.symvers", symvers());
    place.write("nothing/here", "");
    let tables = [RELEASE, OTHER].map(|release| format!("/usr/src/kernels/{release}/Module.symvers"));
    let both = zstd_package(&[(&tables[0], symvers().as_bytes()), (&tables[1], symvers().as_bytes())]);
    let broken = zstd_package(&[(&tables[0], b"kfree\n")]);
    let source = patch(devel(), &[0, 0, 4, 0x14], &[0, 0, 4, 0x52]);
    let mut flipped = devel();
    *flipped.last_mut().unwrap() ^= 1;
    let outside = "0x00000001\tfoo\t/root/rpmbuild/foo\tEXPORT_SYMBOL\t\n";
    let bad_reference = zstd_package(&[
        (&format!("{MODULES}/kernel/a.ko"), b"\x7fELF"),
        (&format!("{MODULES}/symvers.gz"), &gzip(symvers().as_bytes())),
    ]);
    let mut text = String::new();
    for (path, asked) in [
        (place.write("bare.symvers", symvers()), None),
        (place.write("text", "hello\n"), Some(RELEASE)),
        (place.write("vmlinux", module("x").build()), Some(RELEASE)),
        (place.write("empty", ""), Some(RELEASE)),
        (place.write("outside.symvers", outside), Some(RELEASE)),
        (place.path().join("nothing"), None),
        (place.path().join("missing"), None),
        (place.path().join("two"), None),
        (place.path().join("two"), Some("6.1.0")),
        (place.path().join("odd"), None),
        (place.write("kmod.rpm", zstd_package(&[(&format!("{EXTRA}/a.ko"), b"")])), None),
        (place.write("both.rpm", both), None),
        (place.write("broken.rpm", broken), None),
        (place.write("cut.rpm", &devel()[..devel().len() - 100]), None),
        (place.write("flipped.rpm", flipped), None),
        (place.write("source.rpm", source), None),
        (place.write("devel.rpm", devel()), Some(OTHER)),
        (place.write("bad-reference.rpm", bad_reference), None),
    ] {
        let error = read_kernel(&path, asked.map(release).as_ref()).unwrap_err();
        text.extend([place.text(&error), "\n".to_owned()]);
    }
    insta::assert_snapshot!(text);
    check(&place.path().join("two"), Some(RELEASE));
    check(&place.path().join("both.rpm"), Some(RELEASE));
}

fn proof(place: &Place, files: &[(&str, Vec<u8>)], policy: VermagicPolicy) -> Proof {
    let kernel = read_kernel(&place.write("kernel.rpm", devel()), None).unwrap();
    let files: Vec<(String, &Vec<u8>)> =
        files.iter().map(|(name, bytes)| (format!("{EXTRA}/{name}"), bytes)).collect();
    let files: Vec<(&str, &[u8])> =
        files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let rpm = place.write("kmod-x.rpm", zstd_package(&files));
    prove(&read(&[rpm]).unwrap().modules, &kernel, policy).unwrap()
}

#[test]
fn modules_that_load_say_so_and_the_others_why_not() {
    let place = Place::new();
    let files = [
        ("good.ko", module("good").export("good_symbol", 0x44).build()),
        ("user.ko.gz", gzip(&module("user").import("good_symbol", 0x44).build())),
        ("bad.ko.zst", zstd(&module("bad").import("ib_register_client", 0x99).import("gone", 1).build())),
    ];
    let proof = proof(&place, &files, VermagicPolicy::Exact);
    assert!(!proof.verdict.is_good() && proof.reference.is_none());
    insta::assert_snapshot!(format!("{proof:#}"), @r"
    1 of 3 modules do not load on kernel 5.14.0-427.31.1.el9_4.x86_64
      bad: does not load: symbol gone: neither kernel 5.14.0-427.31.1.el9_4.x86_64 nor the set has it
      bad: does not load: symbol ib_register_client: module wants CRC 0x00000099, kernel 5.14.0-427.31.1.el9_4.x86_64 has 0x00000033 (ib_core)
      good: loads, symbols found: 1
      user: loads, symbols found: 2
    ");
    assert_eq!((proof.symbols, proof.verdict.refused().count()), (6, 1));
    for (module, verdict) in proof.iter() {
        assert_eq!(module.name, verdict.name);
        assert!(verdict.file.ends_with(&module.path), "{} {}", verdict.file, module.path);
        assert_eq!(module.package.as_deref(), Some("kmod-x.rpm"));
    }
    let digest = |name: &str| proof.modules.iter().find(|module| module.name == name).unwrap().digest;
    assert_eq!(digest("good"), drivetrain_model::Sha256Digest::of(&files[0].1));
    let json = serde_json::to_string(&proof).unwrap();
    assert_eq!(serde_json::from_str::<Proof>(&json).unwrap(), proof);
}

#[test]
fn another_kernels_modules_are_not_published_but_may_load() {
    let place = Place::new();
    let files = [(
        "weak.ko",
        drivetrain_kmod::fixture::ModuleBuilder::new("weak", OTHER)
            .version("module_layout", 0x11)
            .import("_printk", 0x22)
            .build(),
    )];
    assert!(proof(&place, &files, VermagicPolicy::AsKernel).verdict.is_good());
    let proof = proof(&place, &files, VermagicPolicy::Exact);
    assert!(proof.verdict.loads() && !proof.verdict.is_good());
    let severities: Vec<_> =
        proof.verdict.modules[0].findings.iter().map(|finding| finding.severity).collect();
    assert_eq!(severities, [Severity::Strict]);
}

#[test]
fn the_order_of_the_files_changes_nothing() {
    let place = Place::new();
    let kernel = read_kernel(&place.write("kernel.rpm", devel()), None).unwrap();
    for name in ["c", "a", "b"] {
        place.write(&format!("{name}.ko"), module(name).build());
    }
    let mut read = read(&[place.path()]).unwrap().modules;
    let proof = prove(&read, &kernel, VermagicPolicy::Exact).unwrap();
    read.rotate_left(1);
    assert_eq!(prove(&read, &kernel, VermagicPolicy::Exact).unwrap(), proof);
}

#[test]
fn a_file_that_is_no_module_is_named_with_its_package() {
    let place = Place::new();
    let kernel = read_kernel(&place.write("devel.rpm", devel()), None).unwrap();
    let path = format!("{EXTRA}/a.ko");
    let elf = module("a").build();
    let mut text = String::new();
    for content in [b"".as_slice(), b"hello", &elf[..200], b"\x7fELF"] {
        let rpm = place.write("kmod-x.rpm", package(&[(&path, content)], CompressionType::Gzip));
        let modules = read(&[rpm]).unwrap().modules;
        let error = prove(&modules, &kernel, VermagicPolicy::Exact).unwrap_err();
        text.extend([chain(&error), "\n".to_owned()]);
    }
    let object =
        ModuleFile { package: None, path: "x.o".to_owned(), bytes: patch(elf, b".modinfo", b".nothing") };
    for modules in [vec![object], Vec::new()] {
        let error = prove(&modules, &kernel, VermagicPolicy::Exact).unwrap_err();
        text.extend([chain(&error), "\n".to_owned()]);
    }
    insta::assert_snapshot!(text);
}
