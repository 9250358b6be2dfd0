//! Repositories: packages linked into place, metadata by createrepo_c, a detached signature over repomd.xml.

use anyhow::{Context as _, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use sha2::{Digest as _, Sha256};

use crate::cmd::{command, run};
use crate::keys::{Keyring, Signer};

/// Raised when this module changes what a repository looks like: part of the keys of all repositories.
pub(crate) const VERSION: &str = "2";

/// How a repository's metadata is compressed. Each of the lab's repositories has another one, since all three
/// are met in the world.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Compression {
    /// gzip
    Gzip,
    /// xz
    Xz,
    /// Zstandard
    Zstd,
}

/// What a repository is made of.
pub(crate) struct Repository<'a> {
    /// The packages; they are linked, not copied, where the file system allows.
    pub(crate) packages: &'a [Utf8PathBuf],
    /// How its metadata is compressed.
    pub(crate) compression: Compression,
    /// The time that its metadata says it is from.
    pub(crate) timestamp: u64,
    /// An updateinfo document to add.
    pub(crate) updateinfo: Option<String>,
}

impl Repository<'_> {
    /// Writes the repository into `out` and signs it.
    pub(crate) fn write(&self, out: &Utf8Path, keyring: &Keyring, signer: Signer) -> Result<()> {
        for package in self.packages {
            let name = package.file_name().context("package without a name")?;
            let initial = name.chars().next().unwrap_or('_').to_ascii_lowercase();
            let dir = out.join("Packages").join(initial.to_string());
            fs::create_dir_all(&dir)?;
            link(package, &dir.join(name))?;
        }
        let mut createrepo = command("createrepo_c");
        createrepo.args(["--quiet", "--no-database", "--set-timestamp-to-revision", "--revision"]);
        createrepo.arg(self.timestamp.to_string());
        createrepo.arg(match self.compression {
            Compression::Xz => "--general-compress-type=xz",
            Compression::Gzip | Compression::Zstd => "--general-compress-type=gz",
        });
        run(createrepo.arg(out))?;
        let repodata = out.join("repodata");
        if let Some(updateinfo) = &self.updateinfo {
            let file = out.join("updateinfo.xml");
            fs::write(&file, updateinfo)?;
            run(command("modifyrepo_c")
                .args(["--mdtype=updateinfo", "--compress-type=gz"])
                .arg(&file)
                .arg(&repodata))?;
            fs::remove_file(&file)?;
        }
        if matches!(self.compression, Compression::Zstd) {
            recompress(&repodata, self.timestamp)?;
        }
        keyring.sign_file(signer, &repodata.join("repomd.xml"))
    }
}

/// Links, or copies where links cannot be made.
pub(crate) fn link(from: &Utf8Path, to: &Utf8Path) -> Result<()> {
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to)?;
    }
    Ok(())
}

/// Turns gzip metadata into Zstandard, which this createrepo_c cannot write yet.
fn recompress(repodata: &Utf8Path, timestamp: u64) -> Result<()> {
    let repomd = repodata.join("repomd.xml");
    let mut text = fs::read_to_string(&repomd)?;
    for entry in repodata.read_dir_utf8()? {
        let old = entry?.into_path();
        let Some(stem) = old.file_name().and_then(|name| name.strip_suffix(".gz")) else { continue };
        let (old_digest, kind) =
            stem.split_once('-').context("metadata file without its digest in its name")?;
        let plain = repodata.join(stem);
        run(command("gunzip").arg("--keep").arg(&old))?;
        let packed = repodata.join(format!("{stem}.zst"));
        run(command("zstd").args(["-q", "-10"]).arg(&plain).arg("-o").arg(&packed))?;
        let bytes = fs::read(&packed)?;
        let digest = hex::encode(Sha256::digest(&bytes));
        let new = repodata.join(format!("{digest}-{kind}.zst"));
        fs::rename(&packed, &new)?;
        fs::remove_file(&plain)?;

        let old_size = fs::metadata(&old)?.len();
        text = replace_entry(
            &text,
            old_digest,
            &[
                (&format!("{old_digest}-{kind}.gz"), &format!("{digest}-{kind}.zst")),
                (old_digest, &digest),
                (&format!("<size>{old_size}</size>"), &format!("<size>{}</size>", bytes.len())),
            ],
        )?;
        fs::remove_file(&old)?;
    }
    fs::write(&repomd, timestamps(&text, timestamp))?;
    Ok(())
}

/// Gives every entry this time: modifyrepo_c, unlike createrepo_c, takes the time of day.
fn timestamps(repomd: &str, timestamp: u64) -> String {
    let mut parts = repomd.split("<timestamp>");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        text.push_str(&format!("<timestamp>{timestamp}{rest}"));
    }
    text
}

/// Applies replacements within the one `<data>` element that mentions `mark`.
fn replace_entry(repomd: &str, mark: &str, replacements: &[(&str, &str)]) -> Result<String> {
    let mut found = false;
    let parts: Vec<String> = repomd
        .split_inclusive("</data>")
        .map(|part| {
            if !part.contains(mark) {
                return part.to_owned();
            }
            found = true;
            replacements.iter().fold(part.to_owned(), |part, (from, to)| part.replace(from, to))
        })
        .collect();
    if !found {
        bail!("repomd.xml does not mention {mark}");
    }
    Ok(parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_in_one_entry_only() {
        let repomd = "<data a><size>1</size>aa</data><data b><size>1</size>bb</data></repomd>";
        let new = replace_entry(repomd, "bb", &[("<size>1<", "<size>2<"), ("bb", "cc")]).unwrap();
        assert_eq!(new, "<data a><size>1</size>aa</data><data b><size>2</size>cc</data></repomd>");
        assert!(replace_entry(repomd, "zz", &[]).is_err());
    }

    #[test]
    fn one_time_for_all_entries() {
        let repomd = "<a/><timestamp>12</timestamp><b/><timestamp>3.5</timestamp>";
        assert_eq!(timestamps(repomd, 7), "<a/><timestamp>7</timestamp><b/><timestamp>7</timestamp>");
    }
}
