//! Closures in the dependency graph of a whole distribution, beside what dnf makes of them.
//!
//! Debian's packages, as `drivetrain-lab world` writes them: sixty thousand, with real dependencies. A fifth of them plays
//! the vendor's, a tenth is in both in two versions.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where something fails, and says what it found"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::BufReader;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use drivetrain_model::{Capability, Comparison, Package, Sha256Digest};
use drivetrain_repodata::{Limits, RecordKind, decompress, parse_repomd, read_primary};
use drivetrain_solve::{Options, Want, closure, paths_to_look_up};
use support::{Dnf, index, write_repository};

/// How many wants, unless `DRIVETRAIN_WANTS` says otherwise.
const WANTS: usize = 150;

fn number<T: std::str::FromStr>(name: &str, default: T) -> T
where
    T::Err: std::fmt::Debug,
{
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// The lab's world; `None` where it is not made: the test says so and passes.
fn world() -> Option<PathBuf> {
    let directory = std::env::var_os("DRIVETRAIN_LAB").map(|lab| Path::new(&lab).join("world"));
    let found = directory.filter(|directory| directory.join("repodata/repomd.xml").exists());
    if found.is_none() {
        println!("SKIPPED: there is no DRIVETRAIN_LAB/world (drivetrain-lab world)");
    }
    found
}

fn packages(world: &Path) -> Vec<Package> {
    let limits = Limits::default();
    let repomd = parse_repomd(&std::fs::read(world.join("repodata/repomd.xml")).unwrap(), &limits).unwrap();
    let record = repomd.record(&RecordKind::Primary).unwrap();
    let file = BufReader::new(File::open(world.join(&record.location)).unwrap());
    let mut packages = Vec::new();
    let opened = decompress("primary", file, None, &limits).unwrap();
    let sink = |package| {
        packages.push(package);
        ControlFlow::Continue(())
    };
    read_primary(opened, &limits, |_, _| true, sink).unwrap();
    packages
}

/// One and the same part for a name, whatever else there is.
fn part(seed: u64, name: &str) -> u8 {
    u8::from_str_radix(&Sha256Digest::of(format!("{seed} {name}").as_bytes()).to_string()[..2], 16).unwrap()
}

/// The train's packages, and the vendor's.
fn split(seed: u64, all: Vec<Package>) -> (Vec<Package>, Vec<Package>) {
    let (mut train, mut vendor) = (Vec::new(), Vec::new());
    for package in all {
        match part(seed, &package.nevra.name) {
            0..51 => vendor.push(package),
            51..77 => {
                vendor.push(newer(package.clone()));
                train.push(package);
            }
            _ => train.push(package),
        }
    }
    (train, vendor)
}

/// The next release of a package.
fn newer(mut package: Package) -> Package {
    let before = package.nevra.evr.clone();
    package.nevra.evr.release.push_str(".99");
    let own = Capability::versioned(&package.nevra.name, Comparison::Equal, before);
    package.provides.retain(|provided| *provided != own);
    package.provides.push(Capability::versioned(
        &package.nevra.name,
        Comparison::Equal,
        package.nevra.evr.clone(),
    ));
    package.checksum = Sha256Digest::of(package.nevra.to_string().as_bytes()).into();
    package.location = package.nevra.file_name();
    package
}

/// Prints in what two sets differ, where `DRIVETRAIN_SHOW` is set.
fn show_difference(want: &str, ours: &BTreeSet<String>, theirs: &BTreeSet<String>) {
    if std::env::var_os("DRIVETRAIN_SHOW").is_some() {
        let without = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
            one.difference(other).cloned().collect::<Vec<_>>().join(", ")
        };
        println!("{want}: only dnf has {}; only we have {}", without(theirs, ours), without(ours, theirs));
    }
}

#[test]
fn closures_in_a_whole_distribution_are_those_that_dnf_makes() {
    let (Some(world), Some(mut dnf)) = (world(), Dnf::start()) else { return };
    let seed = number("DRIVETRAIN_SEED", 1);
    let (train, vendor) = split(seed, packages(&world));
    let directory = tempfile::tempdir().unwrap();
    let (train_path, vendor_path) = (directory.path().join("train"), directory.path().join("vendor"));
    write_repository(&train_path, &train, &[]);
    write_repository(&vendor_path, &vendor, &[]);
    let (train_index, vendor_index) = (index(&train), index(&vendor));
    let world = support::world(&train_index, &vendor_index);

    let mut dice = fastrand::Rng::with_seed(seed);
    let mut counts: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for _ in 0..number("DRIVETRAIN_WANTS", WANTS) {
        let want = &vendor[dice.usize(0..vendor.len())].nevra.name;
        let wants = [Want::find(&world, want).unwrap()];
        assert_eq!(paths_to_look_up(&world, &wants, &Options::default()), BTreeSet::new());
        let ours = closure(&world, &wants, &Options::default());
        let theirs = dnf.ask_again(&train_path, &vendor_path, want, None);
        let outcome = match (ours, theirs) {
            (Err(_), Err(_)) => "both refuse",
            (Err(_), Ok(_)) => "only dnf",
            (Ok(_), Err(_)) => "only ours",
            (Ok(ours), Ok(theirs)) => {
                let ours: BTreeSet<String> =
                    ours.packages.iter().map(|package| package.nevra.to_string()).collect();
                let theirs: BTreeSet<String> =
                    theirs.into_iter().filter(|(id, _)| id == "vendor").map(|(_, nevra)| nevra).collect();
                if ours == theirs {
                    "same"
                } else {
                    show_difference(want, &ours, &theirs);
                    // It has to be one with which dnf installs what is wanted as well.
                    let only: Vec<String> = ours.iter().cloned().collect();
                    match dnf.ask_again(&train_path, &vendor_path, want, Some(&only)) {
                        Err(_) => "wrong",
                        Ok(_) if ours.is_subset(&theirs) => "fewer",
                        Ok(_) if ours.len() <= theirs.len() => "others",
                        Ok(_) => "more",
                    }
                }
            }
        };
        counts.entry(outcome).or_default().push(want.clone());
    }
    for (outcome, wants) in &counts {
        println!("{outcome}: {} (such as {})", wants.len(), wants[..wants.len().min(5)].join(", "));
    }
    for wrong in ["only dnf", "only ours", "wrong"] {
        assert_eq!(counts.get(wrong), None, "{wrong}");
    }
    assert!(counts.get("same").is_some_and(|same| same.len() > 10), "{counts:?}");
}
