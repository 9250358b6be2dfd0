//! What a spec file says before anything is built: which packages it makes, and what it needs for that.
//!
//! A source RPM's header was written on the vendor's machine, with the vendor's conditions: what stands under
//! `%if %{with building_kmods}` is not in it. So the order of the components comes from the text. It is not
//! evaluated as rpm would: every branch counts whose condition cannot be decided, and the result is what may be,
//! which is what an order has to hold for.
//!
//! The format: `docs/manual/spec.md` and `build/parsePreamble.c` of rpm.

use std::collections::BTreeSet;

use drivetrain_model::{Capability, Comparison, Evr};

use crate::macros::{Macros, braced, name_length};

/// Names and requirements of one spec file. More are not collected.
const MAX_RESULTS: usize = 1_000;
/// Longest line that is looked at.
const MAX_LINE_BYTES: usize = 16 << 10;
/// Bytes of a spec file that are looked at.
pub(crate) const MAX_SPEC_BYTES: usize = 4 << 20;

/// The names of the binary packages that a spec file may make: those of `%package`, that of
/// `%kernel_module_package`, and its own where it has a `%files` without a name. `name` is the source package's,
/// for `%{name}`. In order, each once; names that need more than the simple macros are left out.
#[must_use]
pub fn spec_packages(spec_text: &str, name: &str) -> Vec<String> {
    let mut packages = BTreeSet::new();
    read(spec_text, name, |line, macros| {
        let words: Vec<_> = line.split_whitespace().collect();
        let Some((&directive, arguments)) = words.split_first() else { return };
        let pattern = match directive {
            "%package" => named(arguments, "%{name}-"),
            "%files" if is_own_files(arguments) => Some("%{name}".to_owned()),
            // The macro of the distributions' kernel module packages makes `kmod-<name>`.
            "%kernel_module_package" | "%{kernel_module_package}" => {
                let option = arguments.iter().position(|&word| word == "-n");
                let given = option.and_then(|at| arguments.get(at + 1));
                Some(format!("kmod-{}", given.unwrap_or(&"%{name}")))
            }
            _ => None,
        };
        for package in pattern.map(|pattern| macros.readings(&pattern)).unwrap_or_default() {
            if is_package_name(&package) && packages.len() < MAX_RESULTS {
                packages.insert(package);
            }
        }
    });
    packages.into_iter().collect()
}

/// What a spec file may need to be built: every `BuildRequires` of every branch, also of those that the source
/// RPM's header has nothing of. Those that need more than the simple macros are left out.
#[must_use]
pub fn spec_build_requires(spec_text: &str, name: &str) -> Vec<Capability> {
    let mut needs = Vec::new();
    read(spec_text, name, |line, macros| {
        let Some((tag, value)) = line.split_once(':') else { return };
        if !tag.trim().eq_ignore_ascii_case("BuildRequires") {
            return;
        }
        for reading in macros.readings(value) {
            for need in dependencies(&reading) {
                if needs.len() < MAX_RESULTS && !needs.contains(&need) {
                    needs.push(need);
                }
            }
        }
    });
    needs
}

/// `%package devel` is `<name>-devel`, `%package -n x` is `x`.
fn named(arguments: &[&str], prefix: &str) -> Option<String> {
    match arguments {
        ["-n", name, ..] => Some((*name).to_owned()),
        [name, ..] if !name.starts_with('-') => Some(format!("{prefix}{name}")),
        _ => None,
    }
}

/// Whether a `%files` is the main package's: it has no name, though it may have `-f list`.
fn is_own_files(arguments: &[&str]) -> bool {
    let mut words = arguments.iter();
    while let Some(&word) = words.next() {
        match word {
            "-f" => {
                words.next();
            }
            _ => return false,
        }
    }
    true
}

fn is_package_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.len() <= 128
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'+'))
}

/// `a, b >= 1.0 (c or d)`: separated by white space or commas.
fn dependencies(text: &str) -> Vec<Capability> {
    let mut found = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        if rest.starts_with('(') {
            // A rich dependency is one text, up to the parenthesis that closes it.
            let Some(end) = closing(rest) else { return found };
            found.push(Capability::unversioned(&rest[..end]));
            rest = rest[end..].trim_start_matches([' ', '\t', ',']);
            continue;
        }
        let (name, after) = word(rest);
        let (sign, after_sign) = word(after);
        rest = match Comparison::from_sign(sign) {
            Some(comparison) => {
                let (version, after_version) = word(after_sign);
                if !version.is_empty() {
                    found.push(Capability::versioned(name, comparison, Evr::parse(version)));
                }
                after_version
            }
            None => {
                found.push(Capability::unversioned(name));
                after
            }
        };
        if found.len() > MAX_RESULTS {
            break;
        }
    }
    found
}

fn word(text: &str) -> (&str, &str) {
    let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (word, rest.trim_start_matches([' ', '\t', ',']))
}

fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

/// A branch of an `%if` that was not ended yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Branch {
    /// It is read.
    Taken,
    /// It is not.
    Passed,
    /// It may be.
    Perhaps,
}

/// Hands over each line that rpm may read, with the macros as they are there.
fn read(spec_text: &str, name: &str, mut visit: impl FnMut(&str, &Macros)) {
    let mut macros = Macros::default();
    macros.define("name", name, true);
    let mut branches: Vec<Branch> = Vec::new();
    // `%changelog` is prose.
    let text = shorten(spec_text, MAX_SPEC_BYTES);
    for line in joined_lines(text) {
        let line = line.trim();
        let directive = line.split_whitespace().next().unwrap_or_default();
        match directive {
            "%changelog" => break,
            "%if" | "%ifarch" | "%ifnarch" | "%ifos" | "%ifnos" => {
                let condition = line[directive.len()..].trim();
                branches.push(if directive == "%if" { decide(condition) } else { Branch::Perhaps });
                continue;
            }
            "%else" => {
                if let Some(branch) = branches.last_mut() {
                    *branch = match *branch {
                        Branch::Taken => Branch::Passed,
                        Branch::Passed => Branch::Taken,
                        Branch::Perhaps => Branch::Perhaps,
                    };
                }
                continue;
            }
            "%elif" | "%elifarch" | "%elifos" => {
                if let Some(branch) = branches.last_mut() {
                    *branch = if *branch == Branch::Taken { Branch::Passed } else { Branch::Perhaps };
                }
                continue;
            }
            "%endif" => {
                branches.pop();
                continue;
            }
            _ if branches.contains(&Branch::Passed) => continue,
            _ => {}
        }
        let certain = !branches.contains(&Branch::Perhaps);
        note_definition(line, certain, &mut macros);
        visit(line, &macros);
    }
}

/// `%global name value`, also within `%{!?name: …}`; and the tags that are macros.
fn note_definition(line: &str, certain: bool, macros: &mut Macros) {
    if let Some(body) = line.strip_prefix("%{").and_then(braced).map(|(body, _)| body) {
        let bare = body.trim_start_matches(['!', '?']);
        let negated = body[..body.len() - bare.len()].contains('!');
        let length = name_length(bare);
        if let Some(inner) = bare[length..].strip_prefix(':')
            && macros.is_defined(&bare[..length]) != negated
        {
            note_definition(inner.trim(), certain, macros);
        }
        return;
    }
    for directive in ["%global", "%define"] {
        if let Some(rest) = line.strip_prefix(directive)
            && rest.starts_with(char::is_whitespace)
        {
            let rest = rest.trim_start();
            let (name, value) = rest.split_at(name_length(rest));
            // `%define name(opts) body`: what it comes to depends on its arguments.
            if !name.is_empty() && !value.starts_with('(') {
                macros.define(name, value.trim(), certain);
            }
            return;
        }
    }
    if let Some(name) = line.strip_prefix("%undefine") {
        if certain {
            macros.undefine(name.trim());
        }
        return;
    }
    if let Some((tag, value)) = line.split_once(':') {
        let tag = tag.trim().to_ascii_lowercase();
        // Subpackages have versions of their own; the main package's stand first.
        if matches!(tag.as_str(), "version" | "release") && !macros.is_defined(&tag) {
            macros.define(&tag, value.trim(), certain);
        }
    }
}

/// Decides what no builder can change: `0`, `1`, and comparisons of two texts without macros. Macros are not
/// asked: one with a value here (`%{!?KMP: %global KMP 0}`) may have another on the command line.
fn decide(condition: &str) -> Branch {
    for (sign, equal) in [("==", true), ("!=", false)] {
        if let Some((left, right)) = condition.split_once(sign)
            && let (Some(left), Some(right)) = (quoted(left), quoted(right))
            && !condition.contains('%')
        {
            return if (left == right) == equal { Branch::Taken } else { Branch::Passed };
        }
    }
    match condition {
        "0" => Branch::Passed,
        "1" => Branch::Taken,
        _ => Branch::Perhaps,
    }
}

fn quoted(text: &str) -> Option<&str> {
    text.trim().strip_prefix('"')?.strip_suffix('"')
}

/// The lines of a text, with those that end in a backslash joined to the next.
fn joined_lines(text: &str) -> impl Iterator<Item = String> {
    let mut lines = text.lines();
    std::iter::from_fn(move || {
        let mut line = lines.next()?.to_owned();
        while line.ends_with('\\') {
            line.pop();
            let Some(next) = lines.next() else { break };
            if line.len() + next.len() > MAX_LINE_BYTES {
                break;
            }
            line.push(' ');
            line.push_str(next);
        }
        if line.len() > MAX_LINE_BYTES {
            line = shorten(&line, MAX_LINE_BYTES).to_owned();
        }
        Some(line)
    })
}

fn shorten(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
