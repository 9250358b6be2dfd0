//! Kernels and drivers held together: a repository that has both, and a package that says so.
//!
//! What the design rests on, as dnf 4.14 does it:
//!
//! * **The repository has the kernels themselves, and a better priority than the train.** Of packages of one name dnf then
//!   takes those of this repository, however new the train's are, for `best=True` as well. A package that conflicts with
//!   newer kernels, or obsoletes them, makes every `dnf upgrade` fail instead: under `best=True` the newest kernel is the
//!   best candidate, and that it cannot be installed is an error. All packages that are bound to a kernel have to be here,
//!   or one that is not (`kernel-devel-matched`) brings the train's kernel in.
//! * **The package's conflict is the second lock**, for whatever goes around the first: a kernel that is asked for by its
//!   version, another package that insists on a newer kernel.
//! * **Modules of each kernel are packages of their own names** (`kmod-x-KERNEL`). Vendors' names and versions are the same
//!   for all kernels, so that two could not be in one repository. To make them `installonlypkg` would not do: a newer
//!   driver for the same kernel would be installed beside the older one, and both own the same files.
//! * **The requirements are conditional**: whatever kernel is there, by whatever way, gets its modules, and a kernel of
//!   before that has none bothers nobody.

use std::collections::{BTreeMap, BTreeSet};

use drivetrain_model::{Capability, Comparison, DriverVersion, Evr, KernelRelease, Nevra, Package};
use drivetrain_rpmfile::{Changes, MetaPackage};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a kernel provides by its release.
const RELEASE: &str = "kernel-uname-r";
/// The package that is a kernel.
const CORE: &str = "kernel-core";
/// What ends the names of capabilities that say a kernel's release.
const SAYS_RELEASE: &str = "uname-r";

/// What holds kernels and drivers together in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lockstep {
    /// The package that nodes install.
    pub package: String,
    /// The kernels that it has drivers for, newest first.
    pub kernels: Vec<KernelRelease>,
}

/// A kernel with its drivers, as the package speaks of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockstepKernel {
    /// Its release.
    pub release: KernelRelease,
    /// The version of its `kernel-core`.
    pub core: Evr,
    /// The packages with its modules, by the names that they have for all kernels.
    pub modules: Vec<Nevra>,
}

impl Lockstep {
    /// The package. Its release is the moment at which it was made, so that a newer one is taken for newer wherever it
    /// comes from.
    #[must_use]
    pub fn meta_package(
        &self,
        driver_name: &str,
        driver: &DriverVersion,
        kernels: &[LockstepKernel],
        moment: Timestamp,
    ) -> MetaPackage {
        let newest = kernels.iter().map(|kernel| &kernel.core).max();
        let names: BTreeSet<&str> =
            kernels.iter().flat_map(|kernel| &kernel.modules).map(|nevra| nevra.name.as_str()).collect();
        MetaPackage {
            name: self.package.clone(),
            evr: Evr::new(
                0,
                driver.to_string().replace('-', "_"),
                moment.strftime("%Y%m%d%H%M%S").to_string(),
            ),
            summary: format!("Holds kernels together with their {driver_name} modules"),
            description: description(&self.package, driver_name),
            build_time: u32::try_from(moment.as_second()).unwrap_or(0),
            requires: kernels.iter().flat_map(requirements).collect(),
            conflicts: newest
                .map(|newest| Capability::versioned(CORE, Comparison::Greater, newest.clone()))
                .into_iter()
                .collect(),
            // Those that have the modules of one kernel under the vendor's names own the same files.
            obsoletes: names.into_iter().map(Capability::unversioned).collect(),
        }
    }
}

fn description(package: &str, driver_name: &str) -> String {
    format!(
        "With this package and the repository that it is from, dnf installs kernels that there are {driver_name} modules \
         for, and their modules with them, and no others. Everything else is upgraded as ever.\n\n\
         To end that: dnf remove {package} removes it with the modules that came with it (before that, \
         dnf mark install 'kmod-*' keeps them); then remove the repository's file from /etc/yum.repos.d, and the next \
         dnf upgrade takes the newest kernel."
    )
}

fn requirements(kernel: &LockstepKernel) -> impl Iterator<Item = Capability> {
    kernel.modules.iter().map(|nevra| {
        let name = name_for(&nevra.name, &kernel.release);
        Capability::unversioned(format!("({name} = {} if {RELEASE} = {})", nevra.evr, kernel.release))
    })
}

/// The name of a package with modules, once it is for one kernel of several.
fn name_for(name: &str, kernel: &KernelRelease) -> String {
    format!("{name}-{kernel}")
}

/// What becomes of a package with modules, so that others of its name can stand beside it: another name, which all
/// packages of its kernel know it by, and its kernel as something that it needs.
#[derive(Debug)]
pub struct OfOneKernel<'a> {
    package: &'a Nevra,
    names: BTreeMap<&'a str, String>,
    kernel: &'a KernelRelease,
}

impl<'a> OfOneKernel<'a> {
    /// For one of the packages with modules of a kernel; all of them are given.
    #[must_use]
    pub fn new(package: &'a Nevra, all: &'a [Nevra], kernel: &'a KernelRelease) -> Self {
        let names = all.iter().map(|nevra| (nevra.name.as_str(), name_for(&nevra.name, kernel))).collect();
        Self { package, names, kernel }
    }
}

impl Changes for OfOneKernel<'_> {
    fn text(&self, text: &str) -> Option<String> {
        self.names.get(text).cloned()
    }

    /// The name that it had: userspace packages ask for it.
    fn provides(&self) -> Vec<Capability> {
        vec![Capability::versioned(&self.package.name, Comparison::Equal, self.package.evr.clone())]
    }

    /// So that it goes when its kernel goes.
    fn requires(&self) -> Vec<Capability> {
        vec![of_release(self.kernel)]
    }
}

fn of_release(kernel: &KernelRelease) -> Capability {
    Capability::versioned(RELEASE, Comparison::Equal, Evr::parse(kernel.as_str()))
}

/// The packages that are a kernel, or bound to it and to no other: those that say its release or ask for it, and those
/// that ask for just the version of one of these. Empty where the kernel itself is not among them.
#[must_use]
pub fn of_kernel<'p>(release: &KernelRelease, packages: &[&'p Package]) -> Vec<&'p Package> {
    let evr = Evr::parse(release.as_str());
    let is_release = |capability: &Capability| {
        capability.name.ends_with(SAYS_RELEASE)
            && capability
                .constraint
                .as_ref()
                .is_some_and(|constraint| constraint.comparison == Comparison::Equal && constraint.evr == evr)
    };
    let says = |package: &Package| package.provides.iter().chain(&package.requires).any(is_release);
    let saying: Vec<&Package> = packages.iter().copied().filter(|package| says(package)).collect();
    let Some(core) = saying.iter().find(|package| package.nevra.name == CORE) else { return Vec::new() };
    let names: BTreeSet<&str> = saying.iter().map(|package| package.nevra.name.as_str()).collect();
    let is_version = |capability: &Capability| {
        names.contains(capability.name.as_str())
            && capability.constraint.as_ref().is_some_and(|constraint| {
                constraint.comparison == Comparison::Equal && constraint.evr == core.nevra.evr
            })
    };
    let mut seen = BTreeSet::new();
    packages
        .iter()
        .copied()
        .filter(|package| says(package) || package.requires.iter().any(is_version))
        .filter(|package| seen.insert(&package.nevra))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use drivetrain_model::{Architecture, Checksum, Sha256Digest};

    fn nevra(name: &str, evr: &str) -> Nevra {
        Nevra { name: name.to_owned(), evr: Evr::parse(evr), arch: Architecture::parse("x86_64").unwrap() }
    }

    fn kernel(number: u32) -> LockstepKernel {
        LockstepKernel {
            release: format!("5.14.0-{number}.el9.x86_64").parse().unwrap(),
            core: Evr::parse(&format!("5.14.0-{number}.el9")),
            modules: vec![nevra("kmod-x", "25.10-1.rhel9"), nevra("kmod-y", "2:7-1")],
        }
    }

    fn meta(kernels: &[LockstepKernel]) -> MetaPackage {
        let lockstep = Lockstep {
            package: "doca-ofed-lockstep".to_owned(),
            kernels: kernels.iter().map(|kernel| kernel.release.clone()).collect(),
        };
        let driver = DriverVersion::parse("3.2.0").unwrap();
        lockstep.meta_package("doca-ofed", &driver, kernels, "2026-11-28T03:10:00Z".parse().unwrap())
    }

    #[test]
    fn the_package_asks_for_the_modules_of_kernels_that_are_there_and_refuses_newer_ones() {
        let meta = meta(&[kernel(57), kernel(55)]);
        let list = |what: &str, all: &[Capability]| {
            all.iter().map(|one| format!("{what}: {one}\n")).collect::<String>()
        };
        let mut text = format!("{}-{}\n{}\n\n{}\n\n", meta.name, meta.evr, meta.summary, meta.description);
        text.push_str(&list("Requires", &meta.requires));
        text.push_str(&list("Conflicts", &meta.conflicts));
        text.push_str(&list("Obsoletes", &meta.obsoletes));
        insta::assert_snapshot!(text);
    }

    #[test]
    fn the_newest_kernel_is_the_newest_by_version_whatever_the_order() {
        assert_eq!(meta(&[kernel(9), kernel(10)]).conflicts, meta(&[kernel(10), kernel(9)]).conflicts);
        assert_eq!(meta(&[kernel(9), kernel(10)]).conflicts[0].to_string(), "kernel-core > 5.14.0-10.el9");
    }

    #[test]
    fn a_package_of_one_kernel_is_known_by_its_new_name_and_its_old_one() {
        let kernel = kernel(55);
        let changes = OfOneKernel::new(&kernel.modules[0], &kernel.modules, &kernel.release);
        assert_eq!(changes.text("kmod-x").as_deref(), Some("kmod-x-5.14.0-55.el9.x86_64"));
        assert_eq!(changes.text("kmod-y").as_deref(), Some("kmod-y-5.14.0-55.el9.x86_64"));
        assert_eq!(changes.text("kmod-xy"), None);
        assert_eq!(changes.provides()[0].to_string(), "kmod-x = 25.10-1.rhel9");
        assert_eq!(changes.requires()[0].to_string(), "kernel-uname-r = 5.14.0-55.el9.x86_64");
    }

    fn package(name: &str, evr: &str, provides: &[&str], requires: &[(&str, &str)]) -> Package {
        let says = |name: &str, evr: &str| Capability::versioned(name, Comparison::Equal, Evr::parse(evr));
        let mut package =
            Package::bare(nevra(name, evr), Checksum::from(Sha256Digest::of(name.as_bytes())), 0, "a.rpm");
        package.provides = provides.iter().map(|name| says(name, "5.14.0-55.el9.x86_64")).collect();
        package.requires = requires.iter().map(|(name, evr)| says(name, evr)).collect();
        package
    }

    #[test]
    fn what_is_bound_to_a_kernel_goes_with_it_and_nothing_else() {
        let (release, evr) = ("5.14.0-55.el9.x86_64", "5.14.0-55.el9");
        let all = [
            package("kernel", evr, &[], &[("kernel-core-uname-r", release)]),
            package("kernel-core", evr, &["kernel-core-uname-r", "kernel-uname-r"], &[]),
            package("kernel-modules", evr, &["kernel-modules-uname-r"], &[]),
            package("kernel-devel", evr, &["kernel-devel-uname-r"], &[]),
            package("kernel-devel-matched", evr, &[], &[("kernel-core", evr), ("kernel-devel", evr)]),
            package("kmod-kvdo", "8-1", &[], &[("kernel-core-uname-r", release)]),
            package("kernel-tools", evr, &[], &[("kernel-tools-libs", evr)]),
            package(
                "kernel-core",
                "5.14.0-54.el9",
                &[],
                &[("kernel-modules-core-uname-r", "5.14.0-54.el9.x86_64")],
            ),
            package("bash", "5-1", &[], &[]),
        ];
        let all: Vec<&Package> = all.iter().collect();
        let names = |release: &str| -> Vec<String> {
            of_kernel(&release.parse().unwrap(), &all)
                .iter()
                .map(|package| package.nevra.name.clone())
                .collect()
        };
        assert_eq!(
            names(release),
            ["kernel", "kernel-core", "kernel-modules", "kernel-devel", "kernel-devel-matched", "kmod-kvdo"]
        );
        assert!(names("5.14.0-56.el9.x86_64").is_empty());
    }
}
