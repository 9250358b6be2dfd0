//! Any set of modules on any kernel: the verdict holds together and does not depend on the order.
#![no_main]

use drivetrain_kmod::fixture::ModuleBuilder;
use drivetrain_kmod::{
    KernelSymbols, Module, NamedModule, SetVerdict, SymbolTable, VermagicPolicy, check_set,
};
use drivetrain_model::KernelRelease;
use libfuzzer_sys::fuzz_target;

const SYMBOLS: [&str; 8] = ["module_layout", "kfree", "a", "b", "c", "d", "e", "f"];
const MODULES: [&str; 4] = ["vmlinux", "m0", "m1", "drivers/m-2"];

/// One byte says one thing; when they run out, everything is zero.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn next(&mut self, below: u8) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first % below
    }

    fn pick(&mut self, of: &[&'static str]) -> &'static str {
        of[usize::from(self.next(of.len() as u8))]
    }
}

fn module(choices: &mut Choices<'_>) -> ModuleBuilder {
    let name = format!("m{}", choices.next(6));
    let release = choices.pick(&["6.1", "6.2", ""]);
    let mut module = ModuleBuilder::new(&name, release);
    for _ in 0..choices.next(6) {
        let (symbol, crc) = (choices.pick(&SYMBOLS), u32::from(choices.next(3)));
        module = match choices.next(4) {
            0 => module.import_unversioned(symbol),
            1 => module.import_weak(symbol, crc),
            _ => module.import(symbol, crc),
        };
    }
    for _ in 0..choices.next(4) {
        let crc = choices.next(4);
        let crc = (crc < 3).then_some(u32::from(crc));
        let (symbol, gpl_only) = (choices.pick(&SYMBOLS), choices.next(2) == 1);
        module = module.export_with(symbol, crc, gpl_only, choices.pick(&["", "", "", "NS", "module:m*"]));
    }
    match choices.next(10) {
        0 => module.set("license", "Proprietary"),
        1 => module.info("license", ""),
        2 => module.without_versions(),
        3 => module.extended_versions(),
        4 => module.absolute_crcs(),
        5 => module.flags_table(),
        6 => module.big_endian(),
        7 => module.info("import_ns", "NS"),
        8 => module.info("vermagic", ""),
        _ => module,
    }
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices(data);
    let lines: String = (0..choices.next(12))
        .map(|_| {
            let crc = choices.next(3);
            let (symbol, module) = (choices.pick(&SYMBOLS), choices.pick(&MODULES));
            let kind = choices.pick(&["EXPORT_SYMBOL", "EXPORT_SYMBOL_GPL"]);
            format!("0x{crc:08x}\t{symbol}\t{module}\t{kind}\t{}\n", choices.pick(&["", "", "NS"]))
        })
        .collect();
    let symbols = SymbolTable::parse(lines).expect("well-formed");
    let kernel = KernelSymbols::new(KernelRelease::parse("6.1").expect("a release"), symbols);
    let files: Vec<Vec<u8>> = (0..choices.next(8)).map(|_| module(&mut choices).build()).collect();
    let modules: Vec<Module<'_>> =
        files.iter().map(|file| Module::parse(file).expect("a fixture is a module")).collect();
    let mut named: Vec<NamedModule<'_>> =
        modules.iter().map(|module| NamedModule { file: "x.ko", module }).collect();

    let exact = check_set(&named, &kernel, VermagicPolicy::Exact);
    let as_kernel = check_set(&named, &kernel, VermagicPolicy::AsKernel);
    named.reverse();
    assert_eq!(exact, check_set(&named, &kernel, VermagicPolicy::Exact));

    // Fit to be published is more than fit to be loaded.
    assert!(!exact.is_good() || as_kernel.is_good());
    assert_eq!(as_kernel.is_good(), as_kernel.loads());
    assert!(!exact.loads() || exact.refused().count() == 0 && exact.load_order.len() == files.len());
    assert!(!exact.is_good() || exact.built_for());
    let written = serde_json::to_string(&exact).expect("a verdict can be written");
    assert_eq!(serde_json::from_str::<SetVerdict>(&written).expect("and read"), exact);
    assert!(exact.to_string().lines().count() > exact.findings.len());
});
