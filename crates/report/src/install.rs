//! How what is served gets onto a node.

use std::collections::BTreeSet;

use drivetrain_model::{Nevra, Plan};

use crate::record::Verdicts;
use crate::report::Published;
use crate::text::shell;

/// The commands for a node.
pub(crate) fn commands(published: &Published, plan: Option<&Plan>, verdicts: &Verdicts) -> Vec<String> {
    let file =
        published.repo_file.clone().unwrap_or_else(|| format!("{}drivetrain.repo", published.location));
    let userspace = plan.and_then(|plan| plan.userspace.as_ref());
    let wanted = userspace.into_iter().flat_map(|userspace| userspace.wanted.iter().cloned());
    let packages: Vec<String> =
        with_modules(verdicts).into_iter().chain(wanted).map(|name| shell(&name)).collect();
    vec![
        format!("dnf config-manager --add-repo {}", shell(&file)),
        format!("dnf install {}", packages.join(" ")),
    ]
}

/// The packages that have modules, by name. Without the record of the proof there is still the vendor's way of naming
/// them.
fn with_modules(verdicts: &Verdicts) -> Vec<String> {
    let files = verdicts.modules.iter().filter_map(|module| module.package.as_deref());
    let names: BTreeSet<String> = files
        .filter_map(|file| Nevra::parse(file.trim_end_matches(".rpm")).ok())
        .map(|nevra| nevra.name)
        .collect();
    if names.is_empty() { vec!["kmod-*".to_owned()] } else { names.into_iter().collect() }
}
