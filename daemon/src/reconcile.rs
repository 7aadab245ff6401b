//! The loop. It owns all mutable state; others see a published status and send messages.
//!
//! Wait for a wake-up, drain the rest; look at the host; decide; publish; apply what the round allows; sleep. Start, crash
//! and reboot are this loop and nothing else.

mod calendars;
mod hooks;
pub mod learning;
mod lessons;
pub mod memory;
pub mod model_file;
mod news;
mod publish;
pub mod trouble;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use headstart_core::hint::Hint;
use headstart_core::id::{DesktopName, DomainUuid};
use headstart_core::plan::Standing;
use headstart_core::step::{Applied, Busy, FailureKind, Step, StepError};
use headstart_core::track::{Happened, Outcome};
use headstart_core::unit::{Span, Time};
use jiff::civil;
use jiff::tz::TimeZone;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::Instant;

use crate::calendar::Reader;
use crate::clock::Clock;
use crate::host::Host;
use crate::message::Message;
use crate::simulation::Simulation;
use crate::status::{Decision, Hold, Mode, Status};
use crate::store::{self, Record, Source, Store};
use crate::systemd::Systemd;
use calendars::Calendars;
use hooks::Hooks;
use learning::Subjects;
use lessons::{Learned, Lessons};
use memory::{Memory, Reported, Round, Settings};
use news::{Change, News, Told};

/// A look at the host that takes longer is given up; its domain list counts as not seen. libvirt's own keepalive is 15 s.
const LOOK_DEADLINE: Duration = Duration::from_secs(20);
/// A step that takes longer is reported as hanging. VF creation may take minutes (nmstate waits up to 300 s).
const STEP_DEADLINE: Duration = Duration::from_secs(300);
/// In a simulation nothing takes real time, so a step that takes this long hangs.
const SIMULATED_STEP_DEADLINE: Duration = Duration::from_millis(500);
/// A step that began less than this ago is waited for before the next look: the kernel tells of a new mdev before whoever makes it is
/// answered, and a look at a device in the making shows nothing to act on and holds up the one that does.
const YOUNG_STEP: Duration = Duration::from_millis(200);
/// So many messages are put by during a look; more wait where they are, and then callers are told to come again.
const MOST_PUT_BY: usize = 256;

/// What the loop is made of.
pub struct Parts {
    /// The host.
    pub host: Arc<dyn Host>,
    /// Its clock.
    pub clock: Clock,
    /// People of a simulation.
    pub simulation: Option<Simulation>,
    /// What the administrator decided.
    pub settings: Settings,
    /// IANA name of `settings.zone`; empty: UTC.
    pub zone_name: String,
    /// At least so often the host is looked at.
    pub poll: Span,
    /// When the model is fitted anew.
    pub refit_at: civil::Time,
    /// History on disk.
    pub store: Store,
    /// Where the model is kept; none: nowhere.
    pub model_path: Option<PathBuf>,
    /// Messages from the bus.
    pub messages: mpsc::Receiver<Message>,
    /// To the bus.
    pub status: watch::Sender<Arc<Status>>,
    /// To the bus.
    pub decisions: broadcast::Sender<Decision>,
    /// Whoever watches over the loop.
    pub systemd: Systemd,
    /// Reads calendars.
    pub calendars: Reader,
    /// End when the people of the simulation have come and gone.
    pub exit_at_end: bool,
}

/// A step that ended.
struct Done {
    step: Step,
    result: Result<Applied, StepError>,
}

/// A step under way.
struct InFlight {
    step: Step,
    since: Instant,
    told: bool,
    /// It has ended, and the loop has not come round to that yet.
    ended: bool,
}

/// The loop.
pub struct Reconcile {
    parts: Parts,
    memory: Memory,
    in_flight: Vec<InFlight>,
    done: (mpsc::UnboundedSender<Done>, mpsc::UnboundedReceiver<Done>),
    lessons: Lessons,
    next_fit: Time,
    holds: Vec<Hold>,
    next_cookie: u32,
    rounds: u64,
    news: News,
    announced_end: bool,
    hooks: Hooks,
    calendars: Calendars,
    /// Requests as they are on disk.
    kept: BTreeMap<DomainUuid, Standing>,
    /// What came while the host was being looked at and can wait until that is over.
    put_by: VecDeque<Wake>,
}

/// What woke the loop. It goes to the log only.
enum Wake {
    Message(Option<Message>),
    Done(Done),
    Learned(Learned),
    Deadline,
    Hooks,
}

impl Reconcile {
    /// A loop around what was learned so far.
    pub fn new(parts: Parts, memory: Memory) -> Self {
        let now = parts.clock.now();
        let next_fit = next_at(parts.refit_at, &parts.settings, now);
        let kept = memory.standing.clone();
        let calendars = Calendars::new(parts.calendars.clone());
        Self {
            parts,
            memory,
            in_flight: Vec::new(),
            done: mpsc::unbounded_channel(),
            lessons: Lessons::new(),
            next_fit,
            holds: Vec::new(),
            next_cookie: 1,
            rounds: 0,
            news: News::default(),
            announced_end: false,
            hooks: Hooks::default(),
            calendars,
            kept,
            put_by: VecDeque::new(),
        }
    }

    /// Runs until the senders of messages are gone, or the simulation ends and was to end with it.
    pub async fn run(mut self) {
        if !self.memory.model.is_fitted() {
            self.start_fit();
        }
        let mut last: Option<Round> = None;
        loop {
            let round = self.round(last.as_ref()).await;
            self.parts.systemd.alive();
            if self.parts.exit_at_end && self.parts.simulation.as_ref().is_some_and(Simulation::is_over) {
                tracing::info!("the trace is over");
                return;
            }
            let mut again = false;
            let deadline = self.deadline(&round);
            let mut wake = self.wait(deadline, &round).await;
            loop {
                match wake {
                    Wake::Message(None) => return,
                    Wake::Message(Some(message)) => self.take(message, &round),
                    Wake::Done(done) => {
                        self.note_ended(&done);
                        again |= self.finish(done);
                    }
                    Wake::Learned(learned) => self.take_learned(learned),
                    Wake::Deadline | Wake::Hooks => {}
                }
                // Drain the rest, so that a burst of wake-ups costs one look.
                let next = match self.try_wake() {
                    Some(next) => Some(next),
                    None => self.wake_of_young_steps().await,
                };
                match next {
                    Some(next) => wake = next,
                    None => break,
                }
            }
            tracing::trace!(again, "next round");
            self.keep_wishes();
            self.settle_hooks(&round);
            // Whoever has an answer now gets it first.
            tokio::task::yield_now().await;
            self.hooks.let_answers_leave().await;
            last = Some(round);
        }
    }

    /// One round: look, decide, tell, do.
    async fn round(&mut self, last: Option<&Round>) -> Round {
        if let Some(simulation) = &mut self.parts.simulation {
            simulation.play();
        }
        let observed = self.look(last).await;
        let now = self.parts.clock.now();
        self.rounds += 1;
        let busy = self.busy();
        let mut round = self.memory.round(&self.parts.settings, observed, &busy, now);
        round.problems.extend(self.calendars.problems().iter().cloned());
        self.record(&round);
        self.keep_wishes();
        self.tell(&round);
        if self.parts.settings.mode == Mode::Shadow || !self.holds.is_empty() {
            round.steps.clear();
        }
        self.publish(&round);
        for step in round.steps.clone() {
            self.start(step, &round);
        }
        self.settle_hooks(&round);
        if now >= self.next_fit {
            self.next_fit = next_at(self.parts.refit_at, &self.parts.settings, now);
            self.parts.store.delete_old(now);
            self.start_fit();
        }
        self.read_calendars(&round);
        let limit = now - memory::LONGEST_REPORTED;
        self.memory.reported.retain(|_, reported| reported.since > limit);
        round
    }

    /// Looks at the host on a worker thread. libvirt tells nothing of a domain whose hook waits for us, so hooks are answered meanwhile,
    /// from the last round.
    async fn look(&mut self, last: Option<&Round>) -> headstart_core::observed::Observed {
        let host = Arc::clone(&self.parts.host);
        let made_before = self.hooks.made();
        let mut look = tokio::task::spawn_blocking(move || host.observe());
        let deadline = Instant::now() + LOOK_DEADLINE;
        let mut open = true;
        loop {
            let hook = self.hooks.deadline();
            tokio::select! {
                looked = &mut look => match looked {
                    Ok(observed) => {
                        self.hooks.seen(made_before);
                        return observed;
                    }
                    Err(_) => break,
                },
                () = tokio::time::sleep_until(deadline) => break,
                () = hooks::at(hook) => {}
                Some(done) = self.done.1.recv() => {
                    self.note_ended(&done);
                    self.put_by.push_back(Wake::Done(done));
                }
                message = self.parts.messages.recv(), if open && self.put_by.len() < MOST_PUT_BY => match (message, last) {
                    (Some(message @ (Message::Hook { .. } | Message::Stopped { .. })), Some(round)) => self.take(message, round),
                    (message, _) => {
                        open = message.is_some();
                        self.put_by.push_back(Wake::Message(message));
                    }
                },
            }
            if let Some(round) = last {
                self.settle_hooks(round);
            }
        }
        headstart_core::observed::Observed {
            gaps: [headstart_core::observed::Gap::Domains].into(),
            problems: vec![headstart_core::observed::Problem {
                object: "host".into(),
                text: format!("it could not be looked at within {} s; nothing is changed", LOOK_DEADLINE.as_secs()),
            }],
            ..Default::default()
        }
    }

    fn busy(&self) -> Busy {
        let mut busy = Busy::default();
        for flight in &self.in_flight {
            busy.gpus.extend(flight.step.gpu());
            busy.domains.extend(flight.step.domain());
        }
        busy
    }

    /// Starts a step on a worker thread.
    fn start(&mut self, step: Step, round: &Round) {
        tracing::debug!("{}", describe(&step, round));
        let (host, sender) = (Arc::clone(&self.parts.host), self.done.0.clone());
        self.in_flight.push(InFlight { step: step.clone(), since: Instant::now(), told: false, ended: false });
        tokio::task::spawn_blocking(move || {
            let result = host.apply(&step);
            // The receiver is gone only when the daemon ends.
            let _ = sender.send(Done { step, result });
        });
    }

    /// A step ended. Says whether the host is to be looked at again at once.
    fn finish(&mut self, done: Done) -> bool {
        self.in_flight.retain(|flight| flight.step != done.step);
        match done.result {
            Ok(applied) => {
                self.memory.trouble.success(&done.step);
                applied == Applied::Changed
            }
            Err(error) => {
                let tell = self.memory.trouble.failure(&done.step, &error, self.parts.clock.now());
                match error.kind {
                    FailureKind::Conflict | FailureKind::Gone => tracing::debug!("{error}"),
                    _ if tell => tracing::warn!("{error}"),
                    _ => tracing::debug!("{error}"),
                }
                true
            }
        }
    }

    /// Waits for whatever comes first.
    async fn wait(&mut self, deadline: Option<Time>, round: &Round) -> Wake {
        if let Some(wake) = self.put_by.pop_front() {
            return wake;
        }
        let hook = self.hooks.deadline();
        let began = Instant::now();
        let sleep = self.sleep_length(deadline);
        let waiting_for_steps = self.parts.clock.is_virtual() && self.in_flight.iter().any(|flight| !flight.told);
        let wake = loop {
            tokio::select! {
                biased;
                done = self.done.1.recv() => break done.map_or(Wake::Deadline, Wake::Done),
                learned = self.lessons.next() => break learned.map_or(Wake::Deadline, Wake::Learned),
                message = self.parts.messages.recv() => break Wake::Message(message),
                () = hooks::at(hook) => break Wake::Hooks,
                // No wake-up: the loop waits on, and nothing is looked at.
                () = self.parts.systemd.due() => self.parts.systemd.alive(),
                () = tokio::time::sleep_until(began + sleep) => {
                    if let Some(deadline) = deadline.filter(|_| !waiting_for_steps) {
                        self.parts.clock.slept(deadline, began.elapsed(), true);
                    }
                    self.report_hanging(round);
                    return Wake::Deadline;
                }
            }
        };
        // A virtual clock stands while steps are under way: they take no simulated time.
        if let Some(deadline) = deadline.filter(|_| !waiting_for_steps) {
            self.parts.clock.slept(deadline, began.elapsed(), false);
        }
        wake
    }

    fn sleep_length(&self, deadline: Option<Time>) -> Duration {
        let mut sleep = deadline.map_or(Duration::from_secs(3600), |deadline| self.parts.clock.real_until(deadline));
        let limit = if self.parts.clock.is_virtual() { SIMULATED_STEP_DEADLINE } else { STEP_DEADLINE };
        let virtual_clock = self.parts.clock.is_virtual();
        for flight in self.in_flight.iter().filter(|flight| !flight.told) {
            let left = limit.saturating_sub(flight.since.elapsed());
            sleep = if virtual_clock { left } else { sleep.min(left) };
        }
        if virtual_clock && self.lessons.is_fitting() {
            // The model of the night is there before the morning, however fast the clock runs.
            sleep = Duration::from_secs(3600);
        }
        sleep
    }

    /// Steps that take too long: their PF and domain stay busy, and people are told once.
    fn report_hanging(&mut self, round: &Round) {
        let limit = if self.parts.clock.is_virtual() { SIMULATED_STEP_DEADLINE } else { STEP_DEADLINE };
        for flight in self.in_flight.iter_mut().filter(|f| !f.told && f.since.elapsed() >= limit) {
            flight.told = true;
            tracing::error!("{} has not come back; left alone until it does", describe(&flight.step, round));
        }
    }

    /// What comes while a young step is under way; none: no step is young any more. A hook is answered no later than that.
    async fn wake_of_young_steps(&mut self) -> Option<Wake> {
        let youngest = self.in_flight.iter().filter(|flight| !flight.ended).map(|flight| flight.since).max()?;
        let deadline = youngest + YOUNG_STEP;
        if deadline <= Instant::now() {
            return None;
        }
        tokio::select! {
            biased;
            done = self.done.1.recv() => done.map(Wake::Done),
            message = self.parts.messages.recv() => Some(Wake::Message(message)),
            () = tokio::time::sleep_until(deadline) => None,
        }
    }

    fn try_wake(&mut self) -> Option<Wake> {
        if let Some(wake) = self.put_by.pop_front() {
            return Some(wake);
        }
        if let Ok(done) = self.done.1.try_recv() {
            return Some(Wake::Done(done));
        }
        if let Some(learned) = self.lessons.try_next() {
            return Some(Wake::Learned(learned));
        }
        match self.parts.messages.try_recv() {
            Ok(message) => Some(Wake::Message(Some(message))),
            Err(mpsc::error::TryRecvError::Empty) => None,
            Err(mpsc::error::TryRecvError::Disconnected) => Some(Wake::Message(None)),
        }
    }

    /// When to look again if nothing comes; none: only when something comes.
    fn deadline(&mut self, round: &Round) -> Option<Time> {
        let mut next = self.memory.next_deadline(&self.parts.settings, round).min(self.next_fit);
        match &self.parts.simulation {
            None => next = next.min(round.now + self.parts.poll),
            Some(simulation) => {
                if simulation.has_people() && simulation.is_over() && self.in_flight.is_empty() {
                    if !std::mem::replace(&mut self.announced_end, true) {
                        tracing::info!("the trace is over; the simulated clock stands at {}", round.now);
                    }
                    return None;
                }
                if let Some(event) = simulation.next_event() {
                    next = next.min(event.max(round.now));
                }
            }
        }
        Some(next)
    }

    /// A message changes an input; the next round decides.
    fn take(&mut self, message: Message, round: &Round) {
        let now = self.parts.clock.now();
        let uuid = |name: &DesktopName| round.desktops.values().find(|desktop| desktop.name == *name).map(|d| d.uuid);
        match message {
            Message::Wish { desktop, wish } => {
                if let Some(uuid) = uuid(&desktop) {
                    self.decide(now, Some(&desktop), "request", &format!("{:?}", wish.preallocation).to_lowercase());
                    self.memory.standing.insert(uuid, Standing { wish, since: now });
                }
            }
            Message::Release { desktop } => {
                if let Some(uuid) = uuid(&desktop) {
                    self.decide(now, Some(&desktop), "release", "asked for");
                    self.memory.standing.remove(&uuid);
                }
            }
            Message::SessionStarted { desktop, user } => {
                self.memory.reported.entry(desktop).or_insert(Reported { since: now, user });
            }
            Message::SessionEnded { desktop } => {
                self.memory.reported.remove(&desktop);
            }
            Message::Hint { desktops, hint } => {
                self.take_hints(round, desktops.into_iter().map(|name| (name, hint)), false, now);
            }
            Message::Hold { owner, reason, reply } => {
                let cookie = self.next_cookie;
                self.next_cookie = self.next_cookie.wrapping_add(1).max(1);
                self.decide(now, None, "hold", &format!("{owner}: {reason}"));
                self.holds.push(Hold { cookie, owner, reason });
                let _ = reply.send(cookie);
            }
            Message::EndHold { owner, cookie, reply } => {
                let before = self.holds.len();
                self.holds.retain(|hold| hold.cookie != cookie || hold.owner != owner);
                let _ = reply.send(self.holds.len() < before);
            }
            Message::OwnerLeft { owner } => self.holds.retain(|hold| hold.owner != owner),
            Message::Explain { desktop, reply } => {
                let text = publish::explanation(&self.memory, &self.parts.settings, round, &desktop);
                let _ = reply.send(text);
            }
            Message::Hook { operation, xml, reply } => self.take_hook(operation, xml, reply, round),
            Message::Stopped { domain } => {
                let starting = self.memory.starting.iter().find(|(_, starting)| starting.domain.name == domain);
                if let Some(uuid) = starting.map(|(uuid, _)| *uuid) {
                    self.memory.not_started(uuid);
                }
            }
            Message::Reconcile => {}
            Message::HistoryImported => self.learn_again(),
        }
    }

    /// Has the calendars read when they are due, and takes what they say that is new.
    fn read_calendars(&mut self, round: &Round) {
        if let Some(reading) = self.calendars.due(round.now, self.parts.poll, self.parts.store.path()) {
            self.lessons.read_calendars(reading);
        }
        // A look that did not show the domains says nothing of whose desktop is gone.
        if !round.observed.gaps.contains(&headstart_core::observed::Gap::Domains) {
            let news = self.calendars.news(round.desktops.values(), round.now);
            self.take_hints(round, news, true, round.now);
        }
    }

    /// What was told goes into the history, on disk and in memory; the next round knows it.
    fn take_hints(
        &mut self,
        round: &Round,
        hints: impl IntoIterator<Item = (DesktopName, Hint)>,
        calendar: bool,
        now: Time,
    ) {
        for (name, hint) in hints {
            let from = if hint.kind.is_event() { now } else { hint.from };
            let hint = Hint { told: now, from, until: hint.until.max(from), ..hint };
            let Some(desktop) = round.desktops.values().find(|desktop| desktop.name == name) else { continue };
            tracing::debug!(desktop = name.as_str(), "told: {}, {} to {}", hint.kind, hint.from, hint.until);
            self.memory.history.hint(&desktop.subject, &hint);
            self.parts.store.record(Record::Told { desktop: name, hint, calendar });
        }
    }

    /// Writes down what is asked for now, so that the next run knows: what was answered holds though the daemon is killed. That a start
    /// is taken as a request counts once the domain is seen to run: until then nobody would take it back.
    fn keep_wishes(&mut self) {
        if self.kept == self.memory.standing {
            return;
        }
        let begun = |domain: &DomainUuid| self.memory.starting.get(domain).is_some_and(|starting| starting.asked);
        let now: BTreeMap<DomainUuid, Standing> =
            self.memory.standing.iter().filter(|(domain, _)| !begun(domain)).map(|(d, s)| (*d, s.clone())).collect();
        for (domain, standing) in now.iter().filter(|(domain, standing)| self.kept.get(domain) != Some(standing)) {
            self.parts.store.record(Record::Wished { domain: *domain, standing: standing.clone() });
        }
        for domain in self.kept.keys().filter(|domain| !now.contains_key(domain)) {
            self.parts.store.record(Record::WishEnded { domain: *domain });
        }
        self.kept = now;
    }

    /// The history on disk has changed, or whose it is: read it again, and fit the model.
    fn learn_again(&mut self) {
        let path = self.parts.store.path().to_path_buf();
        self.lessons.read(path, self.memory.subjects.clone(), self.parts.clock.now());
        self.start_fit();
    }

    fn start_fit(&mut self) {
        let (store, keep_at) = (self.parts.store.clone(), self.parts.model_path.clone());
        self.lessons.fit(store, self.memory.subjects.clone(), self.parts.clock.now(), keep_at);
    }

    fn take_learned(&mut self, learned: Learned) {
        match learned {
            Learned::History(history) => {
                if let Some(history) = history {
                    self.memory.learned_anew(*history);
                }
                if self.lessons.has_read() {
                    self.learn_again();
                }
            }
            Learned::Calendars(read) => self.calendars.take(*read),
            Learned::Model(model) => {
                if let Some(model) = model {
                    tracing::info!("forecast: {}", model.summary());
                    self.memory.fitted_anew(*model);
                }
                if self.lessons.has_fitted() {
                    self.start_fit();
                }
            }
        }
    }

    /// Puts what happened into the history on disk.
    fn record(&mut self, round: &Round) {
        if !round.observed.gaps.contains(&headstart_core::observed::Gap::Domains) {
            let subjects = Subjects::of_desktops(round.desktops.values(), &self.parts.zone_name);
            // We start before libvirt, so the history may have been read without knowing who shares a pool.
            if std::mem::replace(&mut self.memory.subjects, subjects.clone()) != subjects {
                self.learn_again();
            }
        }
        for (uuid, what) in &round.happened {
            let Some(desktop) = round.desktops.get(uuid) else { continue };
            let name = desktop.name.clone();
            match what {
                Happened::LoggedIn { at, outcome } => {
                    let reported = self.memory.reported.get(&name);
                    // A reported session must be found again after a restart; those that the host shows, the host shows again.
                    let source = match &self.parts.simulation {
                        Some(_) if reported.is_none() => Source::Simulated,
                        _ => Source::Broker,
                    };
                    let user = reported.and_then(|reported| reported.user.clone()).or_else(|| desktop.user.clone());
                    let timestamp = jiff::Timestamp::from_second(at.unix());
                    let offset = timestamp.ok().map(|timestamp| desktop.time_zone.to_offset(timestamp));
                    self.parts.store.record(Record::SessionStarted {
                        desktop: name.clone(),
                        user,
                        at: *at,
                        offset,
                        source,
                    });
                    let (outcome, why) = match outcome {
                        Outcome::Warm => (None, "the device was still there"),
                        Outcome::Hit => (Some(store::Outcome::Used), "the device was ready"),
                        Outcome::Late => (Some(store::Outcome::Late), "the device was being made ready"),
                        Outcome::Miss => (None, "nothing had been prepared"),
                        // Whoever was there at the start is no news.
                        Outcome::Unseen => continue,
                    };
                    if let Some(outcome) = outcome {
                        self.parts.store.record(Record::ReservationEnded { desktop: name.clone(), at: *at, outcome });
                    }
                    self.decide(*at, Some(&name), "login", why);
                }
                Happened::LoggedOut { at } => {
                    self.parts.store.record(Record::SessionEnded { desktop: name.clone(), at: *at });
                    self.decide(*at, Some(&name), "logout", "the user left");
                }
                Happened::Attached { .. } => {
                    let login = self.memory.tracks.get(uuid).is_some_and(|track| track.login_since.is_some());
                    if let (false, Some(want)) = (login, round.plan.desired.wants.get(uuid)) {
                        self.parts.store.record(Record::ReservationStarted {
                            desktop: name,
                            gpu: want.gpu,
                            profile: want.profile.clone(),
                            at: round.now,
                            confidence: round
                                .plan
                                .verdicts
                                .get(uuid)
                                .map(|verdict| verdict.chance.now)
                                .unwrap_or_default(),
                        });
                    }
                }
                Happened::Ready { took } => {
                    let why = took
                        .map_or_else(|| "attached and up".to_owned(), |took| format!("attached and up after {took}"));
                    self.decide(round.now, Some(&name), "ready", &why);
                    if let Some(took) = took.filter(|took| *took <= memory::LONGEST_LEAD) {
                        self.parts.store.record(Record::Prepared { desktop: name, at: round.now, took });
                    }
                }
                Happened::Detached { used } => {
                    if !used {
                        let evicted = self.news.was_outranked(*uuid);
                        let outcome = if evicted { store::Outcome::Evicted } else { store::Outcome::Wasted };
                        self.parts.store.record(Record::ReservationEnded {
                            desktop: name.clone(),
                            at: round.now,
                            outcome,
                        });
                    }
                    let why = if *used { "taken back after use" } else { "taken back unused" };
                    self.decide(round.now, Some(&name), "detached", why);
                }
            }
        }
    }

    /// Tells people what is new: one line each.
    fn tell(&mut self, round: &Round) {
        for change in self.news.problems(&round.problems) {
            match change {
                Change::Begun(problem) => tracing::warn!("{problem}"),
                Change::Ended(problem) => tracing::info!("no longer: {problem}"),
            }
        }
        for Told { desktop, what, why } in self.news.decisions(round) {
            self.decide(round.now, Some(&desktop), what, &why);
        }
    }

    /// One decision: to the journal, to the history, to the bus.
    fn decide(&self, time: Time, desktop: Option<&DesktopName>, what: &str, why: &str) {
        // In a simulation the time of the log is not the time of the people.
        let clock = if self.parts.clock.is_virtual() { stamp(time, &self.parts.settings.zone) } else { String::new() };
        let about = desktop.map(|desktop| format!("{desktop}: ")).unwrap_or_default();
        tracing::info!(desktop = desktop.map(DesktopName::as_str), "{clock}{about}{what}: {why}");
        let (what, why) = (what.to_owned(), why.to_owned());
        let decision = Decision { time, desktop: desktop.cloned(), what: what.clone(), why: why.clone() };
        // Nobody listening is no error.
        let _ = self.parts.decisions.send(decision);
        self.parts.store.record(Record::Decision { at: time, desktop: desktop.cloned(), what, why });
    }

    fn publish(&mut self, round: &Round) {
        let hung: Vec<String> = self
            .in_flight
            .iter()
            .filter(|flight| flight.told)
            .map(|flight| {
                format!(
                    "{} has not come back for {} s",
                    describe(&flight.step, round),
                    flight.since.elapsed().as_secs()
                )
            })
            .collect();
        let around = publish::Surroundings {
            rounds: self.rounds,
            simulated: self.parts.simulation.is_some(),
            holds: &self.holds,
            hung: &hung,
        };
        let status = publish::status(&self.memory, &self.parts.settings, round, &around);
        self.parts.systemd.say(&status);
        self.parts.status.send_replace(Arc::new(status));
    }
}

/// A step with names instead of UUIDs.
fn describe(step: &Step, round: &Round) -> String {
    let text = step.to_string();
    match step.domain().and_then(|uuid| round.observed.domains.get(&uuid)) {
        Some(domain) => text.replace(&domain.uuid.to_string(), domain.name.as_str()),
        None => text,
    }
}

/// Day and time of a simulated clock, for the log: `Mon 03-09 08:15:00  `.
fn stamp(time: Time, zone: &TimeZone) -> String {
    jiff::Timestamp::from_second(time.unix()).map_or_else(
        |_| format!("{time}  "),
        |timestamp| timestamp.to_zoned_datetime(zone.clone()).strftime("%a %m-%d %H:%M:%S  ").to_string(),
    )
}

/// The whole chain of an error.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// The next time the wall clock of the default zone shows `at`.
fn next_at(at: civil::Time, settings: &Settings, now: Time) -> Time {
    let Ok(timestamp) = jiff::Timestamp::from_second(now.unix()) else { return now + Span::days(1) };
    let today = timestamp.to_zoned_datetime(settings.zone.clone()).date();
    for day in [today, today.tomorrow().unwrap_or(today)] {
        if let Ok(zoned) = day.to_datetime(at).to_zoned_datetime(settings.zone.clone()) {
            let time = Time::from_timestamp(zoned.timestamp());
            if time > now {
                return time;
            }
        }
    }
    now + Span::days(1)
}
