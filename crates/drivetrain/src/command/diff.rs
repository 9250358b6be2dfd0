//! `drivetrain diff`

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use drivetrain_host::CancellationToken;
use drivetrain_model::{ExitCode, Nevra, Sha256Digest};
use drivetrain_prove::{
    Limits, ModuleFile, ProveError, SetDifference, compare, packages_below, read_modules,
};
use drivetrain_rpmfile::{RpmFile, header_bytes};
use serde::Serialize;

use crate::cli::{DiffArgs, Global};
use crate::command::state_path;
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::pipeline::until_signal;
use crate::reporter::Reporter;
use crate::stage::blocking;
use crate::state::StateDirectory;
use crate::{repository_at, view};

/// What differs between two repositories.
#[derive(Debug, Serialize)]
pub struct Difference {
    /// Packages by name; those that are the same are left out.
    pub packages: Vec<PackageDifference>,
    /// How many packages are the same, byte for byte.
    pub same_packages: usize,
    /// The modules.
    pub modules: SetDifference,
}

/// A package that is not the same in both.
#[derive(Debug, Serialize)]
pub struct PackageDifference {
    /// Its name.
    pub name: String,
    /// In the first; absent where it is not in there.
    pub before: Option<Nevra>,
    /// In the second.
    pub after: Option<Nevra>,
}

/// One side.
struct Side {
    /// Its packages by name, with what tells the files of one apart.
    packages: BTreeMap<String, (Nevra, Sha256Digest)>,
    modules: Vec<ModuleFile>,
}

/// Compares what is at two places.
pub async fn run(args: &DiffArgs, global: &Global) -> Result<ExitCode> {
    // Its standard output is the answer.
    let reporter = Reporter::new(view::choose(false, global.quiet || global.json));
    let cancel = CancellationToken::new();
    let context = Context::open(StateDirectory::open(state_path(global))?, reporter.clone(), cancel.clone())?;
    let reading = async {
        let before = side(&context, &args.before).await?;
        let after = side(&context, &args.after).await?;
        Ok((before, after))
    };
    let read = until_signal(&cancel, context.unless_cancelled(reading)).await;
    reporter.close();
    let (before, after) = read?;
    let difference = difference(&before, &after)?;
    if global.json {
        view::print_json(&difference);
    } else {
        view::print(&view::diff::difference(&difference, args.verbose));
    }
    Ok(ExitCode::Success)
}

async fn side(context: &Context, place: &str) -> Result<Side> {
    let files = match repository_at::source_of(place)? {
        Some(source) => {
            let repository = repository_at::read(context, source).await?;
            repository.packages.into_iter().map(|package| package.file).collect()
        }
        None => vec![Utf8PathBuf::from(place)],
    };
    blocking(move || read(&files)).await?
}

fn read(files: &[Utf8PathBuf]) -> Result<Side> {
    let modules = match read_modules(files, &Limits::default()) {
        Ok(modules) => modules.modules,
        // A repository of userspace alone.
        Err(ProveError::NothingToJudge { .. }) => Vec::new(),
        Err(error) => return Err(Failure::of(ExitCode::Input, &error)),
    };
    let mut packages = BTreeMap::new();
    let failed = |error: &(dyn std::error::Error + 'static)| Failure::of(ExitCode::Input, error);
    for file in packages_below(files, &Limits::default()).map_err(|error| failed(&error))? {
        let package = RpmFile::open(file.as_std_path()).map_err(|error| failed(&error))?;
        // The header has the digest of all that follows it.
        let head = header_bytes(file.as_std_path()).map_err(|error| failed(&error))?;
        packages.insert(package.nevra.name.clone(), (package.nevra, Sha256Digest::of(&head)));
    }
    Ok(Side { packages, modules })
}

fn difference(before: &Side, after: &Side) -> Result<Difference> {
    let modules =
        compare(&before.modules, &after.modules).map_err(|error| Failure::of(ExitCode::Input, &error))?;
    let mut names: Vec<&String> = before.packages.keys().chain(after.packages.keys()).collect();
    names.sort();
    names.dedup();
    let mut same_packages = 0;
    let mut packages = Vec::new();
    for name in names {
        let (one, other) = (before.packages.get(name), after.packages.get(name));
        if one == other {
            same_packages += 1;
            continue;
        }
        let nevra = |side: Option<&(Nevra, Sha256Digest)>| side.map(|(nevra, _)| nevra.clone());
        packages.push(PackageDifference { name: name.clone(), before: nevra(one), after: nevra(other) });
    }
    Ok(Difference { packages, same_packages, modules })
}
