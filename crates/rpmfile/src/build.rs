//! A package without files: all that it does is what it asks for.

use std::path::Path;

use drivetrain_model::{Capability, Evr};
use rpm::{BuildConfig, CompressionWithLevel, PackageBuilder, Timestamp};
use tempfile::NamedTempFile;

use crate::Result;
use crate::error::name_of;
use crate::header::facts;
use crate::write::{dependency, write_whole};

/// A package that has dependencies and no files, as it shall be. The same of these is the same file, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaPackage {
    /// Its name.
    pub name: String,
    /// Its version and release.
    pub evr: Evr,
    /// One line.
    pub summary: String,
    /// What it is for, and what its reader has to know.
    pub description: String,
    /// When it was built, in seconds since 1970.
    pub build_time: u32,
    /// What it needs. A rich dependency stands in a name without a version: `(a if b)`.
    pub requires: Vec<Capability>,
    /// What it must not be installed with.
    pub conflicts: Vec<Capability>,
    /// What it replaces.
    pub obsoletes: Vec<Capability>,
}

impl MetaPackage {
    /// Writes it, whole or not at all. It is not signed.
    ///
    /// # Errors
    /// Where a text is none that a package can have, or the file cannot be written.
    pub fn write(&self, to: &Path) -> Result<()> {
        let written = self.builder().build().map_err(|error| facts(&error)).and_then(|package| {
            let write = |file: &mut NamedTempFile| package.write(file).map_err(|error| facts(&error));
            write_whole(to, write, |_| Ok(()))
        });
        written.map_err(|problem| problem.of(&name_of(to)))
    }

    fn builder(&self) -> PackageBuilder {
        let mut builder =
            PackageBuilder::new(&self.name, &self.evr.version, "Apache-2.0", "noarch", &self.summary);
        let config = BuildConfig::v4()
            .compression(CompressionWithLevel::Gzip(9))
            .source_date(Timestamp(self.build_time));
        builder
            .using_config(config)
            .epoch(self.evr.epoch)
            .release(self.evr.release.clone())
            .description(self.description.clone())
            // Where it was made is nobody's business, and would make another file of it on another host.
            .build_host("drivetrain");
        for capability in &self.requires {
            builder.requires(dependency(capability));
        }
        for capability in &self.conflicts {
            builder.conflicts(dependency(capability));
        }
        for capability in &self.obsoletes {
            builder.obsoletes(dependency(capability));
        }
        builder
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use drivetrain_model::Comparison;

    use super::*;
    use crate::RpmFile;

    fn package() -> MetaPackage {
        MetaPackage {
            name: "drivers-lockstep".to_owned(),
            evr: Evr::new(0, "3.2.0", "20261128024500"),
            summary: "Kernels and drivers together".to_owned(),
            description: "First line.\nSecond line.".to_owned(),
            build_time: 1_795_833_900,
            requires: vec![
                Capability::unversioned("(kmod-x = 1-1 if kernel-core-uname-r = 5.14.0-1.el9.x86_64)"),
                Capability::versioned("kmod-y", Comparison::GreaterOrEqual, Evr::new(0, "2", "3")),
            ],
            conflicts: vec![Capability::versioned(
                "kernel-core",
                Comparison::Greater,
                Evr::parse("5.14.0-1.el9"),
            )],
            obsoletes: vec![Capability::unversioned("kmod-x")],
        }
    }

    #[test]
    fn it_says_what_it_was_told_to_say() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.rpm");
        let package = package();
        package.write(&file).unwrap();
        let read = RpmFile::open(&file).unwrap();
        assert_eq!(read.nevra.to_string(), "drivers-lockstep-3.2.0-20261128024500.noarch");
        assert_eq!(read.requires, package.requires);
        assert_eq!(read.conflicts, package.conflicts);
        assert_eq!(read.obsoletes, package.obsoletes);
        assert_eq!(read.build_time, u64::from(package.build_time));
        assert!(read.files.is_empty());
    }

    #[test]
    fn the_same_package_is_the_same_file() {
        let directory = tempfile::tempdir().unwrap();
        let bytes = ["a.rpm", "b.rpm"].map(|name| {
            let file = directory.path().join(name);
            package().write(&file).unwrap();
            std::fs::read(file).unwrap()
        });
        assert_eq!(bytes[0], bytes[1]);
    }

    #[test]
    fn rpm_reads_it_and_finds_its_digests_right() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.rpm");
        package().write(&file).unwrap();
        let Ok(queried) = Command::new("rpm").args(["-qp", "--requires", "--conflicts"]).arg(&file).output()
        else {
            println!("skipped: no rpm");
            return;
        };
        let text = String::from_utf8_lossy(&queried.stdout).into_owned();
        assert!(text.contains("(kmod-x = 1-1 if kernel-core-uname-r = 5.14.0-1.el9.x86_64)"), "{text}");
        assert!(text.contains("kernel-core > 5.14.0-1.el9"), "{text}");
        let checked = Command::new("rpmkeys").args(["-Kv", "--nosignature"]).arg(&file).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    }

    #[test]
    fn a_name_that_no_package_can_have_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.rpm");
        let error = MetaPackage { name: "a b".to_owned(), ..package() }.write(&file).unwrap_err();
        assert!(error.to_string().contains("a.rpm"), "{error}");
        assert!(!file.exists());
    }
}
