//! Closures of random repositories, beside what dnf makes of them.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where something fails, and says what it found"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use drivetrain_model::{
    Architecture, Capability, Comparison, Evr, Nevra, Package, RepositoryId, Sha256Digest,
};
use drivetrain_solve::{Closure, Options, Unsolvable, Want, closure};
use support::{Answer, Dnf, dependencies, index, world, write_repository};

/// How many repositories, unless `DRIVETRAIN_CASES` says otherwise.
const CASES: u64 = 400;

/// What a random world may have.
#[derive(Clone, Copy, Debug)]
struct Features {
    rich: bool,
    conflicts: bool,
    obsoletes: bool,
    multilib: bool,
    weak: bool,
}

/// A world of packages.
struct Case {
    train: Vec<Package>,
    vendor: Vec<Package>,
    train_files: Vec<(usize, String)>,
    vendor_files: Vec<(usize, String)>,
    wants: Vec<String>,
    weak: bool,
}

struct Dice(fastrand::Rng);

impl Dice {
    fn one_in(&mut self, count: u32) -> bool {
        self.0.u32(0..count) == 0
    }

    fn below(&mut self, count: usize) -> usize {
        self.0.usize(0..count)
    }

    fn features(&mut self) -> Features {
        Features {
            rich: self.one_in(2),
            conflicts: self.one_in(2),
            obsoletes: self.one_in(3),
            multilib: self.one_in(3),
            weak: self.one_in(4),
        }
    }

    fn evr(&mut self, dependency: bool) -> Evr {
        let version = ["1", "2", "2~rc1", "2^git1", "3"][self.below(5)];
        let bare = dependency && self.one_in(2);
        let release = if bare { "" } else { ["1", "2"][self.below(2)] };
        let epoch = if self.one_in(8) { 1 } else { 0 };
        Evr::new(epoch, version, release)
    }

    fn name(&mut self) -> String {
        format!("p{}", self.below(14))
    }

    fn capability(&mut self) -> Capability {
        let name = match self.below(10) {
            0..5 => self.name(),
            5..9 => format!("cap{}()(64bit)", self.below(6)),
            _ if self.one_in(2) => format!("/usr/bin/tool{}", self.below(3)),
            _ => format!("/opt/data{}", self.below(3)),
        };
        if name.starts_with('/') || !self.one_in(3) {
            return Capability::unversioned(name);
        }
        let comparison = [
            Comparison::Less,
            Comparison::LessOrEqual,
            Comparison::Equal,
            Comparison::GreaterOrEqual,
            Comparison::Greater,
        ][self.below(5)];
        Capability::versioned(name, comparison, self.evr(true))
    }

    fn requirement(&mut self, features: Features) -> Capability {
        if features.rich && self.one_in(4) {
            return Capability::unversioned(self.rich(2));
        }
        self.capability()
    }

    fn rich(&mut self, depth: usize) -> String {
        let operand = |dice: &mut Self| {
            if depth > 1 && dice.one_in(4) { dice.rich(depth - 1) } else { dice.capability().to_string() }
        };
        let (a, b) = (operand(self), operand(self));
        let plain = |dice: &mut Self| dice.capability().to_string();
        match self.below(9) {
            0 => format!("({a} and {b})"),
            1 | 2 => format!("({a} or {b})"),
            3 | 4 => format!("({a} if {b})"),
            5 => format!("({a} if {b} else {})", operand(self)),
            6 => format!("({a} unless {b})"),
            7 => format!("({} with {})", plain(self), plain(self)),
            _ => format!("({} without {})", plain(self), plain(self)),
        }
    }

    fn package(&mut self, features: Features, name: String) -> Package {
        let arch = match self.below(8) {
            0 => "noarch",
            1 if features.multilib => "i686",
            _ => "x86_64",
        };
        let nevra = Nevra::new(name, self.evr(false), Architecture::parse(arch).unwrap());
        let mut package = Package::bare(nevra, Sha256Digest::of(b"").into(), 1000, "x.rpm");
        let own = Capability::versioned(&package.nevra.name, Comparison::Equal, package.nevra.evr.clone());
        package.provides.push(own);
        for _ in 0..self.below(3) {
            let name = format!("cap{}()(64bit)", self.below(6));
            let provided = if self.one_in(2) {
                Capability::unversioned(name)
            } else {
                Capability::versioned(name, Comparison::Equal, self.evr(false))
            };
            package.provides.push(provided);
        }
        for _ in 0..self.below(3) {
            let requirement = self.requirement(features);
            package.requires.push(requirement);
        }
        if features.conflicts && self.one_in(6) {
            let conflict = if features.rich && self.one_in(3) {
                Capability::unversioned(self.rich(1))
            } else {
                self.capability()
            };
            package.conflicts.push(conflict);
        }
        if features.obsoletes && self.one_in(8) {
            let mut obsoleted = self.capability();
            obsoleted.name = self.name();
            package.obsoletes.push(obsoleted);
        }
        if features.weak {
            for list in [
                &mut package.recommends,
                &mut package.supplements,
                &mut package.suggests,
                &mut package.enhances,
            ] {
                if self.one_in(5) {
                    list.push(self.capability());
                }
            }
        }
        if self.one_in(6) {
            package.files.push(format!("/usr/bin/tool{}", self.below(3)));
        }
        package
    }

    fn repository(&mut self, features: Features, count: usize) -> (Vec<Package>, Vec<(usize, String)>) {
        let mut packages: Vec<Package> = Vec::new();
        let mut files = Vec::new();
        while packages.len() < count {
            let name = self.name();
            let mut package = self.package(features, name);
            // One version both with and without an architecture is no distribution's: which of the two dnf takes
            // depends on the order of its metadata.
            let twin = |other: &Package| {
                let (a, b) = (&other.nevra, &package.nevra);
                a.name == b.name
                    && a.evr == b.evr
                    && (a.arch == b.arch || a.arch.as_str() == "noarch" || b.arch.as_str() == "noarch")
            };
            if packages.iter().any(twin) {
                continue;
            }
            package.checksum =
                Sha256Digest::of(format!("{} {}", package.nevra, self.0.u64(..)).as_bytes()).into();
            package.location = package.nevra.file_name();
            if self.one_in(6) {
                files.push((packages.len(), format!("/opt/data{}", self.below(3))));
            }
            packages.push(package);
        }
        (packages, files)
    }
}

fn features(seed: u64) -> Features {
    Dice(fastrand::Rng::with_seed(seed)).features()
}

fn case(seed: u64) -> Case {
    let mut dice = Dice(fastrand::Rng::with_seed(seed));
    let features = dice.features();
    let (train_size, vendor_size) = (6 + dice.below(14), 4 + dice.below(12));
    let (train, train_files) = dice.repository(features, train_size);
    let (vendor, vendor_files) = dice.repository(features, vendor_size);
    let names: BTreeSet<String> = vendor.iter().map(|package| package.nevra.name.clone()).collect();
    let names: Vec<String> = names.into_iter().collect();
    let wants: BTreeSet<String> =
        (0..1 + dice.below(2)).map(|_| names[dice.below(names.len())].clone()).collect();
    Case { train, vendor, train_files, vendor_files, wants: wants.into_iter().collect(), weak: features.weak }
}

impl Case {
    fn ours(&self) -> Result<Closure, Box<Unsolvable>> {
        let (train, vendor) = (index(&self.train), index(&self.vendor));
        let mut world = world(&train, &vendor);
        for (id, packages, files) in
            [("train", &self.train, &self.train_files), ("vendor", &self.vendor, &self.vendor_files)]
        {
            let owners: Vec<(String, Nevra)> =
                files.iter().map(|(number, path)| (path.clone(), packages[*number].nevra.clone())).collect();
            world.add_files(&RepositoryId::parse(id).unwrap(), &owners);
        }
        let wants: Vec<Want> = self.wants.iter().map(|want| Want::find(&world, want).unwrap()).collect();
        closure(&world, &wants, &Options { weak: self.weak, ..Options::default() })
    }

    fn write(&self, directory: &Path) {
        write_repository(&directory.join("train"), &self.train, &self.train_files);
        write_repository(&directory.join("vendor"), &self.vendor, &self.vendor_files);
    }

    fn ask(&self, dnf: &mut Dnf, directory: &Path, without: &[String]) -> Answer {
        let wants: Vec<&str> = self.wants.iter().map(String::as_str).collect();
        dnf.ask(&directory.join("train"), &directory.join("vendor"), &wants, self.weak, without)
    }

    fn vendor_names(&self) -> BTreeSet<String> {
        self.vendor.iter().map(|package| package.nevra.to_string()).collect()
    }
}

/// How two answers compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// The same packages of the vendor's.
    Same,
    /// Both say that it cannot be done.
    BothRefuse,
    /// Ours are among dnf's: dnf installs something that turns out not to be needed.
    Fewer,
    /// Others, as many or fewer, from which dnf installs the wants as well.
    Others,
    /// Others, and more.
    More,
    /// Only dnf finds a solution.
    OnlyDnf,
    /// Only we find a solution.
    OnlyOurs,
    /// What we found, dnf cannot install.
    Wrong,
}

fn compare(case: &Case, dnf: &mut Dnf, directory: &Path) -> Outcome {
    case.write(directory);
    let theirs = case.ask(dnf, directory, &[]);
    match (case.ours(), theirs) {
        (Err(_), Err(_)) => Outcome::BothRefuse,
        (Err(_), Ok(_)) => Outcome::OnlyDnf,
        (Ok(_), Err(_)) => Outcome::OnlyOurs,
        (Ok(ours), Ok(theirs)) => {
            let ours: BTreeSet<String> =
                ours.packages.iter().map(|package| package.nevra.to_string()).collect();
            let theirs: BTreeSet<String> = theirs
                .into_iter()
                .filter(|(repository, _)| repository == "vendor")
                .map(|(_, nevra)| nevra)
                .collect();
            if ours == theirs {
                return Outcome::Same;
            }
            let without: Vec<String> = case.vendor_names().difference(&ours).cloned().collect();
            match case.ask(dnf, directory, &without) {
                Err(_) => Outcome::Wrong,
                Ok(_) if ours.is_subset(&theirs) => Outcome::Fewer,
                Ok(_) if ours.len() <= theirs.len() => Outcome::Others,
                Ok(_) => Outcome::More,
            }
        }
    }
}

#[test]
fn closures_are_those_that_dnf_makes() {
    let Some(mut dnf) = Dnf::start() else { return };
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (cases, first) = (number("DRIVETRAIN_CASES", CASES), number("DRIVETRAIN_SEED", 0));
    let mut counts: BTreeMap<Outcome, Vec<u64>> = BTreeMap::new();
    for seed in first..first + cases {
        let directory = tempfile::tempdir().unwrap();
        let compared = compare(&case(seed), &mut dnf, directory.path());
        counts.entry(compared).or_default().push(seed);
    }
    for (compared, seeds) in &counts {
        let shown: Vec<&u64> = seeds.iter().take(12).collect();
        let weak = seeds.iter().filter(|seed| features(**seed).weak).count();
        println!(
            "{compared:?}: {} of {cases}, {weak} of them with weak dependencies, seeds {shown:?}",
            seeds.len()
        );
    }
    // Multilib is the one thing that a solution may depend on in dnf by what else it has looked at.
    let cannot = |seeds: &Vec<u64>| seeds.iter().all(|seed| features(*seed).multilib);
    assert!(counts.remove(&Outcome::OnlyDnf).is_none_or(|seeds| cannot(&seeds)), "only dnf finds a solution");
    for wrong in [Outcome::OnlyOurs, Outcome::Wrong] {
        assert_eq!(counts.get(&wrong), None, "{wrong:?}");
    }
}

/// Shows one case: `DRIVETRAIN_SEED=17 cargo test -p drivetrain-solve --test differential -- --ignored --nocapture`.
#[test]
#[ignore = "for a person who looks at a disagreement"]
fn show() {
    let Some(mut dnf) = Dnf::start() else { return };
    let seed = std::env::var("DRIVETRAIN_SEED").unwrap().parse().unwrap();
    let case = case(seed);
    let directory = tempfile::tempdir().unwrap();
    println!("compared: {:?}", compare(&case, &mut dnf, directory.path()));
    for (id, packages, files) in
        [("train", &case.train, &case.train_files), ("vendor", &case.vendor, &case.vendor_files)]
    {
        println!("{id}:");
        for (number, package) in packages.iter().enumerate() {
            println!("  {}", package.nevra);
            for (kind, list) in dependencies(package) {
                list.iter().for_each(|capability| println!("    {kind} {capability}"));
            }
            let others = files.iter().filter(|(of, _)| *of == number).map(|(_, path)| path);
            package.files.iter().chain(others).for_each(|path| println!("    has {path}"));
        }
    }
    println!("wanted: {:?}", case.wants);
    if let Some(keep) = std::env::var_os("DRIVETRAIN_KEEP") {
        let copied = std::process::Command::new("cp").arg("-r").arg(directory.path()).arg(keep).status();
        assert!(copied.unwrap().success());
    }
    match case.ask(&mut dnf, directory.path(), &[]) {
        Ok(install) => install.iter().for_each(|(id, nevra)| println!("dnf: {id} {nevra}")),
        Err(problems) => println!("dnf: {}", problems.join("\n     ")),
    }
    match case.ours() {
        Ok(closure) => {
            closure.train.iter().for_each(|nevra| println!("ours: train {nevra}"));
            closure.packages.iter().for_each(|package| {
                println!("ours: {} {}", package.nevra, serde_json::to_string(&package.reasons).unwrap());
            });
        }
        Err(error) => error.because.iter().for_each(|fact| println!("ours: {fact}")),
    }
}
