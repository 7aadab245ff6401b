//! What the trees see of hints: one subject's, about one slot, as known at one instant.
//!
//! Where a kind was never told the numbers are constant, and a column that does not vary is never split. Deliberately not here: what a
//! number is worth, which is learned.

use super::Topic;
use crate::hint::{EVENTS, Kind};
use crate::history::hints::{Hints, Stated};
use crate::history::pattern::DAY;
use crate::unit::{Span, Time};

/// Kinds that say that somebody will not come, and those that say when somebody will.
const AWAY: [Kind; 3] = [Kind::Leave, Kind::Maintenance, Kind::Holiday];
const EXPECTED: [Kind; 3] = [Kind::Shift, Kind::Booking, Kind::Hours];
/// Columns: an event each, what the last one was worth; what keeps away; begin and end of what is expected, and what that was worth.
pub(crate) const HINTS: usize = EVENTS + 1 + AWAY.len() + 2 * EXPECTED.len() + 1;
/// Where they begin.
const OF_EVENTS: usize = 0;
const OF_AWAY: usize = EVENTS + 1;
const OF_EXPECTED: usize = OF_AWAY + AWAY.len();
/// Instead of the minutes since an event: there was none, though there usually is; nobody can know yet; this kind is not told.
const SILENT: f32 = 2000.0;
const OPEN: f32 = 3000.0;
const UNTOLD: f32 = 4000.0;
/// Instead of the minutes since a beginning, or to an end: there is none that day; this kind is not told.
const FREE: f32 = -3000.0;
const UNSTATED: f32 = -4000.0;
/// How far away the time that somebody is expected may begin to be seen.
const SOON: Span = Span::hours(18);

/// The columns of one decision.
pub(crate) type Seen = [f32; HINTS];

/// What is seen where nothing was ever told.
pub(crate) const NOTHING: Seen = {
    let mut seen = [UNSTATED; HINTS];
    let mut at = 0;
    while at < EVENTS {
        seen[OF_EVENTS + at] = UNTOLD;
        at += 1;
    }
    seen[EVENTS] = 0.0;
    at = 0;
    while at < AWAY.len() {
        seen[OF_AWAY + at] = 0.0;
        at += 1;
    }
    seen[HINTS - 1] = 0.0;
    seen
};

/// What a column speaks of: of its kind, if it is that of one.
pub(crate) fn topics() -> [Topic; HINTS] {
    std::array::from_fn(|column| if kind(column) == Some(Kind::Holiday) { Topic::Calendar } else { Topic::Hints })
}

/// The kind that a column is of; none of those that speak of several.
pub(crate) fn kind(column: usize) -> Option<Kind> {
    match column {
        _ if column < EVENTS => Some(Kind::ALL[column]),
        EVENTS => None,
        _ if column < OF_EXPECTED => Some(AWAY[column - OF_AWAY]),
        _ if column < HINTS - 1 => Some(EXPECTED[(column - OF_EXPECTED) / 2]),
        _ => None,
    }
}

/// The columns at `at`, when the wall clock shows `wall`. `known`: events after it are not known yet, nor that there were none.
pub(crate) fn see(hints: &Hints, at: Time, wall: i64, known: Time) -> Seen {
    if hints.is_empty() {
        return NOTHING;
    }
    let mut seen = NOTHING;
    let today = at - Span::seconds(wall.rem_euclid(DAY));
    let mut newest: Option<(Time, Kind)> = None;
    for kind in Kind::ALL.into_iter().take(EVENTS) {
        let column = &mut seen[OF_EVENTS + kind as usize];
        let Some((told, until)) = hints.event(kind).filter(|_| hints.is_usual(kind, at)) else { continue };
        *column = if told <= known && told >= today && at < until {
            newest = newest.max(Some((told, kind)));
            minutes(at - told)
        } else if known < at {
            OPEN
        } else {
            SILENT
        };
    }
    if let Some((_, kind)) = newest {
        seen[EVENTS] = hints.kept(kind).share();
    }
    for (column, kind) in AWAY.into_iter().enumerate() {
        seen[OF_AWAY + column] = away(hints, kind, at, today);
    }
    for (place, kind) in EXPECTED.into_iter().enumerate() {
        let columns = OF_EXPECTED + 2 * place;
        if let Some(stated) = expected(hints, kind, at, today) {
            (seen[columns], seen[columns + 1]) = (minutes(at - stated.from()), minutes(stated.until() - at));
            let share = hints.kept(kind).share();
            seen[HINTS - 1] = seen[HINTS - 1].max(share);
        } else if hints.is_usual(kind, at) {
            (seen[columns], seen[columns + 1]) = (FREE, FREE);
        }
    }
    seen
}

fn minutes(span: Span) -> f32 {
    span.as_seconds() as f32 / 60.0
}

/// 4: now; 3: on that day; 2: on the next day; 1: on the day before; 0: not then.
fn away(hints: &Hints, kind: Kind, at: Time, today: Time) -> f32 {
    let day = Span::days(1);
    let overlaps = |stated: &Stated, from: Time| stated.from() < from + day && stated.until() > from;
    let near = |stated: &Stated| {
        if stated.from() <= at && at < stated.until() {
            4.0
        } else if overlaps(stated, today) {
            3.0
        } else if overlaps(stated, today + day) {
            2.0
        } else if overlaps(stated, today - day) {
            1.0
        } else {
            0.0
        }
    };
    hints.stated().iter().filter(|stated| stated.kind == kind).map(near).fold(0.0, f32::max)
}

/// The time of this kind that matters: the one that is, else the next one, else the last one of the day.
pub(crate) fn expected(hints: &Hints, kind: Kind, at: Time, today: Time) -> Option<Stated> {
    let rank = |stated: &Stated| {
        if stated.from() <= at && at < stated.until() {
            Some((0, stated.from()))
        } else if stated.from() > at && stated.from() < at + SOON {
            Some((1, stated.from()))
        } else if stated.until() <= at && stated.until() > today {
            Some((2, Time::from_unix(-stated.until().unix())))
        } else {
            None
        }
    };
    let of_kind = hints.stated().iter().filter(|stated| stated.kind == kind);
    of_kind.filter_map(|stated| rank(stated).map(|rank| (rank, *stated))).min_by_key(|(rank, _)| *rank).map(|(_, s)| s)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hint::Hint;
    use crate::history::Clock;

    const MONDAY: i64 = 1_267_401_600; // 2010-03-01T00:00:00Z

    fn at(day: i64, minute: i64) -> Time {
        Time::from_unix(MONDAY + day * 86_400 + minute * 60)
    }

    fn told(hints: &[Hint]) -> Hints {
        let mut all = Hints::default();
        for hint in hints {
            all.tell(hint, &Clock::Fixed(jiff::tz::Offset::UTC));
        }
        all
    }

    fn seen(hints: &Hints, at: Time, known: Time) -> Seen {
        see(hints, at, at.unix(), known)
    }

    #[test]
    fn an_event_is_seen_missed_awaited_or_not_told() {
        let hints = told(&[Hint::new(Kind::Badge, at(1, 480), None, None).unwrap()]);
        let badge = |at, known| seen(&hints, at, known)[0];
        assert!((badge(at(1, 495), at(1, 495)) - 15.0).abs() < 1e-6);
        assert!((badge(at(2, 495), at(2, 495)) - SILENT).abs() < 1e-6);
        assert!((badge(at(2, 495), at(2, 400)) - OPEN).abs() < 1e-6, "it may come in between");
        assert!((badge(at(1, 495), at(1, 470)) - OPEN).abs() < 1e-6, "it was not known then");
        assert!((badge(at(30, 495), at(30, 495)) - UNTOLD).abs() < 1e-6);
        assert!((seen(&hints, at(1, 495), at(1, 495))[1] - UNTOLD).abs() < 1e-6, "no VPN");
    }

    #[test]
    fn days_around_a_holiday_and_the_hours_of_a_shift_are_told_apart() {
        let day = |kind, from, until| Hint::new(kind, at(0, 0), Some(from), Some(until)).unwrap();
        let hints = told(&[day(Kind::Holiday, at(1, 0), at(2, 0)), day(Kind::Shift, at(1, 360), at(1, 840))]);
        let holiday = |at| seen(&hints, at, at)[OF_AWAY + 2];
        let days = [at(0, 600), at(1, 600), at(2, 600), at(3, 600)].map(holiday);
        assert_eq!(days.map(|day| day as i32), [2, 4, 1, 0]);
        let shift = |at| [seen(&hints, at, at)[OF_EXPECTED], seen(&hints, at, at)[OF_EXPECTED + 1]].map(|x| x as i32);
        assert_eq!(shift(at(1, 330)), [-30, 510]);
        assert_eq!(shift(at(1, 800)), [440, 40]);
        assert_eq!(shift(at(1, 900)), [540, -60]);
        assert_eq!(shift(at(2, 300)), [FREE as i32; 2]);
        assert_eq!(topics().iter().filter(|topic| **topic == Topic::Calendar).count(), 1);
    }

    #[test]
    fn a_kind_that_is_not_told_any_more_is_as_one_that_never_was() {
        let hints = told(&[
            Hint::new(Kind::Badge, at(0, 480), None, None).unwrap(),
            Hint::new(Kind::Shift, at(0, 480), None, None).unwrap(),
        ]);
        let differs = |seen: Seen| (0..HINTS).find(|column| (seen[*column] - NOTHING[*column]).abs() > 0.0);
        assert_eq!(differs(seen(&hints, at(40, 0), at(40, 0))), None);
        assert_eq!(differs(seen(&Hints::default(), at(40, 0), at(0, 0))), None);
    }
}
