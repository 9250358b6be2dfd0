//! The initramfs that a host makes for itself: that the modules in it are those that were installed.
//!
//! A driver that is loaded from there is loaded before anything else has a say, so an inbox twin in it wins whatever
//! `depmod.d` says of the rest of the system.

use std::collections::BTreeMap;
use std::fs::File;
use std::time::Duration;

use camino::Utf8Path;
use drivetrain_host::{Bind, CancellationToken, Ending, Host as _, Job, LocalSandbox, RootFs, SandboxSpec};
use drivetrain_kmod::{Module, decompress, is_module_path, module_name_of};
use drivetrain_model::{KernelRelease, Sha256Digest};
use serde::{Deserialize, Serialize};

use crate::cpio::{self, read_bounded};
use crate::install::InstalledTree;
use crate::program::System;
use crate::{BootError, WantedModule};

/// The largest image, and what it may unpack to.
const LARGEST: u64 = 1 << 30;
const LARGEST_UNPACKED: usize = 2 << 30;
/// The most archives that stand one behind the other in an image.
const MOST_ARCHIVES: usize = 16;
/// How long making one may take.
const DEADLINE: Duration = Duration::from_secs(300);
const OUT: &str = "/drivetrain-image";
/// What decides of the image's content besides dracut itself: what packages and sites say to dracut and depmod.
const CONFIGURATION: [&str; 4] =
    ["/etc/dracut.conf", "/etc/dracut.conf.d", "/etc/modprobe.d", "/etc/depmod.d"];

/// What was found of the initramfs that the installed dracut makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeneratedImage {
    /// How many kernel modules it has.
    pub modules: usize,
    /// Those of ours that are in it.
    pub ours: Vec<String>,
    /// Whether the image could not be made, and why not.
    pub not_made: Option<String>,
    /// What is wrong with it.
    pub problems: Vec<String>,
}

/// Makes the image with the tree's own dracut, and looks into it; `None` where the tree has none.
pub(crate) async fn check(
    host: &LocalSandbox,
    tree: &InstalledTree,
    release: &KernelRelease,
    wanted: &[WantedModule],
    scratch: &Utf8Path,
    cancel: &CancellationToken,
) -> Result<Option<GeneratedImage>, BootError> {
    if !tree.runs(&["/usr/bin/dracut", "/usr/sbin/dracut"]) {
        return Ok(None);
    }
    let out = scratch.join("image");
    host.create_work_directory(&out).await?;
    if let Some(why) = make(host, tree, release, scratch, &out, cancel).await? {
        return Ok(Some(GeneratedImage { modules: 0, ours: vec![], not_made: Some(why), problems: vec![] }));
    }
    let path = out.join("image");
    let bytes = File::open(&path)
        .and_then(|file| read_bounded(file, LARGEST))
        .map_err(BootError::file("read", &path))?
        .ok_or_else(|| BootError::TooLarge { what: path.to_string(), limit: LARGEST })?;
    let found = modules_of(&bytes).map_err(|why| BootError::Malformed { path, why })?;
    compare(&tree.root, wanted, &found).map(Some)
}

/// Runs dracut in the tree as a user without rights; why it could not, where it could not.
async fn make(
    host: &LocalSandbox,
    tree: &InstalledTree,
    release: &KernelRelease,
    scratch: &Utf8Path,
    out: &Utf8Path,
    cancel: &CancellationToken,
) -> Result<Option<String>, BootError> {
    let modules = scratch.join("lib/modules").join(release.as_str());
    let system = System(&tree.root);
    // A link of a package's would lead out of the tree.
    let configuration = CONFIGURATION
        .iter()
        .filter(|path| system.is_plain(path))
        .map(|path| Bind::read_only(tree.root.join(&path[1..]), *path));
    let mut binds =
        vec![Bind::writable(out, OUT), Bind::read_only(&modules, format!("/usr/lib/modules/{release}"))];
    binds.extend(configuration);
    let image = format!("{OUT}/image");
    let job = Job {
        sandbox: SandboxSpec { root: RootFs::Directory(tree.root.clone()), binds, ..SandboxSpec::default() },
        program: "dracut".to_owned(),
        // The image is put together where it will be: nothing else can be written to, and memory is not for that.
        arguments: ["--force", "--no-hostonly", "--tmpdir", OUT, "--kver", release.as_str(), &image]
            .map(str::to_owned)
            .into(),
        directory: "/".into(),
        log: None,
        append: false,
        deadline: Some(DEADLINE),
    };
    let mut said = Vec::new();
    let mut sink = |line: &str| {
        said.push(crate::text::printable(line));
        if said.len() > 5 {
            said.remove(0);
        }
    };
    match host.run(&job, &mut sink, cancel).await?.ending {
        Ending::Exited(0) => Ok(None),
        Ending::Cancelled => Err(BootError::Cancelled),
        ending => Ok(Some(format!("dracut {ending}: {}", said.join("; ")))),
    }
}

/// The modules of an image, decompressed, by their paths in it.
type Found = BTreeMap<String, Sha256Digest>;

/// Reads archives one behind the other, as the kernel does: each compressed or not, with zeroes between.
fn modules_of(image: &[u8]) -> Result<Found, String> {
    let mut found = Found::new();
    let mut rest = image;
    for _ in 0..MOST_ARCHIVES {
        let zeroes = rest.iter().take_while(|byte| **byte == 0).count();
        rest = &rest[zeroes..];
        if rest.is_empty() {
            return Ok(found);
        }
        if rest.starts_with(b"0707") {
            let (entries, length) = cpio::read(rest)?;
            take(&entries, &mut found)?;
            rest = rest.get(length..).unwrap_or_default();
            continue;
        }
        // What is compressed reaches to the end.
        let unpacked = decompress(rest, LARGEST_UNPACKED).map_err(|error| error.to_string())?;
        if !unpacked.starts_with(b"0707") {
            return Err("it is compressed with something that is not known, or is no cpio archive".to_owned());
        }
        let (entries, _) = cpio::read(&unpacked)?;
        take(&entries, &mut found)?;
        return Ok(found);
    }
    Err(format!("it has more than {MOST_ARCHIVES} archives"))
}

fn take(entries: &[cpio::Entry<'_>], found: &mut Found) -> Result<(), String> {
    for entry in entries.iter().filter(|entry| entry.is_regular() && is_module_path(entry.name)) {
        let digest = digest_of(entry.content).map_err(|why| format!("{}: {why}", entry.name))?;
        found.insert(entry.name.to_owned(), digest);
    }
    Ok(())
}

/// Of the content without a signature: dracut may compress modules anew, and distributions strip and sign them.
fn digest_of(bytes: &[u8]) -> Result<Sha256Digest, String> {
    let limit = crate::initramfs::LARGEST_MODULE;
    let bytes = decompress(bytes, limit).map_err(|error| error.to_string())?;
    Ok(Module::parse(&bytes).map_or_else(|_| Sha256Digest::of(&bytes), |module| module.content_digest()))
}

fn compare(root: &Utf8Path, wanted: &[WantedModule], found: &Found) -> Result<GeneratedImage, BootError> {
    let mut image = GeneratedImage { modules: found.len(), ours: vec![], not_made: None, problems: vec![] };
    for module in wanted {
        let bytes = System(root).read(&module.path)?;
        let own = digest_of(&bytes).map_err(|why| BootError::Malformed {
            path: root.join(module.path.trim_start_matches('/')),
            why,
        })?;
        for (path, digest) in found.iter().filter(|(path, _)| module_name_of(path) == module.name) {
            if *digest == own {
                image.ours.push(module.name.clone());
            } else {
                let name = &module.name;
                image.problems.push(format!(
                    "{name}: the initramfs that the installed dracut makes has another in it, as {path}: a node that boots \
                     from it loads that before the one to be published"
                ));
            }
        }
    }
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpio::Writer;

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for (path, content) in files {
            writer.file(path, 0o644, content).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn modules_are_found_behind_an_early_archive_and_whatever_compresses_them() {
        let early = archive(&[("/kernel/x86/microcode/AuthenticAMD.bin", b"code")]);
        let packed = zstd::encode_all(&b"ours"[..], 3).unwrap();
        let main = archive(&[("/usr/lib/modules/1/extra/a-b.ko.zst", &packed), ("/usr/lib/x", b"x")]);
        for main in [main.clone(), zstd::encode_all(main.as_slice(), 3).unwrap()] {
            let mut image = early.clone();
            image.resize(image.len().next_multiple_of(512), 0);
            image.extend(main);
            let found = modules_of(&image).unwrap();
            assert_eq!(
                found.into_iter().collect::<Vec<_>>(),
                [("usr/lib/modules/1/extra/a-b.ko.zst".to_owned(), Sha256Digest::of(b"ours"))]
            );
        }
        assert!(modules_of(b"something else").is_err());
        assert!(modules_of(&early[..early.len() / 2]).is_err());
    }

    #[test]
    fn another_module_under_the_name_of_ours_is_a_problem() {
        let directory = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(directory.path()).unwrap();
        std::fs::create_dir_all(root.join("lib/modules/1/extra")).unwrap();
        std::fs::write(root.join("lib/modules/1/extra/a.ko"), "ours").unwrap();
        let path = "/lib/modules/1/extra/a.ko".to_owned();
        let wanted = [WantedModule { name: "a".to_owned(), path, package: None }];
        let ours = modules_of(&archive(&[("/lib/modules/1/extra/a.ko", b"ours")])).unwrap();
        let image = compare(root, &wanted, &ours).unwrap();
        assert_eq!((image.ours, image.problems.len()), (vec!["a".to_owned()], 0));
        let twin = modules_of(&archive(&[("/lib/modules/1/kernel/a.ko.xz", b"inbox")])).unwrap();
        let image = compare(root, &wanted, &twin).unwrap();
        assert_eq!(image.ours.len(), 0);
        assert!(image.problems[0].contains("as lib/modules/1/kernel/a.ko.xz"), "{:?}", image.problems);
    }
}
