//! Which of the site's own patches a component gets.
//!
//! A patch outlives what it was made for: the vendor takes it in, or the kernel changes again. So each may say which
//! versions of the source it is for, and is refused for others, loudly, since somebody has to look at it then; and what
//! has to hold of the kernel's headers, by which it is chosen quietly, since several kernels are built for from one
//! configuration.

use camino::Utf8PathBuf;
use drivetrain_config::{Config, DriverPatch, HeaderCondition, HeaderTest};
use drivetrain_model::{KernelRelease, PlannedPatch, Problem, Sha256Digest};

use crate::components::{Components, OrderedComponent};
use crate::refusal::{Refusal, error};

/// A patch as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchFile {
    /// Where its bytes are.
    pub path: Utf8PathBuf,
    /// What they are.
    pub sha256: Sha256Digest,
}

/// A component's patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentPatch {
    /// What the plan says of it.
    pub planned: PlannedPatch,
    /// Where its bytes are.
    pub path: Utf8PathBuf,
}

/// Whether any patch asks for the kernel's headers, which then have to be there.
#[must_use]
pub fn asks_for_headers(config: &Config) -> bool {
    config.driver.patches.iter().any(|patch| patch.header.is_some())
}

/// Gives each component its patches. `files` are those of `driver.patches`, in their order; `headers` answers what text
/// a header of this kernel has, `None` where there is none.
///
/// Refuses a patch for a component that is not built, and one for another version of its source.
pub fn patches(
    config: &Config,
    components: &mut Components,
    kernel: &KernelRelease,
    files: &[PatchFile],
    headers: impl Fn(&str) -> Option<String>,
) -> Result<(), Refusal> {
    let mut problems = Vec::new();
    for (patch, file) in config.driver.patches.iter().zip(files) {
        match component_of(patch, components) {
            Ok(component) => {
                let (applied, why) = match &patch.header {
                    None => (true, String::new()),
                    Some(condition) => judge(condition, kernel, headers(&condition.file).as_deref()),
                };
                let planned = PlannedPatch { file: name_of(patch), sha256: file.sha256, applied, why };
                component.patches.push(ComponentPatch { planned, path: file.path.clone() });
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Refusal::all(problems)) }
}

/// The component that a patch is for, if its source is of a version that the patch is for.
fn component_of<'c>(
    patch: &DriverPatch,
    components: &'c mut Components,
) -> Result<&'c mut OrderedComponent, Problem> {
    let (file, name) = (name_of(patch), &patch.component);
    if let Some(skipped) = components.skipped.iter().find(|skipped| skipped.name == *name) {
        return Err(error(
            format!("driver.patches has {file} for {name}, which is left out: {}", skipped.why),
            "take the patch out as well, or build the component",
        ));
    }
    let names: Vec<String> = components.ordered.iter().map(|component| component.name.to_string()).collect();
    let Some(component) = components.ordered.iter_mut().find(|component| component.name == *name) else {
        return Err(error(
            format!("driver.patches has {file} for {name}, and there is no component of that name"),
            format!("there are: {}", names.join(", ")),
        ));
    };
    match &patch.source {
        Some(range) if !range.contains(&component.source.nevra.evr) => Err(error(
            format!(
                "the patch {file} is stale: it is for {name} {range}, and the driver has {}",
                component.source.nevra
            ),
            "see whether the vendor has taken it in: take it out of driver.patches then, and otherwise widen its \
             `source` once you have tried it",
        )),
        _ => Ok(component),
    }
}

fn name_of(patch: &DriverPatch) -> String {
    patch.path.file_name().unwrap_or(patch.path.as_str()).to_owned()
}

/// Whether a condition holds for a kernel, and what to say of it.
fn judge(condition: &HeaderCondition, kernel: &KernelRelease, text: Option<&str>) -> (bool, String) {
    let file = &condition.file;
    let has = |wanted: &str| text.is_some_and(|text| text.lines().any(|line| line.contains(wanted)));
    let absent = format!("{kernel} has no {file}");
    match &condition.is {
        HeaderTest::There if text.is_some() => (true, format!("{kernel} has {file}")),
        HeaderTest::There => (false, absent),
        HeaderTest::Missing if text.is_none() => (true, absent),
        HeaderTest::Missing => (false, format!("{kernel} has {file}")),
        HeaderTest::Contains(_) | HeaderTest::Lacks(_) if text.is_none() => {
            (matches!(condition.is, HeaderTest::Lacks(_)), absent)
        }
        HeaderTest::Contains(wanted) if has(wanted) => {
            (true, format!("{file} of {kernel} contains {wanted:?}"))
        }
        HeaderTest::Contains(wanted) => (false, format!("{file} of {kernel} does not contain {wanted:?}")),
        HeaderTest::Lacks(wanted) if has(wanted) => {
            (false, format!("{file} of {kernel} contains {wanted:?}"))
        }
        HeaderTest::Lacks(wanted) => (true, format!("{file} of {kernel} does not contain {wanted:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(is: HeaderTest, text: Option<&str>) -> bool {
        let condition = HeaderCondition { file: "linux/dpll.h".to_owned(), is };
        let kernel = KernelRelease::parse("5.14.0-570.el9.x86_64").unwrap();
        let (applied, why) = judge(&condition, &kernel, text);
        assert!(why.contains("linux/dpll.h") && why.contains("5.14.0-570"), "{why}");
        applied
    }

    #[test]
    fn a_header_decides_by_its_lines_and_by_being_there() {
        let text = Some("int dpll_pin_get(void);\nint dpll_pin_put(void);\n");
        let contains = |wanted: &str| HeaderTest::Contains(wanted.to_owned());
        let lacks = |wanted: &str| HeaderTest::Lacks(wanted.to_owned());
        assert!(judged(contains("dpll_pin_get"), text) && !judged(contains("dpll_netdev"), text));
        assert!(!judged(lacks("dpll_pin_get"), text) && judged(lacks("dpll_netdev"), text));
        assert!(!judged(contains("dpll_pin_get"), None) && judged(lacks("dpll_pin_get"), None));
        assert!(judged(HeaderTest::There, text) && !judged(HeaderTest::There, None));
        assert!(judged(HeaderTest::Missing, None) && !judged(HeaderTest::Missing, text));
        // What looks as if it stood across two lines does not.
        assert!(!judged(contains("void);int"), text));
    }
}
