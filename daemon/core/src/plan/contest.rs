//! Who competes for room, in what order, and who gives way to whom.
//!
//! Deliberately not here: who competes at all, and where there is room ([`super::room`]).

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::Reason;
use super::room::{Placed, Room};
use crate::desktop::Desktop;
use crate::id::{DomainUuid, GpuId, ProfileName};

/// What an attach costs, in logins per quarter hour: a device must bring so much more to whoever takes it than to whoever has it. A
/// difference and no ratio: 10 % against 8 % is worth a move, 0.2 % against 0.1 % is not. Chosen among 0.0005 to 0.004 on the first
/// two thirds of two traces whose users share as few GPUs as the busiest hour needs; the dearest of them costs no hit.
pub(crate) const LEAST_GAIN: f64 = 0.004;

/// What somebody who waits is worth: more than any probability.
pub(super) const WAITING: f64 = 2.0;

/// By what right somebody competes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// Somebody waits, or asked: takes the room of idle reservations and gives way to none.
    Waits,
    /// A login is likely. `young`: within the minimum hold, and gives way only to who waits; `anew`: would also compete with nothing.
    Reserved { young: bool, anew: bool },
    /// It has a device and nobody is expected: gives way to anybody else, of whatever priority.
    Spare,
}

impl Right {
    pub(super) fn is_anew(self) -> bool {
        matches!(self, Right::Waits | Right::Reserved { anew: true, .. })
    }

    /// Whether its device may go to somebody who competes by right of `other`.
    fn yields_to(self, other: Right) -> bool {
        match self {
            Right::Waits => false,
            Right::Reserved { young, .. } => !young || other == Right::Waits,
            Right::Spare => true,
        }
    }
}

/// A claim that competes.
pub(super) struct Contender<'a> {
    pub desktop: &'a Desktop,
    /// What decides its rank, whether it has a device or not, so that getting one does not change the rank.
    pub value: f64,
    pub right: Right,
    pub reason: Reason,
    /// Where its device is, if it has one that it could keep.
    pub held: Option<(GpuId, Placed)>,
    pub profiles: Vec<ProfileName>,
}

/// What decides who is placed first.
#[derive(Clone, Copy)]
pub(super) struct Rank {
    pub spare: bool,
    pub priority: i32,
    pub value: f64,
    pub desktop: DomainUuid,
}

impl Rank {
    pub(super) fn order(&self, other: &Rank) -> Ordering {
        let by_priority = self.spare.cmp(&other.spare).then(other.priority.cmp(&self.priority));
        by_priority.then(other.value.total_cmp(&self.value)).then(self.desktop.cmp(&other.desktop))
    }
}

impl Contender<'_> {
    pub(super) fn rank(&self) -> Rank {
        Rank {
            spare: self.right == Right::Spare,
            priority: self.desktop.priority,
            value: self.value,
            desktop: self.desktop.uuid,
        }
    }

    /// What whoever takes its device must be worth.
    fn worth(&self) -> f64 {
        if self.right == Right::Spare { 0.0 } else { self.value + LEAST_GAIN }
    }
}

/// The idle reservations that must give way for `claimant`: all on one PF, the least valuable ones, no more than needed, and for that
/// one of its profiles that costs fewest: else another would do as soon as the first of them is gone. Somebody who waits, or who has
/// higher priority, takes what it needs; a reservation of equal priority must be worth more than those it ends. What is spare goes first.
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
            let safe = !victim.right.yields_to(claimant.right)
                || evicted.contains(&victim.desktop.uuid)
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
            if claimant.right == Right::Waits || equals < claimant.value {
                if best.as_ref().is_none_or(|(_, _, fewest)| needed.len() < fewest.len()) {
                    best = Some((*address, profile.clone(), needed));
                }
                break;
            }
        }
    }
    best
}
