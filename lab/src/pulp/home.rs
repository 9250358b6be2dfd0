//! The directory of a server.

use std::process::Command;

use anyhow::{Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use super::installation::Installation;
use super::server::Options;
use crate::enclosure::Enclosure;
use crate::venv::without_others;

/// The longest path that a Unix socket can have.
const SOCKET_LIMIT: usize = 107;
/// PostgreSQL's socket in its directory.
const SOCKET: &str = ".s.PGSQL.5432";

/// Where a server has what.
#[derive(Debug, Clone)]
pub(super) struct Home(Utf8PathBuf);

/// The ports of the two applications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) api: u16,
    pub(super) content: u16,
}

impl Home {
    /// A directory with all that a server wants to find in its own.
    pub(super) fn create(directory: &Utf8Path) -> Result<Self> {
        let home = Home(directory.to_owned());
        let socket = home.sockets().join(SOCKET);
        ensure!(
            socket.as_str().len() <= SOCKET_LIMIT,
            "{socket} is too long for the path of a socket: take a directory with a shorter one"
        );
        for name in ["etc", "run", "log", "data/media", "data/tmp", "data/assets"] {
            fs::create_dir_all(home.0.join(name))?;
        }
        Ok(home)
    }

    pub(super) fn directory(&self) -> &Utf8Path {
        &self.0
    }

    /// PostgreSQL's data.
    pub(super) fn database(&self) -> Utf8PathBuf {
        self.0.join("pg")
    }

    /// The directory that PostgreSQL's socket is in.
    pub(super) fn sockets(&self) -> Utf8PathBuf {
        self.0.join("run")
    }

    pub(super) fn settings(&self) -> Utf8PathBuf {
        self.0.join("etc/settings.py")
    }

    /// What Pulp encrypts the secrets in its database with.
    pub(super) fn encryption_key(&self) -> Utf8PathBuf {
        self.0.join("etc/database_fields.symmetric.key")
    }

    pub(super) fn log(&self, name: &str) -> Utf8PathBuf {
        self.0.join("log").join(format!("{name}.log"))
    }

    /// One of Pulp's own programs, in the server's namespace and with its settings.
    pub(super) fn program(&self, enclosure: &Enclosure, installation: &Installation, name: &str) -> Command {
        let mut command = enclosure.command(installation.program(name));
        without_others(&mut command, &["PULP_", "DJANGO_"]);
        command.env("PULP_SETTINGS", self.settings()).current_dir(self.0.join("data/tmp"));
        command
    }

    pub(super) fn write_settings(&self, ports: Ports, options: &Options) -> Result<()> {
        fs::write(self.settings(), self.settings_text(ports, options))?;
        Ok(())
    }

    fn settings_text(&self, ports: Ports, options: &Options) -> String {
        let data = self.0.join("data");
        let media = options.media.clone().unwrap_or_else(|| data.join("media"));
        let fast = "PASSWORD_HASHERS = [\"django.contrib.auth.hashers.MD5PasswordHasher\", \
                    \"django.contrib.auth.hashers.PBKDF2PasswordHasher\"]\n";
        let settings = [
            ("SECRET_KEY", quoted("lab-only-0123456789abcdef0123456789abcdef0123456789abcdef")),
            ("DB_ENCRYPTION_KEY", quoted(self.encryption_key().as_str())),
            ("CONTENT_ORIGIN", quoted(&format!("http://127.0.0.1:{}", ports.content))),
            ("DEPLOY_ROOT", quoted(data.as_str())),
            ("MEDIA_ROOT", quoted(media.as_str())),
            ("STATIC_ROOT", quoted(data.join("assets").as_str())),
            ("WORKING_DIRECTORY", quoted(data.join("tmp").as_str())),
            ("FILE_UPLOAD_TEMP_DIR", quoted(data.join("tmp").as_str())),
            ("DATABASES", self.database_setting()),
            // Without a cache there is no redis.
            ("CACHE_ENABLED", "False".to_owned()),
            ("ANALYTICS", "False".to_owned()),
            ("ALLOWED_CONTENT_CHECKSUMS", "[\"sha224\", \"sha256\", \"sha384\", \"sha512\"]".to_owned()),
            // A server that was killed and starts again gives out the same process numbers: the names in its
            // database of those that it had must differ from the new ones.
            ("WORKER_NAME_TEMPLATE", quoted(&format!("{{pid}}.{}@{{hostname}}", std::process::id()))),
        ];
        let mut text: String = settings.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
        text.push_str(if options.fast_auth { fast } else { "" });
        for line in &options.settings {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    fn database_setting(&self) -> String {
        format!(
            "{{\"default\": {{\"ENGINE\": \"django.db.backends.postgresql\", \"NAME\": \"pulp\", \"USER\": \"pulp\", \
             \"HOST\": {}, \"PORT\": \"5432\", \"CONN_MAX_AGE\": 0}}}}",
            quoted(self.sockets().as_str())
        )
    }
}

/// A string as Python reads it. JSON's are.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_say_where_the_server_has_what_and_the_last_word_is_the_callers() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::create(Utf8Path::from_path(directory.path()).unwrap()).unwrap();
        let options = Options {
            media: Some("/small \"disk\"".into()),
            settings: vec!["ORPHAN_PROTECTION_TIME = 0".to_owned()],
            fast_auth: true,
            ..Options::default()
        };
        let text = home.settings_text(Ports { api: 1, content: 2 }, &options);
        assert!(text.contains("CONTENT_ORIGIN = \"http://127.0.0.1:2\"\n"), "{text}");
        assert!(text.contains("MEDIA_ROOT = \"/small \\\"disk\\\"\"\n"), "{text}");
        assert!(text.contains("MD5PasswordHasher"), "{text}");
        assert!(text.ends_with("\nORPHAN_PROTECTION_TIME = 0\n"), "{text}");
    }

    #[test]
    fn a_directory_that_is_too_deep_for_a_socket_is_said() {
        let error = Home::create(Utf8Path::new(&format!("/{}", "a".repeat(100)))).unwrap_err();
        assert!(error.to_string().contains("too long"), "{error}");
    }
}
