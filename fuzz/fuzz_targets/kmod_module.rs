//! Any bytes as a module: reading them neither panics nor runs away, and what is read can be judged.
#![no_main]

use drivetrain_kmod::{KernelReference, KernelSymbols, Module, NamedModule, SymbolTable, would_load};
use drivetrain_model::KernelRelease;
use libfuzzer_sys::fuzz_target;

const SYMVERS: &str = "0x00000007\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\t\n\
    0x00000001\tkfree\tvmlinux\tEXPORT_SYMBOL_GPL\tSPACE\n";

fuzz_target!(|data: &[u8]| {
    let Ok(module) = Module::parse(data) else { return };
    let summary = module.summary();
    assert!(summary.exports <= data.len() && summary.undefined <= data.len());
    assert!(module.exports().is_sorted_by(|a, b| a.name < b.name));
    assert!(module.undefined().is_sorted_by(|a, b| a.name < b.name));
    assert!(module.content().len() <= data.len());
    for (symbol, crc) in module.versions().iter() {
        assert_eq!(module.versions().get(symbol), Some(crc));
    }
    // The same content without its signature is the same module.
    assert_eq!(
        Module::parse(module.content()).map(|module| module.summary().undefined),
        Ok(summary.undefined)
    );

    let (Ok(release), Ok(symbols)) = (KernelRelease::parse("6.1"), SymbolTable::parse(SYMVERS)) else {
        return;
    };
    let kernel = KernelSymbols::new(release, symbols).with_reference(KernelReference::of(&module));
    let named = NamedModule { file: "a.ko", module: &module };
    let verdict = would_load(&[named, named], &kernel);
    assert!(!verdict.is_good(), "one module twice is never good");
});
