//! What was told, in words.

use super::{clock, day_name};
use crate::forecast::feature::hint;
use crate::hint::Kind;
use crate::history::hints::{Hints, Kept, Stated};
use crate::history::pattern::DAY;
use crate::history::{Clock, Entry};
use crate::unit::{Span, Time};

/// The fact behind a column of hints at `at`, when the wall clock shows `wall`.
pub(super) fn words(entry: &Entry, column: usize, at: Time, wall: i64) -> String {
    let hints = &entry.hints;
    let today = at - Span::seconds(wall.rem_euclid(DAY));
    let kind = hint::kind(column).or_else(|| newest(hints, at, today)).or_else(|| {
        let kinds = [Kind::Hours, Kind::Booking, Kind::Shift];
        kinds.into_iter().find(|kind| hint::expected(hints, *kind, at, today).is_some())
    });
    let Some(kind) = kind else { return "nothing was told".to_owned() };
    if kind.is_event() {
        return event(hints, kind, at, today, &entry.clock);
    }
    match kind {
        Kind::Leave | Kind::Maintenance | Kind::Holiday => {
            away(hints, kind, at, today, &entry.clock).unwrap_or_else(|| format!("no {kind} near"))
        }
        _ => expected(hints, kind, at, today, &entry.clock),
    }
}

/// The public holiday near `at`, if any.
pub(super) fn holiday(entry: &Entry, at: Time, wall: i64) -> Option<String> {
    away(&entry.hints, Kind::Holiday, at, at - Span::seconds(wall.rem_euclid(DAY)), &entry.clock)
}

fn newest(hints: &Hints, at: Time, today: Time) -> Option<Kind> {
    let told =
        |kind: &Kind| hints.event(*kind).filter(|(told, until)| *told >= today && at < *until).map(|(told, _)| told);
    Kind::ALL.into_iter().filter(|kind| kind.is_event() && told(kind).is_some()).max_by_key(told)
}

/// What an event or its absence says.
fn event(hints: &Hints, kind: Kind, at: Time, today: Time, clock_of: &Clock) -> String {
    let name = name(kind);
    match hints.event(kind) {
        Some((told, until)) if told >= today && told <= at && at < until => {
            let Kept { told: days, came } = hints.kept(kind);
            format!(
                "{name} at {}, followed by a login within an hour on {came} of {days} such days",
                clock(clock_of.wall(told))
            )
        }
        Some(_) if hints.is_usual(kind, at) => format!("no {name} yet"),
        _ => format!("no {name} is ever told"),
    }
}

fn away(hints: &Hints, kind: Kind, at: Time, today: Time, clock_of: &Clock) -> Option<String> {
    let day = Span::days(1);
    let near = |from: Time| {
        hints.stated().iter().find(|stated| stated.kind == kind && stated.from() < from + day && stated.until() > from)
    };
    let name = name(kind);
    let now = hints.stated().iter().find(|stated| stated.kind == kind && stated.from() <= at && at < stated.until());
    Some(if let Some(stated) = now {
        let Kept { told, came } = hints.kept(kind);
        let end = clock_of.wall(stated.until());
        format!("{name} until {} at {}, came during {came} of the last {told}", day_name(end), clock(end))
    } else if near(today).is_some() {
        format!("{name} on that day")
    } else if near(today + day).is_some() {
        format!("the day before {name}")
    } else if near(today - day).is_some() {
        format!("the day after {name}")
    } else {
        return None;
    })
}

fn expected(hints: &Hints, kind: Kind, at: Time, today: Time, clock_of: &Clock) -> String {
    let (name, Kept { told, came }) = (name(kind), hints.kept(kind));
    let wall = |stated: &Stated| (clock(clock_of.wall(stated.from())), clock(clock_of.wall(stated.until())));
    match hint::expected(hints, kind, at, today) {
        Some(stated) => {
            let (from, until) = wall(&stated);
            format!("{name} from {from} to {until}, came during {came} of the last {told}")
        }
        None => format!("no {name} then"),
    }
}

/// As people call it.
fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Badge => "badge",
        Kind::Vpn => "VPN",
        Kind::SignIn => "sign-in",
        Kind::ThinClient => "thin client",
        Kind::ColleagueBooking => "colleague's booking",
        Kind::Leave => "leave",
        Kind::Holiday => "holiday",
        Kind::Maintenance => "maintenance",
        Kind::Shift => "shift",
        Kind::Booking => "booking",
        Kind::Hours => "working hours",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::feature::hint::HINTS;
    use crate::hint::Hint;
    use crate::history::History;
    use crate::id::{DesktopName, Subject};

    const MONDAY: i64 = 1_267_401_600; // 2010-03-01T00:00:00Z

    fn at(day: i64, minute: i64) -> Time {
        Time::from_unix(MONDAY + day * 86_400 + minute * 60)
    }

    #[test]
    fn each_kind_is_told_with_what_it_was_worth() {
        let subject = Subject::Desktop(DesktopName::new("a").unwrap());
        let mut history = History::new(Span::days(28));
        for day in 0..5 {
            history.hint(&subject, &Hint::new(Kind::Badge, at(day, 482), None, None).unwrap());
            if day != 3 {
                history.advance(at(day, 485));
                history.session_started(&subject, at(day, 490), None);
                history.session_ended(&subject, at(day, 900));
            }
        }
        let day = |kind, from, until| Hint::new(kind, at(4, 0), Some(from), Some(until)).unwrap();
        history.hint(&subject, &day(Kind::Leave, at(5, 0), at(7, 0)));
        history.hint(&subject, &day(Kind::Shift, at(4, 360), at(4, 840)));
        history.hint(&subject, &day(Kind::Holiday, at(6, 0), at(7, 0)));
        history.advance(at(4, 482));
        let entry = &history.entries[&subject];
        let words = |column, time: Time| words(entry, column, time, time.unix());
        let column = |kind| (0..HINTS).find(|column| hint::kind(*column) == Some(kind)).unwrap();
        let badge = column(Kind::Badge);
        assert_eq!(words(badge, at(4, 483)), "badge at 8:02, followed by a login within an hour on 4 of 5 such days");
        assert_eq!(words(badge, at(5, 483)), "no badge yet");
        assert_eq!(words(column(Kind::Vpn), at(4, 483)), "no VPN is ever told");
        let leave = column(Kind::Leave);
        assert_eq!(words(leave, at(5, 483)), "leave until Monday at 0:00, came during 0 of the last 1");
        assert_eq!(words(leave, at(4, 483)), "the day before leave");
        assert_eq!(words(leave, at(7, 483)), "the day after leave");
        assert_eq!(words(leave, at(2, 483)), "no leave near");
        let shift = column(Kind::Shift);
        assert!(words(shift, at(4, 483)).starts_with("shift from 6:00 to 14:00, came during "));
        assert_eq!(words(shift, at(6, 483)), "no shift then");
        assert_eq!(holiday(entry, at(5, 483), at(5, 483).unix()).unwrap(), "the day before holiday");
        assert_eq!(words(HINTS - 1, at(6, 483)), "nothing was told");
    }
}
