//! Judges modules on disk against a kernel's symbols, or prints what is read from them.
//!
//! ```text
//! judge verdict|load|json RELEASE MODULE_SYMVERS REFERENCE_MODULE|- FILE_OR_DIRECTORY...
//! judge facts FILE_OR_DIRECTORY...
//! ```
//!
//! `verdict` asks whether the set may be published for the release, `load` only whether the kernel takes it.
//! `facts` prints every version, export and undefined symbol on a line of its own, to be compared with
//! `modprobe --dump-modversions`, `nm` and `Module.symvers`.
#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::borrow::Cow;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use drivetrain_kmod::{
    KernelReference, KernelSymbols, Module, NamedModule, SymbolTable, VermagicPolicy, check_set, decompress,
};
use drivetrain_model::KernelRelease;

/// Modules with debug information reach a few hundred million bytes.
const LARGEST: usize = 1 << 30;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["facts", paths @ ..] => facts(paths),
        [what @ ("verdict" | "load" | "json"), release, symvers, reference, paths @ ..] => {
            judge(what, release, symvers, reference, paths)
        }
        _ => {
            Err("usage: judge verdict|load|json RELEASE SYMVERS REFERENCE|- PATH... | judge facts PATH..."
                .into())
        }
    }
}

fn judge(
    what: &str,
    release: &str,
    symvers: &str,
    reference: &str,
    paths: &[&str],
) -> Result<(), Box<dyn Error>> {
    let symvers = fs_err::read(symvers)?;
    let start = Instant::now();
    let symbols = SymbolTable::from_bytes(&symvers)?;
    let read_symbols = start.elapsed();
    let lines = symbols.len();
    let mut kernel = KernelSymbols::new(KernelRelease::parse(release)?, symbols);
    if reference != "-" {
        let bytes = fs_err::read(reference)?;
        kernel = kernel.with_reference(KernelReference::of(&Module::parse(&decompress(&bytes, LARGEST)?)?));
    }
    let files = files(paths)?;
    let packed = files.iter().map(fs_err::read).collect::<Result<Vec<_>, _>>()?;
    let start = Instant::now();
    let bytes = packed.iter().map(|file| decompress(file, LARGEST)).collect::<Result<Vec<_>, _>>()?;
    let unpacked = start.elapsed();
    let start = Instant::now();
    let modules = bytes.iter().map(|file| Module::parse(file)).collect::<Result<Vec<_>, _>>()?;
    let parsed = start.elapsed();
    let names: Vec<Cow<'_, str>> = files.iter().map(|path| path.to_string_lossy()).collect();
    let named: Vec<NamedModule<'_>> =
        names.iter().zip(&modules).map(|(file, module)| NamedModule { file, module }).collect();
    let policy = if what == "verdict" { VermagicPolicy::Exact } else { VermagicPolicy::AsKernel };
    let start = Instant::now();
    let verdict = check_set(&named, &kernel, policy);
    let judged = start.elapsed();
    if what == "json" {
        println!("{}", serde_json::to_string(&verdict)?);
        return Ok(());
    }
    println!("{verdict}");
    println!("needs in-tree {:?}", verdict.in_tree_needed);
    println!("shadows {:?}", verdict.shadows);
    let symbols: usize = verdict.modules.iter().map(|module| module.symbols).sum();
    let size: usize = bytes.iter().map(|file| file.len()).sum();
    println!("symvers: {lines} lines in {read_symbols:?}");
    println!("{} modules of {size} bytes: unpacked in {unpacked:?}, read in {parsed:?}", modules.len());
    println!("{symbols} symbols judged in {judged:?}");
    Ok(())
}

fn facts(paths: &[&str]) -> Result<(), Box<dyn Error>> {
    for path in files(paths)? {
        let packed = fs_err::read(&path)?;
        let bytes = decompress(&packed, LARGEST)?;
        let module = Module::parse(&bytes)?;
        let name = module.name().unwrap_or_default();
        for (symbol, crc) in module.versions().iter() {
            println!("version\t{name}\t{crc}\t{symbol}");
        }
        for export in module.exports() {
            let crc = export.crc.map(|crc| crc.to_string()).unwrap_or_default();
            let kind = if export.gpl_only { "EXPORT_SYMBOL_GPL" } else { "EXPORT_SYMBOL" };
            println!(
                "export\t{name}\t{crc}\t{}\t{kind}\t{}",
                export.name,
                export.namespace.unwrap_or_default()
            );
        }
        for undefined in module.undefined() {
            let binding = if undefined.weak { "w" } else { "U" };
            println!("undefined\t{name}\t{binding}\t{}", undefined.name);
        }
        for (key, value) in module.modinfo().iter() {
            println!("modinfo\t{name}\t{key}\t{}", value.escape_debug());
        }
        if let Some(signature) = module.signature() {
            println!("signature\t{name}\t{}\t{}", signature.offset, signature.bytes.len());
        }
        println!("content\t{name}\t{}", module.content_digest());
    }
    Ok(())
}

/// Every module below the paths, in order.
fn files(paths: &[&str]) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
    while let Some(path) = open.pop() {
        if fs_err::metadata(&path)?.is_dir() {
            for entry in fs_err::read_dir(&path)? {
                open.push(entry?.path());
            }
        } else if is_module(&path) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn is_module(path: &Path) -> bool {
    let name = path.to_string_lossy();
    [".ko", ".ko.gz", ".ko.xz", ".ko.zst"].iter().any(|ending| name.ends_with(ending))
}
