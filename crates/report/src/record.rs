//! What is read of the records that other crates write: as much as a report tells, and no more. A record that is of
//! another form is as good as none, since a report has to be made in any case.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// `verdicts.json`
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Verdicts {
    pub verdict: Verdict,
    pub modules: Vec<Module>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Verdict {
    pub modules: Vec<Judged>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Judged {
    pub loads: bool,
    pub symbols: usize,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Module {
    pub name: String,
    pub package: Option<String>,
}

/// `build.json`
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Build {
    pub components: Vec<Component>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Component {
    pub component: String,
    pub cpu_ms: Option<u64>,
    #[serde(default)]
    pub phases_ms: BTreeMap<String, u64>,
}

/// Reads a record; nothing of it where it has another form.
pub(crate) fn read<T: Default + for<'de> Deserialize<'de>>(record: Option<&Value>) -> T {
    record.and_then(|value| T::deserialize(value).ok()).unwrap_or_default()
}
