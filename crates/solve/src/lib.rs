//! Which packages are needed in a world where others are there already.
//!
//! The wanted packages, the vendor's repository and the release train's are given; what comes out is which of the vendor's
//! packages have to be published for the wanted ones to be installed from the train and what is published, and from
//! nothing else: no fewer, and no more. The crate reads nothing: repositories come as [`RepositoryIndex`], made from the
//! packages of their metadata.
//!
//! # The way of a question
//!
//! 1. [`World`] puts the repositories together as one machine sees them: its architectures, what is excluded, which module
//!    streams are not enabled.
//! 2. `rules` gathers all packages that the wants may lead to, by whichever provider, and writes down what must hold
//!    between them: requirements, conflicts, obsoletes, one version of each name, older architectures only beside the
//!    machine's own. Rich dependencies become clauses (`formula`).
//! 3. `choose` chooses package after package, by libsolv's `policy`. Before each choice it asks a satisfiability solver
//!    whether the rules can still hold with it, so that no choice is ever taken back.
//! 4. `minimal` leaves out of the vendor's packages what turned out not to be needed.
//! 5. [`Closure`] says why each package is there; [`Unsolvable`] why there is no solution: a smallest set of facts that
//!    cannot all hold.
//!
//! # Why this solver
//!
//! The satisfiability solver is `batsat`: MiniSat in Rust, incremental, with assumptions and cores, and one dependency of
//! its own. Resolvers for packages were looked at first. `resolvo` has no negation, and its conditional requirements hold
//! too much: `a requires (b if c >= 2)` becomes a clause that also asks for b, or an older c, where no c is installed at all,
//! once the condition has been met on the way to a solution and was taken back; and the order of its decisions cannot be
//! made libsolv's, which leaves what has several providers for the end. `pubgrub` knows neither alternatives nor conflicts
//! between packages of different names.

mod arch;
mod choose;
mod closure;
mod explain;
mod formula;
mod guard;
mod index;
mod minimal;
mod policy;
mod rich;
mod rules;
mod sat;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod wants;
mod world;

pub use closure::{Closure, How, Needed, Options, Reason, Satisfied, Shadow, closure, paths_to_look_up};
pub use explain::{Fact, Unsolvable};
pub use guard::{By, Takeover, takeovers};
pub use index::{Duplicate, IndexBuilder, IndexError, Kind, RepositoryIndex};
pub use rich::{Dependency, RichError};
pub use wants::{UnknownWant, Want};
pub use world::{PackageId, Ranking, Repository, Role, World, is_primary_path};
