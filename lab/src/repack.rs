//! Debian packages of programs and libraries as RPMs with RHEL's names.
//!
//! The files are real, and RPM's own generator finds what libraries they provide and need, so that a resolver
//! has true sonames to work with, and programs run in a root that is installed from these packages.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use crate::Lab;
use crate::cmd::{command, run};
use crate::debian;
use crate::rpm::{Build, RpmBuild};

/// One package to make.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Package {
    /// The RPM's name.
    pub(crate) name: &'static str,
    /// Debian packages whose files go in; none for a package made of `paths` or of dependencies alone.
    pub(crate) debs: &'static [&'static str],
    /// Another version than the first Debian package's.
    pub(crate) version: Option<&'static str>,
    /// What it provides besides what is generated.
    pub(crate) provides: &'static [&'static str],
    /// What it requires besides what is generated.
    pub(crate) requires: &'static [&'static str],
    /// Has no architecture.
    pub(crate) noarch: bool,
    /// Commands, run in the package's root, that make or change files.
    pub(crate) script: &'static str,
    /// Directories that are kept though a package usually has no use for them.
    pub(crate) keep: &'static [&'static str],
}

impl Package {
    /// What the others start from.
    pub(crate) const EMPTY: Package = Package {
        name: "",
        debs: &[],
        version: None,
        provides: &[],
        requires: &[],
        noarch: false,
        script: "",
        keep: &[],
    };
}

/// What a set of packages has in common.
pub(crate) struct Set<'a> {
    /// The name of the spec.
    pub(crate) name: &'a str,
    /// The release of every package.
    pub(crate) release: &'a str,
    /// The packages.
    pub(crate) packages: &'a [Package],
    /// Macros for rpmbuild.
    pub(crate) defines: &'a [(&'a str, &'a str)],
}

impl Set<'_> {
    /// Stands for the set in a key.
    pub(crate) fn key(&self, lab: &Lab) -> Result<crate::cache::Key> {
        let debs = self.packages.iter().flat_map(|package| package.debs.iter().copied());
        Ok(crate::cache::Key::new()
            .with(self.release)
            .with(format!("{:?}", self.packages))
            .with(CLEANUP)
            .with_all(lab.inputs.digests(debs)?))
    }

    /// Builds all packages of the set into `out`.
    pub(crate) fn build(&self, lab: &Lab, work: &Utf8Path, out: &Utf8Path) -> Result<()> {
        let roots = work.join("roots");
        for package in self.packages {
            self.fill_root(lab, package, &roots.join(package.name))?;
        }
        let spec = work.join(format!("{}.spec", self.name));
        fs::write(&spec, self.spec(lab, &roots)?)?;
        RpmBuild { work, out, defines: self.defines }.run(Build::Binary, &spec)
    }

    fn fill_root(&self, lab: &Lab, package: &Package, root: &Utf8Path) -> Result<()> {
        fs::create_dir_all(root)?;
        for deb in package.debs {
            debian::unpack(&lab.debs, lab.inputs.deb(deb)?, root)?;
        }
        run(command("bash").current_dir(root).env("KEEP", package.keep.join(" ")).args(["-euc", CLEANUP]))?;
        run(command("bash").current_dir(root).args(["-euc", package.script]))?;
        Ok(())
    }

    fn spec(&self, lab: &Lab, roots: &Utf8Path) -> Result<String> {
        let mut spec = format!(
            "%global __os_install_post %{{nil}}\n%global _build_id_links none\n\
             %global __requires_exclude ^(/usr/bin/(perl|python3|env)|perl\\\\(.*|perl|python.*|pkgconfig.*)$\n\
             %global __provides_exclude ^(perl\\\\(.*|pkgconfig.*|lib.*-rdmav.*)$\n\
             Name: {}\nVersion: 1\nRelease: 1\nSummary: Repackaged\nLicense: Various\nAutoReqProv: no\n\
             %description\nRepackaged.\n",
            self.name
        );
        for package in self.packages {
            let version = match (package.version, package.debs.first()) {
                (Some(version), _) => version.to_owned(),
                (None, Some(deb)) => rpm_version(&lab.inputs.deb(deb)?.version),
                (None, None) => "1".to_owned(),
            };
            writeln!(spec, "%package -n {}\nVersion: {version}\nRelease: {}", package.name, self.release)?;
            writeln!(spec, "Summary: {} for the lab\nLicense: Various", package.name)?;
            if package.noarch {
                writeln!(spec, "BuildArch: noarch\nAutoReqProv: no")?;
            }
            for provides in package.provides {
                writeln!(spec, "Provides: {provides}")?;
            }
            for requires in package.requires {
                writeln!(spec, "Requires: {requires}")?;
            }
            writeln!(spec, "%description -n {}\nDebian's {}.", package.name, package.debs.join(", "))?;
        }
        writeln!(spec, "%install")?;
        for package in self.packages {
            writeln!(spec, "cp -a {}/. %{{buildroot}}/", roots.join(package.name))?;
        }
        for package in self.packages {
            let list = file_list(&roots.join(package.name))?;
            writeln!(spec, "%files -n {}\n%defattr(-,root,root,-)\n{list}", package.name)?;
        }
        Ok(spec)
    }
}

/// Debian has `/bin` and `/lib` as links by way of an installation step; a package of ours has the real place.
/// Documentation and translations would be most of the volume.
const CLEANUP: &str = r#"
for dir in bin sbin lib lib64; do
	if [ -d $dir ] && [ ! -L $dir ]; then
		mkdir -p usr/$dir
		cp -a $dir/. usr/$dir/
		rm -rf $dir
	fi
done
for path in usr/share/{doc,man,locale,lintian,bug,info,doc-base,bash-completion} usr/lib/x86_64-linux-gnu/{gconv,audit} etc/default etc/init.d usr/share/initramfs-tools usr/lib/udev; do
	case " $KEEP " in
	*" $path "*) ;;
	*) rm -rf $path ;;
	esac
done
find . -mindepth 1 -type d -empty -delete
"#;

/// Everything in a root that a package owns: its files, and directories that are empty on purpose.
fn file_list(root: &Utf8Path) -> Result<String> {
    let mut list = String::new();
    let found = run(command("find").arg(root.as_str()).args([
        "(",
        "-type",
        "d",
        "-empty",
        "-printf",
        "%%dir \"/%P\"\n",
        ")",
        "-o",
        "(",
        "!",
        "-type",
        "d",
        "-printf",
        "\"/%P\"\n",
        ")",
    ]))?;
    let mut lines: Vec<&str> = found.lines().filter(|line| !line.ends_with("\"/\"")).collect();
    lines.sort_unstable();
    for line in lines {
        list.push_str(line);
        list.push('\n');
    }
    Ok(list)
}

/// A Debian version as an RPM version: the upstream part, in RPM's characters.
pub(crate) fn rpm_version(debian: &str) -> String {
    let (version, _) = split_debian(debian);
    legal(version)
}

/// A Debian version as epoch, version and release.
pub(crate) fn rpm_evr(debian: &str) -> (u32, String, String) {
    let epoch = debian.split_once(':').and_then(|(epoch, _)| epoch.parse().ok()).unwrap_or(0);
    let (version, revision) = split_debian(debian);
    (epoch, legal(version), legal(revision.unwrap_or("0")))
}

/// The version of a dependency: without a revision it means every release.
pub(crate) fn rpm_dependency_evr(debian: &str) -> (u32, String, Option<String>) {
    let (epoch, version, release) = rpm_evr(debian);
    let (_, revision) = split_debian(debian);
    (epoch, version, revision.map(|_| release))
}

fn split_debian(debian: &str) -> (&str, Option<&str>) {
    let rest = debian.split_once(':').map_or(debian, |(_, rest)| rest);
    rest.rsplit_once('-').map_or((rest, None), |(version, revision)| (version, Some(revision)))
}

/// RPM has letters, digits and `.+_~^` in a version and in a release; the dash separates the two.
fn legal(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || ".+_~^".contains(c) { c } else { '.' }).collect()
}

/// All Debian packages that these sets are made from.
pub(crate) fn debs_of<'a>(sets: impl IntoIterator<Item = &'a [Package]>) -> Vec<&'static str> {
    let mut debs: Vec<_> =
        sets.into_iter().flatten().flat_map(|package| package.debs.iter().copied()).collect();
    debs.sort_unstable();
    debs.dedup();
    debs
}

/// Checks that the lists and the files under `out` agree on how many packages there are.
pub(crate) fn expect_packages(packages: &[Utf8PathBuf], wanted: usize) -> Result<()> {
    (packages.len() == wanted)
        .then_some(())
        .with_context(|| format!("{} packages were built instead of {wanted}", packages.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(rpm_evr("1:2.36-9+deb12u1"), (1, "2.36".into(), "9+deb12u1".into()));
        assert_eq!(rpm_evr("44.0"), (0, "44.0".into(), "0".into()));
        assert_eq!(rpm_evr("1.2-3-4"), (0, "1.2.3".into(), "4".into()));
        assert_eq!(rpm_evr("2:1.0~rc1:x-1"), (2, "1.0~rc1.x".into(), "1".into()));
    }
}
