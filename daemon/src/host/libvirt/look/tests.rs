//! Everything that a domain may be in, told as libvirt tells it.

use std::time::Duration;

use expect_test::{Expect, expect};
use headstart_core::unit::Time;

use super::super::ffi::{Client, DomainEvent, Phase, What};
use super::super::login::Answer;
use super::super::memory::{BOOT, BOOT_WITHOUT_ANSWER, SHUTDOWN_DEADLINE, UNPLUG_DEADLINE};
use super::*;
use crate::host::desktop_xml::NAMESPACE;
use crate::host::domain_xml::hostdev;

const ID: &str = "11111111-2222-3333-4444-555555555555";
const RUNNING: (u32, u32) = (sys::VIR_DOMAIN_RUNNING, 1);
const OFF: (u32, u32) = (sys::VIR_DOMAIN_SHUTOFF, 1);
const AGENT: &str =
    "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='connected'/></channel>";
const NO_AGENT: &str =
    "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='disconnected'/></channel>";
const SCREEN: &str = "<graphics type='vnc' port='5900'/>";

fn uuid() -> DomainUuid {
    ID.parse().unwrap()
}

fn vf() -> DeviceId {
    DeviceId::Vf("0000:3b:00.4".parse().unwrap())
}

/// The device as we attach it.
fn ours() -> String {
    hostdev(vf(), true)
}

/// The same device, attached by somebody else.
fn theirs() -> String {
    ours().replace("ua-headstart-", "ua-")
}

fn alias() -> String {
    crate::host::domain_xml::alias(vf())
}

fn xml(run: Option<u32>, devices: &str) -> String {
    let id = run.map(|run| format!(" id='{run}'")).unwrap_or_default();
    let metadata = format!("<metadata><h:desktop xmlns:h='{NAMESPACE}' profile='A'/></metadata>");
    format!(
        "<domain type='kvm'{id}><name>win-01</name><uuid>{ID}</uuid>{metadata}<devices>{devices}</devices></domain>"
    )
}

fn off(devices: &str) -> Said {
    Said {
        uuid: uuid(),
        name: "win-01".into(),
        state: OFF,
        saved: false,
        current: xml(None, devices),
        definition: None,
    }
}

/// Runs with these devices, while its definition names those.
fn running(live: &str, definition: &str) -> Said {
    Said { state: RUNNING, current: xml(Some(3), live), definition: Some(xml(None, definition)), ..off("") }
}

/// A libvirt, in words.
struct Scene {
    start: Instant,
    seconds: u64,
    memory: Memory,
    connected: Result<Connected, String>,
}

impl Scene {
    fn new() -> Self {
        Self { start: Instant::now(), seconds: 0, memory: Memory::default(), connected: Ok(Connected::new()) }
    }

    fn now(&self) -> Now {
        Now { at: self.start + Duration::from_secs(self.seconds), time: Time::from_unix(self.seconds as i64) }
    }

    fn pass(&mut self, time: Duration) {
        self.seconds += time.as_secs();
    }

    fn seen(&mut self, all: &[Said]) -> Seen {
        let connected = || self.connected.clone();
        let watched = |domain: &Domain| domain.settings.is_some();
        let situation = Situation { now: self.now(), watched: &watched, connected: &connected };
        seen(all, &mut self.memory, &situation).0
    }

    fn look(&mut self, said: &Said) -> Domain {
        self.seen(std::slice::from_ref(said)).domains.remove(&said.uuid).expect("it is there")
    }

    /// Power, login, devices and problems of one domain.
    fn check(&mut self, said: &Said, want: &Expect) {
        let seen = self.seen(std::slice::from_ref(said));
        let domain = &seen.domains[&said.uuid];
        let mut lines = vec![format!("{:?}, {:?}", domain.power, domain.login)];
        lines.extend(domain.hostdevs.iter().map(|hostdev| {
            format!("{} {:?}{}", hostdev.device, hostdev.attachment, if hostdev.ours { ", ours" } else { "" })
        }));
        lines.extend(seen.problems.iter().map(ToString::to_string));
        want.assert_eq(&lines.join("\n"));
    }

    fn told(&mut self, run: Option<u32>, what: What) -> Option<String> {
        let event = DomainEvent { uuid: uuid(), name: "win-01".into(), run, what };
        let now = self.now();
        self.memory.told(&event, now)
    }

    fn run(&mut self) -> &mut Run {
        self.memory.known(uuid(), 3).expect("it was seen running")
    }
}

#[test]
fn states_are_told_apart() {
    let mut scene = Scene::new();
    scene.check(&off(""), &expect!["Off, None"]);
    scene.check(&running("", ""), &expect!["Running { ready: false }, None"]);
    for (state, reason, want) in [
        (sys::VIR_DOMAIN_BLOCKED, 0, "Running { ready: false }"),
        (sys::VIR_DOMAIN_SHUTDOWN, 0, "Stopping"),
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_USER, "Unknown(\"it is paused: resume it or shut it off\")"),
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_STARTING_UP, "Running { ready: false }"),
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_SHUTTING_DOWN, "Stopping"),
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_SNAPSHOT, "Unknown(\"a snapshot of it is being made\")"),
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_SAVE, "Unknown(\"it is being saved\")"),
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_MIGRATION, "Unknown(\"it is being migrated\")"),
        (
            sys::VIR_DOMAIN_PAUSED,
            sys::VIR_DOMAIN_PAUSED_IOERROR,
            "Unknown(\"it is paused, since its disk failed: look at it and resume it\")",
        ),
        (sys::VIR_DOMAIN_CRASHED, 1, "Unknown(\"it crashed and is kept for a look: destroy it when you are done\")"),
        (
            sys::VIR_DOMAIN_PMSUSPENDED,
            1,
            "Unknown(\"its guest sleeps: wake it with virsh dompmwakeup, or shut it off\")",
        ),
        (sys::VIR_DOMAIN_NOSTATE, 0, "Unknown(\"libvirt gives it the state 0 (0)\")"),
        (77, 5, "Unknown(\"libvirt gives it the state 77 (5)\")"),
    ] {
        let said = Said { state: (state, reason), ..running("", "") };
        assert_eq!(format!("{:?}", scene.look(&said).power), want);
    }
    let gone = Said { current: xml(None, ""), definition: None, ..running("", "") };
    assert_eq!(scene.look(&gone).power, Power::Stopping, "it stopped between two questions");
}

#[test]
fn a_saved_domain_is_left_alone() {
    // What it names counts; what it is started with is in its image.
    Scene::new().check(
        &Said { saved: true, ..off(&ours()) },
        &expect![[r#"
            Unknown("it has a managed save image, and its next start goes on with the devices it had then: start it, if need be with --force-boot, which drops the image"), None
            0000:3b:00.4 Attached, ours"#]],
    );
    Scene::new().check(
        &Said { state: (sys::VIR_DOMAIN_SHUTOFF, sys::VIR_DOMAIN_SHUTOFF_SAVED), ..off("") },
        &expect![[r#"
            Unknown("it was saved into a file, which would not fit its disks any more if it were started anew: virsh restore the file, or start it yourself"), None"#]],
    );
}

#[test]
fn devices_count_on_either_side() {
    let mut scene = Scene::new();
    scene.check(
        &off(&ours()),
        &expect![[r"
        Off, None
        0000:3b:00.4 Attached, ours"]],
    );
    scene.check(
        &running(&ours(), &ours()),
        &expect![[r"
        Running { ready: false }, None
        0000:3b:00.4 Attached, ours"]],
    );
    scene.check(
        &running(&ours(), ""),
        &expect![[r"
        Running { ready: false }, None
        0000:3b:00.4 Attached, ours"]],
    );
    scene.check(&running("", &ours()), &expect![[r"
        Running { ready: false }, None
        0000:3b:00.4 DetachRefused, ours
        win-01: device 0000:3b:00.4: the running guest does not have it, its definition does; it gets it at its next start"]]);
    scene.check(
        &running("", &theirs()),
        &expect![[r"
        Running { ready: false }, None
        0000:3b:00.4 Attached"]],
    );
    // Somebody else wrote one of the two.
    for said in [running(&ours(), &theirs()), running(&theirs(), &ours())] {
        scene.check(
            &said,
            &expect![[r"
            Running { ready: false }, None
            0000:3b:00.4 Attached"]],
        );
    }
    let transient = Said { definition: None, ..running(&ours(), "") };
    scene.check(
        &transient,
        &expect![[r"
        Running { ready: false }, None
        0000:3b:00.4 Attached, ours"]],
    );
}

#[test]
fn an_unplug_ends_by_answer_or_deadline() {
    let mut scene = Scene::new();
    let said = running(&ours(), "");
    let attachment =
        |scene: &mut Scene, said: &Said| scene.look(said).hostdevs.first().map(|hostdev| hostdev.attachment);
    assert_eq!(attachment(&mut scene, &said), Some(Attachment::Attached));
    let at = scene.now().at;
    scene.run().unplug_asked(&alias(), at);
    assert_eq!(attachment(&mut scene, &said), Some(Attachment::Detaching));
    scene.told(Some(3), What::Removed("ua-headstart-other".into()));
    assert_eq!(attachment(&mut scene, &said), Some(Attachment::Detaching), "another device's answer");
    scene.told(Some(3), What::RemovalFailed(alias()));
    scene.check(
        &said,
        &expect![[r"
        Running { ready: false }, None
        0000:3b:00.4 DetachRefused, ours
        win-01: device 0000:3b:00.4: the guest refused"]],
    );
    // It lets go after all.
    assert_eq!(attachment(&mut scene, &running("", "")), None);
    assert_eq!(attachment(&mut scene, &said), Some(Attachment::Attached), "a device that comes again is a new one");

    scene.run().unplug_asked(&alias(), at);
    scene.pass(UNPLUG_DEADLINE);
    scene.check(
        &said,
        &expect![[r#"
            Running { ready: true }, Unknown("no guest agent tells who is logged in: install qemu-guest-agent in it, or set `presence` to \"screen\" or \"broker\" in its settings")
            0000:3b:00.4 DetachRefused, ours
            win-01: device 0000:3b:00.4: the guest has not answered for 60 s"#]],
    );
    // Off, and started again: nothing was asked of this run.
    scene.look(&off(&ours()));
    assert_eq!(attachment(&mut scene, &said), Some(Attachment::Attached));
}

#[test]
fn a_refusal_ends_with_the_run_also_unseen() {
    let mut scene = Scene::new();
    scene.look(&running(&ours(), ""));
    let at = scene.now().at;
    scene.run().unplug_asked(&alias(), at);
    let next = Said { current: xml(Some(4), &ours()), ..running("", "") };
    assert_eq!(scene.look(&next).hostdevs[0].attachment, Attachment::Attached);
    assert_eq!(scene.told(Some(3), What::RemovalFailed(alias())), None, "the answer of the run before");
    assert_eq!(scene.look(&next).hostdevs[0].attachment, Attachment::Attached);
}

#[test]
fn a_guest_is_up_when_its_agent_is_or_after_a_while() {
    let ready =
        |scene: &mut Scene, devices: &str| scene.look(&running(devices, "")).power == Power::Running { ready: true };
    let mut scene = Scene::new();
    assert!(ready(&mut scene, AGENT));
    let mut scene = Scene::new();
    assert!(!ready(&mut scene, ""));
    scene.pass(BOOT);
    assert!(ready(&mut scene, ""));
    assert!(!ready(&mut scene, NO_AGENT), "the agent may still come");
    scene.pass(BOOT_WITHOUT_ANSWER);
    assert!(ready(&mut scene, NO_AGENT), "it has the channel and no agent");
    scene.told(Some(3), What::Reboot);
    assert!(!ready(&mut scene, NO_AGENT), "it boots again");
}

#[test]
fn a_guest_that_was_asked_to_shut_down_is_stopping_for_a_while() {
    let mut scene = Scene::new();
    let said = running(AGENT, "");
    scene.look(&said);
    let now = scene.now();
    scene.run().shutdown_asked(now);
    assert_eq!(scene.look(&said).power, Power::Stopping);
    scene.run().agent.answered(&Answer::Users(Vec::new()), Duration::from_secs(600), now);
    scene.pass(SHUTDOWN_DEADLINE);
    scene.check(&said, &expect![[r"
        Running { ready: true }, None
        win-01: it was asked to shut down at 1970-01-01T00:00:00Z, once in all, and still runs: shut it down by hand, or let its guest react to the power button"]]);
    let now = scene.now();
    scene.run().shutdown_asked(now);
    scene.check(&said, &expect![[r"
        Stopping, None
        win-01: it was asked to shut down at 1970-01-01T00:00:00Z, 2 times in all, and still runs: shut it down by hand, or let its guest react to the power button"]]);
    scene.told(Some(3), What::Reboot);
    assert_eq!(scene.look(&said).power, Power::Running { ready: true }, "it rebooted instead");
}

#[test]
fn people_are_found_by_agent_screen_and_kernel() {
    let mut scene = Scene::new();
    let both = format!("{AGENT}{SCREEN}");
    let login = |scene: &mut Scene, devices: &str| format!("{:?}", scene.look(&running(devices, "")).login);
    assert_eq!(login(&mut scene, &both), "Unknown(\"its guest agent has not been asked yet\")");
    let client: std::net::SocketAddr = "10.0.0.7:50000".parse().unwrap();
    let words = scene.told(Some(3), What::Screen(Phase::LetIn, Client::Tcp(client)));
    assert_eq!(words.as_deref(), Some("somebody came to its screen, or left"));
    scene.connected = Ok([(5900, [client].into()), (22, ["10.0.0.9:1".parse().unwrap()].into())].into());
    assert_eq!(login(&mut scene, SCREEN), "Active { since: Time(0) }");
    scene.pass(Duration::from_secs(5));
    scene.connected = Ok(Connected::new());
    assert_eq!(login(&mut scene, SCREEN), "None", "they left while nobody listened");
    let now = scene.now();
    let users = Answer::Users(vec![Some(Time::from_unix(2))]);
    assert!(scene.run().agent.answered(&users, Duration::from_secs(600), now));
    assert_eq!(login(&mut scene, &both), "Active { since: Time(2) }");
    let gone = "Unknown(\"its guest agent answered until 1970-01-01T00:00:05Z and does not any more\")";
    assert_eq!(login(&mut scene, &format!("{NO_AGENT}{SCREEN}")), gone);
    let paused = Said { state: (sys::VIR_DOMAIN_PAUSED, 1), ..running(&both, "") };
    assert_eq!(format!("{:?}", scene.look(&paused).login), gone, "a pause ends no session");
    assert_eq!(scene.look(&off("")).login, Login::None, "the end of its run does");
    scene.connected = Err("/proc/net/tcp: Permission denied".into());
    assert!(
        login(&mut scene, SCREEN).contains("who looks at its screen cannot be read: /proc/net/tcp: Permission denied")
    );
}

#[test]
fn strangers_guests_are_nobodys_business() {
    let mut scene = Scene::new();
    let stranger = |devices: &str| Said { current: xml(Some(3), devices).replace(NAMESPACE, "x:y"), ..running("", "") };
    let said = Said { definition: None, ..stranger(&format!("{AGENT}{SCREEN}{}", theirs())) };
    let refuse = || Err("nobody asked for it".to_owned());
    let watched = |domain: &Domain| domain.settings.is_some();
    let situation = Situation { now: scene.now(), watched: &watched, connected: &refuse };
    let (seen, ask) = seen(std::slice::from_ref(&said), &mut scene.memory, &situation);
    assert_eq!((ask.len(), seen.problems.len()), (0, 0));
    let domain = &seen.domains[&uuid()];
    assert_eq!((&domain.login, domain.hostdevs.len(), &domain.settings), (&Login::None, 1, &None), "its devices count");
}

#[test]
fn metadata_that_will_be_lost_is_told() {
    let mut scene = Scene::new();
    let plain = |said: Said| Said { definition: said.definition.map(|text| text.replace(NAMESPACE, "x:y")), ..said };
    let only_live = plain(running("", ""));
    scene.check(&only_live, &expect![[r"
        Running { ready: false }, None
        win-01: its headstart metadata stands in the running instance only and goes with it: set it with virsh metadata --config"]]);
    assert!(scene.look(&only_live).settings.is_some());
    let differs = Said { current: xml(Some(3), "").replace("profile='A'", "profile='B'"), ..running("", "") };
    assert_eq!(scene.look(&differs).settings.unwrap().profiles.unwrap()[0].as_str(), "A", "what lasts counts");
    let wrong = Said { current: xml(None, "").replace("profile", "profil"), ..off("") };
    scene.check(
        &wrong,
        &expect![[r#"
        Off, None
        win-01: <headstart:desktop> has the unknown attribute "profil"; did you mean `profile`?"#]],
    );
}

#[test]
fn what_cannot_be_read_is_not_free() {
    let mut scene = Scene::new();
    for current in ["<domain", "<network/>", "<!DOCTYPE a [<!ENTITY b 'c'>]><domain/>"] {
        let said = Said { current: current.into(), ..off("") };
        let seen = scene.seen(&[said]);
        assert!(!seen.complete, "a device may be its");
        assert!(matches!(seen.domains[&uuid()].power, Power::Unknown(_)));
        assert!(
            seen.problems[0].text.ends_with("; until it can be read, no device counts as free"),
            "{:?}",
            seen.problems
        );
    }
    assert!(scene.seen(&[off("")]).complete);
    let named = Said { name: " x".into(), ..off("") };
    scene.check(&named, &expect![[r#"
        Off, None
        11111111-2222-3333-4444-555555555555: desktop name " x" is not valid: it begins or ends with a blank; it is called by its UUID here"#]]);
}

#[test]
fn a_renamed_domain_is_the_same() {
    let mut scene = Scene::new();
    scene.look(&running(&ours(), ""));
    let at = scene.now().at;
    scene.run().unplug_asked(&alias(), at);
    let renamed = Said { name: "win-02".into(), ..running(&ours(), "") };
    let domain = scene.look(&renamed);
    assert_eq!((domain.uuid, domain.name.as_str()), (uuid(), "win-02"));
    assert_eq!(domain.hostdevs[0].attachment, Attachment::Detaching);
}
