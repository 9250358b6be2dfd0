//! What is read of the records that other crates write: as much as a report tells, and no more. A record that is of
//! another form is as good as none, since a report has to be made in any case.

use std::collections::BTreeMap;

use drivetrain_model::ModuleResult;
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

/// `boot.json`
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Boot {
    #[serde(default)]
    pub memory: u32,
    pub modules: Vec<Booted>,
    pub functional: Option<Functional>,
    pub image: Option<Image>,
    #[serde(default)]
    pub warnings: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Booted {
    pub name: String,
    pub ours: bool,
    pub package: Option<String>,
    pub path: String,
    pub result: ModuleResult,
    pub ms: Option<u64>,
    pub srcversion: Option<String>,
    pub signer: Option<String>,
    pub taint: Option<String>,
    #[serde(default)]
    pub said: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Functional {
    pub name: String,
    pub steps: Vec<Tried>,
    #[serde(default)]
    pub counters: Vec<Counted>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Tried {
    pub step: String,
    pub ok: bool,
    #[serde(default)]
    pub said: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Counted {
    pub counter: String,
    pub before: u64,
    pub after: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Image {
    pub modules: usize,
    pub ours: Vec<String>,
    pub not_made: Option<String>,
}

/// Reads a record; nothing of it where it has another form.
pub(crate) fn read<T: Default + for<'de> Deserialize<'de>>(record: Option<&Value>) -> T {
    record.and_then(|value| T::deserialize(value).ok()).unwrap_or_default()
}
