//! The daemon's loop without its threads: look, `Memory::round`, steps, turn by turn through a scene, with everything kept that a
//! judge may ask for.
//!
//! What `reconcile` does with threads is done here with a list: a step that is slow stays in flight for some rounds and keeps its PF and
//! domain busy. Not here: any opinion on what happens.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use headstart_core::check::Judge;
use headstart_core::forecast::Model;
use headstart_core::gpu::{GpuState, Opened};
use headstart_core::history::History;
use headstart_core::id::{DomainUuid, Subject};
use headstart_core::observed::{Gap, Login, Observed, Power};
use headstart_core::plan::{Quarantine, Standing};
use headstart_core::request::{Preallocation, Wish};
use headstart_core::step::{Applied, Busy, FailureKind, Step, StepError};
use headstart_core::track::Happened;
use headstart_core::unit::{Span, Time};
use headstartd::host::Host;
use headstartd::reconcile::memory::{Memory, Reported, Round};
use jiff::tz::TimeZone;

use super::board::profile_name;
use super::build::Built;
use super::scene::{Deed, Fate, Hidden, Scene, Turn, User};
use super::witness::Witness;

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

    /// A daemon that was killed: all it knows is on the host and in the history, which tells of sessions that a broker reported.
    pub(super) fn forget(&mut self) {
        let mut history = self.history.clone();
        // Who is really still there, the next look shows.
        let subjects: Vec<Subject> = history.subjects().cloned().collect();
        for subject in subjects {
            if matches!(history.last_session(&subject), Some((_, None))) {
                history.session_ended(&subject, self.now());
            }
        }
        self.memory = Memory::new(history, Model::default());
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
        hidden.iter().for_each(|hidden| self.hide(*hidden, &mut seen));
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

    fn hide(&self, hidden: Hidden, seen: &mut Observed) {
        let why = || "not readable".to_owned();
        let address = |n| self.built.board(n).map(|gpu| gpu.address);
        let mut bits = 0..;
        let mut bit = |seen: u8| bits.next().is_some_and(|n: u32| seen >> (n % 8) & 1 == 1);
        match hidden {
            Hidden::Domains { seen: shown } => {
                seen.gaps.insert(Gap::Domains);
                seen.domains.retain(|_, _| bit(shown));
            }
            Hidden::Board(n) => {
                let Some(address) = address(n) else { return };
                seen.gaps.insert(Gap::Gpu(address));
                seen.gpus.remove(&address);
            }
            Hidden::OnBoard { board, seen: shown } => {
                let Some(gpu) = address(board).and_then(|address| seen.gpus.get_mut(&address)) else { return };
                gpu.state = GpuState::Unknown(why());
                gpu.vgpus.retain(|_, _| bit(shown));
            }
            Hidden::NotReady(n) => {
                let Some(gpu) = address(n).and_then(|address| seen.gpus.get_mut(&address)) else { return };
                if gpu.state == GpuState::Ready {
                    gpu.state = GpuState::NotReady("its driver is not there".into());
                }
            }
            Hidden::Opened(n) => {
                let count = seen.gpus.values().map(|gpu| gpu.vgpus.len()).sum::<usize>().max(1);
                if let Some(vgpu) = seen.gpus.values_mut().flat_map(|gpu| gpu.vgpus.values_mut()).nth(n % count) {
                    vgpu.opened = Opened::Unknown(why());
                }
            }
            Hidden::Login(n) | Hidden::Power(n) => {
                let count = seen.domains.len().max(1);
                match (seen.domains.values_mut().nth(n % count), hidden) {
                    (Some(domain), Hidden::Login(_)) => domain.login = Login::Unknown(why()),
                    (Some(domain), _) => domain.power = Power::Unknown(why()),
                    (None, _) => {}
                }
            }
        }
    }
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
        let witness = Witness { truth: &self.truth, managed, reported: &self.reported };
        self.round.steps.iter().flat_map(|step| witness.objects_to(step)).collect()
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
