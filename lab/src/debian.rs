//! Debian's archive: which packages there are, fetching them (apt verifies), unpacking them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::cmd::{command, run};

/// The kernel series that the lab is made from: Debian 12's.
pub(crate) const SERIES: &str = "6.1";

/// One binary package, exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deb {
    /// Its version in Debian's notation.
    pub(crate) version: String,
    /// The digest of the file, from apt's signed index.
    pub(crate) sha256: String,
    /// The file's name as apt downloads it.
    pub(crate) file: String,
}

/// Everything that the lab is made from. Written once and kept until a refresh is asked for, so that a newer
/// package in the archive does not turn a finished lab stale by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inputs {
    /// The ABI numbers of the kernels, oldest first.
    pub(crate) kernels: Vec<u32>,
    /// The packages by name.
    pub(crate) debs: BTreeMap<String, Deb>,
}

impl Inputs {
    /// The package of this name.
    pub(crate) fn deb(&self, name: &str) -> Result<&Deb> {
        self.debs.get(name).with_context(|| format!("{name} is not among the lab's inputs"))
    }

    /// The digests of these packages, for a key.
    pub(crate) fn digests<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<String>> {
        names.into_iter().map(|name| Ok(self.deb(name)?.sha256.clone())).collect()
    }
}

/// The three packages that make up one kernel besides kbuild: image, its headers, the headers of all flavours.
pub(crate) fn kernel_packages(abi: u32) -> [String; 3] {
    [
        format!("linux-image-{SERIES}.0-{abi}-cloud-amd64"),
        format!("linux-headers-{SERIES}.0-{abi}-cloud-amd64"),
        format!("linux-headers-{SERIES}.0-{abi}-common"),
    ]
}

/// What `uname -r` prints on that kernel.
pub(crate) fn kernel_release(abi: u32) -> String {
    format!("{SERIES}.0-{abi}-cloud-amd64")
}

/// The package with the source of the drivers.
pub(crate) fn source_package() -> String {
    format!("linux-source-{SERIES}")
}

/// The package with kbuild's programs.
pub(crate) fn kbuild_package() -> String {
    format!("linux-kbuild-{SERIES}")
}

/// Looks up the newest `count` kernels that are complete and can be downloaded, and `others`.
pub(crate) fn resolve(debs: &Utf8Path, count: usize, others: &[&str]) -> Result<Inputs> {
    let names = run(command("apt-cache").args(["pkgnames", "linux-"]))?;
    let mut inputs = Inputs { kernels: Vec::new(), debs: BTreeMap::new() };
    for abi in complete_abis(names.lines()) {
        let packages = kernel_packages(abi);
        let found = packages.iter().map(String::as_str).collect::<Vec<_>>();
        // An index lists versions that the archive has already dropped: only a download proves a kernel.
        let proven = show(&found).and_then(|shown| fetch(debs, &shown).map(|()| shown));
        match proven {
            Ok(shown) => {
                inputs.debs.extend(shown);
                inputs.kernels.push(abi);
            }
            Err(error) => crate::say(format_args!("passing over kernel {abi}: {error:#}")),
        }
        if inputs.kernels.len() == count {
            break;
        }
    }
    ensure!(
        inputs.kernels.len() == count,
        "the archive offers {} of {count} kernels wanted: run `apt-get update`, and see that bookworm-security is among the sources",
        inputs.kernels.len()
    );
    inputs.kernels.reverse();

    let (source, kbuild) = (source_package(), kbuild_package());
    let mut wanted = vec![source.as_str(), kbuild.as_str()];
    wanted.extend(others);
    inputs.debs.extend(show(&wanted)?);
    Ok(inputs)
}

/// The ABI numbers with all of their packages in the index, newest first.
fn complete_abis<'a>(names: impl Iterator<Item = &'a str>) -> Vec<u32> {
    let mut parts: BTreeMap<u32, usize> = BTreeMap::new();
    for name in names {
        let Some(rest) = name.strip_prefix("linux-image-").or_else(|| name.strip_prefix("linux-headers-"))
        else {
            continue;
        };
        let Some(rest) = rest.strip_prefix(SERIES).and_then(|rest| rest.strip_prefix(".0-")) else {
            continue;
        };
        let Some((abi, flavour)) = rest.split_once('-') else { continue };
        let Ok(abi) = abi.parse() else { continue };
        if kernel_packages(abi).iter().any(|wanted| wanted == name) && !flavour.is_empty() {
            *parts.entry(abi).or_default() += 1;
        }
    }
    parts.into_iter().rev().filter(|(_, found)| *found == 3).map(|(abi, _)| abi).collect()
}

/// Candidates of these packages as apt's index has them.
fn show(names: &[&str]) -> Result<BTreeMap<String, Deb>> {
    let text = run(command("apt-cache").args(["show", "--no-all-versions"]).args(names))?;
    let found: BTreeMap<String, Deb> = stanzas(&text).filter_map(|stanza| deb_of(&stanza)).collect();
    for name in names {
        if !found.contains_key(*name) {
            bail!("apt knows no package {name}: run `apt-get update`");
        }
    }
    Ok(found)
}

fn deb_of(stanza: &BTreeMap<&str, &str>) -> Option<(String, Deb)> {
    let name = (*stanza.get("Package")?).to_owned();
    let version = (*stanza.get("Version")?).to_owned();
    let file = format!("{name}_{}_{}.deb", version.replace(':', "%3a"), stanza.get("Architecture")?);
    Some((name, Deb { version, sha256: (*stanza.get("SHA256")?).to_owned(), file }))
}

/// The stanzas of a control file, each with the first line of every field.
pub(crate) fn stanzas(text: &str) -> impl Iterator<Item = BTreeMap<&str, &str>> {
    text.split("\n\n").map(|stanza| {
        stanza
            .lines()
            .filter(|line| !line.starts_with(' '))
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name, value.trim()))
            .collect()
    })
}

/// Downloads what is not there yet. apt verifies against its signed index, and the file is hashed once more
/// against the digest that became part of every key.
pub(crate) fn fetch(dir: &Utf8Path, debs: &BTreeMap<String, Deb>) -> Result<()> {
    fs::create_dir_all(dir)?;
    let missing: Vec<_> = debs.iter().filter(|(_, deb)| !dir.join(&deb.file).exists()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    crate::say(format_args!("downloading {} packages", missing.len()));
    let scratch = tempfile::Builder::new().prefix("partial-").tempdir_in(dir)?;
    run(command("apt-get")
        .current_dir(scratch.path())
        .args(["-q", "-o", "APT::Sandbox::User=root", "download"])
        .args(missing.iter().map(|(name, deb)| format!("{name}={}", deb.version))))?;
    for (name, deb) in missing {
        let from = Utf8Path::from_path(scratch.path()).context("path is not UTF-8")?.join(&deb.file);
        let digest = hex::encode(Sha256::digest(fs::read(&from)?));
        ensure!(digest == deb.sha256, "{name}: downloaded {digest}, the index says {}", deb.sha256);
        fs::rename(from, dir.join(&deb.file))?;
    }
    Ok(())
}

/// Unpacks a package into `to`.
pub(crate) fn unpack(dir: &Utf8Path, deb: &Deb, to: &Utf8Path) -> Result<()> {
    fs::create_dir_all(to)?;
    run(command("dpkg-deb").arg("-x").arg(dir.join(&deb.file)).arg(to))?;
    Ok(())
}

/// Where packages are kept.
pub(crate) fn debs_dir(lab: &Utf8Path) -> Utf8PathBuf {
    lab.join("cache/debs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_kernels_newest_first() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-headers-6.1.0-9-cloud-amd64",
            "linux-headers-6.1.0-9-common",
            "linux-image-6.1.0-10-cloud-amd64",
            "linux-headers-6.1.0-10-cloud-amd64",
            "linux-headers-6.1.0-10-common",
            "linux-headers-6.1.0-10-common-rt",
            "linux-image-6.1.0-11-cloud-amd64",
            "linux-headers-6.1.0-11-common",
            "linux-image-6.12.100+deb12-cloud-amd64",
            "linux-image-6.1.0-12-amd64",
        ];
        assert_eq!(complete_abis(names.into_iter()), [10, 9]);
    }

    #[test]
    fn reads_a_stanza() {
        let text = "Package: libc6\nVersion: 1:2.36-9\nArchitecture: amd64\nSHA256: aa\nDescription: x\n more: y\n\n";
        let (name, deb) = stanzas(text).find_map(|stanza| deb_of(&stanza)).unwrap();
        assert_eq!(name, "libc6");
        assert_eq!(deb.file, "libc6_1%3a2.36-9_amd64.deb");
        assert_eq!(deb.sha256, "aa");
    }
}
