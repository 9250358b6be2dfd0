//! What kayobe and Ansible print: kept in the log, and read for what is being done and for what failed.

use std::io::Write as _;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_fetch::Secret;
use fs_err as fs;
use serde_json::Value;

use crate::{MachineError, Result};

/// A log that says more than this is cut.
const MOST_LOG: u64 = 512 << 20;
/// How many lines of what else was said go into an error.
const LAST_LINES: usize = 12;
/// How much of a message goes into an error.
const MOST_MESSAGE: usize = 2000;
/// A password that is shorter is found in too many words.
const SHORTEST: usize = 4;

/// A task that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Failure {
    task: String,
    /// File and line.
    path: Option<String>,
    /// `failed`, or that the machine could not be reached.
    how: &'static str,
    message: String,
}

/// The output of one command.
pub(super) struct Output<'a> {
    log: fs::File,
    path: Utf8PathBuf,
    written: u64,
    password: Option<&'a str>,
    host: &'a str,
    task: String,
    task_path: Option<String>,
    failure: Option<Failure>,
    /// The last error that no task told, from its first line on.
    error: Vec<String>,
    last: Vec<String>,
    /// What the recaps count.
    ok: u32,
    changed: u32,
}

impl<'a> Output<'a> {
    pub(super) fn open(log: &Utf8Path, password: Option<&'a Secret>, host: &'a str) -> Result<Self> {
        let file = fs::OpenOptions::new().create(true).append(true).open(log);
        Ok(Self {
            log: file.map_err(MachineError::file("write", log))?,
            path: log.to_owned(),
            written: 0,
            password: password.map(Secret::expose).filter(|text| text.len() >= SHORTEST),
            host,
            task: String::new(),
            task_path: None,
            failure: None,
            error: Vec::new(),
            last: Vec::new(),
            ok: 0,
            changed: 0,
        })
    }

    /// Writes a line of ours into the log.
    pub(super) fn note(&mut self, line: &str) -> Result<()> {
        if self.written > MOST_LOG {
            return Ok(());
        }
        self.written += line.len() as u64 + 1;
        let mut text = format!("{line}\n");
        if self.written > MOST_LOG {
            text.push_str("[drivetrain: the log is cut here]\n");
        }
        self.log.write_all(text.as_bytes()).map_err(MachineError::file("write", &self.path))
    }

    /// Takes a line; what is being done, where that is said.
    pub(super) fn take(&mut self, line: &str) -> Result<Option<String>> {
        let hidden;
        let line = match self.password {
            Some(password) if line.contains(password) => {
                hidden = line.replace(password, "[hidden]");
                &hidden
            }
            _ => line,
        };
        self.note(line)?;
        Ok(self.read(line))
    }

    fn read(&mut self, line: &str) -> Option<String> {
        if let Some(task) = banner(line, "TASK [").or_else(|| banner(line, "RUNNING HANDLER [")) {
            task.clone_into(&mut self.task);
            self.task_path = None;
            return Some(self.task.clone());
        }
        if line.starts_with("PLAY [") || line.starts_with("PLAY RECAP") {
            self.task_path = None;
            return None;
        }
        if let Some(path) = line.strip_prefix("task path: ") {
            self.task_path = Some(path.to_owned());
        } else if let Some((how, result)) = failed(line) {
            self.failure = Some(Failure {
                task: self.task.clone(),
                path: self.task_path.clone(),
                how,
                message: message(result),
            });
        } else if line == "...ignoring" {
            self.failure = None;
        } else if let Some((name, ok, changed)) = recap(line) {
            if name == self.host {
                self.ok += ok;
                self.changed += changed;
            }
        } else {
            self.remember(line);
        }
        None
    }

    fn remember(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        // The last words of kayobe name the playbook and the exit code: not what went wrong.
        if line.starts_with("Kayobe playbook(s) ") {
            return;
        }
        if line.starts_with("ERROR! ") || line.starts_with("[ERROR]: ") {
            self.error.clear();
            self.error.push(line.to_owned());
        } else if !self.error.is_empty() && self.error.len() < LAST_LINES {
            self.error.push(line.to_owned());
        }
        self.last.push(line.to_owned());
        let begin = self.last.len().saturating_sub(LAST_LINES);
        self.last.drain(..begin);
    }

    /// What is being done.
    pub(super) fn doing(&self) -> &str {
        if self.task.is_empty() { "its beginning" } else { &self.task }
    }

    /// How it ended well, and whether anything was changed.
    pub(super) fn success(&self) -> (String, bool) {
        let tasks = if self.ok == 1 { "task" } else { "tasks" };
        (format!("{} {tasks}, {} changed something", self.ok, self.changed), self.changed > 0)
    }

    /// Why it failed.
    pub(super) fn failure(&self, code: Option<i32>) -> String {
        let why = match (&self.failure, self.error.is_empty()) {
            (Some(failure), _) => failure.to_string(),
            (None, false) => self.error.join("\n  "),
            (None, true) => {
                let how = code.map_or("it was killed".to_owned(), |code| format!("it exited with {code}"));
                std::iter::once(how).chain(self.last.iter().cloned()).collect::<Vec<_>>().join("\n  ")
            }
        };
        match advice(&why) {
            Some(advice) => format!("{why}\n  {advice}"),
            None => why,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the task \"{}\"", self.task)?;
        if let Some(path) = &self.path {
            write!(f, " ({path})")?;
        }
        write!(f, " {}: {}", self.how, self.message)
    }
}

/// What stands in brackets behind this word.
fn banner<'l>(line: &'l str, word: &str) -> Option<&'l str> {
    line.strip_prefix(word)?.trim_end_matches('*').trim_end().strip_suffix(']')
}

/// How a task failed, and the result that it printed.
fn failed(line: &str) -> Option<(&'static str, &str)> {
    let rest = line.strip_prefix("fatal: [").or_else(|| line.strip_prefix("failed: ["))?;
    let (_, rest) = rest.split_once(']')?;
    let (how, result) = rest.split_once("=> ")?;
    let how = if how.contains("UNREACHABLE!") { "did not reach the machine" } else { "failed" };
    Some((how, result))
}

/// What a result says: the message, what it is made of, and what a command printed.
fn message(result: &str) -> String {
    let Ok(value) = serde_json::from_str::<Value>(result) else { return cut(result) };
    let text = |name: &str| value[name].as_str().map(str::trim).filter(|text| !text.is_empty());
    let mut said = vec![text("msg").unwrap_or("it did not say why").to_owned()];
    let failures = value["failures"].as_array().into_iter().flatten().filter_map(Value::as_str);
    said.extend(failures.take(LAST_LINES).map(str::to_owned));
    let lines = |name: &str| {
        let lines: Vec<&str> = text(name)?.lines().map(str::trim_end).filter(|line| is_said(line)).collect();
        (!lines.is_empty()).then_some(lines)
    };
    let output = ["stderr", "module_stderr", "stdout", "module_stdout"].into_iter().find_map(lines);
    let output = output.unwrap_or_default();
    said.extend(output.iter().skip(output.len().saturating_sub(LAST_LINES)).map(|line| (*line).to_owned()));
    cut(&said.join("\n  "))
}

/// Whether a line is the command's, and not what ssh says at the end of every connection.
fn is_said(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with("Shared connection to ")
}

fn cut(text: &str) -> String {
    if text.chars().count() <= MOST_MESSAGE {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(MOST_MESSAGE).collect();
    cut.push('…');
    cut
}

/// A host in a recap, and its figures: what was done, and what of it changed something.
fn recap(line: &str) -> Option<(&str, u32, u32)> {
    let (name, figures) = line.split_once(" : ")?;
    let figure = |name: &str| {
        let mut words = figures.split_whitespace();
        words.find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
    };
    Some((name.trim_end(), figure("ok")?, figure("changed")?))
}

/// What to do about what is often wrong.
fn advice(why: &str) -> Option<&'static str> {
    if why.contains("no vault secrets found") {
        return Some(
            "something in the configuration is encrypted: say builder.prepare.kayobe.vault_password",
        );
    }
    if why.contains("Decryption failed") || why.contains("no vault secrets were found that could decrypt") {
        return Some("the vault's password is another than builder.prepare.kayobe.vault_password");
    }
    let (_, role) = why.split_once("the role '")?;
    role.contains("was not found").then_some(
        "kayobe's own roles and collections are not complete: run `kayobe control host bootstrap` once, or \
         `kayobe control host upgrade`",
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn output(directory: &tempfile::TempDir) -> Output<'static> {
        let log = Utf8PathBuf::from_path_buf(directory.path().join("log")).unwrap();
        Output::open(&log, None, "builder").unwrap()
    }

    fn told(text: &str) -> (Vec<String>, String, (String, bool)) {
        let directory = tempfile::tempdir().unwrap();
        let mut output = output(&directory);
        let doing = text.lines().filter_map(|line| output.take(line).unwrap()).collect();
        assert_eq!(std::fs::read_to_string(directory.path().join("log")).unwrap(), format!("{text}\n"));
        (doing, output.failure(Some(2)), output.success())
    }

    #[test]
    fn a_failed_task_is_told_with_its_file_and_what_it_said() {
        let (doing, why, _) = told(
            "PLAY [seed] ***\n\nTASK [Say] ****\nok: [builder]\n\nTASK [own : Break it] *****\n\
             task path: /site/etc/kayobe/ansible/break.yml:7\n\
             fatal: [builder]: FAILED! => {\"changed\": true, \"msg\": \"non-zero return code\", \"stderr\": \"first\\nno room\", \"rc\": 1}\n\n\
             PLAY RECAP *****\nbuilder                    : ok=1    changed=0    unreachable=0    failed=1\n\n\
             Kayobe playbook(s) /site/etc/kayobe/ansible/break.yml exited 2",
        );
        assert_eq!(doing, ["Say", "own : Break it"]);
        assert_eq!(
            why,
            "the task \"own : Break it\" (/site/etc/kayobe/ansible/break.yml:7) failed: non-zero return code\n  first\n  no room"
        );
    }

    #[test]
    fn what_was_ignored_is_no_failure_and_recaps_are_added_up() {
        let (_, why, success) = told(
            "TASK [Try] ***\nfatal: [builder]: FAILED! => {\"msg\": \"no\"}\n...ignoring\n\
             PLAY RECAP ***\nbuilder : ok=3    changed=1    unreachable=0    failed=0\n\
             other : ok=100    changed=100    unreachable=0    failed=0\n\
             PLAY RECAP ***\nbuilder : ok=4    changed=0    unreachable=0    failed=0",
        );
        assert_eq!(success, ("7 tasks, 1 changed something".to_owned(), true));
        assert_eq!(why, "it exited with 2");
    }

    #[test]
    fn an_error_that_no_task_told_is_told_with_what_to_do() {
        let (_, why, _) = told(
            "[WARNING]: something else\nERROR! the role 'singleplatform-eng.users' was not found in /a:/b\n\n\
             The error appears to be in '/c.yml': line 86\n\
             Kayobe playbook(s) /c.yml exited 1",
        );
        assert!(why.starts_with("ERROR! the role 'singleplatform-eng.users' was not found"), "{why}");
        assert!(why.contains("line 86") && why.contains("kayobe control host bootstrap"), "{why}");
        assert!(!why.contains("exited") && !why.contains("WARNING"), "{why}");
    }

    #[test]
    fn a_machine_that_is_not_reached_is_told_as_that() {
        let (_, why, _) = told(
            "TASK [Say] ***\nfatal: [builder]: UNREACHABLE! => {\"changed\": false, \"msg\": \"Failed to connect\", \"unreachable\": true}",
        );
        assert_eq!(why, "the task \"Say\" did not reach the machine: Failed to connect");
    }

    #[test]
    fn the_password_is_in_no_log_and_no_error() {
        let directory = tempfile::tempdir().unwrap();
        let password = Secret::new("opens the vault");
        let log = Utf8PathBuf::from_path_buf(directory.path().join("log")).unwrap();
        let mut output = Output::open(&log, Some(&password), "builder").unwrap();
        let line = "fatal: [builder]: FAILED! => {\"msg\": \"it is opens the vault\"}";
        output.take(line).unwrap();
        assert!(output.failure(Some(1)).contains("it is [hidden]"));
        let text = std::fs::read_to_string(log).unwrap();
        assert!(!text.contains("opens the vault") && text.contains("[hidden]"), "{text}");
    }

    #[test]
    fn what_is_no_result_is_shown_as_it_is() {
        assert_eq!(message("half a {\"result"), "half a {\"result");
        assert_eq!(message("{}"), "it did not say why");
        let dnf =
            "{\"msg\": \"Failed to install\", \"failures\": [\"No package vim available.\"], \"rc\": 1}";
        assert_eq!(message(dnf), "Failed to install\n  No package vim available.");
        let shared = "{\"msg\": \"non-zero\", \"stderr\": \"Shared connection to a closed.\\r\\n\", \"stdout\": \"not found\\r\\n\"}";
        assert_eq!(message(shared), "non-zero\n  not found");
        assert_eq!(failed("fatal: nothing"), None);
        assert_eq!(recap("builder : ok=x"), None);
        assert_eq!(banner("TASK [a]b] ***", "TASK ["), Some("a]b"));
    }
}
