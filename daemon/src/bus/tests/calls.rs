//! Methods: their answers, their errors by name, and what reaches the loop.

use std::collections::HashMap;

use headstart_core::hint::Kind;
use headstart_core::id::DesktopName;
use headstart_core::request::{Preallocation, Wish};
use headstartd::message::Message;
use zbus::wire::{OwnedVariant, Variant};
use zbus::{Connection, DBusError, Message as BusMessage};

use super::sample::{NOW, profile};
use super::service::{self, QUEUE};

type Options = HashMap<&'static str, Variant<'static>>;

/// Calls a method of the manager.
async fn call<B>(client: &Connection, method: &str, body: &B) -> zbus::Result<BusMessage>
where
    B: serde::Serialize + zbus::wire::DynamicType,
{
    client.call_method(Some("org.headstart1"), "/org/headstart1", Some("org.headstart1.Manager"), method, body).await
}

/// The name and text of the error that a call must end with.
fn refusal(result: zbus::Result<BusMessage>) -> (String, String) {
    match result {
        Err(zbus::Error::MethodError(name, text, _)) => (name.to_string(), text.unwrap_or_default()),
        Err(zbus::Error::FDO(error)) => (error.name().to_string(), error.description().unwrap_or_default().to_owned()),
        other => panic!("an error was expected, not {other:?}"),
    }
}

#[tokio::test]
async fn a_request_is_answered_from_the_plan_and_reaches_the_loop() {
    let mut service = service::sample().await;
    let client = service.client().await;
    let options = Options::from([("preallocation", "require".into())]);
    let reply = call(&client, "RequestGpu", &("design-01", options)).await.unwrap();
    let body = reply.body();
    let answer: HashMap<String, OwnedVariant> = body.deserialize().unwrap();
    assert_eq!(*answer["way"], Variant::from("reserved"));
    assert_eq!(*answer["gpu"], Variant::from("0000:3b:00.0"));
    assert_eq!(*answer["profile"], Variant::from("A40-4Q"));
    assert_eq!(*answer["confidence"], Variant::from(0.86));
    assert_eq!(*answer["wait-seconds"], Variant::from(140_u32));
    let Some(Message::Wish { desktop, wish }) = service.messages.recv().await else { panic!("a wish was expected") };
    assert_eq!(desktop.as_str(), "design-01");
    assert_eq!(wish, Wish { preallocation: Preallocation::Require, profile: None });

    let options = Options::from([("profile", "A40-8Q".into())]);
    call(&client, "RequestGpu", &("office-01", options)).await.unwrap();
    let Some(Message::Wish { wish, .. }) = service.messages.recv().await else { panic!("a wish was expected") };
    assert_eq!(wish.profile, Some(profile("A40-8Q")));
}

#[tokio::test]
async fn a_refused_request_changes_nothing() {
    let mut service = service::sample().await;
    let client = service.client().await;
    let options = Options::from([("preallocation", "require".into())]);
    let reply = call(&client, "RequestGpu", &("office-02", options)).await.unwrap();
    let answer: HashMap<String, OwnedVariant> = reply.body().deserialize().unwrap();
    assert_eq!(*answer["way"], Variant::from("refused"));
    assert!(!answer.contains_key("wait-seconds"));
    assert!(service.messages.try_recv().is_err());
}

#[tokio::test]
async fn every_wrong_argument_has_a_named_error_and_changes_nothing() {
    let mut service = service::sample().await;
    let client = service.client().await;
    let none = Options::new;
    let cases = [
        (("design-09", none()), "UnknownDomain", "nearest: design-01, design-02"),
        (("zzz", none()), "UnknownDomain", "`headstart desktops` lists all 5"),
        (("somebody-else", none()), "NotManaged", "opt in by its metadata"),
        (("", none()), "InvalidArgument", "it is empty"),
        (("design-01", [("profile", "A40-9Q".into())].into()), "UnknownProfile", "there are: A40-4Q, A40-8Q"),
        (("design-01", [("preallocation", "maybe".into())].into()), "InvalidArgument", "accept, require or decline"),
        (("design-01", [("preallocation", 1_u32.into())].into()), "InvalidArgument", "a string (s), not of type u"),
        (("design-01", [("colour", "red".into())].into()), "InvalidArgument", "preallocation (s), profile (s)"),
    ];
    for (body, name, text) in cases {
        let (got, why) = refusal(call(&client, "RequestGpu", &body).await);
        assert_eq!(got, format!("org.headstart1.Error.{name}"), "{body:?}: {why}");
        assert!(why.contains(text), "{body:?}: {why}");
    }
    for method in ["Release", "SessionEnded", "Explain", "Forecast"] {
        let (got, _) = refusal(call(&client, method, &"nobody").await);
        assert_eq!(got, "org.headstart1.Error.UnknownDomain", "{method}");
    }
    let (got, _) = refusal(call(&client, "SessionStarted", &("nobody", none())).await);
    assert_eq!(got, "org.headstart1.Error.UnknownDomain");
    let (got, _) = refusal(call(&client, "RequestGpu", &7_u32).await);
    assert_eq!(got, "org.freedesktop.DBus.Error.InvalidArgs");
    assert!(service.messages.try_recv().is_err());
}

#[tokio::test]
async fn a_flood_is_turned_away_and_not_piled_up() {
    let service = service::sample().await;
    let client = service.client().await;
    // The service's own queue and the one of whoever stands for the loop.
    for _ in 0..2 * QUEUE {
        let _ = call(&client, "RequestGpu", &("office-01", Options::new())).await;
    }
    let (name, text) = refusal(call(&client, "RequestGpu", &("office-01", Options::new())).await);
    assert_eq!((name.as_str(), text.contains("try again")), ("org.headstart1.Error.Busy", true));
}

#[tokio::test]
async fn sessions_and_reconcile_reach_the_loop() {
    let mut service = service::sample().await;
    let client = service.client().await;
    let options = Options::from([("user", "anna".into())]);
    call(&client, "SessionStarted", &("design-01", options)).await.unwrap();
    call(&client, "SessionEnded", &"design-01").await.unwrap();
    call(&client, "Release", &"design-01").await.unwrap();
    call(&client, "Reconcile", &()).await.unwrap();
    let mut texts = Vec::new();
    for _ in 0..4 {
        texts.push(format!("{:?}", service.messages.recv().await.unwrap()));
    }
    let want = [
        r#"SessionStarted { desktop: DesktopName("design-01"), user: Some(UserName("anna")) }"#,
        r#"SessionEnded { desktop: DesktopName("design-01") }"#,
        r#"Release { desktop: DesktopName("design-01") }"#,
        "Reconcile",
    ];
    assert_eq!(texts, want);
}

#[tokio::test]
async fn a_desktop_explains_itself_with_its_last_decisions() {
    let service = service::sample().await;
    let client = service.client().await;
    let reply = call(&client, "Explain", &"design-01").await.unwrap();
    let text: String = reply.body().deserialize().unwrap();
    assert_eq!(
        text,
        "This desktop is ready.\nThe forecast says 86 %.\n\nLast decisions:\n  2026-11-23T07:40:00Z  \
         reserve A40-4Q on 0000:3b:00.0: 86 % within its lead time of 2 min\n"
    );
    let reply = call(&client, "Forecast", &"design-01").await.unwrap();
    let forecast: HashMap<String, OwnedVariant> = reply.body().deserialize().unwrap();
    assert_eq!(*forecast["start"], Variant::from(NOW.unix() - 600));
    assert_eq!(*forecast["slot-seconds"], Variant::from(900_u32));
    let Variant::Array(slots) = &*forecast["probabilities"] else { panic!("an array was expected") };
    assert_eq!(slots.len(), 96);
    let reply = call(&client, "Decisions", &("", 5_u32)).await.unwrap();
    let rows: Vec<(i64, String, String, String)> = reply.body().deserialize().unwrap();
    assert_eq!((rows[0].0, rows[0].1.as_str()), (NOW.unix(), ""));
}

#[tokio::test]
async fn a_hint_reaches_the_loop_and_is_listed() {
    let mut service = service::sample().await;
    let client = service.client().await;
    let until = NOW.unix() + 3600;
    let options = Options::from([("valid-until", until.into())]);
    call(&client, "Hint", &("design-01", "badge", options)).await.unwrap();
    let Some(Message::Hint { desktops, hint }) = service.messages.recv().await else { panic!("a hint was expected") };
    assert_eq!(desktops.iter().map(DesktopName::as_str).collect::<Vec<_>>(), ["design-01"]);
    assert_eq!((hint.kind, hint.told, hint.until.unix()), (Kind::Badge, NOW, until));
    let options = Options::from([("from", until.into())]);
    call(&client, "Hint", &("*", "maintenance", options)).await.unwrap();
    let Some(Message::Hint { desktops, hint }) = service.messages.recv().await else { panic!("a hint was expected") };
    assert!(desktops.len() > 1, "{desktops:?}");
    assert_eq!(hint.until.unix(), until + 86_400);
    let reply = call(&client, "Hints", &("design-01", 5_u32)).await.unwrap();
    let hints: Vec<(String, String, i64, i64, i64)> = reply.body().deserialize().unwrap();
    assert_eq!((hints[0].0.as_str(), hints[0].1.as_str(), hints[0].2), ("design-01", "shift", NOW.unix()));
}

#[tokio::test]
async fn a_hint_that_makes_no_sense_is_refused_by_name() {
    let service = service::sample().await;
    let client = service.client().await;
    let none = Options::new;
    let before = Options::from([("valid-until", (NOW.unix() - 60).into())]);
    let ahead = Options::from([("from", (NOW.unix() + 60).into())]);
    for (subject, kind, options, name, text) in [
        ("design-01", "tea", none(), "InvalidArgument", "\"tea\" is no kind of hint; there are: badge"),
        ("design-99", "badge", none(), "UnknownDomain", "design-99"),
        ("design-01", "badge", before, "InvalidArgument", "badge: it ends"),
        ("design-01", "vpn", ahead, "InvalidArgument", "vpn: vpn is an event"),
        ("design-01", "leave", Options::from([("till", 5_i64.into())]), "InvalidArgument", "\"till\" is not known"),
        ("design-01", "leave", Options::from([("from", "soon".into())]), "InvalidArgument", "seconds since 1970 (x)"),
    ] {
        let (got, why) = refusal(call(&client, "Hint", &(subject, kind, options)).await);
        assert_eq!(got, format!("org.headstart1.Error.{name}"), "{why}");
        assert!(why.contains(text), "{why}");
    }
}
