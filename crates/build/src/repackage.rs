//! What was built for one kernel as packages for another, without a build: for a kernel that loads these very modules.
//!
//! The modules stay as they are, byte for byte: their version magic says which kernel they were built for, and a kernel
//! with `CONFIG_MODVERSIONS` overlooks that and goes by the CRCs of symbols (`same_magic` in `kernel/module/version.c`).
//! All that the packages say of the kernel is changed: release, paths, what they offer and need, scripts, and texts such as
//! `depmod.d` files. Whether the kernel loads them is for whoever calls this to find out before.

use std::io;
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_model::{KernelRelease, Sha256Digest};
use drivetrain_rpmfile::{Changes, FileFact, FileKind, PayloadLimits, RpmFile, rewrite};

use crate::cache::{NewEntry, RepackagedFrom};
use crate::packages::{BuiltPackage, is_module, with_modules};
use crate::{CachedComponent, ComponentCache, ComponentError};

/// The longest file that is looked into for the name of the kernel. No configuration is longer.
const MAX_TEXT: u64 = 1 << 20;

/// Puts into the cache, under `key`, the packages of a finished component as packages for `kernel`.
///
/// # Errors
/// Where the entry is damaged, its packages cannot be written anew, or none of them has modules.
pub fn repackage(
    cache: &ComponentCache,
    built: &CachedComponent,
    key: Sha256Digest,
    kernel: &KernelRelease,
    scratch: &Utf8Path,
) -> Result<CachedComponent, ComponentError> {
    let started = Instant::now();
    let damaged = |reason: String| ComponentError::Repackage { component: built.component.clone(), reason };
    let entry = cache
        .get(&built.key)
        .map_err(damaged)?
        .ok_or_else(|| damaged("what was built is gone".to_owned()))?;
    let mut packages = Vec::new();
    for package in &entry.packages {
        packages.push(for_kernel(&package.path, scratch, &built.kernel, kernel).map_err(damaged)?);
    }
    let packages = with_modules(&built.component, packages, kernel)?;
    cache.put(&NewEntry {
        key,
        component: &built.component,
        kernel,
        family: None,
        repackaged: Some(&RepackagedFrom { kernel: built.kernel.clone(), key: built.key }),
        ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        packages: &packages,
        rpms: scratch,
        log: &entry.log(),
    })
}

fn for_kernel(
    package: &Utf8Path,
    to: &Utf8Path,
    from: &KernelRelease,
    kernel: &KernelRelease,
) -> Result<BuiltPackage, String> {
    let said = |error: drivetrain_rpmfile::Error| {
        // The file's name is ours, and tells nobody anything; what is wrong with it does.
        let mut text = format!("{}: {}", package.file_name().unwrap_or_default(), error.problem);
        let mut cause = std::error::Error::source(&*error.problem);
        while let Some(next) = cause {
            text.push_str(&format!(": {next}"));
            cause = next.source();
        }
        text
    };
    let written = to.join("written.rpm");
    let mut changes = ForKernel::new(from, kernel);
    rewrite(package.as_std_path(), written.as_std_path(), &PayloadLimits::default(), &mut changes)
        .map_err(said)?;
    let facts = RpmFile::open(written.as_std_path()).map_err(said)?;
    let file = facts.nevra.file_name();
    let place: Utf8PathBuf = to.join(&file);
    fs_err::rename(&written, &place).map_err(|error| error.to_string())?;
    let modules = facts.files.iter().map(|file| file.path.clone()).filter(|path| is_module(path)).collect();
    Ok(BuiltPackage { file, nevra: facts.nevra, provides: facts.provides, modules })
}

/// What releases end with that say their architecture.
const ARCHITECTURES: [&str; 4] = ["x86_64", "aarch64", "ppc64le", "s390x"];

/// One kernel's name for another's, in each of the forms that packages have it in.
struct ForKernel {
    /// What stands for what, the longest first.
    names: Vec<(String, String)>,
}

impl ForKernel {
    fn new(from: &KernelRelease, to: &KernelRelease) -> Self {
        let mut names = Vec::new();
        for (from, to) in forms(from).into_iter().zip(forms(to)) {
            if !names.iter().any(|(known, _)| *known == from) {
                names.push((from, to));
            }
        }
        Self { names }
    }

    fn changed(&self, text: &str) -> Option<String> {
        let mut new = text.to_owned();
        for (from, to) in &self.names {
            if new.contains(from.as_str()) {
                new = replace_whole(&new, from, to);
            }
        }
        (new != text).then_some(new)
    }
}

/// A release as it stands in paths and in versions; with the architecture and without. A version has no `-`, or none but
/// one: the vendors' spec files turn them into `_`, or all but the last into `.`.
fn forms(release: &KernelRelease) -> Vec<String> {
    let full = release.as_str();
    let short =
        ARCHITECTURES.iter().find_map(|arch| full.strip_suffix(arch)?.strip_suffix('.')).unwrap_or(full);
    let dotted = match full.rsplit_once('-') {
        Some((before, last)) => format!("{}-{last}", before.replace('-', ".")),
        None => full.to_owned(),
    };
    vec![full.to_owned(), dotted, full.replace('-', "_"), short.to_owned(), short.replace('-', "_")]
}

/// Replaces a name where it stands by itself: `5.14.0-70.el9` is no part of `5.14.0-70.el9_0`, nor of `15.14.0-70.el9`.
fn replace_whole(text: &str, from: &str, to: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(from) {
        let (before, after) = (&rest[..at], &rest[at + from.len()..]);
        let begins = !before.ends_with(|c: char| c.is_ascii_alphanumeric());
        let ends = !after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        out.push_str(before);
        out.push_str(if begins && ends { to } else { from });
        rest = after;
    }
    out.push_str(rest);
    out
}

impl Changes for ForKernel {
    fn wants(&self, file: &FileFact) -> bool {
        file.kind == FileKind::Regular && file.size <= MAX_TEXT && !is_module(&file.path)
    }

    fn content(&mut self, _: &FileFact, content: &[u8]) -> io::Result<Option<Vec<u8>>> {
        if content.contains(&0) {
            return Ok(None);
        }
        let Ok(text) = std::str::from_utf8(content) else { return Ok(None) };
        Ok(self.changed(text).map(String::into_bytes))
    }

    fn text(&self, text: &str) -> Option<String> {
        self.changed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(from: &str, to: &str, text: &str) -> Option<String> {
        let [from, to] = [from, to].map(|release| KernelRelease::parse(release).unwrap());
        ForKernel::new(&from, &to).changed(text)
    }

    #[test]
    fn a_kernel_is_renamed_in_every_form_and_nowhere_else() {
        let (from, to) = ("5.14.0-503.11.1.el9_5.x86_64", "5.14.0-503.14.1.el9_5.x86_64");
        for (text, wanted) in [
            (
                "/lib/modules/5.14.0-503.11.1.el9_5.x86_64/extra",
                "/lib/modules/5.14.0-503.14.1.el9_5.x86_64/extra",
            ),
            ("1.rhel9.5.14.0_503.11.1.el9_5", "1.rhel9.5.14.0_503.14.1.el9_5"),
            ("kernel >= 5.14.0-503.11.1.el9_5", "kernel >= 5.14.0-503.14.1.el9_5"),
            (
                "a 5.14.0-503.11.1.el9_5.x86_64, b 5.14.0_503.11.1.el9_5.x86_64.rpm",
                "a 5.14.0-503.14.1.el9_5.x86_64, b 5.14.0_503.14.1.el9_5.x86_64.rpm",
            ),
        ] {
            assert_eq!(changed(from, to, text).as_deref(), Some(wanted), "{text}");
        }
        for text in
            ["5.14.0-503.11.1.el9_50", "15.14.0-503.11.1.el9_5", "5.14.0-503.11.1.el9_5_1", "kernel", ""]
        {
            assert_eq!(changed(from, to, text), None, "{text}");
        }
        assert_eq!(
            changed("6.1.0-55-cloud-amd64", "6.1.0-56-cloud-amd64", "kernel-uname-r = 6.1.0.55.cloud-amd64")
                .as_deref(),
            Some("kernel-uname-r = 6.1.0.56.cloud-amd64")
        );
        // The name of one is the beginning of the other's.
        let (from, to) = ("6.1.0-5-cloud-amd64", "6.1.0-56-cloud-amd64");
        assert_eq!(
            changed(from, to, "6.1.0-5-cloud-amd64 6.1.0-56-cloud-amd64").as_deref(),
            Some("6.1.0-56-cloud-amd64 6.1.0-56-cloud-amd64")
        );
    }
}
