//! What must not be seen: passwords, and the user names that go with them.

use std::fmt;

/// A secret as the configuration resolved it. Its text leaves this type through [`Secret::expose`] and in
/// no other way.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text as a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that has to send it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([hidden])")
    }
}

/// A user and password for HTTP basic authentication.
///
/// Where tokens are used as user names, the user is as secret as the password: both are hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub user: Secret,
    /// The password.
    pub password: Secret,
}

impl Credentials {
    /// Credentials from a user and a password.
    #[must_use]
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: Secret::new(user), password: Secret::new(password) }
    }
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_a_secret() {
        let credentials = Credentials::new("token-1234", "hunter2");
        let shown = format!("{credentials} {credentials:?} {credentials:#?} {:?}", credentials.password);
        assert!(!shown.contains("hunter2") && !shown.contains("token-1234"), "{shown}");
    }
}
