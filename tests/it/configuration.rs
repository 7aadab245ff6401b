//! Mistakes in what an administrator writes: which file, which line, what was probably meant; exit status 78.

use expect_test::{Expect, expect};

use crate::scene::{DEMO_HOST, Ran, Scene, run};

/// `EX_CONFIG`, on which the unit does not restart.
const BAD_CONFIGURATION: Option<i32> = Some(78);

/// Starts the daemon with this configuration, which must be refused with exactly these words.
#[track_caller]
fn refused(config: &str, complaint: &Expect) {
    let scene = Scene::new();
    let ran = run(scene.simulated(config, DEMO_HOST).env("HEADSTART_LOG", "off"));
    complaint.assert_eq(&ran.err);
    assert_eq!((ran.code, ran.out.as_str()), (BAD_CONFIGURATION, ""));
    assert!(!scene.path("history.db").exists(), "nothing is begun with a configuration that is not understood");
}

#[test]
fn an_unknown_key_is_named_with_the_one_that_was_probably_meant() {
    refused(
        "mode = \"armed\"\n\n[policy]\ntake = 0.1\nminimum-hld = \"5 min\"\n",
        &expect![[r#"
            headstart.toml:5:1: unknown key `minimum-hld` in [policy]; did you mean `minimum-hold`?
        "#]],
    );
}

#[test]
fn a_value_of_the_wrong_kind_is_named_with_what_was_expected() {
    refused(
        "[forecast]\nrefit-at = 3\n",
        &expect![[r#"
            headstart.toml:2:12: forecast.refit-at: expected a time of day such as "03:00", found 3
        "#]],
    );
}

#[test]
fn all_mistakes_of_a_file_are_named_at_once() {
    refused(
        "mod = \"armed\"\n[policy]\ntake = 6\n[[desktop]]\nname = \"win-*\"\nattach = \"hot\"\n",
        &expect![[r#"
            headstart.toml:1:1: unknown key `mod`; did you mean `mode`?
            headstart.toml:3:8: policy.take: expected a probability from 0 to 1, found 6
            headstart.toml:6:10: desktop.attach: expected "cold", "live" or "request", found "hot"
        "#]],
    );
}

#[test]
fn what_is_no_toml_is_named_with_its_line() {
    refused(
        "mode = \"armed\"\n[policy\n",
        &expect![[r#"
            headstart.toml:2:8: unclosed table, expected `]`
        "#]],
    );
}

#[test]
fn a_missing_file_is_named() {
    let scene = Scene::new();
    for more in [&["--check-config"][..], &["--simulate", DEMO_HOST]] {
        let ran = run(scene.command("headstartd").args(["--config", "nowhere.toml"]).args(more));
        assert_eq!(ran.code, BAD_CONFIGURATION);
        assert_eq!(ran.err, "nowhere.toml: cannot be read: No such file or directory (os error 2)\n");
    }
    let ran = run(&mut scene.simulated("", "nowhere.toml"));
    assert_eq!(ran.code, BAD_CONFIGURATION);
    assert_eq!(ran.err, "nowhere.toml: cannot be read: No such file or directory (os error 2)\n");
}

#[test]
fn the_merged_configuration_is_printed_whole_and_reads_back_the_same() {
    let scene = Scene::new();
    let check = |file: &str| run(scene.command("headstartd").args(["--check-config", "--config", file]));
    scene.write(
        "mine.toml",
        "mode = \"armed\"\n[policy]\ntake = 0.2\n[[desktop]]\nname = \"win-*\"\nprofile = \"A40-8Q\"\n",
    );
    let merged = check("mine.toml").ok();
    let table: toml::Table = merged.parse().expect("it is TOML");
    assert_eq!(table["mode"].as_str(), Some("armed"));
    assert_eq!(table["policy"]["take"].as_float(), Some(0.2));
    assert_eq!(table["policy"]["grace"].as_str(), Some("10 min"), "defaults are filled in");
    assert_eq!(table["desktop"][0]["profiles"][0].as_str(), Some("A40-8Q"));
    scene.write("merged.toml", &merged);
    let again: toml::Table = check("merged.toml").ok().parse().expect("it is TOML");
    assert_eq!(again, table);
    assert!(!scene.path("history.db").exists(), "a check changes nothing");
}

#[test]
fn a_simulation_of_a_profile_that_no_gpu_has_is_refused_by_name_and_line() {
    let scene = Scene::new();
    let host = std::fs::read_to_string(DEMO_HOST).expect("it is in the repository");
    let wrong = host.replace("profile = \"V710-1/4\"\nboot", "profile = \"V710-1/3\"\nboot");
    assert_ne!(host, wrong);
    let line = 1 + wrong.lines().position(|line| line.contains("V710-1/3")).expect("it was put in");
    scene.write("host.toml", wrong);
    let ran = run(&mut scene.simulated("", "host.toml"));
    assert_eq!(ran.code, BAD_CONFIGURATION);
    let complaint = format!(
        "host.toml:{line}:11: domain vm035 names profile V710-1/3, which no GPU of this host offers; did you mean `V710-1/4`?\n"
    );
    assert_eq!(ran.err, complaint);
}

#[test]
fn a_trace_with_a_bad_row_is_refused_by_line_and_nothing_of_it_is_learned() {
    let scene = Scene::new();
    let good = "u001,vm001,2026-02-02T08:00:00+01:00,2026-02-02T16:00:00+01:00\n";
    for (bad, complaint) in [
        (
            "u002,vm002,2026-02-02T08:00:00,\n",
            "start \"2026-02-02T08:00:00\" is not an RFC 3339 time with UTC offset, such as 2010-03-29T08:00:00+02:00 \
             (it has no UTC offset)",
        ),
        (
            "u002,vm002,2026-02-02T08:00:00Z,2026-02-02T07:00:00Z\n",
            "the session ends (2026-02-02T07:00:00Z) before it starts (2026-02-02T08:00:00Z)",
        ),
        ("u002,vm002\n", "2 columns where 4 are needed: user,vm,start,end"),
    ] {
        scene.write("trace.csv", format!("user,vm,start,end\n{good}{bad}{good}"));
        let ran: Ran = run(scene.simulated("", DEMO_HOST).args(["--trace", "trace.csv"]));
        assert_eq!(ran.code, Some(1));
        assert_eq!(ran.err, format!("headstartd: trace.csv:3: {complaint}\n"));
        assert!(!scene.path("history.db").exists(), "no history is begun with half a trace");
    }
    scene.write("trace.csv", "vm,user\n");
    let ran = run(scene.simulated("", DEMO_HOST).args(["--trace", "trace.csv"]));
    let complaint = "is not a whole trace: line 1: the first line must be `user,vm,start,end`, not \"vm,user\"";
    assert_eq!(ran.err, format!("headstartd: trace.csv: {complaint}\n"));
}
