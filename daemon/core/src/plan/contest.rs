//! Who competes for room, in what order, and who gives way to whom.
//!
//! Deliberately not here: who competes at all, and where there is room ([`super::room`]).

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::Reason;
use super::room::{Placed, Room};
use crate::desktop::Desktop;
use crate::id::{DomainUuid, GpuId, ProfileName};

/// A reservation that is held counts this much more than one that would be made, so that devices do not change hands for nothing.
const HELD_COUNTS: f64 = 1.5;

/// What somebody who waits is worth: more than any probability.
pub(super) const WAITING: f64 = 2.0;

/// A claim that competes.
pub(super) struct Contender<'a> {
    pub desktop: &'a Desktop,
    /// What decides its rank, whether it has a device or not, so that getting one does not change the rank.
    pub value: f64,
    pub waiting: bool,
    pub protected: bool,
    /// It would compete also if it had nothing.
    pub anew: bool,
    pub reason: Reason,
    /// Where its device is, if it has one that it could keep.
    pub held: Option<(GpuId, Placed)>,
    pub profiles: Vec<ProfileName>,
}

/// What decides who is placed first.
#[derive(Clone, Copy)]
pub(super) struct Rank {
    pub priority: i32,
    pub value: f64,
    pub desktop: DomainUuid,
}

impl Rank {
    pub(super) fn order(&self, other: &Rank) -> Ordering {
        let by_priority = other.priority.cmp(&self.priority);
        by_priority.then(other.value.total_cmp(&self.value)).then(self.desktop.cmp(&other.desktop))
    }
}

impl Contender<'_> {
    pub(super) fn rank(&self) -> Rank {
        Rank { priority: self.desktop.priority, value: self.value, desktop: self.desktop.uuid }
    }

    /// What whoever takes its device must be worth.
    fn worth(&self) -> f64 {
        self.value * HELD_COUNTS
    }
}

/// The idle reservations that must give way for `claimant`: all on one PF, the least valuable ones, no more than needed, and for that
/// one of its profiles that costs fewest: else another would do as soon as the first of them is gone. Somebody who waits, or who has
/// higher priority, takes what it needs; a reservation of equal priority must be worth more than those it ends.
pub(super) fn victims<'c, 'a>(
    claimant: &Contender<'a>,
    lower: &'c [Contender<'a>],
    evicted: &BTreeSet<DomainUuid>,
    room: &Room<'_>,
    able: impl Fn(&Contender<'_>) -> bool,
) -> Option<(GpuId, ProfileName, Vec<&'c Contender<'a>>)> {
    let mut best: Option<(GpuId, ProfileName, Vec<&'c Contender<'a>>)> = None;
    for profile in &claimant.profiles {
        let mut going: BTreeMap<GpuId, Vec<&Contender<'a>>> = BTreeMap::new();
        for victim in lower.iter().rev() {
            let Some((address, _)) = &victim.held else { continue };
            let safe = victim.waiting
                || evicted.contains(&victim.desktop.uuid)
                || (victim.protected && !claimant.waiting)
                || !room.is_open(*address)
                || !able(victim);
            if safe {
                continue;
            }
            let group = going.entry(*address).or_default();
            group.push(victim);
            let placed = |group: &[&Contender<'a>]| -> Vec<Placed> {
                group.iter().filter_map(|v| v.held.as_ref().map(|(_, placed)| placed.clone())).collect()
            };
            if room.fit(*address, profile, &placed(group)).is_err() {
                continue;
            }
            let mut needed = group.clone();
            let mut at = 0;
            while at < needed.len() {
                let mut fewer = needed.clone();
                fewer.remove(at);
                if room.fit(*address, profile, &placed(&fewer)).is_ok() { needed = fewer } else { at += 1 }
            }
            let equals: f64 =
                needed.iter().filter(|v| v.desktop.priority == claimant.desktop.priority).map(|v| v.worth()).sum();
            if claimant.waiting || equals < claimant.value {
                if best.as_ref().is_none_or(|(_, _, fewest)| needed.len() < fewest.len()) {
                    best = Some((*address, profile.clone(), needed));
                }
                break;
            }
        }
    }
    best
}
