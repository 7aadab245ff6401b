use std::collections::BTreeMap;

use headstart_core::backtest::result::{Point, PolicyResult, ReliabilityBin, Week, WeekRow};
use headstart_core::id::UserName;
use headstart_core::trace::{Row, parse_row};
use headstart_core::unit::{Probability, Span, Time};

use super::*;
use crate::generate::{Settings, generate};

fn point(threshold: f64, hit_rate: f64, hours: f64) -> Point {
    Point {
        threshold,
        hit_rate,
        idle_gpu_hours_per_user_day: hours,
        wrong_per_login: hours * 0.31,
        mean_wait_s: (1.0 - hit_rate) * 38.0,
        cold_logins: 6482,
        attaches_per_login: hit_rate + hours * 0.2,
        newcomers: None,
    }
}

fn policy(name: &str, points: &[(f64, f64, f64)]) -> PolicyResult {
    let points = points.iter().map(|(threshold, hits, hours)| point(*threshold, *hits, *hours)).collect();
    PolicyResult { name: name.to_owned(), points }
}

fn wall(row: &Row, time: Time) -> Time {
    time + Span::seconds(i64::from(row.offset.seconds()))
}

/// What a backtest of a generated trace looks like: real sessions, invented scores.
fn sample() -> BacktestResult {
    let mut bytes = Vec::new();
    generate(&Settings::default(), &mut bytes).unwrap();
    let rows: Vec<Row> =
        String::from_utf8(bytes).unwrap().lines().skip(1).map(|line| parse_row(line).unwrap()).collect();
    let mut heat = [[0; 24]; 7];
    let monday = Time::from_unix(1_771_200_000); // 2026-02-16
    let mut week: BTreeMap<UserName, WeekRow> = BTreeMap::new();
    for (i, row) in rows.iter().enumerate() {
        let start = wall(row, row.start);
        let (day, hour) = ((start.unix().div_euclid(86_400) + 3).rem_euclid(7), start.unix().rem_euclid(86_400) / 3600);
        heat[day as usize][hour as usize] += 1;
        if start < monday || start >= monday + Span::days(7) {
            continue;
        }
        let name = row.user.clone();
        let of_user =
            week.entry(name.clone()).or_insert(WeekRow { user: name, sessions: vec![], held: vec![], logins: vec![] });
        let is_hit = i % 10 < 7;
        of_user.sessions.push((start, row.end.map_or(start + Span::minutes(45), |end| wall(row, end))));
        of_user.logins.push((start, is_hit));
        if is_hit {
            of_user.held.push((start - Span::minutes(15 + (i as i64 * 7) % 60), start));
        } else if i % 3 == 0 {
            of_user.held.push((start - Span::hours(3), start - Span::minutes(80)));
        }
    }
    BacktestResult {
        trace: "demo.csv.gz".to_owned(),
        users: 40,
        sessions: rows.len() as u64,
        scored: (Time::from_unix(1_769_990_400), Time::from_unix(1_774_828_800)),
        managed_user_days: 2083.4,
        gpus: None,
        policies: vec![
            policy(
                "headstart",
                &[
                    (0.9, 0.04, 0.03),
                    (0.7, 0.11, 0.09),
                    (0.5, 0.24, 0.24),
                    (0.4, 0.33, 0.4),
                    (0.3, 0.45, 0.72),
                    (0.22, 0.55, 1.1),
                    (0.15, 0.66, 1.74),
                    (0.1, 0.76, 2.7),
                    (0.06, 0.85, 4.2),
                    (0.03, 0.93, 6.8),
                    (0.015, 0.97, 10.1),
                    (0.005, 0.995, 15.2),
                ],
            ),
            policy("always-on", &[(0.0, 1.0, 18.6)]),
            policy("on-demand", &[(0.0, 0.0, 0.0)]),
            policy("schedule 08-18", &[(0.0, 0.68, 4.9)]),
            policy("keep-alive 10 min", &[(0.0, 0.07, 0.19)]),
            policy("keep-alive 60 min", &[(0.0, 0.34, 0.95)]),
            policy(
                "histogram",
                &[(0.3, 0.31, 0.8), (0.2, 0.42, 1.4), (0.1, 0.55, 2.6), (0.05, 0.71, 4.9), (0.01, 0.88, 9.9)],
            ),
            policy("sliding window", &[(1.0, 0.36, 1.0), (2.0, 0.47, 1.9), (4.0, 0.6, 3.8), (6.0, 0.72, 6.0)]),
            policy("same time last week", &[(0.0, 0.38, 1.6)]),
            policy("per-user mean", &[(0.0, 0.44, 2.2)]),
        ],
        reliability: [
            (0.0007, 0.0009, 812_345),
            (0.002, 0.0018, 91_000),
            (0.005, 0.0046, 60_400),
            (0.012, 0.014, 33_000),
            (0.03, 0.028, 18_200),
            (0.07, 0.075, 9100),
            (0.14, 0.13, 4300),
            (0.26, 0.28, 1510),
            (0.44, 0.4, 377),
            (0.68, 0.55, 40),
        ]
        .map(|(predicted, seen, n)| ReliabilityBin { predicted, seen, n })
        .to_vec(),
        predicted_over_seen: 0.982,
        months: Vec::new(),
        skills: Vec::new(),
        heat,
        week: Some(Week {
            start: monday,
            end: monday + Span::days(7),
            threshold: Probability::clamped(0.15),
            rows: week.into_values().collect(),
        }),
    }
}

fn html(result: &BacktestResult) -> String {
    let mut bytes = Vec::new();
    write_html(result, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// The page as XML: everything a browser might stumble over is an error here.
fn check(page: &str) {
    let xml = page.strip_prefix("<!DOCTYPE html>\n").unwrap();
    let document = roxmltree::Document::parse(xml).unwrap_or_else(|error| panic!("not well-formed: {error}"));
    for node in document.descendants().filter(roxmltree::Node::is_element) {
        assert!(!["script", "link", "img", "iframe", "object"].contains(&node.tag_name().name()), "{node:?}");
        for attribute in node.attributes() {
            assert!(!["href", "src", "srcset"].contains(&attribute.name()), "{node:?}");
            if ["x", "y", "width", "height", "cx", "cy", "r", "d", "viewBox", "fill-opacity"]
                .contains(&attribute.name())
            {
                let words = attribute.value().to_lowercase();
                assert!(!words.contains("nan") && !words.contains("inf"), "{node:?}");
            }
            if ["width", "height", "r"].contains(&attribute.name()) && node.tag_name().name() != "meta" {
                assert!(attribute.value().parse::<f64>().unwrap() >= 0.0, "{node:?}");
            }
        }
        if let Some(text) = node.text() {
            let words = || text.split(|c: char| !c.is_alphanumeric());
            assert!(words().all(|word| !["NaN", "inf", "Infinity"].contains(&word)), "{text}");
        }
    }
    assert!(!page.contains("url(") && !page.contains("@import") && !page.contains("http:") && !page.contains("https:"));
    assert!(document.descendants().filter(|n| n.has_tag_name("svg") && n.attribute("role") == Some("img")).all(
        |svg| { svg.children().any(|n| n.has_tag_name("title")) && svg.children().any(|n| n.has_tag_name("desc")) }
    ));
}

#[test]
fn a_usual_result_is_told_and_drawn() {
    let page = html(&sample());
    // To look at it: HEADSTART_REPORT=/tmp/report.html cargo test
    if let Some(path) = std::env::var_os("HEADSTART_REPORT") {
        std::fs::write(path, &page).unwrap();
    }
    check(&page);
    assert!(page.contains("had the GPU ready for <strong>66 %</strong> of logins"), "{page}");
    assert!(page.contains("the best baseline that costs no more, histogram (1.40), for <strong>42 %</strong>"));
    assert!(page.contains("To do as well without headstart takes 4.90 GPU-hours per user and day (schedule 08-18)"));
    for name in sample().policies.iter().map(|policy| &policy.name) {
        assert_eq!(page.matches(&format!(">{name}</text>")).count(), 2, "{name} is not labelled in both sizes");
    }
}

/// A picture that needs no page around it: how many elements of each class.
#[track_caller]
fn standing_alone(picture: Vec<u8>) -> impl Fn(&str) -> usize {
    let picture = String::from_utf8(picture).unwrap();
    let document = roxmltree::Document::parse(&picture).unwrap();
    let root = document.root_element();
    assert_eq!(root.tag_name().namespace(), Some("http://www.w3.org/2000/svg"));
    assert_eq!(root.children().find(|n| n.has_tag_name("title")).unwrap().text().unwrap().matches("<a&b>").count(), 1);
    // Every colour that it uses is defined in it, for light and dark.
    for name in picture.split("var(").skip(1).map(|rest| rest.split(')').next().unwrap()) {
        assert!(picture.matches(&format!("{name}: #")).count() >= 2, "{name}");
    }
    let classes: Vec<String> =
        document.descendants().filter_map(|node| node.attribute("class")).map(str::to_owned).collect();
    move |class| classes.iter().filter(|of| *of == class).count()
}

#[test]
fn the_reliability_diagram_stands_alone() {
    let mut result = sample();
    result.trace = "<a&b>.csv".to_owned();
    let mut picture = Vec::new();
    write_reliability(&result, &mut picture).unwrap();
    let of = standing_alone(picture);
    assert_eq!((of("dot"), of("ground")), (10, 1));
    result.reliability.clear();
    assert!(write_reliability(&result, &mut Vec::new()).unwrap_err().to_string().starts_with("no forecast was scored"));
}

#[test]
fn the_trade_off_stands_alone() {
    let mut result = sample();
    result.trace = "<a&b>.csv".to_owned();
    let mut picture = Vec::new();
    write_trade_off(&result, &mut picture).unwrap();
    assert!(result.policies.iter().all(|policy| String::from_utf8_lossy(&picture).contains(&policy.name)));
    let of = standing_alone(picture);
    assert_eq!(of("ground"), 1);
    assert!(of("line") > 1);
}

#[test]
fn nothing_is_drawn_from_nothing() {
    let mut result = sample();
    result.week = None;
    result.reliability.clear();
    result.predicted_over_seen = f64::NAN;
    result.heat = [[0; 24]; 7];
    result.policies = vec![policy("headstart", &[]), policy("always-on", &[])];
    result.managed_user_days = 0.0;
    let page = html(&result);
    check(&page);
    assert!(page.contains("Nothing was scored") && page.contains("no logins") && page.contains("no whole week"));

    result.policies.clear();
    check(&html(&result));
}

#[test]
fn numbers_that_are_none_do_not_break_the_picture() {
    let mut result = sample();
    for policy in &mut result.policies {
        for point in &mut policy.points {
            *point = Point {
                hit_rate: f64::NAN,
                mean_wait_s: f64::INFINITY,
                wrong_per_login: f64::NAN,
                cold_logins: 0,
                ..*point
            };
        }
    }
    result.policies[1].points[0].idle_gpu_hours_per_user_day = f64::INFINITY;
    result.reliability = vec![
        ReliabilityBin { predicted: 0.0, seen: f64::NAN, n: 0 },
        ReliabilityBin { predicted: 0.0, seen: 0.0, n: 1 },
    ];
    let week = result.week.as_mut().unwrap();
    week.end = week.start;
    let page = html(&result);
    check(&page);
    assert!(page.contains("no login after the first four weeks"));
}

#[test]
fn hostile_names_stay_text() {
    let mut result = sample();
    result.trace = "</title><script>alert(\"1\")</script>&'\u{1}.csv".to_owned();
    result.policies[1].name = "<b onclick='x'>&amp;".to_owned();
    result.week.as_mut().unwrap().rows[0].user = UserName::new("<svg/onload=alert(1)>").unwrap();
    let page = html(&result);
    check(&page);
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script") && !page.contains("<svg/onload"));
}
