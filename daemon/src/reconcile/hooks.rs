//! Questions of libvirt's hook, and who answers them in time.
//!
//! libvirt holds the domain until its hook ends, so a look at the host may wait for us while the hook does. Hence questions are
//! answered between and also during looks, from the last round and from what our own steps have made since. A step that an answer
//! needs is one among the others: one at a time on a PF, not in shadow mode, not during a hold. Not here: what the answer is
//! (`headstart_core::hook`).

use std::borrow::Cow;
use std::time::Duration;

use headstart_core::desktop::{BadDesktop, Desktop, resolve, settings};
use headstart_core::hook::{Answer, Case, Operation, Question, answer, note_made, refusal};
use headstart_core::id::DomainUuid;
use headstart_core::observed::Observed;
use headstart_core::plan::Standing;
use headstart_core::request::Wish;
use headstart_core::step::{Step, our_hostdev};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::memory::{Round, Starting};
use super::{Done, Reconcile};
use crate::host::hook_xml;
use crate::message::Told;
use crate::status::Mode;

/// The hook itself gives up after 2 s; this leaves time for the way back.
const DEADLINE: Duration = Duration::from_millis(1500);

/// How long the next look waits for an answer to reach libvirt: on a busy host each would keep the other from a core.
const ON_ITS_WAY: Duration = Duration::from_millis(1);

/// A question without an answer yet.
struct Pending {
    question: Question,
    xml: String,
    deadline: Instant,
    /// What is being made for it.
    step: Option<Step>,
    /// How that ended, in words, if it failed.
    failed: Option<String>,
    made: bool,
    reply: oneshot::Sender<Told>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Hooks {
    pending: Vec<Pending>,
    /// Steps that ended well and that no look has shown yet.
    made: Vec<Step>,
    /// One has been answered, and nothing waited since.
    answered: bool,
}

impl Hooks {
    /// Lets answers leave before this thread is busy: libvirt waits.
    pub(super) async fn let_answers_leave(&mut self) {
        if std::mem::take(&mut self.answered) {
            tokio::time::sleep(ON_ITS_WAY).await;
        }
    }

    /// When the first of them must be answered.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pending.iter().map(|pending| pending.deadline).min()
    }

    /// How many steps have ended of which looks show nothing yet.
    pub(super) fn made(&self) -> usize {
        self.made.len()
    }

    /// A look has shown what these first steps made.
    pub(super) fn seen(&mut self, steps: usize) {
        self.made.drain(..steps.min(self.made.len()));
    }
}

/// Waits until then; for ever without one.
pub(super) async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn go_on(note: String) -> Told {
    Told { allowed: true, note, xml: String::new() }
}

fn refuse(note: String) -> Told {
    Told { allowed: false, note, xml: String::new() }
}

impl Reconcile {
    /// The hook asks.
    pub(super) fn take_hook(&mut self, operation: Operation, xml: String, reply: oneshot::Sender<Told>, round: &Round) {
        let now = self.parts.clock.now();
        let question = match hook_xml::parse(&xml) {
            Ok(domain) => Question { operation, domain },
            Err(why) => {
                // A hook that has given up in between went on without us.
                let _ = reply.send(go_on(format!("{why}; it goes on without headstart")));
                return;
            }
        };
        let uuid = question.domain.uuid;
        let own = |step: &Step| matches!(step, Step::StartDomain { domain } if *domain == uuid);
        if !self.in_flight.iter().any(|flight| own(&flight.step)) {
            // Whoever starts a desktop that has a device wants it: that is a request.
            let asked = round.desktops.contains_key(&uuid)
                && operation == Operation::Prepare
                && our_hostdev(&question.domain).is_some()
                && !self.memory.standing.contains_key(&uuid);
            let asked_before = self.memory.starting.get(&uuid).is_some_and(|starting| starting.asked);
            if asked {
                self.memory.standing.insert(uuid, Standing { wish: Wish::default(), since: now });
            }
            self.memory
                .starting
                .insert(uuid, Starting { domain: question.domain.clone(), since: now, asked: asked || asked_before });
        }
        let deadline = Instant::now() + DEADLINE;
        self.hooks.pending.push(Pending { question, xml, deadline, step: None, failed: None, made: false, reply });
        self.settle_hooks(round);
    }

    /// A step has ended: hooks need not wait until the loop comes round to that.
    pub(super) fn note_ended(&mut self, done: &Done) {
        for flight in self.in_flight.iter_mut().filter(|flight| flight.step == done.step) {
            if std::mem::replace(&mut flight.ended, true) {
                return;
            }
        }
        for pending in self.hooks.pending.iter_mut().filter(|pending| pending.step.as_ref() == Some(&done.step)) {
            match &done.result {
                Ok(_) => pending.made = true,
                Err(error) => pending.failed = Some(error.to_string()),
            }
        }
        if done.result.is_ok() {
            self.hooks.made.push(done.step.clone());
        }
    }

    /// Answers whatever can be answered now, and starts what is missing.
    pub(super) fn settle_hooks(&mut self, round: &Round) {
        for mut pending in std::mem::take(&mut self.hooks.pending) {
            match self.settle(&mut pending, round) {
                Some(told) => {
                    if !told.allowed {
                        self.memory.not_started(pending.question.domain.uuid);
                    }
                    let word = if told.allowed { "go on" } else { "no" };
                    tracing::debug!("{}: the hook is told: {word}: {}", pending.question.domain.name, told.note);
                    let _ = pending.reply.send(told);
                    self.hooks.answered = true;
                }
                None => self.hooks.pending.push(pending),
            }
        }
    }

    fn settle(&mut self, pending: &mut Pending, round: &Round) -> Option<Told> {
        let late = Instant::now() >= pending.deadline;
        if pending.made {
            let what = pending.step.as_ref().map(ToString::to_string).unwrap_or_default();
            self.say(pending, "start", &format!("its device was missing: {what}"));
            return Some(go_on(String::new()));
        }
        if let Some(why) = pending.failed.take() {
            return Some(self.missing(pending, round, &why));
        }
        if let Some(step) = &pending.step {
            let why = format!("could not {step} within {} ms", DEADLINE.as_millis());
            return late.then(|| self.missing(pending, round, &why));
        }
        match self.answer(&pending.question, round) {
            Answer::Allow => Some(go_on(String::new())),
            _ if self.parts.settings.mode == Mode::Shadow => Some(go_on(String::new())),
            Answer::Rewrite { from, to, managed } => {
                let Some(xml) = hook_xml::exchange(&pending.xml, from, to, managed) else {
                    let why = format!("{to} cannot take the place of {from} in its definition");
                    return Some(self.missing(pending, round, &why));
                };
                let starting = self.memory.starting.get_mut(&pending.question.domain.uuid);
                let hostdevs = starting.into_iter().flat_map(|starting| &mut starting.domain.hostdevs);
                for hostdev in hostdevs.filter(|hostdev| hostdev.ours && hostdev.device == from) {
                    hostdev.device = to;
                }
                let note = format!("{to} of this host takes the place of {from}");
                self.say(pending, "start", &note);
                Some(Told { allowed: true, note, xml })
            }
            Answer::Make(step) => {
                if let Some(hold) = self.holds.first() {
                    let why = format!("could not {step}: a hold is in force ({})", hold.reason);
                    return Some(self.missing(pending, round, &why));
                }
                self.start(step.clone(), round);
                pending.step = Some(step);
                None
            }
            Answer::Wait { .. } if !late => None,
            Answer::Wait { why, changing: true } => {
                let note = format!("{why}; try again in a moment");
                self.say(pending, "start refused", &note);
                Some(refuse(note))
            }
            Answer::Wait { why, .. } | Answer::Missing(why) => Some(self.missing(pending, round, &why)),
        }
    }

    fn answer(&self, question: &Question, round: &Round) -> Answer {
        let uuid = question.domain.uuid;
        let settings = &self.parts.settings;
        // Before libvirt has answered for the first time only the definition tells.
        let told = || resolve(&question.domain, &settings.rules, &settings.zone);
        let desktop = round
            .desktops
            .get(&uuid)
            .map_or_else(|| told().map(|it| it.map(Cow::Owned)), |it| Ok(Some(Cow::Borrowed(it))));
        let desktop: Result<Option<&Desktop>, &BadDesktop> = desktop.as_ref().map(Option::as_deref);
        let managed = |other: DomainUuid| other == uuid || round.desktops.contains_key(&other);
        let in_flight: Vec<&Step> =
            self.in_flight.iter().filter(|flight| !flight.ended).map(|flight| &flight.step).collect();
        let quarantine = self.memory.trouble.now(self.parts.clock.now()).1;
        let by = |observed: &Observed| {
            let want = round.plan.desired.wants.get(&uuid);
            let (managed, quarantine, in_flight) = (&managed, &quarantine, in_flight.as_slice());
            answer(&Case { question, desktop, want, observed, managed, quarantine, in_flight })
        };
        // Nearly always the device is there, and then nothing has to be copied; libvirt waits.
        match by(&round.observed) {
            Answer::Allow if question.operation == Operation::Prepare => Answer::Allow,
            other => match self.known(round) {
                Cow::Borrowed(_) => other,
                Cow::Owned(known) => by(&known),
            },
        }
    }

    /// The last look, with what our own steps have made since, and with those who start.
    fn known<'a>(&self, round: &'a Round) -> Cow<'a, Observed> {
        if self.hooks.made.is_empty() && self.memory.starting.is_empty() {
            return Cow::Borrowed(&round.observed);
        }
        let mut observed = Observed::clone(&round.observed);
        for step in &self.hooks.made {
            note_made(&mut observed, step);
        }
        for (uuid, starting) in &self.memory.starting {
            observed.domains.insert(*uuid, starting.domain.clone());
        }
        Cow::Owned(observed)
    }

    /// A start without the device that it should have.
    fn missing(&self, pending: &Pending, round: &Round, why: &str) -> Told {
        let domain = &pending.question.domain;
        let named = our_hostdev(domain).is_some();
        let managed = round.desktops.get(&domain.uuid).map(|desktop| desktop.missing_gpu);
        let told = || settings(domain, &self.parts.settings.rules)?.missing_gpu;
        let missing_gpu = managed.or_else(told).unwrap_or_default();
        match refusal(&domain.name, missing_gpu, why).filter(|_| self.parts.settings.mode == Mode::Armed) {
            Some(note) => {
                self.say(pending, "start refused", &note);
                refuse(note)
            }
            // A desktop that never had one starts without one; nobody needs to read that each time.
            None if !named => go_on(String::new()),
            None => {
                self.say(pending, "start", why);
                go_on(format!("{why}; the start is not refused"))
            }
        }
    }

    fn say(&self, pending: &Pending, what: &str, why: &str) {
        self.decide(self.parts.clock.now(), Some(&pending.question.domain.name), what, why);
    }
}
