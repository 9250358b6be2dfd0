//! Locations within a repository.

/// Why a location was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("location {href:?} is refused: {problem}")]
pub struct HrefError {
    /// The location, shortened to 200 characters.
    pub href: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Whether a `location href` stays within the repository, however it is joined to a base: as a URL, by the
/// WHATWG rules that strip and rewrite, or as a path on disk.
///
/// # Errors
/// With the location and what is wrong with it.
pub fn check_href(href: &str) -> Result<(), HrefError> {
    match problem(href) {
        None => Ok(()),
        Some(problem) => Err(HrefError { href: href.chars().take(200).collect(), problem }),
    }
}

fn problem(href: &str) -> Option<&'static str> {
    if href.is_empty() {
        return Some("it is empty");
    }
    // URL parsers strip both; what is refused below would come back by it.
    if href.trim() != href {
        return Some("it begins or ends with white space");
    }
    if href.contains(['?', '#']) {
        return Some("it has a query or a fragment");
    }
    if has_scheme(href) {
        return Some("it has a scheme");
    }
    // Once as it is written and once as a server reads it: `%2e%2e%2f` is `../`.
    problem_of_path(href.as_bytes()).or_else(|| problem_of_path(&percent_decoded(href)))
}

fn problem_of_path(path: &[u8]) -> Option<&'static str> {
    if path.first() == Some(&b'/') {
        return Some("it is absolute");
    }
    if path.contains(&b'\\') {
        return Some("it has a backslash");
    }
    // Besides ASCII: C1 controls (U+0080 to U+009F), which UTF-8 writes as C2 80 to C2 9F.
    let c1 = path.windows(2).any(|pair| pair[0] == 0xc2 && (0x80..0xa0).contains(&pair[1]));
    if c1 || path.iter().any(u8::is_ascii_control) {
        return Some("it has a control character");
    }
    let mut segments = path.split(|&byte| byte == b'/');
    if segments.any(|segment| segment == b"..") {
        return Some("it has a .. segment");
    }
    if path.last() == Some(&b'/') || path == b"." || path.ends_with(b"/.") {
        return Some("it names a directory");
    }
    None
}

/// RFC 3986: a letter, then letters, digits, `+`, `-` and `.`, before the first `:`.
fn has_scheme(href: &str) -> bool {
    let Some((scheme, _)) = href.split_once(':') else { return false };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = (byte == b'%').then(|| bytes.get(at + 1..at + 3)).flatten().and_then(hex_byte);
        decoded.push(escaped.unwrap_or(byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    decoded
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let mut byte = [0];
    hex::decode_to_slice(digits, &mut byte).ok()?;
    Some(byte[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_real_repositories_have_is_accepted() {
        for href in [
            "repodata/ab12-primary.xml.gz",
            "Packages/k/kernel-core-5.14.0-427.el9.x86_64.rpm",
            "./Packages/gtk+-2.0~rc1^git-1.noarch.rpm",
            "Packages/libstdc%2B%2B-11-1.x86_64.rpm",
            "a..b/..c/x%zz.rpm",
        ] {
            assert_eq!(check_href(href), Ok(()), "{href}");
        }
    }

    #[test]
    fn what_leads_out_is_refused_with_its_reason() {
        for (href, problem) in [
            ("", "it is empty"),
            ("/etc/passwd", "it is absolute"),
            ("//host/x.rpm", "it is absolute"),
            ("%2fetc/passwd", "it is absolute"),
            ("https://host/x.rpm", "it has a scheme"),
            ("file:x.rpm", "it has a scheme"),
            ("bind-32:9.16-1.x86_64.rpm", "it has a scheme"),
            ("../x.rpm", "it has a .. segment"),
            ("a/../../x.rpm", "it has a .. segment"),
            ("a/%2E%2e/x.rpm", "it has a .. segment"),
            ("a%2f..%2fx.rpm", "it has a .. segment"),
            ("a/.%2e", "it has a .. segment"),
            ("a\\..\\x.rpm", "it has a backslash"),
            ("a%5c..%5cx.rpm", "it has a backslash"),
            ("a\nb", "it has a control character"),
            ("a%00b", "it has a control character"),
            ("a\u{85}b", "it has a control character"),
            ("x.rpm?y", "it has a query or a fragment"),
            ("x.rpm#y", "it has a query or a fragment"),
            (" x.rpm", "it begins or ends with white space"),
            ("Packages/", "it names a directory"),
        ] {
            assert_eq!(check_href(href).map_err(|e| e.problem), Err(problem), "{href:?}");
        }
    }

    proptest! {
        /// Whatever is accepted stays below the base when it is joined as a path, decoded or not.
        #[test]
        fn an_accepted_location_stays_below_its_base(href in r"([a-z.%/:\\?# ]|%2[eEfF]|%5[cC]|\.\./|\PC){0,24}") {
            if check_href(&href).is_ok() {
                for text in [href.clone().into_bytes(), percent_decoded(&href)] {
                    let text = String::from_utf8_lossy(&text).into_owned();
                    let path = std::path::Path::new(&text);
                    prop_assert!(path.components().all(|part| matches!(
                        part,
                        std::path::Component::Normal(_) | std::path::Component::CurDir
                    )), "{}", text);
                }
            }
        }

        /// And a `..` anywhere as a segment, in any spelling, is never accepted.
        #[test]
        fn a_location_that_climbs_is_refused(
            head in "([a-z]{0,4}/){0,3}",
            dots in prop::sample::select(vec!["..", "%2e.", ".%2E", "%2e%2e"]),
            slash in prop::sample::select(vec!["/", "%2f", "%2F", "\\", "%5c"]),
            tail in "[a-z]{0,8}",
        ) {
            let href = format!("{head}{dots}{slash}{tail}");
            prop_assert!(check_href(&href).is_err(), "{}", href);
        }
    }
}
