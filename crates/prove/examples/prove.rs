//! Judges modules by a kernel, and says how long each part of it took.
//!
//! ```text
//! prove [--json] [--release RELEASE] KERNEL FILE_OR_DIRECTORY...
//! ```
#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::error::Error;
use std::time::Instant;

use camino::Utf8PathBuf;
use drivetrain_kmod::VermagicPolicy;
use drivetrain_model::KernelRelease;
use drivetrain_prove::{Limits, prove, read_kernel, read_modules};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let json = arguments.first().is_some_and(|first| first == "--json");
    arguments.drain(..usize::from(json));
    let mut release = None;
    if arguments.first().is_some_and(|first| first == "--release") && arguments.len() > 1 {
        release = Some(KernelRelease::parse(&arguments[1])?);
        arguments.drain(..2);
    }
    let [kernel, files @ ..] = arguments.as_slice() else {
        return Err("usage: prove [--json] [--release RELEASE] KERNEL FILE_OR_DIRECTORY...".into());
    };
    let files: Vec<Utf8PathBuf> = files.iter().map(Utf8PathBuf::from).collect();
    let start = Instant::now();
    let kernel = read_kernel(kernel.as_str().into(), release.as_ref())?;
    let kernel_read = start.elapsed();
    let modules = read_modules(&files, &Limits::default())?;
    let modules_read = start.elapsed();
    let proof = prove(&modules.modules, &kernel, VermagicPolicy::Exact)?;
    let proven = start.elapsed();
    if json {
        println!("{}", serde_json::to_string_pretty(&proof)?);
        return Ok(());
    }
    println!("{proof:#}");
    for package in &modules.without {
        println!("without modules: {package}");
    }
    let bytes: usize = modules.modules.iter().map(|module| module.bytes.len()).sum();
    println!("kernel {}: {:?} in {kernel_read:?}", kernel.release, kernel.symbols);
    println!("{} modules of {bytes} bytes read in {:?}", modules.modules.len(), modules_read - kernel_read);
    println!("{} symbols judged in {:?}, {proven:?} in all", proof.symbols, proven - modules_read);
    Ok(())
}
