use proptest::prelude::*;

use super::*;
use crate::ReferenceSource;
use crate::fixture::ModuleBuilder;

const RELEASE: &str = "6.1.0-56-cloud-amd64";
const FLAGS: &str = "SMP preempt mod_unload modversions";

const SYMVERS: &str = "0x00000007\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\t\n\
    0x00000001\tkfree\tvmlinux\tEXPORT_SYMBOL\t\n\
    0x00000002\tgpl_only\tvmlinux\tEXPORT_SYMBOL_GPL\t\n\
    0x00000003\tspaced\tvmlinux\tEXPORT_SYMBOL\tDMA_BUF\n\
    0x9999ffff\tib_register_device\tdrivers/infiniband/core/ib_core\tEXPORT_SYMBOL\t\n\
    0x00000005\tib_gone\tdrivers/infiniband/core/ib_core\tEXPORT_SYMBOL\t\n\
    0x00000006\tmlxfw_flash\tdrivers/net/mlxfw\tEXPORT_SYMBOL\t\n";

fn kernel() -> KernelSymbols {
    KernelSymbols::new(KernelRelease::parse(RELEASE).unwrap(), SymbolTable::parse(SYMVERS).unwrap())
        .with_reference(KernelReference {
            source: ReferenceSource::Module,
            flags: Some(FLAGS.to_owned()),
            has_unknown_seed: false,
            machine: Some(Machine::X86_64),
            module_struct_size: Some(896),
        })
}

fn module(name: &str) -> ModuleBuilder {
    ModuleBuilder::new(name, RELEASE).version("module_layout", 7)
}

fn judge_on(kernel: &KernelSymbols, builders: &[ModuleBuilder], policy: VermagicPolicy) -> SetVerdict {
    let files: Vec<Vec<u8>> = builders.iter().map(ModuleBuilder::build).collect();
    let modules: Vec<Module<'_>> = files.iter().map(|file| Module::parse(file).unwrap()).collect();
    let named: Vec<_> = modules.iter().map(|module| NamedModule { file: "x.ko", module }).collect();
    check_set(&named, kernel, policy)
}

fn judge(builders: &[ModuleBuilder]) -> SetVerdict {
    judge_on(&kernel(), builders, VermagicPolicy::Exact)
}

/// The findings as people see them: the set's, then each module's.
fn texts(verdict: &SetVerdict) -> Vec<String> {
    let modules = verdict.modules.iter().flat_map(|module| module.findings.iter());
    let set = verdict.findings.iter().map(ToString::to_string);
    set.chain(modules.map(ToString::to_string)).collect()
}

fn only(builder: ModuleBuilder) -> Vec<String> {
    texts(&judge(&[builder]))
}

#[test]
fn a_set_that_fits_is_good_and_says_what_it_needs() {
    let verdict = judge(&[
        module("mlx5_ib").import("ib_register_device", 0x11).import("kfree", 1),
        module("ib_core").export("ib_register_device", 0x11).import("gpl_only", 2),
        module("mlx5_core").import("mlxfw_flash", 6).import_weak("nobody_has_it", 9),
    ]);
    assert!(verdict.is_good() && verdict.loads() && verdict.built_for(), "{verdict}");
    assert_eq!(verdict.load_order, ["ib_core", "mlx5_core", "mlx5_ib"]);
    assert_eq!(verdict.in_tree_needed, ["mlxfw"]);
    assert_eq!(verdict.shadows, ["ib_core"]);
    let names: Vec<_> = verdict.modules.iter().map(|module| module.name.as_str()).collect();
    assert_eq!(names, ["ib_core", "mlx5_core", "mlx5_ib"]);
    assert_eq!(verdict.modules[2].needs, ["ib_core"]);
    assert_eq!(verdict.modules[1].symbols, 1);
    assert_eq!(verdict.to_string(), "all 3 modules load on kernel 6.1.0-56-cloud-amd64");
}

#[test]
fn every_crc_that_differs_is_named_with_both_values() {
    assert_eq!(
        only(module("a").import("ib_register_device", 0x1234_abcd).import("kfree", 0)),
        [
            "does not load: symbol ib_register_device: module wants CRC 0x1234abcd, kernel 6.1.0-56-cloud-amd64 has \
             0x9999ffff (ib_core)",
            "does not load: symbol kfree: module wants CRC 0x00000000, kernel 6.1.0-56-cloud-amd64 has 0x00000001 \
             (vmlinux)"
        ]
    );
    let verdict = judge(&[module("a").import("x", 1), module("b").export("x", 2)]);
    assert_eq!(
        texts(&verdict),
        ["does not load: symbol x: module wants CRC 0x00000001, the set's b has 0x00000002"]
    );
    assert_eq!(verdict.refused().map(|module| module.name.as_str()).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn module_layout_is_compared_though_no_module_needs_it() {
    let built = ModuleBuilder::new("a", RELEASE).version("module_layout", 8);
    assert_eq!(
        only(built),
        [
            "does not load: symbol module_layout: module wants CRC 0x00000008, kernel 6.1.0-56-cloud-amd64 has \
             0x00000007 (vmlinux)"
        ]
    );
}

#[test]
fn another_release_is_strict_business_where_crcs_decide() {
    let other = ModuleBuilder::new("a", "6.1.0-55-cloud-amd64").version("module_layout", 7);
    let exact = judge(std::slice::from_ref(&other));
    assert_eq!(
        texts(&exact),
        ["not publishable: built for kernel 6.1.0-55-cloud-amd64, not for 6.1.0-56-cloud-amd64"]
    );
    assert!(!exact.is_good() && exact.loads() && !exact.built_for());
    assert!(judge_on(&kernel(), &[other], VermagicPolicy::AsKernel).is_good());
}

#[test]
fn the_extended_tables_alone_do_not_excuse_another_release() {
    let other = ModuleBuilder::new("a", "6.1.0-55").version("module_layout", 7).extended_versions();
    let verdict = judge_on(&kernel(), &[other], VermagicPolicy::AsKernel);
    assert_eq!(texts(&verdict), ["does not load: built for kernel 6.1.0-55, not for 6.1.0-56-cloud-amd64"]);
}

#[test]
fn a_kernel_without_crcs_goes_by_the_whole_version_magic() {
    let zeroes: String = SYMVERS.lines().map(|line| format!("0x00000000{}\n", &line[10..])).collect();
    let kernel =
        KernelSymbols::new(KernelRelease::parse(RELEASE).unwrap(), SymbolTable::parse(zeroes).unwrap());
    let fitting = ModuleBuilder::new("a", RELEASE).import("kfree", 5);
    assert!(judge_on(&kernel, std::slice::from_ref(&fitting), VermagicPolicy::Exact).is_good());
    assert!(judge_on(&kernel, &[fitting.without_versions()], VermagicPolicy::Exact).is_good());
    let other = ModuleBuilder::new("a", "6.1.0-55").import("kfree", 5);
    assert!(!judge_on(&kernel, &[other], VermagicPolicy::AsKernel).loads());
}

#[test]
fn how_a_module_was_built_must_fit_the_kernel() {
    assert_eq!(
        only(module("a").set("vermagic", &format!("{RELEASE} SMP mod_unload "))),
        [format!("does not load: version magic: module has \"SMP mod_unload\", kernel has {FLAGS:?}")]
    );
    assert_eq!(only(module("a").info("vermagic", "")), ["does not load: no version magic"]);
    assert_eq!(only(module("a").machine(183)), ["does not load: built for aarch64, kernel is x86_64"]);
    assert_eq!(
        only(module("a").struct_size(1024)),
        ["does not load: struct module: module has 1024 bytes, kernel has 896 bytes"
            .replace("896 bytes", "896")]
    );
    assert_eq!(
        only(module("a").without_versions().import("kfree", 1)),
        ["does not load: no symbol versions, and the kernel checks them"]
    );
    assert_eq!(only(module("a").common("x")), ["does not load: symbol x: common, build with -fno-common"]);
}

#[test]
fn a_symbol_without_crc_is_let_through_but_not_published() {
    let verdict = judge(&[module("a").import_unversioned("kfree")]);
    assert_eq!(
        texts(&verdict),
        ["not publishable: symbol kfree: no CRC to compare with kernel 6.1.0-56-cloud-amd64 (vmlinux)"]
    );
    assert!(verdict.loads() && !verdict.is_good());
}

#[test]
fn what_a_replaced_module_exported_is_gone() {
    assert_eq!(only(module("a").import("ib_gone", 5)), [""; 0]);
    let verdict = judge(&[module("a").import("ib_gone", 5), module("ib_core")]);
    assert_eq!(
        texts(&verdict),
        [
            "does not load: symbol ib_gone: kernel 6.1.0-56-cloud-amd64 has it in ib_core, which the set replaces by \
             one without it"
        ]
    );
    assert_eq!(
        only(module("a").import("nothing", 1)),
        ["does not load: symbol nothing: neither kernel 6.1.0-56-cloud-amd64 nor the set has it"]
    );
}

#[test]
fn a_weak_symbol_may_be_missing_but_not_differ() {
    assert_eq!(only(module("a").import_weak("nothing", 1)), [""; 0]);
    assert_eq!(only(module("a").import_weak("kfree", 2)).len(), 1);
}

#[test]
fn licences_decide_who_uses_gpl_only_symbols() {
    assert_eq!(
        only(module("a").set("license", "Proprietary").import("gpl_only", 2).import("kfree", 1)),
        [
            "does not load: symbol gpl_only: GPL-only in kernel 6.1.0-56-cloud-amd64 (vmlinux), and the module's \
             licence is \"Proprietary\""
        ]
    );
    let verdict = judge(&[
        module("closed").set("license", "Proprietary").export("x", 1),
        module("open").import("x", 1).import("gpl_only", 2),
        module("other").import("x", 1),
    ]);
    assert_eq!(
        texts(&verdict),
        ["does not load: uses GPL-only symbols and symbols of closed, which is proprietary"]
    );
}

#[test]
fn namespaces_must_be_imported_unless_the_kernel_lets_it_pass() {
    let lacking = module("a").import("spaced", 3);
    let text = "symbol spaced: module does not import its namespace DMA_BUF, and kernel 6.1.0-56-cloud-amd64 \
                (vmlinux) demands it";
    assert_eq!(only(lacking.clone()), [format!("does not load: {text}")]);
    assert_eq!(only(lacking.clone().info("import_ns", "DMA_BUF")), [""; 0]);
    let kernel = KernelSymbols { allow_missing_namespace_imports: true, ..kernel() };
    let verdict = judge_on(&kernel, &[lacking], VermagicPolicy::Exact);
    assert_eq!(texts(&verdict), [format!("warning: {text}")]);
    assert!(verdict.is_good());
}

#[test]
fn a_namespace_for_named_modules_is_for_those_of_the_tree() {
    let exporter = module("kvm").export_with("x", Some(1), false, "module:kvm-*");
    let user = |name| module(name).import("x", 1);
    assert_eq!(texts(&judge(&[exporter.clone(), user("kvm_intel").info("intree", "Y")])), [""; 0]);
    assert_eq!(texts(&judge(&[exporter.clone(), user("vfio").info("intree", "Y")])).len(), 1);
    assert_eq!(texts(&judge(&[exporter, user("kvm_intel")])).len(), 1);
}

#[test]
fn a_symbol_is_exported_once() {
    assert_eq!(
        only(module("a").export("kfree", 1)),
        ["does not load: symbol kfree: exported by the module and by kernel 6.1.0-56-cloud-amd64 (vmlinux)"]
    );
    // Whether an in-tree module is in the way depends on whether it is loaded.
    let clash = module("a").export("ib_gone", 5);
    let text = "symbol ib_gone: exported by the module and by kernel 6.1.0-56-cloud-amd64 (ib_core)";
    assert_eq!(only(clash.clone()), [format!("not publishable: {text}")]);
    let needed = module("b").import("ib_register_device", 0x9999_ffff);
    assert_eq!(texts(&judge(&[clash, needed])), [format!("does not load: {text}")]);
    assert_eq!(
        texts(&judge(&[module("a").export("x", 1), module("b").export("x", 1)])),
        ["does not load: symbol x: exported by a and b"]
    );
}

#[test]
fn exports_need_crcs_where_the_kernel_checks_them() {
    let none = module("a").export_with("x", None, false, "");
    assert_eq!(only(none.clone()), ["does not load: 1 of its 1 exported symbols have no CRC"]);
    assert_eq!(only(none.export("y", 1)), ["not publishable: 1 of its 2 exported symbols have no CRC"]);
}

#[test]
fn modules_that_need_each_other_have_no_first() {
    let verdict = judge(&[
        module("a").import("x", 1).export("y", 2),
        module("b").import("y", 2).export("x", 1).export("z", 3),
        module("c").import("z", 3),
        module("d"),
    ]);
    assert_eq!(
        texts(&verdict),
        [
            "does not load: modules need each other: a, b",
            "does not load: needs b of the set, which does not load"
        ]
    );
    assert_eq!(verdict.load_order, ["d"]);
    assert_eq!(verdict.refused().count(), 3);
}

#[test]
fn what_needs_a_refused_module_is_refused_too() {
    let verdict = judge(&[
        module("a").import("kfree", 2).export("x", 1),
        module("b").import("x", 1).export("y", 1),
        module("c").import("y", 1),
    ]);
    assert_eq!(verdict.refused().count(), 3);
    assert_eq!(
        verdict.to_string().lines().next().unwrap(),
        "3 of 3 modules do not load on kernel 6.1.0-56-cloud-amd64"
    );
}

#[test]
fn two_files_of_one_module_are_named() {
    let verdict = judge(&[module("a"), module("a").export("x", 1)]);
    assert_eq!(texts(&verdict), ["does not load: module a is in the set 2 times: x.ko, x.ko"]);
    assert_eq!(
        verdict.to_string().lines().next().unwrap(),
        "the 2 modules do not load together on kernel 6.1.0-56-cloud-amd64"
    );
}

#[test]
fn without_a_reference_the_modules_are_compared_with_each_other() {
    let kernel = KernelSymbols { reference: None, ..kernel() };
    let other = module("b").machine(183).set("vermagic", &format!("{RELEASE} SMP "));
    assert_eq!(
        texts(&judge_on(&kernel, &[module("a"), other], VermagicPolicy::Exact)),
        [
            format!("does not load: modules of different version magic: \"SMP\", {FLAGS:?}"),
            "does not load: modules for different machines: x86_64, aarch64".to_owned()
        ]
    );
}

#[test]
fn a_kernel_table_that_contradicts_itself_is_named() {
    let twice = format!("{SYMVERS}0x00000009\tkfree\tvmlinux\tEXPORT_SYMBOL\t\n");
    let kernel = KernelSymbols { symbols: SymbolTable::parse(twice).unwrap(), ..kernel() };
    let verdict = judge_on(&kernel, &[module("a")], VermagicPolicy::Exact);
    assert_eq!(
        texts(&verdict),
        [
            "not publishable: kernel's table: symbol kfree: CRC 0x00000001 (vmlinux) and CRC 0x00000009 (vmlinux)"
        ]
    );
}

#[test]
fn a_module_without_a_name_goes_by_its_file() {
    let bytes = module("").set("name", "").build();
    let module = Module::parse(&bytes).unwrap();
    assert_eq!(NamedModule { file: "extra/ib-core.ko.xz", module: &module }.name(), "ib_core");
}

#[test]
fn a_verdict_survives_being_written_down() {
    let verdict = judge(&[
        module("a").import("kfree", 2).import("x", 1).export("y", 2).machine(183),
        module("b").import("y", 3).export("x", 1).export("kfree", 1),
    ]);
    let json = serde_json::to_string(&verdict).unwrap();
    assert!(
        json.contains(r#""severity":"fatal","problem":"crc","symbol":"kfree","wanted":"0x00000002""#),
        "{json}"
    );
    assert_eq!(serde_json::from_str::<SetVerdict>(&json).unwrap(), verdict);
}

prop_compose! {
    /// Modules that export and import from one small pool of symbols, with CRCs that sometimes differ.
    fn any_module()(
        name in "[a-e]",
        imports in prop::collection::vec((0..8_usize, 0..3_u32, any::<bool>()), 0..4),
        exports in prop::collection::vec((0..8_usize, 0..3_u32, any::<bool>()), 0..3),
        gpl in any::<bool>(),
    ) -> ModuleBuilder {
        let symbol = |n: usize| {
            ["kfree", "gpl_only", "spaced", "ib_gone", "mlxfw_flash", "x", "y", "z"][n]
        };
        let mut built = module(&name);
        if !gpl {
            built = built.set("license", "Proprietary");
        }
        for (n, crc, weak) in imports {
            built = if weak { built.import_weak(symbol(n), crc) } else { built.import(symbol(n), crc) };
        }
        for (n, crc, gpl_only) in exports {
            built = built.export_with(symbol(n), Some(crc), gpl_only, "");
        }
        built
    }
}

proptest! {
    #[test]
    fn the_answer_does_not_depend_on_the_order(
        (set, shuffled) in prop::collection::vec(any_module(), 0..7)
            .prop_flat_map(|set| (Just(set.clone()), Just(set).prop_shuffle()))
    ) {
        let verdict = judge(&set);
        prop_assert_eq!(&verdict, &judge(&shuffled));
        // And it holds together.
        prop_assert_eq!(verdict.modules.len(), set.len());
        prop_assert!(verdict.load_order.len() <= set.len());
        prop_assert!(!verdict.is_good() || verdict.refused().count() == 0);
        prop_assert!(!verdict.loads() || verdict.load_order.len() == set.len());
        let json = serde_json::to_string(&verdict).unwrap();
        prop_assert_eq!(serde_json::from_str::<SetVerdict>(&json).unwrap(), verdict);
    }
}
