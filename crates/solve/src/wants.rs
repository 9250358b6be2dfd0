//! What is asked for, and which packages are meant by it.

use drivetrain_model::{Capability, Comparison, Evr, Nevra};

use crate::arch::Fit;
use crate::policy::Policy;
use crate::world::{PackageId, Reading, Role, World};

/// How many names are suggested in place of one that does not exist.
const SUGGESTIONS: usize = 3;

/// Something that is wanted, and the packages that would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// As it was asked for.
    pub text: String,
    /// The packages that would do: the best of each name.
    pub candidates: Vec<PackageId>,
}

/// Nothing is called so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no package is called {text}, and none provides it")]
pub struct UnknownWant {
    /// What was asked for.
    pub text: String,
    /// What there is under names that look alike.
    pub suggestions: Vec<String>,
    /// Packages that would do and are left out, each with the reason.
    pub left_out: Vec<String>,
}

impl Want {
    /// Finds what is meant by a text: a package's name, `name.arch`, its full name, a capability with or without a
    /// version (`libibverbs >= 2510`), or a path. The vendor's packages go before the train's: who asks for a package of
    /// that name means the vendor's.
    ///
    /// # Errors
    /// Where there is none.
    pub fn find(world: &World<'_>, text: &str) -> Result<Self, UnknownWant> {
        let capability = capability_of(text);
        let named = || named(world, text);
        let providing = || world.providers(&capability, Reading::Strict);
        let ways: [&dyn Fn() -> Vec<PackageId>; 2] = [&named, &providing];
        for way in ways {
            let found = way();
            for roles in [&[Role::Own, Role::Vendor][..], &[Role::Train]] {
                let mut candidates: Vec<PackageId> =
                    found.iter().copied().filter(|package| roles.contains(&world.role(*package))).collect();
                if !candidates.is_empty() {
                    own_architecture(world, &mut candidates);
                    Policy::new(world).prune_without_recommendations(&mut candidates);
                    return Ok(Self { text: text.to_owned(), candidates });
                }
            }
        }
        Err(UnknownWant {
            text: text.to_owned(),
            suggestions: suggestions(world, text),
            left_out: world.left_out(&capability),
        })
    }
}

/// Leaves out what is for older architectures, where there is anything else: as DNF's `multilib_policy=best` does.
fn own_architecture(world: &World<'_>, candidates: &mut Vec<PackageId>) {
    let suits = |package: &PackageId| world.fit(*package).is_some_and(|fit| fit <= Fit::Rank(0));
    if candidates.iter().any(suits) {
        candidates.retain(suits);
    }
}

/// By name, by name and architecture, or by full name.
fn named(world: &World<'_>, text: &str) -> Vec<PackageId> {
    let mut found = world.named(text);
    if let Some((name, arch)) = text.rsplit_once('.') {
        found.extend(
            world.named(name).into_iter().filter(|package| world.nevra(*package).arch.as_str() == arch),
        );
    }
    if let Ok(nevra) = Nevra::parse(text) {
        found.extend(world.named(&nevra.name).into_iter().filter(|package| world.nevra(*package) == nevra));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// `name`, or `name OPERATOR version`.
fn capability_of(text: &str) -> Capability {
    let words: Vec<&str> = text.split_whitespace().collect();
    if let &[name, sign, version] = words.as_slice() {
        let comparison = match sign {
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            "=" | "==" => Comparison::Equal,
            ">=" => Comparison::GreaterOrEqual,
            ">" => Comparison::Greater,
            _ => return Capability::unversioned(text),
        };
        return Capability::versioned(name, comparison, Evr::parse(version));
    }
    Capability::unversioned(text)
}

/// The newest packages of the name, where another version is asked for; otherwise names that look alike, the most alike
/// first.
fn suggestions(world: &World<'_>, text: &str) -> Vec<String> {
    if let Some((name, _)) = text.split_once(' ') {
        let mut versions = world.named(name);
        versions.sort_by_key(|package| std::cmp::Reverse(world.evr(*package)));
        if !versions.is_empty() {
            return versions
                .iter()
                .take(SUGGESTIONS)
                .map(|package| world.nevra(*package).to_string())
                .collect();
        }
    }
    let names = world.repositories().iter().flat_map(|repository| {
        let rank = u8::from(repository.role == Role::Train);
        repository.index.names().map(move |name| (rank, name))
    });
    alike(names, text)
}

/// Of ranked names those that look like a text.
pub(crate) fn alike<'n>(names: impl Iterator<Item = (u8, &'n str)>, text: &str) -> Vec<String> {
    let near = (text.len() / 4).clamp(1, 3);
    let mut found: Vec<(usize, u8, &str)> = names
        .filter(|(_, name)| name.len().abs_diff(text.len()) <= text.len().max(4))
        .filter_map(|(rank, name)| {
            let distance = strsim::damerau_levenshtein(name, text);
            if distance <= near {
                return Some((distance, rank, name));
            }
            // Something was left off, or added: `doca-ofed` for `doca-ofed-userspace`.
            let longer =
                text.len() >= 4 && name.len() >= 4 && (name.starts_with(text) || text.starts_with(name));
            longer.then_some((near + name.len().abs_diff(text.len()), rank, name))
        })
        .collect();
    found.sort_unstable();
    found.dedup_by_key(|(_, _, name)| *name);
    found.into_iter().take(SUGGESTIONS).map(|(_, _, name)| name.to_owned()).collect()
}
