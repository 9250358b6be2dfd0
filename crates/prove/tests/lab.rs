//! Real kernels and real modules, where a lab has been made.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_kmod::{Finding, Problem, VermagicPolicy};
use drivetrain_prove::{ModuleFile, Proof, prove, read_kernel};
use support::{Place, chain, lab, patch, read};

/// The directories with each kernel's RPMs, oldest first.
fn kernels(lab: &Utf8Path) -> Vec<Utf8PathBuf> {
    let rpms = lab.join("rpms").read_dir_utf8().unwrap().flatten();
    let mut found: Vec<Utf8PathBuf> = rpms
        .filter(|entry| entry.file_name().starts_with("kernel-"))
        .map(|entry| entry.path().to_owned())
        .collect();
    found.sort();
    found
}

fn rpm(directory: &Utf8Path, name: &str) -> Utf8PathBuf {
    let mut files = directory.read_dir_utf8().unwrap().flatten().map(|entry| entry.path().to_owned());
    files
        .find(|path| {
            let rest = path.file_name().unwrap().strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
            rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        })
        .unwrap()
}

fn judge(kernel: &Utf8Path, modules: &[Utf8PathBuf], policy: VermagicPolicy) -> Proof {
    let start = Instant::now();
    let kernel = read_kernel(kernel, None).unwrap();
    let kernel_read = start.elapsed();
    let modules = read(modules).unwrap();
    let proof = prove(&modules.modules, &kernel, policy).unwrap();
    let (count, symbols) = (proof.modules.len(), proof.symbols);
    println!("{count} modules, {symbols} symbols: kernel {kernel_read:?}, all {:?}", start.elapsed());
    proof
}

#[test]
fn every_form_of_a_kernel_is_the_same_kernel() {
    let Some(lab) = lab() else { return };
    for directory in kernels(&lab) {
        let devel = read_kernel(&rpm(&directory, "kernel-devel"), None).unwrap();
        let tree = lab.join("kernels").join(devel.release.as_str());
        for other in [rpm(&directory, "kernel-core"), tree.clone(), tree.join("Module.symvers")] {
            let other = read_kernel(&other, Some(&devel.release)).unwrap();
            assert_eq!(other.release, devel.release);
            assert!(other.symbols.iter().eq(devel.symbols.iter()), "{other:?}");
            assert_eq!(other.allow_missing_namespace_imports, devel.allow_missing_namespace_imports);
        }
        assert!(devel.symbols.len() > 5000);
        let error = read_kernel(&rpm(&directory, "kernel-modules-core"), None).unwrap_err();
        assert!(error.to_string().contains("has no Module.symvers"), "{error}");
    }
}

#[test]
fn a_kernel_loads_its_own_modules() {
    let Some(lab) = lab() else { return };
    let kernels = kernels(&lab);
    for directory in &kernels {
        let modules = ["kernel-modules-core", "kernel-modules", "kernel-modules-extra"]
            .map(|name| rpm(directory, name));
        let proof = judge(&rpm(directory, "kernel-devel"), &modules, VermagicPolicy::Exact);
        assert!(proof.modules.len() > 1000);
        assert!(proof.verdict.is_good(), "{proof}");
    }
    // And not those of another, though its CRCs may be the same.
    let [first, .., last] = kernels.as_slice() else { return };
    let proof = judge(&rpm(last, "kernel-devel"), &[rpm(first, "kernel-modules")], VermagicPolicy::Exact);
    assert!(!proof.verdict.is_good());
    let other = |finding: &Finding| matches!(finding.problem, Problem::Release { .. });
    assert!(proof.verdict.modules.iter().all(|module| module.findings.iter().any(other)), "{proof}");
}

#[test]
fn modules_with_other_flags_or_for_another_machine_are_noticed_by_every_form_of_a_kernel() {
    let Some(lab) = lab() else { return };
    let directory = kernels(&lab).remove(0);
    let modules = read(&[rpm(&directory, "kernel-modules-extra")]).unwrap().modules;
    let patched = |from: &[u8], to: &[u8]| -> Vec<ModuleFile> {
        modules
            .iter()
            .map(|module| ModuleFile { bytes: patch(module.bytes.clone(), from, to), ..module.clone() })
            .collect()
    };
    let aarch64: Vec<ModuleFile> = modules
        .iter()
        .map(|module| {
            let mut module = module.clone();
            module.bytes[18] = 183;
            module
        })
        .collect();
    let others =
        [patched(b" SMP preempt ", b" SMX preempt "), patched(b" modversions ", b"             "), aarch64];
    for name in ["kernel-devel", "kernel-core"] {
        let kernel = read_kernel(&rpm(&directory, name), None).unwrap();
        let whole = [modules.clone(), read(&[rpm(&directory, "kernel-modules")]).unwrap().modules].concat();
        assert!(prove(&whole, &kernel, VermagicPolicy::Exact).unwrap().verdict.is_good());
        for other in &others {
            let proof = prove(other, &kernel, VermagicPolicy::AsKernel).unwrap();
            assert_eq!(proof.verdict.refused().count(), other.len(), "{name}: {proof}");
        }
    }
}

#[test]
fn another_kernels_table_is_noticed() {
    let Some(lab) = lab() else { return };
    let directory = kernels(&lab).remove(0);
    let devel = read_kernel(&rpm(&directory, "kernel-devel"), None).unwrap();
    let place = Place::new();
    let printk = devel.symbols.get("_printk").unwrap().crc;
    let changed = devel.symbols.to_string().replace(&format!("{printk}\t_printk\t"), "0x12345678\t_printk\t");
    let table = place.write("Module.symvers", changed);
    let kernel = read_kernel(&table, Some(&devel.release)).unwrap();
    let modules = read(&[rpm(&directory, "kernel-modules")]).unwrap();
    let proof = prove(&modules.modules, &kernel, VermagicPolicy::AsKernel).unwrap();
    let expected = format!(
        "symbol _printk: module wants CRC {printk}, kernel {} has 0x12345678 (vmlinux)",
        devel.release
    );
    assert!(!proof.verdict.is_good());
    assert!(proof.to_string().contains(&expected), "{proof}");
}

#[test]
fn a_kernel_devel_that_was_cut_off_is_truncated_and_one_with_another_byte_damaged() {
    let Some(lab) = lab() else { return };
    let bytes = fs_err::read(rpm(&kernels(&lab).remove(0), "kernel-devel")).unwrap();
    let place = Place::new();
    // In both, the table is whole and could be read.
    let cut = place.write("kernel-devel.rpm", &bytes[..bytes.len() - 5000]);
    let error = chain(&read_kernel(&cut, None).unwrap_err());
    assert!(error.contains("is truncated: it ends within the payload"), "{error}");
    let mut flipped = bytes.clone();
    flipped[bytes.len() - 5000] ^= 1;
    let error = chain(&read_kernel(&place.write("flipped.rpm", flipped), None).unwrap_err());
    assert!(error.contains("the payload digest does not match"), "{error}");
}

#[test]
fn source_rpms_are_told_what_they_are() {
    let Some(lab) = lab() else { return };
    let stack = lab.join("rpms/stack");
    let source = stack.read_dir_utf8().unwrap().flatten().next().unwrap().path().to_owned();
    let error = read(std::slice::from_ref(&source)).unwrap_err();
    assert_eq!(
        chain(&error),
        format!("{source}: is a source RPM: it has nothing to judge until it is rebuilt")
    );
    assert!(chain(&read(&[stack]).unwrap_err()).starts_with("nothing to judge"));
}
