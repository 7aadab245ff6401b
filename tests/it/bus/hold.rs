//! While somebody holds, and in shadow mode, all is decided and nothing is done.

use serde_json::json;
use zbus::Connection;

use crate::scene::{DEMO_HOST, MANAGER, NAME, ROOT, Scene, eventually, start};

fn daemon(scene: &Scene, config: &str) -> headstart_tests::daemon::Daemon {
    let mut command = scene.simulated(config, DEMO_HOST);
    let daemon =
        start(command.args(["--speed", "120", "--simulate-state", "state.json"]).env("HEADSTART_LOG", "debug"));
    scene.settle();
    daemon
}

/// Devices and guests of the host; not the hour.
fn host(scene: &Scene) -> serde_json::Value {
    let text = std::fs::read(scene.path("state.json")).expect("it is kept");
    let mut host: serde_json::Value = serde_json::from_slice(&text).expect("it is whole at any moment");
    host.as_object_mut().expect("a host").remove("now").expect("it has an hour");
    host
}

async fn hold(client: &Connection, reason: &str) -> u32 {
    let reply = client.call_method(Some(NAME), ROOT, Some(MANAGER), "Hold", &reason).await.expect("anybody may hold");
    reply.body().deserialize().expect("a cookie")
}

/// Asks for a desktop, and lets the daemon look at the host several times.
fn ask_and_look(scene: &Scene, desktop: &str) {
    assert_eq!(scene.call("RequestGpu", &["sa{sv}", desktop, "0"])["way"], "on-demand");
    scene.settle();
    scene.settle();
}

#[tokio::test]
async fn a_hold_stops_every_step_until_its_caller_leaves_the_bus() {
    let scene = Scene::new();
    let _daemon = daemon(&scene, "mode = \"armed\"\n");
    let before = host(&scene);
    let client = scene.connect().await;
    let cookie = hold(&client, "driver update").await;
    let owner = client.unique_name().expect("on a bus it has one").to_string();
    eventually("the hold is shown", || {
        let holds = scene.property("/host", "Host", "Holds");
        if holds == json!([[cookie, owner, "driver update"]]) { Ok(()) } else { Err(holds.to_string()) }
    });
    ask_and_look(&scene, "vm001");
    assert_eq!(scene.state("vm001"), "preparing", "it is decided");
    assert_eq!(scene.property("/desktop/vm001", "Desktop", "Device"), "", "and not done");
    assert_eq!(host(&scene), before);

    // A second hold of the same caller, ended by it: the first goes on.
    let second = hold(&client, "and another").await;
    client.call_method(Some(NAME), ROOT, Some(MANAGER), "EndHold", &second).await.expect("its own");
    scene.settle();
    assert_eq!(host(&scene), before);

    // Nobody else can end it ...
    let text = scene.busctl(&["call", NAME, ROOT, MANAGER, "EndHold", "u", &cookie.to_string()]).err;
    assert!(text.contains(&format!("hold {cookie} belongs to {owner}")), "{text}");
    scene.settle();
    assert_eq!(host(&scene), before);

    // ... and it ends with its caller, who need not say good-bye.
    client.close().await.expect("it is open");
    scene.wait_for_state("vm001", &["ready"]);
    assert_eq!(scene.property("/host", "Host", "Holds"), json!([]));
    assert_ne!(host(&scene), before);
}

#[tokio::test]
async fn a_hold_ends_when_it_is_ended() {
    let scene = Scene::new();
    let _daemon = daemon(&scene, "mode = \"armed\"\n");
    let client = scene.connect().await;
    let cookie = hold(&client, "backup").await;
    ask_and_look(&scene, "vm001");
    assert_eq!(scene.property("/desktop/vm001", "Desktop", "Device"), "");
    client.call_method(Some(NAME), ROOT, Some(MANAGER), "EndHold", &cookie).await.expect("its own");
    scene.wait_for_state("vm001", &["ready"]);
}

#[test]
fn in_shadow_all_is_decided_and_nothing_is_done() {
    let scene = Scene::new();
    // The packaged default: nothing is said of the mode.
    let daemon = daemon(&scene, "");
    let before = host(&scene);
    assert_eq!(scene.property("/host", "Host", "Mode"), "shadow");
    for n in [1, 15, 19, 25, 35] {
        ask_and_look(&scene, &format!("vm{n:03}"));
    }
    assert_eq!(scene.state("vm001"), "preparing", "it is decided");
    let text = scene.call("Explain", &["s", "vm001"]);
    assert!(text.as_str().expect("text").contains("shadow: this is what would be done; nothing is"), "{text}");
    assert!(scene.headstart(&["status"]).ok().contains("shadow"), "it is said on the screen");
    assert_eq!(host(&scene), before);
    for step in ["make ", "attach ", "start "] {
        let begun = daemon.log().text().lines().any(|line| line.contains(&format!("DEBUG {step}")));
        assert!(!begun, "{step}was begun:\n{}", daemon.log().text());
    }
}
