//! What a person does on one day: when they log in and out, in seconds of the local day.
//!
//! Not here: time zones. A session may end after midnight; the caller turns both ends into instants.

use jiff::civil::{Date, Weekday};

use super::calendar::Calendar;
use super::person::{HOUR, Kind, MINUTE, Person};
use super::random::{About, Random};

/// A session shorter than this is not worth a log-in.
const SHORTEST: f64 = 3.0 * MINUTE;

/// What one day is for everybody.
pub(super) struct World {
    /// Days since 1970-01-01: the name of the day in all draws.
    pub(super) number: i64,
    /// Days since the start of the trace.
    pub(super) since_start: i64,
    month: i8,
    pub(super) weekday: usize,
    pub(super) holiday: bool,
    /// Between a holiday and a weekend, or between Christmas and New Year.
    bridge: bool,
    /// Trains on strike, snow: how much later most people are; 0 on almost all days.
    delay: f64,
}

impl World {
    /// The day `since_start` days after the start of the trace.
    pub(super) fn new(seed: u64, date: Date, number: i64, since_start: i64, calendar: &Calendar) -> Self {
        let mut random = Random::new(seed, About::World, 0, number);
        let near = |days: i64| {
            date.checked_add(jiff::Span::new().days(days)).is_ok_and(|neighbour| calendar.is_holiday(neighbour))
        };
        let month = date.month();
        let winter = matches!(month, 12 | 1 | 2);
        Self {
            number,
            since_start,
            month,
            weekday: usize::from(date.weekday().to_monday_zero_offset().unsigned_abs()),
            holiday: calendar.is_holiday(date),
            bridge: (date.weekday() == Weekday::Friday && near(-1))
                || (date.weekday() == Weekday::Monday && near(1))
                || (month == 12 && date.day() >= 24),
            delay: if random.chance(if winter { 0.05 } else { 0.015 }) {
                random.between(20.0, 80.0) * MINUTE
            } else {
                0.0
            },
        }
    }

    /// Whether a person who works in shifts has the late one.
    pub(super) fn is_late_shift(&self, person: &Person) -> bool {
        (self.week() + person.team.phase).rem_euclid(2) == 1 && self.weekday < 5
    }

    /// Monday-based week number, for what alternates by week. 1970-01-05 was a Monday.
    fn week(&self) -> i64 {
        (self.number - 4).div_euclid(7)
    }
}

/// The sessions of a person on a day, in order, without overlap: seconds after local midnight.
pub(super) fn sessions(seed: u64, person: &Person, world: &World) -> Vec<(f64, f64)> {
    if !is_employed(person, world) || absence(seed, person, world).is_some() {
        return Vec::new();
    }
    let mut random = Random::new(seed, About::Day, person.number, world.number);
    let mut sessions = Vec::new();
    if works(person, world, &mut random) {
        working_day(person, world, &mut random, &mut sessions);
    }
    extras(person, world, &mut random, &mut sessions);
    sessions.sort_by(|a, b| a.0.total_cmp(&b.0));
    sessions.retain(|(start, end)| *start >= 0.0 && *end >= start + SHORTEST);
    sessions
}

/// Why somebody does not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absence {
    /// Planned.
    Leave,
    /// Not planned.
    Illness,
}

/// On leave, or ill.
pub(super) fn absence(seed: u64, person: &Person, world: &World) -> Option<Absence> {
    // Leave begins about every four months, more often in summer, and lasts 2 to 16 days. An illness lasts 1 to 5 days.
    let summer = matches!(world.month, 7 | 8);
    let cold = matches!(world.month, 11 | 12 | 1..=3);
    if begins(seed, About::Leave, person, world.number, 21, if summer { 0.5 } else { 0.18 }, (2, 16)) {
        Some(Absence::Leave)
    } else if begins(seed, About::Illness, person, world.number, 7, if cold { 0.045 } else { 0.02 }, (1, 5)) {
        Some(Absence::Illness)
    } else {
        None
    }
}

/// Whether it is one of the days between joining and leaving.
pub(super) fn is_employed(person: &Person, world: &World) -> bool {
    (person.employed.0..person.employed.1).contains(&world.since_start)
}

/// Whether an absence covers `day`. In each block of `block` days one begins with probability `p` and lasts `length` days, so that it
/// can be known for any day without looking at the others.
fn begins(seed: u64, about: About, person: &Person, day: i64, block: i64, p: f64, length: (i64, i64)) -> bool {
    let this = day.div_euclid(block);
    [this - 1, this].into_iter().any(|n| {
        let mut random = Random::new(seed, about, person.number, n);
        let (happens, first) = (random.chance(p), n * block + random.whole(0, block - 1));
        happens && (first..first + random.whole(length.0, length.1)).contains(&day)
    })
}

/// Whether it is a working day for this person.
fn works(person: &Person, world: &World, random: &mut Random) -> bool {
    let planned = match person.kind {
        // Every third week has a Saturday.
        Kind::Shift if world.weekday == 5 => world.week().rem_euclid(3) == 0,
        Kind::Researcher if world.weekday >= 5 => random.chance(0.18),
        Kind::Researcher => random.chance(0.82),
        _ => person.workdays[world.weekday],
    };
    let kept = match (world.holiday, person.kind) {
        (true, Kind::Shift) => 0.3,
        (true, Kind::Researcher) => 0.15,
        (true, _) => 0.01,
        (false, _) if world.bridge => 0.45,
        (false, _) => 0.985, // training, a day at a customer
    };
    planned && random.chance(kept)
}

/// The main part of a working day: from arrival to going home, less the breaks.
fn working_day(person: &Person, world: &World, random: &mut Random, sessions: &mut Vec<(f64, f64)>) {
    let at_home = world.weekday < 5 && random.chance(person.home[world.weekday]);
    let arrive = arrival(person, world, at_home, random);
    let early_friday = if world.weekday == 4 && person.kind != Kind::Shift { person.friday } else { 0.0 };
    let spread = if person.kind == Kind::Shift { 5.0 } else { 30.0 };
    let mut presence = random.normal(person.presence - early_friday, spread * MINUTE).max(HOUR);
    if random.chance(0.03) {
        presence *= random.between(0.2, 0.7); // sent home, called away
    }
    let leave = arrive + presence;

    let mut breaks = Vec::new();
    if person.kind == Kind::Shift {
        let middle = arrive + presence * 0.5;
        if random.chance(person.lunch.2) {
            let start = random.normal(middle, 12.0 * MINUTE);
            breaks.push((start, start + random.normal(30.0 * MINUTE, 3.0 * MINUTE)));
        }
    } else {
        if presence > 5.0 * HOUR && random.chance(person.lunch.2) {
            let start = random.normal(person.lunch.0, 9.0 * MINUTE);
            breaks.push((start, start + random.normal(person.lunch.1, 6.0 * MINUTE)));
        }
        let (meeting_day, meeting) = person.team.meeting;
        if world.weekday == meeting_day && !at_home && random.chance(0.55) {
            let start = meeting + random.normal(-3.0 * MINUTE, 2.0 * MINUTE);
            breaks.push((start, start + random.normal(65.0 * MINUTE, 9.0 * MINUTE)));
        }
    }
    let mut wanted = person.breaks + if at_home { 0.3 } else { 0.0 };
    if person.kind == Kind::Researcher {
        wanted += 0.9;
    }
    while wanted > 0.0 {
        if random.chance(wanted.min(1.0)) {
            // Meetings begin on the half hour.
            let slots = (presence / (HOUR / 2.0)) as i64;
            let start = arrive + random.whole(1, slots.max(1)) as f64 * HOUR / 2.0;
            let start = (start / (HOUR / 2.0)).floor() * HOUR / 2.0 + random.normal(0.0, 4.0 * MINUTE);
            breaks.push((start, start + random.whole(1, 3) as f64 * 30.0 * MINUTE + random.normal(0.0, 4.0 * MINUTE)));
        }
        wanted -= 1.0;
    }
    cut(arrive, leave, breaks, sessions);
}

/// When somebody comes.
fn arrival(person: &Person, world: &World, at_home: bool, random: &mut Random) -> f64 {
    let (mut mean, spread) = person.arrival;
    mean += person.drift * world.since_start as f64 / 30.0;
    if world.since_start >= person.change.0 {
        mean += person.change.1;
    }
    if person.kind == Kind::Shift {
        mean += if world.is_late_shift(person) { 14.0 } else { 6.0 } * HOUR;
    }
    let mut arrive = random.normal(mean, spread);
    let hindered = random.chance(if at_home { 0.03 } else { 0.75 });
    if hindered {
        arrive += world.delay * random.between(0.6, 1.4);
    }
    if at_home {
        arrive -= random.between(0.0, 25.0) * MINUTE; // no commute
    }
    if random.chance(0.06) {
        arrive += random.between(20.0, 150.0) * MINUTE * random.unit(); // dentist, school, overslept: the tail
    } else if random.chance(0.02) {
        arrive -= random.between(20.0, 90.0) * MINUTE; // a deadline
    }
    arrive.max(10.0 * MINUTE)
}

/// Takes the breaks out of the time between `arrive` and `leave`.
fn cut(arrive: f64, leave: f64, mut breaks: Vec<(f64, f64)>, sessions: &mut Vec<(f64, f64)>) {
    breaks.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut from = arrive;
    for (start, end) in breaks.into_iter().filter(|(start, end)| *start < leave && *end > arrive) {
        if start > from + SHORTEST {
            sessions.push((from, start));
        }
        from = from.max(end);
    }
    if leave > from + SHORTEST {
        sessions.push((from, leave));
    }
}

/// Evenings, nights and weekends: sessions besides the working day. One that would overlap is moved behind it or left out.
fn extras(person: &Person, world: &World, random: &mut Random, sessions: &mut Vec<(f64, f64)>) {
    let on_call = person.kind == Kind::OnCall && (world.week() + person.number as i64).rem_euclid(4) == 0;
    let weekend = world.weekday >= 5 || world.holiday;
    let (evening, night, day_off) = match person.kind {
        Kind::OnCall if on_call => (0.5, 0.10, 0.75),
        Kind::OnCall => (0.18, 0.01, 0.08),
        Kind::Researcher => (0.3, 0.04, 0.12),
        Kind::Shift => (0.005, 0.0, 0.003),
        Kind::Office | Kind::PartTime => (0.025, 0.002, 0.012),
    };
    if random.chance(night) {
        let start = random.between(0.2, 5.0) * HOUR;
        add(start, start + random.between(8.0, 75.0) * MINUTE, sessions);
    }
    if random.chance(evening) {
        let start = random.normal(20.7 * HOUR, 50.0 * MINUTE);
        add(start, start + random.between(10.0, 130.0) * MINUTE, sessions);
    }
    if weekend && random.chance(day_off) {
        for _ in 0..random.whole(1, 2) {
            let start = random.between(8.5, 19.0) * HOUR;
            add(start, start + random.between(15.0, 150.0) * MINUTE, sessions);
        }
    }
}

/// Adds a session, unless the person is at the desk then.
fn add(start: f64, end: f64, sessions: &mut Vec<(f64, f64)>) {
    if sessions.iter().all(|(from, to)| end < *from || start > to + 15.0 * MINUTE) {
        sessions.push((start, end));
    }
}
