//! What a command says when it fails: what was wrong, why, and what to do next.

use std::error::Error;
use std::fmt::Write as _;

use camino::Utf8Path;
use drivetrain_fetch::DiskFull;
use drivetrain_model::{ExitCode, KernelChoice, Problem};
use drivetrain_plan::Refusal;
use serde::Serialize;

/// The result of a command's step.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// A failure, as a person meets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What the process ends with.
    #[serde(serialize_with = "code_number")]
    pub code: ExitCode,
    /// What was wrong, and where.
    pub message: String,
    /// Why, outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The kernels that were considered, where there is no plan.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub considered: Vec<KernelChoice>,
    /// That a disk, or a quota, is used up.
    #[serde(skip)]
    pub disk_full: Option<std::io::ErrorKind>,
}

fn code_number<S: serde::Serializer>(code: &ExitCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8((*code).into())
}

impl Failure {
    /// From words.
    pub fn new(code: ExitCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            causes: Vec::new(),
            next: None,
            considered: Vec::new(),
            disk_full: None,
        }
    }

    /// From an error with its sources. A source that the text above it quotes already is not said twice.
    pub fn of(code: ExitCode, error: &(dyn Error + 'static)) -> Self {
        let mut failure = Self::new(code, error.to_string());
        failure.note_room(error);
        failure.add_causes(error.source());
        failure
    }

    /// From an error, under a text of ours.
    pub fn because(code: ExitCode, message: impl Into<String>, error: &(dyn Error + 'static)) -> Self {
        let mut failure = Self::new(code, message);
        failure.add_causes(Some(error));
        failure
    }

    fn note_room(&mut self, error: &(dyn Error + 'static)) {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && matches!(io.kind(), QuotaExceeded | StorageFull)
        {
            self.disk_full = Some(io.kind());
        }
    }

    fn add_causes(&mut self, mut source: Option<&(dyn Error + 'static)>) {
        while let Some(error) = source {
            self.note_room(error);
            let text = error.to_string();
            let last = self.causes.last().unwrap_or(&self.message);
            if !last.contains(&text) {
                self.causes.push(text);
            }
            source = error.source();
        }
    }

    /// Where a full disk is at the bottom of it: says which, and what to do, instead of where it was noticed.
    /// `written` is where the command writes. Errors that say so themselves stay as they are.
    pub fn about_room(mut self, written: &Utf8Path) -> Self {
        let told = |text: &str| text.contains("there is no room") || text.contains(" is full");
        let Some(full) = self.disk_full.take() else { return self };
        if !told(&self.one_line()) {
            let noticed = std::mem::replace(&mut self.message, DiskFull::at(written, &full).to_string());
            self.causes.insert(0, noticed);
        }
        self
    }

    /// Adds what to do next.
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// That a signal ended the run.
    pub fn interrupted() -> Self {
        Self::new(ExitCode::Interrupted, "interrupted")
            .next("run the same command again: it goes on from here, without building anything twice")
    }

    /// One line, for the journal.
    pub fn one_line(&self) -> String {
        let mut text = self.message.clone();
        for cause in &self.causes {
            // Writing to a string cannot fail.
            let _ = write!(text, ": {cause}");
        }
        text
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { considered: refusal.considered, ..Self::from_problems(&refusal.problems) }
    }
}

impl Failure {
    fn from_problems(problems: &[Problem]) -> Self {
        let message = match problems {
            [only] => only.what.clone(),
            _ => format!("{} things keep this from being planned", problems.len()),
        };
        let mut failure = Self::new(ExitCode::Plan, message);
        match problems {
            [only] => failure.next = Some(only.next.clone()),
            many => {
                failure.causes =
                    many.iter().map(|problem| format!("{} (next: {})", problem.what, problem.next)).collect();
            }
        }
        failure
    }
}

/// A fault of ours: a task that panicked.
pub fn internal(error: &tokio::task::JoinError) -> Failure {
    Failure::because(ExitCode::Internal, "drivetrain itself failed", error)
        .next("please report this, with the command and the journal of the run")
}
