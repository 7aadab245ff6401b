//! All that the loop remembers between rounds, and the one round that turns a look at the host into a plan and its steps.
//!
//! No I/O, no waiting: what is to be written or done is handed back. So a benchmark or a law test can run rounds by themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use headstart_core::chance::chances;
use headstart_core::desktop::{Desktop, Rule, resolve};
use headstart_core::forecast::{Forecast, Model, forecast_after};
use headstart_core::history::{Clock, History};
use headstart_core::id::{DesktopName, DomainUuid, GroupName, Subject, UserName};
use headstart_core::kept::Kept;
use headstart_core::lead::Leads;
use headstart_core::observed::{Domain, Gap, Login, Observed, Power, Problem};
use headstart_core::plan::{Plan, Situation, Standing, plan};
use headstart_core::policy::Policy;
use headstart_core::presence::login;
use headstart_core::request::Preallocation;
use headstart_core::step::{Busy, Step, next_steps, our_hostdev};
use headstart_core::track::{Happened, Outcome, Tracks, follow};
use headstart_core::unit::{Probability, Span, Time};
use jiff::tz::TimeZone;

use crate::reconcile::learning::Subjects;
use crate::reconcile::trouble::Trouble;
use crate::status::{Mode, Scores};

/// A subject that has not logged in for so long is not managed any more: nothing is expected of it until it comes again.
pub const FORGET: Span = Span::days(28);

/// A preparation that took longer than this waited for room; it says nothing about how long the work takes.
pub(super) const LONGEST_LEAD: Span = Span::minutes(30);

/// A session that nobody reports as ended is forgotten after this, so that a broker's lost message does not bind a GPU for ever.
pub(super) const LONGEST_REPORTED: Span = Span::days(7);

/// A domain whose start the hook told is not seen to run within this: it counts as it is seen. A vGPU alone may take 25 s to open.
const LONGEST_START: Span = Span::minutes(2);

/// After the start nothing is taken away until all GPUs can be worked with, but no longer than this: vendors' drivers publish their types
/// seconds to a minute after they are loaded, and what is not there yet is not gone.
const SETTLE: Span = Span::minutes(2);

/// What the administrator decided, as far as rounds need it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Thresholds and times.
    pub policy: Policy,
    /// Desktops by name pattern.
    pub rules: Vec<Rule>,
    /// Wall clock of desktops that name none.
    pub zone: TimeZone,
    /// Shadow or armed.
    pub mode: Mode,
}

/// A session that somebody told us of, since the host cannot show it.
#[derive(Clone, Debug)]
pub struct Reported {
    /// Since when.
    pub since: Time,
    /// Who.
    pub user: Option<UserName>,
}

/// A domain that somebody starts: more recent than any look, since libvirt tells nobody about it meanwhile.
#[derive(Clone, Debug)]
pub(super) struct Starting {
    /// As the definition says that is being used.
    pub(super) domain: Domain,
    /// Since when.
    pub(super) since: Time,
    /// That it is started was taken as a request.
    pub(super) asked: bool,
}

/// The loop's memory.
pub struct Memory {
    /// What was learned of everybody's logins.
    pub(super) history: History,
    /// How it is turned into probabilities.
    pub(super) model: Model,
    /// The last one, most of which still holds.
    forecast: Option<Arc<Forecast>>,
    /// Of each desktop.
    pub tracks: Tracks,
    /// How long preparations take.
    pub leads: Leads,
    /// Requests.
    pub standing: BTreeMap<DomainUuid, Standing>,
    /// Sessions told by a broker.
    pub reported: BTreeMap<DesktopName, Reported>,
    /// Domains that the hook told of and that no look has shown running yet.
    pub(super) starting: BTreeMap<DomainUuid, Starting>,
    /// What failed.
    pub trouble: Trouble,
    /// How it went so far.
    pub scores: Scores,
    /// The same of late, for the goal.
    pub kept: Kept,
    /// The thresholds in force.
    pub thresholds: (Probability, Probability),
    /// Whose login a session at a desktop is, for learning from disk.
    pub subjects: Subjects,
    /// Whose wall clock and group the history has been told.
    told: BTreeMap<DomainUuid, (Subject, TimeZone, Option<GroupName>)>,
    last: Option<Time>,
    /// What the last round saw.
    seen: Arc<Observed>,
    /// The first round.
    began: Option<Time>,
    /// All GPUs could be worked with once, or have had their time.
    settled: bool,
}

/// What one round found and decided.
pub struct Round {
    /// When.
    pub now: Time,
    /// The host, with reported sessions.
    pub observed: Arc<Observed>,
    /// Desktops under management.
    pub desktops: BTreeMap<DomainUuid, Desktop>,
    /// Domains that opted in and cannot be managed, and what the look showed.
    pub problems: Vec<Problem>,
    /// What changed since the round before.
    pub happened: Vec<(DomainUuid, Happened)>,
    /// What is expected.
    pub forecast: Arc<Forecast>,
    /// How early to start.
    pub leads: BTreeMap<DomainUuid, Span>,
    /// What should be.
    pub plan: Plan,
    /// What to do now.
    pub steps: Vec<Step>,
}

impl Memory {
    /// An empty memory around what was learned.
    pub fn new(history: History, model: Model) -> Self {
        Self {
            history,
            model,
            forecast: None,
            tracks: Tracks::new(),
            leads: Leads::default(),
            standing: BTreeMap::new(),
            reported: BTreeMap::new(),
            starting: BTreeMap::new(),
            trouble: Trouble::default(),
            scores: Scores::default(),
            kept: Kept::default(),
            thresholds: (Probability::ZERO, Probability::ZERO),
            subjects: Subjects::default(),
            told: BTreeMap::new(),
            last: None,
            seen: Arc::default(),
            began: None,
            settled: false,
        }
    }

    /// The history was read anew; wall clocks and groups are set again by the next round.
    pub fn learned_anew(&mut self, history: History) {
        self.history = history;
        // That they are here was seen, and is not seen anew. On disk their sessions have no end yet, and whoever came while it was read is
        // not in what was read.
        for (uuid, track) in &self.tracks {
            let (Some(since), Some((subject, zone, _))) = (track.login_since, self.told.get(uuid)) else { continue };
            if matches!(subject, Subject::Desktop(_)) {
                self.history.set_clock(subject, Clock::Zone(zone.clone()));
                self.history.session_started(subject, since, None);
            }
            self.history.still_here(subject);
        }
        self.forecast = None;
        self.told.clear();
    }

    /// The model was fitted anew.
    pub fn fitted_anew(&mut self, model: Model) {
        self.model = model;
        self.forecast = None;
    }

    /// One round. `busy`: what has a step in flight.
    pub fn round(&mut self, settings: &Settings, mut observed: Observed, busy: &Busy, now: Time) -> Round {
        self.merge_unseen(&mut observed);
        self.merge_starting(&mut observed, now);
        let mut problems = std::mem::take(&mut observed.problems);
        let desktops = resolve_all(settings, &observed, &mut problems);
        self.merge_presence(&mut observed, &desktops);
        self.end_served_wishes(&observed);
        let leads = self.leads.all(&desktops, &settings.policy);
        let shadow = (settings.mode == Mode::Shadow).then_some(&leads);
        let happened = follow(&mut self.tracks, &desktops, &observed, &settings.policy, shadow, now);
        self.account(settings, &observed, now);
        self.learn(&desktops, &happened);
        self.history.advance(now);
        let policy = settings.policy.aimed(&self.model, &self.kept);
        self.thresholds = (policy.take, policy.release);
        let forecast = forecast_after(self.forecast.as_deref(), &self.history, &self.model, now);
        let chances = chances(&forecast, &desktops, &leads, &observed, now);
        let (mut left_alone, quarantine) = self.trouble.now(now);
        let plan = plan(&Situation {
            now,
            policy: &policy,
            desktops: &desktops,
            chances: &chances,
            leads: &leads,
            standing: &self.standing,
            tracks: &self.tracks,
            quarantine: &quarantine,
            observed: &observed,
        });
        self.note_wants(&observed, &plan, now);
        left_alone.gpus.extend(&busy.gpus);
        left_alone.domains.extend(&busy.domains);
        let mut steps = next_steps(&plan.desired, &observed, &desktops, &left_alone);
        if let Some(problem) = self.settle(&observed, now) {
            problems.push(problem);
            steps.retain(|step| !step.takes_away());
        }
        self.last = Some(now);
        let (observed, forecast) = (Arc::new(observed), Arc::new(forecast));
        (self.seen, self.forecast) = (Arc::clone(&observed), Some(Arc::clone(&forecast)));
        Round { now, observed, desktops, problems, happened, forecast, leads, plan, steps }
    }

    /// The next time at which a plan may differ without anything happening on the host.
    pub fn next_deadline(&self, settings: &Settings, round: &Round) -> Time {
        const SLOT: i64 = headstart_core::forecast::SLOT.as_seconds();
        let now = round.now;
        let boundary = |after: Time| Time::from_unix((after.unix().div_euclid(SLOT) + 1) * SLOT);
        let mut next = boundary(now);
        let mut consider = |time: Time| {
            if time > now && time < next {
                next = time;
            }
        };
        for lead in round.leads.values() {
            consider(boundary(now + *lead) - *lead);
        }
        for track in self.tracks.values() {
            let Policy { grace, minimum_hold, .. } = settings.policy;
            for (since, span) in [(track.logout_at, grace), (track.found_at, grace), (track.held_since, minimum_hold)] {
                if let Some(since) = since {
                    consider(since + span);
                }
            }
        }
        for standing in self.standing.values() {
            consider(standing.since + settings.policy.wish_valid);
        }
        if let Some(time) = self.trouble.next(now) {
            consider(time);
        }
        if let Some(began) = self.began.filter(|_| !self.settled) {
            consider(began + SETTLE);
        }
        for starting in self.starting.values() {
            consider(starting.since + LONGEST_START);
        }
        next
    }

    /// What is waited for after the start, if anything.
    fn settle(&mut self, observed: &Observed, now: Time) -> Option<Problem> {
        let until = *self.began.get_or_insert(now) + SETTLE;
        let unsettled = observed.unsettled();
        self.settled = self.settled || unsettled.is_empty() || now >= until;
        if self.settled {
            return None;
        }
        let names: Vec<String> = unsettled.iter().map(ToString::to_string).collect();
        let text = format!("its driver may still be starting; nothing is taken away before {until}");
        Some(Problem { object: names.join(", "), text })
    }

    /// A start came to nothing: what was taken as a request is none, or the desktop would start by itself when there is room.
    pub(super) fn not_started(&mut self, uuid: DomainUuid) {
        if self.starting.remove(&uuid).is_some_and(|starting| starting.asked) {
            self.standing.remove(&uuid);
        }
    }

    /// Unknown is not absent: while libvirt is silent, the domains that were there are there, and how they are nobody knows.
    fn merge_unseen(&self, observed: &mut Observed) {
        if !observed.gaps.contains(&Gap::Domains) {
            return;
        }
        let why = || "libvirt does not tell of it".to_owned();
        for (uuid, before) in &self.seen.domains {
            observed.domains.entry(*uuid).or_insert_with(|| Domain {
                power: Power::Unknown(why()),
                login: Login::Unknown(why()),
                screen: Login::Unknown(why()),
                ..before.clone()
            });
        }
    }

    /// A domain that the hook told of starts, whatever the look says, until a look shows that it runs.
    fn merge_starting(&mut self, observed: &mut Observed, now: Time) {
        self.starting.retain(|uuid, starting| {
            let seen = observed.domains.get(uuid).map(|domain| &domain.power);
            let not_yet = matches!(seen, None | Some(Power::Off | Power::Starting | Power::Unknown(_)));
            not_yet && starting.since + LONGEST_START > now
        });
        for (uuid, starting) in &self.starting {
            let told = &starting.domain;
            let domain = observed.domains.entry(*uuid).or_insert_with(|| told.clone());
            domain.power = Power::Starting;
            domain.hostdevs.clone_from(&told.hostdevs);
        }
    }

    /// A desktop was up with the device that it had been asked for, and is off: whoever did that wants no start.
    fn end_served_wishes(&mut self, observed: &Observed) {
        let tracks = &self.tracks;
        self.standing.retain(|uuid, standing| {
            let was_up = tracks.get(uuid).is_some_and(|track| track.ready_since.is_some());
            let is_off = observed.domains.get(uuid).is_some_and(|domain| domain.power == Power::Off);
            !(was_up && is_off) || standing.wish.preallocation == Preallocation::Decline
        });
    }

    /// Who is where, by all that is told.
    fn merge_presence(&self, observed: &mut Observed, desktops: &BTreeMap<DomainUuid, Desktop>) {
        for domain in observed.domains.values_mut() {
            let presence = desktops.get(&domain.uuid).map(|desktop| desktop.presence).unwrap_or_default();
            let reported = self.reported.get(&domain.name).map(|reported| reported.since);
            domain.login = login(domain, presence, reported);
        }
    }

    /// Time for which devices were held for nobody.
    fn account(&mut self, settings: &Settings, observed: &Observed, now: Time) {
        // A clock that was set back takes nothing back.
        let Some(last) = self.last.filter(|last| *last < now) else { return };
        let mut idle = Span::ZERO;
        for (uuid, track) in &self.tracks {
            let Some(held) = track.held_since else { continue };
            if !observed.domains.get(uuid).is_some_and(|domain| domain.login == Login::None) {
                continue;
            }
            let free_until = track.logout_at.or(track.found_at).map_or(held, |left| left + settings.policy.grace);
            let from = last.max(held).max(free_until);
            if now > from {
                idle = idle + (now - from);
            }
        }
        self.scores.idle = self.scores.idle + idle;
        let managed = self.history.managed(now) as i64;
        self.kept.spent(now, Span::seconds((now - last).as_seconds() * managed), idle);
    }

    /// Takes what happened into history, scores and lead times; a request is done with when its user has come.
    fn learn(&mut self, desktops: &BTreeMap<DomainUuid, Desktop>, happened: &[(DomainUuid, Happened)]) {
        for desktop in desktops.values() {
            let now = (&desktop.subject, &desktop.time_zone, &desktop.group);
            let told = self.told.get(&desktop.uuid);
            if told.is_none_or(|(subject, zone, group)| (subject, zone, group) != now) {
                self.history.set_clock(&desktop.subject, Clock::Zone(desktop.time_zone.clone()));
                self.history.set_group(&desktop.subject, desktop.group.as_ref());
                let (subject, zone, group) = now;
                self.told.insert(desktop.uuid, (subject.clone(), zone.clone(), group.clone()));
            }
        }
        for (uuid, what) in happened {
            let Some(desktop) = desktops.get(uuid) else { continue };
            match what {
                Happened::LoggedIn { at, outcome } => {
                    self.history.session_started(&desktop.subject, *at, None);
                    if matches!(outcome, Outcome::Hit | Outcome::Late | Outcome::Miss) {
                        self.kept.came(*at, *outcome == Outcome::Hit);
                    }
                    self.scores.logins += u64::from(!matches!(outcome, Outcome::Warm | Outcome::Unseen));
                    self.scores.hits += u64::from(*outcome == Outcome::Hit);
                    self.scores.late += u64::from(*outcome == Outcome::Late);
                    self.scores.misses += u64::from(*outcome == Outcome::Miss);
                    match self.standing.get_mut(uuid) {
                        // Its wish to have nothing ahead stays; what it asked for has come.
                        Some(standing) if standing.wish.preallocation == Preallocation::Decline => {
                            standing.since = Time::default();
                        }
                        _ => {
                            self.standing.remove(uuid);
                        }
                    }
                }
                Happened::LoggedOut { at } => self.history.session_ended(&desktop.subject, *at),
                Happened::Ready { took: Some(took) } if *took <= LONGEST_LEAD => {
                    self.leads.record(&desktop.name, *took);
                }
                Happened::Detached { used: false } => self.scores.wasted += 1,
                _ => {}
            }
        }
    }

    /// Since when the plan wants a device for a desktop that has none.
    fn note_wants(&mut self, observed: &Observed, plan: &Plan, now: Time) {
        for (uuid, track) in &mut self.tracks {
            let wanted = plan.desired.wants.contains_key(uuid);
            let held = || observed.domains.get(uuid).is_some_and(|domain| our_hostdev(domain).is_some());
            if !wanted {
                track.wanted_since = None;
            } else if track.wanted_since.is_none() && !held() {
                track.wanted_since = Some(now);
            }
        }
    }
}

fn resolve_all(settings: &Settings, observed: &Observed, problems: &mut Vec<Problem>) -> BTreeMap<DomainUuid, Desktop> {
    let mut desktops = BTreeMap::new();
    for domain in observed.domains.values() {
        match resolve(domain, &settings.rules, &settings.zone) {
            Ok(Some(desktop)) => {
                desktops.insert(domain.uuid, desktop);
            }
            Ok(None) => {}
            Err(error) => problems.push(Problem { object: domain.name.to_string(), text: error.to_string() }),
        }
    }
    desktops
}
