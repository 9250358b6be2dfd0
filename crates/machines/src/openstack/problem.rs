//! What OpenStack's answers mean.

use serde_json::Value;

use crate::MachineError;

/// How much of an answer is shown.
const SHOWN: usize = 400;

/// What went wrong with one request.
#[derive(Debug)]
pub(super) struct Failed {
    /// What was asked for, as the end of "failed at: ".
    pub(super) doing: String,
    pub(super) fault: Fault,
}

/// How it went wrong.
#[derive(Debug)]
pub(super) enum Fault {
    /// An answer that is no success.
    Answer {
        status: u16,
        said: String,
        /// What operators find it by in their logs.
        request: Option<String>,
    },
    /// No answer. `arrived` is whether the request may have got there.
    Unreachable { what: String, arrived: bool },
    /// Nobody who can be trusted.
    Tls(String),
    /// An answer that makes no sense.
    Nonsense(String),
    /// Keystone does not take who we say we are.
    Login(String),
    /// The catalogue does not have the service.
    NoService(String),
}

pub(super) type Result<T, E = Failed> = std::result::Result<T, E>;

impl Failed {
    pub(super) fn status(&self) -> Option<u16> {
        match &self.fault {
            Fault::Answer { status, .. } => Some(*status),
            _ => None,
        }
    }

    fn said(&self) -> &str {
        match &self.fault {
            Fault::Answer { said, .. } => said,
            _ => "",
        }
    }

    /// It is not there (any more).
    pub(super) fn is_absent(&self) -> bool {
        matches!(self.status(), Some(404 | 410))
    }

    /// It may be better a little later, and nothing that is not repeatable has happened.
    pub(super) fn is_passing(&self) -> bool {
        match &self.fault {
            Fault::Answer { status, .. } => matches!(status, 408 | 429 | 500..=599),
            Fault::Unreachable { .. } => true,
            _ => false,
        }
    }

    /// The server may have done what it was asked for, although it did not say so.
    pub(super) fn may_be_done(&self) -> bool {
        match &self.fault {
            Fault::Answer { status, .. } => matches!(status, 408 | 500..=599),
            Fault::Unreachable { arrived, .. } => *arrived,
            Fault::Nonsense(_) => true,
            _ => false,
        }
    }

    fn is_quota(&self) -> bool {
        let said = self.said().to_lowercase();
        matches!(self.status(), Some(403 | 409 | 413))
            && ["quota", "overlimit"].iter().any(|word| said.contains(word))
    }

    /// Why, in words.
    pub(super) fn why(&self) -> String {
        match &self.fault {
            Fault::Answer { status, said, request } => {
                let request = request.as_ref().map(|id| format!("; {id}")).unwrap_or_default();
                format!("{status} {said}{request}")
            }
            Fault::Unreachable { what, .. } => what.clone(),
            Fault::Tls(what) => format!("it cannot be trusted: {what}"),
            Fault::Nonsense(what) => format!("its answer makes no sense: {what}"),
            Fault::Login(said) => format!("Keystone does not take our credentials: {said}"),
            Fault::NoService(what) => what.clone(),
        }
    }

    /// As everybody else sees it.
    pub(super) fn of(self, provider: &str) -> MachineError {
        let provider = provider.to_owned();
        let why = self.why();
        match &self.fault {
            Fault::Login(_) => MachineError::Refused {
                provider,
                why,
                next: "look at the credentials: has the password changed, or the application credential expired?"
                    .to_owned(),
            },
            Fault::NoService(_) => MachineError::Configuration {
                what: provider,
                why,
                next: "look at the region and the interface in clouds.yaml".to_owned(),
            },
            Fault::Tls(_) => MachineError::Configuration {
                what: provider,
                why,
                next: "give the cloud's certificate authority as cacert in clouds.yaml".to_owned(),
            },
            Fault::Answer { .. } if self.is_quota() => MachineError::NoRoom {
                provider,
                why: format!("{}: {why}", self.doing),
                next: "remove what is not needed (`drivetrain gc`), or ask for a larger quota".to_owned(),
            },
            Fault::Answer { status: 403, .. } => MachineError::Refused {
                provider,
                why: format!("{}: {why}", self.doing),
                next: "the user's role does not allow it: ask for the role `member` in the project".to_owned(),
            },
            Fault::Answer { status: 406, .. } => MachineError::Configuration {
                what: provider,
                why: format!("its Nova does not know the microversion {} ({why})", super::client::MICROVERSION),
                next: "OpenStack Pike (2017) or newer is needed".to_owned(),
            },
            _ => MachineError::Provider { provider, doing: self.doing, why },
        }
    }
}

/// The words for people in an answer.
pub(super) fn said(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(value) => message(&value).unwrap_or_else(|| value.to_string()),
        Err(_) => without_tags(&String::from_utf8_lossy(body)),
    };
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        None => line,
        Some((end, _)) => format!("{}…", &line[..end]),
    }
}

/// The first `message`, however deep: each service has its own envelope.
fn message(value: &Value) -> Option<String> {
    let object = value.as_object()?;
    let own = object.get("message").or_else(|| object.get("faultstring")).and_then(Value::as_str);
    let own =
        own.filter(|text| !text.is_empty()).map(|text| match object.get("type").and_then(Value::as_str) {
            // Neutron's word for its kind tells more than some of its messages.
            Some(kind) => format!("{text} ({kind})"),
            None => text.to_owned(),
        });
    own.or_else(|| object.values().find_map(message))
}

fn without_tags(text: &str) -> String {
    let (mut out, mut within) = (String::new(), false);
    for c in text.chars() {
        match c {
            '<' => within = true,
            '>' => {
                within = false;
                out.push(' ');
            }
            c if !within => out.push(c),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Failed {
        let fault = Fault::Answer { status, said: said(body.as_bytes()), request: Some("req-1".to_owned()) };
        Failed { doing: "make the server".to_owned(), fault }
    }

    #[test]
    fn each_services_envelope_is_opened() {
        let nova = r#"{"forbidden": {"code": 403, "message": "Quota exceeded for cores: Requested 4, but already used 18 of 20 cores"}}"#;
        let neutron = r#"{"NeutronError": {"type": "OverQuota", "message": "Quota exceeded for resources: ['port'].", "detail": ""}}"#;
        let keystone = r#"{"error": {"code": 401, "message": "The request you have made requires authentication.", "title": "Unauthorized"}}"#;
        let html = "<html><head><title>404 Not Found</title></head>\n<body><h1>404 Not Found</h1> No image</body></html>";
        insta::assert_snapshot!(
            [nova, neutron, keystone, html, ""].map(|body| said(body.as_bytes())).join("\n"),
            @r"
        Quota exceeded for cores: Requested 4, but already used 18 of 20 cores
        Quota exceeded for resources: ['port']. (OverQuota)
        The request you have made requires authentication.
        404 Not Found 404 Not Found No image
        "
        );
        assert!(matches!(answer(403, nova).of("cloud"), MachineError::NoRoom { .. }));
        assert!(matches!(answer(409, neutron).of("cloud"), MachineError::NoRoom { .. }));
        assert!(matches!(answer(403, keystone).of("cloud"), MachineError::Refused { .. }));
        assert!(matches!(answer(404, html).of("cloud"), MachineError::Provider { .. }));
        assert_eq!(said("ä".repeat(1000).as_bytes()).chars().count(), SHOWN + 1);
    }

    #[test]
    fn what_may_have_been_done_is_told_from_what_has_not() {
        assert!(answer(504, "").may_be_done() && answer(504, "").is_passing());
        assert!(!answer(429, "").may_be_done() && answer(429, "").is_passing());
        assert!(!answer(409, "").is_passing());
    }
}
