//! The satisfiability solver, with packages in place of variables.

use batsat::{BasicSolver, Lit, SolverInterface, Var, lbool};

use crate::formula::Literal;
use crate::rules::{Rule, Rules};
use crate::world::PackageId;

/// Rules, and questions to them.
pub(crate) struct Sat {
    solver: BasicSolver,
    /// The variable of each package of the world, where it has one.
    variables: Vec<Option<Var>>,
    packages: Vec<PackageId>,
}

/// What is known of a package without any choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It has to be there.
    Needed,
    /// It cannot be there.
    Impossible,
    /// Either.
    Open,
}

impl Sat {
    pub(crate) fn new(world: usize, rules: &Rules) -> Self {
        let mut sat = Self::of(world, &rules.packages);
        for rule in &rules.rules {
            sat.add(rule);
        }
        sat
    }

    fn of(world: usize, packages: &[PackageId]) -> Self {
        let mut solver = BasicSolver::default();
        let mut variables = vec![None; world];
        for package in packages {
            // What nothing asks for is not installed.
            variables[package.index()] = Some(solver.new_var(lbool::FALSE, true));
        }
        Self { solver, variables, packages: packages.to_vec() }
    }

    fn add(&mut self, rule: &Rule) {
        let mut clause = self.clause(&rule.literals);
        self.solver.add_clause_reuse(&mut clause);
    }

    fn clause(&self, literals: &[Literal]) -> Vec<Lit> {
        literals.iter().filter_map(|literal| self.literal(*literal)).collect()
    }

    /// A package without a variable is not there, and a literal that says so is not needed.
    fn literal(&self, literal: Literal) -> Option<Lit> {
        self.variables[literal.package.index()].map(|variable| Lit::new(variable, literal.installed))
    }

    /// Whether the rules can hold with all of these.
    pub(crate) fn allows(&mut self, assumed: &[Literal]) -> bool {
        let assumed = self.clause(assumed);
        self.solver.is_ok() && self.solver.solve_limited(&assumed) == lbool::TRUE
    }

    /// From now on this holds.
    pub(crate) fn fix(&mut self, literal: Literal) {
        let mut clause = self.clause(&[literal]);
        self.solver.add_clause_reuse(&mut clause);
    }

    /// What has been found out about packages without a choice, from a position in that order on.
    pub(crate) fn known_since(&self, position: usize) -> impl Iterator<Item = Literal> + '_ {
        self.solver.proved_at_lvl_0().iter().skip(position).map(|literal| {
            let package = self.packages[literal.var().idx() as usize];
            Literal { package, installed: literal.sign() }
        })
    }

    pub(crate) fn fate(&self, package: PackageId) -> Fate {
        let Some(literal) = self.literal(Literal::with(package)) else { return Fate::Impossible };
        match self.solver.value_lvl_0(literal) {
            value if value == lbool::TRUE => Fate::Needed,
            value if value == lbool::FALSE => Fate::Impossible,
            _ => Fate::Open,
        }
    }
}

/// Which of the rules cannot hold together: as few as can be, in the order in which they were given.
pub(crate) fn contradiction<'r>(world: usize, packages: &[PackageId], rules: &'r [Rule]) -> Vec<&'r Rule> {
    let mut sat = Sat::of(world, packages);
    let mut switches: Vec<Lit> = Vec::new();
    for rule in rules {
        let switch = Lit::new(sat.solver.new_var(lbool::TRUE, true), true);
        let mut clause = sat.clause(&rule.literals);
        clause.push(!switch);
        sat.solver.add_clause_reuse(&mut clause);
        switches.push(switch);
    }
    if sat.solver.solve_limited(&switches) != lbool::FALSE {
        return Vec::new();
    }
    let mut core: Vec<Lit> = sat.solver.unsat_core().iter().map(|literal| !*literal).collect();
    // One after another is left out where the others are contradictory without it.
    let mut position = 0;
    while position < core.len() {
        let mut without = core.clone();
        without.remove(position);
        if sat.solver.solve_limited(&without) == lbool::FALSE {
            let smaller: Vec<Lit> = sat.solver.unsat_core().iter().map(|literal| !*literal).collect();
            core.retain(|switch| smaller.contains(switch));
            position = position.min(core.len());
        } else {
            position += 1;
        }
    }
    let of = |switch: &Lit| switches.iter().position(|other| other == switch);
    let mut places: Vec<usize> = core.iter().filter_map(of).collect();
    places.sort_unstable();
    places.into_iter().map(|place| &rules[place]).collect()
}
