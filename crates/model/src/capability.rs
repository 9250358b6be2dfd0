//! What packages offer and ask for: `libfoo`, `kernel-uname-r = 5.14.0…`, `gcc >= 11`.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Evr;

/// How a constraint compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `=`
    Equal,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
}

impl Comparison {
    /// Reads the flags of YUM metadata: `LT`, `LE`, `EQ`, `GE`, `GT`.
    #[must_use]
    pub fn from_metadata(flags: &str) -> Option<Self> {
        Some(match flags {
            "LT" => Self::Less,
            "LE" => Self::LessOrEqual,
            "EQ" => Self::Equal,
            "GE" => Self::GreaterOrEqual,
            "GT" => Self::Greater,
            _ => return None,
        })
    }

    /// Reads a sign as spec files have it, the two that rpm takes the other way round included: `=<`, `=>`.
    #[must_use]
    pub fn from_sign(sign: &str) -> Option<Self> {
        Some(match sign {
            "<" => Self::Less,
            "<=" | "=<" => Self::LessOrEqual,
            "=" | "==" => Self::Equal,
            ">=" | "=>" => Self::GreaterOrEqual,
            ">" => Self::Greater,
            _ => return None,
        })
    }

    /// The sign as a spec file has it.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Equal => "=",
            Self::GreaterOrEqual => ">=",
            Self::Greater => ">",
        }
    }

    fn allows_less(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual)
    }

    fn allows_equal(self) -> bool {
        matches!(self, Self::LessOrEqual | Self::Equal | Self::GreaterOrEqual)
    }

    fn allows_greater(self) -> bool {
        matches!(self, Self::Greater | Self::GreaterOrEqual)
    }
}

/// A comparison with a version: the `>= 1.0` of `libfoo >= 1.0`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constraint {
    /// How to compare.
    pub comparison: Comparison,
    /// With what.
    pub evr: Evr,
}

/// One side of a dependency: a name, with a version or without.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    /// The name: a package, a library with its symbol version, a file path, `kernel-uname-r`.
    pub name: String,
    /// The version that goes with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint: Option<Constraint>,
}

impl Capability {
    /// A capability with no version.
    #[must_use]
    pub fn unversioned(name: impl Into<String>) -> Self {
        Self { name: name.into(), constraint: None }
    }

    /// A capability with a version.
    #[must_use]
    pub fn versioned(name: impl Into<String>, comparison: Comparison, evr: Evr) -> Self {
        Self { name: name.into(), constraint: Some(Constraint { comparison, evr }) }
    }

    /// Whether what `self` requires is met by `provided`, as librpm decides it (`rpmdsCompareIndex`): the
    /// names are the same, and the two version ranges have a point in common. A side without a version
    /// meets anything; a side without a release leaves releases out of the comparison.
    #[must_use]
    pub fn is_met_by(&self, provided: &Capability) -> bool {
        if self.name != provided.name {
            return false;
        }
        let (Some(wanted), Some(offered)) = (&self.constraint, &provided.constraint) else {
            return true;
        };
        match offered.evr.compare_as_dependency(&wanted.evr) {
            Ordering::Less => offered.comparison.allows_greater() || wanted.comparison.allows_less(),
            Ordering::Greater => offered.comparison.allows_less() || wanted.comparison.allows_greater(),
            Ordering::Equal => {
                (offered.comparison.allows_equal() && wanted.comparison.allows_equal())
                    || (offered.comparison.allows_less() && wanted.comparison.allows_less())
                    || (offered.comparison.allows_greater() && wanted.comparison.allows_greater())
            }
        }
    }
}

impl Capability {
    /// Whether libsolv, and so dnf, takes `self` as met by `provided`, or as in conflict with it
    /// (`pool_intersect_evrs`). It differs from [`Capability::is_met_by`] where one side has a release and the
    /// other has not: what librpm takes as met, libsolv does too, and sometimes more. So a requirement is only
    /// good for both where librpm says so, and a conflict is none for both only where libsolv says so.
    #[must_use]
    pub fn overlaps(&self, provided: &Capability) -> bool {
        if self.name != provided.name {
            return false;
        }
        let (Some(wanted), Some(offered)) = (&self.constraint, &provided.constraint) else {
            return true;
        };
        let (want, offer) = (wanted.comparison, offered.comparison);
        if want.allows_less() && offer.allows_less() || want.allows_greater() && offer.allows_greater() {
            return true;
        }
        match offered.evr.compare_as_dependency(&wanted.evr) {
            Ordering::Less => want.allows_less() || offer.allows_greater(),
            Ordering::Greater => want.allows_greater() || offer.allows_less(),
            Ordering::Equal => match (offered.evr.release.is_empty(), wanted.evr.release.is_empty()) {
                (true, false) => offer.allows_equal(),
                (false, true) => want.allows_equal(),
                _ => offer.allows_equal() && want.allows_equal(),
            },
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(Constraint { comparison, evr }) = &self.constraint {
            write!(f, " {} {evr}", comparison.sign())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};

    fn met(provided: &str, comparison: Comparison, wanted: &str) -> bool {
        Capability::versioned("x", comparison, Evr::parse(wanted)).is_met_by(&Capability::versioned(
            "x",
            Equal,
            Evr::parse(provided),
        ))
    }

    #[test]
    fn a_missing_release_leaves_releases_out() {
        // What librpm 4.18 answered for four real spec files (`rpm -i --test`).
        assert!(met("1.0-5", Equal, "1.0"));
        assert!(met("1.0-5", LessOrEqual, "1.0"));
        assert!(!met("1.0-5", Greater, "1.0"));
        assert!(met("1.0", GreaterOrEqual, "1.0-9"));
    }

    #[test]
    fn libsolv_takes_as_met_what_librpm_does_and_more() {
        use proptest::prelude::*;
        let comparison = prop::sample::select(vec![Less, LessOrEqual, Equal, GreaterOrEqual, Greater]);
        let capability = ("[12](-[12])?", comparison)
            .prop_map(|(evr, comparison)| Capability::versioned("x", comparison, Evr::parse(&evr)));
        proptest!(|(wanted in capability.clone(), offered in capability)| {
            prop_assert!(!wanted.is_met_by(&offered) || wanted.overlaps(&offered), "{wanted}, {offered}");
        });
        // The one that differs in practice: `Provides: x = 1` for `Requires: x < 1-5`.
        let wanted = Capability::versioned("x", Less, Evr::parse("1-5"));
        let offered = Capability::versioned("x", Equal, Evr::parse("1"));
        assert!(wanted.overlaps(&offered) && !wanted.is_met_by(&offered));
    }

    #[test]
    fn ranges_meet_where_they_overlap() {
        assert!(met("2.0-1", GreaterOrEqual, "1.0"));
        assert!(!met("2.0-1", Less, "1.0"));
        assert!(met("1:1.0-1", Greater, "9.0-1"));
        let any = Capability::unversioned("x");
        assert!(any.is_met_by(&Capability::versioned("x", Equal, Evr::parse("1-1"))));
        assert!(!any.is_met_by(&Capability::unversioned("y")));
        let below = Capability::versioned("x", Less, Evr::parse("2"));
        assert!(below.is_met_by(&Capability::versioned("x", LessOrEqual, Evr::parse("1"))));
    }
}
