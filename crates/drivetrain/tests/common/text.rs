//! What differs from run to run and from lab to lab, taken out of texts that are compared as a whole.

use super::Site;

/// The text with names for paths, kernels, runs, times, sizes and digests.
pub fn stable(site: &Site, text: &str) -> String {
    let directory = site.path("");
    let lab = &site.lab;
    let mut text = text.to_owned();
    for (what, name) in [
        (directory.display().to_string().trim_end_matches('/'), "SITE"),
        (&lab.directory.display().to_string(), "LAB"),
        (&lab.older.release, "OLDER"),
        (&lab.newer.release, "NEWER"),
        (&lab.older.package, "OLDER-PACKAGE"),
        (&lab.newer.package, "NEWER-PACKAGE"),
    ] {
        text = text.replace(what, name);
    }
    let lines = text.lines().map(|line| match line.split_once("toolchain   ") {
        Some((before, _)) => format!("{before}toolchain   TOOLCHAIN"),
        None => words(line),
    });
    let mut stable = lines.collect::<Vec<_>>().join("\n");
    stable.push('\n');
    stable
}

/// Replaces what is made of digits, word by word.
fn words(line: &str) -> String {
    let mut done = String::new();
    let mut rest = line;
    while !rest.is_empty() {
        let end =
            rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '-').unwrap_or(rest.len());
        if end == 0 {
            let first = rest.chars().next().map_or(0, char::len_utf8);
            done.push_str(&rest[..first]);
            rest = &rest[first..];
            continue;
        }
        let (word, after) = rest.split_at(end);
        let unit = |units: &[&'static str]| {
            let next = after.strip_prefix(' ').unwrap_or_default();
            let number = word.chars().all(|c| c.is_ascii_digit() || c == '.');
            let is = |unit: &str| {
                next.strip_prefix(unit).is_some_and(|after| !after.starts_with(|c: char| c.is_alphanumeric()))
            };
            if number { units.iter().copied().find(|unit| is(unit)) } else { None }
        };
        let (replaced, skip) = if let Some(unit) = unit(&["ms", "s"]) {
            ("TIME", 1 + unit.len())
        } else if let Some(unit) = unit(&["B", "kB", "MB", "GB"]) {
            ("SIZE", 1 + unit.len())
        } else if is_run(word) {
            ("RUN", 0)
        } else if word.len() >= 40 && word.chars().all(|c| c.is_ascii_hexdigit()) {
            ("DIGEST", 0)
        } else {
            (word, 0)
        };
        done.push_str(replaced);
        rest = &after[skip..];
    }
    done
}

/// `20261124T031500.392Z-k3x9`
fn is_run(word: &str) -> bool {
    let Some((moment, tail)) = word.split_once("Z-") else { return false };
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit() || c == '.');
    tail.len() == 4
        && moment.split_once('T').is_some_and(|(date, time)| date.len() == 8 && digits(date) && digits(time))
}
