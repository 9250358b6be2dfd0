//! What differs between two repositories, as text.

use std::fmt::Write as _;

use drivetrain_kmod::{Changed, Needed};

use super::words::count;
use crate::command::diff::{Difference, PackageDifference};

/// The difference for people. `all` names every symbol, and both values of each.
pub fn difference(difference: &Difference, all: bool) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    if !difference.packages.is_empty() {
        let _ = writeln!(text, "packages");
        for package in &difference.packages {
            let _ = writeln!(text, "  {}", package_line(package));
        }
    }
    let modules = &difference.modules;
    if !modules.modules.is_empty() || !modules.only_before.is_empty() || !modules.only_after.is_empty() {
        let _ = writeln!(text, "modules");
    }
    for name in &modules.only_before {
        let _ = writeln!(text, "  {name}: only in the first");
    }
    for name in &modules.only_after {
        let _ = writeln!(text, "  {name}: only in the second");
    }
    for module in &modules.modules {
        let _ = writeln!(text, "  {}: {}", module.name, module.difference);
        if all {
            let difference = &module.difference;
            lines(&mut text, &difference.modinfo, |value| value.clone());
            lines(&mut text, &difference.needs, crc);
            lines(&mut text, &difference.offers, crc);
        }
    }
    let _ = writeln!(text, "{}", summary(difference));
    text
}

fn package_line(package: &PackageDifference) -> String {
    match (&package.before, &package.after) {
        (Some(before), Some(after)) if before == after => format!("{before}: other bytes"),
        (Some(before), Some(after)) => format!("{before} and {after}"),
        (Some(before), None) => format!("{before}: only in the first"),
        (None, Some(after)) => format!("{after}: only in the second"),
        (None, None) => package.name.clone(),
    }
}

fn lines<T>(text: &mut String, changed: &[Changed<T>], show: impl Fn(&T) -> String) {
    let value = |value: &Option<T>| value.as_ref().map_or_else(|| "nothing".to_owned(), &show);
    for change in changed {
        let _ =
            writeln!(text, "      {}: {} and {}", change.what, value(&change.before), value(&change.after));
    }
}

fn crc(needed: &Needed) -> String {
    needed.crc.map_or_else(|| "no CRC".to_owned(), |crc| format!("CRC {crc}"))
}

fn summary(difference: &Difference) -> String {
    let modules = &difference.modules;
    let differing = modules.modules.len();
    let only_vermagic = modules.only_vermagic();
    let what = match differing {
        0 if modules.is_none() => format!("the same: {}", count(modules.same, "module")),
        _ if differing == only_vermagic
            && modules.only_before.is_empty()
            && modules.only_after.is_empty() =>
        {
            format!("{} differ, only in vermagic; {} are the same", count(differing, "module"), modules.same)
        }
        _ => format!(
            "{} differ, {only_vermagic} of them only in vermagic; {} are the same",
            count(differing, "module"),
            modules.same
        ),
    };
    format!(
        "{what}; {} differ, {} are the same",
        count(difference.packages.len(), "package"),
        difference.same_packages
    )
}
