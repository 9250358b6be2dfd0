//! PostgreSQL for one server: a cluster of its own on a Unix socket, which nobody else can reach.

use std::ffi::OsStr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};

use super::home::Home;
use crate::cmd::{command, run};
use crate::enclosure::{Enclosure, Process, is_root};
use crate::processes::poll;

/// How long it may take to accept connections. One that was killed recovers first.
const STARTING: Duration = Duration::from_secs(60);

/// The server's programs on this machine.
#[derive(Debug, Clone)]
pub(super) struct Postgres {
    programs: Utf8PathBuf,
    /// What `postgres --version` says.
    pub(super) version: String,
}

impl Postgres {
    /// The newest that is installed, where Debian has them.
    pub(super) fn find() -> Result<Self> {
        let mut found: Vec<(u32, Utf8PathBuf)> = Utf8Path::new("/usr/lib/postgresql")
            .read_dir_utf8()
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let programs = entry.path().join("bin");
                programs.join("initdb").exists().then_some((entry.file_name().parse().ok()?, programs))
            })
            .collect();
        found.sort();
        let Some((_, programs)) = found.pop() else {
            bail!("not installed: postgresql (run `drivetrain-lab deps`)");
        };
        let version = run(command(programs.join("postgres")).arg("--version"))?.trim().to_owned();
        Ok(Postgres { programs, version })
    }

    /// One of the programs that must not run as root, as the user that Debian's package has made.
    fn unprivileged(&self, enclosure: &Enclosure, program: &str) -> Command {
        let program = self.programs.join(program);
        if !is_root() {
            return enclosure.command(program);
        }
        let mut command = enclosure.command("setpriv");
        command.args(["--reuid", "postgres", "--regid", "postgres", "--init-groups"]);
        // The way to the directory may lead through root's own.
        command.args(["--inh-caps", "+dac_override", "--ambient-caps", "+dac_override"]).arg(program);
        command
    }

    /// Makes an empty cluster.
    pub(super) fn initialise(&self, enclosure: &Enclosure, home: &Home) -> Result<()> {
        run(self
            .unprivileged(enclosure, "initdb")
            .arg("--pgdata")
            .arg(home.database())
            .args(["--username", "postgres", "--auth", "trust", "--no-sync"])
            .args(["--encoding", "UTF8", "--locale", "C.UTF-8"])
            .current_dir(home.directory()))?;
        Ok(())
    }

    /// Starts it, and waits until it accepts connections.
    pub(super) fn start(&self, enclosure: &Enclosure, home: &Home) -> Result<Process> {
        let sockets = format!("unix_socket_directories={}", home.sockets());
        let mut command = self.unprivileged(enclosure, "postgres");
        command.arg("-D").arg(home.database()).current_dir(home.directory());
        let settings = [
            "listen_addresses=",
            &sockets,
            "port=5432",
            "max_connections=100",
            "shared_buffers=64MB",
            // In its directory, which is removed, and not in /dev/shm.
            "dynamic_shared_memory_type=mmap",
            // A crash of the machine may lose the data; that of the database, which is killed at its end, may not.
            "fsync=off",
            "full_page_writes=off",
        ];
        for setting in settings {
            command.args(["-c", setting]);
        }
        let mut process = Process::start("PostgreSQL", command, home.log("postgres"))?;
        let mut ready = self.client("pg_isready", home);
        ready.arg("--quiet");
        let outcome = poll(STARTING, || match process.check() {
            Err(error) => Some(Err(error)),
            Ok(()) => run(&mut ready).is_ok().then_some(Ok(())),
        });
        match outcome {
            Some(outcome) => outcome?,
            None => bail!("PostgreSQL accepts no connections:\n{}", process.last_words()),
        }
        Ok(process)
    }

    /// Runs SQL as the owner of the cluster; what it gives, a row a line, its columns apart by `|`.
    pub(super) fn sql(&self, home: &Home, database: &str, sql: &str) -> Result<String> {
        let mut psql = self.client("psql", home);
        psql.args(["--username", "postgres", "--dbname", database, "--no-psqlrc", "--quiet"]);
        psql.args(["--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1", "--command", sql]);
        let rows = run(&mut psql).with_context(|| format!("running the SQL {sql}"))?;
        Ok(rows.trim_end().to_owned())
    }

    fn client(&self, program: impl AsRef<OsStr>, home: &Home) -> Command {
        let mut command = command(self.programs.join(program.as_ref().to_string_lossy().as_ref()));
        command.arg("--host").arg(home.sockets());
        command
    }
}
