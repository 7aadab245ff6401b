//! Boosted trees as a flat table of nodes: what a fitted forest says of a row, and what each feature added to it.
//!
//! Deliberately not here: how they are grown ([`super::boost`]).

use serde::{Deserialize, Serialize};

/// Trees that are walked side by side: a step waits for memory, and meanwhile the others take theirs.
pub(crate) const ABREAST: usize = 8;

/// Leaves of a tree, at most: [`super::scan`] has a bit for each.
pub(crate) const LEAVES: usize = 8;

/// One node. Kept together, so that a step down a tree touches one cache line.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Node {
    /// Rows whose feature is at most this go left; every row does from a leaf.
    threshold: f32,
    /// Log-odds at this node: of a leaf what it adds, of any other the mean of the training rows that came by.
    value: f32,
    /// The left child, and the right one follows it; of a leaf itself, so that whoever has arrived stays.
    left: u32,
    feature: u8,
}

/// A node that splits: rows whose `feature` is at most `threshold` go to node `left`, the others to the one after it.
pub(super) struct Inner {
    pub feature: usize,
    pub threshold: f32,
    pub left: u32,
}

/// Trees whose leaves add up to log-odds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Forest {
    roots: Vec<u32>,
    nodes: Vec<Node>,
    /// Steps from a root to its furthest leaf, at most.
    depth: u8,
}

impl Forest {
    /// Begins a tree with a single leaf and returns that.
    pub(crate) fn plant(&mut self, value: f32) -> usize {
        self.roots.push(self.nodes.len() as u32);
        self.leaf(value)
    }

    fn leaf(&mut self, value: f32) -> usize {
        let at = self.nodes.len();
        self.nodes.push(Node { threshold: f32::MAX, value, left: at as u32, feature: 0 });
        at
    }

    /// Makes two leaves of one: rows whose `feature` is at most `threshold` go to the first.
    pub(crate) fn split(&mut self, at: usize, feature: usize, threshold: f32, values: (f32, f32)) -> (usize, usize) {
        let (left, right) = (self.leaf(values.0), self.leaf(values.1));
        let node = &mut self.nodes[at];
        (node.threshold, node.left, node.feature) = (threshold, left as u32, feature as u8);
        let root = self.roots.last().copied().unwrap_or_default();
        self.depth = self.depth.max(self.deepest(root as usize));
        (left, right)
    }

    fn deepest(&self, at: usize) -> u8 {
        let left = self.nodes[at].left as usize;
        if left == at { 0 } else { 1 + self.deepest(left).max(self.deepest(left + 1)) }
    }

    /// Number of trees.
    pub(crate) fn trees(&self) -> usize {
        self.roots.len()
    }

    pub(super) fn roots(&self) -> impl Iterator<Item = u32> {
        self.roots.iter().copied()
    }

    /// What a node splits by; none of a leaf.
    pub(super) fn inner(&self, at: u32) -> Option<Inner> {
        let node = &self.nodes[at as usize];
        let feature = usize::from(node.feature);
        (node.left != at).then_some(Inner { feature, threshold: node.threshold, left: node.left })
    }

    pub(super) fn value(&self, at: u32) -> f32 {
        self.nodes[at as usize].value
    }

    /// Log-odds of a row.
    pub(crate) fn log_odds(&self, row: &[f32]) -> f32 {
        let mut sum = 0.0;
        let mut chunks = self.roots.chunks_exact(ABREAST);
        for roots in &mut chunks {
            let mut at: [u32; ABREAST] = std::array::from_fn(|lane| roots[lane]);
            for _ in 0..self.depth {
                for at in &mut at {
                    *at = self.step(*at, row);
                }
            }
            sum += at.iter().map(|at| self.nodes[*at as usize].value).sum::<f32>();
        }
        sum + chunks.remainder().iter().map(|root| self.from(*root, row)).sum::<f32>()
    }

    /// What the last tree adds for a row.
    pub(crate) fn last_tree(&self, row: &[f32]) -> f32 {
        self.roots.last().map_or(0.0, |root| self.from(*root, row))
    }

    /// The value of the leaf that a row reaches from a root.
    fn from(&self, root: u32, row: &[f32]) -> f32 {
        let leaf = (0..self.depth).fold(root, |at, _| self.step(at, row));
        self.nodes[leaf as usize].value
    }

    #[inline]
    fn step(&self, at: u32, row: &[f32]) -> u32 {
        let node = &self.nodes[at as usize];
        node.left + u32::from(row[usize::from(node.feature)] > node.threshold)
    }

    /// What each feature added on the way to the leaves, on top of the trees' means: they add up to the log-odds exactly.
    pub(crate) fn contributions(&self, row: &[f32], parts: &mut [f32]) {
        for root in &self.roots {
            let mut at = *root;
            for _ in 0..self.depth {
                let next = self.step(at, row);
                let feature = usize::from(self.nodes[at as usize].feature);
                parts[feature] += self.nodes[next as usize].value - self.nodes[at as usize].value;
                at = next;
            }
        }
    }

    /// Whether every node can be walked with rows of `features` numbers: what a file brings is not trusted.
    pub(crate) fn is_sound(&self, features: usize) -> bool {
        let nodes = self.nodes.len();
        let sound = |(at, node): (usize, &Node)| {
            let (left, feature) = (node.left as usize, usize::from(node.feature));
            let onward = if left == at { node.threshold >= f32::MAX } else { left > at && left + 1 < nodes };
            onward && feature < features && node.value.is_finite() && node.threshold.is_finite()
        };
        let small = |root: &u32| (*root as usize) < nodes && self.leaves(*root, LEAVES) <= LEAVES;
        self.nodes.iter().enumerate().all(sound) && self.roots.iter().all(small)
    }

    /// Leaves below a node whose onward way is sound; not counted further than past `most`, since a file may join branches again.
    fn leaves(&self, at: u32, most: usize) -> usize {
        let Some(inner) = self.inner(at) else { return 1 };
        let left = self.leaves(inner.left, most);
        if left > most { left } else { left + self.leaves(inner.left + 1, most - left) }
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
        circle.nodes[3].left = 0;
        assert!(!circle.is_sound(3));
        let mut beyond = forest;
        beyond.nodes[1].left = 4;
        assert!(!beyond.is_sound(3));
        let mut large = Forest::default();
        let mut leaf = large.plant(0.0);
        for leaves in 2..=LEAVES + 1 {
            (leaf, _) = large.split(leaf, 0, 0.0, (1.0, 2.0));
            assert_eq!(large.is_sound(3), leaves <= LEAVES, "{leaves} leaves");
        }
    }
}
