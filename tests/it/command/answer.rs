//! What asks the daemon for something: the answer, the exit status, and what comes of it.

use std::process::Stdio;

use headstart_tests::lines::Lines;
use headstart_tests::process::Guarded;
use serde_json::{Value, json};

use crate::scene::{DEADLINE, DEMO_HOST, Scene, eventually, start};

fn armed(scene: &Scene) -> headstart_tests::daemon::Daemon {
    let config = "mode = \"armed\"\n[policy]\nminimum-hold = \"30 s\"\n";
    start(scene.simulated(config, DEMO_HOST).args(["--speed", "120"]))
}

#[test]
fn a_request_is_answered_in_words_and_by_exit_status() {
    let scene = Scene::new();
    let _daemon = armed(&scene);
    let answer = scene.headstart(&["request", "vm001"]).ok();
    assert!(answer.starts_with("vm001: on-demand, A40-4Q on 0000:3b:00.0, ready in 3 min\n"), "{answer}");
    scene.wait_for_state("vm001", &["ready"]);
    let answer = scene.headstart(&["request", "vm001", "--json"]).json();
    assert_eq!(
        (&answer["desktop"], &answer["way"], &answer["gpu"], &answer["profile"], &answer["wait_seconds"]),
        (&json!("vm001"), &json!("reserved"), &json!("0000:3b:00.0"), &json!("A40-4Q"), &json!(0))
    );
    assert!(answer["confidence"].is_number() && answer["reason"].is_string(), "{answer}");

    let ran = scene.headstart(&["request", "vm002", "--preallocation", "require"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(3), ""));
    assert!(ran.out.starts_with("vm002: refused\nonly a reservation was accepted, and there is none: "), "{}", ran.out);
    let ran = scene.headstart(&["request", "vm002", "--preallocation", "require", "--json"]);
    let answer: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(
        (ran.code, &answer["way"], &answer["gpu"], &answer["wait_seconds"]),
        (Some(3), &json!("refused"), &json!(null), &json!(null))
    );

    let released = scene.headstart(&["release", "vm001"]).ok();
    assert_eq!(released, "vm001: nothing is asked for it any longer\n");
    scene.wait_for_state("vm001", &["off"]);
    assert_eq!(scene.headstart(&["release", "vm001", "--json"]).json(), json!({ "done": true }));
    assert_eq!(scene.headstart(&["reconcile"]).ok(), "headstartd looks at the host again\n");
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    let scene = Scene::new();
    let _daemon = armed(&scene);
    for arguments in [&["explain", "vm1"][..], &["forecast", "vm1"], &["request", "vm1"], &["release", "vm1"]] {
        let ran = scene.headstart(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{arguments:?}");
        assert!(ran.err.starts_with("headstart: no desktop \"vm1\" is managed here; nearest: vm0"), "{}", ran.err);
    }
    let ran = scene.headstart(&["explain", "zebra"]);
    assert_eq!(ran.err, "headstart: no desktop \"zebra\" is managed here; `headstart desktops` lists all 40\n");
    let ran = scene.headstart(&["request", "vm001", "--profile", "A40-9Q"]);
    assert!(
        ran.code == Some(1) && ran.err.contains("no GPU here has the profile \"A40-9Q\"; there are: A40-2Q, "),
        "{ran:?}"
    );
    let ran = scene.headstart(&["request", "render-legacy"]);
    assert!(ran.code == Some(1) && ran.err.contains("that headstart does not manage"), "{ran:?}");
    let ran = scene.headstart(&["reqest", "vm001"]);
    assert!(ran.code == Some(2) && ran.err.contains("'request'"), "{ran:?}");
}

#[test]
fn a_hold_lasts_as_long_as_its_command() {
    let scene = Scene::new();
    let _daemon = armed(&scene);
    let mut hold = scene.command("headstart");
    hold.args(["hold", "driver update"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut hold = Guarded::start(&mut hold).expect("it was built");
    let mut output = Lines::of(hold.child().stdout.take().expect("it is piped"));
    let line = output.next(DEADLINE).expect("it says that it holds");
    assert_eq!(line, "hold 1: nothing on the host is changed until Ctrl-C");
    scene.headstart(&["request", "vm001"]).ok();
    scene.settle();
    let status = scene.headstart(&["status", "--json"]).json();
    assert_eq!(status["host"]["holds"][0]["reason"], "driver update");
    assert!(scene.headstart(&["status"]).ok().contains("driver update"), "whoever wonders why nothing happens is told");
    assert_eq!(scene.property("/desktop/vm001", "Desktop", "Device"), "");

    hold.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(hold.wait(DEADLINE).expect("it ends").code(), Some(0));
    scene.wait_for_state("vm001", &["ready"]);
    let ran = scene.headstart(&["hold", "short", "--", "sh", "-c", "exit 7"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(7), ""), "it ends as its command does");
}

#[test]
fn watch_tells_decisions_and_changes_line_by_line() {
    let scene = Scene::new();
    let _daemon = armed(&scene);
    let mut watch = scene.command("headstart");
    watch.args(["watch", "--json"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut watch = Guarded::start(&mut watch).expect("it was built");
    let mut complaints = Lines::of(watch.child().stderr.take().expect("it is piped"));
    let begins = complaints.next(DEADLINE).expect("it says that it follows");
    assert!(begins.starts_with("following headstartd on the bus at unix:path="), "{begins}");
    scene.headstart(&["request", "vm001"]).ok();
    let mut seen = Vec::new();
    let mut lines = Lines::of(watch.child().stdout.take().expect("it is piped"));
    while !seen.iter().any(|event: &Value| event["event"] == "decision" && event["what"] == "ready") {
        let line = lines.next(DEADLINE).expect("it becomes ready");
        seen.push(serde_json::from_str(&line).expect("a line is JSON"));
    }
    let decisions: Vec<&str> =
        seen.iter().filter(|event| event["event"] == "decision").filter_map(|event| event["what"].as_str()).collect();
    assert_eq!(decisions, ["request", "on demand", "ready"]);
    eventually("the history has them too", || {
        let rows = scene.call("Decisions", &["su", "vm001", "9"]);
        let what: Vec<&str> = rows.as_array().into_iter().flatten().filter_map(|row| row[2].as_str()).collect();
        if what == ["ready", "on demand", "request"] { Ok(()) } else { Err(rows.to_string()) }
    });
}

#[test]
fn a_desktop_is_what_its_metadata_says_now() {
    let scene = Scene::new();
    let _daemon = armed(&scene);
    let said = scene.headstart(&["desktop", "set", "vm001", "priority=7", "attach=request", "profiles=A40-8Q"]).ok();
    assert!(
        said.starts_with("vm001: its metadata says now: user=u001 profiles=A40-8Q attach=request priority=7"),
        "{said}"
    );
    eventually("the loop goes by it", || {
        let priority = scene.property("/desktop/vm001", "Desktop", "Priority");
        let mode = scene.property("/desktop/vm001", "Desktop", "AttachMode");
        if (&priority, &mode) == (&json!(7), &json!("request")) { Ok(()) } else { Err(format!("{priority} {mode}")) }
    });
    let shown = scene.headstart(&["desktop", "show", "vm001", "--json"]).json();
    assert_eq!((&shown["effective"]["profiles"], &shown["metadata"]["profiles"]), (&json!("A40-8Q"), &json!("A40-8Q")));
    let ran = scene.headstart(&["desktop", "set", "vm999", "priority=7"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), "headstart: there is no domain vm999 on this host\n"));
    let gpus = scene.headstart(&["gpus", "--adopt"]).ok();
    assert!(gpus.starts_with("# There is no GPU here that headstart could have and has not.\n"), "{gpus}");
}

#[test]
fn what_is_told_is_listed_and_outlives_the_daemon() {
    let scene = Scene::new();
    let daemon = armed(&scene);
    assert_eq!(scene.headstart(&["hint", "vm001", "badge"]).ok(), "vm001: badge was told\n");
    let far = ["hint", "vm002", "leave", "--from", "2030-05-06T00:00:00Z", "--until", "2030-05-08T00:00:00Z"];
    scene.headstart(&far).ok();
    let kinds = |listed: &Value| -> Vec<String> {
        let listed = listed.as_array().expect("a list").iter();
        listed
            .map(|hint| format!("{} {}", hint["desktop"].as_str().unwrap_or("?"), hint["kind"].as_str().unwrap_or("?")))
            .collect()
    };
    let all = eventually("both are listed", || {
        let listed = scene.headstart(&["hints", "--json"]).json();
        if kinds(&listed).len() == 2 { Ok(listed) } else { Err(listed.to_string()) }
    });
    assert_eq!(kinds(&scene.headstart(&["hints", "vm002", "--json"]).json()), ["vm002 leave"]);
    drop(daemon);
    let _daemon = armed(&scene);
    let again = eventually("both are listed again", || {
        let listed = scene.headstart(&["hints", "--json"]).json();
        if kinds(&listed).len() == 2 { Ok(listed) } else { Err(listed.to_string()) }
    });
    assert_eq!(again, all);
    let file = scene.headstart(&["hints", "--csv"]).ok();
    assert!(file.starts_with("subject,kind,told,from,until\n") && file.lines().count() == 3, "{file}");

    let refused = scene.headstart(&["hint", "vm001", "tea"]);
    assert!(refused.err.contains("\"tea\" is no kind of hint; there are: badge"), "{}", refused.err);
    let refused = scene.headstart(&["hint", "nobody", "badge"]);
    assert!(refused.err.contains("no desktop \"nobody\" is managed here"), "{}", refused.err);
    let refused = scene.headstart(&["hint", "vm001", "leave", "--from", "2030-05-06", "--until", "2030-05-05"]);
    assert!(refused.err.contains("leave: it ends"), "{}", refused.err);
}

/// A calendar with one event every day.
fn every_day(hours: &str) -> String {
    let event =
        format!("BEGIN:VEVENT\r\nUID:1\r\nDTSTAMP:20200101T000000Z\r\n{hours}\r\nRRULE:FREQ=DAILY\r\nEND:VEVENT\r\n");
    format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//x//EN\r\n{event}END:VCALENDAR\r\n")
}

#[test]
fn calendars_and_hours_are_told_and_a_broken_calendar_is_a_problem() {
    let scene = Scene::new();
    let shifts = scene.write("shifts.ics", every_day("DTSTART:20200101T060000Z\r\nDTEND:20200101T140000Z"));
    let config = format!(
        "mode = \"armed\"\n[policy]\npoll = \"1 s\"\n[[calendar]]\npath = \"{}\"\nkind = \"shift\"\nuser = \"u001\"\n\
         [[desktop]]\nname = \"vm002\"\nhours = \"Mon-Sun 08:00-17:00\"\n",
        shifts.display()
    );
    let _daemon = start(scene.simulated(&config, DEMO_HOST).args(["--speed", "120"]));
    let told = |desktop: &str, kind: &str| {
        eventually(&format!("{desktop} is told of {kind}"), || {
            scene.settle();
            let listed = scene.headstart(&["hints", desktop, "--json"]).json();
            let hint = listed.as_array().and_then(|all| all.iter().find(|hint| hint["kind"] == kind).cloned());
            hint.ok_or_else(|| listed.to_string())
        })
    };
    let from = told("vm001", "shift")["from"].as_str().expect("a time").to_owned();
    assert!(from.contains("06:00:00"), "{from}");
    let from = told("vm002", "hours")["from"].as_str().expect("a time").to_owned();
    assert!(from.contains("08:00:00"), "{from}");
    assert_eq!(scene.headstart(&["hints", "vm003", "--json"]).json(), json!([]), "nobody spoke of it");

    scene.write("shifts.ics", "BEGIN:NONSENSE");
    let problem = eventually("the broken calendar is a problem", || {
        scene.settle();
        let problems = scene.property("/host", "Host", "Problems").to_string();
        if problems.contains("shifts.ics") { Ok(problems) } else { Err(problems) }
    });
    assert!(problem.contains("its last good reading stays in force"), "{problem}");
    let listed = scene.headstart(&["hints", "vm001", "--json"]).json();
    let taken_back = |hint: &Value| hint["from"] == hint["until"];
    assert!(!listed.as_array().expect("a list").iter().any(taken_back), "nothing is taken back for that: {listed}");
}

#[test]
fn a_desktop_belongs_to_a_group() {
    let scene = Scene::new();
    let _daemon = armed(&scene);
    let said = scene.headstart(&["desktop", "set", "vm001", "group=design"]).ok();
    assert!(said.contains("group=design"), "{said}");
    let shown = scene.headstart(&["desktop", "show", "vm001", "--json"]).json();
    assert_eq!((&shown["metadata"]["group"], &shown["effective"]["group"]), (&json!("design"), &json!("design")));
    let refused = scene.headstart(&["desktop", "set", "vm001", &format!("group={}", "x".repeat(101))]);
    assert!(refused.err.contains("is not valid: it is longer than 100 bytes"), "{}", refused.err);
    scene.headstart(&["desktop", "set", "vm001", "group="]).ok();
    let shown = scene.headstart(&["desktop", "show", "vm001", "--json"]).json();
    assert_eq!(shown["metadata"]["group"], Value::Null);
}
