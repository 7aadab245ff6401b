//! What each threshold would have cost and brought over the last weeks, at what the model of the day said: a price list, from which the
//! threshold for an idle budget or a hit rate is read.
//!
//! Only what is over is counted, so nothing is peeked at. Deliberately not here: what the administrator asks for
//! ([`crate::policy::Goal`]).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::LEAST_LEFT;
use super::walk::Decision;
use crate::policy::{Goal, READY_BEFORE, RELEASE_SHARE};
use crate::unit::{Probability, Span, Time};

/// Thresholds of the trade-off curve: from a tenth of an idle hour per user and day to half of the day.
pub(crate) const SWEEP: [f64; 30] = [
    0.6, 0.45, 0.35, 0.27, 0.21, 0.16, 0.12, 0.1, 0.09, 0.08, 0.071, 0.063, 0.056, 0.05, 0.044, 0.039, 0.035, 0.031,
    0.027, 0.024, 0.021, 0.018, 0.015, 0.012, 0.01, 0.008, 0.006, 0.004, 0.002, 0.0008,
];
/// What is counted, before today.
pub(crate) const COUNTED: Span = Span::days(28);
/// User-days below which a list says nothing.
const FEW_DAYS: u32 = 50;
const DAY: i64 = 86_400;

/// What one threshold would have cost and brought.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Price {
    /// Taken from this probability per quarter hour on.
    pub take: f64,
    /// Hours held for somebody not logged in, per user and day.
    pub idle: f64,
    /// Share of the logins of known users that found their GPU.
    pub hits: f64,
}

impl Price {
    /// The threshold.
    pub fn take(&self) -> Probability {
        Probability::clamped(self.take)
    }
}

/// Counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    days: VecDeque<Day>,
    users: Vec<User>,
}

#[derive(Clone, Debug)]
struct Day {
    number: i64,
    users: u32,
    logins: u32,
    /// By threshold.
    idle: [i64; SWEEP.len()],
    hits: [u32; SWEEP.len()],
}

/// Who holds at which thresholds (a bit each, the highest threshold first), until when, and the last day that was counted.
#[derive(Clone, Copy, Debug, Default)]
struct User {
    held: u32,
    until: i64,
    day: i64,
}

/// The thresholds that are at most `value`.
fn reached(value: f64) -> u32 {
    let first = SWEEP.partition_point(|threshold| *threshold > value);
    if first < SWEEP.len() { u32::MAX << first & (u32::MAX >> (32 - SWEEP.len())) } else { 0 }
}

impl Ledger {
    /// Counts a decision of which `p` was said. Those of one user come in order.
    pub(crate) fn add(&mut self, decision: &Decision, p: f64) {
        let day = decision.at.unix().div_euclid(DAY);
        let sums = match self.days.binary_search_by_key(&day, |sums| sums.number) {
            Ok(at) => &mut self.days[at],
            Err(at) => {
                let new = Day { number: day, users: 0, logins: 0, idle: [0; SWEEP.len()], hits: [0; SWEEP.len()] };
                self.days.insert(at, new);
                &mut self.days[at]
            }
        };
        if self.users.len() <= decision.index {
            self.users.resize(decision.index + 1, User::default());
        }
        let user = &mut self.users[decision.index];
        if user.day != day {
            user.day = day;
            sums.users += 1;
        }
        let value = p / f64::from(decision.left().max(LEAST_LEFT));
        let before = if user.until == decision.wall { user.held } else { 0 };
        let held = reached(value) | (before & reached(value / RELEASE_SHARE));
        let came = decision.ends_with_login();
        let lasts = decision.until - decision.wall;
        let mut rest = held;
        while rest != 0 {
            let at = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            let fresh = before >> at & 1 == 0;
            let lead = if fresh { decision.lead() } else { 0 };
            sums.idle[at] += lasts + lead;
            sums.hits[at] += u32::from(came && (!fresh || lasts + lead >= READY_BEFORE.as_seconds()));
        }
        sums.logins += u32::from(came);
        (user.held, user.until) = (if came { 0 } else { held }, decision.until);
    }

    /// The list at `now`, most thrifty first; empty if too little is known. Forgets what is older.
    pub(crate) fn list(&mut self, now: Time) -> Vec<Price> {
        let first = (now - COUNTED).unix().div_euclid(DAY);
        self.days.retain(|day| day.number >= first);
        let users: u32 = self.days.iter().map(|day| day.users).sum();
        let logins: u32 = self.days.iter().map(|day| day.logins).sum();
        if users < FEW_DAYS || logins == 0 {
            return Vec::new();
        }
        let price = |(at, take): (usize, &f64)| {
            let idle: i64 = self.days.iter().map(|day| day.idle[at]).sum();
            let hits: u32 = self.days.iter().map(|day| day.hits[at]).sum();
            let (idle, hits) = (idle as f64 / 3600.0 / f64::from(users), f64::from(hits) / f64::from(logins));
            Price { take: *take, idle, hits }
        };
        SWEEP.iter().enumerate().map(price).collect()
    }
}

/// The entry of a list that meets the goal, between its lines; none from an empty list. A goal beyond its ends gets the end.
pub(crate) fn meet(list: &[Price], goal: Goal) -> Option<Price> {
    let (asked, of): (f64, fn(&Price) -> f64) = match goal {
        Goal::IdleBudget(budget) => (budget.as_seconds() as f64 / 3600.0, |price| price.idle),
        Goal::HitRate(rate) => (rate.get(), |price| price.hits),
    };
    let right = list.iter().position(|price| of(price) >= asked);
    let Some(right) = right.filter(|right| *right > 0) else {
        return if right.is_some() { list.first() } else { list.last() }.copied();
    };
    let (a, b) = (list[right - 1], list[right]);
    let share = if of(&b) > of(&a) { (asked - of(&a)) / (of(&b) - of(&a)) } else { 1.0 };
    let between = |a: f64, b: f64| a + (b - a) * share;
    // Costs rise about evenly with the logarithm of the threshold.
    let take = between(a.take.ln(), b.take.ln()).exp();
    Some(Price { take, idle: between(a.idle, b.idle), hits: between(a.hits, b.hits) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: [Price; 3] = [
        Price { take: 0.1, idle: 0.5, hits: 0.4 },
        Price { take: 0.025, idle: 1.5, hits: 0.7 },
        Price { take: 0.01, idle: 4.0, hits: 0.95 },
    ];

    #[test]
    fn a_goal_is_met_between_the_lines_and_not_beyond_the_ends() {
        let hours = |hours| meet(&LIST, Goal::IdleBudget(Span::hours(hours))).unwrap();
        let one = hours(1);
        assert!((one.take - 0.05).abs() < 1e-9 && (one.hits - 0.55).abs() < 1e-9, "{one:?}");
        assert_eq!((hours(0), hours(9)), (LIST[0], LIST[2]));
        let most = meet(&LIST, Goal::HitRate(Probability::clamped(0.95))).unwrap();
        assert!((most.take - 0.01).abs() < 1e-4, "{most:?}");
        assert_eq!(meet(&[], Goal::IdleBudget(Span::hours(1))), None);
    }

    #[test]
    fn thresholds_are_reached_from_the_lowest_on() {
        assert_eq!(reached(0.9).count_ones() as usize, SWEEP.len());
        assert_eq!(reached(SWEEP[3]), reached(SWEEP[3] + 1e-9));
        assert_eq!(reached(SWEEP[3]).count_ones() as usize, SWEEP.len() - 3);
        assert_eq!(reached(0.0), 0);
    }
}
