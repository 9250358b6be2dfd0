//! Repositories for tests, as text.

use drivetrain_model::{
    Architecture, Capability, Comparison, Evr, Nevra, Package, RepositoryId, Sha256Digest,
};

use crate::{IndexBuilder, Repository, RepositoryIndex, Role, World};

/// Packages, each a line with its full name; indented below it what it says: `requires: a >= 1, (b if c)`,
/// `file: /usr/bin/x`.
pub(crate) fn packages(text: &str) -> Vec<Package> {
    let mut packages: Vec<Package> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let Some((key, value)) = line.trim().split_once(": ") else {
            let nevra = Nevra::parse(line.trim()).unwrap();
            let checksum = Sha256Digest::of(line.as_bytes()).into();
            let location = format!("Packages/{}", nevra.file_name());
            packages.push(Package::bare(nevra, checksum, 1000, location));
            continue;
        };
        let package = packages.last_mut().unwrap();
        if key == "file" {
            package.files.extend(value.split(", ").map(str::to_owned));
            continue;
        }
        let list = match key {
            "provides" => &mut package.provides,
            "requires" => &mut package.requires,
            "conflicts" => &mut package.conflicts,
            "obsoletes" => &mut package.obsoletes,
            "recommends" => &mut package.recommends,
            "supplements" => &mut package.supplements,
            "suggests" => &mut package.suggests,
            "enhances" => &mut package.enhances,
            _ => panic!("{line:?}"),
        };
        list.extend(value.split(", ").map(capability));
    }
    packages
}

fn capability(text: &str) -> Capability {
    if text.starts_with('(') {
        return Capability::unversioned(text);
    }
    match text.split(' ').collect::<Vec<_>>().as_slice() {
        [name] => Capability::unversioned(*name),
        [name, sign, version] => {
            let comparison = match *sign {
                "<" => Comparison::Less,
                "<=" => Comparison::LessOrEqual,
                "=" => Comparison::Equal,
                ">=" => Comparison::GreaterOrEqual,
                ">" => Comparison::Greater,
                _ => panic!("{text:?}"),
            };
            Capability::versioned(*name, comparison, Evr::parse(version))
        }
        _ => panic!("{text:?}"),
    }
}

pub(crate) fn index(packages: &[Package]) -> RepositoryIndex {
    let mut builder = IndexBuilder::default();
    for package in packages {
        builder.push(package);
    }
    builder.finish().unwrap()
}

pub(crate) fn repository(text: &str) -> RepositoryIndex {
    index(&packages(text))
}

/// A world of a train, a vendor and what is built here.
pub(crate) struct Small {
    pub(crate) own: RepositoryIndex,
    pub(crate) train: RepositoryIndex,
    pub(crate) vendor: RepositoryIndex,
}

impl Small {
    pub(crate) fn new(train: &str, vendor: &str) -> Self {
        Self { own: repository(""), train: repository(train), vendor: repository(vendor) }
    }

    pub(crate) fn with_own(self, own: &str) -> Self {
        Self { own: repository(own), ..self }
    }

    pub(crate) fn repositories(&self) -> Vec<Repository<'_>> {
        [
            ("own", Role::Own, &self.own),
            ("train", Role::Train, &self.train),
            ("vendor", Role::Vendor, &self.vendor),
        ]
        .into_iter()
        .map(|(id, role, index)| Repository {
            id: RepositoryId::parse(id).unwrap(),
            role,
            priority: 99,
            index,
            exclude: Vec::new(),
            hidden: Default::default(),
        })
        .collect()
    }

    pub(crate) fn world(&self) -> World<'_> {
        World::new(&Architecture::parse("x86_64").unwrap(), self.repositories())
    }
}
