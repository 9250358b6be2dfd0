//! The `train` section, and repositories wherever they stand.

use std::collections::BTreeMap;

use drivetrain_model::{Architecture, KernelPolicy, KernelRelease, RepositoryId, Snapshot, TrainName};

use crate::fields::{Field, Fields, Key, key};
use crate::location::{base_url, expand, is_this_host, trusted_file};
use crate::parse::Context;
use crate::problems::{Problems, quote};
use crate::tree::Value;
use crate::{Credentials, Location, Repository, Secret, Train, Verify};

const TRAIN: &[Key] = &[
    key("name", "a name for the train, which becomes part of the published path, such as rocky-9.6"),
    key("arch", "the architecture of the machines that load the modules, such as x86_64"),
    key("kernel", "which of the train's kernels to build for"),
    key("keys", "the public keys that the train's packages are signed with"),
    key("repositories", "the repositories that hold the kernel and kernel-devel, by id"),
    key("module_streams", "module streams that are enabled beside the default ones"),
    key("kayobe", "the site's Kayobe configuration, which the rest is read from"),
];

const REPOSITORY: &[Key] = &[
    key("url", "the directory that holds the repository's repodata/, as a URL or a path"),
    key("snapshot", "the date that stands for {snapshot} in the URL"),
    key("username", "the user that the server knows"),
    key("password", "the user's password, as ${NAME} of an environment variable"),
    key("keys", "the public keys that the packages are signed with"),
    key("verify", "what a package has to prove"),
    key("priority", "the lowest number wins where two repositories have a package"),
    key("exclude", "packages to treat as absent"),
];

const KERNEL: &[Key] = &[
    key("exact", "the kernel release to build for"),
    key("ceiling", "the newest kernel release to build for"),
];

const ARCHITECTURES: [&str; 4] = ["x86_64", "aarch64", "ppc64le", "s390x"];

/// Where a repository stands: this decides its placeholders.
pub(crate) struct RepositoryContext<'a> {
    pub(crate) arch: Option<&'a str>,
    /// The driver stack's version: given for the driver's repository only.
    pub(crate) version: Option<&'a str>,
    pub(crate) is_driver: bool,
    /// The keys that a repository without its own has; the outer `None` where they could not be read.
    pub(crate) keys: Option<Vec<Location>>,
}

pub(crate) fn read(field: &Field<'_>, context: &Context<'_>, problems: &mut Problems<'_>) -> Option<Train> {
    let fields = field.fields(TRAIN, problems)?;
    let name =
        fields.require("name", problems).and_then(|field| field.parsed("a name", problems, TrainName::parse));
    let arch = fields.require("arch", problems).and_then(|field| architecture(&field, problems));
    let kernel = match fields.get("kernel") {
        None => Some(KernelPolicy::Latest),
        Some(field) => kernel(&field, problems),
    };
    let keys = match fields.get("keys") {
        None => Some(Vec::new()),
        Some(field) => keys(&field, context, problems),
    };
    let place = RepositoryContext {
        arch: arch.as_ref().map(Architecture::as_str),
        version: None,
        is_driver: false,
        keys,
    };
    let repositories = fields
        .require("repositories", problems)
        .and_then(|field| repositories(&field, &place, context, problems));
    let module_streams = match fields.get("module_streams") {
        None => Some(BTreeMap::new()),
        Some(field) => module_streams(&field, problems),
    };
    place.keys.as_ref()?;
    Some(Train {
        name: name?,
        arch: arch?,
        kernel: kernel?,
        repositories: repositories?,
        module_streams: module_streams?,
        // Noted by who read it.
        kayobe: None,
    })
}

/// `[nodejs:20, postgresql:16]`: one stream of each module, as DNF has it.
fn module_streams(field: &Field<'_>, problems: &mut Problems<'_>) -> Option<BTreeMap<String, String>> {
    let what = ("a module stream", "module streams, each as name:stream");
    let list = field.list(what, problems, |text| {
        let allowed = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b))
        };
        text.split_once(':')
            .filter(|(name, stream)| allowed(name) && allowed(stream))
            .map(|(name, stream)| (name.to_owned(), stream.to_owned()))
            .ok_or_else(|| format!("{} is no module stream: write name:stream", quote(text)))
    })?;
    let mut streams: BTreeMap<String, String> = BTreeMap::new();
    for (name, stream) in list {
        if let Some(other) = streams.get(&name) {
            let message =
                format!("{} has {name}:{other} and {name}:{stream}, and only one can be enabled", field.path);
            problems.add(field.place(), message, None);
            return None;
        }
        streams.insert(name, stream);
    }
    Some(streams)
}

fn architecture(field: &Field<'_>, problems: &mut Problems<'_>) -> Option<Architecture> {
    let words = ARCHITECTURES.map(|name| (name, name));
    field.word(&words, problems).and_then(|name| Architecture::parse(name).ok())
}

fn kernel(field: &Field<'_>, problems: &mut Problems<'_>) -> Option<KernelPolicy> {
    if let Value::Mapping(entries) = &field.node.value {
        let fields = field.fields(KERNEL, problems)?;
        if entries.len() != 1 {
            let message = format!("{} must have one of `exact` and `ceiling`", field.path);
            problems.add(field.place(), message, None);
            return None;
        }
        let release = |field: Field<'_>, problems: &mut Problems<'_>| {
            field.parsed("a kernel release as `uname -r` prints it", problems, KernelRelease::parse)
        };
        if let Some(field) = fields.get("exact") {
            return release(field, problems).map(KernelPolicy::Exact);
        }
        return release(fields.get("ceiling")?, problems).map(KernelPolicy::Ceiling);
    }
    match &field.node.value {
        Value::Scalar { text, .. } if text == "latest" => Some(KernelPolicy::Latest),
        Value::Scalar { text, .. } if text == "newest-buildable" => Some(KernelPolicy::NewestBuildable),
        Value::Scalar { text, .. } if text == "all-in-train" => Some(KernelPolicy::AllInTrain),
        _ => {
            problems.add(
                field.place(),
                format!("{} cannot be {}", field.path, crate::fields::kind(field.node)),
                Some("allowed: `latest`, `newest-buildable`, `all-in-train`, {exact: RELEASE} or {ceiling: RELEASE}, with the release as `uname -r` prints it".to_owned()),
            );
            None
        }
    }
}

/// A list of keys: paths or URLs.
fn keys(field: &Field<'_>, context: &Context<'_>, problems: &mut Problems<'_>) -> Option<Vec<Location>> {
    field.list(("a path or URL of a public key", "paths and URLs of public keys"), problems, |text| {
        trusted_file(context.base_dir, text)
    })
}

fn repositories(
    field: &Field<'_>,
    place: &RepositoryContext<'_>,
    context: &Context<'_>,
    problems: &mut Problems<'_>,
) -> Option<BTreeMap<RepositoryId, Repository>> {
    let entries = field.entries("repositories by id", problems)?;
    if entries.is_empty() {
        problems.add(
            field.key,
            format!("{} is empty: a train has at least one repository", field.path),
            None,
        );
        return None;
    }
    let total = entries.len();
    let mut repositories = BTreeMap::new();
    for entry in entries {
        let id = match RepositoryId::parse(entry.name(&field.path)) {
            Ok(id) => Some(id),
            Err(error) => {
                problems.add(entry.key, error.to_string(), None);
                None
            }
        };
        let repository = repository(&entry, place, context, problems);
        if let (Some(id), Some(repository)) = (id, repository) {
            repositories.insert(id, repository);
        }
    }
    (repositories.len() == total).then_some(repositories)
}

/// One repository.
pub(crate) fn repository(
    field: &Field<'_>,
    place: &RepositoryContext<'_>,
    context: &Context<'_>,
    problems: &mut Problems<'_>,
) -> Option<Repository> {
    let fields = field.fields(REPOSITORY, problems)?;
    let snapshot = match fields.get("snapshot") {
        None => Some(None),
        Some(field) => field.parsed("a snapshot's date", problems, Snapshot::parse).map(Some),
    };
    let url = fields.require("url", problems).and_then(|field| {
        let snapshot = snapshot.as_ref()?;
        url(&field, snapshot.as_ref(), &fields, place, context, problems)
    });
    let credentials = credentials(&fields, context, problems);
    if let (Some(url), Some(Some(_))) = (&url, &credentials) {
        let problem = match url.scheme() {
            "file" => Some("a file is read without a login"),
            "http" if !is_this_host(url) => {
                Some("plain http would show the password to everyone on the way: use https")
            }
            _ => None,
        };
        if let (Some(problem), Some(field)) = (problem, fields.get("url")) {
            problems.add(field.place(), format!("{} has a login, but {problem}", fields.path), None);
        }
    }
    let verify = match fields.get("verify") {
        None => Some(Verify::Signatures),
        Some(field) => field
            .word(&[("signatures", Verify::Signatures), ("checksums-only", Verify::ChecksumsOnly)], problems),
    };
    let keys = match fields.get("keys") {
        None => place.keys.clone(),
        Some(field) => keys(&field, context, problems),
    };
    if verify == Some(Verify::Signatures)
        && keys.as_ref().is_some_and(Vec::is_empty)
        && !fields.is_misspelt("keys")
        && !fields.is_misspelt("verify")
    {
        let wide = if place.is_driver { "" } else { ", or in train.keys for all repositories" };
        problems.add(
            fields.anchor(),
            format!("{} has no keys to check its packages' signatures with", fields.path),
            Some(format!(
                "name them in `keys`{wide}; `verify: checksums-only` goes without, and then trusts whoever can change the repository"
            )),
        );
    }
    let priority = match fields.get("priority") {
        None => Some(99),
        Some(field) => field.number(1..=99, problems),
    };
    let exclude = match fields.get("exclude") {
        None => Some(Vec::new()),
        Some(field) => {
            field.list(("a package name or pattern", "package names or patterns"), problems, pattern)
        }
    };
    Some(Repository {
        url: url?,
        snapshot: snapshot?,
        credentials: credentials?,
        keys: keys?,
        verify: verify?,
        priority: priority?,
        exclude: exclude?,
    })
}

fn url(
    field: &Field<'_>,
    snapshot: Option<&Snapshot>,
    fields: &Fields<'_>,
    place: &RepositoryContext<'_>,
    context: &Context<'_>,
    problems: &mut Problems<'_>,
) -> Option<url::Url> {
    let template = field.text("a URL or a path", problems)?;
    if let Some(variable) =
        ["$basearch", "$releasever", "$arch"].iter().find(|name| template.contains(**name))
    {
        problems.add(
            field.place(),
            format!(
                "{} has DNF's variable {variable}, which would depend on the host that drivetrain runs on",
                field.path
            ),
            Some("write {arch} for the architecture, and the release itself for the release".to_owned()),
        );
        return None;
    }
    // An architecture that could not be read has been told already: anything will do in its place.
    let arch = Some(place.arch.unwrap_or("unknown"));
    let mut values = vec![("arch", arch), ("snapshot", snapshot.map(Snapshot::as_str))];
    if place.is_driver {
        values.push(("version", Some(place.version.unwrap_or("unknown"))));
    }
    let text = match expand(template, &values) {
        Ok(text) => text,
        Err(_) if snapshot.is_none() && fields.is_misspelt("snapshot") => return None,
        Err(why) => {
            problems.add(field.place(), format!("{} {why}", field.path), None);
            return None;
        }
    };
    if snapshot.is_some()
        && !template.contains("{snapshot}")
        && let Some(given) = fields.get("snapshot")
    {
        problems.add(
            given.place(),
            format!("{} is set, but the URL does not use it", given.path),
            Some("put {snapshot} into the URL where the date stands".to_owned()),
        );
        return None;
    }
    match base_url(context.base_dir, &text) {
        Ok(url) => Some(url),
        Err(error) => {
            problems.add(field.place(), format!("{}: {error}", field.path), None);
            None
        }
    }
}

/// The login; the outer `None`, told, where it could not be read.
fn credentials(
    fields: &Fields<'_>,
    context: &Context<'_>,
    problems: &mut Problems<'_>,
) -> Option<Option<Credentials>> {
    let username = fields.get("username").map(|field| secret(&field, false, context, problems));
    let password = fields.get("password").map(|field| secret(&field, true, context, problems));
    match (username, password) {
        (None, None) => Some(None),
        (Some(username), Some(password)) => {
            Some(Some(Credentials { username: username?, password: password? }))
        }
        (given, _) => {
            let missing = if given.is_some() { "password" } else { "username" };
            if !fields.is_misspelt(missing) {
                problems.add(
                    fields.anchor(),
                    format!("{} has one half of a login: {missing:?} is missing", fields.path),
                    None,
                );
            }
            None
        }
    }
}

/// A value from the environment, or where that is harmless from the file.
pub(crate) fn secret(
    field: &Field<'_>,
    only_from_environment: bool,
    context: &Context<'_>,
    problems: &mut Problems<'_>,
) -> Option<Secret> {
    let what = if only_from_environment { "${NAME} of an environment variable" } else { "a user's name" };
    let text = match &field.node.value {
        // Not through `raw_text`, which would quote what it finds.
        Value::Scalar { text, .. } if !text.is_empty() => text,
        _ => {
            problems.add(field.place(), format!("{} must be {what}", field.path), None);
            return None;
        }
    };
    let advice =
        || Some(format!("write `{}: ${{NAME}}`, and set NAME in the environment", last(&field.path)));
    let Some(variable) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
        if only_from_environment || text.contains("${") {
            let message = if text.contains("${") {
                format!("{} must be one whole `${{NAME}}`", field.path)
            } else {
                format!("{} stands in the file, where others can read it", field.path)
            };
            problems.add(field.place(), message, advice());
            return None;
        }
        return Some(Secret::new(text.clone()));
    };
    let named = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if variable.is_empty() || !variable.bytes().all(named) || variable.as_bytes()[0].is_ascii_digit() {
        problems.add(field.place(), format!("{} must be one whole `${{NAME}}`", field.path), advice());
        return None;
    }
    let problem = match (context.env)(variable) {
        Some(value) if value.is_empty() => "is empty",
        Some(value) if value.contains(['\n', '\r', '\0']) => "has more than one line",
        Some(value) => return Some(Secret::from_variable(value, variable)),
        None => "is not set",
    };
    problems.add(
        field.place(),
        format!("{} is read from the environment variable {variable}, which {problem}", field.path),
        None,
    );
    None
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// A package name, or a pattern of names.
pub(crate) fn pattern(text: &str) -> Result<String, String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._+-*?".contains(&b);
    if text.bytes().all(allowed) && !text.bytes().all(|b| b == b'*') {
        Ok(text.to_owned())
    } else {
        Err(format!("{} is no package name or pattern of `*` and `?`", quote(text)))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn patterns_match_some_packages_but_not_all() {
        assert!(super::pattern("kmod-*").is_ok());
        assert!(super::pattern("*").is_err());
        assert!(super::pattern("a b").is_err());
    }
}
