//! Where events go: to the journal, and to the one view that may print.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use drivetrain_model::{Event, Stage, Stamped};
use jiff::Timestamp;

use crate::failure::Result;
use crate::journal::Journal;
use crate::view::View;

/// Takes the events of a run. Cheap to clone.
#[derive(Clone)]
pub struct Reporter(Arc<Mutex<Inner>>);

struct Inner {
    journal: Option<Journal>,
    view: Box<dyn View>,
}

impl Reporter {
    /// To this view alone, until there is a journal.
    pub fn new(view: Box<dyn View>) -> Self {
        Self(Arc::new(Mutex::new(Inner { journal: None, view })))
    }

    /// Writes what happens from now on to this journal as well.
    pub fn record_in(&self, journal: Journal) {
        self.lock().journal = Some(journal);
    }

    /// Something happened.
    pub fn emit(&self, event: Event) {
        let stamped = Stamped { at: Timestamp::now(), event };
        let mut inner = self.lock();
        if !stamped.event.is_transient()
            && let Some(journal) = &mut inner.journal
            && let Err(error) = journal.write(&stamped)
        {
            // A full disk must not keep a build from telling what it does; it is said once.
            inner.journal = None;
            let message = format!("the journal of this run cannot be written any more: {error}");
            inner.view.event(&Stamped { at: stamped.at, event: Event::Warning { message } });
        }
        inner.view.event(&stamped);
    }

    /// Something that a person should know.
    pub fn warn(&self, message: impl Into<String>) {
        self.emit(Event::Warning { message: message.into() });
    }

    /// Runs one stage, between its two events.
    pub async fn stage<T>(&self, stage: Stage, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.emit(Event::StageStarted { stage });
        let started = Instant::now();
        let result = work.await?;
        self.emit(Event::StageFinished { stage, ms: milliseconds(started) });
        Ok(result)
    }

    /// Takes the view's hands off the terminal, so that something else can be printed.
    pub fn pause(&self, print: impl FnOnce()) {
        self.lock().view.suspend(Box::new(print));
    }

    /// The view has nothing more to show.
    pub fn close(&self) {
        self.lock().view.close();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Milliseconds since a moment.
pub fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
