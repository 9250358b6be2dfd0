//! `publish.pulp`.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use url::Url;

use super::{Channels, Placed, keep, layout};
use crate::fields::{Field, Fields, Key, key};
use crate::location::{LocationError, absolute, base_url, is_this_host, is_url};
use crate::parse::Context;
use crate::problems::{Problems, quote};
use crate::train::secret;
use crate::tree::Value;
use crate::{Credentials, PublishPulp, PublishTarget, PulpCredentials, Template};

const PULP: &[Key] = &[
    key("url", "the server's address, such as https://pulp.example.com"),
    key("profile", "a profile in pulp-cli's settings file"),
    key("profile_file", "pulp-cli's settings file"),
    key("credentials", "what to log in with"),
    key("ca", "certificate authorities that the server may be certified by"),
    key("api_root", "Pulp's API_ROOT"),
    key("domain", "the domain, where the server has domains"),
    key("repository", "the name of a repository in Pulp"),
    key("distribution", "the name of a distribution in Pulp"),
    key("labels", "labels beside drivetrain's own"),
    key("content_guard", "the name of a content guard that distributions get"),
    key("signing_service", "the name of the server's signing service that signs metadata"),
    key("connections", "how many connections at once"),
    key("chunk_mib", "the size from which files are sent in chunks, in MiB"),
    key("adopt", "whether what drivetrain did not make may be taken over"),
    key("layout", "the base path of a distribution"),
    key("keep", "how many versions of each repository stay in Pulp"),
];

const CREDENTIALS: &[Key] = &[
    key("username", "the user that the server knows"),
    key("password", "the user's password, as ${NAME} of an environment variable"),
    key("password_file", "a file with the user's password"),
];

const DEFAULT_API_ROOT: &str = "/pulp/";
const REPOSITORY: &str = "{name}-{train}-{driver}-{kernel}-{arch}";
const DISTRIBUTION_IN_CHANNEL: &str = "{name}-{channel}-{train}-{driver}-{kernel}-{arch}";
const DEFAULT_CONNECTIONS: u32 = 6;
const DEFAULT_CHUNK_MIB: u32 = 32;
/// So long is a name in Pulp's database at most.
const LONGEST_NAME: usize = 255;
/// So long is a domain's.
const LONGEST_DOMAIN: usize = 50;
/// Labels that begin with this are drivetrain's own.
const RESERVED: &str = "drivetrain";

pub(super) fn read(
    field: &Field<'_>,
    channels: Channels,
    context: &Context<'_>,
    problems: &mut Problems<'_>,
) -> Option<Placed> {
    let fields = field.fields(PULP, problems)?;
    let login =
        optional(&fields, "credentials", None, |field| credentials(&field, context, problems).map(Some));
    let has_login = fields.get("credentials").is_some();
    let url = optional(&fields, "url", None, |field| url(&field, has_login, context, problems).map(Some));
    let profile = optional(&fields, "profile", None, |field| {
        field.parsed("a profile's name", problems, one_line).map(Some)
    });
    let profile_file =
        optional(&fields, "profile_file", None, |field| file(&field, context, problems).map(Some));
    somewhere(&fields, problems);
    let ca = optional(&fields, "ca", None, |field| file(&field, context, problems).map(Some));
    let api_root = optional(&fields, "api_root", DEFAULT_API_ROOT.to_owned(), |field| {
        field.parsed("a path", problems, api_root)
    });
    let domain = optional(&fields, "domain", None, |field| {
        field.parsed("a domain's name", problems, domain).map(Some)
    });
    let repository = repository(&fields, problems);
    let distribution = distribution(&fields, channels, problems);
    let labels = optional(&fields, "labels", BTreeMap::new(), |field| labels(&field, channels, problems));
    let content_guard = optional(&fields, "content_guard", None, |field| {
        field.parsed("a content guard's name", problems, one_line).map(Some)
    });
    let signing_service = optional(&fields, "signing_service", None, |field| {
        field.parsed("a signing service's name", problems, one_line).map(Some)
    });
    let connections =
        optional(&fields, "connections", DEFAULT_CONNECTIONS, |field| field.number(1..=32, problems));
    let chunk_mib =
        optional(&fields, "chunk_mib", DEFAULT_CHUNK_MIB, |field| field.number(1..=1024, problems));
    let adopt = optional(&fields, "adopt", false, |field| field.boolean(problems));
    let layout = layout(&fields, channels, problems);
    let keep = keep(&fields, problems);
    let pulp = PublishPulp {
        url: url?,
        profile: profile?,
        profile_file: profile_file?,
        credentials: login?,
        ca: ca?,
        api_root: api_root?,
        domain: domain?,
        repository: repository?,
        distribution: distribution?,
        labels: labels?,
        content_guard: content_guard?,
        signing_service: signing_service?,
        connections: connections?,
        chunk_mib: chunk_mib?,
        adopt: adopt?,
    };
    Some(Placed { target: PublishTarget::Pulp(Box::new(pulp)), layout: layout?, keep: keep? })
}

/// A value that may be left out; `None`, told, where it could not be read.
fn optional<'n, T>(
    fields: &Fields<'n>,
    name: &str,
    default: T,
    read: impl FnOnce(Field<'n>) -> Option<T>,
) -> Option<T> {
    fields.get(name).map_or(Some(default), read)
}

/// Something has to say where the server is.
fn somewhere(fields: &Fields<'_>, problems: &mut Problems<'_>) {
    let is_given = |name| fields.get(name).is_some() || fields.is_misspelt(name);
    if let Some(file) = fields.get("profile_file")
        && !is_given("profile")
    {
        let message = format!("{} is set, and no profile of it is named", file.path);
        let help = "name it in `profile`: NAME for its section [cli-NAME], default for [cli]".to_owned();
        problems.add(file.key, message, Some(help));
    } else if !is_given("url") && !is_given("profile") {
        let message = format!("{} must have one of `url` and `profile`, or both", fields.path);
        let help = "`url` is the server's address; a profile of pulp-cli has one too".to_owned();
        problems.add(fields.anchor(), message, Some(help));
    }
}

fn url(
    field: &Field<'_>,
    has_login: bool,
    context: &Context<'_>,
    problems: &mut Problems<'_>,
) -> Option<Url> {
    let url = field.parsed("a URL", problems, |text| {
        let not_a_server = "a server's address begins with https:// or http://";
        if !is_url(text) {
            return Err(not_a_server.to_owned());
        }
        let url = base_url(context.base_dir, text).map_err(|error| match error {
            LocationError::Userinfo => {
                "a URL must not hold a user or password: they go to `credentials`".to_owned()
            }
            error => error.to_string(),
        })?;
        if url.scheme() == "file" { Err(not_a_server.to_owned()) } else { Ok(url) }
    })?;
    if has_login && url.scheme() == "http" && !is_this_host(&url) {
        let message = format!(
            "{} is plain http, which would show the password to everyone on the way: use https",
            field.path
        );
        problems.add(field.place(), message, None);
        return None;
    }
    Some(url)
}

/// A file of this host.
fn file(field: &Field<'_>, context: &Context<'_>, problems: &mut Problems<'_>) -> Option<Utf8PathBuf> {
    field.parsed("a path", problems, |text| {
        if is_url(text) {
            Err("a file of this host is needed, and this is a URL")
        } else if text.starts_with('~') {
            Err("`~` is not filled in: write the whole path")
        } else {
            Ok(absolute(context.base_dir, text))
        }
    })
}

fn credentials(
    field: &Field<'_>,
    context: &Context<'_>,
    problems: &mut Problems<'_>,
) -> Option<PulpCredentials> {
    if !matches!(field.node.value, Value::Mapping(_)) {
        // Without what is there: it may be a password.
        let help =
            "write {username: \"${NAME}\", password: \"${NAME}\"}, or `password_file` in place of `password`";
        problems.add(field.place(), format!("{} must be a mapping", field.path), Some(help.to_owned()));
        return None;
    }
    let fields = field.fields(CREDENTIALS, problems)?;
    match (fields.get("password"), fields.get("password_file")) {
        (Some(password), None) => {
            let username = fields.require("username", problems);
            let username = username.and_then(|field| secret(&field, false, context, problems));
            let password = secret(&password, true, context, problems);
            Some(PulpCredentials::Given(Credentials { username: username?, password: password? }))
        }
        (None, Some(password)) => {
            let username = fields.require("username", problems);
            let username = username.and_then(|field| username_beside_file(&field, problems));
            let password_file = file(&password, context, problems);
            Some(PulpCredentials::File { username: username?, password_file: password_file? })
        }
        (Some(_), Some(second)) => {
            let message = format!("{} has both `password` and `password_file`", fields.path);
            problems.add(second.key, message, Some("leave one of them out".to_owned()));
            None
        }
        (None, None) => {
            if !fields.is_misspelt("password") && !fields.is_misspelt("password_file") {
                let message = format!("{} must have one of `password` and `password_file`", fields.path);
                problems.add(fields.anchor(), message, None);
            }
            None
        }
    }
}

/// A user's name as it is written.
fn username_beside_file(field: &Field<'_>, problems: &mut Problems<'_>) -> Option<String> {
    let name = field.raw_text("a user's name", problems)?;
    if name.contains("${") {
        let message = format!("{} is not read from the environment beside `password_file`", field.path);
        problems.add(field.place(), message, Some("write the name itself".to_owned()));
        return None;
    }
    Some(name.to_owned())
}

fn repository(fields: &Fields<'_>, problems: &mut Problems<'_>) -> Option<Template> {
    let Some(field) = fields.get("repository") else { return Template::name(REPOSITORY).ok() };
    let template = field.parsed("a name with placeholders", problems, Template::name)?;
    if template.has_channel() {
        let message =
            format!("{} holds `{{channel}}`, and the channels share a cell's repository", field.path);
        let help = "take it out: a channel has a distribution of its own, and `distribution` says its name";
        problems.add(field.place(), message, Some(help.to_owned()));
        return None;
    }
    Some(template)
}

fn distribution(fields: &Fields<'_>, channels: Channels, problems: &mut Problems<'_>) -> Option<Template> {
    let Some(field) = fields.get("distribution") else {
        return Template::name(channels.default(REPOSITORY, DISTRIBUTION_IN_CHANNEL)).ok();
    };
    let template = field.parsed("a name with placeholders", problems, Template::name)?;
    let suggestion = format!("{{channel}}-{template}");
    channels.allow(&field, template.has_channel(), &suggestion, problems).then_some(template)
}

fn labels(
    field: &Field<'_>,
    channels: Channels,
    problems: &mut Problems<'_>,
) -> Option<BTreeMap<String, Template>> {
    let entries = field.entries("labels with their values", problems)?;
    let total = entries.len();
    let mut labels = BTreeMap::new();
    for entry in entries {
        let key = label_key(&entry, entry.name(&field.path), problems);
        let value = entry.parsed("the label's value", problems, Template::label);
        let value = value.filter(|value| channels.allow_in_label(&entry, value, problems));
        if let (Some(key), Some(value)) = (key, value) {
            labels.insert(key, value);
        }
    }
    (labels.len() == total).then_some(labels)
}

fn label_key(field: &Field<'_>, key: &str, problems: &mut Problems<'_>) -> Option<String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b' ';
    let (problem, help) = if key.is_empty() || !key.bytes().all(allowed) {
        ("cannot be a label's key", "Pulp takes letters, digits, `_` and spaces")
    } else if key.starts_with(RESERVED) {
        ("begins as drivetrain's own labels do", "choose another key")
    } else {
        return Some(key.to_owned());
    };
    problems.add(field.key, format!("{} {problem}", quote(key)), Some(help.to_owned()));
    None
}

impl Channels {
    /// A label need not say the channel.
    fn allow_in_label(self, field: &Field<'_>, value: &Template, problems: &mut Problems<'_>) -> bool {
        !value.has_channel() || self.allow(field, true, "", problems)
    }
}

/// Pulp's own rule, without what would change where a URL points.
fn api_root(text: &str) -> Result<String, String> {
    let allowed = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b))
    };
    let inner = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
    if text == "/" || inner.is_some_and(|inner| inner.split('/').all(allowed)) {
        Ok(text.to_owned())
    } else {
        Err(format!("{} is no path with `/` at both ends, such as /pulp/", quote(text)))
    }
}

fn domain(text: &str) -> Result<String, String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if text.len() <= LONGEST_DOMAIN && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{} is no domain's name: letters, digits, `_` and `-`, at most {LONGEST_DOMAIN}",
            quote(text)
        ))
    }
}

/// A name that others chose.
fn one_line(text: &str) -> Result<String, String> {
    if text.len() <= LONGEST_NAME && !text.contains(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(format!("a name is one line of at most {LONGEST_NAME} bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_root_is_a_path_with_a_slash_at_both_ends() {
        for text in ["/", "/pulp/", "/a/b.c/"] {
            assert_eq!(api_root(text).unwrap(), text);
        }
        for text in ["pulp", "/pulp", "pulp/", "//", "/a//b/", "/../", "/a?b/", "/a b/", "/%2e%2e/"] {
            assert!(api_root(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn a_domain_is_a_slug() {
        assert!(domain("team_a-1").is_ok());
        for text in ["a/b", "a.b", "a b", &"a".repeat(51)] {
            assert!(domain(text).is_err(), "{text:?} was accepted");
        }
    }
}
