//! The forest for many rows at once: what a whole day of slots costs a round.
//!
//! Every split of a tree is looked at, from the leaves up, and chooses for each row between what its two sides came to. No row takes
//! steps of its own from node to node, so a split is a few vector instructions for [`LANES`] rows. Says bit by bit what
//! [`Forest::log_odds`] says.

use wide::{CmpGt, f32x8};

use super::forest::{ABREAST, Forest, LEAVES};

/// Rows side by side.
pub(crate) const LANES: usize = 32;

/// One number of each row.
pub(crate) type Lane = [f32; LANES];

/// The same as vectors.
type Vectors = [f32x8; LANES / 8];

/// What hangs on a side of a split.
#[derive(Clone, Copy)]
enum Side {
    Leaf(f32),
    /// A split, worked off before.
    Split,
}

/// A split: rows whose `feature` is above `threshold` get what is on the right.
struct Split {
    feature: usize,
    threshold: f32,
    left: Side,
    right: Side,
}

/// A forest, laid out for this. Made anew for each forecast: that costs as much as one subject's.
pub(crate) struct Scan {
    /// Each tree's splits, sides before what they hang on; of a tree without any, the leaf.
    trees: Vec<(Vec<Split>, f32)>,
}

impl Scan {
    pub(crate) fn of(forest: &Forest) -> Self {
        let tree = |root| {
            let mut splits = Vec::with_capacity(LEAVES);
            match lay_out(forest, root, &mut splits) {
                Side::Leaf(value) => (splits, value),
                Side::Split => (splits, 0.0),
            }
        };
        Self { trees: forest.roots().map(tree).collect() }
    }

    /// Log-odds of rows given column by column.
    pub(crate) fn log_odds(&self, columns: &[Lane]) -> Lane {
        let mut sum = [f32x8::ZERO; LANES / 8];
        // Where splits that nothing hangs on yet put what they came to.
        let mut came = [[f32x8::ZERO; LANES / 8]; LEAVES];
        for trees in self.trees.chunks(ABREAST) {
            let mut part = [f32x8::ZERO; LANES / 8];
            for (splits, leaf) in trees {
                came[0] = [f32x8::splat(*leaf); LANES / 8];
                walk_up(splits, columns, &mut came);
                for (part, came) in part.iter_mut().zip(came[0]) {
                    *part += came;
                }
            }
            for (sum, part) in sum.iter_mut().zip(part) {
                *sum += part;
            }
        }
        let mut lanes = [0.0; LANES];
        for (lanes, sum) in lanes.chunks_exact_mut(8).zip(sum) {
            lanes.copy_from_slice(sum.as_array_ref());
        }
        lanes
    }
}

/// What a tree comes to for each row, into `came[0]`.
#[inline]
fn walk_up(splits: &[Split], columns: &[Lane], came: &mut [Vectors; LEAVES]) {
    let mut top = 0;
    for split in splits {
        let above = split.above(&columns[split.feature]);
        match (split.left, split.right) {
            (Side::Leaf(left), Side::Leaf(right)) => {
                let (left, right) = (f32x8::splat(left), f32x8::splat(right));
                came[top % LEAVES] = above.map(|above| above.blend(right, left));
                top += 1;
            }
            (Side::Split, Side::Leaf(right)) => {
                let right = f32x8::splat(right);
                for (came, above) in came[(top - 1) % LEAVES].iter_mut().zip(above) {
                    *came = above.blend(right, *came);
                }
            }
            (Side::Leaf(left), Side::Split) => {
                let left = f32x8::splat(left);
                for (came, above) in came[(top - 1) % LEAVES].iter_mut().zip(above) {
                    *came = above.blend(*came, left);
                }
            }
            (Side::Split, Side::Split) => {
                top -= 1;
                let right = came[top % LEAVES];
                for ((came, right), above) in came[(top - 1) % LEAVES].iter_mut().zip(right).zip(above) {
                    *came = above.blend(right, *came);
                }
            }
        }
    }
}

impl Split {
    /// All ones for rows that go to the right.
    #[inline]
    fn above(&self, column: &Lane) -> Vectors {
        let threshold = f32x8::splat(self.threshold);
        let mut above = [f32x8::ZERO; LANES / 8];
        for (above, x) in above.iter_mut().zip(column.as_chunks::<8>().0) {
            *above = f32x8::from(*x).cmp_gt(threshold);
        }
        above
    }
}

/// Lays out what hangs on a node, the left side first.
fn lay_out(forest: &Forest, at: u32, splits: &mut Vec<Split>) -> Side {
    let Some(inner) = forest.inner(at) else { return Side::Leaf(forest.value(at)) };
    let left = lay_out(forest, inner.left, splits);
    let right = lay_out(forest, inner.left + 1, splits);
    splits.push(Split { feature: inner.feature, threshold: inner.threshold, left, right });
    Side::Split
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::walk::mix;

    /// A number between 0 and 8 that is always the same.
    fn number(n: usize) -> f32 {
        mix(n as u64) as f32 / u32::MAX as f32 * 8.0
    }

    /// Trees of all shapes: the leaf that is split next is drawn.
    fn drawn(trees: usize) -> Forest {
        let mut forest = Forest::default();
        for tree in 0..trees {
            let mut leaves = vec![forest.plant(number(tree))];
            for split in 1..=tree % LEAVES {
                let n = tree * 100 + split;
                let leaf = leaves.swap_remove(mix(n as u64) as usize % leaves.len());
                let (left, right) = forest.split(leaf, n % 5, number(n), (number(n + 7), -number(n + 9)));
                leaves.extend([left, right]);
            }
        }
        forest
    }

    #[test]
    fn it_says_bit_by_bit_what_the_forest_says() {
        let forest = drawn(75);
        assert!(forest.is_sound(5));
        let mut columns = [[0.0; LANES]; 5];
        for (n, x) in columns.iter_mut().flatten().enumerate() {
            *x = number(n + 1_000_000);
        }
        // On a threshold, where left and right are closest.
        columns[3][7] = number(303);
        let all = Scan::of(&forest).log_odds(&columns);
        for lane in 0..LANES {
            let row = columns.map(|column| column[lane]);
            assert_eq!(all[lane].to_bits(), forest.log_odds(&row).to_bits(), "row {lane}");
        }
        assert!(all.iter().any(|said| (said - all[0]).abs() > 1.0), "{all:?}");
        assert!(Scan::of(&Forest::default()).log_odds(&columns).iter().all(|said| said.to_bits() == 0));
    }
}
