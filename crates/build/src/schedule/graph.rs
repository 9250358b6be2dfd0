//! The components and what they need, as positions.

use std::collections::{BTreeMap, BTreeSet};

use crate::{BuildError, Component};

/// Who needs whom.
#[derive(Debug)]
pub(super) struct Graph {
    needs: Vec<Vec<usize>>,
    order: Vec<usize>,
}

impl Graph {
    pub(super) fn new(components: &[Component]) -> Result<Self, BuildError> {
        let mut positions = BTreeMap::new();
        for (index, component) in components.iter().enumerate() {
            if positions.insert(&component.name, index).is_some() {
                return Err(BuildError::Duplicate(component.name.clone()));
            }
        }
        let mut needs = Vec::new();
        for component in components {
            let of_this = component.needs.iter().map(|need| {
                positions.get(need).copied().ok_or_else(|| BuildError::UnknownNeed {
                    component: component.name.clone(),
                    needs: need.clone(),
                })
            });
            needs.push(of_this.collect::<Result<Vec<_>, _>>()?);
        }
        let graph = Self { order: order(&needs), needs };
        graph.check_circles(components)?;
        Ok(graph)
    }

    /// What a component needs, directly.
    pub(super) fn needs(&self, index: usize) -> &[usize] {
        &self.needs[index]
    }

    /// All components, those first on which the longest chains hang: of two that could both start, the other
    /// can wait.
    pub(super) fn order(&self) -> &[usize] {
        &self.order
    }

    fn check_circles(&self, components: &[Component]) -> Result<(), BuildError> {
        let mut left: BTreeSet<usize> = (0..components.len()).collect();
        loop {
            let free: Vec<usize> = left
                .iter()
                .copied()
                .filter(|&index| self.needs[index].iter().all(|need| !left.contains(need)))
                .collect();
            if free.is_empty() {
                break;
            }
            for index in free {
                left.remove(&index);
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        let components = left.into_iter().map(|index| components[index].name.clone()).collect();
        Err(BuildError::Circle { components })
    }
}

/// Sorted by the length of the longest chain of dependents, longest first; equals as they came.
fn order(needs: &[Vec<usize>]) -> Vec<usize> {
    let mut height = vec![0_usize; needs.len()];
    // One round per link of the longest possible chain; a circle ends with the rounds.
    for _ in 0..needs.len() {
        for (index, of_this) in needs.iter().enumerate() {
            for &need in of_this {
                height[need] = height[need].max((height[index] + 1).min(needs.len()));
            }
        }
    }
    let mut order: Vec<usize> = (0..needs.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(height[index]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recipe;
    use drivetrain_model::{ComponentName, Sha256Digest};

    fn component(name: &str, needs: &[&str]) -> Component {
        Component {
            family: None,
            name: ComponentName::parse(name).unwrap(),
            srpm: "x".into(),
            sha256: Sha256Digest::of(b""),
            needs: needs.iter().map(|name| ComponentName::parse(name).unwrap()).collect(),
            key: Sha256Digest::of(name.as_bytes()),
            recipe: Recipe::default(),
            estimate_ms: None,
        }
    }

    #[test]
    fn the_longest_chain_goes_first() {
        let graph = Graph::new(&[
            component("knem", &[]),
            component("nvme", &["srp"]),
            component("srp", &["ofa"]),
            component("ofa", &[]),
        ])
        .unwrap();
        assert_eq!(graph.order(), [3, 2, 0, 1]);
        assert_eq!(graph.needs(1), [2]);
    }

    #[test]
    fn graphs_that_cannot_be_built_are_refused() {
        let circle = Graph::new(&[component("a", &["b"]), component("b", &["a"]), component("c", &[])]);
        assert_eq!(circle.unwrap_err().to_string(), "the components a, b need each other in a circle");
        let unknown = Graph::new(&[component("a", &["b"])]);
        assert_eq!(
            unknown.unwrap_err().to_string(),
            "component a needs b, which is not among the components to build"
        );
        let twice = Graph::new(&[component("a", &[]), component("a", &[])]);
        assert_eq!(twice.unwrap_err().to_string(), "component a is there twice");
    }
}
