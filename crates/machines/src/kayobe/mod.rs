//! The site's own Kayobe configuration, applied to a machine from this host.
//!
//! Kayobe works on a copy of the configuration: `host configure` writes what it allocates into it, and the inventory
//! with the machine has to be beside the site's, whose groups and variables it needs. The copy lasts as long as the
//! commands. What it was made from is known by a [digest](digest), which a plan is made with.
//!
//! Every command is limited to the machine: whatever else the inventory knows is not touched. Host keys are checked
//! against what drivetrain knows of the machine, whatever the site's `ansible.cfg` says of them.

mod configuration;
mod inventory;
mod output;
mod process;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_fetch::Secret;
use drivetrain_host::{CancellationToken, Machine, Script, SshOptions};
use drivetrain_model::Sha256Digest;
use fs_err as fs;

use crate::prepare::{Progress, Tell};
use crate::{MachineError, Result};
use output::Output;
use process::{Child, End};

/// Where a checkout has what kayobe calls its configuration.
const ETC: &str = "etc/kayobe";
/// The longest name of a directory for sockets: a user's name comes to it, and what ssh adds while it makes one, and a
/// socket's may have 107 characters.
const LONGEST_SOCKETS: usize = 60;
/// The longest file with a password.
const LONGEST_PASSWORD: u64 = 64 * 1024;
/// The tag of the play that adds hosts to the user's known ones. Host keys are drivetrain's affair here.
const KNOWN_HOSTS: &str = "ssh-known-host";
/// Marks a login of Ansible's on the machine. Servers take variables of this beginning over.
const MARK: &str = "LC_DRIVETRAIN_KAYOBE";

/// How kayobe is run.
#[derive(Debug, Clone)]
pub struct KayobeOptions {
    /// The checkout of kayobe-config, with `etc/kayobe` in it. It is not written to.
    pub configuration: Utf8PathBuf,
    /// Which of its environments.
    pub environment: Option<String>,
    /// Kayobe's program; `kayobe` where `PATH` says, without one.
    pub program: Option<Utf8PathBuf>,
    /// The machine's name in the inventory.
    pub host: String,
    /// The groups that it belongs to.
    pub groups: Vec<String>,
    /// The command that configures it.
    pub host_configure: Option<KayobeCommand>,
    /// Playbooks to run after that: paths in the checkout.
    pub playbooks: Vec<Utf8PathBuf>,
    /// Variables for all of them, above all others.
    pub variables: BTreeMap<String, String>,
    /// What the vault opens with.
    pub vault: Option<VaultSource>,
    /// How long one command may take.
    pub deadline: Duration,
}

/// `kayobe … host configure`.
#[derive(Debug, Clone)]
pub struct KayobeCommand {
    /// The words before `host configure`: `seed`, `infra vm`.
    pub of: &'static str,
    /// Only what has one of these tags.
    pub tags: Vec<String>,
    /// Not what has one of these.
    pub skip_tags: Vec<String>,
}

/// Where the password of a vault is.
#[derive(Debug, Clone)]
pub enum VaultSource {
    /// Here.
    Given(Secret),
    /// In a file.
    File(Utf8PathBuf),
}

impl KayobeOptions {
    /// What is run, each as a person would type it.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        self.steps().iter().map(|step| step.name.clone()).collect()
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if let Some(configure) = &self.host_configure {
            let name = format!("kayobe {} host configure", configure.of);
            let mut arguments: Vec<String> = name.split(' ').skip(1).map(str::to_owned).collect();
            if !configure.tags.is_empty() {
                arguments.extend(["--tags".to_owned(), configure.tags.join(",")]);
            }
            let skipped: Vec<&str> =
                std::iter::once(KNOWN_HOSTS).chain(configure.skip_tags.iter().map(String::as_str)).collect();
            arguments.extend(["--skip-tags".to_owned(), skipped.join(",")]);
            steps.push(Step { name, arguments, playbook: None });
        }
        for playbook in &self.playbooks {
            steps.push(Step {
                name: format!("kayobe playbook run {playbook}"),
                arguments: vec!["playbook".to_owned(), "run".to_owned()],
                playbook: Some(playbook.clone()),
            });
        }
        steps
    }

    fn etc(&self) -> Utf8PathBuf {
        self.configuration.join(ETC)
    }

    /// Where an inventory is that the machine's is put beside, from the checkout.
    fn inventory(&self) -> Utf8PathBuf {
        let etc = Utf8Path::new(ETC);
        match &self.environment {
            Some(environment) => etc.join("environments").join(environment).join("inventory"),
            None => etc.join("inventory"),
        }
    }

    /// Looks for what can be missing before any machine is made.
    fn check(&self) -> Result<Utf8PathBuf> {
        let wrong = |what: &str, why: String, next: &str| {
            let what = format!("builder.prepare.kayobe.{what}");
            Err(MachineError::Configuration { what, why, next: next.to_owned() })
        };
        let program = match &self.program {
            Some(program) if program.is_file() => program.clone(),
            Some(program) => {
                let why = format!("there is no file {program}");
                return wrong("program", why, "name the bin/kayobe of kayobe's virtual environment");
            }
            None => match process::find("kayobe") {
                Some(program) => program,
                None => {
                    let next = "install it (pip install kayobe, in a virtual environment), and name its bin/kayobe here";
                    return wrong("program", "there is no kayobe on PATH".to_owned(), next);
                }
            },
        };
        if !self.etc().is_dir() {
            let why = format!("there is no {}", self.etc());
            return wrong(
                "configuration",
                why,
                "name the checkout of kayobe-config, which has etc/kayobe in it",
            );
        }
        if let Some(environment) = &self.environment {
            let all = self.etc().join("environments");
            if !all.join(environment).is_dir() {
                let why = format!("there is no {}", all.join(environment));
                return wrong("environment", why, &in_words(&names(&all)));
            }
        }
        for playbook in &self.playbooks {
            let path = self.configuration.join(playbook);
            if !path.is_file() {
                let next = "name it as it is found from `configuration`: etc/kayobe/ansible/….yml";
                return wrong("playbooks", format!("there is no file {path}"), next);
            }
        }
        Ok(program)
    }

    fn password(&self) -> Result<Option<Secret>> {
        match &self.vault {
            None => Ok(None),
            Some(VaultSource::Given(secret)) => Ok(Some(secret.clone())),
            Some(VaultSource::File(path)) => {
                let size = fs::metadata(path).map_err(MachineError::file("read", path))?.len();
                if size > LONGEST_PASSWORD {
                    return Err(MachineError::Configuration {
                        what: "builder.prepare.kayobe.vault_password_file".to_owned(),
                        why: format!("{path} has {size} bytes"),
                        next: "name the file that has the password in it, and nothing else".to_owned(),
                    });
                }
                let text = fs::read_to_string(path).map_err(MachineError::file("read", path))?;
                Ok(Some(Secret::new(text.trim())))
            }
        }
    }
}

/// One command.
struct Step {
    name: String,
    arguments: Vec<String>,
    playbook: Option<Utf8PathBuf>,
}

/// What is known of a machine that kayobe will have configured: a digest over the files of the configuration and over
/// what is run with them. Neither the password nor kayobe itself is in it.
///
/// # Errors
/// Where something is missing: the program, the checkout, its environment, a playbook.
pub fn digest(options: &KayobeOptions) -> Result<Sha256Digest> {
    options.check()?;
    drop(options.password()?);
    let files = configuration::digest(&options.configuration)?;
    Ok(with_commands(options, &files))
}

fn with_commands(options: &KayobeOptions, files: &Sha256Digest) -> Sha256Digest {
    let mut text = format!("drivetrain kayobe 1\n{files}\n{:?}\n{}\n", options.environment, options.host);
    for group in &options.groups {
        text.push_str(&format!("group {group}\n"));
    }
    for step in options.steps() {
        text.push_str(&format!("{} {:?}\n", step.name, step.arguments));
    }
    for (name, value) in &options.variables {
        text.push_str(&format!("{name}={value:?}\n"));
    }
    Sha256Digest::of(text.as_bytes())
}

/// What kayobe is run for.
pub struct Configuring<'a> {
    /// The machine.
    pub machine: &'a dyn Machine,
    /// How it is reached.
    pub ssh: &'a SshOptions,
    /// The [digest](digest) that the plan was made with.
    pub planned: &'a Sha256Digest,
    /// A directory for the copy, of which all is removed in the end.
    pub scratch: &'a Utf8Path,
    /// The file that gets all output at its end.
    pub log: &'a Utf8Path,
    /// Who is told.
    pub tell: Tell<'a>,
    /// Ends it.
    pub cancel: &'a CancellationToken,
}

/// Runs kayobe for a machine: `host configure`, then the playbooks.
///
/// # Errors
/// Where something is missing or has changed since the plan; and with the task that failed, where it stands, and what
/// it said.
pub async fn configure(options: &KayobeOptions, work: &Configuring<'_>) -> Result<()> {
    let program = options.check()?;
    let password = options.password()?;
    let place = Place::make(options, work).await?;
    let run = Run { options, work, program, password, place };
    for step in options.steps() {
        run.step(&step).await?;
    }
    Ok(())
}

/// The files of a run of kayobe.
struct Place {
    checkout: Utf8PathBuf,
    variables: Utf8PathBuf,
    /// Ansible's own files, until they are no longer needed.
    temporary: Utf8PathBuf,
    /// For sockets.
    sockets: Utf8PathBuf,
    /// The directory that these are in, where it is not with everything else.
    _elsewhere: Option<tempfile::TempDir>,
    /// What marks every process of this run.
    token: String,
}

impl Place {
    async fn make(options: &KayobeOptions, work: &Configuring<'_>) -> Result<Self> {
        let checkout = work.scratch.join("kayobe-config");
        let temporary = work.scratch.join("ansible");
        for directory in [&checkout, &temporary] {
            configuration::private_directory(directory)?;
        }
        let (from, to) = (options.configuration.clone(), checkout.clone());
        // As much as a site's collections have: not on a thread that others wait for.
        let copying = tokio::task::spawn_blocking(move || configuration::copy(&from, &to));
        let files = copying.await.map_err(|error| {
            MachineError::file("copy", &options.configuration)(std::io::Error::other(error))
        })??;
        if with_commands(options, &files) != *work.planned {
            return Err(MachineError::Configuration {
                what: format!("builder.prepare.kayobe.configuration {}", options.configuration),
                why: "it has changed since the plan was made".to_owned(),
                next: "run the same command again, which plans with what is there now".to_owned(),
            });
        }
        let (sockets, elsewhere) = sockets(work.scratch)?;
        let token = format!("{:016x}", fastrand::u64(..));
        let variables = work.scratch.join("variables.json");
        let place = Self { checkout, variables, temporary, sockets, _elsewhere: elsewhere, token };
        place.write(options, work).await?;
        Ok(place)
    }

    async fn write(&self, options: &KayobeOptions, work: &Configuring<'_>) -> Result<()> {
        let user = match &work.ssh.user {
            Some(user) => user.clone(),
            None => user_of(work.machine, work.cancel).await?,
        };
        let known_hosts = self.known_hosts(work.ssh)?;
        let inventory = inventory::Inventory {
            host: &options.host,
            groups: &options.groups,
            ssh: work.ssh,
            user: &user,
            known_hosts: known_hosts.as_deref(),
            sockets: &self.sockets,
            mark: (MARK, &self.token),
        };
        let directory = self.inventory_directory(options)?;
        // A name that the site has not, and no plugin for inventories passes over.
        let file = directory.join(format!("drivetrain-{}.yml", self.token));
        fs::write(&file, inventory.text()).map_err(MachineError::file("write", &file))?;
        let variables = serde_json::json!(options.variables).to_string();
        fs::write(&self.variables, variables).map_err(MachineError::file("write", &self.variables))
    }

    /// The copy of the directory with the site's inventory, made where it has none.
    fn inventory_directory(&self, options: &KayobeOptions) -> Result<Utf8PathBuf> {
        let directory = self.checkout.join(options.inventory());
        if !directory.is_dir() {
            fs::create_dir_all(&directory).map_err(MachineError::file("make", &directory))?;
        }
        let real = |path: &Utf8Path| path.canonicalize_utf8().map_err(MachineError::file("read", path));
        // A link to elsewhere leads there from the copy too, where nothing is to be written.
        if real(&directory)?.starts_with(real(&self.checkout)?) {
            return Ok(directory);
        }
        Err(MachineError::Configuration {
            what: "builder.prepare.kayobe.configuration".to_owned(),
            why: format!("{} is a link out of it", options.configuration.join(options.inventory())),
            next: "let the inventory be a directory, with links in it".to_owned(),
        })
    }

    /// The file that vouches for the machine's key, where drivetrain knows it by itself.
    fn known_hosts(&self, ssh: &SshOptions) -> Result<Option<Utf8PathBuf>> {
        let Some(key) = &ssh.host_key else { return Ok(None) };
        let path = self.temporary.join("known_hosts");
        fs::write(&path, format!("* {}\n", key.trim())).map_err(MachineError::file("write", &path))?;
        Ok(Some(path))
    }
}

/// A directory for sockets: below this one, which is removed whatever happens, unless that makes their names too long.
fn sockets(scratch: &Utf8Path) -> Result<(Utf8PathBuf, Option<tempfile::TempDir>)> {
    let beside = scratch.join("s");
    if beside.as_str().len() <= LONGEST_SOCKETS {
        configuration::private_directory(&beside)?;
        return Ok((beside, None));
    }
    let elsewhere = tempfile::Builder::new().prefix("drivetrain-kayobe-").tempdir_in("/tmp");
    let elsewhere = elsewhere.map_err(MachineError::file("make a directory in", "/tmp"))?;
    let path = Utf8PathBuf::from_path_buf(elsewhere.path().to_owned()).map_err(|path| {
        MachineError::file("use", path.display())(std::io::Error::other("its name is not UTF-8"))
    })?;
    Ok((path, Some(elsewhere)))
}

/// Who one is on the machine, where the user's configuration of ssh says it.
async fn user_of(machine: &dyn Machine, cancel: &CancellationToken) -> Result<String> {
    let mut script = Script::new("id -un");
    script.deadline = Some(Duration::from_secs(60));
    let mut name = String::new();
    let mut sink = |line: &str| line.trim().clone_into(&mut name);
    machine.run(&script, &mut sink, cancel).await?;
    if cancel.is_cancelled() { Err(MachineError::Cancelled) } else { Ok(name) }
}

struct Run<'a> {
    options: &'a KayobeOptions,
    work: &'a Configuring<'a>,
    program: Utf8PathBuf,
    password: Option<Secret>,
    place: Place,
}

impl Run<'_> {
    async fn step(&self, step: &Step) -> Result<()> {
        let started = Instant::now();
        let tell = |why: String| (self.work.tell)(Progress::ToDo { step: step.name.clone(), why });
        (self.work.tell)(Progress::Begins { step: step.name.clone() });
        tell("it begins".to_owned());
        let arguments = self.arguments(step);
        let mut output = Output::open(self.work.log, self.password.as_ref(), &self.options.host)?;
        output.note(&format!("$ {} {}", self.program, arguments.join(" ")))?;
        let mut child = Child::start(&self.program, &arguments, &self.variables(), &self.place.checkout)?;
        let marks = [format!("{MARK}={}", self.place.token), self.place.sockets.to_string()];
        let mut take = |line: &str| -> Result<()> {
            if let Some(doing) = output.take(line)? {
                tell(doing);
            }
            Ok(())
        };
        let ended = child.follow(&mut take, self.options.deadline, self.work.cancel).await;
        child.end(&marks).await;
        if !matches!(ended, Ok(End::Exited(_))) {
            self.end_there().await;
        }
        match ended? {
            End::Exited(Some(0)) => {
                let (because, changed) = output.success();
                let took = started.elapsed();
                (self.work.tell)(Progress::Done { step: step.name.clone(), because, changed, took });
                Ok(())
            }
            End::Exited(code) => Err(self.failed(step, self.seen_from_the_site(&output.failure(code)))),
            End::Cancelled => Err(MachineError::Cancelled),
            End::TimedOut => {
                let minutes = self.options.deadline.as_secs().div_ceil(60);
                Err(self.failed(
                    step,
                    format!(
                        "it took longer than {minutes} min, and was ended in: {}; \
                         builder.prepare.kayobe.deadline gives it more",
                        output.doing()
                    ),
                ))
            }
        }
    }

    fn arguments(&self, step: &Step) -> Vec<String> {
        let mut arguments = step.arguments.clone();
        arguments.extend(["--limit".to_owned(), self.options.host.clone()]);
        if !self.options.variables.is_empty() {
            arguments.extend(["-e".to_owned(), format!("@{}", self.place.variables)]);
        }
        arguments
            .extend(step.playbook.as_ref().map(|playbook| self.place.checkout.join(playbook).to_string()));
        arguments
    }

    /// What kayobe's environment has beside ours; nothing, for what it must not have.
    fn variables(&self) -> Vec<(&'static str, Option<String>)> {
        let etc = self.place.checkout.join(ETC);
        let fixed = |text: &str| Some(text.to_owned());
        vec![
            ("KAYOBE_CONFIG_PATH", Some(etc.to_string())),
            ("KAYOBE_ENVIRONMENT", self.options.environment.clone()),
            ("KOLLA_CONFIG_PATH", Some(self.place.checkout.join("etc/kolla").to_string())),
            ("KAYOBE_VAULT_PASSWORD", self.password.as_ref().map(|secret| secret.expose().to_owned())),
            ("ANSIBLE_VAULT_PASSWORD_FILE", None),
            // Output that can be read, whatever the site's ansible.cfg prefers.
            ("ANSIBLE_STDOUT_CALLBACK", fixed("ansible.builtin.default")),
            ("ANSIBLE_CALLBACK_RESULT_FORMAT", fixed("json")),
            ("ANSIBLE_CALLBACK_FORMAT_PRETTY", fixed("false")),
            ("ANSIBLE_DISPLAY_FAILED_STDERR", fixed("false")),
            ("ANSIBLE_SHOW_TASK_PATH_ON_FAILURE", fixed("true")),
            ("ANSIBLE_NOCOLOR", fixed("1")),
            ("ANSIBLE_FORCE_COLOR", fixed("0")),
            ("PYTHONUNBUFFERED", fixed("1")),
            ("ANSIBLE_HOST_KEY_CHECKING", fixed("true")),
            ("ANSIBLE_RETRY_FILES_ENABLED", fixed("false")),
            ("ANSIBLE_LOCAL_TEMP", Some(self.place.temporary.to_string())),
            // Nothing can be asked.
            ("SSH_ASKPASS_REQUIRE", fixed("never")),
            (MARK, Some(self.place.token.clone())),
        ]
    }

    /// Ends what the last task still does on the machine: the end of a connection ends nothing there. It is found where
    /// the machine's sshd takes over variables of locales, as it is usually configured to do.
    async fn end_there(&self) {
        let mut script = Script::new(include_str!("end.sh"));
        script.environment.insert("MARK".to_owned(), format!("{MARK}={}", self.place.token));
        script.deadline = Some(Duration::from_secs(20));
        // The run ends with what it was ended for, whether this can be done or not.
        let mut sink = |_: &str| {};
        drop(self.work.machine.run(&script, &mut sink, &CancellationToken::new()).await);
    }

    /// A message with the site's own paths in place of the copy's.
    fn seen_from_the_site(&self, text: &str) -> String {
        text.replace(self.place.checkout.as_str(), self.options.configuration.as_str())
    }

    fn failed(&self, step: &Step, why: String) -> MachineError {
        MachineError::Preparation {
            machine: self.work.machine.name().to_owned(),
            step: step.name.clone(),
            why,
            log: self.work.log.to_string(),
        }
    }
}

/// The names of directories in a directory, sorted.
fn names(directory: &Utf8Path) -> Vec<String> {
    let entries = directory.read_dir_utf8().into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name().to_owned()).collect();
    names.sort();
    names
}

fn in_words(environments: &[String]) -> String {
    if environments.is_empty() {
        "leave the key out: the configuration has no environments".to_owned()
    } else {
        format!("the environments there are {}", environments.join(", "))
    }
}
