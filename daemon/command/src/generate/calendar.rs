//! Public holidays, approximated: the days off of a whole country, as it keeps them today, for every year.
//!
//! Deliberately simple: no regional holidays, no moving of a holiday that falls on a weekend, no changes of law in the past. The
//! country is guessed from the time zone; a zone that is not listed has New Year's Day and Christmas Day.

use jiff::civil::{Date, Weekday};

/// How a holiday is found in a year.
#[derive(Clone, Copy)]
enum Rule {
    /// The same month and day each year.
    Fixed(i8, i8),
    /// So many days after Easter Sunday.
    Easter(i64),
    /// The n-th such weekday of the month; -1: the last.
    Nth(i8, Weekday, i8),
}
use Rule::{Easter, Fixed, Nth};

const GERMANY: &[Rule] = &[
    Fixed(1, 1),
    Easter(-2),
    Easter(1),
    Fixed(5, 1),
    Easter(39),
    Easter(50),
    Fixed(10, 3),
    Fixed(12, 25),
    Fixed(12, 26),
];
const AUSTRIA: &[Rule] = &[
    Fixed(1, 1),
    Fixed(1, 6),
    Easter(1),
    Fixed(5, 1),
    Easter(39),
    Easter(50),
    Easter(60),
    Fixed(8, 15),
    Fixed(10, 26),
    Fixed(11, 1),
    Fixed(12, 8),
    Fixed(12, 25),
    Fixed(12, 26),
];
const FRANCE: &[Rule] = &[
    Fixed(1, 1),
    Easter(1),
    Fixed(5, 1),
    Fixed(5, 8),
    Easter(39),
    Easter(50),
    Fixed(7, 14),
    Fixed(8, 15),
    Fixed(11, 1),
    Fixed(11, 11),
    Fixed(12, 25),
];
const POLAND: &[Rule] = &[
    Fixed(1, 1),
    Fixed(1, 6),
    Easter(1),
    Fixed(5, 1),
    Fixed(5, 3),
    Easter(60),
    Fixed(8, 15),
    Fixed(11, 1),
    Fixed(11, 11),
    Fixed(12, 25),
    Fixed(12, 26),
];
const BRITAIN: &[Rule] = &[
    Fixed(1, 1),
    Easter(-2),
    Easter(1),
    Nth(5, Weekday::Monday, 1),
    Nth(5, Weekday::Monday, -1),
    Nth(8, Weekday::Monday, -1),
    Fixed(12, 25),
    Fixed(12, 26),
];
const UNITED_STATES: &[Rule] = &[
    Fixed(1, 1),
    Nth(1, Weekday::Monday, 3),
    Nth(2, Weekday::Monday, 3),
    Nth(5, Weekday::Monday, -1),
    Fixed(6, 19),
    Fixed(7, 4),
    Nth(9, Weekday::Monday, 1),
    Nth(10, Weekday::Monday, 2),
    Fixed(11, 11),
    Nth(11, Weekday::Thursday, 4),
    Fixed(12, 25),
];
const ELSEWHERE: &[Rule] = &[Fixed(1, 1), Fixed(12, 25)];

/// The holidays of one country.
pub(super) struct Calendar(&'static [Rule]);

impl Calendar {
    /// Of the country whose zone this is, by its IANA name.
    pub(super) fn of_zone(zone: Option<&str>) -> Self {
        Self(match zone.unwrap_or_default() {
            "Europe/Berlin" | "Europe/Busingen" => GERMANY,
            "Europe/Vienna" => AUSTRIA,
            "Europe/Paris" => FRANCE,
            "Europe/Warsaw" => POLAND,
            "Europe/London" => BRITAIN,
            "America/New_York"
            | "America/Chicago"
            | "America/Denver"
            | "America/Los_Angeles"
            | "America/Phoenix"
            | "America/Detroit"
            | "America/Anchorage"
            | "Pacific/Honolulu" => UNITED_STATES,
            _ => ELSEWHERE,
        })
    }

    /// Whether the country rests on this day.
    pub(super) fn is_holiday(&self, date: Date) -> bool {
        self.0.iter().any(|rule| match *rule {
            Fixed(month, day) => (date.month(), date.day()) == (month, day),
            Easter(offset) => days_between(easter(date.year()), date) == offset,
            Nth(month, weekday, -1) => {
                date.month() == month && date.weekday() == weekday && date.day() + 7 > date.days_in_month()
            }
            Nth(month, weekday, n) => {
                date.month() == month && date.weekday() == weekday && (date.day() - 1) / 7 + 1 == n
            }
        })
    }
}

/// Days since 1970-01-01.
pub(super) fn number(date: Date) -> i64 {
    days_between(Date::constant(1970, 1, 1), date)
}

/// Days from one date to another.
pub(super) fn days_between(from: Date, to: Date) -> i64 {
    to.duration_since(from).as_hours() / 24
}

/// Easter Sunday of the Gregorian calendar (the anonymous algorithm printed in Nature, 20 April 1876).
fn easter(year: i16) -> Date {
    let y = i32::from(year);
    let (a, b, c) = (y % 19, y / 100, y % 100);
    let h = (19 * a + b - b / 4 - (b - (b + 8) / 25 + 1) / 3 + 15) % 30;
    let l = (32 + 2 * (b % 4) + 2 * (c / 4) - h - c % 4) % 7;
    let m = (a + 11 * h + 22 * l) / 451;
    let n = h + l - 7 * m + 114;
    Date::new(year, (n / 31) as i8, (n % 31 + 1) as i8).expect("the algorithm gives days of March and April only")
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn easter_is_right() {
        for (year, month, day) in
            [(1993, 4, 11), (2010, 4, 4), (2024, 3, 31), (2025, 4, 20), (2026, 4, 5), (2038, 4, 25)]
        {
            assert_eq!(easter(year), date(year, month, day));
        }
    }

    #[test]
    fn holidays_follow_the_zone() {
        let holidays = |zone| {
            let calendar = Calendar::of_zone(Some(zone));
            let days = (0..365).map(|n| date(2026, 1, 1).checked_add(jiff::Span::new().days(n)).unwrap());
            days.filter(|day| calendar.is_holiday(*day)).map(|day| day.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            holidays("Europe/Berlin"),
            [
                "2026-01-01",
                "2026-04-03",
                "2026-04-06",
                "2026-05-01",
                "2026-05-14",
                "2026-05-25",
                "2026-10-03",
                "2026-12-25",
                "2026-12-26",
            ]
        );
        assert!(holidays("America/New_York").contains(&"2026-11-26".to_owned()));
        assert!(holidays("Europe/London").contains(&"2026-08-31".to_owned()));
        assert_eq!(holidays("Asia/Tokyo").len(), 2);
    }
}
