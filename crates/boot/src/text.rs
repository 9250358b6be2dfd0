//! Text that comes out of a guest.

use crate::protocol::KEPT_CHARACTERS;

/// Without what acts on whoever reads it on a terminal, and no longer than is useful.
pub(crate) fn printable(text: &str) -> String {
    text.chars().take(KEPT_CHARACTERS).fold(String::new(), |mut out, character| {
        if character.is_control() {
            out.extend(character.escape_default())
        } else {
            out.push(character)
        }
        out
    })
}

/// The last lines of a file's bytes, printable.
pub(crate) fn last_lines(bytes: &[u8], count: usize) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].iter().map(|line| printable(line)).collect()
}
