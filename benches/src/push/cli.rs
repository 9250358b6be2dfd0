//! pulp-cli, as it comes.

use std::process::Command;

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use super::Bed;
use crate::measure::time;

/// pulp-cli with settings of its own.
pub struct Cli {
    program: Utf8PathBuf,
    home: Utf8PathBuf,
}

/// How long the parts took, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Parts {
    /// Making repository and distribution.
    pub making: f64,
    /// The packages, with the publication of them.
    pub uploading: f64,
}

impl Cli {
    /// Writes its settings. The password is in them, and nowhere else.
    pub fn new(bed: &Bed) -> Result<Self> {
        let home = bed.directory("home")?;
        let settings = home.join(".config/pulp");
        fs::create_dir_all(&settings)?;
        let server = &bed.server;
        let text = format!(
            "[cli]\nbase_url = \"{}\"\nusername = \"{}\"\npassword = \"{}\"\n",
            server.api_url(),
            server.username(),
            server.password()
        );
        fs::write(settings.join("cli.toml"), text)?;
        let cli = Self { program: server.installation().program("pulp"), home };
        // Once for what it keeps of the server: its API.
        time(cli.command().args(["rpm", "repository", "list"]))?;
        Ok(cli)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        self.at_home(&mut command);
        command
    }

    fn at_home(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["PULP_", "PYTHON", "XDG_"].iter().any(|prefix| text.starts_with(prefix)) {
                command.env_remove(&name);
            }
        }
        command.env("HOME", &self.home);
    }

    /// `pulp rpm content upload --file` for one package after another.
    pub fn one_by_one(&self, name: &str, packages: &[Utf8PathBuf]) -> Result<Parts> {
        let script = "set -e; pulp=$1 name=$2; shift 2\n\
                      for file; do \"$pulp\" rpm content upload --repository \"$name\" --file \"$file\"; done";
        let mut upload = Command::new("bash");
        upload.args(["-c", script, "bash", self.program.as_str(), name]).args(packages);
        self.at_home(&mut upload);
        self.around(name, upload)
    }

    /// `pulp rpm content upload --directory`.
    pub fn directory(&self, name: &str, packages: &Utf8Path) -> Result<Parts> {
        let mut upload = self.command();
        upload.args(["rpm", "content", "upload", "--repository", name, "--directory", packages.as_str()]);
        self.around(name, upload)
    }

    /// With a repository for it, and a distribution that serves what is published of that.
    fn around(&self, name: &str, mut upload: Command) -> Result<Parts> {
        let mut make = self.command();
        make.args(["rpm", "repository", "create", "--name", name]);
        let mut serve = self.command();
        serve.args([
            "rpm",
            "distribution",
            "create",
            "--name",
            name,
            "--base-path",
            name,
            "--repository",
            name,
        ]);
        let seconds = |command: &mut Command| Ok::<_, anyhow::Error>(time(command)?.wall.as_secs_f64());
        let made = seconds(&mut make)?;
        let uploading = seconds(&mut upload)?;
        Ok(Parts { making: made + seconds(&mut serve)?, uploading })
    }
}
