//! What is newly decided or newly wrong after a round, and so worth a line in the journal.
//!
//! Deliberately not here: writing it anywhere.

use std::collections::{BTreeMap, BTreeSet};

use headstart_core::desktop::Desktop;
use headstart_core::id::{DesktopName, DomainUuid};
use headstart_core::observed::{Gap, Problem};
use headstart_core::plan::{Reason, Verdict};
use headstart_core::request::Way;
use headstart_core::step::our_hostdev;
use headstart_core::unit::{Span, Time};

use super::memory::Round;

/// That something is not known is told only if it lasts so long: an agent is asked, a guest's QEMU closes a device a moment later.
const LASTING: Span = Span::seconds(10);

/// What was told.
#[derive(Debug, Default)]
pub(super) struct News {
    reasons: BTreeMap<DomainUuid, Reason>,
    /// Of which desktops the state is not known, and since when.
    unclear: BTreeMap<DomainUuid, Time>,
    /// By object.
    problems: BTreeMap<String, BTreeSet<String>>,
}

/// A decision to tell of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) desktop: DesktopName,
    pub(super) what: &'static str,
    pub(super) why: String,
}

/// What became of a problem.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is new, or is another one than before.
    Begun(String),
    /// Nothing is wrong with the object any more.
    Ended(String),
}

impl News {
    /// The last decision about this desktop was to give its device to another.
    pub(super) fn was_outranked(&self, desktop: DomainUuid) -> bool {
        matches!(self.reasons.get(&desktop), Some(Reason::Outranked { .. }))
    }

    /// Each problem is told once. That one ended is told only if no other took its place.
    pub(super) fn problems(&mut self, now: &[Problem]) -> Vec<Change> {
        let mut problems: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for problem in now {
            problems.entry(problem.object.clone()).or_default().insert(problem.to_string());
        }
        let mut changes = Vec::new();
        for (object, texts) in &problems {
            let before = self.problems.get(object);
            let new = texts.iter().filter(|text| before.is_none_or(|before| !before.contains(*text)));
            changes.extend(new.cloned().map(Change::Begun));
        }
        let ended = self.problems.iter().filter(|(object, _)| !problems.contains_key(*object));
        changes.extend(ended.flat_map(|(_, texts)| texts.iter().cloned().map(Change::Ended)));
        self.problems = problems;
        changes
    }

    /// What was decided otherwise than before.
    pub(super) fn decisions(&mut self, round: &Round) -> Vec<Told> {
        let mut told = Vec::new();
        self.reasons.retain(|uuid, _| round.plan.verdicts.contains_key(uuid));
        self.unclear.retain(|uuid, _| round.plan.verdicts.contains_key(uuid));
        for (uuid, verdict) in &round.plan.verdicts {
            if self.is_passing(*uuid, &verdict.reason, round) {
                continue;
            }
            let before = self.reasons.insert(*uuid, verdict.reason.clone());
            let Some(desktop) = round.desktops.get(uuid) else { continue };
            if is_news(before.as_ref(), &verdict.reason) {
                let held = round.observed.domains.get(uuid).is_some_and(|domain| our_hostdev(domain).is_some());
                let what = what(&verdict.reason, verdict.offer.way, held);
                told.push(Told { desktop: desktop.name.clone(), what, why: sentence(verdict, desktop) });
            }
        }
        told
    }

    /// That its state is not known may change in a moment, or is a problem of the whole host and told as that.
    fn is_passing(&mut self, desktop: DomainUuid, reason: &Reason, round: &Round) -> bool {
        if !matches!(reason, Reason::Unknown { .. }) {
            self.unclear.remove(&desktop);
            return false;
        }
        let since = *self.unclear.entry(desktop).or_insert(round.now);
        round.observed.gaps.contains(&Gap::Domains) || round.now - since < LASTING
    }
}

/// Whether a change from one reason to another is a decision that people want to read.
fn is_news(before: Option<&Reason>, after: &Reason) -> bool {
    // That nothing is wanted any more is news of who waited in vain.
    let waited = matches!(before, Some(Reason::NoCapacity { .. } | Reason::Outranked { .. }));
    match after {
        // What is said at login, logout and detachment is not said twice.
        Reason::InUse | Reason::Arriving | Reason::Grace { .. } => false,
        Reason::BelowTake { .. } => waited,
        Reason::NothingAhead if before.is_none() => false,
        _ => before.is_none_or(|before| before.word() != after.word()),
    }
}

/// What a new reason means, in a word or two.
fn what(reason: &Reason, way: Way, held: bool) -> &'static str {
    match reason {
        Reason::Reserved { .. } if held => "keep",
        Reason::Reserved { .. } => "reserve",
        Reason::Waiting { .. } if way == Way::Queued => "queued",
        Reason::Waiting { .. } => "on demand",
        Reason::MinimumHold { .. } | Reason::Spare { .. } => "keep",
        Reason::BelowRelease { .. } | Reason::Outranked { .. } => "give back",
        Reason::NoCapacity { .. } | Reason::NotOffered { .. } => "waits",
        Reason::BelowTake { .. } => "not reserved",
        _ => reason.word(),
    }
}

fn sentence(verdict: &Verdict, desktop: &Desktop) -> String {
    let sentence = verdict.reason.sentence(&desktop.time_zone);
    match (&verdict.offer.gpu, &verdict.offer.profile) {
        (Some(gpu), Some(profile)) if matches!(verdict.reason, Reason::Reserved { .. } | Reason::Waiting { .. }) => {
            format!("{profile} on {gpu}: {sentence}")
        }
        _ => sentence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_problem_is_told_once_and_its_end_if_none_took_its_place() {
        let problem = |object: &str, text: &str| Problem { object: object.into(), text: text.into() };
        let mut news = News::default();
        let begun = |text: &str| Change::Begun(text.into());
        let first = [problem("libvirt", "gone"), problem("vm1", "no profile"), problem("vm1", "no user")];
        assert_eq!(news.problems(&first), [begun("libvirt: gone"), begun("vm1: no profile"), begun("vm1: no user")]);
        assert_eq!(news.problems(&first), []);
        assert_eq!(
            news.problems(&[problem("libvirt", "silent"), problem("vm1", "no user")]),
            [begun("libvirt: silent")]
        );
        let ended = [Change::Ended("libvirt: silent".into()), Change::Ended("vm1: no user".into())];
        assert_eq!(news.problems(&[]), ended);
    }
}
