use super::*;
use crate::hint::{Hint, Kind};
use crate::id::DesktopName;
use crate::trace;

/// People with habits, off and on, from a fixed rule: enough to train on, small enough for a test.
fn small_trace() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut state = 7_u64;
    let mut random = |most: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % most
    };
    for day in 0..70_i64 {
        for user in 0..8_i64 {
            let weekend = (day + 4) % 7 >= 5;
            if random(10) < if weekend { 9 } else { 2 } {
                continue;
            }
            let offset = if user < 5 { 3600 } else { -5 * 3600 };
            let start = 1_262_563_200 + day * 86_400 + (8 + user % 3) * 3600 + random(40) as i64 * 60 - offset;
            let row = |start: i64, end: Option<i64>| {
                let offset = Offset::from_seconds(offset as i32).unwrap();
                let at = |unix: i64| Time::from_unix(unix).rfc3339(offset);
                let end = end.map(at).unwrap_or_default();
                trace::parse_row(&format!("u{user},vm{user},{},{end}", at(start))).unwrap()
            };
            rows.push(row(start, Some(start + 3 * 3600 + random(60) as i64 * 60)));
            if random(3) > 0 {
                let again = start + 5 * 3600;
                rows.push(row(again, if random(2) == 0 { None } else { Some(again + 7200) }));
            }
        }
    }
    rows.sort_by_key(|row| row.start);
    rows
}

fn options(threshold: f64) -> Options {
    // Fewer fits than usual, for the test's sake: the rules are the same.
    Options { threshold: Some(Probability::clamped(threshold)), refit: Span::days(21), ..Options::new("small") }
}

fn replay(rows: &[Row], threshold: f64) -> Outcome {
    run(rows, &options(threshold), &mut |_| {}).unwrap()
}

#[test]
fn a_cut_changes_no_decision_before_it() {
    cut_everywhere(&options(0.04), &[1, 5, 9, 16, 30]);
}

#[test]
fn what_a_group_does_is_not_known_before_it_does_it() {
    let groups = (0..8).map(|user| {
        let name = |text: String| UserName::new(text).unwrap();
        (name(format!("u{user}")), GroupName::new(format!("g{}", user % 3)).unwrap())
    });
    cut_everywhere(&Options { groups: groups.collect(), ..options(0.04) }, &[1, 16]);
}

#[test]
fn a_threshold_that_follows_a_goal_does_not_peek_either() {
    cut_everywhere(&budget(), &[2, 13]);
}

#[test]
fn a_budget_is_kept_about() {
    let outcome = run(&small_trace(), &budget(), &mut |_| {}).unwrap();
    let aimed = &outcome.result.policies[1];
    assert_eq!(aimed.name, "headstart, idle budget 1 h per user-day");
    let idle = aimed.points[0].idle_gpu_hours_per_user_day;
    assert!((0.6..1.5).contains(&idle), "{idle}");
}

#[test]
fn newcomers_are_counted_for_a_fortnight_without_their_first_login() {
    let mut rows = small_trace();
    let from = rows[0].start + Span::days(40);
    rows.retain(|row| row.user.as_str() != "u0" || row.start >= from);
    let first = rows.iter().find(|row| row.user.as_str() == "u0").unwrap().start;
    let new = |row: &&Row| row.user.as_str() == "u0" && row.start < first + Span::days(14);
    let logins = rows.iter().filter(new).count() as u64 - 1;
    assert!(logins > 8, "{logins}");
    let outcome = run(&rows, &options(0.04), &mut |_| {}).unwrap();
    for (name, hits) in [("always-on", 1.0), ("on-demand", 0.0)] {
        let policy = outcome.result.policies.iter().find(|policy| policy.name == name).unwrap();
        let newcomers = policy.points[0].newcomers.unwrap();
        assert_eq!((newcomers.cold_logins, newcomers.hit_rate), (logins, hits), "{name}");
        let idle = newcomers.idle_gpu_hours_per_user_day;
        assert!(if hits > 0.0 { (12.0..24.0).contains(&idle) } else { idle == 0.0 }, "{name}: {idle}");
    }
    let hits = newcomers_hit_at(&outcome.result.policies[0].points, 1.0).unwrap();
    assert!((0.1..1.0).contains(&hits), "{hits}");
}

fn budget() -> Options {
    Options { threshold: None, goal: Some(Goal::IdleBudget(Span::hours(1))), ..options(0.04) }
}

/// Replays the trace whole and cut off so many days before its end.
fn cut_everywhere(options: &Options, days: &[i64]) {
    let rows = small_trace();
    let replay = |rows: &[Row]| run(rows, options, &mut |_| {}).unwrap();
    let whole = replay(&rows);
    let last = rows.last().unwrap().start;
    let mut compared = 0;
    for days_before_the_end in days {
        let cut = last - Span::days(*days_before_the_end) - Span::seconds(12_345);
        let before: Vec<Row> = rows.iter().filter(|row| row.start < cut).cloned().collect();
        let part = replay(&before);
        let lines = |outcome: &Outcome| -> Vec<String> {
            outcome.reservations.iter().filter(|r| r.end < cut).map(Reservation::to_line).collect()
        };
        assert_eq!(lines(&part), lines(&whole), "cut at {cut}");
        compared += lines(&part).len();
    }
    assert!(compared > 50, "{compared} spans are too few to prove anything");
}

#[test]
fn the_future_is_not_looked_at_and_habits_are_learned() {
    let outcome = replay(&small_trace(), 0.04);
    let headstart = &outcome.result.policies[0];
    assert_eq!(headstart.name, "headstart");
    let rates: Vec<f64> = headstart.points.iter().map(|p| p.hit_rate).collect();
    assert!(rates.is_sorted(), "a lower threshold never hits less: {rates:?}");
    assert!(hit_at(&headstart.points, 2.0).unwrap() > 0.3, "{rates:?}");
    assert!(outcome.model.contains("trees on a logistic regression"), "{}", outcome.model);
    let by_name = |name: &str| outcome.result.policies.iter().find(|p| p.name == name).unwrap();
    assert!(by_name("always-on").points[0].hit_rate > 0.99);
    let on_demand = &by_name("on-demand").points[0];
    assert!(on_demand.hit_rate == 0.0 && (on_demand.mean_wait_s - 60.0).abs() < 1e-9);
    let week = outcome.result.week.unwrap();
    assert!(week.rows.iter().all(|row| !row.logins.is_empty()));
    assert!(outcome.result.reliability.iter().all(|bin| (0.0..=1.0).contains(&bin.seen)));
}

#[test]
fn the_written_spans_score_what_the_table_says() {
    let rows = small_trace();
    let outcome = replay(&rows, 0.04);
    // Read back as another program would: wall clock from the text alone.
    let episodes = Episodes::new(&rows, None);
    let held: Vec<gap::Held> = outcome
        .reservations
        .iter()
        .map(|r| {
            let line = r.to_line();
            let mut columns = line.split(',');
            let name = columns.next().unwrap();
            let user = episodes.users.iter().position(|user| user.name.as_str() == name).unwrap();
            let mut wall = || columns.next().unwrap()[..19].parse::<jiff::civil::DateTime>().unwrap();
            let seconds = |at: jiff::civil::DateTime| jiff::tz::TimeZone::UTC.to_timestamp(at).unwrap().as_second();
            gap::Held { user, from: seconds(wall()), to: seconds(wall()), offset: 0 }
        })
        .collect();
    let scored = score::score(&episodes, &held, 0.04, &options(0.04));
    let shown = outcome.result.policies[0].points.iter().find(|p| (p.threshold - 0.04).abs() < 1e-6).unwrap();
    assert_eq!(scored, *shown);
    assert!(scored.hit_rate > 0.1);
}

#[test]
fn a_shared_pool_with_room_for_all_leaves_each_his_own_and_a_small_one_waits() {
    let rows = small_trace();
    let run = |gpus| run(&rows, &Options { gpus: Some(gpus), ..options(0.04) }, &mut |_| {}).unwrap().result;
    let (wide, tight) = (run(8), run(2));
    for policy in &wide.policies {
        for point in &policy.points {
            assert!(point.hit_rate > 0.9 && point.mean_wait_s < 6.0, "{}: {point:?}", policy.name);
            assert!(point.attaches_per_login < 0.1, "{}: {point:?}", policy.name);
        }
    }
    let [wide, tight] = [&wide, &tight].map(|result| &result.policies[0].points);
    for (wide, tight) in wide.iter().zip(tight) {
        assert!(tight.hit_rate < wide.hit_rate - 0.1 && tight.mean_wait_s > 600.0, "{tight:?} {wide:?}");
    }
}

/// A rule that looks like chance: the same for equal numbers.
fn chance(kind: Kind, user: i64, day: i64, of: u32) -> u32 {
    crate::forecast::walk::mix((kind as u64) << 40 ^ (user as u64) << 20 ^ day as u64) % of
}

/// Hints of one kind over the small trace: eight or nine in ten of the days that they speak of, and some wrong ones; or none that has
/// anything to do with it.
fn told(rows: &[Row], kind: Kind, truth: bool) -> Vec<hint::Row> {
    let mut hints = Vec::new();
    let first = rows[0].start.unix().div_euclid(86_400);
    for (user, day) in (0..8_i64).flat_map(|user| (0..70).map(move |day| (user, day))) {
        let offset = if user < 5 { 3600 } else { -5 * 3600 };
        let midnight = Time::from_unix((first + day) * 86_400 - offset);
        let name = UserName::new(format!("u{user}")).unwrap();
        let of_day = |row: &&Row| row.user == name && row.start >= midnight && row.start < midnight + Span::days(1);
        let login = rows.iter().find(of_day).map(|row| row.start);
        let offset = Offset::from_seconds(offset as i32).ok();
        let mut tell = |told: Time, from: Option<Time>, until: Option<Time>| {
            let hint = Hint::new(kind, told, from, until).unwrap();
            hints.push(hint::Row { subject: Some(name.clone()), hint, offset });
        };
        let (noise, lucky) = (chance(kind, user, day, 100), chance(kind, user, day + 1000, 100) < 90);
        let any = midnight + Span::minutes(420 + i64::from(chance(kind, user, day + 2000, 600)));
        let known = midnight - Span::days(1 + i64::from(noise) % 5);
        match (kind, truth) {
            (_, false) if noise < 40 && kind.is_event() => tell(any, None, None),
            (_, false) if noise < 40 => tell(known, Some(any), Some(any + Span::hours(8))),
            (Kind::Leave | Kind::Holiday | Kind::Maintenance, true) => {
                if login.is_none() && lucky || noise < 2 {
                    tell(known, Some(midnight), Some(midnight + Span::days(1)));
                }
            }
            (Kind::Shift | Kind::Booking | Kind::Hours, true) => match login {
                Some(login) if lucky => tell(known, Some(login - Span::minutes(7)), Some(login + Span::hours(4))),
                None if noise < 5 => tell(known, Some(any), Some(any + Span::hours(4))),
                _ => {}
            },
            (_, true) => match login {
                Some(login) if lucky => tell(login - Span::minutes(3 + i64::from(noise) % 9), None, None),
                None if noise < 10 => tell(any, None, None),
                _ => {}
            },
            (_, false) => {}
        }
    }
    hints
}

/// Two groups, each of which comes as a whole or not at all, nobody can tell before; and who is in which.
fn two_groups() -> (Vec<Row>, BTreeMap<UserName, GroupName>) {
    let random = |seed: i64, of: u32| i64::from(crate::forecast::walk::mix(seed as u64) % of);
    let (mut rows, mut groups) = (Vec::new(), BTreeMap::new());
    for user in 0..16_i64 {
        let name = UserName::new(format!("u{user}")).unwrap();
        groups.insert(name.clone(), GroupName::new(format!("g{}", user % 2)).unwrap());
        for day in (0..84_i64).filter(|day| random(user % 2 + 10 * day, 2) == 0) {
            let about = 1000 * day + user;
            if random(about, 10) < 9 {
                let start = Time::from_unix(1_262_563_200 + day * 86_400 + 8 * 3600 + random(about + 500, 120) * 60);
                let (desktop, end) = (DesktopName::new(name.as_str()).unwrap(), Some(start + Span::hours(5)));
                rows.push(Row { user: name.clone(), desktop, start, end, offset: Offset::UTC });
            }
        }
    }
    rows.sort_by_key(|row| row.start);
    (rows, groups)
}

#[test]
fn a_group_that_comes_together_is_foreseen_together() {
    let (rows, groups) = two_groups();
    let hits = |groups: &BTreeMap<UserName, GroupName>| {
        let outcome = run(&rows, &Options { groups: groups.clone(), ..options(0.04) }, &mut |_| {}).unwrap();
        hit_at(&outcome.result.policies[0].points, 0.5).unwrap()
    };
    let (without, with) = (hits(&BTreeMap::new()), hits(&groups));
    assert!(with > without + 0.05, "{with:.3} instead of {without:.3}");
    // People who have nothing to do with each other.
    let others = groups.keys().zip("aabbccdd".chars().cycle());
    let others = others.map(|(user, group)| (user.clone(), GroupName::new(group.to_string()).unwrap())).collect();
    let with = hits(&others);
    assert!((with - without).abs() < 0.05, "{with:.3} instead of {without:.3}");
}

#[test]
fn what_it_is_not_told_it_does_not_use() {
    let (rows, groups) = two_groups();
    let replay = |groups: &BTreeMap<UserName, GroupName>, without: &[Topic]| {
        run(&rows, &Options { groups: groups.clone(), without: without.to_vec(), ..options(0.04) }, &mut |_| {})
            .unwrap()
    };
    let (none, all) = (replay(&BTreeMap::new(), &[]), replay(&groups, &[]));
    assert_ne!(all.reservations, none.reservations);
    // As if there were no groups.
    assert_eq!(replay(&groups, &[Topic::Group]).reservations, none.reservations);
    // And without anything else it knows the hours of the day, and nothing of people.
    let hits = |outcome: &Outcome| hit_at(&outcome.result.policies[0].points, 0.5).unwrap();
    let blind: Vec<Topic> = Topic::ALL.into_iter().filter(|topic| *topic != Topic::Calendar).collect();
    let (blind, none) = (hits(&replay(&groups, &blind)), hits(&none));
    assert!(blind < none - 0.1, "{blind:.3} instead of {none:.3}");
    let bad = "weather".parse::<Topic>().unwrap_err().to_string();
    assert_eq!(
        bad,
        "there is no topic \"weather\"; there are habit, attendance, today, since, others, group, calendar, hints"
    );
}

/// Hit rate at half an idle hour, with these hints.
fn hits(rows: &[Row], hints: Vec<hint::Row>) -> f64 {
    let outcome = run(rows, &Options { hints, ..options(0.04) }, &mut |_| {}).unwrap();
    hit_at(&outcome.result.policies[0].points, 0.5).unwrap()
}

#[test]
fn every_kind_of_hint_carries_weight() {
    let rows = small_trace();
    let without = hits(&rows, Vec::new());
    for kind in Kind::ALL {
        let with = hits(&rows, told(&rows, kind, true));
        assert!(with > without + 0.02, "{kind}: {with:.3} instead of {without:.3}");
    }
}

#[test]
fn noise_carries_none() {
    let rows = small_trace();
    let without = hits(&rows, Vec::new());
    for kind in [Kind::Badge, Kind::Leave, Kind::Shift] {
        let with = hits(&rows, told(&rows, kind, false));
        assert!((with - without).abs() < 0.04, "{kind}: {with:.3} instead of {without:.3}");
    }
}

#[test]
fn hints_are_not_known_before_they_are_told() {
    let rows = small_trace();
    let all = [Kind::Badge, Kind::SignIn, Kind::Leave, Kind::Shift].map(|kind| told(&rows, kind, true)).concat();
    let last = rows.last().unwrap().start;
    let replay = |rows: &[Row], hints: Vec<hint::Row>| {
        let lines = |outcome: Outcome| outcome.reservations;
        lines(run(rows, &Options { hints, ..options(0.04) }, &mut |_| {}).unwrap())
    };
    let whole = replay(&rows, all.clone());
    for days in [2, 9, 20] {
        let cut = last - Span::days(days) - Span::seconds(12_345);
        let before: Vec<Row> = rows.iter().filter(|row| row.start < cut).cloned().collect();
        let known = all.iter().filter(|row| row.hint.told < cut).cloned().collect();
        let early = |all: &[Reservation]| all.iter().filter(|r| r.end < cut).cloned().collect::<Vec<_>>();
        assert!(early(&whole).len() > 50);
        assert_eq!(early(&replay(&before, known)), early(&whole), "cut at {cut}");
    }
    // And they matter, so that there was something to peek at.
    let none = replay(&rows, Vec::new());
    assert_ne!(whole, none);
    let deaf = Options { hints: all, without: vec![Topic::Hints], ..options(0.04) };
    assert_eq!(run(&rows, &deaf, &mut |_| {}).unwrap().reservations, none);
}

#[test]
fn a_reservation_for_an_event_begins_with_the_event() {
    let rows = small_trace();
    let hints = told(&rows, Kind::Badge, true);
    let held = run(&rows, &Options { hints: hints.clone(), ..options(0.3) }, &mut |_| {}).unwrap().reservations;
    let begins =
        |r: &&Reservation| hints.iter().any(|row| row.subject.as_ref() == Some(&r.user) && row.hint.told == r.start);
    let n = held.iter().filter(begins).count();
    assert!(n > 100, "{n} of {}", held.len());
}
