//! The daemon's loop without its threads: look, `Memory::round`, steps, turn by turn through a scene, with everything kept that a
//! judge may ask for.
//!
//! What `reconcile` does with threads is done here with a list: a step that is slow stays in flight for some rounds and keeps its PF and
//! domain busy. Not here: any opinion on what happens.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use headstart_core::forecast::Model;
use headstart_core::history::History;
use headstart_core::id::{DomainUuid, Subject};
use headstart_core::plan::Standing;
use headstart_core::request::{Preallocation, Wish};
use headstart_core::step::{Applied, Busy, FailureKind, Step, StepError};
use headstart_core::track::Happened;
use headstart_core::unit::{Span, Time};
use headstartd::host::Host;
use headstartd::reconcile::memory::{Memory, Reported, Round};
use jiff::tz::TimeZone;

use super::board::profile_name;
use super::build::Built;
use super::lap::{Act, Lap};
use super::scene::{Deed, Fate, Hidden, Scene, Turn, User};

/// A scene on its way.
pub(super) struct Course {
    pub(super) built: Built,
    pub(super) memory: Memory,
    /// The history on disk.
    history: History,
    /// Sessions that only a broker knows, and since when.
    reported: BTreeMap<DomainUuid, Time>,
    flights: Vec<Flight>,
    /// What happened so far, for whoever reads of a broken law.
    pub(super) log: String,
}

struct Flight {
    step: Step,
    rounds_left: u8,
    /// None: what it does is still to be done.
    answer: Option<Result<Applied, StepError>>,
    reported: BTreeSet<DomainUuid>,
}

impl Course {
    pub(super) fn new(scene: &Scene) -> Self {
        let built = scene.build();
        let reported = scene.desktops.iter().zip(&built.desktops).filter(|(desktop, _)| desktop.user == User::Reported);
        let reported = reported.map(|(_, (_, uuid))| (*uuid, built.clock.now())).collect();
        let history = built.history.clone();
        let memory = Memory::new(history.clone(), Model::default());
        let mut course = Self { built, memory, history, reported, flights: Vec::new(), log: String::new() };
        course.forget();
        course
    }

    /// A daemon that was killed: all it knows is on the host and in the history, which tells of sessions that a broker reported, and of
    /// requests that stand.
    pub(super) fn forget(&mut self) {
        let mut history = self.history.clone();
        // Who is really still there, the next look shows.
        let subjects: Vec<Subject> = history.subjects().cloned().collect();
        for subject in subjects {
            if matches!(history.last_session(&subject), Some((_, None))) {
                history.session_ended(&subject, self.now());
            }
        }
        let standing = std::mem::take(&mut self.memory.standing);
        self.memory = Memory::new(history, Model::default());
        self.memory.standing = standing;
        for (name, uuid) in &self.built.desktops {
            if let Some(since) = self.reported.get(uuid) {
                self.memory.reported.insert(name.clone(), Reported { since: *since, user: None });
            }
        }
        // What a step would have done later, nobody does now.
        self.flights.clear();
    }

    /// One round and what befalls the host around it.
    pub(super) fn play(&mut self, turn: &Turn) -> Lap {
        self.play_woken(turn, 0)
    }

    /// The same, woken so many times more before the first step is taken.
    pub(super) fn play_woken(&mut self, turn: &Turn, wakes: u8) -> Lap {
        if turn.crash {
            self.note("killed");
            self.forget();
        }
        turn.before.iter().for_each(|deed| self.befall(*deed));
        (0..wakes).for_each(|_| drop(self.look(&turn.hidden)));
        let mut lap = self.look(&turn.hidden);
        turn.between.iter().for_each(|deed| self.befall(*deed));
        for (n, step) in permuted(&lap.round.steps, turn.order).into_iter().enumerate() {
            let fate = turn.fates.get(n).copied().unwrap_or(Fate::Works);
            self.take(step, fate, &mut lap);
        }
        self.land(&mut lap);
        let now = self.now();
        self.built.clock.advance(now + Span::seconds(turn.pass));
        lap
    }

    /// Looks and decides, and does nothing.
    pub(super) fn look(&mut self, hidden: &[Hidden]) -> Lap {
        let truth = self.built.sim.observe();
        let mut seen = truth.clone();
        for hidden in hidden {
            hidden.hide(&self.built, &mut seen);
        }
        let now = self.now();
        let (mut busy, quarantine) = self.memory.trouble.now(now);
        let in_flight = self.in_flight();
        let round = self.memory.round(&self.built.settings, seen, &in_flight, now);
        self.record(&round);
        busy.gpus.extend(in_flight.gpus);
        busy.domains.extend(in_flight.domains);
        self.note(&format!("round at {now}{}", if hidden.is_empty() { "" } else { ", partly blind" }));
        for (uuid, verdict) in &round.plan.verdicts {
            self.note(&format!("  {}: {}", round.desktops[uuid].name, verdict.reason.sentence(&TimeZone::UTC)));
        }
        for step in &round.steps {
            self.note(&format!("  * {}", named(step, &round)));
        }
        Lap { truth, reported: self.reported.keys().copied().collect(), busy, quarantine, round, acts: Vec::new() }
    }

    fn record(&mut self, round: &Round) {
        self.history.advance(round.now);
        for (uuid, what) in &round.happened {
            let subject = &round.desktops[uuid].subject;
            match what {
                Happened::LoggedIn { at, .. } => {
                    self.history.session_started(subject, *at, None);
                }
                Happened::LoggedOut { at } => self.history.session_ended(subject, *at),
                _ => {}
            }
        }
    }

    pub(super) fn now(&self) -> Time {
        self.built.clock.now()
    }

    pub(super) fn note(&mut self, what: &str) {
        let _ = writeln!(self.log, "{what}");
    }

    /// Steps in flight.
    pub(super) fn is_quiet(&self) -> bool {
        self.flights.is_empty()
    }

    fn in_flight(&self) -> Busy {
        let mut busy = Busy::default();
        for flight in &self.flights {
            busy.gpus.extend(flight.step.gpu());
            busy.domains.extend(flight.step.domain());
        }
        busy
    }

    fn take(&mut self, step: Step, fate: Fate, lap: &mut Lap) {
        let reported = lap.reported.clone();
        if !matches!(fate, Fate::Works) {
            self.note(&format!("  {step}: {fate:?}"));
        }
        let fails = |kind: FailureKind| Err(StepError { kind, text: format!("{step}: injected") });
        let answer = match fate {
            Fate::Works => Some(self.act(step.clone(), reported.clone(), lap)),
            Fate::Fails(kind) => Some(fails(kind)),
            Fate::Lost(kind) => {
                let lost = fails(kind);
                let _ = self.act(step.clone(), reported.clone(), lap);
                Some(lost)
            }
            Fate::Slow { at_once, rounds } => {
                let answer = at_once.then(|| self.act(step.clone(), reported.clone(), lap));
                self.flights.push(Flight { step, rounds_left: rounds, answer, reported });
                return;
            }
        };
        self.flights.push(Flight { step, rounds_left: 0, answer, reported });
    }

    /// Steps that end with this round.
    fn land(&mut self, lap: &mut Lap) {
        for mut flight in std::mem::take(&mut self.flights) {
            let Some(left) = flight.rounds_left.checked_sub(1) else {
                let answer =
                    flight.answer.take().unwrap_or_else(|| self.act(flight.step.clone(), flight.reported, lap));
                match answer {
                    Ok(_) => self.memory.trouble.success(&flight.step),
                    Err(error) => {
                        self.memory.trouble.failure(&flight.step, &error, self.now());
                    }
                }
                continue;
            };
            flight.rounds_left = left;
            self.flights.push(flight);
        }
    }

    fn act(&mut self, step: Step, reported: BTreeSet<DomainUuid>, lap: &mut Lap) -> Result<Applied, StepError> {
        let before = self.built.sim.observe();
        let answer = self.built.sim.apply(&step);
        if let Err(error) = &answer {
            self.note(&format!("  refused: {error}"));
        }
        let after = self.built.sim.observe();
        lap.acts.push(Act { step, before, after, answer: answer.clone(), reported });
        answer
    }

    fn befall(&mut self, deed: Deed) {
        self.note(&format!("{deed:?}"));
        let now = self.now();
        let (Deed::Arrive(n)
        | Deed::Leave(n)
        | Deed::Release(n)
        | Deed::Report(n)
        | Deed::EndReport(n)
        | Deed::Wish { desktop: n, .. }) = deed
        else {
            self.built.sim.reboot();
            return;
        };
        let Some((name, uuid)) = self.built.desktop(n).cloned() else { return };
        match deed {
            Deed::Arrive(_) => self.built.sim.arrive(&name, now),
            Deed::Leave(_) => self.built.sim.leave(&name),
            Deed::Wish { profile, ahead, .. } => {
                let preallocation = if ahead { Preallocation::Accept } else { Preallocation::Decline };
                let wish = Wish { preallocation, profile: profile.map(profile_name) };
                self.memory.standing.insert(uuid, Standing { wish, since: now });
            }
            Deed::Release(_) => {
                self.memory.standing.remove(&uuid);
            }
            Deed::Report(_) => {
                self.reported.entry(uuid).or_insert(now);
                self.memory.reported.entry(name).or_insert(Reported { since: now, user: None });
            }
            Deed::EndReport(_) => {
                self.reported.remove(&uuid);
                self.memory.reported.remove(&name);
            }
            Deed::Reboot => {}
        }
    }
}

/// A step with names instead of UUIDs.
fn named(step: &Step, round: &Round) -> String {
    let mut text = step.to_string();
    for domain in round.observed.domains.values() {
        text = text.replace(&domain.uuid.to_string(), domain.name.as_str());
        text = text.replace(&domain.uuid.mdev().to_string(), &format!("mdev:{}", domain.name));
    }
    text
}

/// The steps in the order that this number stands for.
fn permuted(steps: &[Step], mut order: u32) -> Vec<Step> {
    let mut left = steps.to_vec();
    let mut permuted = Vec::new();
    while !left.is_empty() {
        let n = left.len() as u32;
        permuted.push(left.remove((order % n) as usize));
        order /= n;
    }
    permuted
}
