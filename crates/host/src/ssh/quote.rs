//! Text for a shell.

/// A word that every POSIX shell reads as exactly this text.
#[must_use]
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Whether a variable of a shell can have this name.
pub(super) fn is_name(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(word) && name.starts_with(|c: char| !c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_a_word_that_begins_with_no_digit() {
        assert!(is_name("PATH") && is_name("_x9"));
        assert!(!is_name("") && !is_name("9x") && !is_name("A-B") && !is_name("A=B") && !is_name("É"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn a_shell_reads_back_what_was_quoted(text in "[^\0]{0,40}|[' \\\\\"$`!\n*~-]{0,20}") {
            let program = format!("printf %s {}", quote(&text));
            let output = Command::new("/bin/sh").arg("-c").arg(program).output().unwrap();
            prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        }
    }
}
