//! The order in which modules can be loaded.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

/// What must come before what. Nodes are numbers, and smaller ones go first where either could.
pub(crate) struct Order {
    /// Every node that can be reached, each after those that it needs.
    pub order: Vec<usize>,
    /// The groups whose nodes need each other, each sorted, by their first node.
    pub cycles: Vec<Vec<usize>>,
}

/// Sorts the nodes `0..needs.len()`, of which each needs those in its set.
pub(crate) fn sort(needs: &[BTreeSet<usize>]) -> Order {
    let mut users = vec![Vec::new(); needs.len()];
    for (node, needed) in needs.iter().enumerate() {
        for &other in needed {
            users[other].push(node);
        }
    }
    let mut open: Vec<usize> = needs.iter().map(BTreeSet::len).collect();
    let mut ready: BinaryHeap<Reverse<usize>> =
        (0..needs.len()).filter(|&node| open[node] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(needs.len());
    while let Some(Reverse(node)) = ready.pop() {
        order.push(node);
        for &user in &users[node] {
            open[user] -= 1;
            if open[user] == 0 {
                ready.push(Reverse(user));
            }
        }
    }
    // What is left is in a cycle, or needs something that is.
    let mut left: BTreeSet<usize> = (0..needs.len()).filter(|&node| open[node] > 0).collect();
    let mut cycles = Vec::new();
    while let Some(node) = left.pop_first() {
        let downwards = reach(node, |node| needs[node].iter().copied());
        if downwards.contains(&node) {
            let upwards = reach(node, |node| users[node].iter().copied());
            let cycle: Vec<usize> = downwards.intersection(&upwards).copied().collect();
            for node in &cycle {
                left.remove(node);
            }
            cycles.push(cycle);
        }
    }
    Order { order, cycles }
}

/// Everything that can be reached by at least one step.
fn reach<I: Iterator<Item = usize>>(from: usize, steps: impl Fn(usize) -> I) -> BTreeSet<usize> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(node) = open.pop() {
        open.extend(steps(node).filter(|&next| seen.insert(next)));
    }
    seen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn graph(needs: &[&[usize]]) -> Vec<BTreeSet<usize>> {
        needs.iter().map(|needed| needed.iter().copied().collect()).collect()
    }

    #[test]
    fn what_is_needed_comes_first_and_ties_go_by_number() {
        let sorted = sort(&graph(&[&[3], &[], &[1], &[2]]));
        assert_eq!(sorted.order, [1, 2, 3, 0]);
        assert_eq!(sort(&graph(&[&[], &[], &[]])).order, [0, 1, 2]);
    }

    #[test]
    fn cycles_are_told_apart_from_what_needs_them() {
        let sorted = sort(&graph(&[&[1], &[2], &[1], &[2, 4], &[5], &[4], &[]]));
        assert_eq!(sorted.cycles, [vec![1, 2], vec![4, 5]]);
        assert_eq!(sorted.order, [6]);
        assert_eq!(sort(&graph(&[&[0]])).cycles, [[0]]);
    }

    proptest! {
        #[test]
        fn every_node_is_ordered_or_depends_on_a_cycle(
            edges in prop::collection::vec((0..12_usize, 0..12_usize), 0..30)
        ) {
            let mut needs = vec![BTreeSet::new(); 12];
            for (node, needed) in edges {
                needs[node].insert(needed);
            }
            let sorted = sort(&needs);
            for (at, node) in sorted.order.iter().enumerate() {
                prop_assert!(needs[*node].iter().all(|needed| sorted.order[..at].contains(needed)));
            }
            let cyclic: BTreeSet<usize> = sorted.cycles.iter().flatten().copied().collect();
            for node in (0..12).filter(|node| !sorted.order.contains(node)) {
                let mut below = reach(node, |node| needs[node].iter().copied());
                below.insert(node);
                prop_assert!(!below.is_disjoint(&cyclic));
            }
            prop_assert_eq!(sorted.order.is_empty() && sorted.cycles.is_empty(), false);
        }
    }
}
