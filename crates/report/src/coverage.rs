//! What a target serves, and what it lacks.

use std::cmp::Ordering;

use drivetrain_model::{
    Architecture, Cell, DriverVersion, Evr, HeldBack, KernelRelease, RepositoryId, RunId, Sha256Digest,
    TrainName,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::FirstError;

/// A target, with the kernels of the trains that are known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// The version of this format.
    pub format: u32,
    /// When the target was asked.
    pub made: Timestamp,
    /// The version of drivetrain.
    pub drivetrain: String,
    /// The target, in words.
    pub target: String,
    /// Its channels, in their order; empty where it has none.
    pub channels: Vec<String>,
    /// The trains whose kernels were looked up.
    pub trains: Vec<Train>,
    /// For what there is something, or should be: by train, driver and kernel, newest first.
    pub entries: Vec<Entry>,
    /// What could not be found out.
    pub problems: Vec<String>,
}

/// A train whose kernels were looked up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Train {
    /// Its name.
    pub train: TrainName,
    /// Of which architecture.
    pub arch: Architecture,
    /// The driver that it is to have.
    pub driver_name: String,
    /// And its version.
    pub driver: DriverVersion,
    /// Which of its kernels are meant.
    pub policy: String,
    /// How many kernels it has.
    pub kernels: usize,
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Which.
    #[serde(flatten)]
    pub cell: Cell,
    /// The driver stack's name.
    pub driver_name: String,
    /// Its kernel in the train; absent where the train was not looked up, or does not have it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_train: Option<InTrain>,
    /// Where it is served, by channel.
    pub places: Vec<Place>,
    /// Why it is not served anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lack: Option<Lack>,
    /// The channels that do not serve it, where others do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_in: Vec<String>,
}

/// A kernel of a train.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InTrain {
    /// How many newer ones the train has.
    pub newer: usize,
    /// The repository that it is in.
    pub repository: RepositoryId,
    /// What the policy makes of it.
    pub why: String,
    /// Whether the policy means it, or would if the driver built for it.
    pub meant: bool,
}

/// A repository that is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Its path below the target.
    pub path: String,
    /// Its URL for nodes.
    pub url: String,
    /// The version; absent where nothing is served that drivetrain published.
    pub version: Option<u64>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// How many packages it has.
    pub packages: Option<usize>,
    /// The run that built it.
    pub run: Option<RunId>,
    /// The digest of the lock that it was built from.
    pub lock: Option<Sha256Digest>,
    /// How it was proven.
    pub proven: Option<Proven>,
    /// The last change.
    pub changed: Option<Change>,
    /// The versions that are kept.
    pub kept: Vec<u64>,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How what is served was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proven {
    /// How many modules fit the kernel.
    pub modules: usize,
    /// How many symbols were found with the right CRC.
    pub symbols: usize,
    /// How many of the packages are installed together.
    pub installed: usize,
    /// How many of the train's packages come with them.
    pub from_train: usize,
}

/// A change of what is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Who made it.
    pub by: String,
    /// Why.
    pub why: String,
}

/// Why there is no driver for a kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "kebab-case")]
pub enum Lack {
    /// It is known not to build.
    DoesNotBuild {
        /// By which error, and what nodes go without.
        held: Box<HeldBack>,
    },
    /// Nothing can be built for it: the train has no kernel-devel for it.
    NoKernelDevel,
    /// It cannot be planned.
    CannotBePlanned {
        /// Why.
        why: String,
    },
    /// Nothing is known against it, and nothing was built for it.
    NeverBuilt,
    /// It was not found out.
    NotLookedInto,
}

/// How things stand with a cell: for marks, and for the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    Served,
    Partly,
    Damaged,
    HeldBack,
    Missing,
    Unwanted,
}

impl State {
    pub(crate) const ALL: [Self; 6] =
        [Self::Served, Self::Partly, Self::Damaged, Self::HeldBack, Self::Missing, Self::Unwanted];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Partly => "not in all channels",
            Self::Damaged => "damaged",
            Self::HeldBack => "does not build",
            Self::Missing => "missing",
            Self::Unwanted => "not asked for",
        }
    }

    /// As the filter names it.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Partly => "partly",
            Self::Damaged => "damaged",
            Self::HeldBack => "held-back",
            Self::Missing => "missing",
            Self::Unwanted => "unwanted",
        }
    }
}

impl Entry {
    pub(crate) fn state(&self) -> State {
        if self.places.iter().any(|place| place.problem.is_some()) {
            return State::Damaged;
        }
        if self.places.iter().any(|place| place.version.is_some()) {
            return if self.not_in.is_empty() { State::Served } else { State::Partly };
        }
        match &self.lack {
            Some(Lack::DoesNotBuild { .. }) => State::HeldBack,
            Some(Lack::NeverBuilt) if self.in_train.as_ref().is_some_and(|kernel| !kernel.meant) => {
                State::Unwanted
            }
            _ => State::Missing,
        }
    }

    /// Whether nodes of the train could boot a kernel, now, without a driver for it, and that is not meant to be so.
    pub(crate) fn needs_somebody(&self) -> bool {
        let meant = self.in_train.as_ref().is_none_or(|kernel| kernel.meant);
        match self.state() {
            State::Damaged => true,
            State::HeldBack | State::Missing => meant,
            State::Served | State::Partly | State::Unwanted => false,
        }
    }

    /// Why nothing is served, in a sentence without a full stop.
    pub(crate) fn lack_in_words(&self) -> String {
        let policy = self.in_train.as_ref().map(|kernel| kernel.why.as_str()).unwrap_or_default();
        match &self.lack {
            Some(Lack::DoesNotBuild { held }) => format!("{} does not build for it", held.component),
            Some(Lack::NoKernelDevel) => {
                "the train has no kernel-devel for it, so nothing can be built".to_owned()
            }
            Some(Lack::CannotBePlanned { why }) => format!("it cannot be planned: {why}"),
            Some(Lack::NeverBuilt) if self.in_train.as_ref().is_some_and(|kernel| kernel.meant) => {
                "never built: the next run builds it".to_owned()
            }
            Some(Lack::NeverBuilt) => format!("never built: {policy}"),
            Some(Lack::NotLookedInto) | None => "why was not looked into".to_owned(),
        }
    }

    /// The error that keeps it from being built.
    pub(crate) fn first_error(&self) -> Option<FirstError> {
        let Some(Lack::DoesNotBuild { held }) = &self.lack else { return None };
        let mut error = FirstError::parse(Some(held.component.clone()), &held.error);
        error.log = held.log.clone();
        Some(error)
    }
}

impl Coverage {
    /// The version of the format that this code writes.
    pub const FORMAT: u32 = 1;

    /// Brings the entries into their order.
    pub fn sort(&mut self) {
        self.entries.sort_by(|a, b| {
            let group = |entry: &Entry| (entry.cell.train.clone(), entry.cell.arch.clone());
            let driver = |entry: &Entry| (entry.driver_name.clone(), Evr::parse(entry.cell.driver.as_str()));
            (group(a).cmp(&group(b)))
                .then_with(|| newest_first(a, b))
                .then_with(|| driver(b).cmp(&driver(a)))
                .then_with(|| a.cell.cmp(&b.cell))
        });
    }

    /// What stands out, in a sentence without a full stop.
    #[must_use]
    pub fn headline(&self) -> String {
        let served =
            self.entries.iter().filter(|entry| entry.places.iter().any(|place| place.version.is_some()));
        let served = crate::words::count(served.count(), "driver repository");
        let verb = if served.starts_with("1 ") { "is" } else { "are" };
        match self.entries.iter().filter(|entry| entry.needs_somebody()).count() {
            0 => format!("{served} {verb} served, and none is missing"),
            missing => format!("{served} {verb} served, and {} somebody", needs(missing)),
        }
    }

    /// The coverage as JSON.
    ///
    /// # Errors
    /// Never for coverages that a target was asked for.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// The coverage as a page.
    #[must_use]
    pub fn html(&self) -> String {
        crate::html::coverage::page(self)
    }

    /// The coverage as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        crate::markdown::coverage::document(self)
    }
}

fn needs(missing: usize) -> String {
    if missing == 1 { "1 kernel needs".to_owned() } else { format!("{missing} kernels need") }
}

/// By RPM's order of their releases.
fn newest_first(a: &Entry, b: &Entry) -> Ordering {
    version(&b.cell.kernel).cmp(&version(&a.cell.kernel)).then_with(|| b.cell.kernel.cmp(&a.cell.kernel))
}

fn version(release: &KernelRelease) -> Evr {
    // Split at the first dash: a release's own dashes (`6.1.0-56-cloud-amd64`) belong to what follows.
    let (version, rest) = release.as_str().split_once('-').unwrap_or((release.as_str(), ""));
    Evr::new(0, version, rest.replace('-', "."))
}

/// The entries of one train and architecture, which stand together.
pub(crate) fn groups(entries: &[Entry]) -> impl Iterator<Item = &[Entry]> {
    entries.chunk_by(|a, b| (&a.cell.train, &a.cell.arch) == (&b.cell.train, &b.cell.arch))
}
