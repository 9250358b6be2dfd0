//! What drivetrain takes from a site's configuration.
//!
//! # Which variables
//! Their names changed over the years, so each thing is looked for under all names that it had, and found by what is
//! there:
//!
//! | what | where |
//! |---|---|
//! | the train's repositories | `dnf_custom_repos_rocky_N`: what Kayobe gives the hosts; else `stackhpc_repo_rocky_N_NAME_url` |
//! | the minor release | `stackhpc_pulp_repo_rocky_N_minor_version` |
//! | the driver's version | `stackhpc_pulp_doca_ofed_version`, `stackhpc_pulp_doca_version`, `stackhpc_doca_version`; else what stands in the name of `stackhpc_pulp_repo_doca_3_2_3_rhelN_MINOR_modules_version` |
//! | where consumers look | `stackhpc_pulp_repo_doca_ofed_rhelN` (2024), else the one OFED repository of `stackhpc_pulp_rpm_repos` whose path is the release's and the architecture's (2025 and later, as the site's own push-ofed chooses it) |
//! | the vendor's repository | the one repository of `stackhpc_pulp_rpm_repos` below `doca/` that is not OFED's |
//! | the Pulp server | `stackhpc_release_pulp_url` with `…_username` and `…_password` |
//! | the host image | `stackhpc_rocky_N_overcloud_host_image_version` |
//!
//! # Where consumers look, and the kernel
//! drivetrain publishes each kernel at an address of its own, and a site's `base_path` has none in it. Since 2025 a
//! site's base path is a beginning: push-ofed hangs a date on it, which consumers get from
//! `stackhpc_pulp_repo_doca_…_modules_version`. drivetrain hangs the kernel's release on it, as the last part of the
//! path, and that variable (or the URL of `ofed.yml`) names it: `BASE_PATH/KERNEL`. What is told beside the plan says
//! so. A base path that is not where the site's URL points to is an error here, since then nothing that is published
//! would be found, whatever hangs on it.

use std::collections::BTreeMap;

use serde::Serialize;
use url::Url;

use crate::error::Claim;
use crate::{KayobeError, Origin, Resolved, Value, Variables};

const VERSIONS: [&str; 3] =
    ["stackhpc_pulp_doca_ofed_version", "stackhpc_pulp_doca_version", "stackhpc_doca_version"];
const PULP_REPOSITORIES: &str = "stackhpc_pulp_rpm_repos";
const RELEASE_URL: &str = "stackhpc_release_pulp_url";
const CONTENT_URL: &str = "stackhpc_release_pulp_content_url";
const ARCHITECTURES: [&str; 4] = ["x86_64", "aarch64", "ppc64le", "s390x"];
/// What a train has at least, where its repositories are variables of their own.
const BASIC: [&str; 3] = ["baseos", "appstream", "crb"];

/// What is asked of a site's configuration.
#[derive(Clone)]
pub struct Request<'a> {
    /// The distribution's major release: `9`.
    pub release: &'a str,
    /// The architecture of the machines: `x86_64`.
    pub arch: &'a str,
    /// The repositories of the train that are wanted; `None` for all.
    pub repositories: Option<&'a [String]>,
    /// Whether drivetrain's own configuration says something itself, which is then not looked for.
    pub given: &'a dyn Fn(&str) -> bool,
}

/// One value that was derived.
#[derive(Debug, Clone, Serialize)]
pub struct Derived {
    /// What it stands for, as a path in drivetrain's configuration, or in words where it is none of it.
    pub key: String,
    /// What it comes to.
    #[serde(serialize_with = "shown")]
    pub value: DerivedValue,
    /// Where it stands.
    #[serde(flatten)]
    pub origin: Origin,
    /// The variables that took part.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<Origin>,
}

/// A derived value: shown, or not.
#[derive(Clone, PartialEq, Eq)]
pub enum DerivedValue {
    /// Everybody may see it.
    Plain(String),
    /// Nobody may.
    Secret(String),
}

impl DerivedValue {
    /// What may be shown.
    #[must_use]
    pub fn shown(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Secret(_) => "[hidden]",
        }
    }

    /// The value itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        match self {
            Self::Plain(text) | Self::Secret(text) => text,
        }
    }
}

impl std::fmt::Debug for DerivedValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.shown())
    }
}

fn shown<S: serde::Serializer>(value: &DerivedValue, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value.shown())
}

/// What a configuration says, and what it does not.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Site {
    /// What was derived.
    pub values: Vec<Derived>,
    /// What to know of it.
    pub notes: Vec<String>,
    /// What this release of the configuration does not say: the key, and where it was looked for.
    pub absent: Vec<Absent>,
}

/// Something that a configuration does not say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Absent {
    /// What it would stand for.
    pub key: String,
    /// The variables that would say it.
    pub looked_for: Vec<String>,
}

/// Derives what is not given.
///
/// # Errors
/// Where something is there and cannot be evaluated, or two definitions disagree.
pub fn derive(variables: &Variables<'_>, request: &Request<'_>) -> Result<Site, KayobeError> {
    let mut reader = Reader { variables, request, site: Site::default() };
    reader.train()?;
    reader.driver()?;
    reader.publication()?;
    reader.host_image()?;
    Ok(reader.site)
}

/// What Ansible knows of a machine of the release without asking it.
#[must_use]
pub fn facts(release: &str, arch: &str) -> Value {
    let text = |text: &str| Value::Text(text.to_owned());
    Value::Map(vec![
        ("architecture".to_owned(), text(arch)),
        ("distribution".to_owned(), text("Rocky")),
        ("distribution_major_version".to_owned(), text(release)),
        ("os_family".to_owned(), text("RedHat")),
    ])
}

/// What is known to a configuration beside its own variables.
#[must_use]
pub fn given(layers: &crate::Layers, release: &str, arch: &str) -> BTreeMap<String, Value> {
    let configuration = layers.configuration.as_str();
    let mut given = BTreeMap::from([
        ("ansible_facts".to_owned(), facts(release, arch)),
        ("kayobe_config_path".to_owned(), Value::Text(configuration.to_owned())),
        // What the site's own playbooks get on their command line.
        ("os_distribution".to_owned(), Value::Text("rocky".to_owned())),
        ("os_release".to_owned(), Value::Text(release.to_owned())),
    ]);
    let environment = layers.environments.last();
    let path = match environment {
        Some(name) => format!("{configuration}/environments/{name}"),
        None => configuration.to_owned(),
    };
    given.insert("kayobe_environment".to_owned(), Value::Text(environment.cloned().unwrap_or_default()));
    given.insert("kayobe_env_config_path".to_owned(), Value::Text(path));
    given
}

struct Reader<'a> {
    variables: &'a Variables<'a>,
    request: &'a Request<'a>,
    site: Site,
}

/// A repository of Pulp as the site describes it.
struct Published {
    name: Resolved,
    url: Option<Resolved>,
    distribution: Option<Resolved>,
    base_path: Resolved,
}

impl Reader<'_> {
    fn is_given(&self, key: &str) -> bool {
        (self.request.given)(key)
    }

    fn push(&mut self, key: impl Into<String>, value: DerivedValue, from: &Resolved) {
        let value = match value {
            DerivedValue::Plain(text) if from.secret => DerivedValue::Secret(text),
            value => value,
        };
        self.site.values.push(Derived {
            key: key.into(),
            value,
            origin: from.origin.clone(),
            chain: from.chain.clone(),
        });
    }

    fn plain(&mut self, key: impl Into<String>, text: String, from: &Resolved) {
        self.push(key, DerivedValue::Plain(text), from);
    }

    fn absent(&mut self, key: &str, looked_for: &[&str]) {
        let looked_for = looked_for.iter().map(|name| (*name).to_owned()).collect();
        self.site.absent.push(Absent { key: key.to_owned(), looked_for });
    }

    /// A text of a variable; `None` where it is not there, or empty.
    fn text(&self, path: &[&str]) -> Result<Option<(String, Resolved)>, KayobeError> {
        let Some(resolved) = self.variables.resolve(path)? else { return Ok(None) };
        if matches!(resolved.value, Value::None | Value::Omit) {
            return Ok(None);
        }
        let text = text_of(&resolved)?;
        Ok((!text.is_empty()).then_some((text, resolved)))
    }

    /// The first of some variables that is there.
    fn first(&self, names: &[&str]) -> Result<Option<(String, Resolved)>, KayobeError> {
        for name in names {
            if let Some(found) = self.text(&[name])? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn minor(&self) -> Result<Option<(String, Resolved)>, KayobeError> {
        self.text(&[&format!("stackhpc_pulp_repo_rocky_{}_minor_version", self.request.release)])
    }

    fn train(&mut self) -> Result<(), KayobeError> {
        if !self.is_given("train.name")
            && let Some((minor, from)) = self.minor()?
        {
            let name = format!("rocky-{}.{minor}", self.request.release);
            self.plain("train.name", name, &from);
        }
        let table = format!("dnf_custom_repos_rocky_{}", self.request.release);
        let mut names = self.variables.elements(&table)?;
        let from_table = !names.is_empty();
        if !from_table {
            names = BASIC.map(str::to_owned).to_vec();
        }
        let mut found = 0;
        for name in names {
            if self.request.repositories.is_some_and(|wanted| !wanted.contains(&name)) {
                continue;
            }
            if self.is_given(&format!("train.repositories.{name}.url")) {
                found += 1;
                continue;
            }
            found += usize::from(if from_table { self.listed(&table, &name)? } else { self.alone(&name)? });
        }
        if found == 0 && !self.is_given("train.repositories") {
            let release = self.request.release;
            self.absent(
                "train.repositories",
                &[&table, &format!("stackhpc_repo_rocky_{release}_baseos_url")],
            );
        }
        Ok(())
    }

    /// A repository of the table that Kayobe gives its hosts.
    fn listed(&mut self, table: &str, name: &str) -> Result<bool, KayobeError> {
        let asked_for = self.request.repositories.is_some();
        if let Some(enabled) = self.variables.resolve(&[table, name, "enabled"])?
            && !is_enabled(&enabled.value)
            && !asked_for
        {
            self.note(format!("{name} is left out: {} says that hosts have it disabled", enabled.origin));
            return Ok(false);
        }
        if let Some(only) = self.variables.resolve(&[table, name, "includepkgs"])?
            && !asked_for
        {
            self.note(format!("{name} is left out: by {} hosts see few of its packages", only.origin));
            return Ok(false);
        }
        let Some((url, from)) = self.text(&[table, name, "baseurl"])? else { return Ok(false) };
        self.repository(&format!("train.repositories.{name}"), &url, &from)?;
        self.login(
            &format!("train.repositories.{name}"),
            &[table, name, "username"],
            &[table, name, "password"],
        )?;
        if !self.is_given("train.keys")
            && !self.is_given(&format!("train.repositories.{name}.keys"))
            && let Some((key, from)) = self.text(&[table, name, "gpgkey"])?
            && key.starts_with("http")
        {
            self.plain(format!("train.repositories.{name}.keys"), key, &from);
        }
        Ok(true)
    }

    /// A repository whose URL is a variable of its own.
    fn alone(&mut self, name: &str) -> Result<bool, KayobeError> {
        let variable = format!("stackhpc_repo_rocky_{}_{name}_url", self.request.release);
        let Some((url, from)) = self.text(&[&variable])? else { return Ok(false) };
        let key = format!("train.repositories.{name}");
        self.repository(&key, &url, &from)?;
        self.login(&key, &["stackhpc_repo_mirror_username"], &["stackhpc_repo_mirror_password"])?;
        Ok(true)
    }

    /// A repository's URL and, where its last part is a date, the snapshot.
    fn repository(&mut self, key: &str, url: &str, from: &Resolved) -> Result<(), KayobeError> {
        let (url, login) = without_login(url, from)?;
        if let Some((user, password)) = login {
            self.push(format!("{key}.username"), DerivedValue::Secret(user), from);
            self.push(format!("{key}.password"), DerivedValue::Secret(password), from);
        }
        self.fits_architecture(&url, from)?;
        let trimmed = url.trim_end_matches('/');
        match trimmed.rsplit_once('/') {
            Some((base, last)) if is_snapshot(last) => {
                let snapshot = last.to_owned();
                self.plain(format!("{key}.url"), format!("{base}/{{snapshot}}/"), from);
                self.plain(format!("{key}.snapshot"), snapshot, from);
            }
            _ => self.plain(format!("{key}.url"), format!("{trimmed}/"), from),
        }
        Ok(())
    }

    /// A repository of another architecture is none of this train.
    fn fits_architecture(&self, url: &str, from: &Resolved) -> Result<(), KayobeError> {
        let other = ARCHITECTURES
            .iter()
            .find(|arch| **arch != self.request.arch && url.split('/').any(|part| part == **arch));
        match other {
            None => Ok(()),
            Some(arch) => Err(KayobeError::Unexpected {
                origin: from.origin.clone(),
                wanted: "a repository of the architecture that train.arch says",
                found: format!("one of {arch}"),
            }),
        }
    }

    fn login(&mut self, key: &str, username: &[&str], password: &[&str]) -> Result<(), KayobeError> {
        let has_one = self.site.values.iter().any(|value| value.key == format!("{key}.password"));
        if has_one || self.is_given(&format!("{key}.username")) || self.is_given(&format!("{key}.password")) {
            return Ok(());
        }
        // Without a name there is no login, and the password need not be decrypted.
        let Some((user, user_from)) = self.text(username)? else { return Ok(()) };
        let Some((secret, secret_from)) = self.text(password)? else { return Ok(()) };
        self.plain(format!("{key}.username"), user, &user_from);
        self.push(format!("{key}.password"), DerivedValue::Secret(secret), &secret_from);
        Ok(())
    }

    fn driver(&mut self) -> Result<(), KayobeError> {
        if !self.is_given("driver.version") {
            match self.first(&VERSIONS)? {
                Some((version, from)) => {
                    self.warn_of_numbers(&version, &from);
                    self.plain("driver.version", version, &from);
                }
                None => self.version_by_name()?,
            }
        }
        if self.is_given("driver.repository.url") {
            return Ok(());
        }
        let vendor = self.pulp_repositories(|name, path| is_vendor(name, path, self.request))?;
        match vendor.as_slice() {
            [index] => {
                let index = index.to_string();
                if let Some((url, from)) = self.text(&[PULP_REPOSITORIES, &index, "url"])? {
                    self.repository("driver.repository", &url, &from)?;
                    // The login is for the site's server, and goes to no other.
                    let server =
                        self.text(&[RELEASE_URL])?.map(|(url, _)| format!("{}/", url.trim_end_matches('/')));
                    if server.is_some_and(|server| url.starts_with(&server)) {
                        self.login(
                            "driver.repository",
                            &["stackhpc_release_pulp_username"],
                            &["stackhpc_release_pulp_password"],
                        )?;
                    }
                }
            }
            [] => self.absent("driver.repository", &["a repository below doca/ in stackhpc_pulp_rpm_repos"]),
            _ => self.absent(
                "driver.repository",
                &["exactly one repository below doca/ in stackhpc_pulp_rpm_repos"],
            ),
        }
        Ok(())
    }

    /// The version that the site's own modules for this release are of: it is part of the name of the variable that
    /// says which of them.
    fn version_by_name(&mut self) -> Result<(), KayobeError> {
        let release = self.request.release;
        let minor = self.minor()?.map_or_else(|| "MINOR".to_owned(), |(minor, _)| minor);
        let arch =
            if self.request.arch == "x86_64" { String::new() } else { format!("_{}", self.request.arch) };
        let prefix = "stackhpc_pulp_repo_doca_";
        let suffix = format!("_rhel{release}_{minor}_modules{arch}_version");
        let is_version = |text: &str| {
            text.contains('_')
                && text.split('_').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
        };
        let found: Vec<String> = self
            .variables
            .names()
            .filter(|name| {
                name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(&suffix)).is_some_and(is_version)
            })
            .map(str::to_owned)
            .collect();
        if let [name] = found.as_slice()
            && let Some(from) = self.variables.resolve(&[name])?
        {
            let version = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(&suffix));
            self.plain("driver.version", version.unwrap_or_default().replace('_', "."), &from);
            return Ok(());
        }
        let pattern = match found.as_slice() {
            [] => format!("{prefix}VERSION{suffix}"),
            several => format!("exactly one of {}", several.join(" and ")),
        };
        self.absent("driver.version", &[VERSIONS[0], VERSIONS[1], VERSIONS[2], &pattern]);
        Ok(())
    }

    /// A version without quotes is a number to YAML, and 24.10 becomes 24.1.
    fn warn_of_numbers(&mut self, version: &str, from: &Resolved) {
        if let Some(written) = &from.written
            && written != version
        {
            self.note(format!(
                "{} is written as {written} and is the number {version} to YAML, as it is to Ansible: put it in quotes",
                from.origin
            ));
        }
    }

    fn note(&mut self, note: String) {
        self.site.notes.push(note);
    }

    /// The repositories of the Pulp server, by their place in the list.
    fn pulp_repositories(&self, wanted: impl Fn(&str, &str) -> bool) -> Result<Vec<usize>, KayobeError> {
        let mut found = Vec::new();
        for (index, element) in self.variables.elements(PULP_REPOSITORIES)?.iter().enumerate() {
            let path = [PULP_REPOSITORIES, element.as_str()];
            let name = self.text(&[path[0], path[1], "name"])?;
            // Most have nothing to do with drivers, and may have paths that cannot be evaluated.
            let Some((name, _)) = name.filter(|(name, _)| is_about_drivers(name)) else { continue };
            let Some((base, _)) = self.text(&[path[0], path[1], "base_path"])? else { continue };
            if wanted(&name, &base) {
                found.push(index);
            }
        }
        Ok(found)
    }

    /// Where the site's own playbook publishes drivers to.
    fn published(&mut self) -> Result<Option<Published>, KayobeError> {
        let table = format!("stackhpc_pulp_repo_doca_ofed_rhel{}", self.request.release);
        if self.variables.is_defined(&table) {
            return self.published_at(&[&table]);
        }
        let own = self.pulp_repositories(|name, path| is_own(name, path, self.request))?;
        match own.as_slice() {
            [index] => self.published_at(&[PULP_REPOSITORIES, &index.to_string()]),
            [] => {
                self.absent(
                    "publish.pulp.layout",
                    &[&table, "an OFED repository in stackhpc_pulp_rpm_repos"],
                );
                Ok(None)
            }
            many => {
                let what = "which repository drivers are published to".to_owned();
                let mut claims = Vec::new();
                for index in many.iter().take(2) {
                    let index = index.to_string();
                    if let Some((text, from)) = self.text(&[PULP_REPOSITORIES, &index, "base_path"])? {
                        claims.push(claim(&from, text));
                    }
                }
                let help =
                    "Write publish.pulp.layout and publish.pulp.distribution into drivetrain.yaml".to_owned();
                match <[Claim; 2]>::try_from(claims) {
                    Ok([first, second]) => Err(KayobeError::Disagree {
                        what,
                        first: Box::new(first),
                        second: Box::new(second),
                        help,
                    }),
                    Err(_) => Ok(None),
                }
            }
        }
    }

    fn published_at(&self, path: &[&str]) -> Result<Option<Published>, KayobeError> {
        let element = |name| {
            let mut path = path.to_vec();
            path.push(name);
            self.variables.resolve(&path)
        };
        let (Some(name), Some(base_path)) = (element("name")?, element("base_path")?) else {
            return Ok(None);
        };
        Ok(Some(Published {
            name,
            url: element("url")?,
            distribution: element("distribution_name")?,
            base_path,
        }))
    }

    fn publication(&mut self) -> Result<(), KayobeError> {
        if !self.is_given("publish.pulp") {
            return Ok(());
        }
        let has_profile = self.is_given("publish.pulp.profile");
        if !has_profile && !self.is_given("publish.pulp.url") {
            match self.text(&[RELEASE_URL])? {
                Some((url, from)) => self.plain("publish.pulp.url", url, &from),
                None => self.absent("publish.pulp.url", &[RELEASE_URL]),
            }
        }
        if !has_profile && !self.is_given("publish.pulp.credentials") {
            self.login(
                "publish.pulp.credentials",
                &["stackhpc_release_pulp_username"],
                &["stackhpc_release_pulp_password"],
            )?;
        }
        if self.is_given("publish.pulp.layout") {
            return Ok(());
        }
        let Some(published) = self.published()? else { return Ok(()) };
        let base = text_of(&published.base_path)?;
        let base = base.trim_matches('/').to_owned();
        self.agree(&published, &base)?;
        self.plain("publish.pulp.layout", format!("{base}/{{kernel}}"), &published.base_path);
        if !self.is_given("publish.pulp.distribution")
            && let Some(from) = &published.distribution
        {
            let name = text_of(from)?;
            let name = format!("{}-{{kernel}}", name.trim_end_matches('-'));
            self.plain("publish.pulp.distribution", name, from);
        }
        self.note(format!(
            "{} has no kernel in it, and drivers for different kernels are never at one address: they are published at \
             {base}/KERNEL, and what tells consumers where to look has to name the kernel behind the path",
            published.base_path.origin
        ));
        self.note(format!(
            "the site's name of the repository ({:?}) is for all kernels: each gets one of its own, by \
             publish.pulp.repository",
            text_of(&published.name)?
        ));
        Ok(())
    }

    /// Whether what is published at the base path is where the site's URL points to.
    fn agree(&self, published: &Published, base: &str) -> Result<(), KayobeError> {
        let Some(from) = &published.url else { return Ok(()) };
        let url = text_of(from)?;
        let content = self.text(&[CONTENT_URL])?.map(|(text, _)| text);
        let path = content
            .as_deref()
            .and_then(|content| url.strip_prefix(content.trim_end_matches('/')))
            .or_else(|| url.split_once("/pulp/content/").map(|(_, path)| path))
            .unwrap_or(&url)
            .trim_matches('/');
        if path == base || path.strip_prefix(base).is_some_and(|rest| rest.starts_with('/')) {
            return Ok(());
        }
        let base_path = text_of(&published.base_path)?;
        Err(KayobeError::Disagree {
            what: "where drivers are: what is published at the one is not found at the other".to_owned(),
            first: Box::new(claim(from, url)),
            second: Box::new(claim(&published.base_path, base_path)),
            help: "Correct one of them, or say in drivetrain.yaml where to publish: publish.pulp.layout"
                .to_owned(),
        })
    }

    fn host_image(&mut self) -> Result<(), KayobeError> {
        let name = format!("stackhpc_rocky_{}_overcloud_host_image_version", self.request.release);
        if let Some((version, from)) = self.text(&[&name])? {
            self.plain("the host image's version", version, &from);
        }
        Ok(())
    }
}

/// What one definition says. Nobody sees what came from a vault.
fn claim(from: &Resolved, text: String) -> Claim {
    Claim { origin: from.origin.clone(), text: if from.secret { "[hidden]".to_owned() } else { text } }
}

fn text_of(resolved: &Resolved) -> Result<String, KayobeError> {
    let text = resolved.value.text().ok_or_else(|| KayobeError::Unexpected {
        origin: resolved.origin.clone(),
        wanted: "a text",
        found: resolved.value.kind().to_owned(),
    })?;
    if text.contains(char::is_control) {
        let found = "one of several lines".to_owned();
        return Err(KayobeError::Unexpected {
            origin: resolved.origin.clone(),
            wanted: "a text of one line",
            found,
        });
    }
    Ok(text)
}

/// A URL, and the login that stood in it.
fn without_login(text: &str, from: &Resolved) -> Result<(String, Option<(String, String)>), KayobeError> {
    let unexpected = || KayobeError::Unexpected {
        origin: from.origin.clone(),
        wanted: "a URL with https, http or file",
        found: "something else".to_owned(),
    };
    let mut url = Url::parse(text).map_err(|_| unexpected())?;
    if !matches!(url.scheme(), "https" | "http" | "file") {
        return Err(unexpected());
    }
    let login = url.password().map(|password| (url.username().to_owned(), password.to_owned()));
    if url.username().is_empty() && login.is_none() {
        // As it is written: variables of DNF's are told by who reads it.
        return Ok((text.to_owned(), None));
    }
    url.set_username("").and_then(|()| url.set_password(None)).map_err(|()| unexpected())?;
    Ok((url.to_string(), login))
}

/// `20240816T002610`.
fn is_snapshot(text: &str) -> bool {
    let digits = |part: &str, count| part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
    text.split_once('T').is_some_and(|(date, time)| digits(date, 8) && digits(time, 6))
}

fn is_enabled(value: &Value) -> bool {
    match value {
        Value::Text(text) => !matches!(text.to_lowercase().as_str(), "no" | "off" | "0" | "false"),
        value => value.is_true(),
    }
}

fn is_about_drivers(name: &str) -> bool {
    ["OFED", "DOCA", "doca", "ofed"].iter().any(|word| name.contains(word))
}

/// As the site's push-ofed chooses: by name, release and architecture.
fn is_own(name: &str, path: &str, request: &Request<'_>) -> bool {
    name.contains("OFED") && is_for(path, request) && path.contains(&format!("/{}/", request.arch))
}

fn is_vendor(name: &str, path: &str, request: &Request<'_>) -> bool {
    !name.contains("OFED")
        && path.starts_with("doca/")
        && is_for(path, request)
        && path.contains(request.arch)
}

/// Whether a path is for the release: `/rhel9`, or `/rhel9.7`.
fn is_for(path: &str, request: &Request<'_>) -> bool {
    let release = request.release;
    path.split('/').any(|part| {
        part.strip_prefix("rhel")
            .and_then(|rest| rest.strip_prefix(release))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}
