//! `publish.lockstep`.

use super::Channels;
use crate::fields::{Field, Key, key};
use crate::problems::Problems;
use crate::{Layout, Lockstep, LockstepPath};

const LOCKSTEP: &[Key] = &[
    key("name", "the name of the package that nodes install"),
    key("path", "the path of the repository that has all kernels"),
    key("keep", "how many kernels it has"),
];

const DEFAULT_KEEP: u32 = 5;

/// Reads it. It stands beside the cells' repositories, whose layout is given where it could be read.
pub(super) fn read(
    field: &Field<'_>,
    channels: Channels,
    layout: Option<&Layout>,
    problems: &mut Problems<'_>,
) -> Option<Lockstep> {
    let fields = field.fields(LOCKSTEP, problems)?;
    let name = match fields.get("name") {
        None => Some(None),
        Some(field) => field.parsed("a package's name", problems, package_name).map(Some),
    };
    let path = match fields.get("path") {
        None => {
            let text = channels.default(LockstepPath::DEFAULT, LockstepPath::DEFAULT_WITH_CHANNELS);
            LockstepPath::parse(text).ok().map(|path| (path, fields.anchor()))
        }
        Some(field) => {
            field.parsed("a path with placeholders", problems, LockstepPath::parse).and_then(|path| {
                let suggestion = format!("{{channel}}/{path}");
                let allowed = channels.allow(&field, path.has_channel(), &suggestion, problems);
                allowed.then(|| (path, field.place()))
            })
        }
    };
    let keep = match fields.get("keep") {
        None => Some(DEFAULT_KEEP),
        Some(field) => field.number(1..=50, problems),
    };
    let (path, place) = path?;
    if layout.is_some_and(|layout| path.is_above(layout)) {
        let message = format!(
            "{}: the repositories of the kernels would be below {path}, inside of this one",
            field.path
        );
        let help = "give it a path of its own, as in \"{train}/{driver}/all/{arch}\"".to_owned();
        problems.add(place, message, Some(help));
        return None;
    }
    Some(Lockstep { name: name?, path, keep: keep? })
}

/// A name that rpm allows, and that means nothing else to dnf.
fn package_name(text: &str) -> Result<String, &'static str> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._+-".contains(&b);
    let begins = text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
    if begins && text.len() <= 100 && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err("a package's name has letters, digits and `._+-`, and begins with a letter or a digit")
    }
}
