//! A value that must not be seen.

use std::fmt;

use serde::{Serialize, Serializer};

/// A credential. Its text leaves this type through [`Secret::expose`] and in no other way: `Debug` and
/// `Serialize` show where it came from, or nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    value: String,
    variable: Option<String>,
}

impl Secret {
    /// A secret that was given directly.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self { value: value.into(), variable: None }
    }

    /// A secret that was read from this environment variable.
    #[must_use]
    pub fn from_variable(value: impl Into<String>, variable: impl Into<String>) -> Self {
        Self { value: value.into(), variable: Some(variable.into()) }
    }

    /// The secret itself, for the one place that has to send it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.value
    }

    /// The environment variable that it was read from.
    #[must_use]
    pub fn variable(&self) -> Option<&str> {
        self.variable.as_deref()
    }

    /// What may be shown in its place.
    #[must_use]
    pub fn redacted(&self) -> String {
        self.variable.as_ref().map_or_else(|| "[hidden]".to_owned(), |variable| format!("${{{variable}}}"))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.redacted())
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.redacted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        for secret in [Secret::new("hunter2"), Secret::from_variable("hunter2", "ARK_PASSWORD")] {
            assert!(!format!("{secret:?}").contains("hunter2"));
            assert!(!serde_json::to_string(&secret).unwrap().contains("hunter2"));
            assert_eq!(secret.expose(), "hunter2");
        }
    }
}
