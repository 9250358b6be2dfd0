//! A verdict as text.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use drivetrain_kmod::{Finding, ModuleVerdict, Problem, Severity, VermagicPolicy};
use drivetrain_prove::Proof;

use super::words::count;

/// The verdict for people. `all` tells of every module, and of what is only worth a warning.
pub fn proof(proof: &Proof, all: bool) -> String {
    let mut text = String::new();
    let verdict = &proof.verdict;
    for (proven, module) in proof.iter() {
        let findings: Vec<&Finding> =
            module.findings.iter().filter(|finding| all || is_told(finding, verdict.policy)).collect();
        let good = is_good(module, verdict.policy);
        if good && findings.is_empty() && !all {
            continue;
        }
        let word = if good { "loads" } else { "does not load" };
        let package = proven.package.as_ref().map(|package| format!(" ({package})")).unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}: {word}{package}", module.name);
        for finding in findings {
            let _ = writeln!(text, "    {finding}");
        }
    }
    for finding in verdict.findings.iter().filter(|finding| all || finding.severity > Severity::Warning) {
        let _ = writeln!(text, "the set: {finding}");
    }
    let refused = proof.verdict.modules.len() - good(proof);
    let not_judged = not_judged(proof);
    if verdict.is_good() {
        // Whether it loads is more than symbols tell.
        let word = if not_judged.is_empty() { "loads" } else { "fits by its symbols" };
        let _ = writeln!(
            text,
            "{word}: {} on {}, {} found with the right CRC",
            count(proof.modules.len(), "module"),
            verdict.kernel,
            count(proof.symbols, "symbol")
        );
    } else {
        let _ = writeln!(
            text,
            "does not load: {} of {} on {}",
            if refused == 0 { "the set".to_owned() } else { refused.to_string() },
            count(proof.modules.len(), "module"),
            verdict.kernel
        );
    }
    if let Some(ignored) = ignored(proof) {
        let _ = writeln!(text, "ignored: {ignored}");
    }
    for what in not_judged {
        let _ = writeln!(text, "not judged: {what}");
    }
    text
}

/// What is wrong enough for a module not to be let through.
fn bad(policy: VermagicPolicy) -> Severity {
    match policy {
        VermagicPolicy::Exact => Severity::Strict,
        VermagicPolicy::AsKernel => Severity::Fatal,
    }
}

fn is_good(module: &ModuleVerdict, policy: VermagicPolicy) -> bool {
    module.loads && module.findings.iter().all(|finding| finding.severity < bad(policy))
}

/// Whether a finding is worth a line of its own. Releases that were asked to be ignored have one together.
fn is_told(finding: &Finding, policy: VermagicPolicy) -> bool {
    let ignored = matches!(finding.problem, Problem::Release { .. }) && finding.severity < bad(policy);
    finding.severity > Severity::Warning && !ignored
}

/// The modules that were let through although they were built for another kernel.
pub fn ignored(proof: &Proof) -> Option<String> {
    let releases =
        proof.verdict.modules.iter().flat_map(|module| &module.findings).filter_map(|finding| match &finding
            .problem
        {
            Problem::Release { built_for, .. } if finding.severity < bad(proof.verdict.policy) => {
                Some(built_for.as_str())
            }
            _ => None,
        });
    let releases: Vec<&str> = releases.collect();
    let kernels: BTreeSet<&str> = releases.iter().copied().collect();
    let kernels: Vec<&str> = kernels.into_iter().collect();
    (!releases.is_empty()).then(|| {
        format!(
            "{} of {} built for {} and not for {}: with --any-release symbols alone decide. Such modules are never \
             published",
            releases.len(),
            count(proof.modules.len(), "module"),
            kernels.join(", "),
            proof.verdict.kernel
        )
    })
}

/// Everything that the verdict is not about.
pub fn not_judged(proof: &Proof) -> Vec<String> {
    let release = proof.release_is_claimed.then(|| {
        format!("whether the symbols are those of kernel {}: only --release says so", proof.verdict.kernel)
    });
    untold(proof).into_iter().chain(release).collect()
}

/// What the verdict is not about, and how to get one that is.
pub fn untold(proof: &Proof) -> Option<String> {
    let what = proof.untold()?;
    Some(format!(
        "nothing at hand tells {what} of kernel {}: the modules were compared with each other in this, and not with the \
         kernel. Its kernel-devel or kernel-core, an RPM or unpacked, tells it",
        proof.verdict.kernel
    ))
}

fn good(proof: &Proof) -> usize {
    let verdict = &proof.verdict;
    verdict.modules.iter().filter(|module| is_good(module, verdict.policy)).count()
}
