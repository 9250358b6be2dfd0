//! What a guest said, read as the words of a stranger.

use std::fs::File;
use std::io::Read as _;

use camino::Utf8Path;

use crate::BootError;
use crate::protocol::{Fact, KEPT_LINES, LONGEST_LINE, PREFIX};
use crate::qemu::LOUDEST;
use crate::text::printable;

/// The most facts that are read.
const MOST: usize = 50_000;

/// Reads a file that a guest wrote, such as its console; of one that is too long, its beginning.
///
/// # Errors
/// Where it cannot be read.
pub fn read_file(path: &Utf8Path) -> Result<Vec<u8>, BootError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LOUDEST).read_to_end(&mut bytes))
        .map_err(BootError::file("read", path))?;
    Ok(bytes)
}

/// The facts in what a guest wrote. What is none is passed over: a line that was cut off by the machine's end, and
/// whatever else somebody in there may have written.
pub(crate) fn parse(bytes: &[u8]) -> Vec<Fact> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| line.len() <= LONGEST_LINE);
    let facts = lines.filter_map(|line| {
        let text = std::str::from_utf8(line).ok()?.trim();
        serde_json::from_str(text.strip_prefix(PREFIX.trim_end())?.trim_start()).ok()
    });
    facts.take(MOST).map(clean).collect()
}

fn clean(mut fact: Fact) -> Fact {
    let one = |text: &mut String| *text = printable(text);
    let some = |text: &mut Option<String>| *text = text.take().map(|text| printable(&text));
    let many = |lines: &mut Vec<String>| {
        lines.truncate(KEPT_LINES);
        lines.iter_mut().for_each(|line| *line = printable(line));
    };
    match &mut fact {
        Fact::Booted { release, .. } => one(release),
        Fact::Unable { why } => one(why),
        Fact::Loading { module } => one(module),
        Fact::Loaded { module, srcversion, build_id, taint, said, .. } => {
            one(module);
            some(srcversion);
            some(build_id);
            some(taint);
            many(said);
        }
        Fact::Refused { module, error: more, said, .. } | Fact::Died { module, how: more, said, .. } => {
            one(module);
            one(more);
            many(said);
        }
        Fact::Hangs { module, stack, said, .. } => {
            one(module);
            many(stack);
            many(said);
        }
        Fact::NotTried { module, why } => {
            one(module);
            one(why);
        }
        Fact::Step { step, said, .. } => {
            one(step);
            many(said);
        }
        Fact::Counter { counter, .. } => one(counter),
        Fact::Finished { said, .. } => many(said),
    }
    fact
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_found_among_whatever_else_is_written_and_do_not_act_on_terminals() {
        let text = "\u{0}noise\r\n@drivetrain {\"fact\":\"loading\",\"module\":\"a\\u001b[2Jb\"}\r\n\
                    @drivetrain {\"fact\":\"unheard-of\"}\n@drivetrain {\"fact\":\"loading\",\"mod";
        assert_eq!(parse(text.as_bytes()), [Fact::Loading { module: "a\\u{1b}[2Jb".to_owned() }]);
        assert!(parse(&[0xff; 1000]).is_empty());
        let long = format!("@drivetrain {{\"fact\":\"unable\",\"why\":\"{}\"}}\n", "x".repeat(LONGEST_LINE));
        assert!(parse(long.as_bytes()).is_empty());
    }
}
