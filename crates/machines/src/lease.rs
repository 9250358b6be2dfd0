//! The record of a machine that drivetrain made.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use drivetrain_model::RunId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Is on everything that drivetrain makes, and on nothing else: what does not have it is never touched.
pub const TAG: &str = "drivetrain-builder";

/// Names one lease: `dt-` and twelve of the characters `0-9a-z`.
///
/// Short enough for every name that it becomes a part of, and of characters that every API, file system and shell
/// takes as they are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LeaseId(String);

impl LeaseId {
    const PREFIX: &str = "dt-";
    const RANDOM: usize = 12;

    /// A new one.
    #[must_use]
    pub fn new() -> Self {
        let random: String =
            (0..Self::RANDOM).map(|_| fastrand::alphanumeric().to_ascii_lowercase()).collect();
        Self(format!("{}{random}", Self::PREFIX))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for LeaseId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for LeaseId {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let random = text.strip_prefix(Self::PREFIX).unwrap_or_default();
        let is_one = random.len() == Self::RANDOM
            && random.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
        if is_one {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("{text:?} is no lease: those are like dt-0123456789ab"))
        }
    }
}

impl TryFrom<String> for LeaseId {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}

impl From<LeaseId> for String {
    fn from(id: LeaseId) -> Self {
        id.0
    }
}

/// The record of a machine: written before the machine is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Its name.
    pub id: LeaseId,
    /// The run that it is for.
    pub run: RunId,
    /// Who asked for it: `user@host`.
    pub owner: String,
    /// When it was asked for.
    pub made: Timestamp,
    /// After this moment nobody needs the machine, and anybody may remove it.
    pub expires: Timestamp,
}

/// What is noted on a resource, as pairs of a key and a value.
pub type Tags = BTreeMap<String, String>;

/// The keys.
const LEASE: &str = "drivetrain_lease";
const RUN: &str = "drivetrain_run";
const OWNER: &str = "drivetrain_owner";
const MADE: &str = "drivetrain_made";
const EXPIRES: &str = "drivetrain_expires";

impl Lease {
    /// A new lease, from now.
    #[must_use]
    pub fn new(run: RunId, owner: String, now: Timestamp, lasts: jiff::SignedDuration) -> Self {
        // Whole seconds: what is noted is what is found again.
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        Self { id: LeaseId::new(), run, owner, made: now, expires: now + lasts }
    }

    /// What is noted on each resource of it, and what [`Lease::from_tags`] reads.
    #[must_use]
    pub fn tags(&self) -> Tags {
        let pairs = [
            (LEASE, self.id.to_string()),
            (RUN, self.run.to_string()),
            (OWNER, self.owner.clone()),
            (MADE, self.made.as_second().to_string()),
            (EXPIRES, self.expires.as_second().to_string()),
        ];
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// The lease that a resource belongs to; `None` where it is not one that drivetrain made.
    #[must_use]
    pub fn from_tags(tags: &Tags) -> Option<Self> {
        let second = |key: &str| Timestamp::from_second(tags.get(key)?.parse().ok()?).ok();
        Some(Self {
            id: tags.get(LEASE)?.parse().ok()?,
            run: RunId::parse(tags.get(RUN)?).ok()?,
            owner: tags.get(OWNER).cloned().unwrap_or_default(),
            made: second(MADE)?,
            expires: second(EXPIRES)?,
        })
    }

    /// Whether nobody needs it any more.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires <= now
    }
}
