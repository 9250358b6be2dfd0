//! Who we are to the server: a session where it has them, basic authentication where not.

use drivetrain_fetch::{Credentials, Secret};
use reqwest::header::{HeaderMap, SET_COOKIE};
use tokio::sync::Mutex;

/// The cookies of a session.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    id: Secret,
    csrf: Secret,
}

impl Session {
    /// The session that the answer to a login brings.
    pub(crate) fn from_cookies(headers: &HeaderMap) -> Option<Self> {
        let cookie = |name: &str| {
            headers.get_all(SET_COOKIE).iter().find_map(|value| {
                let (pair, _) = value.to_str().ok()?.split_once(';')?;
                let (key, value) = pair.split_once('=')?;
                (key.trim() == name && is_cookie_value(value)).then(|| Secret::new(value))
            })
        };
        Some(Self { id: cookie("sessionid")?, csrf: cookie("csrftoken")? })
    }

    /// The header that sends the cookies.
    pub(crate) fn cookie(&self) -> Secret {
        Secret::new(format!("sessionid={}; csrftoken={}", self.id.expose(), self.csrf.expose()))
    }

    /// What goes with everything that changes something.
    pub(crate) fn csrf(&self) -> &Secret {
        &self.csrf
    }
}

/// RFC 6265, section 4.1.1: what may be in a cookie's value, so that it can go into a header as it is.
fn is_cookie_value(value: &str) -> bool {
    (1..=512).contains(&value.len())
        && value
            .bytes()
            .all(|byte| matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e))
}

/// How requests are authenticated now.
#[derive(Debug, Clone)]
pub(crate) enum Identity {
    /// Not at all.
    Anonymous,
    /// With the credentials, in every request.
    Basic(Credentials),
    /// With a session. The number tells it from earlier ones.
    Session(Session, u64),
}

/// The identity, made when first needed and again when it has expired.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) credentials: Option<Credentials>,
    pub(crate) state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) identity: Option<Identity>,
    pub(crate) logins: u64,
}

impl Login {
    pub(crate) fn new(credentials: Option<Credentials>) -> Self {
        Self { credentials, state: Mutex::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn headers(cookies: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(SET_COOKIE, HeaderValue::from_static(cookie));
        }
        headers
    }

    #[test]
    fn a_session_is_two_cookies() {
        let session = Session::from_cookies(&headers(&[
            "csrftoken=abc; expires=Tue, 01 Dec 2026 10:00:00 GMT; Path=/; SameSite=Lax",
            "sessionid=xyz; HttpOnly; Path=/",
        ]))
        .expect("a session");
        assert_eq!(session.cookie().expose(), "sessionid=xyz; csrftoken=abc");
        assert_eq!(session.csrf().expose(), "abc");
        assert!(!format!("{session:?}").contains("xyz"));
    }

    #[test]
    fn what_is_no_cookie_is_not_sent() {
        assert!(Session::from_cookies(&headers(&["sessionid=xyz; Path=/"])).is_none());
        assert!(
            Session::from_cookies(&headers(&["csrftoken=a b; Path=/", "sessionid=xyz; Path=/"])).is_none()
        );
    }
}
