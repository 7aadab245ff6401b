//! A sample of decisions in constant memory: logins and empty slots each at their own rate, chosen by hash.
//!
//! When a part is full its rate is halved and what no longer passes is dropped, so that at any time the sample is the one
//! that the present rate would have drawn from the start.

use crate::unit::Time;

/// One decision that was kept, and what was kept of it.
#[derive(Clone, Debug)]
pub(crate) struct Kept<T> {
    pub at: Time,
    pub hash: u32,
    pub row: T,
}

/// Decisions of one outcome.
#[derive(Clone, Debug)]
pub(crate) struct Part<T> {
    pub kept: Vec<Kept<T>>,
    most: usize,
    /// Halvings so far: the rate is one half to this power.
    halvings: u32,
}

impl<T> Part<T> {
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

    pub(crate) fn push(&mut self, kept: Kept<T>) {
        self.kept.push(kept);
        while self.kept.len() > self.most && self.halvings < 31 {
            self.halvings += 1;
            let limit = 1_u64 << (32 - self.halvings);
            self.kept.retain(|kept| u64::from(kept.hash) < limit);
        }
    }
}

/// Decisions of both outcomes.
#[derive(Clone, Debug)]
pub(crate) struct Sample<T> {
    pub logins: Part<T>,
    pub empty: Part<T>,
}

impl<T> Sample<T> {
    /// At most `rows`, at least three quarters of them empty slots; those are drawn at one in 2 to the power of `halvings` from the
    /// beginning.
    pub(crate) fn new(rows: usize, halvings: u32) -> Self {
        Self { logins: Part::new(rows / 4, 0), empty: Part::new(rows - rows / 4, halvings) }
    }

    pub(crate) fn wants(&self, login: bool, hash: u32) -> bool {
        if login { self.logins.passes(hash) } else { self.empty.passes(hash) }
    }

    pub(crate) fn keep(&mut self, login: bool, kept: Kept<T>) {
        if login { self.logins.push(kept) } else { self.empty.push(kept) }
    }

    /// Lets go of what was before.
    pub(crate) fn forget_before(&mut self, time: Time) {
        self.logins.kept.retain(|kept| kept.at >= time);
        self.empty.kept.retain(|kept| kept.at >= time);
    }

    /// What was before `until`, in the order of time and hash (in which slots were worked off must not show), and how many logins.
    pub(crate) fn before(&self, until: Time) -> (Vec<(&Kept<T>, bool)>, usize) {
        let mut rows: Vec<(&Kept<T>, bool)> = Vec::new();
        rows.extend(self.logins.kept.iter().filter(|kept| kept.at < until).map(|kept| (kept, true)));
        let logins = rows.len();
        rows.extend(self.empty.kept.iter().filter(|kept| kept.at < until).map(|kept| (kept, false)));
        rows.sort_unstable_by_key(|(kept, login)| (kept.at, kept.hash, *login));
        (rows, logins)
    }
}
