//! Which way a request goes, what it answers, and what comes of it.

use serde_json::{Value, json};

use crate::scene::{DEADLINE, DEMO_HOST, Scene, eventually, start};

/// 45 s of booting in less than half a second.
const SPEED: [&str; 2] = ["--speed", "120"];

/// Reservations are kept for 10 minutes by default, and tests do not wait so long.
const CONFIG: &str = "mode = \"armed\"\n[policy]\nminimum-hold = \"30 s\"\n";

fn armed(scene: &Scene) -> headstart_tests::daemon::Daemon {
    let mut command = scene.simulated(CONFIG, DEMO_HOST);
    start(command.args(SPEED).args(["--simulate-state", "state.json"]))
}

/// Asks for a desktop with these options, each as name, type and value.
#[track_caller]
fn request(scene: &Scene, desktop: &str, options: &[&str]) -> Value {
    let count = (options.len() / 3).to_string();
    scene.call("RequestGpu", &[&["sa{sv}", desktop, &count], options].concat())
}

#[test]
fn what_is_not_reserved_is_made_on_demand_and_then_is_reserved() {
    let scene = Scene::new();
    let _daemon = armed(&scene);
    let answer = request(&scene, "vm001", &[]);
    assert_eq!((&answer["way"], &answer["profile"]), (&json!("on-demand"), &json!("A40-4Q")));
    assert_eq!((&answer["gpu"], &answer["confidence"]), (&json!("0000:3b:00.0"), &json!(0.0)));
    assert_eq!(answer["wait-seconds"], 180, "the lead time of a desktop of which nothing is known");
    assert!(answer["reason"].as_str().expect("a sentence").contains("made when asked"), "{answer}");
    scene.wait_for_state("vm001", &["ready"]);

    for options in [&[][..], &["preallocation", "s", "require"], &["preallocation", "s", "accept"]] {
        let answer = request(&scene, "vm001", options);
        assert_eq!((&answer["way"], &answer["wait-seconds"]), (&json!("reserved"), &json!(0)), "{answer}");
        assert_eq!((&answer["gpu"], &answer["profile"]), (&json!("0000:3b:00.0"), &json!("A40-4Q")));
    }

    scene.call("Release", &["s", "vm001"]);
    scene.wait_for_state("vm001", &["off"]);
    eventually("its vGPU is gone from the GPU", || {
        let vgpus = scene.property("/gpu/0000_3b_00_0", "Gpu", "Vgpus");
        if vgpus == json!([]) { Ok(()) } else { Err(vgpus.to_string()) }
    });
}

#[test]
fn whoever_requires_a_reservation_is_refused_without_one_and_nothing_changes() {
    let scene = Scene::new();
    let _daemon = armed(&scene);
    let answer = request(&scene, "vm002", &["preallocation", "s", "require"]);
    assert_eq!((&answer["way"], &answer["gpu"]), (&json!("refused"), &json!("")));
    assert_eq!(answer.get("wait-seconds"), None);
    let reason = answer["reason"].as_str().expect("a sentence");
    assert!(reason.starts_with("only a reservation was accepted, and there is none: "), "{reason}");
    scene.settle();
    assert_eq!(scene.state("vm002"), "off");
    assert_eq!(scene.call("Decisions", &["su", "vm002", "9"]), json!([]), "it was not even noted");
}

#[test]
fn whoever_declines_reservations_gets_a_device_all_the_same() {
    let scene = Scene::new();
    let _daemon = armed(&scene);
    let answer = request(&scene, "vm003", &["preallocation", "s", "decline"]);
    assert_eq!(answer["way"], "on-demand");
    scene.wait_for_state("vm003", &["ready"]);
}

#[test]
fn another_profile_may_be_wished_for() {
    let scene = Scene::new();
    let _daemon = armed(&scene);
    let answer = request(&scene, "vm004", &["profile", "s", "A40-8Q"]);
    assert_eq!((&answer["way"], &answer["profile"]), (&json!("on-demand"), &json!("A40-8Q")));
    scene.wait_for_state("vm004", &["ready"]);
    assert_eq!(scene.property("/desktop/vm004", "Desktop", "Profile"), "A40-8Q");
}

#[test]
fn where_there_is_no_room_a_request_waits_until_there_is() {
    let scene = Scene::new();
    let _daemon = armed(&scene);
    // Six desktops for the four VFs.
    for n in 35..=38 {
        let desktop = format!("vm{n:03}");
        assert_eq!(request(&scene, &desktop, &[])["way"], "on-demand");
        scene.wait_for_state(&desktop, &["preparing", "ready"]);
    }
    let answer = request(&scene, "vm039", &[]);
    assert_eq!(
        (&answer["way"], &answer["gpu"], &answer["profile"]),
        (&json!("queued"), &json!(""), &json!("V710-1/4"))
    );
    assert_eq!(answer.get("wait-seconds"), None, "nobody can tell");
    assert_eq!(answer["reason"], "no room for V710-1/4: 0000:af:00.0: all 4 instances of the profile are taken");
    scene.settle();
    assert_eq!(scene.property("/desktop/vm039", "Desktop", "Gpu"), "", "who asked first keeps what they have");
    assert_eq!(scene.property("/desktop/vm039", "Desktop", "Reason"), answer["reason"]);

    scene.call("Release", &["s", "vm036"]);
    scene.wait_for_state("vm039", &["preparing", "ready"]);
    assert_eq!(scene.property("/desktop/vm039", "Desktop", "Gpu"), "0000:af:00.0");
}

#[test]
fn a_session_that_a_broker_reports_is_in_use_until_it_reports_the_end() {
    let scene = Scene::new();
    let _daemon = armed(&scene);
    scene.call("SessionStarted", &["sa{sv}", "vm005", "1", "user", "s", "ada"]);
    scene.wait_for_state("vm005", &["in-use"]);
    let device = scene.property("/desktop/vm005", "Desktop", "Device");
    assert_ne!(device, "");
    // What is in use is not given back, whatever is said about wishes.
    scene.call("Release", &["s", "vm005"]);
    scene.settle();
    assert_eq!(scene.state("vm005"), "in-use");
    assert_eq!(scene.property("/desktop/vm005", "Desktop", "Device"), device);

    scene.call("SessionEnded", &["s", "vm005"]);
    scene.wait_for_state("vm005", &["grace"]);
    assert_eq!(scene.property("/desktop/vm005", "Desktop", "Device"), device, "who comes right back finds it");
    scene.settle();
    let history = rusqlite::Connection::open(scene.path("history.db")).expect("it can be read meanwhile");
    let row = history
        .query_row(
            "SELECT d.text, u.text, length >= 0, source FROM session JOIN name d ON d.id = desktop JOIN name u ON u.id = user",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .expect("one session");
    assert_eq!(row, ("vm005".to_owned(), "ada".to_owned(), true, 1), "who, that it ended, and that a broker said so");
}

#[test]
fn a_desktop_is_explained_with_its_forecast_its_rule_and_what_would_change_it() {
    let scene = Scene::new();
    let _daemon = armed(&scene);
    request(&scene, "vm001", &[]);
    scene.wait_for_state("vm001", &["ready"]);
    let text = scene.call("Explain", &["s", "vm001"]);
    let text = text.as_str().expect("text for people");
    for label in
        ["Desktop ", "State ", "Plan ", "Decision ", "Forecast ", "Lead time ", "Rule ", "If asked ", "Changes by "]
    {
        assert_eq!(text.lines().filter(|line| line.starts_with(label)).count(), 1, "{label}\n{text}");
    }
    assert!(text.contains("State      ready"), "{text}");
    assert!(text.contains("A40-4Q on 0000:3b:00.0"), "{text}");
    assert!(text.contains("`headstart release`"), "{text}");
    let decisions = text.split("Last decisions:").nth(1).expect("they are told");
    assert!(decisions.contains("ready: attached and up after 45 s"), "{text}");
    assert!(decisions.contains("request: accept"), "{text}");
}

/// How many requests stand, by the history on disk.
fn kept(scene: &Scene) -> Result<i64, String> {
    let open = rusqlite::Connection::open(scene.path("history.db")).map_err(|error| error.to_string())?;
    open.query_row("SELECT count(*) FROM wish", [], |row| row.get(0)).map_err(|error| error.to_string())
}

#[test]
fn what_was_asked_stands_though_the_daemon_is_killed() {
    let scene = Scene::new();
    let kill = |mut daemon: headstart_tests::daemon::Daemon| {
        daemon.kill();
        daemon.wait(DEADLINE).expect("nothing survives that");
    };
    let wait_for = |count| {
        eventually("the history knows", || match kept(&scene)? {
            found if found == count => Ok(()),
            found => Err(format!("{found} requests")),
        });
    };
    let daemon = armed(&scene);
    assert_eq!(request(&scene, "vm001", &["profile", "s", "A40-8Q"])["way"], "on-demand");
    wait_for(1);
    kill(daemon);

    let daemon = armed(&scene);
    scene.wait_for_state("vm001", &["ready"]);
    assert_eq!(scene.property("/desktop/vm001", "Desktop", "Profile"), "A40-8Q", "also what was wished for");
    let text = scene.headstart(&["explain", "vm001"]).ok();
    assert!(text.contains("wanted since"), "{text}");
    scene.call("Release", &["s", "vm001"]);
    wait_for(0);
    kill(daemon);

    let _daemon = armed(&scene);
    scene.wait_for_state("vm001", &["off"]);
    let text = scene.headstart(&["explain", "vm001"]).ok();
    assert!(!text.contains("wanted since"), "what was taken back does not come again: {text}");
}
