//! A sample of decisions in constant memory: logins and empty slots each at their own rate, chosen by hash.
//!
//! When a part is full its rate is halved and what no longer passes is dropped, so that at any time the sample is the one
//! that the present rate would have drawn from the start.

use super::feature::Row;
use crate::unit::Time;

/// One decision that was kept.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub at: Time,
    pub hash: u32,
    pub row: Row,
}

/// Decisions of one outcome.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub kept: Vec<Kept>,
    most: usize,
    /// Halvings so far: the rate is one half to this power.
    halvings: u32,
}

impl Part {
    pub(crate) fn new(most: usize, halvings: u32) -> Self {
        Self { kept: Vec::new(), most, halvings }
    }

    /// Share of the decisions that is kept.
    pub(crate) fn rate(&self) -> f64 {
        0.5_f64.powi(self.halvings as i32)
    }

    pub(crate) fn passes(&self, hash: u32) -> bool {
        u64::from(hash) < 1_u64 << (32 - self.halvings)
    }

    pub(crate) fn push(&mut self, kept: Kept) {
        self.kept.push(kept);
        while self.kept.len() > self.most && self.halvings < 31 {
            self.halvings += 1;
            let limit = 1_u64 << (32 - self.halvings);
            self.kept.retain(|kept| u64::from(kept.hash) < limit);
        }
    }
}
