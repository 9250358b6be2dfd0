//! A closure as text: the set, a tree, and why a package is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use drivetrain_model::Nevra;
use drivetrain_plan::{reasons_in_words, shadow_words};
use drivetrain_solve::{Closure, Reason, Satisfied};

use super::words::{bytes, count};

/// Chains of one package longer than this are not all told.
const MOST_CHAINS: usize = 20;

/// The whole answer.
pub fn closure(closure: &Closure, wanted: &[String]) -> String {
    let mut text = String::new();
    let size = closure.packages.iter().map(|package| package.size).sum();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "wanted      {}", wanted.join(", "));
    let _ = writeln!(text, "needed      {}, {}", count(closure.packages.len(), "package"), bytes(size));
    for package in &closure.packages {
        let _ = writeln!(
            text,
            "  {}  {}, {}",
            package.nevra,
            package.repository,
            if package.size == 0 { "built here".to_owned() } else { bytes(package.size) }
        );
        for reason in reasons_in_words(&package.reasons) {
            let _ = writeln!(text, "      {reason}");
        }
    }
    let _ = writeln!(text, "train       {} of it come with them", count(closure.train.len(), "package"));
    for (by, capabilities) in satisfied(closure) {
        let (first, more) = (capabilities.first().copied().unwrap_or_default(), capabilities.len());
        let more = if more > 1 { format!(", and {} more", more - 1) } else { String::new() };
        let _ = writeln!(text, "  {by}  has {first}{more}");
    }
    for shadow in &closure.shadows {
        let _ = writeln!(text, "shadow      {}", shadow_words(shadow));
    }
    text
}

/// What the train satisfies of the set's needs, by its packages.
fn satisfied(closure: &Closure) -> BTreeMap<String, Vec<&str>> {
    let mut by_package: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for satisfied in &closure.satisfied {
        let package = format!("{}  {}", satisfied.by, satisfied.repository);
        by_package.entry(package).or_default().push(&satisfied.capability);
    }
    by_package
}

/// The packages below those that need them. One that stood above already is not followed again.
pub fn tree(closure: &Closure) -> String {
    let mut text = String::new();
    let mut shown = BTreeSet::new();
    for package in &closure.packages {
        let wanted = package.reasons.iter().any(|reason| matches!(reason, Reason::Wanted { .. }));
        if wanted {
            branch(closure, &package.nevra, "", "", &mut shown, &mut text);
        }
    }
    // What came by itself, for what it supplements, is below nothing.
    for package in &closure.packages {
        if !shown.contains(&package.nevra) {
            branch(closure, &package.nevra, "", "", &mut shown, &mut text);
        }
    }
    text
}

fn branch(
    closure: &Closure,
    package: &Nevra,
    lead: &str,
    below: &str,
    shown: &mut BTreeSet<Nevra>,
    text: &mut String,
) {
    let children = children(closure, package);
    let again = !shown.insert(package.clone());
    let above = if again && !children.is_empty() { " (above)" } else { "" };
    let _ = writeln!(text, "{lead}{package}{above}");
    if again {
        return;
    }
    let train: Vec<&Nevra> = closure
        .satisfied
        .iter()
        .filter(|satisfied| satisfied.needed_by.contains(package))
        .map(|satisfied| &satisfied.by)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let lines = children.len() + train.len();
    for (position, child) in children.iter().enumerate() {
        let (lead, more) = guides(below, position + 1 == lines);
        branch(closure, child, &lead, &more, shown, text);
    }
    for (position, child) in train.iter().enumerate() {
        let (lead, _) = guides(below, children.len() + position + 1 == lines);
        let _ = writeln!(text, "{lead}{child} (train)");
    }
}

fn guides(below: &str, last: bool) -> (String, String) {
    if last {
        (format!("{below}└─ "), format!("{below}   "))
    } else {
        (format!("{below}├─ "), format!("{below}│  "))
    }
}

/// What of the set is there for a package.
fn children(closure: &Closure, package: &Nevra) -> Vec<Nevra> {
    closure
        .packages
        .iter()
        .filter(|other| other.reasons.iter().any(|reason| reason.by() == Some(package)))
        .map(|other| other.nevra.clone())
        .collect()
}

/// The ways from what is wanted to a package, each a step a line; those of the set that are called so, and those of the
/// train's that satisfy something.
pub fn chains(closure: &Closure, name: &str) -> Vec<Vec<String>> {
    let is_meant = |nevra: &Nevra| nevra.name == name || nevra.to_string() == name;
    let mut found = Vec::new();
    for package in closure.packages.iter().filter(|package| is_meant(&package.nevra)) {
        up(closure, &package.nevra, Vec::new(), &mut BTreeSet::new(), &mut found);
    }
    let satisfies = |nevra: &Nevra| closure.satisfied.iter().any(|satisfied| satisfied.by == *nevra);
    for train in closure.train.iter().filter(|nevra| is_meant(nevra) && !satisfies(nevra)) {
        found.push(vec![format!(
            "{train} of the train comes with others of the train: nothing that is published needs it by itself"
        )]);
    }
    let mut by_package: BTreeMap<(&Nevra, &Nevra), Vec<&Satisfied>> = BTreeMap::new();
    for satisfied in closure.satisfied.iter().filter(|satisfied| is_meant(&satisfied.by)) {
        for by in &satisfied.needed_by {
            by_package.entry((&satisfied.by, by)).or_default().push(satisfied);
        }
    }
    for ((train, by), all) in by_package {
        let Some(first) = all.first() else { continue };
        let more = if all.len() > 1 { format!(" and {} more", all.len() - 1) } else { String::new() };
        let step =
            format!("{train} of {} has {}{more}, which {by} needs", first.repository, first.capability);
        up(closure, by, vec![step], &mut BTreeSet::new(), &mut found);
    }
    found
}

/// From a package up to what is wanted. A circle is not gone round.
fn up(
    closure: &Closure,
    package: &Nevra,
    below: Vec<String>,
    above: &mut BTreeSet<Nevra>,
    found: &mut Vec<Vec<String>>,
) {
    let Some(needed) = closure.packages.iter().find(|needed| needed.nevra == *package) else { return };
    if found.len() >= MOST_CHAINS || !above.insert(package.clone()) {
        return;
    }
    let mut by: Vec<(Option<&Nevra>, Vec<Reason>)> = Vec::new();
    for reason in &needed.reasons {
        match by.iter_mut().find(|(one, _)| one.is_some() && *one == reason.by()) {
            Some((_, reasons)) => reasons.push(reason.clone()),
            None => by.push((reason.by(), vec![reason.clone()])),
        }
    }
    for (by, reasons) in by {
        let mut steps = below.clone();
        steps.push(format!("{package} is {}", reasons_in_words(&reasons).join(", and ")));
        match by {
            Some(by) => up(closure, by, steps, above, found),
            None => {
                steps.reverse();
                found.push(steps);
            }
        }
    }
    above.remove(package);
}

/// Chains as text, the shortest first.
pub fn why(chains: &[Vec<String>]) -> String {
    let mut chains: Vec<&Vec<String>> = chains.iter().collect();
    chains.sort_by_key(|chain| (chain.len(), *chain));
    let texts: Vec<String> = chains
        .iter()
        .map(|chain| {
            let lines =
                chain.iter().enumerate().map(|(depth, step)| format!("{}{step}\n", "  ".repeat(depth)));
            lines.collect()
        })
        .collect();
    texts.join("\n")
}
