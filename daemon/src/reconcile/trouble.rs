//! What failed, and how long it is left alone: back-off for what may pass, quarantine for what will not by itself.

use std::collections::BTreeMap;

use headstart_core::id::{DomainUuid, GpuId};
use headstart_core::plan::Quarantine;
use headstart_core::step::{Busy, FailureKind, Step, StepError};
use headstart_core::unit::{Span, Time};

/// First back-off; doubles with every failure in a row.
const FIRST_BACK_OFF: Span = Span::seconds(2);
/// Longest back-off.
const LONGEST_BACK_OFF: Span = Span::minutes(5);
/// After so many passing failures in a row the planner looks elsewhere for a while.
const TOO_MANY: u32 = 5;
/// How long a PF or domain that failed too often, or that denied access, takes nothing new.
const QUARANTINE: Span = Span::minutes(30);
/// The same where only other hardware or configuration would help.
const LONG_QUARANTINE: Span = Span::hours(24);

/// What a step worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A PF.
    Gpu(GpuId),
    /// A domain.
    Domain(DomainUuid),
}

#[derive(Clone, Debug)]
struct Case {
    failures: u32,
    until: Time,
    quarantined: bool,
    why: String,
}

/// All cases.
#[derive(Clone, Debug, Default)]
pub struct Trouble {
    cases: BTreeMap<Place, Case>,
}

impl Trouble {
    /// A step went well: its places are forgiven.
    pub fn success(&mut self, step: &Step) {
        for place in places(step) {
            self.cases.remove(&place);
        }
    }

    /// A step failed. Says whether this is new enough to tell people (the first of a row, and the one that leads to quarantine).
    pub fn failure(&mut self, step: &Step, error: &StepError, now: Time) -> bool {
        let mut tell = false;
        for place in places(step) {
            let case = self.cases.entry(place).or_insert_with(|| Case {
                failures: 0,
                until: now,
                quarantined: false,
                why: String::new(),
            });
            case.failures += 1;
            case.why.clone_from(&error.text);
            tell = tell || case.failures == 1;
            let back_off =
                Span::seconds(FIRST_BACK_OFF.as_seconds().saturating_mul(1 << case.failures.min(16).saturating_sub(1)))
                    .min(LONGEST_BACK_OFF);
            let (span, quarantined) = match error.kind {
                // The next look knows better; only a conflict that does not go away is slowed down.
                FailureKind::Conflict | FailureKind::Gone if case.failures < TOO_MANY => (Span::ZERO, false),
                FailureKind::Conflict | FailureKind::Gone => (back_off, false),
                FailureKind::Transient | FailureKind::Exhausted if case.failures < TOO_MANY => (back_off, false),
                FailureKind::Transient | FailureKind::Exhausted | FailureKind::Denied => (QUARANTINE, true),
                FailureKind::Unsupported => (LONG_QUARANTINE, true),
            };
            tell = tell || (quarantined && !case.quarantined);
            case.until = now + span;
            case.quarantined = quarantined;
        }
        tell
    }

    /// What is left alone now: by the steps, and by the planner.
    pub fn now(&self, now: Time) -> (Busy, Quarantine) {
        let (mut busy, mut quarantine) = (Busy::default(), Quarantine::default());
        for (place, case) in self.cases.iter().filter(|(_, case)| case.until > now) {
            match place {
                Place::Gpu(gpu) => {
                    busy.gpus.insert(*gpu);
                    if case.quarantined {
                        quarantine.gpus.insert(*gpu, case.why.clone());
                    }
                }
                Place::Domain(domain) => {
                    busy.domains.insert(*domain);
                    if case.quarantined {
                        quarantine.domains.insert(*domain, case.why.clone());
                    }
                }
            }
        }
        (busy, quarantine)
    }

    /// The next time something is no longer left alone.
    pub fn next(&self, now: Time) -> Option<Time> {
        self.cases.values().map(|case| case.until).filter(|until| *until > now).min()
    }

    /// What is in quarantine, and why.
    pub fn problems(&self, now: Time) -> impl Iterator<Item = (Place, String)> + '_ {
        let quarantined = self.cases.iter().filter(move |(_, case)| case.quarantined && case.until > now);
        quarantined.map(|(place, case)| (*place, format!("{} (left alone until {})", case.why, case.until)))
    }
}

/// A failed start or attach is the domain's affair, everything else the PF's.
fn places(step: &Step) -> impl Iterator<Item = Place> + use<> {
    let place = step.domain().map(Place::Domain).or_else(|| step.gpu().map(Place::Gpu));
    place.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(trouble: &mut Trouble, kind: FailureKind, at: i64) -> bool {
        let step = Step::SetNumVfs { gpu: "0000:3b:00.0".parse().unwrap(), vfs: 4 };
        trouble.failure(&step, &StepError { kind, text: "0000:3b:00.0: busy".into() }, Time::from_unix(at))
    }

    #[test]
    fn back_off_doubles_and_ends_in_quarantine() {
        let mut trouble = Trouble::default();
        let mut waits = Vec::new();
        for _ in 0..4 {
            fail(&mut trouble, FailureKind::Transient, 0);
            waits.push(trouble.next(Time::from_unix(0)).unwrap().unix());
        }
        assert_eq!(waits, [2, 4, 8, 16]);
        assert!(trouble.now(Time::from_unix(0)).1.gpus.is_empty());
        assert!(fail(&mut trouble, FailureKind::Transient, 0), "quarantine is told");
        let (busy, quarantine) = trouble.now(Time::from_unix(60));
        assert_eq!((busy.gpus.len(), quarantine.gpus.len()), (1, 1));
        assert_eq!(trouble.now(Time::from_unix(1801)), (Busy::default(), Quarantine::default()));
    }

    #[test]
    fn a_conflict_is_looked_at_again_at_once() {
        let mut trouble = Trouble::default();
        assert!(fail(&mut trouble, FailureKind::Conflict, 0));
        assert_eq!(trouble.now(Time::from_unix(0)).0, Busy::default());
        assert!(!fail(&mut trouble, FailureKind::Conflict, 0), "told once");
    }
}
