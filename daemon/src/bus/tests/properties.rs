//! Objects and properties follow the status.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;

use futures_core::Stream;
use headstart_core::desktop::AttachMode;
use headstart_core::request::Way;
use headstart_core::unit::{FramebufferMib, Probability, Span, Time};
use headstartd::bus::{self, Decision};
use headstartd::status::{Hold, Mode};
use zbus::fdo::ObjectManagerProxy;
use zbus::wire::{OwnedVariant, Variant};
use zbus::{MatchRule, MessageStream};

use super::sample::{self, address, desktop_name};
use super::service;

/// The next message of a stream.
async fn next(stream: &mut MessageStream) -> zbus::Message {
    std::future::poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await.unwrap().unwrap()
}

/// All signals below our root.
async fn signals(client: &zbus::Connection) -> MessageStream {
    let rule = MatchRule::builder().msg_type(zbus::message::Type::Signal).path_namespace("/org/headstart1");
    MessageStream::for_match_rule(rule.build().unwrap(), client, None).await.unwrap()
}

/// Path, interface and new values of a `PropertiesChanged`.
fn changed(signal: &zbus::Message) -> (String, String, BTreeMap<String, OwnedVariant>) {
    let header = signal.header();
    assert_eq!(header.member().unwrap().as_str(), "PropertiesChanged");
    let body = signal.body();
    let (interface, values, gone): (String, BTreeMap<String, OwnedVariant>, Vec<String>) = body.deserialize().unwrap();
    assert!(gone.is_empty());
    (header.path().unwrap().to_string(), interface, values)
}

#[tokio::test]
async fn the_object_manager_knows_all_with_their_properties() {
    let service = service::sample().await;
    let client = service.client().await;
    let manager = ObjectManagerProxy::new(&client, "org.headstart1", "/org/headstart1").await.unwrap();
    let objects = manager.get_managed_objects().await.unwrap();
    // zbus lists the bare nodes in between, too.
    let ours =
        objects.iter().filter(|(_, interfaces)| interfaces.keys().any(|name| name.starts_with("org.headstart1")));
    let paths: BTreeSet<String> = ours.map(|(path, _)| path.to_string()).collect();
    let names = ["design_2d01", "design_2d02", "office_2d01", "office_2d02", "office_2d03"];
    let mut want: BTreeSet<String> = names.iter().map(|name| format!("/org/headstart1/desktop/{name}")).collect();
    want.extend(["0000_3b_00_0", "0000_5e_00_0"].map(|gpu| format!("/org/headstart1/gpu/{gpu}")));
    want.insert("/org/headstart1/host".to_owned());
    assert_eq!(paths, want);
    let find = |path: &str| objects.iter().find(|(p, _)| p.as_str() == path).unwrap().1;
    let desktop = &find("/org/headstart1/desktop/design_2d01")["org.headstart1.Desktop"];
    assert_eq!(*desktop["Name"], Variant::from("design-01"));
    assert_eq!(*desktop["State"], Variant::from("ready"));
    assert_eq!(*desktop["NextLogin"], Variant::from(sample::NOW.unix() + 25 * 60));
    let office = &find("/org/headstart1/desktop/office_2d03")["org.headstart1.Desktop"];
    assert_eq!((&*office["NextLogin"], &*office["Gpu"]), (&Variant::from(0_i64), &Variant::from("")));
    let host = &find("/org/headstart1/host")["org.headstart1.Host"];
    assert_eq!((&*host["Mode"], &*host["Waiting"]), (&Variant::from("armed"), &Variant::from(1_u32)));
}

#[tokio::test]
async fn only_what_changed_is_signalled_in_one_signal_per_object() {
    let service = service::sample().await;
    let client = service.client().await;
    let mut signals = signals(&client).await;
    service.change(|status| {
        status.now = Time::from_unix(sample::NOW.unix() + 1);
        status.rounds += 1;
        let desktop = status.desktops.get_mut(&desktop_name("office-01")).unwrap();
        desktop.state = "preparing";
        desktop.reason = "its user is expected at 9:00".to_owned();
        desktop.slots = headstart_core::forecast::Slots::default();
        let other = status.desktops.get_mut(&desktop_name("office-02")).unwrap();
        other.confidence = Probability::clamped(other.confidence.get() + 0.0001);
    });
    let (path, interface, values) = changed(&next(&mut signals).await);
    assert_eq!((path.as_str(), interface.as_str()), ("/org/headstart1/host", "org.headstart1.Host"));
    assert_eq!(values.keys().collect::<Vec<_>>(), ["Reserved"]);
    let (path, interface, values) = changed(&next(&mut signals).await);
    assert_eq!((path.as_str(), interface.as_str()), ("/org/headstart1/desktop/office_2d01", "org.headstart1.Desktop"));
    assert_eq!(values.keys().collect::<Vec<_>>(), ["Reason", "State"]);
    assert_eq!(*values["State"], Variant::from("preparing"));
    // Nothing came for the other, whose change is too small to tell: the next signal is that of the next change.
    service.change(|status| status.model = "frequency".to_owned());
    assert_eq!(changed(&next(&mut signals).await).2.keys().collect::<Vec<_>>(), ["Model"]);
}

#[tokio::test]
async fn objects_come_and_go_with_the_status() {
    let service = service::sample().await;
    let client = service.client().await;
    let mut signals = signals(&client).await;
    service.change(|status| {
        status.desktops.remove(&desktop_name("office-03"));
        let new = sample::desktop("off", 0.1, None, None, Way::OnDemand);
        status.desktops.insert(desktop_name("7-new"), new);
    });
    let gone = next(&mut signals).await;
    assert_eq!(gone.header().member().unwrap().as_str(), "InterfacesRemoved");
    let (path, interfaces): (zbus::OwnedObjectPath, Vec<String>) = gone.body().deserialize().unwrap();
    assert_eq!(path.as_str(), "/org/headstart1/desktop/office_2d03");
    assert_eq!(interfaces, ["org.headstart1.Desktop"]);
    let come = next(&mut signals).await;
    assert_eq!(come.header().member().unwrap().as_str(), "InterfacesAdded");
    let body = come.body();
    let (path, _): (zbus::OwnedObjectPath, BTreeMap<String, BTreeMap<String, OwnedVariant>>) =
        body.deserialize().unwrap();
    assert_eq!(path.as_str(), "/org/headstart1/desktop/_37_2dnew");
}

#[tokio::test]
async fn decisions_are_signalled() {
    let service = service::sample().await;
    let client = service.client().await;
    let mut signals = signals(&client).await;
    let decision = Decision {
        time: sample::NOW,
        desktop: Some(desktop_name("design-01")),
        what: "release".to_owned(),
        why: "nobody came".to_owned(),
    };
    service.decisions.send(decision).unwrap();
    let signal = next(&mut signals).await;
    assert_eq!(signal.header().member().unwrap().as_str(), "Decision");
    let body: (i64, String, String, String) = signal.body().deserialize().unwrap();
    assert_eq!(body, (sample::NOW.unix(), "design-01".into(), "release".into(), "nobody came".into()));
}

/// Every signalled property is signalled: change all of the status and compare with the introspection.
#[tokio::test]
async fn no_property_is_forgotten() {
    let service = service::sample().await;
    let client = service.client().await;
    let mut signals = signals(&client).await;
    let (gpu, desktop) = (address("0000:3b:00.0"), desktop_name("design-01"));
    service.change(|status| {
        status.mode = Mode::Shadow;
        status.simulated = false;
        status.model.push('!');
        status.goal.push('!');
        let scores = &mut status.scores;
        for count in [&mut scores.logins, &mut scores.hits, &mut scores.late, &mut scores.misses, &mut scores.wasted] {
            *count += 1;
        }
        scores.idle = Span::hours(99);
        status.holds.push(Hold { cookie: 1, owner: ":1.1".into(), reason: "x".into() });
        status.problems.clear();
        status.gpus.remove(&address("0000:5e:00.0"));
        for (name, state) in [("office-02", "preparing"), ("design-02", "preparing"), ("office-01", "off")] {
            status.desktops.get_mut(&desktop_name(name)).unwrap().state = state;
        }
        status.desktops.remove(&desktop_name("office-03"));
        let g = status.gpus.get_mut(&gpu).unwrap();
        for text in [&mut g.name, &mut g.partitioning, &mut g.health] {
            text.push('!');
        }
        (g.framebuffer, g.used) = (FramebufferMib::new(1), FramebufferMib::new(2));
        g.vgpus.clear();
        g.creatable.clear();
        let d = status.desktops.get_mut(&desktop).unwrap();
        d.uuid = "11111111-53a1-4d0b-9c57-1e0f7a8ec2d4".parse().unwrap();
        (d.attach_mode, d.state) = (AttachMode::Live, "grace");
        for text in [&mut d.subject, &mut d.reason] {
            text.push('!');
        }
        d.priority += 1;
        (d.gpu, d.device, d.profile, d.next_login) = (None, None, None, None);
        (d.confidence, d.today, d.lead) = (Probability::ONE, Probability::ZERO, Span::ZERO);
        d.problems.push("x".to_owned());
    });
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let wanted = ["/org/headstart1/host", &bus::gpu_path(gpu), &bus::desktop_path(&desktop)].map(str::to_owned);
    while !wanted.iter().all(|path| seen.contains_key(path)) {
        let signal = next(&mut signals).await;
        if signal.header().member().is_some_and(|member| member.as_str() == "PropertiesChanged") {
            let (path, _, values) = changed(&signal);
            seen.insert(path, values.into_keys().collect());
        }
    }
    for path in wanted {
        let xml = super::interface::introspect(&client, &path).await;
        let ours = super::interface::ours(&xml);
        assert_eq!(seen[&path], super::interface::signalled(&ours), "{path}");
    }
}
