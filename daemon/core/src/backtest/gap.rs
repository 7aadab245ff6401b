//! Spans in which a GPU is held for a user who is not logged in.

/// One of them; wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub user: usize,
    pub from: i64,
    pub to: i64,
    /// Seconds east of UTC of the wall clock.
    pub offset: i32,
}

/// Spans of each user, sorted, overlaps merged.
pub(crate) fn by_user(spans: &[Held], users: usize) -> Vec<Vec<(i64, i64)>> {
    let mut all: Vec<Vec<(i64, i64)>> = vec![Vec::new(); users];
    for held in spans.iter().filter(|held| held.to > held.from) {
        all[held.user].push((held.from, held.to));
    }
    for spans in &mut all {
        spans.sort_unstable();
        let mut merged: Vec<(i64, i64)> = Vec::with_capacity(spans.len());
        for (from, to) in spans.drain(..) {
            match merged.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => merged.push((from, to)),
            }
        }
        *spans = merged;
    }
    all
}
