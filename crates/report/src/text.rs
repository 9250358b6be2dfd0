//! Text from elsewhere: package names, logs, error messages. None of it may act on who reads it.

use std::fmt::Write as _;

/// The text with every character that shows nothing, or changes how others are shown, written out as `U+202E`.
///
/// Newlines and tabs stay. Applied to a whole document, so that no place in it can be forgotten: what drivetrain writes
/// itself has none of these.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if acts(c) {
            // Writing to a string cannot fail.
            let _ = write!(shown, "⟨U+{:04X}⟩", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Whether a character is a control character, turns the direction of writing, or is invisible.
fn acts(c: char) -> bool {
    let harmless = matches!(c, '\n' | '\t');
    let invisible = matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    );
    !harmless && (c.is_control() || invisible)
}

/// One line: newlines and tabs become spaces.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// At most so many characters; what is left out is said with `…`.
pub(crate) fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((position, _)) => format!("{}…", &text[..position]),
        None => text.to_owned(),
    }
}

/// A word for a shell: as it is where nothing in it means anything to one.
pub(crate) fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+/:@%=,~".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Whether a browser may be sent there: to a web server, or to a file beside the page.
pub(crate) fn is_link(url: &str) -> bool {
    let scheme = url.split(['/', '?', '#']).next().unwrap_or_default();
    match scheme.split_once(':') {
        Some((scheme, _)) => ["http", "https", "file"].iter().any(|known| scheme.eq_ignore_ascii_case(known)),
        None => !url.is_empty() && !url.starts_with("//"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_would_act_on_the_reader_is_written_out() {
        assert_eq!(visible("a\u{202e}cba\u{1b}[31m\0"), "a⟨U+202E⟩cba⟨U+001B⟩[31m⟨U+0000⟩");
        assert_eq!(visible("two\nlines\tand Łódź"), "two\nlines\tand Łódź");
    }

    #[test]
    fn scripts_are_no_links() {
        for url in
            ["javascript:alert(1)", "JaVaScRiPt:x", "data:text/html,x", "vbscript:x", "//evil.example/x", ""]
        {
            assert!(!is_link(url), "{url}");
        }
        for url in ["https://x/y", "HTTP://x", "file:///srv/x", "logs/a.log", "/srv/a:b"] {
            assert!(is_link(url), "{url}");
        }
    }

    #[test]
    fn a_word_reaches_the_command_as_it_is() {
        assert_eq!(shell("kmod-mlnx-ofa_kernel"), "kmod-mlnx-ofa_kernel");
        assert_eq!(shell("a >= 2"), "'a >= 2'");
        assert_eq!(shell("it's $(x)"), "'it'\\''s $(x)'");
        assert_eq!(shell(""), "''");
    }

    proptest! {
        #[test]
        fn nothing_that_acts_is_left(text in "\\PC{0,20}|.{0,20}") {
            prop_assert!(!visible(&text).chars().any(acts));
        }

        #[test]
        fn a_cut_text_is_not_longer(text in ".{0,40}", length in 0usize..50) {
            prop_assert!(cut(&text, length).chars().count() <= length + 1);
        }
    }
}
