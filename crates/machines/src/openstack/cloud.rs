//! Which cloud, and as whom: `clouds.yaml` with `secure.yaml`, or the variables `OS_…`, as OpenStack's own clients
//! read them.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_fetch::Secret;
use serde_json::{Map, Value, json};
use url::Url;

use super::client::Service;
use super::yaml;
use crate::{MachineError, Result};

/// No real file is larger.
const MAX_BYTES: u64 = 1 << 20;
const CLOUDS: &str = "clouds";
const SECURE: &str = "secure";
const SUFFIXES: [&str; 3] = ["yaml", "yml", "json"];

/// Where it is said which cloud, and as whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CloudSource {
    /// The name of a cloud in `clouds.yaml`. Without one it is `OS_CLOUD`'s, or the cloud of the variables `OS_…`.
    pub cloud: Option<String>,
    /// The file. Without one it is `OS_CLIENT_CONFIG_FILE`, or the first `clouds.yaml` of `.`,
    /// `~/.config/openstack` and `/etc/openstack`.
    pub file: Option<Utf8PathBuf>,
}

/// A cloud, and who we are there.
#[derive(Debug, Clone)]
pub(super) struct Cloud {
    /// Keystone's API, with its version.
    pub(super) auth_url: Url,
    pub(super) auth: Auth,
    pub(super) region: Option<String>,
    /// `public`, `internal` or `admin`.
    pub(super) interface: String,
    pub(super) ca: Option<Utf8PathBuf>,
    /// Addresses that are given instead of the catalogue's, by the name that the setting begins with.
    pub(super) overrides: BTreeMap<Service, Url>,
    /// The project as it was given: an application credential has its own.
    pub(super) project: Option<String>,
    /// How it is called in messages: `cloud builders of /etc/openstack/clouds.yaml`.
    pub(super) source: String,
}

/// How we say who we are.
#[derive(Debug, Clone)]
pub(super) enum Auth {
    Password { user: Value, password: Secret, scope: Value },
    ApplicationCredential { credential: Value, secret: Secret },
    Token { token: Secret, scope: Value },
}

impl Auth {
    /// The body of the request for a token. It has the secret in it.
    pub(super) fn request(&self) -> Value {
        match self {
            Self::Password { user, password, scope } => {
                let mut user = user.clone();
                user["password"] = json!(password.expose());
                let identity = json!({ "methods": ["password"], "password": { "user": user } });
                json!({ "auth": { "identity": identity, "scope": scope } })
            }
            Self::ApplicationCredential { credential, secret } => {
                let mut credential = credential.clone();
                credential["secret"] = json!(secret.expose());
                let methods = json!(["application_credential"]);
                // Its project is the one it was made in.
                json!({ "auth": { "identity": { "methods": methods, "application_credential": credential } } })
            }
            Self::Token { token, scope } => {
                let identity = json!({ "methods": ["token"], "token": { "id": token.expose() } });
                json!({ "auth": { "identity": identity, "scope": scope } })
            }
        }
    }
}

/// What is looked up outside: the environment and the files of this machine.
pub(super) struct Outside<'a> {
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
}

impl Outside<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|value| !value.is_empty())
    }

    fn directories(&self) -> Vec<Utf8PathBuf> {
        let user = self.variable("XDG_CONFIG_HOME").map(Utf8PathBuf::from);
        let user = user.or_else(|| Some(Utf8PathBuf::from(self.variable("HOME")?).join(".config")));
        let mut directories = vec![Utf8PathBuf::from(".")];
        directories.extend(user.map(|directory| directory.join("openstack")));
        directories.push("/etc/openstack".into());
        directories
    }

    /// The first file of a kind.
    fn first(&self, stem: &str) -> Option<Utf8PathBuf> {
        self.directories()
            .into_iter()
            .flat_map(|directory| SUFFIXES.map(|suffix| directory.join(format!("{stem}.{suffix}"))))
            .find(|file| file.is_file())
    }
}

impl Cloud {
    /// Finds the cloud that is meant.
    pub(super) fn find(source: &CloudSource, outside: &Outside<'_>) -> Result<Self> {
        let named = source.cloud.clone().or_else(|| outside.variable("OS_CLOUD"));
        match named {
            Some(name) => Self::from_files(&name, source.file.as_deref(), outside),
            None if outside.variable("OS_AUTH_URL").is_some() => Self::from_variables(outside),
            None => Err(configuration(
                "OpenStack's cloud",
                "no cloud is named, and OS_AUTH_URL is not set",
                "name a cloud of clouds.yaml, or set OS_CLOUD or the OS_… variables of an openrc file",
            )),
        }
    }

    fn from_files(name: &str, file: Option<&Utf8Path>, outside: &Outside<'_>) -> Result<Self> {
        let file = file
            .map(Utf8Path::to_owned)
            .or_else(|| outside.variable("OS_CLIENT_CONFIG_FILE").map(Utf8PathBuf::from))
            .or_else(|| outside.first(CLOUDS));
        let Some(file) = file else {
            let directories: Vec<String> =
                outside.directories().into_iter().map(Utf8PathBuf::into_string).collect();
            return Err(configuration(
                &format!("OpenStack's cloud {name:?}"),
                &format!("there is no clouds.yaml in {}", directories.join(", ")),
                "write one (Horizon offers it for download), or name its path",
            ));
        };
        let mut settings = read_cloud(&file, name)?;
        if let Some(secure) = secure_file(&file, outside) {
            let secrets = read_file(&secure)?;
            overlay(&mut settings, &secrets["clouds"][name]);
        }
        Self::from_settings(&settings, format!("cloud {name} of {file}"))
    }

    fn from_variables(outside: &Outside<'_>) -> Result<Self> {
        let mut settings = json!({ "auth": {} });
        for (variable, key) in AUTH_VARIABLES {
            if let Some(value) = outside.variable(variable) {
                settings["auth"][*key] = json!(value);
            }
        }
        for (variable, key) in OTHER_VARIABLES {
            if let Some(value) = outside.variable(variable) {
                settings[*key] = json!(value);
            }
        }
        Self::from_settings(&settings, "cloud of the OS_… variables".to_owned())
    }

    fn from_settings(settings: &Value, source: String) -> Result<Self> {
        let fail = |why: &str, next: &str| configuration(&format!("OpenStack's {source}"), why, next);
        refuse_what_is_not_done(settings, &fail)?;
        let auth = Fields(&settings["auth"]);
        let Some(auth_url) = auth.text("auth_url") else {
            return Err(fail(
                "it has no auth_url",
                "give Keystone's address there, as an openrc file has it",
            ));
        };
        let auth_url = versioned(&auth_url)
            .map_err(|why| fail(&why, "give an URL like https://keystone.example:5000/v3"))?;
        let kind = Fields(settings).text("auth_type").unwrap_or_else(|| default_type(&auth).to_owned());
        let project = auth.first(&["project_name", "tenant_name", "project_id", "tenant_id"]);
        let auth = read_auth(&kind, &auth).map_err(|why| {
            fail(&why, "compare it with what `openstack --os-cloud … token issue` works with")
        })?;
        let fields = Fields(settings);
        Ok(Self {
            auth_url,
            auth,
            region: fields.text("region_name"),
            interface: interface(&fields),
            ca: fields.text("cacert").map(Utf8PathBuf::from),
            overrides: overrides(&fields).map_err(|why| fail(&why, "give a whole URL"))?,
            project,
            source,
        })
    }
}

const AUTH_VARIABLES: &[(&str, &str)] = &[
    ("OS_AUTH_URL", "auth_url"),
    ("OS_USERNAME", "username"),
    ("OS_USER_ID", "user_id"),
    ("OS_PASSWORD", "password"),
    ("OS_TOKEN", "token"),
    ("OS_PROJECT_NAME", "project_name"),
    ("OS_TENANT_NAME", "project_name"),
    ("OS_PROJECT_ID", "project_id"),
    ("OS_USER_DOMAIN_NAME", "user_domain_name"),
    ("OS_USER_DOMAIN_ID", "user_domain_id"),
    ("OS_PROJECT_DOMAIN_NAME", "project_domain_name"),
    ("OS_PROJECT_DOMAIN_ID", "project_domain_id"),
    ("OS_DEFAULT_DOMAIN", "default_domain"),
    ("OS_APPLICATION_CREDENTIAL_ID", "application_credential_id"),
    ("OS_APPLICATION_CREDENTIAL_NAME", "application_credential_name"),
    ("OS_APPLICATION_CREDENTIAL_SECRET", "application_credential_secret"),
];

const OTHER_VARIABLES: &[(&str, &str)] = &[
    ("OS_AUTH_TYPE", "auth_type"),
    ("OS_REGION_NAME", "region_name"),
    ("OS_INTERFACE", "interface"),
    ("OS_ENDPOINT_TYPE", "endpoint_type"),
    ("OS_CACERT", "cacert"),
    ("OS_INSECURE", "insecure"),
    ("OS_CERT", "cert"),
];

fn configuration(what: &str, why: &str, next: &str) -> MachineError {
    MachineError::Configuration { what: what.to_owned(), why: why.to_owned(), next: next.to_owned() }
}

fn read_file(file: &Utf8Path) -> Result<Value> {
    let action = "read";
    let fail = |source| MachineError::File { action, path: file.to_string(), source };
    let length = fs_err::metadata(file).map_err(fail)?.len();
    if length > MAX_BYTES {
        let next = "is it the right file?";
        return Err(configuration(
            file.as_str(),
            &format!("it has {length} bytes, and such a file has few"),
            next,
        ));
    }
    let text = fs_err::read_to_string(file).map_err(fail)?;
    yaml::read(&text)
        .map_err(|why| configuration(file.as_str(), &format!("it is not YAML: {why}"), "repair it"))
}

fn read_cloud(file: &Utf8Path, name: &str) -> Result<Value> {
    let clouds = read_file(file)?;
    if let Some(settings) = clouds["clouds"].get(name) {
        return Ok(settings.clone());
    }
    let names = clouds["clouds"].as_object().into_iter().flat_map(Map::keys);
    let next = super::names::there_is("clouds", name, names.map(String::as_str));
    Err(configuration(&format!("OpenStack's cloud {name:?}"), &format!("{file} does not have it"), &next))
}

/// What is kept apart from `clouds.yaml`: beside it, or where OpenStack's clients look for it.
fn secure_file(clouds: &Utf8Path, outside: &Outside<'_>) -> Option<Utf8PathBuf> {
    if let Some(file) = outside.variable("OS_CLIENT_SECURE_FILE") {
        return Some(file.into());
    }
    let beside = SUFFIXES.map(|suffix| clouds.with_file_name(format!("{SECURE}.{suffix}")));
    beside.into_iter().find(|file| file.is_file()).or_else(|| outside.first(SECURE))
}

/// Puts settings over others, key by key.
fn overlay(settings: &mut Value, over: &Value) {
    match (settings, over) {
        (Value::Object(settings), Value::Object(over)) => {
            for (key, value) in over {
                overlay(settings.entry(key).or_insert(Value::Null), value);
            }
        }
        (settings, over) if !over.is_null() => *settings = over.clone(),
        _ => {}
    }
}

/// What would silently be something else than it says.
fn refuse_what_is_not_done(settings: &Value, fail: &dyn Fn(&str, &str) -> MachineError) -> Result<()> {
    let insecure = settings["verify"] == false
        || matches!(&settings["insecure"], Value::Bool(true))
        || settings["insecure"].as_str().is_some_and(|text| ["1", "true", "True", "yes"].contains(&text));
    if insecure {
        let next = "give the cloud's certificate authority as cacert";
        return Err(fail(
            "it says not to verify the server, and drivetrain does not send secrets to just anybody",
            next,
        ));
    }
    if !settings["cert"].is_null() {
        return Err(fail(
            "it has a client certificate, which drivetrain cannot show",
            "use an application credential",
        ));
    }
    if !settings["profile"].is_null() && settings["auth"]["auth_url"].is_null() {
        return Err(fail(
            "it has a vendor's profile, which drivetrain does not know",
            "give auth_url itself",
        ));
    }
    Ok(())
}

/// The settings of a mapping. Numbers and such are text here, too.
struct Fields<'a>(&'a Value);

impl Fields<'_> {
    fn text(&self, key: &str) -> Option<String> {
        match &self.0[key] {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    fn first(&self, keys: &[&str]) -> Option<String> {
        keys.iter().find_map(|key| self.text(key))
    }
}

/// Keystone's address with the version that is spoken to it.
fn versioned(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|error| format!("its auth_url {text:?} is no URL ({error})"))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err(format!("its auth_url {text:?} is neither http nor https"));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    let path = path.strip_suffix("/v2.0").unwrap_or(&path);
    let path = if path.ends_with("/v3") { path.to_owned() } else { format!("{path}/v3") };
    url.set_path(&path);
    Ok(url)
}

fn default_type(auth: &Fields<'_>) -> &'static str {
    if auth.text("application_credential_secret").is_some() {
        "v3applicationcredential"
    } else if auth.text("token").is_some() && auth.text("password").is_none() {
        "token"
    } else {
        "password"
    }
}

fn read_auth(kind: &str, auth: &Fields<'_>) -> Result<Auth, String> {
    let secret = |key: &str| auth.text(key).map(Secret::new).ok_or_else(|| format!("it has no {key}"));
    match kind {
        "password" | "v3password" => {
            Ok(Auth::Password { user: user(auth)?, password: secret("password")?, scope: scope(auth)? })
        }
        "v3applicationcredential" => Ok(Auth::ApplicationCredential {
            credential: application_credential(auth)?,
            secret: secret("application_credential_secret")?,
        }),
        "token" | "v3token" => Ok(Auth::Token { token: secret("token")?, scope: scope(auth)? }),
        other => Err(format!(
            "its auth_type is {other:?}, and drivetrain knows password, token and v3applicationcredential"
        )),
    }
}

/// A domain by id or name. Without either it is the one that every Keystone begins with.
fn domain(auth: &Fields<'_>, of: &str) -> Value {
    let key = |end: &str| format!("{of}_domain_{end}");
    let id = auth.first(&[&key("id"), "domain_id"]);
    let name = auth.first(&[&key("name"), "domain_name"]);
    match (id, name) {
        (Some(id), _) => json!({ "id": id }),
        (None, Some(name)) => json!({ "name": name }),
        (None, None) => json!({ "id": auth.text("default_domain").unwrap_or_else(|| "default".to_owned()) }),
    }
}

fn user(auth: &Fields<'_>) -> Result<Value, String> {
    match (auth.text("user_id"), auth.text("username")) {
        (Some(id), _) => Ok(json!({ "id": id })),
        (None, Some(name)) => Ok(json!({ "name": name, "domain": domain(auth, "user") })),
        (None, None) => Err("it has neither username nor user_id".to_owned()),
    }
}

fn scope(auth: &Fields<'_>) -> Result<Value, String> {
    match (auth.first(&["project_id", "tenant_id"]), auth.first(&["project_name", "tenant_name"])) {
        (Some(id), _) => Ok(json!({ "project": { "id": id } })),
        (None, Some(name)) => Ok(json!({ "project": { "name": name, "domain": domain(auth, "project") } })),
        (None, None) => Err("it has neither project_name nor project_id".to_owned()),
    }
}

fn application_credential(auth: &Fields<'_>) -> Result<Value, String> {
    if let Some(id) = auth.text("application_credential_id") {
        return Ok(json!({ "id": id }));
    }
    match auth.text("application_credential_name") {
        Some(name) => Ok(json!({ "name": name, "user": user(auth)? })),
        None => Err("it has neither application_credential_id nor application_credential_name".to_owned()),
    }
}

/// Older files say `publicURL`.
fn interface(fields: &Fields<'_>) -> String {
    let text = fields.first(&["interface", "endpoint_type"]).unwrap_or_else(|| "public".to_owned());
    text.strip_suffix("URL").unwrap_or(&text).to_owned()
}

fn overrides(fields: &Fields<'_>) -> Result<BTreeMap<Service, Url>, String> {
    let mut found = BTreeMap::new();
    for service in Service::ALL {
        for name in service.types() {
            let key = format!("{}_endpoint_override", name.replace('-', "_"));
            if let Some(text) = fields.text(&key) {
                let url =
                    Url::parse(&text).map_err(|error| format!("its {key} {text:?} is no URL ({error})"))?;
                found.entry(service).or_insert(url);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
