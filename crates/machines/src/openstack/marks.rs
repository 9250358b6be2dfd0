//! How it is noted on a resource whose it is.
//!
//! Servers and volumes have metadata. Ports and floating IPs have none, and not every Neutron takes tags in the
//! request that makes them: there, the description has what the metadata would have. All have the lease in their
//! name, for people.

use serde_json::{Map, Value};

use crate::{Lease, LeaseId, TAG, Tags};

/// The tags whose values may be long.
const RUN: &str = "drivetrain_run";
const OWNER: &str = "drivetrain_owner";

/// The longest description that Neutron takes, and the longest value of Nova's and Cinder's metadata.
const LONGEST: usize = 255;

/// What everything of a lease is called.
pub(super) fn name(lease: &LeaseId) -> String {
    format!("drivetrain-{lease}")
}

/// The tags as metadata.
pub(super) fn metadata(lease: &Lease) -> Value {
    let pairs = lease.tags().into_iter().map(|(key, value)| (key, Value::from(cut(&value, LONGEST))));
    Value::Object(pairs.collect::<Map<_, _>>())
}

/// The lease that metadata tell of.
pub(super) fn from_metadata(metadata: &Value) -> Option<Lease> {
    let pairs = metadata.as_object()?.iter();
    let tags: Tags =
        pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
    Lease::from_tags(&tags)
}

/// The tags as a description. What may be long comes last, and is cut.
pub(super) fn description(lease: &Lease) -> String {
    let mut tags = lease.tags();
    let long = [RUN, OWNER].map(|key| (key, tags.remove(key).unwrap_or_default()));
    let mut text = TAG.to_owned();
    for (key, value) in tags {
        text.push_str(&format!(" {key}={value}"));
    }
    let left = LONGEST.saturating_sub(text.chars().count());
    let rest: String = long.map(|(key, value)| format!(" {key}={value}")).concat();
    text.push_str(&cut(&rest, left));
    text
}

/// The lease that a description tells of.
pub(super) fn from_description(text: &str) -> Option<Lease> {
    let mut rest = text.strip_prefix(TAG)?.strip_prefix(' ')?;
    let mut tags = Tags::new();
    while let Some((key, after)) = rest.split_once('=') {
        // The owner is the last, and may have anything in it.
        let (value, next) =
            if key == OWNER { (after, "") } else { after.split_once(' ').unwrap_or((after, "")) };
        tags.insert(key.to_owned(), value.to_owned());
        rest = next;
    }
    Lease::from_tags(&tags)
}

fn cut(text: &str, length: usize) -> String {
    text.chars().take(length).collect()
}

#[cfg(test)]
mod tests {
    use drivetrain_model::RunId;
    use jiff::{SignedDuration, Timestamp};
    use serde_json::json;

    use super::*;

    fn lease(run: &str, owner: &str) -> Lease {
        let now = Timestamp::from_second(1_764_000_000).unwrap();
        Lease::new(RunId::parse(run).unwrap(), owner.to_owned(), now, SignedDuration::from_hours(4))
    }

    #[test]
    fn a_lease_is_read_from_what_was_noted() {
        let lease = lease("20261127T140000-4711", "jo = \"x\" @host");
        assert_eq!(from_description(&description(&lease)).as_ref(), Some(&lease));
        assert_eq!(from_metadata(&metadata(&lease)).as_ref(), Some(&lease));
    }

    #[test]
    fn a_description_fits_and_still_tells_the_lease() {
        let lease = lease(&"r".repeat(128), &"ö".repeat(300));
        assert!([RUN, OWNER].iter().all(|key| lease.tags().contains_key(*key)));
        let text = description(&lease);
        assert_eq!(text.chars().count(), LONGEST);
        let found = from_description(&text).unwrap();
        assert_eq!((found.id, found.expires), (lease.id.clone(), lease.expires));
        assert!(from_metadata(&metadata(&lease)).unwrap().owner.chars().count() == LONGEST);
    }

    #[test]
    fn what_others_made_has_no_lease() {
        for text in
            ["", "drivetrain-builder", "my drivetrain-builder drivetrain_lease=dt-0123456789ab", "web server"]
        {
            assert_eq!(from_description(text), None, "{text}");
        }
        assert_eq!(from_metadata(&json!({ "drivetrain_lease": "dt-0123456789ab" })), None);
        assert_eq!(from_metadata(&json!({})), None);
    }
}
