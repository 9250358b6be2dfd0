//! A kernel that enforces signatures is the judge: Debian's, under QEMU with UEFI firmware, whose `db` our certificate is in
//! or is not.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where something fails, and says what it left out"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use drivetrain_boot::uefi::enrol;
use drivetrain_modsign::{
    Endorsement, HashKind, ModuleDigest, NewKey, SignaturesFor, Signer as _, Subject, content_of, new_key,
    sign_module, sign_package,
};
use jiff::Timestamp;
use tempfile::TempDir;

const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
/// A package with the module twice: as it is, and compressed otherwise than kernels take it.
const SPEC: &str = "Name: kmod-dummy
Version: 1
Release: 1
Summary: A module
License: GPL-2.0-only
%description
A module.
%install
mkdir -p %{buildroot}/lib/modules/6.1.0/extra
cp %{_topdir}/dummy.ko %{buildroot}/lib/modules/6.1.0/extra/
xz --check=sha256 --x86 --lzma2 < %{_topdir}/dummy.ko > %{buildroot}/lib/modules/6.1.0/extra/packed.ko.xz
%files
/lib/modules/6.1.0/extra
";
const INIT: &str = "#!/bin/busybox sh
/bin/busybox mount -t proc none /proc
for m in unsigned changed one both packed; do
/bin/busybox insmod /$m.ko && echo \"RESULT $m loaded\" || echo \"RESULT $m refused\"
/bin/busybox rmmod dummy 2>/dev/null
done
/bin/busybox poweroff -f
";

fn sh(directory: &Path, script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).current_dir(directory).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{script}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// The lab's newest kernel, and a module of its own that needs no other; without the signature that it has.
fn kernel(place: &Path) -> Option<(PathBuf, Vec<u8>)> {
    let lab = PathBuf::from(std::env::var_os("DRIVETRAIN_LAB")?);
    for needed in [CODE, VARIABLES, "/usr/bin/qemu-system-x86_64", "/usr/bin/busybox", "/usr/bin/rpmbuild"] {
        if !Path::new(needed).exists() {
            println!("left out: there is no {needed}");
            return None;
        }
    }
    let script = format!(
        "d=$(ls -d {}/rpms/kernel-* | sort -V | tail -1); for p in kernel-core kernel-modules-core kernel-modules; do \
         rpm2cpio $d/$p-6*.rpm | cpio -idm --quiet './lib/modules/*/vmlinuz' '*/dummy.ko*'; done; \
         ls $PWD/lib/modules/*/vmlinuz; find $PWD -name 'dummy.ko'",
        lab.display()
    );
    let found = sh(place, &script);
    let mut lines = found.lines();
    let (image, module) = (lines.next()?.into(), std::fs::read(lines.next()?).unwrap());
    Some((image, content_of(&module).unwrap().to_vec()))
}

fn key(name: &str) -> NewKey {
    new_key(&Subject { name: name.to_owned(), bits: 2048, days: 30, now: Timestamp::now() }, None).unwrap()
}

fn signed(module: &[u8], keys: &[&NewKey]) -> Vec<u8> {
    let digest = [ModuleDigest::of(HashKind::Sha256, module)];
    let raw: Vec<Vec<u8>> =
        keys.iter().map(|key| key.key(None).unwrap().sign(&digest).unwrap().remove(0)).collect();
    let endorsements: Vec<Endorsement<'_>> = keys
        .iter()
        .zip(&raw)
        .map(|(key, raw)| Endorsement {
            certificate: &key.certificate,
            hash: HashKind::Sha256,
            signature: raw,
        })
        .collect();
    sign_module(module, &endorsements).unwrap()
}

/// What a package has of the module once its modules are signed as those of a run are: as it is, and out of its compression.
fn out_of_a_package(place: &Path, module: &[u8], keys: &[&NewKey]) -> [Vec<u8>; 2] {
    let top = place.join("rpm");
    std::fs::create_dir(&top).unwrap();
    std::fs::write(top.join("dummy.ko"), module).unwrap();
    std::fs::write(top.join("kmod-dummy.spec"), SPEC).unwrap();
    sh(
        &top,
        "rpmbuild --quiet -bb --define \"_topdir $PWD\" --define 'debug_package %{nil}' --define '__os_install_post \
         %{nil}' kmod-dummy.spec 2>&1; mv RPMS/*/*.rpm built.rpm",
    );
    let digest = [ModuleDigest::of(HashKind::Sha256, module)];
    let of = |key: &&NewKey| -> BTreeMap<_, _> {
        digest.iter().cloned().zip(key.key(None).unwrap().sign(&digest).unwrap()).collect()
    };
    let signatures: Vec<_> = keys.iter().map(of).collect();
    let signers: Vec<_> = (keys.iter().zip(&signatures))
        .map(|(key, signatures)| SignaturesFor {
            certificate: &key.certificate,
            hash: HashKind::Sha256,
            signatures,
        })
        .collect();
    sign_package(&top.join("built.rpm"), &top.join("signed.rpm"), &signers).unwrap();
    sh(
        &top,
        "rpm -K --nosignature signed.rpm; rpm2cpio signed.rpm | cpio -idm --quiet; mv lib/modules/6.1.0/extra/* .; xz -d \
         packed.ko.xz",
    );
    ["dummy.ko", "packed.ko"].map(|name| std::fs::read(top.join(name)).unwrap())
}

/// What the console says of a boot with these certificates enrolled.
fn boot(place: &Path, image: &Path, certificates: &[&[u8]]) -> String {
    let store = enrol(&std::fs::read(VARIABLES).unwrap(), certificates).unwrap();
    std::fs::write(place.join("vars.fd"), store).unwrap();
    let script = format!(
        "timeout -k 5 200 qemu-system-x86_64 -machine q35 -accel tcg,thread=multi -cpu max -smp 2 -m 1024 -nographic \
         -nodefaults -serial stdio -no-reboot -drive if=pflash,format=raw,unit=0,readonly=on,file={CODE} \
         -drive if=pflash,format=raw,unit=1,file=vars.fd -kernel {} -initrd initramfs \
         -append 'console=ttyS0 panic=-1 mitigations=off module.sig_enforce=1 loglevel=6' </dev/null 2>&1",
        image.display()
    );
    sh(place, &script)
}

fn says(console: &str, results: &[&str]) {
    let told = console.lines().filter(|line| line.contains("RESULT ") || line.contains("Loading of "));
    // For whoever looks at it with `--no-capture`.
    println!("{}\n", told.collect::<Vec<_>>().join("\n"));
    for result in results {
        assert!(console.contains(&format!("RESULT {result}")), "{result}: {console}");
    }
}

#[test]
fn an_enforcing_kernel_loads_what_an_enrolled_key_has_signed_and_nothing_else() {
    let place = TempDir::new().unwrap();
    let place = place.path();
    let Some((image, module)) = kernel(place) else { return println!("left out: there is no lab") };
    let (old, new) = (key("Site module signing"), key("Next module signing"));
    let root = place.join("root");
    std::fs::create_dir_all(root.join("bin")).unwrap();
    std::fs::create_dir_all(root.join("proc")).unwrap();
    std::fs::copy("/usr/bin/busybox", root.join("bin/busybox")).unwrap();
    let one = signed(&module, &[&old]);
    let mut changed = one.clone();
    let at = changed.windows(8).position(|window| window == b"license=").unwrap();
    changed[at + 8] ^= 0x20;
    let [both, packed] = out_of_a_package(place, &module, &[&old, &new]);
    assert!(both == packed && both == signed(&module, &[&old, &new]));
    let files = [
        ("unsigned.ko", module.clone()),
        ("changed.ko", changed),
        ("both.ko", both),
        ("packed.ko", packed),
        ("one.ko", one),
        ("init", INIT.into()),
    ];
    for (name, bytes) in files {
        std::fs::write(root.join(name), bytes).unwrap();
    }
    sh(place, "chmod +x root/init; cd root; find . | cpio -o -H newc --quiet > ../initramfs");

    let console = boot(place, &image, &[old.certificate.der()]);
    says(&console, &["unsigned refused", "changed refused", "one loaded", "both loaded", "packed loaded"]);
    assert!(console.contains("Loading of unsigned module is rejected"), "{console}");
    // The key was replaced on the machine: what is signed for both is loaded still.
    let console = boot(place, &image, &[new.certificate.der()]);
    says(&console, &["unsigned refused", "changed refused", "one refused", "both loaded", "packed loaded"]);
    let console = boot(place, &image, &[]);
    says(&console, &["unsigned refused", "changed refused", "one refused", "both refused", "packed refused"]);
    assert!(console.contains("Loading of module with unavailable key is rejected"), "{console}");
}
