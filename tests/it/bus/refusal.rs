//! Calls that make no sense: an error with a name and a text that says what to do, and nothing changed.

use std::collections::HashMap;

use zbus::DBusError;
use zbus::wire::{DynamicType, Variant};

use crate::scene::{DEMO_HOST, MANAGER, NAME, ROOT, Scene, start};

type Options = HashMap<&'static str, Variant<'static>>;

/// Name and text of the error that a call must end with.
async fn refused<B: serde::Serialize + DynamicType>(
    client: &zbus::Connection,
    method: &str,
    body: &B,
) -> (String, String) {
    match client.call_method(Some(NAME), ROOT, Some(MANAGER), method, body).await {
        Err(zbus::Error::MethodError(name, text, _)) => (name.to_string(), text.unwrap_or_default()),
        Err(zbus::Error::FDO(error)) => (error.name().to_string(), error.description().unwrap_or_default().to_owned()),
        other => panic!("{method}: an error was expected, not {other:?}"),
    }
}

/// A daemon on which nothing happens by itself.
fn quiet(scene: &Scene) -> headstart_tests::daemon::Daemon {
    let mut command = scene.simulated("mode = \"armed\"\n", DEMO_HOST);
    let daemon = start(command.args(["--speed", "0.001", "--simulate-state", "state.json"]));
    let deadline = crate::scene::DEADLINE;
    daemon
        .log()
        .find("that the model stays", deadline, |line| line.contains("the model stays as it is"))
        .expect("no logins");
    scene.settle();
    daemon
}

#[tokio::test]
async fn every_refusal_has_a_name_says_what_to_do_and_changes_nothing() {
    let scene = Scene::new();
    let _daemon = quiet(&scene);
    let before = (scene.objects(), std::fs::read(scene.path("state.json")).expect("it is kept"));
    let client = scene.connect().await;
    let with = |name, value| Options::from([(name, value)]);
    let none = Options::new;
    for (desktop, options, name, text) in [
        ("vm01", none(), "UnknownDomain", "no desktop \"vm01\" is managed here; nearest: vm0"),
        ("nobody", none(), "UnknownDomain", "`headstart desktops` lists all 40"),
        ("", none(), "InvalidArgument", "it is empty"),
        ("render-legacy", none(), "NotManaged", "opt in by its metadata or a name pattern"),
        (
            "vm001",
            with("profile", "A40-9Q".into()),
            "UnknownProfile",
            "no GPU here has the profile \"A40-9Q\"; there are: A40-2Q, ",
        ),
        ("vm001", with("profile", "".into()), "InvalidArgument", "it is empty"),
        ("vm001", with("profile", 4_i64.into()), "InvalidArgument", "it must be a string (s), not of type x"),
        ("vm001", with("preallocation", "maybe".into()), "InvalidArgument", "use accept, require or decline"),
        ("vm001", with("preallocation", true.into()), "InvalidArgument", "it must be a string (s), not of type b"),
        (
            "vm001",
            with("pre-allocation", "accept".into()),
            "InvalidArgument",
            "there are: preallocation (s), profile (s)",
        ),
    ] {
        let (got, why) = refused(&client, "RequestGpu", &(desktop, options)).await;
        assert_eq!(got, format!("org.headstart1.Error.{name}"), "{desktop}: {why}");
        assert!(why.contains(text), "{desktop}: {why}");
    }
    for method in ["Release", "SessionEnded", "Explain", "Forecast"] {
        assert_eq!(refused(&client, method, &"nobody").await.0, "org.headstart1.Error.UnknownDomain", "{method}");
    }
    for (method, body) in [
        ("SessionStarted", ("nobody", none())),
        ("SessionStarted", ("vm001", with("user", 7_u32.into()))),
        ("SessionStarted", ("vm001", with("name", "ada".into()))),
    ] {
        let (got, why) = refused(&client, method, &body).await;
        assert!(got.starts_with("org.headstart1.Error."), "{got}: {why}");
    }
    assert_eq!(refused(&client, "EndHold", &77_u32).await.0, "org.headstart1.Error.InvalidArgument");
    assert_eq!(refused(&client, "Decisions", &("nobody", 1_u32)).await.0, "org.headstart1.Error.UnknownDomain");
    // Arguments of another signature are the bus's own matter, and it has a name for them.
    for method in ["RequestGpu", "Release", "SessionStarted", "SessionEnded", "Explain", "Hold", "Import"] {
        let (got, why) = refused(&client, method, &(7_u32, 8_u32)).await;
        assert_eq!(got, "org.freedesktop.DBus.Error.InvalidArgs", "{method}: {why}");
    }
    assert_eq!(refused(&client, "Reconsider", &()).await.0, "org.freedesktop.DBus.Error.UnknownMethod");
    let set = ["set-property", NAME, "/org/headstart1/desktop/vm001", "org.headstart1.Desktop", "State", "s", "ready"];
    assert_eq!(scene.busctl(&set).code, Some(1), "nothing is to be set");

    scene.settle();
    assert_eq!(scene.objects(), before.0);
    assert!(std::fs::read(scene.path("state.json")).expect("it is kept") == before.1, "the host was changed");
    assert_eq!(scene.call("Decisions", &["su", "", "9"]), serde_json::json!([]), "nothing was decided");
}

#[test]
fn busctl_shows_the_text_of_a_refusal() {
    let scene = Scene::new();
    let _daemon = quiet(&scene);
    let ran = scene.busctl(&["call", NAME, ROOT, MANAGER, "RequestGpu", "sa{sv}", "vm041", "0"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.starts_with("Call failed: no desktop \"vm041\" is managed here; nearest: vm0"), "{}", ran.err);
}
