//! RPMs of any size, of bytes that nothing compresses.

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use rpm::{BuildConfig, CompressionType, Dependency, FileOptions, PackageBuilder};

use crate::download::noise;

/// Symbols that a module package needs of its kernel, and says so.
const SYMBOLS: usize = 40;

/// As many packages of module as there are sizes, other ones for each seed.
pub fn make(directory: &Utf8Path, seed: u64, sizes: &[usize]) -> Result<Vec<Utf8PathBuf>> {
    let package =
        |(number, size): (usize, &usize)| package(directory, seed << 16 | number as u64, number, *size);
    sizes.iter().enumerate().map(package).collect()
}

/// A package of one module, as `kmod-…` of a driver stack are.
fn package(directory: &Utf8Path, seed: u64, number: usize, size: usize) -> Result<Utf8PathBuf> {
    const KERNEL: &str = "5.14.0-427.13.1.el9_4.x86_64";
    let name = format!("kmod-bench-{number}");
    let mut builder =
        PackageBuilder::new(&name, "1.0", "GPL-2.0-only", "x86_64", "A kernel module for benches");
    builder
        .using_config(BuildConfig::default().compression(CompressionType::None).source_date(1_700_000_000))
        .release("1.el9")
        .requires(Dependency::any("kernel"))
        .provides(Dependency::any(format!("kmod(bench_{number}.ko)")));
    for symbol in 0..SYMBOLS {
        let crc = format!("0x{:08x}", seed.wrapping_add(symbol as u64) as u32);
        builder.requires(Dependency::eq(format!("kernel(symbol_{number}_{symbol})"), crc));
    }
    let module = format!("/lib/modules/{KERNEL}/extra/bench/bench_{number}.ko");
    builder.with_file_contents(noise(seed, size), FileOptions::new(module))?;
    let path = directory.join(format!("{name}-1.0-1.el9.x86_64.rpm"));
    builder.build()?.write(&mut fs::File::create(&path)?)?;
    Ok(path)
}
