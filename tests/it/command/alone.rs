//! Subcommands that need no daemon.

use crate::scene::{Scene, run};

#[test]
fn the_same_seed_invents_the_same_trace() {
    let scene = Scene::new();
    let invent = |seed: &str, out: &str| {
        scene.headstart(&["generate-trace", "--seed", seed, "--users", "6", "--days", "10", "--out", out])
    };
    let printed = invent("5", "-").ok();
    invent("5", "a.csv").ok();
    let read = |name: &str| std::fs::read_to_string(scene.path(name)).expect("it was written");
    assert_eq!(read("a.csv"), printed);
    invent("6", "b.csv").ok();
    assert_ne!(read("b.csv"), printed);
    let mut lines = printed.lines();
    assert_eq!(lines.next(), Some("user,vm,start,end"));
    let users: std::collections::BTreeSet<&str> = lines.filter_map(|row| row.split(',').next()).collect();
    assert!((4..=6).contains(&users.len()), "{users:?}");
}

#[test]
fn a_backtest_has_the_agreed_shape() {
    let scene = Scene::new();
    scene.headstart(&["generate-trace", "--users", "5", "--days", "42", "--out", "t.csv"]).ok();
    let result = scene.headstart(&["backtest", "t.csv", "--json"]).json();
    assert_eq!(result["trace"], "t.csv");
    let policies = result["policies"].as_array().expect("a list");
    let names: Vec<&str> = policies.iter().filter_map(|policy| policy["name"].as_str()).collect();
    let baselines = ["always-on", "on-demand", "weekdays 08-18", "keep-alive 10 min", "keep-alive 60 min", "histogram"];
    assert_eq!(names, [&["headstart"][..], &baselines, &["sliding window"]].concat());
    for policy in policies {
        let name = policy["name"].as_str().expect("a name");
        let points = policy["points"].as_array().expect("a list");
        assert!(!points.is_empty(), "{name}");
        for point in points {
            let number = |key: &str| point[key].as_f64().unwrap_or_else(|| panic!("{name}: {key}: {point}"));
            assert!((0.0..=1.0).contains(&number("hit_rate")), "{name}: {point}");
            for key in ["idle_gpu_hours_per_user_day", "wrong_per_login", "mean_wait_s"] {
                assert!(number(key) >= 0.0, "{name}: {point}");
            }
            assert!(point["cold_logins"].as_u64().is_some_and(|n| n > 10), "{name}: {point}");
            assert!(
                point.get("threshold").is_some_and(|value| value.is_number() || value.is_null()),
                "{name}: {point}"
            );
        }
    }
    assert!(policies[0]["points"].as_array().is_some_and(|curve| curve.len() > 5), "a curve over thresholds");
    let alone = |name: &str, key: &str| {
        let policy = policies.iter().find(|policy| policy["name"] == name).expect("it is there");
        policy["points"][0][key].as_f64().expect("a number")
    };
    assert!(alone("always-on", "hit_rate") > 0.95, "only somebody's very first login is a miss");
    let on_demand = ["hit_rate", "idle_gpu_hours_per_user_day", "mean_wait_s"].map(|key| alone("on-demand", key));
    assert_eq!(on_demand.map(|value| format!("{value}")), ["0", "0", "60"]);
}

#[test]
fn a_backtest_prints_its_table_and_writes_what_it_held() {
    let scene = Scene::new();
    scene.headstart(&["generate-trace", "--users", "4", "--days", "35", "--out", "t.csv"]).ok();
    let options = ["--reservations", "r.csv", "--threshold", "0.05", "--report", "r.html"];
    let table = scene.headstart(&[&["backtest", "t.csv"], &options[..]].concat()).ok();
    for part in ["hit rate", "idle GPU-h/user-day", "headstart", "always-on", "sliding window", "Reliability"] {
        assert!(table.contains(part), "{part}\n{table}");
    }
    let held = std::fs::read_to_string(scene.path("r.csv")).expect("it was written");
    assert!(held.starts_with("user,start,end\nu0"), "{held}");
    let report = std::fs::read_to_string(scene.path("r.html")).expect("it was written");
    assert!(report.starts_with("<!") && report.contains("<svg"), "one page with charts");
    for foreign in ["src=\"http", "href=\"http", "@import", "url(http"] {
        assert!(!report.contains(foreign), "it is readable without a network: {foreign}");
    }
}

#[test]
fn a_trace_that_cannot_be_replayed_is_refused_by_file_and_line() {
    let scene = Scene::new();
    scene.headstart(&["generate-trace", "--users", "3", "--days", "10", "--out", "short.csv"]).ok();
    scene.write("bad.csv", "user,vm,start,end\na,b,2026-02-02T08:00:00Z,2026-02-02T07:00:00Z\n");
    for (arguments, why) in [
        (&["short.csv"][..], "headstart: cannot replay short.csv: the trace is "),
        (&["bad.csv"], "headstart: bad.csv:2: the session ends (2026-02-02T07:00:00Z) before it starts"),
        (&["nowhere.csv"], "headstart: cannot open trace nowhere.csv: No such file or directory"),
    ] {
        let ran = scene.headstart(&[&["backtest"], arguments].concat());
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
        assert!(ran.err.starts_with(why), "{}", ran.err);
    }
    let ran = scene.headstart(&["backtest", "short.csv", "--reservations", "r.csv"]);
    assert!(ran.code == Some(2) && ran.err.contains("--threshold"), "{}", ran.err);
}

#[test]
fn every_shell_has_completions() {
    let scene = Scene::new();
    for (shell, mark) in
        [("bash", "complete -F _headstart"), ("zsh", "#compdef headstart"), ("fish", "complete -c headstart")]
    {
        let script = scene.headstart(&["completions", shell]).ok();
        for part in [mark, "backtest", "preallocation", "skip-bad"] {
            assert!(script.contains(part), "{shell}: {part}");
        }
        // Where the shell is installed, it has to understand its script.
        scene.write("script", &script);
        let mut check = std::process::Command::new(shell);
        let check = check.arg(if shell == "fish" { "--no-execute" } else { "-n" }).arg(scene.path("script"));
        match check.output() {
            Ok(output) => assert!(output.status.success(), "{shell}: {output:?}"),
            Err(_) => eprintln!("{shell} is not installed: its script is not checked"),
        }
    }
    let ran = scene.headstart(&["completions", "tcsh"]);
    assert!(ran.code == Some(2) && ran.err.contains("[possible values: bash, "), "{}", ran.err);
}

#[test]
fn whoever_reads_only_the_beginning_gets_it() {
    let scene = Scene::new();
    let mut shell = std::process::Command::new("bash");
    let headstart = scene.command("headstart");
    shell.arg("-c").arg("set -o pipefail; \"$0\" generate-trace --days 365 | head -n 1").arg(headstart.get_program());
    let ran = run(&mut shell);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "user,vm,start,end\n", ""));
}
