//! The `prove` section.

use std::time::Duration;

use crate::fields::{Field, Key, key};
use crate::problems::{Problems, quote};
use crate::tree::Value;
use crate::{BootOn, BootTest, Builder, BuilderKind, Prove};

const PROVE: &[Key] = &[
    key("boot", "whether the kernel is booted with what was built before that is published"),
    key("on", "where that kernel is booted"),
    key("memory", "how much memory the booted machine has"),
    key("timeout", "how long it may take"),
];

/// A kernel with a driver stack wants as much at least; and no test takes more.
const MEMORY: std::ops::RangeInclusive<u64> = 256..=256 * 1024;
/// A minute is little without KVM; after two hours nothing comes any more.
const TIMEOUT: std::ops::RangeInclusive<u64> = 10..=7200;

/// Reads the section, which may be left out.
pub(crate) fn read(field: Option<&Field<'_>>, problems: &mut Problems<'_>) -> Option<Prove> {
    let default = Prove::default();
    let Some(field) = field else { return Some(default) };
    let fields = field.fields(PROVE, problems)?;
    let boot = fields.get("boot").map_or(Some(default.boot), |field| {
        let words = [("off", BootTest::Off), ("warn", BootTest::Warn), ("require", BootTest::Require)];
        field.word(&words, problems)
    });
    let on = fields.get("on").map_or(Some(default.on), |field| {
        field.word(&[("host", BootOn::Host), ("machine", BootOn::Machine)], problems)
    });
    let memory = fields.get("memory").map_or(Some(default.memory), |field| {
        let units = [("MiB", 1), ("GiB", 1024)];
        let range = "from 256MiB to 256GiB";
        let mebibytes = quantity(&field, &units, &MEMORY, ("an amount of memory", "2GiB", range), problems)?;
        u32::try_from(mebibytes).ok()
    });
    let timeout = fields.get("timeout").map_or(Some(default.timeout), |field| {
        let units = [("s", 1), ("m", 60), ("h", 3600)];
        let seconds = quantity(&field, &units, &TIMEOUT, ("a time", "5m", "from 10s to 2h"), problems)?;
        Some(Duration::from_secs(seconds))
    });
    Some(Prove { boot: boot?, on: on?, memory: memory?, timeout: timeout? })
}

/// That there is a machine to boot on, where that is asked for.
pub(crate) fn check(
    field: Option<&Field<'_>>,
    prove: &Prove,
    builder: &Builder,
    problems: &mut Problems<'_>,
) {
    if prove.on == BootOn::Machine
        && builder.kind == BuilderKind::Sandbox
        && let Some(field) = field
    {
        problems.add(
            field.place(),
            "prove.on is machine, and the builder is none: it is this host".to_owned(),
            Some("name a machine by builder.kind, or leave prove.on out".to_owned()),
        );
    }
}

/// A whole number with a unit.
fn quantity(
    field: &Field<'_>,
    units: &[(&str, u64)],
    range: &std::ops::RangeInclusive<u64>,
    (what, example, in_words): (&str, &str, &str),
    problems: &mut Problems<'_>,
) -> Option<u64> {
    let number = match &field.node.value {
        Value::Scalar { text, .. } => {
            let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            let (digits, unit) = text.split_at(split);
            let factor = units.iter().find(|(name, _)| *name == unit.trim()).map(|(_, factor)| factor);
            factor.and_then(|factor| digits.parse::<u64>().ok()?.checked_mul(*factor))
        }
        _ => None,
    };
    let found = number.filter(|number| range.contains(number));
    if found.is_none() {
        let given = match &field.node.value {
            Value::Scalar { text, .. } => quote(text),
            _ => crate::fields::kind(field.node),
        };
        let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
        problems.add(
            field.place(),
            format!("{} must be {what} {in_words}, but is {given}", field.path),
            Some(format!("a whole number with {}, such as {example}", names.join(" or "))),
        );
    }
    found
}
