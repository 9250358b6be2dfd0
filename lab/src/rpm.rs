//! Making RPMs with rpmbuild, the same bytes every time.

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use crate::cmd::{command, run};

/// The time that everything in the lab says it was built at: 2026-09-15.
pub(crate) const EPOCH: u64 = 1_789_430_400;

/// What rpmbuild is asked for.
#[derive(Clone, Copy)]
pub(crate) enum Build {
    /// Packages from a spec.
    Binary,
    /// A source package from a spec.
    Source,
    /// Packages from a source package, as a user's plain `rpmbuild --rebuild`.
    Rebuild,
}

/// One run of rpmbuild.
pub(crate) struct RpmBuild<'a> {
    /// Scratch space.
    pub(crate) work: &'a Utf8Path,
    /// Where the packages go.
    pub(crate) out: &'a Utf8Path,
    /// Macros to define.
    pub(crate) defines: &'a [(&'a str, &'a str)],
}

impl RpmBuild<'_> {
    /// Runs rpmbuild on a spec or a source package.
    pub(crate) fn run(&self, build: Build, of: &Utf8Path) -> Result<()> {
        fs::create_dir_all(self.work)?;
        // Knowing every kind of file there is costs most of the time of packaging a kernel; RPM needs ELF files.
        let magic = self.work.join("magic");
        fs::write(
            &magic,
            "0\tstring\t\\177ELF\tELF\n>4\tbyte\t2\t64-bit\n>5\tbyte\t1\tLSB\n>16\tleshort\t2\texecutable,\n>16\tleshort\t3\tshared object,\n>18\tleshort\t62\tx86-64,\n",
        )?;

        let mut rpmbuild = command("rpmbuild");
        rpmbuild.current_dir(self.work).env("SOURCE_DATE_EPOCH", EPOCH.to_string()).env("MAGIC", &magic);
        rpmbuild.arg(match build {
            Build::Binary => "-bb",
            Build::Source => "-bs",
            Build::Rebuild => "--rebuild",
        });
        // A source package carries its spec with every macro expanded, and so would carry the path of this lab.
        let (top, sources) = match build {
            Build::Source => ("_topdir rpmbuild".to_owned(), "_sourcedir .".to_owned()),
            Build::Binary | Build::Rebuild => {
                (format!("_topdir {}", self.work.join("rpmbuild")), format!("_sourcedir {}", self.work))
            }
        };
        let rpms = format!("_rpmdir {}", self.out);
        let srpms = format!("_srcrpmdir {}", self.out);
        for define in [
            top.as_str(),
            sources.as_str(),
            rpms.as_str(),
            srpms.as_str(),
            "_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
            "_buildhost lab.invalid",
            "use_source_date_epoch_as_buildtime 1",
            "clamp_mtime_to_source_date_epoch 1",
            "_binary_payload w1.zstdio",
            "debug_package %{nil}",
            "vendor drivetrain lab",
        ] {
            rpmbuild.args(["--define", define]);
        }
        for (name, value) in self.defines {
            rpmbuild.args(["--define", &format!("{name} {value}")]);
        }
        run(rpmbuild.arg("--nodeps").arg(of)).with_context(|| format!("building packages from {of}"))?;
        Ok(())
    }
}

/// Fills the places `@NAME@` of a template.
pub(crate) fn fill(template: &str, places: &[(&str, &str)]) -> String {
    places.iter().fold(template.to_owned(), |text, (name, value)| text.replace(&format!("@{name}@"), value))
}

/// Writes a file whose time is part of a source package.
pub(crate) fn write_dated(path: &Utf8Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    date(path)
}

/// Gives a file the lab's time.
pub(crate) fn date(path: &Utf8Path) -> Result<()> {
    date_to(path, EPOCH)
}

/// Gives a file this time.
pub(crate) fn date_to(path: &Utf8Path, seconds: u64) -> Result<()> {
    let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    fs::File::options().append(true).open(path)?.set_modified(time)?;
    Ok(())
}

/// Packs directory `name` of `parent` as a compressed archive, the same bytes for the same files.
pub(crate) fn tarball(parent: &Utf8Path, name: &str, to: &Utf8Path) -> Result<()> {
    run(command("tar")
        .args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u+w,go-w"])
        .arg(format!("--mtime=@{EPOCH}"))
        .args(["--use-compress-program=gzip -n -6", "-C"])
        .arg(parent)
        .arg("-cf")
        .arg(to)
        .arg(name))?;
    date(to)
}

/// The packages in a directory, sorted.
pub(crate) fn packages_in(dir: &Utf8Path) -> Result<Vec<Utf8PathBuf>> {
    let mut packages = Vec::new();
    for entry in dir.read_dir_utf8().with_context(|| format!("reading {dir}"))? {
        let path = entry?.into_path();
        if path.extension() == Some("rpm") {
            packages.push(path);
        }
    }
    packages.sort();
    Ok(packages)
}

#[cfg(test)]
mod tests {
    #[test]
    fn fills_places() {
        assert_eq!(super::fill("@A@-@B@ @A@@", &[("A", "x"), ("B", "y")]), "x-y x@");
    }
}
