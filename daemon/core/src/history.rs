//! What was learned of everybody's logins, in constant memory per subject: no session is kept.
//!
//! It is fed with logins and logouts as they come (or as the database replays them) and read by [`crate::forecast`].
//! Deliberately not here: the sessions themselves, which stay on disk.

pub(crate) mod activity;
pub(crate) mod group;
pub(crate) mod hints;
pub(crate) mod pattern;

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::{Offset, TimeZone};

use crate::hint::Hint;
use crate::id::{GroupName, Subject};
use crate::unit::{Span, Time};
use activity::Activity;
use group::{Groups, Seat};
use hints::Hints;
use pattern::Pattern;

/// A login at most this long after the last logout is a return, not a login to be foreseen: the GPU is still there.
pub const GRACE: Span = Span::minutes(10);

/// The wall clock of a subject.
#[derive(Clone, Debug)]
pub enum Clock {
    /// A time zone with its changes of daylight saving: what the daemon knows of a desktop.
    Zone(TimeZone),
    /// The offset of the last login: what a trace knows. A login that comes with an offset changes it.
    Fixed(Offset),
}

impl Clock {
    /// Seconds east of UTC at an instant.
    pub(crate) fn seconds_at(&self, at: Time) -> i64 {
        match self {
            Clock::Fixed(offset) => i64::from(offset.seconds()),
            Clock::Zone(zone) => jiff::Timestamp::from_second(at.unix())
                .map_or(0, |timestamp| i64::from(zone.to_offset(timestamp).seconds())),
        }
    }

    /// What the wall clock shows, in seconds as if it showed UTC.
    pub(crate) fn wall(&self, at: Time) -> i64 {
        at.unix() + self.seconds_at(at)
    }
}

/// One subject: its clock, its pattern, and its last session as its clock tells time. A round asks every entry whether anything is new
/// and few for what they know, so that is not here but pointed at.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub clock: Clock,
    pub pattern: Box<Pattern>,
    pub hints: Box<Hints>,
    /// Its place in its group.
    pub seat: Option<Seat>,
    pub last_start: Time,
    /// None while somebody is logged in.
    pub last_end: Option<Time>,
    /// Sessions that are open; more than one only at a pool.
    pub open: u32,
    /// UTC day of the last login that others' activity has counted.
    counted_day: i64,
    pool: bool,
    /// Counts what was learned since the entry was made, so that a forecast knows whether it still holds.
    pub changes: u32,
}

impl Entry {
    /// Idle since when, grace time included; none while logged in. A pool is always idle: another user may come.
    pub(crate) fn released(&self) -> Option<Time> {
        if self.pool { Some(self.last_start) } else { self.last_end.map(|end| end + GRACE) }
    }

    /// Whether several users are behind this subject.
    pub(crate) fn is_pool(&self) -> bool {
        self.pool
    }

    /// Whatever was learned last that makes a decision within a slot: the release, or a hint.
    pub(crate) fn news(&self) -> Option<Time> {
        self.released().max(self.hints.news())
    }

    /// The instant `start` of a record with `offset` on this entry's own axis: in a trace the wall clock rules, so that
    /// a login seen in another offset is moved to where the old clock would have shown the same time.
    pub(crate) fn on_axis(&self, start: Time, offset: Option<Offset>) -> Time {
        match (&self.clock, offset) {
            (Clock::Fixed(old), Some(new)) => start + Span::seconds(i64::from(new.seconds() - old.seconds())),
            _ => start,
        }
    }
}

/// Everybody's learned logins.
#[derive(Clone, Debug)]
pub struct History {
    pub(crate) entries: BTreeMap<Subject, Entry>,
    pub(crate) activity: Activity,
    pub(crate) groups: Groups,
    clocks: BTreeMap<Subject, Clock>,
    members: BTreeMap<Subject, GroupName>,
    /// What was told of those who never logged in.
    strangers: BTreeMap<Subject, Hints>,
    /// What was told and is not due yet.
    told: BTreeSet<(Time, Subject, Hint)>,
    forget: Span,
    /// The slot up to which days are closed.
    advanced: Option<i64>,
}

/// Strangers of whom hints are kept: whoever is told of and never comes must not fill the memory.
const STRANGERS: usize = 1000;
/// Hints that are kept until they are due; those that are due last are let go.
const WAITING: usize = 20_000;

impl History {
    /// Knows nothing. A subject without a login for `forget` is no longer managed until it comes again.
    pub fn new(forget: Span) -> Self {
        Self {
            entries: BTreeMap::new(),
            activity: Activity::new(),
            groups: Groups::default(),
            clocks: BTreeMap::new(),
            members: BTreeMap::new(),
            strangers: BTreeMap::new(),
            told: BTreeSet::new(),
            forget,
            advanced: None,
        }
    }

    /// After how long without a login a subject is forgotten.
    pub fn forget(&self) -> Span {
        self.forget
    }

    /// Sets the wall clock of a subject, before or after its first login.
    pub fn set_clock(&mut self, subject: &Subject, clock: Clock) {
        if let Some(entry) = self.entries.get_mut(subject) {
            entry.clock = clock.clone();
            entry.changes = entry.changes.wrapping_add(1);
            self.advanced = None;
        }
        self.clocks.insert(subject.clone(), clock);
    }

    /// Says which group a subject belongs to, if any, before or after its first login. Its logins from then on are that group's.
    pub fn set_group(&mut self, subject: &Subject, group: Option<&GroupName>) {
        if let Some(entry) = self.entries.get_mut(subject)
            && !entry.seat.is_some_and(|seat| group.is_some_and(|group| self.groups.is(seat, group)))
        {
            entry.seat = group.map(|group| self.groups.seat(group));
            entry.changes = entry.changes.wrapping_add(1);
        }
        match group {
            Some(group) => drop(self.members.insert(subject.clone(), group.clone())),
            None => drop(self.members.remove(subject)),
        }
    }

    /// A login. The same one told twice, or one before the last, is taken once; `offset` is the wall clock of the record,
    /// if it has one. Returns whether it was a login to be foreseen (not a return within the grace time).
    pub fn session_started(&mut self, subject: &Subject, start: Time, offset: Option<Offset>) -> bool {
        let Some(entry) = self.entries.get_mut(subject) else {
            let clock = match (self.clocks.get(subject), offset) {
                (Some(Clock::Zone(zone)), _) => Clock::Zone(zone.clone()),
                (_, Some(offset)) => Clock::Fixed(offset),
                (Some(clock), None) => clock.clone(),
                (None, None) => Clock::Fixed(Offset::UTC),
            };
            let mut pattern = Box::new(Pattern::new(clock.wall(start)));
            pattern.login(clock.wall(start));
            let pool = matches!(subject, Subject::Pool(_));
            if pool {
                pattern.idle_since(clock.wall(start));
            }
            self.activity.login(start, true);
            let counted_day = utc_day(start);
            let mut hints = Box::new(self.strangers.remove(subject).unwrap_or_default());
            hints.login(start);
            let mut seat = self.members.get(subject).map(|group| self.groups.seat(group));
            if let Some(seat) = &mut seat {
                self.groups.login(seat, start, &clock);
            }
            let (last_start, last_end, open, changes) = (start, None, 1, 0);
            let entry = Entry { clock, pattern, hints, seat, last_start, last_end, open, counted_day, pool, changes };
            self.entries.insert(subject.clone(), entry);
            self.advanced = None;
            return true;
        };
        if !entry.pool && entry.on_axis(start, offset) <= entry.last_start {
            return false;
        }
        entry.changes = entry.changes.wrapping_add(1);
        let back = !entry.pool && entry.last_end.is_none_or(|end| entry.on_axis(start, offset) <= end + GRACE);
        entry.open = if entry.pool { entry.open + 1 } else { 1 };
        if let Some(end) = entry.last_end.filter(|_| !back) {
            let minutes = |span: Span| span.as_seconds().max(0) as f32 / 60.0;
            let (gap, length) = (entry.on_axis(start, offset) - end, end - entry.last_start);
            entry.pattern.returned(minutes(gap), minutes(length));
        }
        entry.last_end = None;
        if back {
            entry.pattern.idle_from = None;
            return false;
        }
        if let (Clock::Fixed(old), Some(new)) = (&mut entry.clock, offset)
            && *old != new
        {
            entry.hints.moved(Span::seconds(i64::from(old.seconds() - new.seconds())));
            *old = new;
            self.advanced = None;
        }
        entry.hints.login(start);
        entry.last_start = if entry.pool { entry.last_start.max(start) } else { start };
        let wall = entry.clock.wall(start);
        entry.pattern.login(wall);
        if entry.pool {
            entry.pattern.idle_since(wall);
        }
        let first = entry.pool || utc_day(start) != entry.counted_day;
        entry.counted_day = utc_day(start);
        self.activity.login(start, first);
        if let Some(seat) = &mut entry.seat {
            self.groups.login(seat, start, &entry.clock);
        }
        true
    }

    /// Something that was told. It is taken when it is due, by [`History::advance`].
    pub fn hint(&mut self, subject: &Subject, hint: &Hint) {
        self.told.insert((hint.due(), subject.clone(), *hint));
        if self.told.len() > WAITING {
            self.told.pop_last();
        }
    }

    /// Something that was told and is due ([`Hint::due`]). Hints of a subject come in that order; the same one told twice is taken once.
    pub(crate) fn take_hint(&mut self, subject: &Subject, hint: &Hint, offset: Option<Offset>) {
        if let Some(entry) = self.entries.get_mut(subject) {
            let hint = hint.moved(entry.on_axis(hint.told, offset) - hint.told);
            entry.hints.tell(&hint, &entry.clock);
            entry.changes = entry.changes.wrapping_add(1);
        } else if self.strangers.contains_key(subject) || self.strangers.len() < STRANGERS {
            let clock = match (self.clocks.get(subject), offset) {
                (Some(clock), _) => clock.clone(),
                (None, offset) => Clock::Fixed(offset.unwrap_or(Offset::UTC)),
            };
            self.strangers.entry(subject.clone()).or_default().tell(hint, &clock);
        }
    }

    /// A logout. Unknown subjects and ends before the start are taken as the start.
    pub fn session_ended(&mut self, subject: &Subject, end: Time) {
        let Some(entry) = self.entries.get_mut(subject) else { return };
        entry.changes = entry.changes.wrapping_add(1);
        entry.open = entry.open.saturating_sub(1);
        if entry.open > 0 {
            return;
        }
        let end = end.max(entry.last_start);
        entry.last_end = Some(entry.last_end.map_or(end, |old| old.max(end)));
        if !entry.pool {
            let wall = entry.clock.wall(end + GRACE);
            entry.pattern.idle_since(wall);
        }
    }

    /// Whoever was taken to have left has not. At a pool: one more of its users.
    pub fn still_here(&mut self, subject: &Subject) {
        let Some(entry) = self.entries.get_mut(subject) else { return };
        entry.open = if entry.pool { entry.open + 1 } else { 1 };
        entry.last_end = None;
        if !entry.pool {
            entry.pattern.idle_from = None;
        }
        entry.changes = entry.changes.wrapping_add(1);
    }

    /// Closes the local days that are over, counts others' activity up to `now`, and takes the hints that are due. Idempotent. Days end
    /// with a slot: no zone of today is off by anything but quarter hours.
    pub fn advance(&mut self, now: Time) {
        while self.told.first().is_some_and(|(due, ..)| *due <= now)
            && let Some((_, subject, hint)) = self.told.pop_first()
        {
            self.take_hint(&subject, &hint, None);
        }
        self.advance_others(now);
        let slot = now.unix().div_euclid(pattern::SLOT);
        if self.advanced.replace(slot) == Some(slot) {
            return;
        }
        for entry in self.entries.values_mut() {
            let wall = entry.clock.wall(now);
            if entry.pattern.roll(wall) {
                entry.changes = entry.changes.wrapping_add(1);
            }
        }
    }

    /// Of what [`History::advance`] does, that which everybody sees of the others.
    pub(crate) fn advance_others(&mut self, now: Time) {
        self.activity.advance(now);
        self.groups.advance(now);
    }

    /// Sessions that are open now, over all subjects.
    pub fn sessions_open(&self) -> usize {
        self.entries.values().map(|entry| entry.open as usize).sum()
    }

    /// Start of the last session and its end, none if it is open.
    pub fn last_session(&self, subject: &Subject) -> Option<(Time, Option<Time>)> {
        self.entries.get(subject).map(|entry| (entry.last_start, entry.last_end))
    }

    /// How many logins of a subject were counted; 0 for a stranger.
    pub fn logins(&self, subject: &Subject) -> u32 {
        self.entries.get(subject).map_or(0, |entry| entry.pattern.logins)
    }

    /// Whether a subject has logged in and was not forgotten since.
    pub fn is_managed(&self, subject: &Subject, now: Time) -> bool {
        self.entries.get(subject).is_some_and(|entry| self.remembers(entry, now))
    }

    /// How many subjects are managed.
    pub fn managed(&self, now: Time) -> usize {
        self.entries.values().filter(|entry| self.remembers(entry, now)).count()
    }

    /// Whether an entry's subject is managed.
    pub(crate) fn remembers(&self, entry: &Entry, now: Time) -> bool {
        entry.open > 0 || now < entry.last_end.unwrap_or(entry.last_start).max(entry.last_start) + self.forget
    }

    /// Everybody who ever logged in, by name.
    pub fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.entries.keys()
    }
}

fn utc_day(at: Time) -> i64 {
    at.unix().div_euclid(86_400)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::DesktopName;

    fn desktop(name: &str) -> Subject {
        Subject::Desktop(DesktopName::new(name).unwrap())
    }

    #[test]
    fn what_is_known_of_one_subject_stays_small() {
        let sizes = [size_of::<Entry>(), size_of::<Pattern>(), size_of::<Hints>()];
        assert!(sizes[0] <= 128 && sizes.iter().sum::<usize>() <= 4096, "{sizes:?}");
    }

    #[test]
    fn a_login_told_twice_counts_once() {
        let mut history = History::new(Span::days(28));
        let subject = desktop("a");
        assert!(history.session_started(&subject, Time::from_unix(1000), None));
        assert!(!history.session_started(&subject, Time::from_unix(1000), None));
        assert!(!history.session_started(&subject, Time::from_unix(900), None));
        assert_eq!((history.logins(&subject), history.sessions_open()), (1, 1));
        history.session_ended(&subject, Time::from_unix(2000));
        history.session_ended(&subject, Time::from_unix(2000));
        assert_eq!(history.last_session(&subject), Some((Time::from_unix(1000), Some(Time::from_unix(2000)))));
        assert!(!history.session_started(&subject, Time::from_unix(2600), None), "within the grace time");
        history.session_ended(&subject, Time::from_unix(3000));
        assert!(history.session_started(&subject, Time::from_unix(3601), None));
        assert_eq!(history.logins(&subject), 2);
    }

    #[test]
    fn whoever_is_still_here_is_here_once() {
        let mut history = History::new(Span::days(28));
        let (subject, pool) = (desktop("a"), Subject::Pool(crate::id::PoolName::new("p").unwrap()));
        for subject in [&subject, &pool] {
            history.session_started(subject, Time::from_unix(1000), None);
            history.session_ended(subject, Time::from_unix(3700));
        }
        history.still_here(&desktop("b"));
        for _ in 0..2 {
            history.still_here(&subject);
            history.still_here(&pool);
        }
        assert_eq!(history.sessions_open(), 3, "one at the desktop, two at the pool");
        assert_eq!(history.last_session(&subject), Some((Time::from_unix(1000), None)));
        history.session_ended(&subject, Time::from_unix(9000));
        assert_eq!(history.last_session(&subject), Some((Time::from_unix(1000), Some(Time::from_unix(9000)))));
    }

    #[test]
    fn a_pool_counts_every_login() {
        let mut history = History::new(Span::days(28));
        let pool = Subject::Pool(crate::id::PoolName::new("p").unwrap());
        for second in [100, 100, 200] {
            assert!(history.session_started(&pool, Time::from_unix(second), None));
        }
        assert_eq!((history.logins(&pool), history.sessions_open()), (3, 3));
        history.session_ended(&pool, Time::from_unix(300));
        assert_eq!(history.sessions_open(), 2);
    }
}
