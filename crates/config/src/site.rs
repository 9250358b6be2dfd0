//! `train.kayobe`: values that a site's own Kayobe configuration has already.
//!
//! What reads that configuration is handed in, as the environment is, so that this crate reads nothing. The values
//! become nodes of the tree, where the file does not say something itself, and stand in the line of `train.kayobe`: they
//! are checked by what checks the file's own, and what is wrong with one is told there. What is secret becomes
//! `${NAME}`, as everywhere, with the name of the variable that has it.

use std::collections::BTreeMap;
use std::rc::Rc;

use camino::Utf8PathBuf;
use serde::Serialize;

use crate::VaultPassword;
use crate::fields::{Field, Fields, Key, key};
use crate::location::{absolute, is_url};
use crate::parse::Context;
use crate::problems::Problems;
use crate::train::secret;
use crate::tree::{Entry, Node, Place, Value};
use crate::{Config, Secret};

/// The keys of `train.kayobe`.
const KAYOBE: &[Key] = &[
    key("path", "the checkout of the site's kayobe-config, or its etc/kayobe"),
    key("environment", "which of its environments"),
    key("release", "the distribution's major release, such as \"9\""),
    key("repositories", "which of its repositories make up the train"),
    key("vault_password", "what its vault opens with: {file: FILE} or {env: NAME}"),
    key("username", "the user that the train's servers know, in place of the configuration's"),
    key("password", "the user's password, as ${NAME} of an environment variable"),
];

const VAULT_PASSWORD: &[Key] = &[
    key("file", "a file with the password"),
    key("env", "the name of an environment variable with the password"),
];

/// Keys that are told where the file has them beside `train.kayobe`: then it has the last word.
const OVERRIDING: &[&str] = &[
    "train.name",
    "train.keys",
    "train.repositories",
    "driver.version",
    "driver.repository",
    "publish.pulp.url",
    "publish.pulp.profile",
    "publish.pulp.credentials",
    "publish.pulp.layout",
    "publish.pulp.distribution",
];
/// What a configuration cannot do without, and a site may not say.
const REQUIRED: &[&str] = &["train.repositories", "driver.version", "driver.repository"];
const DEFAULT_ARCH: &str = "x86_64";

/// Reads a site's configuration; or says why not, for people.
pub type SiteReader<'a> = dyn Fn(&KayobeTrain, &dyn Fn(&str) -> bool) -> Result<SiteValues, String> + 'a;

/// Where a train is read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KayobeTrain {
    /// The checkout of kayobe-config, or its `etc/kayobe`. Absolute.
    pub path: Utf8PathBuf,
    /// Which of its environments; absent for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The distribution's major release.
    pub release: String,
    /// The architecture of the machines.
    pub arch: String,
    /// Which of its repositories make up the train; absent for all that hosts have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repositories: Option<Vec<String>>,
    /// What its vault opens with; absent where nothing that is needed is in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vault_password: Option<VaultPassword>,
    /// Whether the login for the train's repositories is given, and not the configuration's.
    pub has_login: bool,
}

/// What a site's configuration says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SiteValues {
    /// The checkout and its state, for people: `site 2024.1-37-g25386a8e`.
    pub identity: String,
    /// The values.
    pub values: Vec<SiteValue>,
    /// What to know of them.
    pub notes: Vec<String>,
    /// What it does not say: the key, and where it was looked for.
    pub absent: Vec<(String, Vec<String>)>,
}

/// One value, with where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SiteValue {
    /// Its key in this configuration; something else where it is none of it.
    pub key: String,
    /// The value. Shown as `[hidden]` where it is a secret.
    pub value: Secretive,
    /// The variable that it is.
    pub variable: String,
    /// File and line of the variable's definition.
    pub place: String,
    /// The variables that took part in it, each with file and line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
}

/// A text, or a secret one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Secretive {
    /// Everybody may see it.
    Plain(String),
    /// Nobody may.
    Secret(Secret),
}

impl Secretive {
    /// What may be shown.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Plain(text) => text.clone(),
            Self::Secret(secret) => secret.redacted(),
        }
    }
}

/// Where a train came from: what `drivetrain plan --explain` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrainOrigin {
    /// What was read.
    #[serde(flatten)]
    pub source: KayobeTrain,
    /// The checkout and its state.
    pub identity: String,
    /// What it said.
    pub values: Vec<SiteValue>,
    /// What to know of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// For who has nothing that reads a site's configuration.
pub(crate) fn no_reader(_: &KayobeTrain, _: &dyn Fn(&str) -> bool) -> Result<SiteValues, String> {
    Err("nothing here reads a site's configuration".to_owned())
}

/// The tree with the site's values in it.
pub(crate) struct Enriched {
    pub(crate) root: Rc<Node>,
    pub(crate) origin: Option<TrainOrigin>,
    secrets: BTreeMap<String, String>,
}

impl Enriched {
    fn unchanged(root: &Rc<Node>) -> Self {
        Self { root: Rc::clone(root), origin: None, secrets: BTreeMap::new() }
    }

    /// A site's secret, by the name that stands in the tree for it.
    pub(crate) fn secret(&self, name: &str) -> Option<String> {
        self.secrets.get(name).cloned()
    }

    /// Notes in a configuration where its train came from.
    pub(crate) fn note(&self, config: &mut Config) {
        config.train.kayobe = self.origin.clone().map(Box::new);
    }
}

/// Reads what `train.kayobe` names. `None`, told, where that goes wrong.
pub(crate) fn enrich(
    root: &Rc<Node>,
    context: &Context<'_>,
    reader: &SiteReader<'_>,
    problems: &mut Problems<'_>,
) -> Option<Enriched> {
    let Some((place, node)) = find(root, &["train", "kayobe"]) else {
        return Some(Enriched::unchanged(root));
    };
    let field = Field { path: "train.kayobe".to_owned(), key: place, node };
    let (source, login) = section(&field, root, context, problems)?;
    let given = |path: &str| {
        let keys: Vec<&str> = path.split('.').collect();
        find(root, &keys).is_some()
    };
    let mut site = match reader(&source, &given) {
        Ok(site) => site,
        Err(why) => {
            problems.add(place, format!("the train cannot be read from {}: {why}", source.path), None);
            return None;
        }
    };
    let missing: Vec<&(String, Vec<String>)> =
        site.absent.iter().filter(|(key, _)| REQUIRED.contains(&key.as_str()) && !given(key)).collect();
    for (key, looked_for) in &missing {
        let message = format!(
            "{key} is not in the configuration of {}: none of {} is there",
            site.identity,
            looked_for.join(", ")
        );
        problems.add(place, message, Some(format!("write {key} into this file")));
    }
    if !missing.is_empty() {
        return None;
    }
    site.notes.extend(overridden(root));
    if !given("train.arch") {
        site.notes.push(format!("train.arch is {DEFAULT_ARCH}, where this file says nothing else"));
    }
    let mut enriched = Enriched::unchanged(root);
    let mut tree = Node::clone(root);
    insert(&mut tree, &["train", "arch"], scalar(place, DEFAULT_ARCH), place);
    let mut repositories = Vec::new();
    for value in &site.values {
        if let Some(repository) =
            value.key.strip_prefix("train.repositories.").and_then(|key| key.strip_suffix(".url"))
        {
            repositories.push(repository.to_owned());
        }
        if value.key.contains(' ') {
            continue;
        }
        let text = match &value.value {
            Secretive::Plain(text) => text.clone(),
            Secretive::Secret(secret) => {
                let name = name(&value.variable, &value.key);
                enriched.secrets.insert(name.clone(), secret.expose().to_owned());
                format!("${{{name}}}")
            }
        };
        let keys: Vec<&str> = value.key.split('.').collect();
        let node = if keys.last() == Some(&"keys") { list(place, &text) } else { scalar(place, &text) };
        insert(&mut tree, &keys, node, place);
    }
    if let Some(login) = login {
        for repository in &repositories {
            for (name, node) in [("username", &login.0), ("password", &login.1)] {
                insert(&mut tree, &["train", "repositories", repository, name], Node::clone(node), place);
            }
        }
    }
    enriched.origin = Some(TrainOrigin {
        source,
        identity: site.identity,
        values: site.values.into_iter().map(named).collect(),
        notes: site.notes,
    });
    enriched.root = Rc::new(without(&tree));
    Some(enriched)
}

/// A secret is shown by the name that it goes by.
fn named(mut value: SiteValue) -> SiteValue {
    if let Secretive::Secret(secret) = &value.value {
        let name = name(&value.variable, &value.key);
        value.value = Secretive::Secret(Secret::from_variable(secret.expose(), name));
    }
    value
}

/// A login as nodes of the file: user and password.
type Login = (Rc<Node>, Rc<Node>);

fn section(
    field: &Field<'_>,
    root: &Rc<Node>,
    context: &Context<'_>,
    problems: &mut Problems<'_>,
) -> Option<(KayobeTrain, Option<Login>)> {
    let fields = field.fields(KAYOBE, problems)?;
    let path = fields.require("path", problems).and_then(|field| directory(&field, context, problems));
    let environment = match fields.get("environment") {
        None => Some(None),
        Some(field) => field.parsed("an environment's name", problems, environment).map(Some),
    };
    let release = fields
        .require("release", problems)
        .and_then(|field| field.parsed("a major release, such as 9", problems, release));
    let repositories = match fields.get("repositories") {
        None => Some(None),
        Some(field) => field
            .list(("a repository's id", "repositories' ids"), problems, |text| {
                Ok::<_, std::convert::Infallible>(text.to_owned())
            })
            .map(Some),
    };
    let vault_password = match fields.get("vault_password") {
        None => Some(None),
        Some(field) => vault_password(&field, context, problems).map(Some),
    };
    let login = login(&fields, problems);
    let arch = match find(root, &["train", "arch"]).map(|(_, node)| &node.value) {
        Some(Value::Scalar { text, .. }) => text.clone(),
        _ => DEFAULT_ARCH.to_owned(),
    };
    let login = login?;
    let source = KayobeTrain {
        path: path?,
        environment: environment?,
        release: release?,
        arch,
        repositories: repositories?,
        vault_password: vault_password?,
        has_login: login.is_some(),
    };
    Some((source, login))
}

/// The login as it is written: it is read where it is put, with each repository.
fn login(fields: &Fields<'_>, problems: &mut Problems<'_>) -> Option<Option<Login>> {
    match (fields.get("username"), fields.get("password")) {
        (None, None) => Some(None),
        (Some(username), Some(password)) => Some(Some((Rc::clone(username.node), Rc::clone(password.node)))),
        (Some(field), None) | (None, Some(field)) => {
            let message = format!("{} has one half of a login", fields.path);
            problems.add(field.key, message, Some("write `username` and `password`, or neither".to_owned()));
            None
        }
    }
}

fn directory(field: &Field<'_>, context: &Context<'_>, problems: &mut Problems<'_>) -> Option<Utf8PathBuf> {
    field.parsed("a path", problems, |text| {
        if is_url(text) {
            Err("a checkout on this host is needed, and this is a URL")
        } else if text.starts_with('~') {
            Err("`~` is not filled in: write the whole path")
        } else {
            Ok(absolute(context.base_dir, text))
        }
    })
}

fn environment(text: &str) -> Result<String, &'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if text.len() <= 100 && !text.starts_with('.') && text.chars().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err("an environment's name has letters, digits and `._-`")
    }
}

fn release(text: &str) -> Result<String, &'static str> {
    if (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err("a major release is a number such as 9: the configuration says which minor one")
    }
}

fn vault_password(
    field: &Field<'_>,
    context: &Context<'_>,
    problems: &mut Problems<'_>,
) -> Option<VaultPassword> {
    if !matches!(field.node.value, Value::Mapping(_)) {
        return secret(field, true, context, problems).map(VaultPassword::Given);
    }
    let fields = field.fields(VAULT_PASSWORD, problems)?;
    match (fields.get("file"), fields.get("env")) {
        (Some(field), None) => directory(&field, context, problems).map(VaultPassword::File),
        (None, Some(field)) => {
            let name = field.text("the name of an environment variable", problems)?.to_owned();
            match (context.env)(&name).filter(|value| !value.trim().is_empty()) {
                Some(value) => Some(VaultPassword::Given(Secret::from_variable(value, name))),
                None => {
                    let message =
                        format!("{} names the environment variable {name}, which is not set", field.path);
                    problems.add(field.place(), message, None);
                    None
                }
            }
        }
        _ => {
            let message = format!("{} must have one of `file` and `env`", fields.path);
            problems.add(field.place(), message, None);
            None
        }
    }
}

/// What the file says itself of what the site may say.
fn overridden(root: &Rc<Node>) -> Vec<String> {
    OVERRIDING
        .iter()
        .filter_map(|path| {
            let keys: Vec<&str> = path.split('.').collect();
            find(root, &keys).map(|(place, _)| {
                format!("{path} is what this configuration says itself in line {}", place.line)
            })
        })
        .collect()
}

/// The name that a secret goes by: its variable's, or its key's.
fn name(variable: &str, key: &str) -> String {
    let last = key.rsplit('.').next().unwrap_or_default();
    let mut name: String =
        variable.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    // User and password of one URL come from one variable.
    if !name.ends_with(last) {
        name = format!("{name}_{last}");
    }
    name
}

fn scalar(place: &Place, text: &str) -> Node {
    Node::new(place.clone(), Value::Scalar { text: text.to_owned(), plain: true })
}

fn list(place: &Place, text: &str) -> Node {
    let items = text.split([' ', ',']).filter(|item| !item.is_empty());
    Node::new(place.clone(), Value::Sequence(items.map(|item| Rc::new(scalar(place, item))).collect()))
}

/// The value under some keys, with the place of the last.
fn find<'n>(root: &'n Rc<Node>, keys: &[&str]) -> Option<(&'n Place, &'n Rc<Node>)> {
    let (key, rest) = keys.split_first()?;
    let Value::Mapping(entries) = &root.value else { return None };
    let entry = entries.iter().find(|entry| entry.key == *key)?;
    if rest.is_empty() { Some((&entry.key_place, &entry.value)) } else { find(&entry.value, rest) }
}

/// Puts a value where nothing is.
fn insert(node: &mut Node, keys: &[&str], value: Node, place: &Place) {
    let Some((key, rest)) = keys.split_first() else { return };
    if matches!(node.value, Value::Null) {
        node.value = Value::Mapping(Vec::new());
    }
    // What is no mapping is told by what reads it.
    let Value::Mapping(entries) = &mut node.value else { return };
    let position = match entries.iter().position(|entry| entry.key == *key) {
        Some(_) if rest.is_empty() => return,
        Some(position) => position,
        None => {
            let empty = Rc::new(Node::new(place.clone(), Value::Null));
            entries.push(Entry { key: (*key).to_owned(), key_place: place.clone(), value: empty });
            entries.len() - 1
        }
    };
    if let Some(entry) = entries.get_mut(position) {
        let mut below = if rest.is_empty() { value.clone() } else { Node::clone(&entry.value) };
        if !rest.is_empty() {
            insert(&mut below, rest, value, place);
        }
        entry.value = Rc::new(below);
    }
}

/// The tree without `train.kayobe`, which has been read.
fn without(root: &Node) -> Node {
    let mut root = root.clone();
    if let Value::Mapping(entries) = &mut root.value
        && let Some(train) = entries.iter_mut().find(|entry| entry.key == "train")
    {
        let mut below = Node::clone(&train.value);
        if let Value::Mapping(entries) = &mut below.value {
            entries.retain(|entry| entry.key != "kayobe");
        }
        train.value = Rc::new(below);
    }
    root
}
