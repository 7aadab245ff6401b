//! Grows boosted trees: logistic loss, histograms of binned features, leaf by leaf where it helps most.
//!
//! Our own and no crate, because the core has no thread and no randomness: the one candidate that gives log-odds brings both, and
//! works on doubles. Equal rows give equal trees, bit by bit.
//! Deliberately not here: what the features mean, and what fitted trees are used for ([`super::forest`]).

use super::forest::Forest;
use super::walk::mix;

/// Bins of a feature.
const BINS: usize = 64;
/// Rows that are looked at for the edges of the bins.
const EDGE_ROWS: usize = 20_000;

/// How they are grown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub trees: usize,
    /// Leaves of a tree.
    pub leaves: usize,
    /// Share of a leaf's best value that is taken.
    pub rate: f32,
    /// Ridge on the leaves' values.
    pub ridge: f32,
    /// Information (sum of p (1 - p)) below which no leaf is made.
    pub least: f32,
    /// Rows and features that each tree sees.
    pub rows: f32,
    pub columns: f32,
}

/// Sums over the rows of a bin: gradients and information.
type Sums = [f32; 2];

/// A leaf that may still be split.
struct Leaf {
    node: usize,
    /// Its rows: a range of the order.
    from: usize,
    to: usize,
    total: Sums,
    histogram: Vec<Sums>,
    best: Option<Split>,
}

#[derive(Clone, Copy)]
struct Split {
    gain: f32,
    /// Place among the tree's columns.
    column: usize,
    /// Last bin that goes left.
    bin: usize,
    left: Sums,
}

/// Rows in bins.
struct Binned {
    width: usize,
    /// Row by row.
    bins: Vec<u8>,
    /// Upper edges of the bins of each feature, inclusive.
    edges: Vec<Vec<f32>>,
}

impl Binned {
    fn new(rows: &[&[f32]], width: usize) -> Self {
        let step = rows.len().div_ceil(EDGE_ROWS).max(1);
        let mut edges = Vec::with_capacity(width);
        for column in 0..width {
            let mut values: Vec<f32> = rows.iter().step_by(step).map(|row| row[column]).collect();
            values.sort_unstable_by(f32::total_cmp);
            let mut of: Vec<f32> = (1..BINS).map(|i| values[i * values.len() / BINS]).collect();
            of.dedup();
            // The last edge would leave nothing on its right.
            if of.last() == values.last() {
                of.pop();
            }
            edges.push(of);
        }
        let mut bins = Vec::with_capacity(rows.len() * width);
        for row in rows {
            bins.extend(edges.iter().zip(*row).map(|(of, x)| of.partition_point(|edge| edge < x) as u8));
        }
        Self { width, bins, edges }
    }

    fn row(&self, row: usize) -> &[u8] {
        &self.bins[row * self.width..(row + 1) * self.width]
    }
}

/// Grows a forest over the first `width` numbers of each row, on top of the log-odds that are `said` of each. `labels`: whether it came
/// true.
pub(crate) fn grow(rows: &[&[f32]], labels: &[bool], mut said: Vec<f32>, width: usize, settings: &Settings) -> Forest {
    let binned = Binned::new(rows, width);
    let mut grower = Grower {
        binned: &binned,
        settings,
        forest: Forest::default(),
        sums: vec![[0.0; 2]; rows.len()],
        columns: Vec::new(),
        order: Vec::new(),
        spare: Vec::new(),
    };
    for tree in 0..settings.trees {
        for ((sums, said), label) in grower.sums.iter_mut().zip(&said).zip(labels) {
            let p = 1.0 / (1.0 + (-said).exp());
            *sums = [p - f32::from(u8::from(*label)), (p * (1.0 - p)).max(1e-6)];
        }
        grower.tree(tree as u64);
        for (said, row) in said.iter_mut().zip(rows) {
            *said += grower.forest.last_tree(row);
        }
    }
    grower.forest
}

struct Grower<'a> {
    binned: &'a Binned,
    settings: &'a Settings,
    forest: Forest,
    /// Gradient and information of each row.
    sums: Vec<Sums>,
    /// Features that the present tree sees.
    columns: Vec<usize>,
    /// Rows that the present tree sees, leaf by leaf.
    order: Vec<u32>,
    spare: Vec<u32>,
}

impl Grower<'_> {
    fn tree(&mut self, tree: u64) {
        let draw = |n: u64, share: f32| f64::from(mix(tree << 32 ^ n)) < f64::from(share) * f64::from(u32::MAX);
        let (rows, columns) = (self.sums.len(), self.binned.width);
        self.order.clear();
        self.order.extend((0..rows as u32).filter(|row| draw(u64::from(*row), self.settings.rows)));
        self.columns.clear();
        let drawn = (0..columns).filter(|column| draw(1 << 31 | *column as u64, self.settings.columns));
        self.columns.extend(drawn.filter(|column| !self.binned.edges[*column].is_empty()));
        let mut histogram = vec![[0.0; 2]; self.columns.len() * BINS];
        self.count(0, self.order.len(), &mut histogram);
        let total = self.order.iter().fold([0.0; 2], |sum: Sums, row| add(sum, self.sums[*row as usize]));
        let node = self.forest.plant(self.value(total));
        let mut leaves = vec![self.leaf(node, 0, self.order.len(), total, histogram)];
        while leaves.len() < self.settings.leaves {
            let gain = |leaf: &Leaf| leaf.best.map_or(0.0, |best| best.gain);
            let mut at = 0;
            for i in 1..leaves.len() {
                if gain(&leaves[i]) > gain(&leaves[at]) {
                    at = i;
                }
            }
            let Some(best) = leaves[at].best else { break };
            let leaf = leaves.swap_remove(at);
            leaves.extend(self.split(leaf, best));
        }
    }

    fn value(&self, sums: Sums) -> f32 {
        -sums[0] / (sums[1] + self.settings.ridge) * self.settings.rate
    }

    fn leaf(&self, node: usize, from: usize, to: usize, total: Sums, histogram: Vec<Sums>) -> Leaf {
        let best = self.best(total, &histogram);
        Leaf { node, from, to, total, histogram, best }
    }

    /// Adds up the rows of a leaf by column and bin.
    fn count(&self, from: usize, to: usize, histogram: &mut [Sums]) {
        for row in &self.order[from..to] {
            let (bins, sums) = (self.binned.row(*row as usize), self.sums[*row as usize]);
            for (of, column) in histogram.chunks_exact_mut(BINS).zip(&self.columns) {
                let bin = &mut of[usize::from(bins[*column])];
                *bin = add(*bin, sums);
            }
        }
    }

    fn best(&self, total: Sums, histogram: &[Sums]) -> Option<Split> {
        let (ridge, least) = (self.settings.ridge, self.settings.least);
        let worth = |sums: Sums| sums[0] * sums[0] / (sums[1] + ridge);
        let mut best: Option<Split> = None;
        for (column, of) in histogram.chunks_exact(BINS).enumerate() {
            let mut left = [0.0; 2];
            let edges = self.binned.edges[self.columns[column]].len();
            for (bin, sums) in of[..edges].iter().enumerate() {
                left = add(left, *sums);
                let right = [total[0] - left[0], total[1] - left[1]];
                if left[1] < least {
                    continue;
                }
                if right[1] < least {
                    break;
                }
                let gain = worth(left) + worth(right) - worth(total);
                if gain > best.map_or(1e-3, |best| best.gain) {
                    best = Some(Split { gain, column, bin, left });
                }
            }
        }
        best
    }

    fn split(&mut self, leaf: Leaf, best: Split) -> [Leaf; 2] {
        let column = self.columns[best.column];
        // Keeps the order of rows within both sides, so that sums do not depend on how the tree grew.
        self.spare.clear();
        let mut middle = leaf.from;
        for at in leaf.from..leaf.to {
            let row = self.order[at];
            if usize::from(self.binned.row(row as usize)[column]) <= best.bin {
                self.order[middle] = row;
                middle += 1;
            } else {
                self.spare.push(row);
            }
        }
        self.order[middle..leaf.to].copy_from_slice(&self.spare);
        let right = [leaf.total[0] - best.left[0], leaf.total[1] - best.left[1]];
        let threshold = self.binned.edges[column][best.bin];
        let nodes = self.forest.split(leaf.node, column, threshold, (self.value(best.left), self.value(right)));
        // Only the smaller side is counted; the other one is what is left.
        let left_is_small = middle - leaf.from < leaf.to - middle;
        let mut small = vec![[0.0; 2]; leaf.histogram.len()];
        let (from, to) = if left_is_small { (leaf.from, middle) } else { (middle, leaf.to) };
        self.count(from, to, &mut small);
        let mut large = leaf.histogram;
        for (all, part) in large.iter_mut().zip(&small) {
            *all = [all[0] - part[0], all[1] - part[1]];
        }
        let (left_histogram, right_histogram) = if left_is_small { (small, large) } else { (large, small) };
        [
            self.leaf(nodes.0, leaf.from, middle, best.left, left_histogram),
            self.leaf(nodes.1, middle, leaf.to, right, right_histogram),
        ]
    }
}

#[inline]
fn add(a: Sums, b: Sums) -> Sums {
    [a[0] + b[0], a[1] + b[1]]
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Settings =
        Settings { trees: 40, leaves: 4, rate: 0.3, ridge: 1.0, least: 1.0, rows: 0.8, columns: 1.0 };

    /// Rows on a grid; what comes true needs both features at once, so no line can tell.
    fn crossed() -> (Vec<[f32; 3]>, Vec<bool>) {
        let rows: Vec<[f32; 3]> =
            (0..4000).map(|i| [(i % 20) as f32, (i / 20 % 20) as f32, (i * 7 % 13) as f32]).collect();
        let labels = rows.iter().map(|row| (row[0] > 9.0) != (row[1] > 9.0)).collect();
        (rows, labels)
    }

    fn grown(rows: &[[f32; 3]], labels: &[bool]) -> Forest {
        let slices: Vec<&[f32]> = rows.iter().map(<[f32; 3]>::as_slice).collect();
        grow(&slices, labels, vec![0.0; rows.len()], 3, &PLAIN)
    }

    #[test]
    fn what_no_line_can_tell_is_learned_and_noise_is_not() {
        let (rows, labels) = crossed();
        let forest = grown(&rows, &labels);
        let right = rows.iter().zip(&labels).filter(|(row, label)| (forest.log_odds(*row) > 0.0) == **label).count();
        assert!(right > 3950, "{right} of {}", rows.len());
        let mut parts = [0.0; 3];
        forest.contributions(&[15.0, 3.0, 5.0], &mut parts);
        assert!(parts[2].abs() < 0.2 && parts[0].abs() + parts[1].abs() > 1.0, "{parts:?}");
        assert!(forest.is_sound(3));
    }

    #[test]
    fn equal_rows_give_equal_trees_and_constant_features_none() {
        let (rows, labels) = crossed();
        assert_eq!(grown(&rows, &labels), grown(&rows, &labels));
        let flat = vec![[1.0, 2.0, 3.0]; 200];
        let labels: Vec<bool> = (0..200).map(|i| i % 4 == 0).collect();
        let forest = grown(&flat, &labels);
        let p = 1.0 / (1.0 + (-forest.log_odds(&flat[0])).exp());
        assert!((p - 0.25).abs() < 0.02, "{p}");
    }
}
