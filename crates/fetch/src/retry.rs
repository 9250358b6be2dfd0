//! When to try again, and how long to wait before.

use std::time::Duration;

use jiff::Timestamp;

use crate::{Problem, Settings};

/// How many times the permitted number of fruitless tries a transfer may take in all, however much each of
/// them adds: without an end, a server that sends a byte per connection would hold a run for ever.
const TRIES_IN_ALL: u32 = 20;

/// Counts the tries of one transfer.
pub(crate) struct Patience<'a> {
    settings: &'a Settings,
    /// Tries since one last got further than all before it.
    fruitless: u32,
    /// All tries.
    pub(crate) tries: u32,
    /// The most bytes that any try ended with.
    best: u64,
}

impl<'a> Patience<'a> {
    pub(crate) fn new(settings: &'a Settings, have: u64) -> Self {
        Self { settings, fruitless: 0, tries: 0, best: have }
    }

    /// Whether to try again after this problem, with `have` bytes here now: how long to wait first, or
    /// nothing where it is no use.
    ///
    /// A try that got further than all before it does not count against the limit, or no bad line would
    /// ever bring a large file home. One that started over counts, since it gets no further.
    pub(crate) fn wait_after(&mut self, problem: &Problem, have: u64) -> Option<Duration> {
        self.tries += 1;
        if have > self.best {
            self.best = have;
            self.fruitless = 0;
        }
        self.fruitless += 1;
        let limit = self.settings.tries.max(1);
        let spent = self.fruitless >= limit || self.tries >= limit.saturating_mul(TRIES_IN_ALL);
        if !problem.is_transient() || spent {
            return None;
        }
        let wait = self.backoff();
        match problem.retry_after() {
            Some(asked) if asked > self.settings.longest_retry_after => None,
            Some(asked) => Some(wait.max(asked)),
            None => Some(wait),
        }
    }

    /// Doubling, up to a limit, and then a random part of the upper half: many clients that lost one server
    /// at the same moment must not come back at the same moment.
    fn backoff(&self) -> Duration {
        let doubled = self.settings.first_wait.saturating_mul(1 << (self.fruitless - 1).min(16));
        let full = doubled.min(self.settings.longest_wait);
        full.mul_f64(0.5 + 0.5 * fastrand::f64())
    }
}

/// Reads a `Retry-After` header: seconds, or a date.
pub(crate) fn parse_retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let until = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Status;

    fn settings() -> Settings {
        Settings { tries: 3, ..Settings::default() }
    }

    fn broken() -> Problem {
        Problem::Truncated { got: 0, expected: None, what: String::new() }
    }

    #[test]
    fn waits_double_with_jitter_and_end() {
        let settings = settings();
        let mut patience = Patience::new(&settings, 0);
        let first = patience.wait_after(&broken(), 0).unwrap();
        assert!((settings.first_wait / 2..=settings.first_wait).contains(&first));
        let second = patience.wait_after(&broken(), 0).unwrap();
        assert!((settings.first_wait..=settings.first_wait * 2).contains(&second));
        assert_eq!(patience.wait_after(&broken(), 0), None);
        assert_eq!(patience.tries, 3);
    }

    #[test]
    fn progress_renews_patience_but_not_for_ever() {
        let settings = settings();
        let mut patience = Patience::new(&settings, 0);
        let count = (1..).take_while(|have| patience.wait_after(&broken(), *have).is_some()).count();
        assert_eq!(count as u32, 3 * TRIES_IN_ALL - 1);
        let mut again = Patience::new(&settings, 0);
        let same = std::iter::repeat_with(|| again.wait_after(&broken(), 10)).take_while(Option::is_some);
        assert_eq!(same.count(), 2);
    }

    #[test]
    fn retry_after_is_heeded_within_reason() {
        let settings = settings();
        let busy = |seconds| Problem::Status {
            status: Status(429),
            retry_after: Some(Duration::from_secs(seconds)),
        };
        assert_eq!(Patience::new(&settings, 0).wait_after(&busy(7), 0), Some(Duration::from_secs(7)));
        assert_eq!(Patience::new(&settings, 0).wait_after(&busy(7200), 0), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2015-10-21T07:27:30Z".parse().unwrap();
        assert_eq!(parse_retry_after(" 12 ", now), Some(Duration::from_secs(12)));
        let date = "Wed, 21 Oct 2015 07:28:00 GMT";
        assert_eq!(parse_retry_after(date, now), Some(Duration::from_secs(30)));
        assert_eq!(parse_retry_after("Wed, 21 Oct 2015 07:27:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(parse_retry_after("soon", now), None);
        assert_eq!(parse_retry_after("-1", now), None);
    }
}
