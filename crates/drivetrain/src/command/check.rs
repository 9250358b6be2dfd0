//! `drivetrain check`

use camino::Utf8Path;
use drivetrain_kmod::VermagicPolicy;
use drivetrain_model::ExitCode;
use drivetrain_prove::{Limits, Proof, ProveError, prove, read_kernel, read_modules};
use serde::Serialize;

use crate::cli::{Check, Global};
use crate::command::keys;
use crate::failure::{Failure, Result};
use crate::view;

/// What a program reads.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    proof: &'a Proof,
    /// What was let through on request, in words.
    ignored: Option<String>,
    /// What the verdict is not about, in words.
    not_judged: Vec<String>,
}

/// Judges the modules in files, or tries the keys.
pub fn run(args: &Check, global: &Global) -> Result<ExitCode> {
    match &args.kernel {
        Some(kernel) => judge(args, kernel, global.json),
        None => keys::run(global),
    }
}

fn judge(args: &Check, kernel: &Utf8Path, json: bool) -> Result<ExitCode> {
    // Two reads of the disk at once: the kernel's symbols are about half of the work.
    let (kernel, modules) = std::thread::scope(|scope| {
        let kernel = scope.spawn(|| read_kernel(kernel, args.release.as_ref()));
        let modules = read_modules(&args.files, &Limits::default());
        (kernel.join(), modules)
    });
    let kernel = kernel
        .map_err(|_| Failure::new(ExitCode::Internal, "reading the kernel failed inside drivetrain"))?
        .map_err(unreadable)?;
    let modules = modules.map_err(unreadable)?;
    let policy = if args.any_release { VermagicPolicy::AsKernel } else { VermagicPolicy::Exact };
    let proof = prove(&modules.modules, &kernel, policy).map_err(unreadable)?;
    if json {
        view::print_json(&Answer {
            proof: &proof,
            ignored: view::proof::ignored(&proof),
            not_judged: view::proof::not_judged(&proof),
        });
    } else {
        for file in modules.without.iter().filter(|_| args.verbose) {
            view::note(&format!("{file}: has no modules"));
        }
        view::print(&view::proof::proof(&proof, args.verbose));
    }
    Ok(if proof.verdict.is_good() { ExitCode::Success } else { ExitCode::Proof })
}

fn unreadable(error: ProveError) -> Failure {
    let failure = match &error {
        ProveError::Several(errors) => several(errors),
        one => Failure::of(ExitCode::Input, one),
    };
    if has_damaged_rpm(&error) {
        return failure.next("fetch the RPM again: nothing is said about one that is not whole");
    }
    failure
}

/// A line for each file.
fn several(errors: &[ProveError]) -> Failure {
    let mut failure = Failure::new(ExitCode::Input, format!("{} files cannot be judged", errors.len()));
    failure.causes = errors.iter().map(ProveError::with_causes).collect();
    failure
}

fn has_damaged_rpm(error: &ProveError) -> bool {
    match error {
        ProveError::Rpm(_) => true,
        ProveError::Several(errors) => errors.iter().any(has_damaged_rpm),
        _ => false,
    }
}
