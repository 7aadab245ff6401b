//! What one round saw, decided and did, and what the judges say to it.

use std::collections::BTreeSet;

use headstart_core::check::Judge;
use headstart_core::id::DomainUuid;
use headstart_core::observed::Observed;
use headstart_core::plan::Quarantine;
use headstart_core::step::{Applied, Busy, Desired, Step, StepError};
use headstartd::reconcile::memory::Round;

use super::witness::Witness;

/// What one round saw, decided and did.
pub(super) struct Lap {
    /// The host at the look.
    pub(super) truth: Observed,
    /// Who is there as only a broker knows.
    pub(super) reported: BTreeSet<DomainUuid>,
    /// All that had to be left alone.
    pub(super) busy: Busy,
    pub(super) quarantine: Quarantine,
    pub(super) round: Round,
    /// What was done to the host, also by steps of earlier rounds.
    pub(super) acts: Vec<Act>,
}

/// One step that reached the host.
pub(super) struct Act {
    pub(super) step: Step,
    pub(super) before: Observed,
    pub(super) after: Observed,
    /// The host's own answer, whatever the daemon was told.
    pub(super) answer: Result<Applied, StepError>,
    /// As it was when the step was decided.
    pub(super) reported: BTreeSet<DomainUuid>,
}

impl Lap {
    /// What `check` says against what is desired.
    pub(super) fn against_desired(&self) -> Vec<String> {
        self.judge().desired(&self.round.plan.desired)
    }

    /// What `check` says against the steps.
    pub(super) fn against_steps(&self) -> Vec<String> {
        self.judge().round(&self.round.steps)
    }

    /// Plans that leave only these alone: nobody else is to have anything; or whoever is to have something has it, and all others give back.
    pub(super) fn careless(&self, hands_off: BTreeSet<DomainUuid>) -> [Desired; 2] {
        let plan = &self.round.plan.desired;
        let shut_down = self.round.desktops.keys().copied().collect();
        let nobody = Desired { hands_off, shut_down, ..Desired::default() };
        let few = Desired { wants: plan.wants.clone(), num_vfs: plan.num_vfs.clone(), ..nobody.clone() };
        [nobody, few]
    }

    fn judge(&self) -> Judge<'_> {
        Judge {
            observed: &self.round.observed,
            desktops: &self.round.desktops,
            quarantine: &self.quarantine,
            busy: &self.busy,
        }
    }

    /// What the truth says against the steps, whether or not the host would refuse them.
    pub(super) fn objections(&self, managed: &BTreeSet<DomainUuid>) -> Vec<String> {
        self.objections_to(&self.round.steps, managed)
    }

    /// The same against other steps from the same look.
    pub(super) fn objections_to(&self, steps: &[Step], managed: &BTreeSet<DomainUuid>) -> Vec<String> {
        let witness = Witness { truth: &self.truth, managed, reported: &self.reported };
        steps.iter().flat_map(|step| witness.objects_to(step)).collect()
    }

    /// What was done that must not be done.
    pub(super) fn harm(&self, managed: &BTreeSet<DomainUuid>) -> Vec<String> {
        let harm = |act: &Act| {
            let witness = Witness { truth: &act.before, managed, reported: &act.reported };
            witness.harm(&act.after).into_iter().map(|harm| format!("{}: {harm}", act.step)).collect::<Vec<_>>()
        };
        self.acts.iter().flat_map(harm).collect()
    }
}
