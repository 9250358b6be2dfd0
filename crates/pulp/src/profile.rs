//! The settings of pulp-cli, for those who have them: `~/.config/pulp/cli.toml`.
//!
//! The file has a section `[cli]`, which is the profile `default`, and sections `[cli-NAME]`. Their keys are those of
//! pulp-cli's `pulp config create`.

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_fetch::Credentials;
use serde::Deserialize;
use url::Url;

/// Larger is no settings file.
const MAX_BYTES: u64 = 1 << 20;

/// One profile.
#[derive(Debug, Clone)]
pub struct Profile {
    /// The server.
    pub base_url: Option<Url>,
    /// `API_ROOT`.
    pub api_root: Option<String>,
    /// The domain; `default` is none.
    pub domain: Option<String>,
    /// As whom.
    pub credentials: Option<Credentials>,
}

/// Why a profile cannot be used. Says nothing of what is in the file beside key names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the profile {profile:?} of {file} cannot be used: {what}")]
pub struct ProfileError {
    profile: String,
    file: Utf8PathBuf,
    what: String,
}

#[derive(Deserialize)]
struct Section {
    base_url: Option<String>,
    api_root: Option<String>,
    domain: Option<String>,
    username: Option<String>,
    password: Option<String>,
    cert: Option<String>,
    verify_ssl: Option<bool>,
}

/// Where pulp-cli keeps its settings: `$XDG_CONFIG_HOME/pulp/cli.toml`, or below `~/.config`.
#[must_use]
pub fn default_profile_file(environment: impl Fn(&str) -> Option<String>) -> Option<Utf8PathBuf> {
    let config = environment("XDG_CONFIG_HOME").filter(|path| path.starts_with('/')).map(Utf8PathBuf::from);
    let config = config.or_else(|| environment("HOME").map(|home| Utf8Path::new(&home).join(".config")));
    config.map(|config| config.join("pulp/cli.toml"))
}

impl Profile {
    /// Reads a profile.
    ///
    /// # Errors
    /// Where the file cannot be read, or the profile wants something that drivetrain does not do.
    pub fn read(file: &Utf8Path, profile: &str) -> Result<Self, ProfileError> {
        let fail = |what: String| ProfileError { profile: profile.to_owned(), file: file.to_owned(), what };
        let text = read_limited(file).map_err(|error| fail(error.to_string()))?;
        Self::parse(&text, profile).map_err(fail)
    }

    fn parse(text: &str, profile: &str) -> Result<Self, String> {
        // The parser's messages quote the line, which may be the password's.
        let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let line =
                error.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count().max(1));
            format!("it is not TOML at line {line}")
        })?;
        let name = if profile == "default" { "cli".to_owned() } else { format!("cli-{profile}") };
        let section = table.remove(&name).ok_or_else(|| {
            let known: Vec<&str> = table.keys().filter_map(|key| profile_name(key)).collect();
            format!("there is no section [{name}]; profiles are: {}", known.join(", "))
        })?;
        let section: Section = section
            .try_into()
            .map_err(|_| format!("a key of [{name}] is of another type than pulp-cli's"))?;
        section.check()
    }
}

fn profile_name(section: &str) -> Option<&str> {
    if section == "cli" { Some("default") } else { section.strip_prefix("cli-") }
}

impl Section {
    fn check(self) -> Result<Profile, String> {
        if self.verify_ssl == Some(false) {
            return Err(
                "it has verify_ssl = false, and whoever is between here and the server could change what is \
                        published: name the certificate authority with publish.pulp.ca"
                    .to_owned(),
            );
        }
        if self.cert.is_some_and(|cert| !cert.is_empty()) && self.username.is_none() {
            return Err(
                "it has a client certificate (cert), which drivetrain cannot send: a user name and a \
                        password are needed"
                    .to_owned(),
            );
        }
        let base_url = self.base_url.map(|url| Url::parse(&url)).transpose();
        let base_url = base_url.map_err(|error| format!("base_url is no URL: {error}"))?;
        let credentials = match (self.username, self.password) {
            (Some(user), Some(password)) => Some(Credentials::new(user, password)),
            (Some(_), None) => return Err("it has a username and no password".to_owned()),
            _ => None,
        };
        let domain = self.domain.filter(|domain| domain != "default");
        Ok(Profile { base_url, api_root: self.api_root, domain, credentials })
    }
}

fn read_limited(file: &Utf8Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    fs_err::File::open(file)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(std::io::Error::other("it is larger than a settings file"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
[cli]
base_url = "https://pulp.example.org"
api_root = "/pulp/"
domain = "default"
headers = []
cert = ""
key = ""
verify_ssl = true
username = "admin"
password = "geheim"
timeout = 0

[cli-release]
base_url = "https://ark.example.org"
username = "release"
password = "sehr geheim"

[cli-open]
base_url = "https://ark.example.org"
verify_ssl = false

[cli-half]
username = "x"
"#;

    #[test]
    fn profiles_are_read_as_pulp_cli_writes_them() {
        let profile = Profile::parse(FILE, "default").expect("a profile");
        assert_eq!(profile.base_url.as_ref().map(Url::as_str), Some("https://pulp.example.org/"));
        assert_eq!(profile.domain, None);
        assert_eq!(profile.credentials.expect("credentials").password.expose(), "geheim");
        assert!(Profile::parse(FILE, "release").is_ok());
    }

    #[test]
    fn what_cannot_be_used_is_said_without_what_is_secret() {
        let broken = "[cli]\npassword = \"geheim\nusername = 1\n";
        let errors = [
            Profile::parse(FILE, "open").unwrap_err(),
            Profile::parse(FILE, "half").unwrap_err(),
            Profile::parse(FILE, "nobody").unwrap_err(),
            Profile::parse(broken, "default").unwrap_err(),
            Profile::parse("[cli]\npassword = 7\n", "default").unwrap_err(),
        ];
        let text = errors.join("\n");
        assert!(!text.contains("geheim"), "{text}");
        insta::assert_snapshot!(text);
    }
}
