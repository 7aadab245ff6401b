//! What a look shows, and what says that it is time for one.

use expect_test::expect;
use headstart_core::desktop::{AttachMode, Settings};
use headstart_core::observed::Power;
use headstart_core::step::Applied;
use headstartd::host::desktop_xml::NAMESPACE;

use crate::server::{Server, Spec};
use crate::watch::{Watch, start};

const WIN: Spec = Spec { name: "win-01", digit: 1, devices: "", ports: 1, system: None };

#[test]
fn a_desktop_opts_in_with_virsh() {
    let Some(server) = Server::start() else { return };
    let uuid = server.define(&WIN);
    let watch = Watch::on(&server);
    assert_eq!(watch.domain(uuid).settings, None);
    watch.forget();
    let set = |text: &str, more: &[&str]| {
        let command = ["metadata", "win-01", NAMESPACE, "--key", "headstart", "--set", text];
        server.virsh(&[&command[..], more].concat());
    };
    set("<desktop attach=\"live\" priority=\"5\"><profile>A40-8Q</profile><profile>A40-4Q</profile></desktop>", &[]);
    watch.told("win-01: its metadata changed");
    let settings = watch.domain(uuid).settings.unwrap();
    assert_eq!((settings.attach, settings.priority), (Some(AttachMode::Live), Some(5)));
    assert_eq!(settings.profiles.unwrap().len(), 2);

    set("<desktop atach=\"live\"/>", &[]);
    let problems = &watch.look().problems;
    expect![[r#"win-01: <headstart:desktop> has the unknown attribute "atach"; did you mean `attach`?"#]]
        .assert_eq(&problems[0].to_string());
    assert_eq!(watch.domain(uuid).settings.unwrap().preallocate, Some(false));

    server.virsh(&["metadata", "win-01", NAMESPACE, "--remove"]);
    server.virsh(&["start", "win-01"]);
    set("<desktop profile='A40-4Q'/>", &[]);
    let seen = watch.look();
    assert!(seen.domains[&uuid].settings.is_some());
    expect!["win-01: its headstart metadata stands in the running instance only and goes with it: set it with virsh metadata --config"]
        .assert_eq(&seen.problems[0].to_string());
    set("<desktop profile='A40-4Q'/>", &["--config"]);
    assert_eq!(watch.look().problems, []);
}

#[test]
fn settings_are_written_to_both_sides() {
    let Some(server) = Server::start() else { return };
    let uuid = server.define(&WIN);
    let watch = Watch::on(&server);
    let settings = Settings {
        profiles: Some(vec!["A40-4Q".parse().unwrap()]),
        user: Some("Zoë <z&a>".parse().unwrap()),
        ..Settings::default()
    };
    let set = |settings: Option<&Settings>| watch.libvirt.set_settings(uuid, settings);
    assert_eq!(set(Some(&settings)), Ok(Applied::Changed));
    assert_eq!(set(Some(&settings)), Ok(Applied::AlreadySo));
    assert_eq!(watch.domain(uuid).settings.as_ref(), Some(&settings));
    server.virsh(&["start", "win-01"]);
    let changed = Settings { priority: Some(3), ..settings };
    assert_eq!(set(Some(&changed)), Ok(Applied::Changed));
    for side in [&["--live"], &["--config"]] {
        let text = server.virsh(&[&["metadata", "win-01", NAMESPACE], &side[..]].concat());
        assert!(text.contains("priority=\"3\"") && text.contains("user=\"Zo&#xEB; &lt;z&amp;a&gt;\""), "{text}");
    }
    assert_eq!(watch.domain(uuid).settings, Some(changed));
    assert_eq!(set(None), Ok(Applied::Changed));
    assert_eq!(set(None), Ok(Applied::AlreadySo));
    assert_eq!(watch.domain(uuid).settings, None);
}

#[test]
fn whatever_happens_to_a_domain_is_told() {
    let Some(server) = Server::start() else { return };
    let watch = Watch::on(&server);
    assert_eq!(watch.look().domains.len(), 0);
    let uuid = server.define(&WIN);
    watch.told("win-01: it was defined");
    watch.changed(&start(uuid));
    watch.told("win-01: it started");
    server.virsh(&["suspend", "win-01"]);
    watch.told("win-01: it was paused");
    assert_eq!(watch.picture(uuid), "win-01: Unknown(\"it is paused: resume it or shut it off\"), None");
    server.virsh(&["resume", "win-01"]);
    watch.told("win-01: it was resumed");
    server.virsh(&["reset", "win-01"]);
    watch.told("win-01: it rebooted");
    server.virsh(&["destroy", "win-01"]);
    watch.told("win-01: it stopped");
    server.virsh(&["domrename", "win-01", "win-02"]);
    watch.told("win-02: it was defined");
    assert_eq!(watch.picture(uuid), "win-02: Off, None");
    server.virsh(&["undefine", "win-02"]);
    watch.told("win-02: it was undefined");
    assert_eq!(watch.picture(uuid), "gone");
}

/// A USB device lets go by itself, so it stands in for a PCI device, for which a guest would have to run.
#[test]
fn devices_that_come_and_go_are_told() {
    let Some(server) = Server::start() else { return };
    let uuid = server.define(&Spec { devices: "<controller type='usb' index='0' model='qemu-xhci'/>", ..WIN });
    let watch = Watch::on(&server);
    watch.changed(&start(uuid));
    watch.domain(uuid);
    let tablet = server.file(
        "tablet.xml",
        "<input type='tablet' bus='usb'><alias name='ua-headstart-tablet'/><address type='usb' bus='0' port='1'/></input>",
    );
    server.virsh(&["attach-device", "win-01", &tablet, "--live"]);
    watch.told("win-01: it got the device ua-headstart-tablet");
    server.virsh(&["detach-device", "win-01", &tablet, "--live"]);
    watch.told("win-01: it let go of the device ua-headstart-tablet");
}

#[test]
fn a_domain_without_a_definition_is_seen() {
    let Some(server) = Server::start() else { return };
    let watch = Watch::on(&server);
    let uuid = server.create(&WIN);
    assert_eq!(watch.picture(uuid), "win-01: Running { ready: false }, None");
    server.virsh(&["destroy", "win-01"]);
    watch.until_domain(uuid, "it is not there", |domain| domain.is_none());
}

#[test]
fn many_domains_are_seen_at_once() {
    let Some(server) = Server::start() else { return };
    for digit in 0..16 {
        server.define(&Spec { name: &format!("win-{digit:02}"), digit, ..WIN });
    }
    let watch = Watch::on(&server);
    let seen = watch.look();
    assert_eq!(seen.domains.len(), 16);
    assert!(seen.complete && seen.domains.values().all(|domain| domain.power == Power::Off));
}
