//! The `driver` section.

use std::collections::BTreeMap;

use drivetrain_model::{Architecture, ComponentName, DriverVersion, RepositoryId, Sha256Digest};

use crate::fields::{Field, Fields, Key, key};
use crate::location::{absolute, is_url, remote};
use crate::module_signing;
use crate::parse::Context;
use crate::patches;
use crate::problems::{Problems, quote};
use crate::train::{RepositoryContext, repository};
use crate::{
    Builder, BuilderKind, Components, Driver, DriverName, ExtraSource, Reuse, Train, Userspace, VendorTool,
};

const DRIVER: &[Key] = &[
    key("name", "a name for the driver stack, such as doca-ofed"),
    key("version", "the version as the vendor counts it, such as 3.2.0"),
    key("repository", "the vendor's repository for this version"),
    key("source", "the package that holds the source archive"),
    key("build", "what builds the components"),
    key("vendor_tool", "how the vendor's tool is used"),
    key("components", "which components of the archive to build"),
    key("needs", "what components are built against, beside what their source RPMs say"),
    key("extra", "source RPMs beside those of the archive"),
    key("patches", "patches of your own for components"),
    key("macros", "RPM macros to define for every component"),
    key("with", "build conditions to switch on"),
    key("without", "build conditions to switch off"),
    key("module_signing", "the certificate that modules are signed for, and who signs"),
    key("userspace", "which userspace packages to publish beside the modules"),
    key("reuse", "whether modules that were built for another kernel may be taken"),
];

const COMPONENTS: &[Key] =
    &[key("include", "build only these components"), key("exclude", "build all but these components")];

const USERSPACE: &[Key] = &[
    key("packages", "the packages that are wanted, such as doca-ofed-userspace"),
    key("weak_dependencies", "whether what they recommend comes as well"),
];

const VENDOR_TOOL: &[Key] =
    &[key("package", "the package that has the tool"), key("arguments", "arguments for the tool")];

const EXTRA: &[Key] = &[
    key("path", "a source RPM on this host, or a directory of them"),
    key("url", "a source RPM on a server"),
    key("sha256", "the checksum that a source RPM from a URL must have, since no metadata vouches for it"),
];

/// The package that DOCA ships its sources in.
const DEFAULT_SOURCE: &str = "doca-ofed-source";
/// The package that DOCA ships its build tool in.
const DEFAULT_TOOL: &str = "doca-extra";

/// Options of the tool that say what is built, or keep it from being built: drivetrain's to give.
const OWN_OPTIONS: &[&str] = &[
    "-k",
    "--kernel",
    "-s",
    "--kernel-source",
    "-t",
    "--tarball",
    "-K",
    "--keep-going",
    "-d",
    "--dry-run",
    "--dirty",
];

pub(crate) fn read(
    field: &Field<'_>,
    train: Option<&Train>,
    context: &Context<'_>,
    problems: &mut Problems<'_>,
) -> Option<Driver> {
    let fields = field.fields(DRIVER, problems)?;
    let name = fields.require("name", problems).and_then(|field| {
        let id = field.parsed("a name", problems, RepositoryId::parse)?;
        if train.is_some_and(|train| train.repositories.contains_key(&id)) {
            let message = format!(
                "{} is {}, which is a repository of the train already",
                field.path,
                quote(id.as_str())
            );
            problems.add(
                field.place(),
                message,
                Some("the driver's repository goes by this name: choose another".to_owned()),
            );
            return None;
        }
        Some(id)
    });
    let version = fields
        .require("version", problems)
        .and_then(|field| field.parsed("a version", problems, DriverVersion::parse));
    let place = RepositoryContext {
        arch: train.map(|train| Architecture::as_str(&train.arch)),
        version: version.as_ref().map(DriverVersion::as_str),
        is_driver: true,
        keys: Some(Vec::new()),
    };
    let repository = fields
        .require("repository", problems)
        .and_then(|field| repository(&field, &place, context, problems));
    let source = package(&fields, "source", DEFAULT_SOURCE, problems);
    let vendor_tool = vendor_tool(&fields, problems);
    let components = match fields.get("components") {
        None => Some(Components::default()),
        Some(field) => components(&field, problems),
    };
    let needs = match fields.get("needs") {
        None => Some(BTreeMap::new()),
        Some(field) => needs(&field, problems),
    };
    let extra = match fields.get("extra") {
        None => Some(Vec::new()),
        Some(field) => extras(&field, context, problems),
    };
    let patches = match fields.get("patches") {
        None => Some(Vec::new()),
        Some(field) => {
            patches::read(&field, vendor_tool.as_ref().is_some_and(Option::is_some), context, problems)
        }
    };
    let macros = match fields.get("macros") {
        None => Some(BTreeMap::new()),
        Some(field) => macros(&field, problems),
    };
    let with = conditions(&fields, "with", problems);
    let without = conditions(&fields, "without", problems);
    if let (Some(with), Some(without)) = (&with, &without)
        && let Some(both) = with.iter().find(|name| without.contains(name))
        && let Some(field) = fields.get("without")
    {
        problems.add(
            field.place(),
            format!("{} is in both {}.with and {}.without", quote(both), fields.path, fields.path),
            None,
        );
    }
    let userspace = match fields.get("userspace") {
        None => Some(None),
        Some(field) => userspace(&field, problems).map(Some),
    };
    let reuse = fields.get("reuse").map_or(Some(Reuse::Never), |field| {
        field.word(&[("never", Reuse::Never), ("when-identical", Reuse::WhenIdentical)], problems)
    });
    let module_signing = match fields.get("module_signing") {
        None => Some(Vec::new()),
        Some(field) => module_signing::read(&field, context, problems),
    };
    let name = name?;
    Some(Driver {
        module_signing: module_signing?,
        repository_id: name.clone(),
        name: DriverName(name.as_str().to_owned()),
        version: version?,
        repository: repository?,
        source: source?,
        components: components?,
        needs: needs?,
        extra: extra?,
        macros: macros?,
        with: with?,
        without: without?,
        patches: patches?,
        userspace: userspace?,
        vendor_tool: vendor_tool?,
        reuse: reuse?,
    })
}

/// Refuses what builds the components where the builder cannot have it.
pub(crate) fn check_builder(
    field: Option<&Field<'_>>,
    driver: &Driver,
    builder: &Builder,
    problems: &mut Problems<'_>,
) {
    if driver.vendor_tool.is_none() {
        return;
    }
    // Not as a mapping of known keys, whose mistakes would be told twice.
    let entries = field.and_then(|field| field.entries("keys", problems)).unwrap_or_default();
    let Some(build) = entries.iter().find(|entry| entry.path.ends_with(".build")) else { return };
    let machine = match &builder.kind {
        BuilderKind::Sandbox => None,
        BuilderKind::Ssh { machine, .. }
        | BuilderKind::Qemu { machine, .. }
        | BuilderKind::OpenStack { machine, .. } => Some(machine),
    };
    let Some(machine) = machine.filter(|machine| machine.prepare.is_some()) else {
        let message = format!(
            "{}: the vendor's tool installs packages into the system that it runs on, and this builder is not one \
             that is made ready for that",
            build.path
        );
        let help = "take a `builder` of the kind ssh, qemu or openstack with `prepare`, or leave `build` out"
            .to_owned();
        problems.add(build.place(), message, Some(help));
        return;
    };
    if ["/tmp", "/var/tmp"].iter().any(|hidden| machine.directory.starts_with(hidden)) {
        let message = format!(
            "builder.machine.directory is {}, and the vendor's tool gets a /tmp and a /var/tmp of its own",
            machine.directory
        );
        problems.add(build.place(), message, Some("name another directory, or leave it out".to_owned()));
    }
}

/// A package's name, which follows the rules of a component's, which is one.
fn package(fields: &Fields<'_>, name: &str, default: &str, problems: &mut Problems<'_>) -> Option<String> {
    match fields.get(name) {
        None => Some(default.to_owned()),
        Some(field) => field
            .parsed("a package's name", problems, ComponentName::parse)
            .map(|name| name.as_str().to_owned()),
    }
}

fn vendor_tool(fields: &Fields<'_>, problems: &mut Problems<'_>) -> Option<Option<VendorTool>> {
    let wanted = match fields.get("build") {
        None => Some(false),
        Some(field) => field.word(&[("source-rpms", false), ("vendor-tool", true)], problems),
    };
    let Some(field) = fields.get("vendor_tool") else {
        let tool = VendorTool { package: DEFAULT_TOOL.to_owned(), arguments: Vec::new() };
        return wanted.map(|wanted| wanted.then_some(tool));
    };
    let fields = field.fields(VENDOR_TOOL, problems)?;
    let package = package(&fields, "package", DEFAULT_TOOL, problems);
    let arguments = match fields.get("arguments") {
        None => Some(Vec::new()),
        Some(field) => field.list(("an argument", "arguments"), problems, argument),
    };
    if wanted == Some(false) {
        let help = "say `build: vendor-tool` as well, or leave it out".to_owned();
        problems.add(
            field.key,
            format!("{} is of no use: the vendor's tool does not build", field.path),
            Some(help),
        );
        return None;
    }
    wanted?;
    Some(Some(VendorTool { package: package?, arguments: arguments? }))
}

fn argument(text: &str) -> Result<String, String> {
    let option = text.split('=').next().unwrap_or_default();
    let short =
        OWN_OPTIONS.iter().any(|own| own.len() == 2 && text.starts_with(own) && !text.starts_with("--"));
    if text.chars().any(char::is_control) {
        return Err(format!("{} is no argument", quote(text)));
    }
    if short || OWN_OPTIONS.contains(&option) {
        return Err(format!("{} is given by drivetrain itself, from the plan", quote(option)));
    }
    Ok(text.to_owned())
}

const COMPONENT: (&str, &str) = ("a component's name", "components' names");

fn components(field: &Field<'_>, problems: &mut Problems<'_>) -> Option<Components> {
    let fields = field.fields(COMPONENTS, problems)?;
    let include = match fields.get("include") {
        None => Some(None),
        Some(field) => {
            let names = field.list(COMPONENT, problems, ComponentName::parse);
            if names.as_ref().is_some_and(Vec::is_empty) {
                let message = format!("{} is empty, and so nothing would be built", field.path);
                problems.add(field.key, message, Some("leave it out to build all components".to_owned()));
            }
            names.map(Some)
        }
    };
    let exclude = match fields.get("exclude") {
        None => Some(Vec::new()),
        Some(field) => field.list(COMPONENT, problems, ComponentName::parse),
    };
    if let (Some(Some(include)), Some(exclude)) = (&include, &exclude)
        && let Some(both) = include.iter().find(|name| exclude.contains(name))
        && let Some(field) = fields.get("exclude")
    {
        problems.add(field.place(), format!("{both} is both included and excluded"), None);
    }
    Some(Components { include: include?, exclude: exclude? })
}

fn needs(
    field: &Field<'_>,
    problems: &mut Problems<'_>,
) -> Option<BTreeMap<ComponentName, Vec<ComponentName>>> {
    let entries = field.entries("components, each with a list of what it needs", problems)?;
    let total = entries.len();
    let mut needs = BTreeMap::new();
    for entry in &entries {
        let name = match ComponentName::parse(entry.name(&field.path)) {
            Ok(name) => Some(name),
            Err(error) => {
                problems.add(entry.key, error.to_string(), None);
                None
            }
        };
        let list = entry.list(COMPONENT, problems, ComponentName::parse);
        if let (Some(name), Some(list)) = (name, list) {
            needs.insert(name, list);
        }
    }
    if needs.len() != total {
        return None;
    }
    if let Some(cycle) = cycle(&needs) {
        let words: Vec<&str> = cycle.iter().map(ComponentName::as_str).collect();
        problems.add(
            field.key,
            format!("{} goes in a circle: {}", field.path, words.join(" needs ")),
            Some("one of them has to be built first".to_owned()),
        );
        return None;
    }
    Some(needs)
}

/// A circle among the needs, its first name again at its end.
fn cycle(needs: &BTreeMap<ComponentName, Vec<ComponentName>>) -> Option<Vec<ComponentName>> {
    // Components whose needs are all settled are settled, until no more become so; what is left holds a
    // circle, and walking along it finds one. No recursion: the file decides how deep it would go.
    let mut open: BTreeMap<&ComponentName, &Vec<ComponentName>> = needs.iter().collect();
    loop {
        let settled: Vec<&ComponentName> = open
            .iter()
            .filter(|(_, list)| list.iter().all(|need| !open.contains_key(need)))
            .map(|(name, _)| *name)
            .collect();
        if settled.is_empty() {
            break;
        }
        for name in settled {
            open.remove(name);
        }
    }
    let mut path: Vec<&ComponentName> = vec![open.keys().next()?];
    loop {
        let next = open.get(path.last()?)?.iter().find(|need| open.contains_key(need))?;
        if let Some(start) = path.iter().position(|name| *name == next) {
            path.push(next);
            return Some(path[start..].iter().map(|name| (*name).clone()).collect());
        }
        path.push(next);
    }
}

fn extras(field: &Field<'_>, context: &Context<'_>, problems: &mut Problems<'_>) -> Option<Vec<ExtraSource>> {
    let items = field.items("source RPMs, each {path: …} or {url: …, sha256: …}", problems)?;
    let total = items.len();
    let extras: Vec<ExtraSource> = items.iter().filter_map(|item| extra(item, context, problems)).collect();
    (extras.len() == total).then_some(extras)
}

fn extra(field: &Field<'_>, context: &Context<'_>, problems: &mut Problems<'_>) -> Option<ExtraSource> {
    let fields = field.fields(EXTRA, problems)?;
    match (fields.get("path"), fields.get("url")) {
        (Some(path), None) => {
            if let Some(checksum) = fields.get("sha256") {
                problems.add(
                    checksum.key,
                    format!("{} goes with a URL: a path on this host is taken as it is", checksum.path),
                    None,
                );
                return None;
            }
            let text = path.text("a path", problems)?;
            if is_url(text) {
                let message = format!("{} is a URL", path.path);
                problems.add(path.place(), message, Some("use the key `url`, with `sha256`".to_owned()));
                return None;
            }
            Some(ExtraSource::Path(absolute(context.base_dir, text)))
        }
        (None, Some(url)) => {
            let url = url.parsed("a URL", problems, remote);
            let sha256 = fields
                .require("sha256", problems)
                .and_then(|field| field.parsed("64 hexadecimal digits", problems, Sha256Digest::parse));
            Some(ExtraSource::Url { url: url?, sha256: sha256? })
        }
        _ => {
            problems.add(field.place(), format!("{} must have one of `path` and `url`", field.path), None);
            None
        }
    }
}

fn macros(field: &Field<'_>, problems: &mut Problems<'_>) -> Option<BTreeMap<String, String>> {
    let entries = field.entries("macros with their values", problems)?;
    let total = entries.len();
    let mut macros = BTreeMap::new();
    for entry in entries {
        let name = entry.name(&field.path).to_owned();
        // RPM's own rule: three characters at least.
        let named = name.len() >= 3
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !name.as_bytes()[0].is_ascii_digit();
        if !named {
            problems.add(
                entry.key,
                format!("{} is no name of an RPM macro", quote(&name)),
                Some("letters, digits and `_`, at least three, without the `%`".to_owned()),
            );
            continue;
        }
        let value = entry.parsed("the macro's value", problems, |text| {
            if text.contains(['\n', '\r', '\0']) {
                Err("a macro's value is one line")
            } else {
                Ok(text.to_owned())
            }
        });
        if let Some(value) = value {
            macros.insert(name, value);
        }
    }
    (macros.len() == total).then_some(macros)
}

fn conditions(fields: &Fields<'_>, name: &str, problems: &mut Problems<'_>) -> Option<Vec<String>> {
    let Some(field) = fields.get(name) else { return Some(Vec::new()) };
    field.list(("a build condition's name", "build conditions' names"), problems, |text| {
        if text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) && !text.starts_with('-') {
            Ok(text.to_owned())
        } else {
            Err(format!("{} is no name of a build condition", quote(text)))
        }
    })
}

fn userspace(field: &Field<'_>, problems: &mut Problems<'_>) -> Option<Userspace> {
    let fields = field.fields(USERSPACE, problems)?;
    let packages = fields.require("packages", problems).and_then(|field| {
        let packages = field.list(("a package's name", "package names"), problems, want)?;
        if packages.is_empty() {
            let help = "leave userspace out to publish kernel modules alone".to_owned();
            problems.add(field.key, format!("{} is empty", field.path), Some(help));
            return None;
        }
        Some(packages)
    });
    let weak_dependencies = match fields.get("weak_dependencies") {
        None => Some(false),
        Some(field) => field.boolean(problems),
    };
    Some(Userspace { packages: packages?, weak_dependencies: weak_dependencies? })
}

/// A package's name, a capability with or without a version, or a path.
fn want(text: &str) -> Result<String, String> {
    let one_line = !text.contains(char::is_control);
    let words = text.split(' ').count();
    let operator = text.split(' ').nth(1).is_none_or(|word| ["<", "<=", "=", ">=", ">"].contains(&word));
    if one_line && matches!(words, 1 | 3) && operator && !text.contains('*') {
        return Ok(text.to_owned());
    }
    Err(format!("{} is no package's name, and no capability such as `libibverbs >= 2510`", quote(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(edges: &[(&str, &[&str])]) -> BTreeMap<ComponentName, Vec<ComponentName>> {
        let name = |text: &str| ComponentName::parse(text).unwrap();
        edges.iter().map(|(from, to)| (name(from), to.iter().map(|text| name(text)).collect())).collect()
    }

    #[test]
    fn circles_are_found_and_chains_are_not() {
        assert_eq!(cycle(&needs(&[("a", &["b", "c"]), ("b", &["c"]), ("d", &["a"])])), None);
        let found = cycle(&needs(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])])).unwrap();
        let words: Vec<&str> = found.iter().map(ComponentName::as_str).collect();
        assert_eq!(words, ["b", "c", "b"]);
        assert_eq!(cycle(&needs(&[("a", &["a"])])).unwrap().len(), 2);
    }
}
