//! The name of a channel.

use std::fmt;
use std::str::FromStr;

use drivetrain_model::{NameError, TrainName};
use serde::Serialize;

/// One of the stages that a version goes through on its way to all machines: `development`, `release`. A path
/// segment by the same rules as a train's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ChannelName(String);

impl ChannelName {
    /// Checks the text and takes it as a channel's name.
    ///
    /// # Errors
    /// With what a name cannot have.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        TrainName::parse(text).map(|name| Self(name.into())).map_err(of_a_channel)
    }

    /// The name as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The rule is the train's, the message is not.
fn of_a_channel(error: NameError) -> NameError {
    let kind = "channel name";
    match error {
        NameError::Empty { .. } => NameError::Empty { kind },
        NameError::TooLong { length, .. } => NameError::TooLong { kind, length },
        NameError::Character { text, character, position, .. } => {
            NameError::Character { kind, text, character, position }
        }
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for ChannelName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_one_path_segment() {
        for text in ["development", "release", "2026.11"] {
            assert_eq!(ChannelName::parse(text).unwrap().as_str(), text);
        }
        for text in ["", "..", "a/b", "-rf", ".hidden", "a b", "{kernel}"] {
            assert!(text.parse::<ChannelName>().is_err(), "{text:?} was accepted");
        }
        assert_eq!(
            ChannelName::parse("re lease").unwrap_err().to_string(),
            "channel name \"re lease\" has ' ' at byte 2, which a channel name cannot have there"
        );
    }
}
