//! Boosted trees as a flat table of nodes: what a fitted forest says of a row, and what each feature added to it.
//!
//! Deliberately not here: how they are grown ([`super::boost`]).

use serde::{Deserialize, Serialize};

/// The feature of a node that is a leaf.
const LEAF: u8 = u8::MAX;

/// One node. Kept together, so that a step down a tree touches one cache line.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Node {
    /// Rows whose feature is at most this go left.
    threshold: f32,
    /// Log-odds at this node: of a leaf what it adds, of any other the mean of the training rows that came by.
    value: f32,
    /// The left child; the right one follows it.
    left: u32,
    /// Which feature, or [`LEAF`].
    feature: u8,
}

/// Trees whose leaves add up to log-odds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Forest {
    roots: Vec<u32>,
    nodes: Vec<Node>,
}

impl Forest {
    /// Begins a tree with a single leaf and returns that.
    pub(crate) fn plant(&mut self, value: f32) -> usize {
        self.roots.push(self.nodes.len() as u32);
        self.leaf(value)
    }

    fn leaf(&mut self, value: f32) -> usize {
        self.nodes.push(Node { threshold: 0.0, value, left: 0, feature: LEAF });
        self.nodes.len() - 1
    }

    /// Makes two leaves of one: rows whose `feature` is at most `threshold` go to the first.
    pub(crate) fn split(&mut self, at: usize, feature: usize, threshold: f32, values: (f32, f32)) -> (usize, usize) {
        let (left, right) = (self.leaf(values.0), self.leaf(values.1));
        let node = &mut self.nodes[at];
        (node.threshold, node.left, node.feature) = (threshold, left as u32, feature as u8);
        (left, right)
    }

    /// Number of trees.
    pub(crate) fn trees(&self) -> usize {
        self.roots.len()
    }

    /// Log-odds of a row.
    pub(crate) fn log_odds(&self, row: &[f32]) -> f32 {
        self.roots.iter().map(|root| self.leaf_of(*root, row).value).sum()
    }

    /// What the last tree adds for a row.
    pub(crate) fn last_tree(&self, row: &[f32]) -> f32 {
        self.roots.last().map_or(0.0, |root| self.leaf_of(*root, row).value)
    }

    #[inline]
    fn leaf_of(&self, root: u32, row: &[f32]) -> &Node {
        let mut node = &self.nodes[root as usize];
        while node.feature != LEAF {
            let right = row[usize::from(node.feature)] > node.threshold;
            node = &self.nodes[node.left as usize + usize::from(right)];
        }
        node
    }

    /// What each feature added on the way to the leaves, on top of the trees' means: they add up to the log-odds exactly.
    pub(crate) fn contributions(&self, row: &[f32], parts: &mut [f32]) {
        for root in &self.roots {
            let mut node = &self.nodes[*root as usize];
            while node.feature != LEAF {
                let feature = usize::from(node.feature);
                let next = &self.nodes[node.left as usize + usize::from(row[feature] > node.threshold)];
                parts[feature] += next.value - node.value;
                node = next;
            }
        }
    }

    /// Whether every node can be walked with rows of `features` numbers: what a file brings is not trusted.
    pub(crate) fn is_sound(&self, features: usize) -> bool {
        let nodes = self.nodes.len();
        let sound = |(at, node): (usize, &Node)| {
            node.value.is_finite()
                && node.threshold.is_finite()
                && (node.feature == LEAF
                    || (usize::from(node.feature) < features
                        && node.left as usize > at
                        && (node.left as usize) < nodes - 1))
        };
        self.roots.iter().all(|root| (*root as usize) < nodes) && self.nodes.iter().enumerate().all(sound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_steps() -> Forest {
        let mut forest = Forest::default();
        let root = forest.plant(0.1);
        let (left, _) = forest.split(root, 2, 5.0, (0.4, -0.2));
        forest.split(left, 0, 1.0, (0.3, 0.5));
        forest
    }

    #[test]
    fn rows_find_their_leaf_and_parts_add_up() {
        let forest = two_steps();
        for (row, want) in [([0.0, 9.0, 5.0], 0.3), ([1.5, 9.0, 5.0], 0.5), ([0.0, 9.0, 5.1], -0.2)] {
            assert!((forest.log_odds(&row) - want).abs() < 1e-6, "{row:?}");
            let mut parts = [0.0; 3];
            forest.contributions(&row, &mut parts);
            let sum: f32 = parts.iter().sum();
            assert!((0.1 + sum - want).abs() < 1e-6, "{row:?}: {parts:?}");
        }
    }

    #[test]
    fn a_forest_that_leads_nowhere_is_not_sound() {
        let forest = two_steps();
        assert!(forest.is_sound(3) && !forest.is_sound(2));
        let mut circle = forest.clone();
        circle.nodes[1].left = 0;
        assert!(!circle.is_sound(3));
        let mut beyond = forest;
        beyond.nodes[1].left = 4;
        assert!(!beyond.is_sound(3));
    }
}
