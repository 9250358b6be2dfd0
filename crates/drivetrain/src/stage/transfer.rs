//! Transfers as events.

use drivetrain_fetch::{Progress, Request, Source, StoreError};
use drivetrain_model::Event;

use crate::reporter::Reporter;

/// Whom a transfer tells: it becomes events under this file name.
pub fn tell(reporter: &Reporter, source: &Source, file: &str) -> impl Fn(Progress<'_>) + Send + Sync + use<> {
    let (reporter, url, file) = (reporter.clone(), source.shown(), file.to_owned());
    move |progress| match progress {
        Progress::Started { resumed_at, size } => {
            reporter.emit(Event::FetchStarted { file: file.clone(), url: url.clone(), size, resumed_at });
        }
        Progress::Bytes { bytes } => reporter.emit(Event::FetchProgress { file: file.clone(), bytes }),
        Progress::Damaged { damage } => reporter.warn(damaged(&file, damage)),
        Progress::Waiting => {
            reporter.warn(format!("{file} is being fetched by another process: waiting for it"))
        }
        Progress::Retrying { problem, wait } => {
            reporter.warn(format!("{url}: {problem}; trying again in {:.1} s", wait.as_secs_f64()))
        }
        // Told by who verifies the file.
        Progress::Finished { .. } => {}
    }
}

/// Whom many transfers at once tell, each under the last part of its URL.
pub fn tell_all(reporter: &Reporter) -> impl Fn(&Request, Progress<'_>) + Send + Sync + use<> {
    let reporter = reporter.clone();
    move |request, progress| {
        let shown = request.source.shown();
        let file = shown.rsplit('/').next().unwrap_or(&shown);
        tell(&reporter, &request.source, file)(progress);
    }
}

/// What is said of a file of the store that is not what it was.
pub fn damaged(file: &str, damage: &StoreError) -> String {
    format!("{file} was damaged in the store, and is fetched again: {damage}")
}

/// That a file is here, with whose signature.
pub fn finished(file: &str, size: u64, cached: bool, signed_by: Option<String>) -> Event {
    Event::FetchFinished { file: file.to_owned(), size, cached, signed_by }
}
