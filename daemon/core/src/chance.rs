//! What the forecast means for one desktop now: the few numbers that the planner reads.
//!
//! The planner sees no model, no history and no slot; the forecast sees no desktop's device. This is the seam.

use std::collections::BTreeMap;

use crate::desktop::{AttachMode, Desktop};
use crate::forecast::{Forecast, SLOT, SubjectForecast};
use crate::gpu::Vgpu;
use crate::id::{DomainUuid, Subject};
use crate::observed::{Attachment, Login, Observed, Power};
use crate::step::our_hostdev;
use crate::unit::{Probability, Span, Time};

/// One desktop's prospects.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Chance {
    /// Of a login in the slot for which work would have to start now: the best of the slots from now until the lead time is over.
    /// Of a rest of a slot, as if it were whole: what it is worth is what an idle minute brings. This decides.
    pub now: Probability,
    /// Of a login within the next four hours: for keeping room.
    pub soon: Probability,
    /// Of a login within 24 hours.
    pub today: Probability,
    /// The likeliest time of the next login, if any is likely at all.
    pub next: Option<Time>,
}

/// Who of a pool comes first. Carrying out the plan must not change the order but by serving whoever is next: so a device that does not
/// suit gives no turn, since it is taken back, and whoever can be given none takes none from the others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// It has a device that suits it.
    Holds,
    /// It could be given one.
    Could,
    /// It runs and could not.
    Cannot,
}

/// What the forecast means for every desktop.
///
/// A pooled desktop is needed if more people come to its pool than there are other idle desktops before it: the desktops of a pool
/// stand in a fixed order (`Turn`), and the k-th has the probability of at least k logins, with the logins of a slot taken as a Poisson
/// number.
pub fn chances(
    forecast: &Forecast,
    desktops: &BTreeMap<DomainUuid, Desktop>,
    leads: &BTreeMap<DomainUuid, Span>,
    observed: &Observed,
    now: Time,
) -> BTreeMap<DomainUuid, Chance> {
    let mut chances: BTreeMap<DomainUuid, Chance> = desktops
        .values()
        .map(|desktop| {
            let lead = leads.get(&desktop.uuid).copied().unwrap_or(Span::ZERO);
            let prospect = forecast.subjects.get(&desktop.subject);
            (
                desktop.uuid,
                prospect.map_or_else(Chance::default, |prospect| chance(prospect, forecast.start, lead, now)),
            )
        })
        .collect();
    let mut in_pool: BTreeMap<&Subject, u32> = BTreeMap::new();
    for desktop in in_turn(desktops, observed) {
        if !forecast.subjects.contains_key(&desktop.subject) {
            continue;
        }
        let idle = observed.domains.get(&desktop.uuid).is_some_and(|domain| domain.login == Login::None);
        let k = in_pool.entry(&desktop.subject).or_default();
        *k += u32::from(idle);
        if let Some(chance) = chances.get_mut(&desktop.uuid) {
            for p in [&mut chance.now, &mut chance.soon, &mut chance.today] {
                *p = at_least(*k, *p);
            }
        }
    }
    chances
}

/// What is expected of one desktop's subject, if nobody shares it.
fn chance(prospect: &SubjectForecast, start: Time, lead: Span, now: Time) -> Chance {
    let mut best = Probability::ZERO;
    let mut at = now;
    loop {
        let p = prospect.rate(start, at);
        if p > best {
            best = p;
        }
        if at >= now + lead {
            break;
        }
        at = (at + SLOT).min(now + lead);
    }
    let start_of = |slot: usize| start + Span::seconds(slot as i64 * SLOT.as_seconds());
    let next = prospect.likeliest.map(|slot| start_of(slot).max(now));
    Chance { now: best, soon: prospect.soon, today: prospect.today, next }
}

/// Pooled desktops, in the order in which they are needed.
fn in_turn<'a>(desktops: &'a BTreeMap<DomainUuid, Desktop>, observed: &Observed) -> Vec<&'a Desktop> {
    let mut pooled: Vec<&Desktop> =
        desktops.values().filter(|desktop| matches!(desktop.subject, Subject::Pool(_))).collect();
    if pooled.is_empty() {
        return pooled;
    }
    let (places, sees_all) = (observed.places(), observed.sees_all_gpus());
    pooled.sort_by_cached_key(|desktop| {
        let Some(domain) = observed.domains.get(&desktop.uuid) else { return Turn::Cannot };
        let Some(hostdev) = our_hostdev(domain) else {
            let stuck = desktop.attach != AttachMode::Live && matches!(domain.power, Power::Running { .. });
            return if stuck { Turn::Cannot } else { Turn::Could };
        };
        let suits = |vgpu: &Vgpu| vgpu.profile.as_ref().is_some_and(|profile| desktop.profiles.contains(profile));
        let going = hostdev.attachment == Attachment::Detaching;
        let vgpu = places.get(&hostdev.device).and_then(|gpu| gpu.vgpus.get(&hostdev.device));
        let holds = !going && vgpu.map_or(!sees_all, suits);
        if holds { Turn::Holds } else { Turn::Could }
    });
    pooled
}

/// Probability of at least `k` events of a Poisson number of which at least one comes with probability `one`.
fn at_least(k: u32, one: Probability) -> Probability {
    let rate = -(1.0 - one.get().min(0.999_999)).ln();
    let (mut term, mut below) = ((-rate).exp(), 0.0);
    for i in 0..k {
        below += term;
        term *= rate / f64::from(i + 1);
    }
    Probability::clamped(1.0 - below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_of_a_pool_needs_two_logins() {
        let one = Probability::clamped(0.5);
        assert!((at_least(1, one).get() - 0.5).abs() < 1e-6);
        // Rate ln 2: P(>= 2) = 1 - 1/2 - ln 2 / 2.
        assert!((at_least(2, one).get() - 0.153_426).abs() < 1e-5);
        assert!(at_least(3, one) < at_least(2, one));
        assert_eq!(at_least(1, Probability::ZERO), Probability::ZERO);
    }
}
