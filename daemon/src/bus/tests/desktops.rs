//! What a domain's metadata says, and changes of it; GPUs that could be adopted.

use std::collections::HashMap;

use headstartd::message::Message;
use zbus::wire::{OwnedVariant, Variant};

use super::service;

type Options = HashMap<&'static str, Variant<'static>>;
type Settings = HashMap<String, OwnedVariant>;

async fn call<B>(client: &zbus::Connection, method: &str, body: &B) -> zbus::Result<zbus::Message>
where
    B: serde::Serialize + zbus::wire::DynamicType,
{
    client.call_method(Some("org.headstart1"), "/org/headstart1", Some("org.headstart1.Manager"), method, body).await
}

#[tokio::test]
async fn a_change_answers_what_the_metadata_says_now_and_wakes_the_loop() {
    let mut service = service::sample().await;
    let client = service.client().await;
    let change = Options::from([
        ("profiles", vec!["A40-8Q", "A40-4Q"].into()),
        ("attach", "live".into()),
        ("priority", 5_i32.into()),
        ("time-zone", "Europe/Berlin".into()),
        ("lead-seconds", 90_u32.into()),
        ("preallocate", false.into()),
        ("missing-gpu", "block".into()),
        ("unset", vec!["pool"].into()),
    ]);
    let reply = call(&client, "SetDesktop", &("design-01", change)).await.unwrap();
    let now: Settings = reply.body().deserialize().unwrap();
    let mut keys: Vec<&str> = now.keys().map(String::as_str).collect();
    keys.sort_unstable();
    let all = ["attach", "lead-seconds", "missing-gpu", "preallocate", "priority", "profiles", "time-zone", "user"];
    assert_eq!(keys, all, "the user stays");
    assert_eq!(*now["profiles"], Variant::from(vec!["A40-8Q", "A40-4Q"]));
    assert_eq!((&*now["lead-seconds"], &*now["user"]), (&Variant::from(90_u32), &Variant::from("anna")));
    assert!(matches!(service.messages.recv().await, Some(Message::Reconcile)));

    let change = Options::from([("pool", "design".into()), ("unset", vec!["attach", "lead"].into())]);
    let reply = call(&client, "SetDesktop", &("design-01", change)).await.unwrap();
    let now: Settings = reply.body().deserialize().unwrap();
    assert!(now.contains_key("pool") && !now.contains_key("user") && !now.contains_key("attach"), "{now:?}");
    let reply = call(&client, "DesktopSettings", &"design-01").await.unwrap();
    let (own, effective): (Settings, Settings) = reply.body().deserialize().unwrap();
    assert_eq!(own, now);
    assert_eq!(*effective["attach"], Variant::from("cold"));
    // A domain that is no desktop says nothing, and becomes one.
    let reply = call(&client, "DesktopSettings", &"plain").await.unwrap();
    let (own, effective): (Settings, Settings) = reply.body().deserialize().unwrap();
    assert!(own.is_empty() && effective.is_empty());
    call(&client, "SetDesktop", &("plain", Options::from([("priority", 1_i32.into())]))).await.unwrap();
}

#[tokio::test]
async fn every_wrong_setting_has_a_named_error_and_changes_nothing() {
    let mut service = service::sample().await;
    let client = service.client().await;
    let one = |name: &'static str, value: Variant<'static>| Options::from([(name, value)]);
    for (change, text) in [
        (one("priority", 5_u32.into()), "a whole number (i), not of type u"),
        (one("priority", 1001_i32.into()), "1001 is not from -1000 to 1000"),
        (one("attach", "hot".into()), "use cold, live or request"),
        (one("missing-gpu", "wait".into()), "use start or block"),
        (one("profiles", "A40-4Q".into()), "a list of strings (as), not of type s"),
        (one("profiles", Vec::<String>::new().into()), "it names none; unset it instead"),
        (one("profiles", vec![""].into()), "it is empty"),
        (one("lead-seconds", 7201_u32.into()), "is longer than 2 h"),
        (one("time-zone", "Europe/Atlantis".into()), "is no time zone"),
        (one("preallocate", "yes".into()), "a boolean (b), not of type s"),
        (one("unset", vec!["colour"].into()), "\"colour\" is not known; there are: user, pool, profiles,"),
        (one("lead", "90 s".into()), "lead-seconds (u)"),
        (one("user", "".into()), "it is empty"),
    ] {
        let error = call(&client, "SetDesktop", &("design-01", change.clone())).await.unwrap_err().to_string();
        assert!(error.contains("org.headstart1.Error.InvalidArgument") && error.contains(text), "{change:?}: {error}");
    }
    let both = Options::from([("user", "ada".into()), ("pool", "design".into())]);
    let error = call(&client, "SetDesktop", &("design-01", both)).await.unwrap_err().to_string();
    assert!(error.contains("design-01: a desktop belongs to a user or to a pool, not to both"), "{error}");
    for method in ["DesktopSettings", "SetDesktop"] {
        let error = if method == "SetDesktop" {
            call(&client, method, &("nobody", Options::new())).await
        } else {
            call(&client, method, &"nobody").await
        };
        let error = error.unwrap_err().to_string();
        assert!(error.contains("there is no domain nobody on this host"), "{error}");
    }
    assert!(service.messages.try_recv().is_err());
}

#[tokio::test]
async fn candidates_say_what_they_are() {
    let service = service::sample().await;
    let client = service.client().await;
    let reply = call(&client, "Candidates", &()).await.unwrap();
    let gpus: Vec<Settings> = reply.body().deserialize().unwrap();
    assert_eq!(gpus.len(), 4);
    assert_eq!((&*gpus[0]["owned"], &*gpus[0]["vfs"]), (&Variant::from(true), &Variant::from(32_u32)));
    assert_eq!((&*gpus[1]["interface"], &*gpus[1]["driver"]), (&Variant::from("sriov"), &Variant::from("gim")));
    assert_eq!((&*gpus[2]["interface"], &*gpus[3]["address"]), (&Variant::from(""), &Variant::from("mbochs")));
}
