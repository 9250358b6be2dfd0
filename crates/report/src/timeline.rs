//! When what was done, from a journal.

use drivetrain_model::{ComponentOutcome, Event, Stage, Stamped};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A chart has no more rows than this, the longest of all.
const MAX_ROWS: usize = 120;
/// A download that took less is not worth a row.
const MIN_FETCH_MS: u64 = 2000;

/// What a run did, over time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// From the first event to the last, in milliseconds.
    pub total_ms: u64,
    /// How many components were built at once, at most.
    pub at_once: usize,
    /// The bars, by their beginning.
    pub spans: Vec<Span>,
    /// How many short ones are left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// One bar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// What it is of.
    pub kind: SpanKind,
    /// Whose: a stage's name, a component's.
    pub name: String,
    /// Milliseconds after the run began.
    pub from_ms: u64,
    /// How long.
    pub ms: u64,
    /// How it ended.
    pub ended: Ended,
}

/// What a bar is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpanKind {
    /// A stage of the run.
    Stage,
    /// A download.
    Fetch,
    /// A step of making a machine ready.
    Machine,
    /// A component's build.
    Component,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// Well.
    Well,
    /// Badly.
    Failed,
    /// Not, as far as the journal goes.
    Open,
}

impl Ended {
    /// In a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Well => "done",
            Self::Failed => "failed",
            Self::Open => "did not end",
        }
    }
}

/// Something that has begun.
struct Open {
    kind: SpanKind,
    name: String,
    at: Timestamp,
}

/// Reads a journal from its beginning to its end.
struct Reader {
    began: Timestamp,
    open: Vec<Open>,
    spans: Vec<Span>,
}

impl Timeline {
    /// From a run's events.
    #[must_use]
    pub fn of(events: &[Stamped]) -> Self {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return Self::default() };
        let mut reader = Reader { began: first.at, open: Vec::new(), spans: Vec::new() };
        for stamped in events {
            reader.read(stamped);
        }
        let failed = matches!(last_word(events), Some(exit) if exit != 0);
        reader.end(last.at, if failed { Ended::Failed } else { Ended::Open });
        let mut spans = reader.spans;
        let at_once = at_once(&spans);
        let left_out = spans.len().saturating_sub(MAX_ROWS);
        if left_out > 0 {
            spans.sort_by_key(|span| std::cmp::Reverse((span.kind == SpanKind::Stage, span.ms)));
            spans.truncate(MAX_ROWS);
        }
        spans.sort_by(|a, b| (a.from_ms, a.kind, &a.name).cmp(&(b.from_ms, b.kind, &b.name)));
        Self { total_ms: between(first.at, last.at), at_once, spans, left_out }
    }
}

impl Reader {
    fn read(&mut self, stamped: &Stamped) {
        let at = stamped.at;
        match &stamped.event {
            Event::StageStarted { stage } => self.begin(SpanKind::Stage, stage.name(), at),
            Event::StageFinished { stage, .. } => self.finish(SpanKind::Stage, stage.name(), at, Ended::Well),
            Event::FetchStarted { file, .. } => self.begin(SpanKind::Fetch, file, at),
            Event::FetchFinished { file, .. } => self.finish(SpanKind::Fetch, file, at, Ended::Well),
            Event::ComponentStarted { component, .. } => {
                self.begin(SpanKind::Component, component.as_str(), at)
            }
            Event::ComponentFinished { component, outcome, .. } => {
                let ended = match outcome {
                    ComponentOutcome::Built
                    | ComponentOutcome::Reused
                    | ComponentOutcome::Repackaged { .. } => Ended::Well,
                    ComponentOutcome::Failed { .. } | ComponentOutcome::NotTried { .. } => Ended::Failed,
                };
                self.finish(SpanKind::Component, component.as_str(), at, ended);
            }
            Event::MachineUp { machine, ms } => self.took(&format!("{machine} is made"), *ms, at),
            Event::MachineStep { step, ms, .. } => self.took(step, *ms, at),
            _ => {}
        }
    }

    fn begin(&mut self, kind: SpanKind, name: &str, at: Timestamp) {
        // A stage that begins while another is open: that one failed, and the run went on all the same.
        if kind == SpanKind::Stage {
            self.fail_stages(at);
        }
        self.open.push(Open { kind, name: name.to_owned(), at });
    }

    fn fail_stages(&mut self, at: Timestamp) {
        let stages: Vec<String> = self
            .open
            .iter()
            .filter(|open| open.kind == SpanKind::Stage)
            .map(|open| open.name.clone())
            .collect();
        for stage in stages {
            self.finish(SpanKind::Stage, &stage, at, Ended::Failed);
        }
    }

    /// What ended without having begun was there already.
    fn finish(&mut self, kind: SpanKind, name: &str, at: Timestamp, ended: Ended) {
        let Some(position) = self.open.iter().position(|open| open.kind == kind && open.name == name) else {
            return;
        };
        let open = self.open.remove(position);
        let ms = between(open.at, at);
        if kind != SpanKind::Fetch || ms >= MIN_FETCH_MS {
            let from_ms = between(self.began, open.at);
            self.spans.push(Span { kind, name: open.name, from_ms, ms, ended });
        }
    }

    /// What is told at its end alone, with how long it took.
    fn took(&mut self, name: &str, ms: u64, at: Timestamp) {
        let from_ms = between(self.began, at).saturating_sub(ms);
        self.spans.push(Span {
            kind: SpanKind::Machine,
            name: name.to_owned(),
            from_ms,
            ms,
            ended: Ended::Well,
        });
    }

    /// What is still open when the journal ends.
    fn end(&mut self, at: Timestamp, ended: Ended) {
        for open in std::mem::take(&mut self.open) {
            if open.kind == SpanKind::Fetch {
                continue;
            }
            let (from_ms, ms) = (between(self.began, open.at), between(open.at, at));
            self.spans.push(Span { kind: open.kind, name: open.name, from_ms, ms, ended });
        }
    }
}

/// What the run ended with, where it says so.
fn last_word(events: &[Stamped]) -> Option<u8> {
    events.iter().rev().find_map(|stamped| match &stamped.event {
        Event::RunFinished { exit, .. } => Some(*exit),
        _ => None,
    })
}

/// Milliseconds from one moment to another; none where a clock was set back.
fn between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_millisecond().saturating_sub(from.as_millisecond())).unwrap_or(0)
}

/// How many components overlap, at most.
fn at_once(spans: &[Span]) -> usize {
    let components = || spans.iter().filter(|span| span.kind == SpanKind::Component);
    components()
        .map(|one| {
            components()
                .filter(|other| other.from_ms <= one.from_ms && one.from_ms < other.from_ms + other.ms.max(1))
                .count()
        })
        .max()
        .unwrap_or(0)
}

/// The stage that a run was in when it ended, where it did not come to the stage's end.
pub(crate) fn broken_stage(events: &[Stamped]) -> Option<Stage> {
    let mut open = None;
    for stamped in events {
        match &stamped.event {
            Event::StageStarted { stage } => open = Some(*stage),
            Event::StageFinished { stage, .. } if open == Some(*stage) => open = None,
            _ => {}
        }
    }
    open
}

#[cfg(test)]
mod tests {
    use super::*;
    use drivetrain_model::ComponentName;

    fn at(ms: i64, event: Event) -> Stamped {
        Stamped { at: Timestamp::from_millisecond(1_790_000_000_000 + ms).unwrap(), event }
    }

    fn started(ms: i64, name: &str) -> Stamped {
        let component = ComponentName::parse(name).unwrap();
        at(ms, Event::ComponentStarted { component, log: String::new(), estimate_ms: None })
    }

    fn finished(ms: i64, name: &str, outcome: ComponentOutcome) -> Stamped {
        let component = ComponentName::parse(name).unwrap();
        at(ms, Event::ComponentFinished { component, ms: 1, outcome, packages: Vec::new() })
    }

    #[test]
    fn components_that_overlap_are_counted_and_what_did_not_end_is_open() {
        let timeline = Timeline::of(&[
            at(0, Event::StageStarted { stage: Stage::Build }),
            started(10, "a"),
            started(20, "b"),
            finished(500, "a", ComponentOutcome::Built),
            started(500, "c"),
            finished(600, "b", ComponentOutcome::Failed { error: "x".into() }),
            finished(601, "d", ComponentOutcome::Reused),
            at(700, Event::Warning { message: "x".into() }),
        ]);
        assert_eq!((timeline.total_ms, timeline.at_once), (700, 2));
        let spans: Vec<_> = timeline
            .spans
            .iter()
            .map(|span| (span.name.as_str(), span.from_ms, span.ms, span.ended))
            .collect();
        assert_eq!(
            spans,
            [
                ("build", 0, 700, Ended::Open),
                ("a", 10, 490, Ended::Well),
                ("b", 20, 580, Ended::Failed),
                ("c", 500, 200, Ended::Open)
            ]
        );
    }

    #[test]
    fn a_stage_that_failed_before_the_next_began_has_failed() {
        let events = [
            at(0, Event::StageStarted { stage: Stage::Build }),
            at(50, Event::StageStarted { stage: Stage::Plan }),
            at(60, Event::StageFinished { stage: Stage::Plan, ms: 10 }),
        ];
        let timeline = Timeline::of(&events);
        assert_eq!(timeline.spans[0].ended, Ended::Failed);
        assert_eq!(timeline.spans[0].ms, 50);
        assert_eq!(broken_stage(&events), None);
        assert_eq!(broken_stage(&events[..1]), Some(Stage::Build));
    }

    #[test]
    fn thousands_of_events_make_a_chart_that_can_be_read() {
        let events: Vec<Stamped> = (0..2000)
            .flat_map(|n| {
                let name = format!("c{n}");
                [started(n * 10, &name), finished(n * 10 + 5, &name, ComponentOutcome::Built)]
            })
            .collect();
        let timeline = Timeline::of(&events);
        assert_eq!((timeline.spans.len(), timeline.left_out), (MAX_ROWS, 2000 - MAX_ROWS));
    }
}
