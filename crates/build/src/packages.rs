//! What a build made, as `rpm -qp` describes it.

use camino::Utf8Path;
use drivetrain_model::{Capability, Comparison, ComponentName, Evr, KernelRelease, Nevra};

use crate::ComponentError;

/// One RPM that a build wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BuiltPackage {
    pub(crate) file: String,
    pub(crate) nevra: Nevra,
    pub(crate) provides: Vec<Capability>,
    /// Paths of kernel modules in it.
    pub(crate) modules: Vec<String>,
}

/// The `--queryformat` whose output [`parse`] reads.
pub(crate) const QUERY: &str = "P %{NAME} %|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE} %{ARCH}\\n\
                                [V %{PROVIDENEVRS}\\n][F %{FILENAMES}\\n]";

/// Reads the answer to [`QUERY`]. Lines that make no sense are left out: the RPMs come from a build, and a
/// build may put anything into them.
pub(crate) fn parse(text: &str) -> Vec<BuiltPackage> {
    let mut packages: Vec<BuiltPackage> = Vec::new();
    for line in text.lines() {
        match (line.split_at_checked(2), packages.last_mut()) {
            (Some(("P ", rest)), _) => packages.extend(package(rest)),
            (Some(("V ", rest)), Some(package)) => package.provides.extend(capability(rest)),
            (Some(("F ", rest)), Some(package)) if is_module(rest) => package.modules.push(rest.to_owned()),
            _ => {}
        }
    }
    packages
}

fn package(text: &str) -> Option<BuiltPackage> {
    let mut parts = text.split(' ');
    let (name, evr, arch) = (parts.next()?, parts.next()?, parts.next()?);
    let nevra = Nevra::parse(&format!("{name}-{evr}.{arch}")).ok()?;
    Some(BuiltPackage { file: nevra.file_name(), nevra, provides: Vec::new(), modules: Vec::new() })
}

/// Reads `name`, or `name >= [epoch:]version[-release]`. Rich dependencies are nobody's to answer here.
pub(crate) fn capability(text: &str) -> Option<Capability> {
    let text = text.trim();
    if text.is_empty() || text.starts_with('(') {
        return None;
    }
    let mut parts = text.split_whitespace();
    let name = parts.next()?;
    let comparison = match parts.next() {
        None => return Some(Capability::unversioned(name)),
        Some("<") => Comparison::Less,
        Some("<=") => Comparison::LessOrEqual,
        Some("=") => Comparison::Equal,
        Some(">=") => Comparison::GreaterOrEqual,
        Some(">") => Comparison::Greater,
        Some(_) => return None,
    };
    Some(Capability::versioned(name, comparison, Evr::parse(parts.next()?)))
}

/// Whether a path is a kernel module's, compressed or not.
pub(crate) fn is_module(path: &str) -> bool {
    let path = [".xz", ".zst", ".gz"].iter().find_map(|suffix| path.strip_suffix(suffix)).unwrap_or(path);
    path.ends_with(".ko")
}

/// The kernel release that a module's path names: the directory below `/lib/modules`.
pub(crate) fn release_of(module: &str) -> Option<&str> {
    let (_, rest) = module.split_once("/lib/modules/")?;
    rest.split('/').next().filter(|release| Utf8Path::new(release).as_str() != "")
}

/// The packages of a component, if there are modules for this kernel among them.
pub(crate) fn with_modules(
    component: &ComponentName,
    packages: Vec<BuiltPackage>,
    wanted: &KernelRelease,
) -> Result<Vec<BuiltPackage>, ComponentError> {
    let mut found: Vec<String> = Vec::new();
    for module in packages.iter().flat_map(|package| &package.modules) {
        match release_of(module) {
            Some(release) if release == wanted.as_str() => return Ok(packages),
            Some(release) if !found.iter().any(|known| known == release) => found.push(release.to_owned()),
            _ => {}
        }
    }
    let component = component.clone();
    if found.is_empty() {
        let packages = packages.into_iter().map(|package| package.nevra.name).collect();
        return Err(ComponentError::NoModules { component, packages });
    }
    Err(ComponentError::WrongKernel { component, wanted: wanted.clone(), found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_rpm_is_read() {
        let text = "P kmod-hello 1.0-1.1.rhel9 x86_64\nV kmod-hello = 1.0-1\nV kmod-hello(x86-64) = 1.0-1.1.rhel9\n\
                    F /lib/modules/6.1.0-56-cloud-amd64/extra/hello/hello.ko.xz\nF /etc/depmod.d/x.conf\n\
                    P hello-devel 2:1.0-1 noarch\nF /usr/src/hello/hello.h\nnonsense\n";
        let packages = parse(text);
        assert_eq!(packages.len(), 2);
        assert_eq!(packages[0].file, "kmod-hello-1.0-1.1.rhel9.x86_64.rpm");
        assert_eq!(packages[0].provides.len(), 2);
        assert_eq!(release_of(&packages[0].modules[0]), Some("6.1.0-56-cloud-amd64"));
        assert_eq!(packages[1].nevra.evr.epoch, 2);
        assert!(packages[1].modules.is_empty());
        assert_eq!(release_of("/opt/x.ko"), None);
    }

    #[test]
    fn requirements_are_read() {
        assert_eq!(capability("gcc >= 8.5").unwrap().to_string(), "gcc >= 8.5");
        assert_eq!(capability(" /usr/bin/perl ").unwrap().to_string(), "/usr/bin/perl");
        for text in ["", "(a if b)", "x ~ 1", "x >="] {
            assert!(capability(text).is_none(), "{text}");
        }
    }
}
