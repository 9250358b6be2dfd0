//! Which architectures a machine installs, and which of them it prefers.

use drivetrain_model::Architecture;

/// What the processors run besides their own, best first. From libsolv's `archpolicies` (`src/poolarch.c`), without
/// those that no distribution builds for any more.
const MULTILIB: &[(&str, &[&str])] =
    &[("x86_64", &["i686", "i586", "i486", "i386"]), ("ppc64", &["ppc"]), ("s390x", &["s390"])];

/// How well an architecture suits a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Fit {
    /// It has no architecture: `noarch`.
    Any,
    /// The machine's own is 0, what it also runs comes after that.
    Rank(u8),
}

/// The architectures of a machine.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    own: String,
    others: &'static [&'static str],
}

impl Machine {
    pub(crate) fn new(arch: &Architecture) -> Self {
        let own = arch.as_str();
        let others = MULTILIB.iter().find(|(name, _)| *name == own).map_or(&[][..], |(_, others)| others);
        Self { own: own.to_owned(), others }
    }

    /// `None` where the machine does not run it.
    pub(crate) fn fit(&self, arch: &str) -> Option<Fit> {
        if arch == "noarch" {
            return Some(Fit::Any);
        }
        if arch == self.own {
            return Some(Fit::Rank(0));
        }
        let position = self.others.iter().position(|other| *other == arch)?;
        u8::try_from(position + 1).ok().map(Fit::Rank)
    }
}

impl Fit {
    /// Whether two packages of one name can be installed together: libraries of 32 and of 64 bits can, if one does not
    /// look at their versions (libsolv's `pool_colormatch`).
    pub(crate) fn side_by_side(self, other: Self) -> bool {
        matches!((self, other), (Self::Rank(a), Self::Rank(b)) if (a == 0) != (b == 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_runs_its_own_what_is_older_and_what_has_no_architecture() {
        let machine = Machine::new(&Architecture::parse("x86_64").unwrap());
        assert_eq!(machine.fit("x86_64"), Some(Fit::Rank(0)));
        assert_eq!(machine.fit("noarch"), Some(Fit::Any));
        assert!(machine.fit("i686") < machine.fit("i386"));
        assert_eq!(machine.fit("aarch64"), None);
        let machine = Machine::new(&Architecture::parse("aarch64").unwrap());
        assert_eq!((machine.fit("aarch64"), machine.fit("x86_64")), (Some(Fit::Rank(0)), None));
    }

    #[test]
    fn only_the_two_widths_go_together() {
        assert!(Fit::Rank(0).side_by_side(Fit::Rank(1)));
        assert!(!Fit::Rank(1).side_by_side(Fit::Rank(2)));
        assert!(!Fit::Any.side_by_side(Fit::Rank(0)));
    }
}
