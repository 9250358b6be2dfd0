//! The part of a log that a person looks for: the first error, with what stands around it.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read as _};

use serde::{Deserialize, Serialize};

/// How many lines before the error are shown, and how many from it on.
const BEFORE: usize = 3;
const AFTER: usize = 9;
/// Where the error is not found, its end is shown.
const END: usize = 12;
/// Of a line this much is shown.
const MAX_LINE: u64 = 400;
/// Logs are read this far. That of a whole driver, with every command in it, has a tenth.
const MAX_BYTES: u64 = 256 << 20;

/// Some lines of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excerpt {
    /// The number of the first of them, counted from 1.
    pub first_line: usize,
    /// The lines.
    pub lines: Vec<String>,
    /// Which of them has the error; absent where it was not found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_line: Option<usize>,
}

/// Looks in a log for the line that an error was made of: the first that has its message and, where one is known, its
/// file. Where there is none, the end of the log.
///
/// # Errors
/// Where the log cannot be read.
pub fn excerpt(log: impl BufRead, file: Option<&str>, message: &str) -> io::Result<Excerpt> {
    let mut log = log.take(MAX_BYTES);
    let needle = message.lines().next().unwrap_or_default().trim();
    let name = file.and_then(|file| file.rsplit('/').next()).unwrap_or_default();
    let keep = BEFORE + 1;
    let mut last: VecDeque<String> = VecDeque::new();
    let mut number = 0;
    while let Some(line) = next_line(&mut log)? {
        number += 1;
        let found = !needle.is_empty() && line.contains(needle) && line.contains(name);
        last.push_back(line);
        if found {
            while last.len() > keep {
                last.pop_front();
            }
            let error = last.len();
            let mut lines = Vec::from(last);
            while lines.len() < error + AFTER - 1 {
                let Some(line) = next_line(&mut log)? else { break };
                lines.push(line);
            }
            let first_line = number + 1 - error;
            return Ok(Excerpt { first_line, lines, error_line: Some(number) });
        }
        if last.len() > END.max(keep) {
            last.pop_front();
        }
    }
    Ok(Excerpt { first_line: number + 1 - last.len(), lines: last.into(), error_line: None })
}

/// The next line, cut where it is long; `None` at the end.
fn next_line(log: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    if log.take(MAX_LINE).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    let mut line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
    if bytes.last() != Some(&b'\n') {
        let rest = skip_line(log)?;
        if rest > 0 {
            line.push('…');
        }
    }
    Ok(Some(line))
}

/// Passes over the rest of a line without holding it; how many bytes that were.
fn skip_line(log: &mut impl BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffer = log.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(buffer.len(), |end| end + 1);
        let whole = end.is_some() || buffer.is_empty();
        skipped += end.unwrap_or(used) as u64;
        log.consume(used);
        if whole {
            return Ok(skipped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LOG: &str =
        "one\ntwo\nthree\nfour\nfive\n/tmp/BUILD/x-1.0/drivers/x.c:8:12: error: no member\nafter\nend\n";

    #[test]
    fn the_error_stands_among_its_neighbours() {
        let found = excerpt(LOG.as_bytes(), Some("x-1.0/drivers/x.c"), "no member").unwrap();
        assert_eq!((found.first_line, found.error_line), (3, Some(6)));
        assert_eq!(found.lines.first().unwrap(), "three");
        assert_eq!(found.lines.last().unwrap(), "end");
    }

    #[test]
    fn where_the_error_is_not_found_the_end_is_shown() {
        let found = excerpt(LOG.as_bytes(), None, "something else").unwrap();
        assert_eq!((found.first_line, found.error_line, found.lines.len()), (1, None, 8));
        let empty = excerpt(&b""[..], None, "x").unwrap();
        assert_eq!((empty.first_line, empty.lines.len()), (1, 0));
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let log = format!("{}\nerror: x\n", "a".repeat(1_000_000));
        let found = excerpt(log.as_bytes(), None, "error: x").unwrap();
        assert_eq!(found.error_line, Some(2));
        assert!(found.lines[0].len() < 500);
    }

    proptest! {
        #[test]
        fn any_log_has_a_short_excerpt(log in proptest::collection::vec(any::<u8>(), 0..2000), message in ".{0,8}") {
            let found = excerpt(&log[..], None, &message).unwrap();
            prop_assert!(found.lines.len() <= BEFORE + 1 + AFTER);
            prop_assert!(found.first_line >= 1);
        }
    }
}
