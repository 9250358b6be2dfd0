//! A range of versions: `>= 25.07, < 25.12`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Comparison, Constraint, Evr};

/// Comparisons that a version has to meet, all of them; none are met by every version.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VersionRange(Vec<Constraint>);

/// A text that is no range of versions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no comparison with a version, such as `>= 25.07`: several are written with commas between them"
)]
pub struct VersionRangeError(String);

impl VersionRange {
    /// Reads comparisons with commas between them.
    ///
    /// # Errors
    /// Where a part is no comparison.
    pub fn parse(text: &str) -> Result<Self, VersionRangeError> {
        text.split(',').map(|part| comparison(part.trim())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a version is in the range. As in a spec file's dependency, a comparison without a release leaves releases
    /// out.
    #[must_use]
    pub fn contains(&self, evr: &Evr) -> bool {
        self.0.iter().all(|constraint| {
            let ordering = evr.compare_as_dependency(&constraint.evr);
            match constraint.comparison {
                Comparison::Less => ordering.is_lt(),
                Comparison::LessOrEqual => ordering.is_le(),
                Comparison::Equal => ordering.is_eq(),
                Comparison::GreaterOrEqual => ordering.is_ge(),
                Comparison::Greater => ordering.is_gt(),
            }
        })
    }
}

fn comparison(text: &str) -> Result<Constraint, VersionRangeError> {
    let refused = || VersionRangeError(text.chars().take(80).collect());
    let signs = text.len() - text.trim_start_matches(['<', '>', '=']).len();
    let (sign, version) = text.split_at(signs);
    let version = version.trim();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._+~^:-".contains(c);
    if version.is_empty() || !version.chars().all(allowed) {
        return Err(refused());
    }
    let comparison = Comparison::from_sign(sign).ok_or_else(refused)?;
    Ok(Constraint { comparison, evr: Evr::parse(version) })
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, constraint) in self.0.iter().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            write!(f, "{comma}{} {}", constraint.comparison.sign(), constraint.evr)?;
        }
        Ok(())
    }
}

impl TryFrom<String> for VersionRange {
    type Error = VersionRangeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<VersionRange> for String {
    fn from(range: VersionRange) -> Self {
        range.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn contains(range: &str, version: &str) -> bool {
        VersionRange::parse(range).unwrap().contains(&Evr::parse(version))
    }

    #[test]
    fn a_version_is_in_a_range_where_it_meets_all_of_it() {
        assert!(contains(">= 25.07, < 25.12", "25.10-OFED.25.10.1.0.0.1"));
        assert!(
            contains(">=25.10", "25.10-1")
                && contains("= 25.10", "25.10-9")
                && !contains("> 25.10", "25.10-9")
        );
        assert!(!contains(">= 25.07, < 25.10", "25.10-1") && !contains("< 25.07", "25.7-1"));
        assert!(contains("= 25.10-1", "25.10-1") && !contains("= 25.10-1", "25.10-2"));
    }

    #[test]
    fn what_is_no_comparison_is_refused() {
        for text in ["", "25.07", ">=", ">= 1,", "!= 2", ">= 1 < 2", "=<>1", ">= a/b"] {
            assert!(VersionRange::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_and_back_is_the_same_range(text in "(<|<=|=|>=|>) ?[0-9]{1,2}(\\.[0-9]{1,2}){0,2}(, ?(<|>=)[0-9]{1,2}){0,2}") {
            let range = VersionRange::parse(&text).unwrap();
            prop_assert_eq!(VersionRange::parse(&range.to_string()).unwrap(), range);
        }
    }
}
