//! Any text as `Module.symvers`: what is read prints as the same table, and every line is found by its name.
#![no_main]

use drivetrain_kmod::SymbolTable;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(table) = SymbolTable::parse(text) else { return };
    let printed = table.to_string();
    let again = SymbolTable::parse(printed.clone()).expect("a printed table is read again");
    assert_eq!(again.to_string(), printed);
    assert_eq!(again.conflicts(), table.conflicts());
    for symbol in table.iter() {
        assert!(table.all(symbol.name).any(|found| found == symbol));
    }
});
