//! Sessions in the order of time → every decision that had to be made about a slot, with what was known then.
//!
//! Training and backtest go the same way through history: each idle, managed slot of each subject comes by once, with
//! the login that came in it or not. Slots of a subject are worked off late (at its next event or at the end of a day),
//! yet from what was known at each slot only: a subject's own pattern does not change while it is idle, and the others'
//! activity is kept by slot.

use std::collections::{BTreeMap, VecDeque};

use jiff::tz::Offset;

use super::SLOT;
use super::feature::{self, Moment, Profile, Row, hint};
use crate::hint::Hint;
use crate::history::activity::Activity;
use crate::history::group::Groups;
use crate::history::pattern;
use crate::history::{Clock, Entry, GRACE, History};
use crate::id::{GroupName, Subject};
use crate::policy::READY_BEFORE;
use crate::unit::{Span, Time};

/// How often everybody's slots are worked off: well within the week for which others' activity is kept.
const STRIDE: Span = Span::days(1);

/// One decision.
pub(crate) struct Decision<'a> {
    /// Number of the subject in order of appearance.
    pub index: usize,
    pub entry: &'a Entry,
    /// When it had to be made: start of the slot, or the release within it.
    pub at: Time,
    /// The same on the subject's wall clock.
    pub wall: i64,
    /// Whether a login came from then to the end of the slot.
    pub login: bool,
    /// When that login came, on the wall clock; without one, or with one only after the next decision, that, or the end of the slot.
    pub until: i64,
    /// Whether another decision of the same slot followed, before its end and before the login: something was told.
    pub revised: bool,
    /// A number that is as good as random and always the same for this subject and slot.
    pub hash: u32,
    profile: &'a Profile,
    moment: Moment,
}

impl Decision<'_> {
    /// The features of the decision.
    pub(crate) fn fill(&self, row: &mut Row) {
        feature::fill(self.profile, &self.moment, row);
    }

    /// Share of the slot that is left.
    pub(crate) fn left(&self) -> f32 {
        self.moment.left_of_slot
    }

    /// Whether the login came before anything else was decided.
    pub(crate) fn ends_with_login(&self) -> bool {
        self.login && !self.revised
    }

    /// The features as if it had been made some time before, for some decisions: what was told in between is not known yet, and neither is
    /// silence. That is how it stands with the later slots of a forecast.
    pub(crate) fn look_ahead(&self, row: &mut Row) {
        if !self.entry.hints.is_empty() && self.hash.is_multiple_of(AHEAD_OF) {
            let known = self.at - AHEAD[(self.hash / AHEAD_OF) as usize % AHEAD.len()];
            feature::fill_hints(&hint::see(&self.entry.hints, self.at, self.wall, known), row);
        }
    }

    /// Seconds before it at which a device is attached that shall be there when the slot begins: none for somebody who has just left, or of
    /// whom something was told just now.
    pub(crate) fn lead(&self) -> i64 {
        let idle = self.entry.news().map_or(Span::ZERO, |news| self.at - news);
        idle.as_seconds().clamp(0, READY_BEFORE.as_seconds())
    }

    /// What is said of it without a fitted model.
    pub(crate) fn frequency(&self) -> f64 {
        self.profile.frequency(self.moment.slot) * f64::from(self.moment.left_of_slot)
    }
}

/// Whoever looks at decisions.
pub(crate) trait Sink {
    /// Whether this one may be left out; asked before the features are made.
    fn skips(&mut self, at: Time, login: bool, hash: u32) -> bool;
    /// One decision.
    fn decision(&mut self, decision: &Decision);
}

/// One decision in so many also teaches what it is to decide ahead; and how long ahead.
const AHEAD_OF: u32 = 8;
const AHEAD: [Span; 4] = [Span::minutes(20), Span::hours(1), Span::hours(3), Span::hours(9)];

/// Something that is told, and the wall clock of whoever is spoken of.
#[derive(Clone, Copy, Debug)]
struct Told {
    hint: Hint,
    offset: Option<Offset>,
}

impl Told {
    /// On the clock of an entry.
    fn on_axis(&self, entry: &Entry) -> Hint {
        self.hint.moved(entry.on_axis(self.hint.told, self.offset) - self.hint.told)
    }
}

/// Where the work of one subject stands.
struct Cursor {
    index: usize,
    hash: u64,
    /// The next decision; none: the subject was never released yet.
    next: Option<Time>,
    profile: Option<Profile>,
}

/// A way through history.
pub(crate) struct Walk {
    pub(crate) history: History,
    cursors: BTreeMap<Subject, Cursor>,
    /// What is told and not due yet, in the order in which it will be.
    told: BTreeMap<Subject, VecDeque<Told>>,
    /// All slots that end before this are worked off.
    done: Option<Time>,
}

impl Walk {
    pub(crate) fn new(forget: Span) -> Self {
        Self { history: History::new(forget), cursors: BTreeMap::new(), told: BTreeMap::new(), done: None }
    }

    pub(crate) fn set_group(&mut self, subject: &Subject, group: Option<&GroupName>) {
        self.history.set_group(subject, group);
    }

    pub(crate) fn set_clock(&mut self, subject: &Subject, clock: Clock) {
        self.history.set_clock(subject, clock);
    }

    /// Something that is told. It may come at any time before it is due, and is not known before.
    pub(crate) fn hint(&mut self, subject: &Subject, hint: Hint, offset: Option<Offset>) {
        let told = self.told.entry(subject.clone()).or_default();
        let at = told.partition_point(|before| (before.hint.due(), before.hint) <= (hint.due(), hint));
        told.insert(at, Told { hint, offset });
    }

    /// A session. Sessions come in the order of their starts; a missing end is the caller's to fill.
    pub(crate) fn session(
        &mut self,
        subject: &Subject,
        start: Time,
        end: Time,
        offset: Option<Offset>,
        sink: &mut impl Sink,
    ) {
        self.advance(start, sink);
        self.history.advance_others(start);
        let forget = self.history.forget();
        let mut none = VecDeque::new();
        let told = self.told.get_mut(subject).unwrap_or(&mut none);
        if let Some(entry) = self.history.entries.get_mut(subject)
            && let Some(released) = entry.released()
        {
            let on_axis = entry.on_axis(start, offset);
            let cursor = self.cursors.get_mut(subject).expect("every entry was made together with its cursor");
            let last = if entry.is_pool() { released } else { released - GRACE };
            let forgotten = last + forget;
            if on_axis > released {
                let login = on_axis <= forgotten;
                let until = if login { on_axis } else { forgotten };
                let others = (&self.history.activity, &self.history.groups);
                flush(cursor, entry, told, others, until, login, sink);
            }
        }
        // What was told during the session before, or of a stranger.
        while let Some(next) = told.front() {
            let is_due = match self.history.entries.get(subject) {
                Some(entry) => next.on_axis(entry).due() <= entry.on_axis(start, offset),
                None => next.hint.due() <= start,
            };
            if !is_due {
                break;
            }
            self.history.take_hint(subject, &next.hint, next.offset);
            told.pop_front();
        }
        let index = self.cursors.len();
        let cursor = self.cursors.entry(subject.clone()).or_insert_with(|| Cursor {
            index,
            hash: text_hash(&subject.to_string()),
            next: None,
            profile: None,
        });
        let before = self.history.entries.get(subject).map(|entry| entry.last_end);
        let cold = self.history.session_started(subject, start, offset);
        cursor.profile = None;
        let entry = &self.history.entries[subject];
        // An end keeps its distance from the start on the clock of the entry.
        let shift = entry.on_axis(start, offset) - start;
        let end = (end + shift).max(before.flatten().filter(|_| !cold).unwrap_or(end + shift));
        self.history.session_ended(subject, end);
        let entry = &self.history.entries[subject];
        if entry.is_pool() {
            cursor.next = cursor.next.or(Some(start));
        } else {
            cursor.next = entry.released();
        }
    }

    /// Works off what is over by `until`, in strides of a day.
    pub(crate) fn advance(&mut self, until: Time, sink: &mut impl Sink) {
        let done = *self.done.get_or_insert(until);
        if until < done + STRIDE {
            return;
        }
        self.settle(until, sink);
    }

    /// Works off every slot that is over by `until`.
    pub(crate) fn settle(&mut self, until: Time, sink: &mut impl Sink) {
        let forget = self.history.forget();
        let mut none = VecDeque::new();
        let mut at = self.done.unwrap_or(until);
        loop {
            at = (at + STRIDE).min(until);
            self.history.advance_others(at);
            for (subject, cursor) in &mut self.cursors {
                let entry = self.history.entries.get_mut(subject).expect("every cursor has its entry");
                let forgotten = entry.last_end.unwrap_or(entry.last_start).max(entry.last_start) + forget;
                let told = self.told.get_mut(subject).unwrap_or(&mut none);
                let others = (&self.history.activity, &self.history.groups);
                flush(cursor, entry, told, others, at.min(forgotten), false, sink);
            }
            if at >= until {
                break;
            }
        }
        self.done = Some(self.done.map_or(until, |done| done.max(until)));
    }
}

/// Works off the slots of one subject that end by `until`; with `login`, also the one in which the login at `until` falls. What is `told`
/// is taken when it is due, and makes a decision if that is within a slot.
fn flush(
    cursor: &mut Cursor,
    entry: &mut Entry,
    told: &mut VecDeque<Told>,
    (activity, groups): (&Activity, &Groups),
    until: Time,
    login: bool,
    sink: &mut impl Sink,
) {
    let Some(mut at) = cursor.next else { return };
    let mut constant: Option<(i64, i64)> = None; // UTC day, offset that holds on it
    while at <= until {
        let day = at.unix().div_euclid(pattern::DAY);
        let offset = match constant {
            Some((of, offset)) if of == day => offset,
            _ => {
                let (a, b) = (day * pattern::DAY, (day + 1) * pattern::DAY);
                let (a, b) = (entry.clock.seconds_at(Time::from_unix(a)), entry.clock.seconds_at(Time::from_unix(b)));
                if a == b {
                    constant = Some((day, a));
                    a
                } else {
                    entry.clock.seconds_at(at)
                }
            }
        };
        let wall = at.unix() + offset;
        let remaining = SLOT.as_seconds() - wall.rem_euclid(SLOT.as_seconds());
        let end = at + Span::seconds(remaining);
        let login_here = login && until < end;
        if !login_here && end > until {
            break;
        }
        while let Some(hint) = told.front().map(|next| next.on_axis(entry)).filter(|hint| hint.due() <= at) {
            entry.hints.tell(&hint, &entry.clock);
            told.pop_front();
        }
        let over = if login_here { until } else { end };
        let next = told.iter().map(|next| next.on_axis(entry)).take_while(|next| next.due() < over).find(Hint::is_news);
        let over = next.map_or(over, |next| next.told);
        let hash = mix(cursor.hash ^ at.unix() as u64);
        if !sink.skips(at, login_here, hash) {
            let day = pattern::day_of(wall);
            if entry.pattern.day < day {
                entry.pattern.roll(wall);
            }
            let day = day.max(entry.pattern.day);
            if cursor.profile.as_ref().is_none_or(|profile| profile.day != day) {
                cursor.profile = None;
            }
            let profile = cursor.profile.get_or_insert_with(|| Profile::new(&entry.pattern, day));
            let moment = Moment::new(entry, wall, at, at, (activity.at(at), groups.at(entry.seat, at, at)));

            sink.decision(&Decision {
                index: cursor.index,
                entry,
                at,
                wall,
                login: login_here,
                until: wall + (over - at).as_seconds(),
                revised: next.is_some(),
                hash,
                profile,
                moment,
            });
        }
        at = next.map_or(end, |next| next.told);
    }
    cursor.next = Some(at);
}

/// FNV-1a over the bytes of a text.
pub(crate) fn text_hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The finisher of `SplitMix64`: every bit of the input moves every bit of the output.
pub(crate) fn mix(x: u64) -> u32 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ x >> 31) as u32
}
