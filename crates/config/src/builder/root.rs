//! Whose system builds see.

use crate::fields::{Field, Fields};
use crate::problems::Problems;
use crate::{BuildRoot, BuilderKind};

/// What builds take of the train: compilers, rpmbuild with the macros by which packages are called kmod-NAME, and what
/// the sandbox starts builds with. What components require for their builds comes by itself.
const PACKAGES: &[&str] = &[
    "bash",
    "coreutils",
    "cpio",
    "diffutils",
    "elfutils-libelf-devel",
    "findutils",
    "gcc",
    "kernel-rpm-macros",
    "kmod",
    "make",
    "patch",
    "perl-interpreter",
    "python3",
    "rpm-build",
    "util-linux",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Host,
    Train,
}

/// The keys `root` and `packages`, which are for sandboxes on this host.
pub(super) fn root(
    fields: &Fields<'_>,
    kind: Option<&BuilderKind>,
    problems: &mut Problems<'_>,
) -> Option<BuildRoot> {
    let root = fields.get("root");
    let packages = fields.get("packages");
    if kind.is_some_and(|kind| *kind != BuilderKind::Sandbox) {
        let strangers: Vec<&Field<'_>> = root.iter().chain(packages.iter()).collect();
        for field in &strangers {
            let message = format!("{} is of no use to this kind of builder", field.path);
            let next = "leave it out: a machine has its own system, and prepare.packages on it";
            problems.add(field.key, message, Some(next.to_owned()));
        }
        return strangers.is_empty().then_some(BuildRoot::Host);
    }
    let words = [("host", Whose::Host), ("train", Whose::Train)];
    let whose = root.map_or(Some(Whose::Host), |field| field.word(&words, problems))?;
    match (whose, packages) {
        (Whose::Host, None) => Some(BuildRoot::Host),
        (Whose::Host, Some(field)) => {
            let message = format!("{} is for builds in a root of the train's packages", field.path);
            problems.add(field.key, message, Some("say `root: train` as well, or leave it out".to_owned()));
            None
        }
        (Whose::Train, None) => {
            Some(BuildRoot::Train { packages: PACKAGES.iter().map(|name| (*name).to_owned()).collect() })
        }
        (Whose::Train, Some(field)) => {
            let packages = super::packages(&field, problems)?;
            Some(BuildRoot::Train { packages })
        }
    }
}
