//! What can go wrong between here and the server.

use std::fmt;
use std::time::Duration;

use drivetrain_model::Sha256Digest;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, PulpError>;

/// What a user has to be allowed to do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// The permission, by Pulp's name for it.
    pub permission: &'static str,
    /// A role that has it, of those that every server has.
    pub role: &'static str,
}

/// What is being done, for errors: `create the repository doca`, and what that takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doing(Box<Inner>);

/// Apart, so that every error need not be as large as this.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    words: String,
    need: Option<Need>,
}

impl Doing {
    /// In words that go on from "cannot".
    #[must_use]
    pub fn new(words: impl Into<String>) -> Self {
        Self(Box::new(Inner { words: words.into(), need: None }))
    }

    /// What a user has to be allowed for it.
    #[must_use]
    pub fn needs(mut self, permission: &'static str, role: &'static str) -> Self {
        self.0.need = Some(Need { permission, role });
        self
    }

    pub(crate) fn need(&self) -> Option<Need> {
        self.0.need
    }
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.words)
    }
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PulpError {
    /// The client cannot be made.
    #[error("no connection to {server} can be prepared: {what}")]
    Client {
        /// The server.
        server: String,
        /// Why.
        what: String,
    },
    /// The server cannot be reached, or the connection broke.
    #[error("cannot {doing}: {url} {what}")]
    Unreachable {
        /// What was tried.
        doing: Doing,
        /// The URL.
        url: String,
        /// What happened.
        what: String,
    },
    /// There is no trust between here and the server, or no common TLS version.
    #[error("cannot {doing}: no secure connection to {url} ({what}); {}", tls_advice(.what))]
    Tls {
        /// What was tried.
        doing: Doing,
        /// The URL.
        url: String,
        /// What the TLS library said.
        what: String,
    },
    /// The server does not know who is asking.
    #[error("cannot {doing}: {server} {}", if *.sent { "refuses the user name or the password" } else { "wants a user name and a password, and none are configured" })]
    Credentials {
        /// What was tried.
        doing: Doing,
        /// The server.
        server: String,
        /// Whether any were sent.
        sent: bool,
    },
    /// The user may not do it.
    #[error("cannot {doing}: the server says {said:?}{}", need_in_words(.doing))]
    Forbidden {
        /// What was tried.
        doing: Doing,
        /// What it said.
        said: String,
    },
    /// It is not there, or may not be seen by this user.
    #[error("cannot {doing}: the server has no such object, or this user may not see it ({url})")]
    NotFound {
        /// What was tried.
        doing: Doing,
        /// The URL.
        url: String,
    },
    /// The server refuses what was sent.
    #[error("cannot {doing}: the server answers {status}: {said}")]
    Refused {
        /// What was tried.
        doing: Doing,
        /// The HTTP status.
        status: u16,
        /// What it said.
        said: String,
    },
    /// The server is not well.
    #[error("cannot {doing}: the server answers {status} after {tries} tries: {said}")]
    Broken {
        /// What was tried.
        doing: Doing,
        /// The HTTP status.
        status: u16,
        /// How often it was tried.
        tries: u32,
        /// What it said, as far as it is text.
        said: String,
    },
    /// The answer is not what this version of Pulp would say.
    #[error("cannot {doing}: the answer of {url} is not understood: {what}")]
    Answer {
        /// What was tried.
        doing: Doing,
        /// The URL.
        url: String,
        /// What is wrong with it.
        what: String,
    },
    /// A task failed.
    #[error("cannot {doing}: the server's task {task} {said}")]
    Task {
        /// What was tried.
        doing: Doing,
        /// The task.
        task: String,
        /// How it ended, with the server's own words.
        said: String,
    },
    /// A task was never begun though there are workers, or its worker was killed: sent again it may do.
    #[error("cannot {doing}: the server's task {task} {said}")]
    TaskLost {
        /// What was tried.
        doing: Doing,
        /// The task.
        task: String,
        /// What became of it.
        said: String,
    },
    /// A task took too long.
    #[error(
        "cannot {doing}: the server's task {task} is still {state} after {waited:?}; {workers} workers are online"
    )]
    TaskSlow {
        /// What was tried.
        doing: Doing,
        /// The task.
        task: String,
        /// Its state.
        state: String,
        /// How long was waited.
        waited: Duration,
        /// How many workers there are.
        workers: usize,
    },
    /// The server has other bytes than were sent.
    #[error("the server took {file} for other bytes: it has sha256 {got}, sent was {sent}")]
    Checksum {
        /// The file.
        file: String,
        /// What it has.
        got: String,
        /// What was sent.
        sent: Sha256Digest,
    },
    /// A file here cannot be read.
    #[error("{file} cannot be read")]
    File {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// The server lacks something that is needed.
    #[error("{server} {what}")]
    Server {
        /// The server.
        server: String,
        /// What it lacks, and what to do.
        what: String,
    },
}

impl PulpError {
    /// Whether the same may succeed later, or have succeeded already: the connection broke, or the server is not
    /// well.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Broken { .. } | Self::TaskLost { .. })
    }

    /// Whether the server found a fault in what was sent; with its own words.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Self::Refused { said, .. } => Some(said),
            Self::Task { said, .. } => Some(said),
            _ => None,
        }
    }

    /// The status of an answer that was an error.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } | Self::Broken { status, .. } => Some(*status),
            Self::NotFound { .. } => Some(404),
            Self::Forbidden { .. } => Some(403),
            Self::Credentials { .. } => Some(401),
            _ => None,
        }
    }
}

fn tls_advice(what: &str) -> &'static str {
    let what = what.to_ascii_lowercase().replace(' ', "");
    if what.contains("unknownissuer") {
        "its certificate authority is not known here: name the authority's PEM file as publish.pulp.ca"
    } else if what.contains("expired") || what.contains("notvalidyet") {
        "check the clock of this machine, and the certificate's dates"
    } else if what.contains("notvalidforname") {
        "the certificate is for another host: check the URL"
    } else {
        "check that the port speaks TLS, and the server's certificate"
    }
}

fn need_in_words(doing: &Doing) -> String {
    doing.need().map_or_else(String::new, |need| {
        format!(
            ". It takes the permission {} on it, which the role {} has: `pulp user role-assignment add --username \
             NAME --role {} --object ''` gives it everywhere",
            need.permission, need.role, need.role
        )
    })
}

/// What is worth reading of an answer that is an error: JSON as it is, of HTML the text, not too much of either.
pub(crate) fn said(body: &[u8], html: bool) -> String {
    const LONGEST: usize = 2000;
    let text = String::from_utf8_lossy(&body[..body.len().min(64 * 1024)]);
    let text = if html { without_tags(&text) } else { detail(&text).unwrap_or_else(|| text.into_owned()) };
    let words: Vec<&str> = text.split_whitespace().collect();
    let line: String = words.join(" ").chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    if line.is_empty() { "nothing".to_owned() } else { line }
}

/// `{"detail": "…"}` is how Django says what is the matter in one sentence.
fn detail(text: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let object = value.as_object()?;
    match (object.len(), object.get("detail")) {
        (1, Some(serde_json::Value::String(detail))) => Some(detail.clone()),
        _ => None,
    }
}

fn without_tags(text: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in text.chars() {
        match c {
            '<' => inside = true,
            '>' => {
                inside = false;
                out.push(' ');
            }
            _ if !inside => out.push(c),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_said_is_readable() {
        assert_eq!(said(br#"{"detail":"Not found."}"#, false), "Not found.");
        assert_eq!(
            said(br#"{"name":["This field must be unique."]}"#, false),
            r#"{"name":["This field must be unique."]}"#
        );
        let html = b"<!doctype html>\n<html><head><title>Server Error (500)</title></head><body>\n <h1>Server Error (500)</h1></body></html>";
        assert_eq!(said(html, true), "Server Error (500) Server Error (500)");
        assert_eq!(said(b"", false), "nothing");
        assert_eq!(said("\u{1b}[31mred".as_bytes(), false), "[31mred");
        assert!(said(&vec![b'x'; 1_000_000], false).len() <= 2000);
    }

    #[test]
    fn what_a_person_sees() {
        let doing = || {
            Doing::new("create the repository doca")
                .needs("rpm.add_rpmrepository", "rpm.rpmrepository_creator")
        };
        let errors = [
            PulpError::Credentials {
                doing: doing(),
                server: "https://ark.example.org".to_owned(),
                sent: true,
            },
            PulpError::Credentials {
                doing: doing(),
                server: "https://ark.example.org".to_owned(),
                sent: false,
            },
            PulpError::Forbidden {
                doing: doing(),
                said: "You do not have permission to perform this action.".to_owned(),
            },
            PulpError::Broken {
                doing: doing(),
                status: 500,
                tries: 3,
                said: "Server Error (500)".to_owned(),
            },
            PulpError::TaskSlow {
                doing: doing(),
                task: "/pulp/api/v3/tasks/1/".to_owned(),
                state: "waiting".to_owned(),
                waited: Duration::from_secs(60),
                workers: 0,
            },
        ];
        let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(text.join("\n"));
    }
}
