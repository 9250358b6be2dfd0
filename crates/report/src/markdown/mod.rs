//! Markdown, as GitHub's and GitLab's summaries show it.
//!
//! Text from elsewhere is escaped, so that it is neither markup nor HTML; and a document stays well below what a summary
//! may have (1 MiB).

pub(crate) mod coverage;
pub(crate) mod report;
pub(crate) mod summary;

use drivetrain_model::InputRole;

use crate::text::{cut, one_line, visible};

/// The most that a document has, in bytes.
const MAX_BYTES: usize = 256 << 10;
/// The most that is shown of one text, in characters.
const MAX_TEXT: usize = 1000;

/// A document of whole sections: those that would make it too long are left out, and that is said.
pub(crate) struct Document {
    text: String,
    left_out: usize,
}

impl Document {
    pub(crate) fn new() -> Self {
        Self { text: String::new(), left_out: 0 }
    }

    /// Adds a section, with an empty line before it.
    pub(crate) fn section(&mut self, section: &str) {
        if section.is_empty() {
            return;
        }
        if self.text.len() + section.len() > MAX_BYTES {
            self.left_out += 1;
            return;
        }
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(section.trim_end());
        self.text.push('\n');
    }

    /// The whole text.
    pub(crate) fn finish(mut self) -> String {
        if self.left_out > 0 {
            let sections = crate::words::count(self.left_out, "section");
            self.text.push_str(&format!("\n{sections} left out: this is as long as it may be.\n"));
        }
        visible(&self.text)
    }
}

/// Text on one line, as text and nothing else.
pub(crate) fn text(text: &str) -> String {
    let mut escaped = String::new();
    for c in cut(&one_line(text), MAX_TEXT).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '!' | '$' => {
                escaped.push('\\');
                escaped.push(c);
            }
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Text as code on one line; in a table as well.
pub(crate) fn code(text: &str) -> String {
    let text = cut(&one_line(text), MAX_TEXT).replace('|', "\\|");
    let ticks = "`".repeat(longest_run(&text) + 1);
    if text.contains('`') { format!("{ticks} {text} {ticks}") } else { format!("{ticks}{text}{ticks}") }
}

/// A URL as a link, where it goes to a web server and nothing in it could end the link; as text otherwise.
pub(crate) fn url(url: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#@!$&'()*+,;=%".contains(c);
    if (url.starts_with("https://") || url.starts_with("http://")) && url.chars().all(plain) {
        format!("<{url}>")
    } else {
        code(url)
    }
}

/// Lines as they are, in a fence that none of them can close.
pub(crate) fn fence<'a>(language: &str, lines: impl Iterator<Item = &'a str>) -> String {
    let lines: Vec<String> = lines.map(|line| cut(line, MAX_TEXT).replace(['\n', '\r'], " ")).collect();
    let longest = lines.iter().map(|line| longest_run(line)).max().unwrap_or(0);
    let ticks = "`".repeat(longest.max(2) + 1);
    format!("{ticks}{language}\n{}\n{ticks}\n", lines.join("\n"))
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

/// What an input is for.
pub(crate) fn role(role: InputRole) -> &'static str {
    match role {
        InputRole::Kernel => "the kernel",
        InputRole::KernelDevel => "its headers",
        InputRole::DriverSource => "the driver's source",
        InputRole::DriverTool => "the vendor's build tool",
        InputRole::ExtraSource => "a source RPM beside the vendor's",
        InputRole::Userspace => "userspace",
        InputRole::BuildRoot => "the root that builds see",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_is_no_markup() {
        assert_eq!(
            text("<img src=x onerror=alert(1)> [a](javascript:b) | `x`\n# y"),
            "&lt;img src=x onerror=alert(1)&gt; \\[a\\](javascript:b) \\| \\`x\\` \\# y"
        );
        assert_eq!(code("a|b"), "`a\\|b`");
        assert_eq!(url("https://x/a_b/"), "<https://x/a_b/>");
        assert_eq!(url("https://x/a>b"), "`https://x/a>b`");
        assert_eq!(code("a``b"), "``` a``b ```");
    }

    #[test]
    fn a_fence_is_longer_than_what_is_in_it() {
        let fenced = fence("", ["x", "````", "</details>"].into_iter());
        assert!(fenced.starts_with("`````\n") && fenced.ends_with("\n`````\n"), "{fenced}");
    }

    #[test]
    fn a_document_leaves_out_what_is_too_long() {
        let mut document = Document::new();
        document.section("# first");
        document.section(&"x".repeat(MAX_BYTES));
        document.section("last");
        assert_eq!(
            document.finish(),
            "# first\n\nlast\n\n1 section left out: this is as long as it may be.\n"
        );
    }

    proptest! {
        #[test]
        fn escaped_text_has_no_tag_and_no_second_line(given in ".{0,60}") {
            let escaped = text(&given);
            prop_assert!(!escaped.contains(['<', '>', '\n', '\r']), "{}", escaped);
        }
    }
}
