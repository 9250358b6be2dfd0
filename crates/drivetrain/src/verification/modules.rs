//! Whether the modules are for the kernel that the repository is for.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8PathBuf;
use drivetrain_kmod::{Module, Vermagic, VermagicPolicy};
use drivetrain_model::{ExitCode, KernelRelease};
use drivetrain_modsign::Certificate;
use drivetrain_prove::{Limits, ModuleFile, ProveError, prove, read_kernel, read_modules};
use drivetrain_provenance::Statement;

use super::{Check, Outcome, Served, Wanted};
use crate::failure::{Failure, Result};
use crate::stage::{blocking, modsign};

const WHAT: &str = "modules";

/// Looks at every module.
pub(super) async fn check(
    packages: Vec<Served>,
    statement: Option<Statement>,
    certificates: Vec<Certificate>,
    wanted: Wanted,
) -> Result<Vec<Check>> {
    blocking(move || {
        let files: Vec<Utf8PathBuf> = packages.iter().map(|package| package.file.clone()).collect();
        let modules = match read_modules(&files, &Limits::default()) {
            Ok(modules) => modules.modules,
            Err(ProveError::NothingToJudge { .. }) => {
                return Ok(vec![Check::warning(WHAT, "none: userspace alone")]);
            }
            Err(error) => return Err(Failure::of(ExitCode::Input, &error)),
        };
        let set = Set::new(&packages, modules, statement.as_ref());
        let mut checks = vec![set.kernels(statement.as_ref(), wanted.kernel.as_ref())];
        checks.extend(set.signatures(statement.as_ref(), &certificates));
        if let Some(against) = &wanted.against {
            checks.push(set.symbols(against, wanted.kernel.as_ref(), statement.as_ref())?);
        }
        Ok(checks)
    })
    .await?
}

/// The modules, with what is known of their packages.
struct Set {
    modules: Vec<ModuleFile>,
    /// Kernels that modules were built for, by package, where that is not the one that they are for.
    built_for: BTreeMap<String, KernelRelease>,
    /// The kernels whose own packages are in the repository.
    kernels: BTreeSet<String>,
}

impl Set {
    fn new(packages: &[Served], mut modules: Vec<ModuleFile>, statement: Option<&Statement>) -> Self {
        // They were read by the names that files have in the store.
        let names: BTreeMap<&str, &str> = packages
            .iter()
            .filter_map(|package| Some((package.file.file_name()?, package.name.as_str())))
            .collect();
        for module in &mut modules {
            let name = module.package.as_deref().and_then(|file| names.get(file));
            module.package = name.map(|name| (*name).to_owned());
        }
        let sources: BTreeMap<String, String> = packages
            .iter()
            .filter_map(|package| Some((package.name.clone(), package.header.source_rpm.clone()?)))
            .collect();
        let provided = packages.iter().flat_map(|package| &package.header.provides);
        let kernels = provided
            .filter(|capability| capability.name == "kernel-uname-r")
            .filter_map(|capability| capability.constraint.as_ref())
            .map(|constraint| constraint.evr.to_string());
        Self {
            modules,
            built_for: statement.map(|statement| statement.built_for(&sources)).unwrap_or_default(),
            kernels: kernels.collect(),
        }
    }

    /// That each is installed for a kernel that the repository is for, and was built for it.
    fn kernels(&self, statement: Option<&Statement>, wanted: Option<&KernelRelease>) -> Check {
        let of_one = statement.filter(|statement| statement.is_of_one_kernel());
        let (mut problems, mut kernels) = (Vec::new(), BTreeSet::new());
        for module in &self.modules {
            let of = kernel_of(&module.path);
            match of {
                None => problems.push(format!("{module}: not below /lib/modules/<kernel>")),
                Some(kernel) => {
                    kernels.insert(kernel.to_owned());
                    problems.extend(self.vermagic(module, kernel));
                }
            }
        }
        for kernel in &kernels {
            match of_one {
                Some(statement) if statement.cell().kernel.as_str() != kernel => problems.push(format!(
                    "there are modules for {kernel}, and the statement is for {}",
                    statement.cell().kernel
                )),
                None if statement.is_some() && !self.kernels.contains(kernel) => {
                    problems.push(format!("there are modules for {kernel}, and that kernel is not there"));
                }
                _ => {}
            }
        }
        if let Some(wanted) = wanted.filter(|wanted| !kernels.contains(wanted.as_str())) {
            problems.push(format!("there are no modules for {wanted}"));
        }
        let all: Vec<String> = kernels.into_iter().collect();
        let good = format!("{} for {}", self.modules.len(), all.join(", "));
        let check = Check::of(WHAT, good, "not all are for the kernel", problems);
        Check { result: if check.problems.is_empty() { check.result } else { Outcome::Unfit }, ..check }
    }

    /// What is wrong with what a module says that it was built for.
    fn vermagic(&self, module: &ModuleFile, kernel: &str) -> Option<String> {
        let parsed = match Module::parse(&module.bytes) {
            Ok(parsed) => parsed,
            Err(error) => return Some(format!("{module}: {error}")),
        };
        let vermagic = parsed.vermagic().unwrap_or_default();
        let built = Vermagic::parse(&vermagic).release;
        let another = module.package.as_ref().and_then(|package| self.built_for.get(package));
        let expected = another.map_or(kernel, KernelRelease::as_str);
        (built != expected).then(|| format!("{module}: built for {built:?}, and {expected:?} is expected"))
    }

    /// That each carries the signatures that the statement names.
    fn signatures(&self, statement: Option<&Statement>, certificates: &[Certificate]) -> Option<Check> {
        let named = &statement?.predicate.build_definition.internal_parameters.module_certificates;
        if named.is_empty() {
            return None;
        }
        if certificates.len() < named.len() {
            return Some(Check::bad(
                "module signers",
                "not every certificate that the statement names is there",
            ));
        }
        let problems = modsign::unsigned(&self.modules, certificates);
        let names: Vec<String> = certificates.iter().map(ToString::to_string).collect();
        let good = format!("every module is signed for {}", names.join(" and for "));
        Some(Check::of("module signers", good, "not every module is signed as the statement says", problems))
    }

    /// That the kernel has every symbol that the modules need, with the same CRC.
    fn symbols(
        &self,
        against: &Utf8PathBuf,
        wanted: Option<&KernelRelease>,
        statement: Option<&Statement>,
    ) -> Result<Check> {
        let unread = |error: &ProveError| Failure::of(ExitCode::Input, error);
        let release = wanted.or_else(|| statement.map(|statement| &statement.cell().kernel));
        let kernel = match read_kernel(against, release) {
            Ok(kernel) => kernel,
            // It is one, and not the one that the repository is for.
            Err(error @ (ProveError::Absent { .. } | ProveError::OtherRelease { .. })) => {
                let found = unread(&error).one_line();
                return Ok(Check { result: Outcome::Unfit, ..Check::bad("symbols", found) });
            }
            Err(error) => return Err(unread(&error)),
        };
        let of_kernel = |module: &&ModuleFile| kernel_of(&module.path) == Some(kernel.release.as_str());
        let modules: Vec<ModuleFile> = self.modules.iter().filter(of_kernel).cloned().collect();
        if modules.is_empty() {
            let found = format!("there is no module for {}, which {against} is of", kernel.release);
            return Ok(Check { result: Outcome::Unfit, ..Check::bad("symbols", found) });
        }
        let mut proof = prove(&modules, &kernel, VermagicPolicy::Exact).map_err(|error| unread(&error))?;
        proof.allow_repackaged(&self.built_for);
        let good = format!("{} of {} modules fit {}", proof.symbols, modules.len(), kernel.release);
        let problems = crate::stage::prove::problems(&proof);
        let bad = format!("{} would not load all of them", kernel.release);
        let check = Check::of("symbols", good, bad, problems);
        Ok(Check { result: if check.problems.is_empty() { check.result } else { Outcome::Unfit }, ..check })
    }
}

/// The kernel that a module is installed for: `/lib/modules/<kernel>/…`, with `/usr` before it or without.
fn kernel_of(path: &str) -> Option<&str> {
    let below = path.strip_prefix("/usr").unwrap_or(path).strip_prefix("/lib/modules/")?;
    below.split_once('/').map(|(kernel, _)| kernel)
}
