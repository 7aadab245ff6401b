use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;

use expect_test::expect;
use headstart_core::hint::{self, Kind};
use headstart_core::trace::{Row, check_header, parse_row};
use headstart_core::unit::Span;
use jiff::civil::date;

use super::*;

fn text(settings: &Settings) -> String {
    let mut bytes = Vec::new();
    generate(settings, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn rows(settings: &Settings) -> Vec<Row> {
    let text = text(settings);
    let mut lines = text.lines();
    check_header(lines.next().unwrap()).unwrap();
    lines.map(|line| parse_row(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

/// FNV-1a: enough to notice a changed byte.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Weekday of the login on the wall clock, Monday 0.
fn weekday(row: &Row) -> i64 {
    (row.start.unix() + i64::from(row.offset.seconds())).div_euclid(86_400).wrapping_sub(4).rem_euclid(7)
}

#[test]
fn the_trace_is_the_same_for_ever() {
    let text = text(&Settings::default());
    let head: Vec<&str> = text.lines().take(6).collect();
    expect![[r"
        user,vm,start,end
        u020,vm020,2026-01-05T05:43:11+01:00,2026-01-05T09:42:21+01:00
        u006,vm006,2026-01-05T05:49:38+01:00,2026-01-05T10:28:52+01:00
        u027,vm027,2026-01-05T05:50:32+01:00,2026-01-05T07:51:16+01:00
        u014,vm014,2026-01-05T06:31:27+01:00,2026-01-05T07:36:48+01:00
        u018,vm018,2026-01-05T06:59:13+01:00,2026-01-05T15:08:56+01:00
        c4c40dae1765e28a
    "]]
    .assert_eq(&format!("{}\n{:016x}\n", head.join("\n"), fingerprint(&text)));
}

#[test]
fn seeds_differ() {
    let other = Settings { seed: 2, ..Settings::default() };
    assert_ne!(text(&Settings::default()), text(&other));
}

#[test]
fn more_days_and_more_users_only_add() {
    let small = Settings { users: 15, days: 40, ..Settings::default() };
    let short = rows(&small);
    let long = rows(&Settings { days: 60, ..small.clone() });
    assert_eq!(short[..], long[..short.len()]);
    let many = rows(&Settings { users: 80, ..small.clone() });
    let known: BTreeSet<_> = short.iter().map(|row| row.user.clone()).collect();
    assert_eq!(short, many.into_iter().filter(|row| known.contains(&row.user)).collect::<Vec<_>>());
}

#[test]
fn rows_are_sorted_and_nobody_is_at_two_desktops() {
    let rows = rows(&Settings { users: 120, days: 400, ..Settings::default() });
    assert!(rows.is_sorted_by_key(|row| row.start));
    let mut last = BTreeMap::new();
    let mut unknown = 0;
    for row in &rows {
        assert_eq!(row.user.to_string()[1..], row.desktop.to_string()[2..]);
        if let Some(end) = row.end {
            assert!(end - row.start >= Span::seconds(GAP) && end - row.start < Span::hours(16), "{row:?}");
        } else {
            unknown += 1;
        }
        let before = last.insert(row.user.clone(), row.end.unwrap_or(row.start));
        assert!(before.is_none_or(|before| row.start > before), "{row:?} begins before {before:?}");
    }
    let share = f64::from(unknown) / rows.len() as f64;
    assert!((0.01..0.02).contains(&share), "{share} of the ends are unknown");
}

#[test]
fn offices_rest_at_weekends_and_on_holidays() {
    let settings = Settings { users: 200, days: 364, ..Settings::default() };
    let office: BTreeSet<String> = (0..200)
        .filter(|number| Person::new(settings.seed, *number).kind == person::Kind::Office)
        .map(|number| format!("u{:03}", number + 1))
        .collect();
    let rows: Vec<Row> = rows(&settings).into_iter().filter(|row| office.contains(&row.user.to_string())).collect();
    let weekend = rows.iter().filter(|row| weekday(row) >= 5).count();
    assert!(rows.len() > 20_000 && weekend * 50 < rows.len(), "{weekend} of {} at weekends", rows.len());
    let on = |month, day| {
        let day = days_between(date(1970, 1, 1), date(2026, month, day));
        rows.iter().filter(|row| row.start.unix().div_euclid(86_400) == day).count()
    };
    assert!(on(5, 14) < 5 && on(5, 13) > 60, "Ascension Day: {}, the day before: {}", on(5, 14), on(5, 13));
}

#[test]
fn clocks_change_and_habits_stay() {
    let settings = Settings { users: 200, days: 14, start: date(2026, 3, 23), ..Settings::default() };
    let rows = rows(&settings);
    let (winter, summer): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.offset.seconds() == 3600);
    // The clocks changed on Sunday 29 March at 2:00.
    assert!(winter.iter().all(|row| row.start.to_string().as_str() < "2026-03-29T01:00:00Z"));
    assert!(summer.iter().all(|row| row.offset.seconds() == 7200 && row.start.to_string().as_str() >= "2026-03-29T01"));
    let morning = |rows: &[&Row]| {
        let wall = |row: &&Row| (row.start.unix() + i64::from(row.offset.seconds())).rem_euclid(86_400) / 3600;
        rows.iter().filter(|row| weekday(row) < 5 && (6..10).contains(&wall(row))).count() as f64
            / rows.iter().filter(|row| weekday(row) < 5).count() as f64
    };
    assert!((morning(&winter) - morning(&summer)).abs() < 0.06, "{} {}", morning(&winter), morning(&summer));
}

#[test]
fn a_zone_may_skip_midnight_and_a_calendar_ends() {
    // Cairo moves its clocks at midnight; Lord Howe by half an hour.
    for zone in ["Africa/Cairo", "Australia/Lord_Howe", "UTC"] {
        let settings =
            Settings { time_zone: TimeZone::get(zone).unwrap(), users: 30, days: 366, ..Settings::default() };
        assert!(rows(&settings).len() > 5000, "{zone}");
    }
    let error = generate(&Settings { start: date(9999, 12, 20), ..Settings::default() }, &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("84 days from 9999-12-20"), "{error}");
    assert!(parse_zone("Europe/Atlantis").unwrap_err().contains("IANA"));
}

#[test]
fn hints_change_no_session_and_are_told_in_time() {
    let settings = Settings { users: 30, days: 100, ..Settings::default() };
    let mut told = Hints::new(settings.seed, &settings.time_zone, 30);
    let mut bytes = Vec::new();
    generate_with(&settings, &mut bytes, Some(&mut told)).unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), text(&settings));
    let hints = told.finish().unwrap();
    assert!(hints.is_sorted_by_key(|row| row.hint.told));
    let mut out = Vec::new();
    hints::write(&hints, &mut out).unwrap();
    let read: Vec<_> = out.lines().map(Result::unwrap).skip(1).map(|line| hint::parse_row(&line).unwrap()).collect();
    assert_eq!(read, hints);
    let rows = rows(&settings);
    for kind in Kind::ALL {
        let of_kind: Vec<_> = hints.iter().filter(|row| row.hint.kind == kind).collect();
        assert!(!of_kind.is_empty(), "{kind}");
        if matches!(kind, Kind::Badge | Kind::SignIn) {
            let right = |row: &&&hint::Row| {
                let near = |login: &Row| Some(&login.user) == row.subject.as_ref() && login.start >= row.hint.told;
                rows.iter().any(|login| near(login) && login.start - row.hint.told <= Span::minutes(15))
            };
            let share = of_kind.iter().filter(right).count() as f64 / of_kind.len() as f64;
            assert!((0.8..0.99).contains(&share), "{kind}: {share}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    hints::write_calendars(&hints, folder.path()).unwrap();
    let holidays = std::fs::read_to_string(folder.path().join("holiday/all.ics")).unwrap();
    assert_eq!(holidays.matches("BEGIN:VEVENT").count(), hints.iter().filter(|row| row.subject.is_none()).count());
    assert!(folder.path().join("shift").read_dir().unwrap().count() > 1);
}
