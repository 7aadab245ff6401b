//! The screens, of a daemon that has learned from four weeks of logins and stands at the dawn of a Monday.

use std::collections::BTreeSet;

use headstart_tests::daemon::Daemon;
use serde_json::Value;

use crate::scene::{DEADLINE, DEMO_HOST, Scene, start};

/// Four weeks of twelve people; the clock all but stands at Monday, 05:00 in Berlin.
fn learned(scene: &Scene) -> Daemon {
    scene
        .headstart(&[
            "generate-trace",
            "--users",
            "12",
            "--days",
            "30",
            "--out",
            &scene.path("t.csv").to_string_lossy(),
        ])
        .ok();
    let mut command = scene.simulated("mode = \"armed\"\n[forecast]\ntime-zone = \"Europe/Berlin\"\n", DEMO_HOST);
    command.args(["--trace", "t.csv", "--start", "2026-02-02T04:00:00Z", "--speed", "0.001"]);
    let daemon = start(&mut command);
    daemon
        .log()
        .find("that tells of the model", DEADLINE, |line| line.contains("forecast: ") && line.contains("trained until"))
        .expect("enough logins");
    scene.settle();
    daemon
}

/// Asserts that an object has all these keys, and gives back what it holds.
#[track_caller]
fn keys(value: &Value, names: &str) {
    let there: BTreeSet<&str> =
        value.as_object().unwrap_or_else(|| panic!("{value}")).keys().map(String::as_str).collect();
    let want: BTreeSet<&str> = names.split_whitespace().collect();
    assert!(want.is_subset(&there), "{:?} is missing from {there:?}", want.difference(&there));
}

/// Asserts that a text has all of these.
#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing from\n{text}");
    }
}

const GPU_KEYS: &str = "address name partitioning framebuffer_mib used_mib health vgpus creatable";
const DESKTOP_KEYS: &str = "name uuid subject attach_mode priority state gpu device profile confidence next_login today \
                            lead_seconds reason problems";

#[test]
fn every_screen_has_what_a_person_needs() {
    let scene = Scene::new();
    let _daemon = learned(&scene);

    let status = scene.headstart(&["status"]).ok();
    has(
        &status,
        &["armed, simulated hardware", "Mon 2026-02-02 04:00", "Desktops  40:", "Hit rate", "logistic regression"],
    );
    has(&status, &["0000:3b:00.0  NVIDIA A40", "0000:86:00.0  Tesla T4", "of 48 GiB", "Next login", "vm001"]);
    assert!(status.lines().count() <= 30, "one screen:\n{status}");

    let desktops = scene.headstart(&["desktops"]).ok();
    assert_eq!(desktops.lines().count(), 41, "a header and each desktop:\n{desktops}");
    has(&desktops, &["Desktop  State", "Next login", "Profile", "A40-4Q", "vm040"]);

    let gpus = scene.headstart(&["gpus"]).ok();
    has(&gpus, &["0000:3b:00.0  NVIDIA A40  ok", "vfio-variant, equal size", "room for: A40-2Q", "of 49152 MiB given"]);
    has(&gpus, &["foreign  render-legacy", "mixed size, 48 slots"]);

    let explained = scene.headstart(&["explain", "vm001"]).ok();
    has(&explained, &["Desktop    vm001", "Decision ", "Forecast ", "weekdays", "Rule ", "If asked", "Changes by"]);

    let forecast = scene.headstart(&["forecast", "vm001"]).ok();
    has(&forecast, &["vm001 (u001): ", "within 24 h", "%", "▲ now", "likeliest", "Getting ready takes 3 min"]);
    assert!(forecast.lines().all(|line| line.chars().count() <= 120), "it fits the terminal:\n{forecast}");
}

#[test]
fn every_screen_is_there_for_programs() {
    let scene = Scene::new();
    let _daemon = learned(&scene);
    let json = |arguments: &[&str]| scene.headstart(&[arguments, &["--json"]].concat()).json();

    let status = json(&["status"]);
    keys(&status, "host gpus next_logins");
    keys(
        &status["host"],
        "version mode simulated clock rounds model logins hits late misses wasted idle_hours holds problems reserved in_use waiting",
    );
    assert!(status["host"]["clock"].as_str().is_some_and(|clock| clock.starts_with("2026-02-02T04:00:")), "{status}");
    keys(&status["gpus"][0], GPU_KEYS);
    keys(&status["next_logins"][0], "desktop time probability_today state gpu reason prepared");

    let desktops = json(&["desktops"]);
    assert_eq!(desktops.as_array().map(Vec::len), Some(40));
    for desktop in desktops.as_array().expect("a list") {
        keys(desktop, DESKTOP_KEYS);
        assert!(desktop["today"].as_f64().is_some_and(|p| (0.0..=1.0).contains(&p)), "{desktop}");
    }
    let expected =
        desktops.as_array().expect("a list").iter().filter(|desktop| !desktop["next_login"].is_null()).count();
    assert!((6..=12).contains(&expected), "twelve people are known, and most come on a Monday: {expected}");

    let gpus = json(&["gpus"]);
    assert_eq!(gpus.as_array().map(Vec::len), Some(4));
    keys(&gpus[0], GPU_KEYS);
    keys(&gpus[2]["vgpus"][0], "device profile holder state");
    assert_eq!(gpus[2]["vgpus"][0]["state"], "foreign");

    let explained = json(&["explain", "vm001"]);
    keys(&explained, "desktop text");
    assert!(explained["text"].as_str().is_some_and(|text| text.contains("Forecast")), "{explained}");

    let forecast = json(&["forecast", "vm001"]);
    keys(&forecast, "desktop subject state clock start slot_seconds probabilities");
    assert_eq!((forecast["slot_seconds"].as_u64(), forecast["subject"].as_str()), (Some(900), Some("u001")));
    let slots = forecast["probabilities"].as_array().expect("a list");
    assert_eq!(slots.len(), 96, "24 hours");
    assert!(slots.iter().all(|p| p.as_f64().is_some_and(|p| (0.0..=1.0).contains(&p))), "{forecast}");
}
