//! The loop while libvirt waits for its hook: a host whose looks come back only when the hook has, as libvirt's do, since it holds the
//! domain until then.
#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect shall fail")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use headstart_core::desktop::Settings as DesktopSettings;
use headstart_core::gpu::DeviceId;
use headstart_core::history::History;
use headstart_core::hook::{Operation, note_made};
use headstart_core::id::{DesktopName, DomainUuid};
use headstart_core::observed::{Domain, Gap, Observed};
use headstart_core::step::{Applied, FailureKind, Step, StepError};
use headstart_core::text::Scene;
use headstart_core::unit::Span;
use headstartd::clock::Clock;
use headstartd::host::Host;
use headstartd::message::{Message, Told};
use headstartd::reconcile::memory::{FORGET, Memory, Settings};
use headstartd::reconcile::{Parts, Reconcile};
use headstartd::status::{Mode, Status};
use headstartd::store::{Record, Source, Store};
use headstartd::systemd::Systemd;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// Everything that is waited for comes within this, on a slow machine too; without the daemon's help libvirt would wait longer.
const DEADLINE: Duration = Duration::from_secs(60);

struct Shown {
    observed: Observed,
    /// Domains that libvirt will tell of.
    later: BTreeMap<DomainUuid, Domain>,
    applied: Vec<Step>,
    /// Looks do not come back.
    locked: bool,
    /// How many looks wait.
    waiting: usize,
    /// What becomes of steps.
    fails: Option<FailureKind>,
    /// Steps do not come back.
    hangs: bool,
}

/// The host: what it shows, and how it keeps looks waiting.
struct Locked {
    shown: Mutex<Shown>,
    changed: Condvar,
}

impl Locked {
    fn change(&self, change: impl FnOnce(&mut Shown)) {
        change(&mut self.shown.lock().unwrap());
        self.changed.notify_all();
    }

    fn wait(&self, until: impl Fn(&Shown) -> bool) {
        let shown = self.shown.lock().unwrap();
        let waited = self.changed.wait_timeout_while(shown, DEADLINE, |shown| !until(shown)).unwrap();
        assert!(!waited.1.timed_out());
    }
}

impl Host for Locked {
    fn observe(&self) -> Observed {
        let mut shown = self.shown.lock().unwrap();
        shown.waiting += 1;
        self.changed.notify_all();
        let mut shown = self.changed.wait_while(shown, |shown| shown.locked).unwrap();
        shown.waiting -= 1;
        shown.observed.clone()
    }

    fn apply(&self, step: &Step) -> Result<Applied, StepError> {
        let mut shown = self.changed.wait_while(self.shown.lock().unwrap(), |shown| shown.hangs).unwrap();
        if let Some(kind) = shown.fails {
            return Err(StepError { kind, text: format!("could not {step}: EIO") });
        }
        shown.applied.push(step.clone());
        note_made(&mut shown.observed, step);
        if let Step::RemoveMdev { gpu, uuid, .. } = step {
            shown.observed.gpus.get_mut(gpu).unwrap().vgpus.remove(&DeviceId::Mdev(*uuid)).unwrap();
        }
        self.changed.notify_all();
        Ok(Applied::Changed)
    }
}

struct Running {
    host: Arc<Locked>,
    messages: mpsc::Sender<Message>,
    status: watch::Receiver<Arc<Status>>,
    decisions: broadcast::Receiver<headstartd::bus::Decision>,
}

/// The loop on this scene; its desktops opt in by their metadata.
fn start(scene: &str, mode: Mode) -> Running {
    start_with(scene, mode, Store::in_memory().unwrap())
}

/// The same with a history.
fn start_with(scene: &str, mode: Mode, store: Store) -> Running {
    let scene: Scene = scene.parse().unwrap();
    let mut observed = scene.observed;
    for (uuid, desktop) in scene.desktops {
        observed.domains.get_mut(&uuid).unwrap().settings = Some(DesktopSettings {
            profiles: Some(desktop.profiles),
            attach: Some(desktop.attach),
            missing_gpu: Some(desktop.missing_gpu),
            ..DesktopSettings::default()
        });
    }
    let shown = Shown {
        observed,
        later: BTreeMap::new(),
        applied: Vec::new(),
        locked: false,
        waiting: 0,
        fails: None,
        hangs: false,
    };
    let host = Arc::new(Locked { shown: Mutex::new(shown), changed: Condvar::new() });
    let (messages, inbox) = mpsc::channel(16);
    let (status, shown) = watch::channel(Arc::default());
    let (decisions, told) = broadcast::channel(64);
    let settings = Settings { policy: scene.policy, rules: Vec::new(), zone: jiff::tz::TimeZone::UTC, mode };
    let parts = Parts {
        host: host.clone(),
        clock: Clock::Wall,
        simulation: None,
        settings,
        zone_name: String::new(),
        poll: Span::hours(1),
        refit_at: jiff::civil::time(3, 0, 0, 0),
        store,
        model_path: None::<PathBuf>,
        messages: inbox,
        status,
        decisions,
        systemd: Systemd::new(None),
        calendars: headstartd::calendar::Reader::new(Vec::new(), ""),
        exit_at_end: false,
    };
    let memory = Memory::new(History::new(FORGET), headstart_core::forecast::Model::default());
    tokio::spawn(Reconcile::new(parts, memory).run());
    Running { host, messages, status: shown, decisions: told }
}

fn xml(name: &str, device: DeviceId) -> String {
    let (kind, address) = match device {
        DeviceId::Mdev(uuid) => ("mdev", format!("uuid='{uuid}'")),
        DeviceId::Vf(vf) => {
            let text = vf.to_string();
            let part = |range| text.get(range).unwrap();
            (
                "pci",
                format!(
                    "domain='0x{}' bus='0x{}' slot='0x{}' function='0x{}'",
                    part(0..4),
                    part(5..7),
                    part(8..10),
                    part(11..12)
                ),
            )
        }
    };
    format!(
        "<domain><name>{name}</name><uuid>{}</uuid><devices><hostdev type='{kind}'><source><address {address}/></source>\
         <alias name='ua-headstart-vgpu'/></hostdev></devices></domain>",
        Scene::uuid(name)
    )
}

fn own(name: &str) -> DeviceId {
    DeviceId::Mdev(Scene::uuid(name).mdev())
}

impl Running {
    /// Waits for the first round.
    async fn first_round(&mut self) {
        tokio::time::timeout(DEADLINE, self.status.changed()).await.unwrap().unwrap();
    }

    async fn send(&self, operation: Operation, xml: String) -> oneshot::Receiver<Told> {
        let (reply, told) = oneshot::channel();
        self.messages.send(Message::Hook { operation, xml, reply }).await.unwrap();
        told
    }

    async fn asks(&self, operation: Operation, xml: String) -> Told {
        let told = self.send(operation, xml).await;
        tokio::time::timeout(DEADLINE, told).await.unwrap().unwrap()
    }

    /// From now on no look comes back; one has begun when this returns.
    async fn lock(&self) {
        self.host.change(|shown| shown.locked = true);
        self.messages.send(Message::Reconcile).await.unwrap();
        let host = self.host.clone();
        tokio::task::spawn_blocking(move || host.wait(|shown| shown.waiting > 0)).await.unwrap();
    }

    /// Everything sent before has been taken when this comes back.
    async fn explained(&self, name: &str) {
        let (reply, text) = oneshot::channel();
        self.messages.send(Message::Explain { desktop: name.parse().unwrap(), reply }).await.unwrap();
        assert!(tokio::time::timeout(DEADLINE, text).await.unwrap().unwrap().is_some());
    }

    /// What was decided about a desktop so far.
    fn decisions(&mut self, name: &str) -> Vec<String> {
        let told = std::iter::from_fn(|| self.decisions.try_recv().ok());
        told.filter(|it| it.desktop.as_ref().is_some_and(|it| it.as_str() == name)).map(|it| it.what).collect()
    }

    fn applied(&self) -> Vec<String> {
        self.host.shown.lock().unwrap().applied.iter().map(|step| step.kind().to_owned()).collect()
    }
}

const GPU: &str = "
    gpu 3b mdev equal-size 8192
      A-4Q 4096 x2
";

#[tokio::test]
async fn a_hook_is_answered_while_a_look_waits_for_that_very_answer() {
    let mut running = start(
        &format!("{GPU}\ndesktop vm1 live A-4Q off\ndesktop vm2 live A-4Q off\ndesktop vm3 live A-4Q off block"),
        Mode::Armed,
    );
    running.first_round().await;
    running.lock().await;
    for name in ["vm1", "vm2"] {
        let told = running.asks(Operation::Prepare, xml(name, own(name))).await;
        assert_eq!(told, Told { allowed: true, note: String::new(), xml: String::new() });
    }
    assert_eq!(running.applied(), ["create-mdev", "create-mdev"]);
    // What was made since the last look counts, though no look has shown it.
    let told = running.asks(Operation::Prepare, xml("vm3", own("vm3"))).await;
    assert!(!told.allowed && told.note.contains("all 2 instances of the profile are taken"), "{told:?}");
    // Other calls wait for the look and are not lost.
    let (reply, cookie) = oneshot::channel();
    running.messages.send(Message::Hold { owner: ":1.1".into(), reason: "x".into(), reply }).await.unwrap();
    running.host.change(|shown| shown.locked = false);
    assert_eq!(tokio::time::timeout(DEADLINE, cookie).await.unwrap().unwrap(), 1);
    // Who was refused does not start, as the rounds see it.
    running.explained("vm3").await;
    assert_eq!(running.decisions("vm3"), ["start refused"]);
}

#[tokio::test]
async fn what_starts_keeps_its_device_until_it_is_seen_to_run_or_has_stopped() {
    let mut running = start(&format!("{GPU}\n desktop vm1 live A-4Q off"), Mode::Armed);
    running.first_round().await;
    let state = |running: &Running| running.status.borrow().desktops.values().next().unwrap().state;
    assert!(running.asks(Operation::Prepare, xml("vm1", own("vm1"))).await.allowed);
    // Looks still show a domain that is off and names nothing; its mdev is not idle all the same.
    for _ in 0..3 {
        running.messages.send(Message::Reconcile).await.unwrap();
        tokio::time::timeout(DEADLINE, running.status.changed()).await.unwrap().unwrap();
    }
    assert_eq!((state(&running), running.applied()), ("preparing", vec!["create-mdev".to_owned()]));
    // The start came to nothing: its device goes, and it does not start by itself.
    running.messages.send(Message::Stopped { domain: "vm1".parse().unwrap() }).await.unwrap();
    let host = running.host.clone();
    tokio::task::spawn_blocking(move || host.wait(|shown| shown.applied.len() == 2)).await.unwrap();
    assert_eq!(running.applied(), ["create-mdev", "remove-mdev"]);
}

#[tokio::test]
async fn what_cannot_be_made_in_time_is_not_waited_for() {
    let mut running =
        start(&format!("{GPU}\n desktop vm1 live A-4Q off\n desktop vm2 live A-4Q off block"), Mode::Armed);
    running.first_round().await;
    running.host.change(|shown| shown.hangs = true);
    let (one, two) = tokio::join!(
        running.asks(Operation::Prepare, xml("vm1", own("vm1"))),
        running.asks(Operation::Prepare, xml("vm2", own("vm2")))
    );
    assert!(one.allowed && one.note.contains("within 1500 ms; the start is not refused"), "{one:?}");
    assert!(!two.allowed && two.note.contains("0000:3b:00.0 is busy (create mdev"), "{two:?}");
    assert!(two.note.contains("missing-gpu = \"block\""), "{two:?}");
    running.host.change(|shown| shown.hangs = false);
}

#[tokio::test]
async fn what_fails_says_why() {
    let mut running = start(&format!("{GPU}\n desktop vm1 live A-4Q off"), Mode::Armed);
    running.first_round().await;
    running.host.change(|shown| shown.fails = Some(FailureKind::Transient));
    let told = running.asks(Operation::Prepare, xml("vm1", own("vm1"))).await;
    assert!(told.allowed && told.note.contains("EIO; the start is not refused"), "{told:?}");
}

#[tokio::test]
async fn in_shadow_mode_and_during_a_hold_nothing_is_made() {
    let scene = format!("{GPU}\n desktop vm1 live A-4Q off block");
    let mut shadow = start(&scene, Mode::Shadow);
    shadow.first_round().await;
    let told = shadow.asks(Operation::Prepare, xml("vm1", own("vm1"))).await;
    assert_eq!((told.allowed, told.note.as_str(), shadow.applied().len()), (true, "", 0));

    let mut held = start(&scene, Mode::Armed);
    held.first_round().await;
    let (reply, cookie) = oneshot::channel();
    held.messages.send(Message::Hold { owner: ":1.1".into(), reason: "driver update".into(), reply }).await.unwrap();
    cookie.await.unwrap();
    let told = held.asks(Operation::Prepare, xml("vm1", own("vm1"))).await;
    assert!(!told.allowed && told.note.contains("a hold is in force (driver update)"), "{told:?}");
    assert_eq!(held.applied().len(), 0);
}

#[tokio::test]
async fn a_definition_from_elsewhere_gets_a_vf_and_keeps_it() {
    let gpu = "gpu 3b vfio-variant equal-size 8192 vfs=2\n A-4Q 4096 x2\n";
    let mut running = start(&format!("{gpu}\n desktop vm1 live A-4Q off\n desktop vm2 live A-4Q off"), Mode::Armed);
    running.first_round().await;
    let foreign = DeviceId::Vf("0000:af:00.1".parse().unwrap());
    let vf = |n: u8| DeviceId::Vf(format!("0000:3b:00.{n}").parse().unwrap());
    for (name, n) in [("vm1", 1), ("vm2", 2)] {
        let told = running.asks(Operation::Restore, xml(name, foreign)).await;
        assert_eq!((told.allowed, told.xml), (true, xml(name, vf(n))), "each its own");
        let told = running.asks(Operation::Prepare, xml(name, vf(n))).await;
        assert_eq!((told.allowed, told.note.as_str()), (true, ""));
    }
    assert_eq!(running.applied(), ["set-vgpu-type", "set-vgpu-type"]);
}

#[tokio::test]
async fn a_definition_with_an_mdev_gets_a_vf_where_there_are_no_mdevs() {
    let gpu = "gpu 3b vfio-variant equal-size 8192 vfs=2\n A-4Q 4096 x2\n";
    let mut running = start(&format!("{gpu}\n desktop vm1 live A-4Q off"), Mode::Armed);
    running.first_round().await;
    let told = running.asks(Operation::Restore, xml("vm1", own("vm1"))).await;
    let vf = DeviceId::Vf("0000:3b:00.1".parse().unwrap());
    let whole = "<hostdev mode='subsystem' type='pci' managed='no'>";
    assert_eq!((told.allowed, told.xml), (true, xml("vm1", vf).replace("<hostdev type='pci'>", whole)));
    assert_eq!(told.note, format!("{vf} of this host takes the place of {}", own("vm1")));
    let told = running.asks(Operation::Prepare, xml("vm1", vf)).await;
    assert_eq!((told.allowed, told.note.as_str()), (true, ""));
    assert_eq!(running.applied(), ["set-vgpu-type"]);
}

#[tokio::test]
async fn before_libvirt_has_told_of_any_domain_the_definition_is_enough() {
    let mut running = start(&format!("gap domains\n{GPU}"), Mode::Armed);
    running.first_round().await;
    let metadata =
        "<metadata><h:desktop xmlns:h='https://headstart.dev/xmlns/desktop/1' profile='A-4Q'/></metadata><devices>";
    let xml = xml("vm1", own("vm1")).replace("<devices>", metadata);
    let told = running.asks(Operation::Prepare, xml.clone()).await;
    assert_eq!((told.allowed, told.note.as_str()), (true, ""));
    // Whoever does not opt in is none of ours, whatever it names.
    let told = running.asks(Operation::Prepare, self::xml("vm2", own("vm2"))).await;
    assert!(told.allowed && told.note.contains("vm2 is not managed here"), "{told:?}");
    assert_eq!(running.applied(), ["create-mdev"]);
}

#[tokio::test]
async fn a_device_whose_profile_nobody_tells_is_not_made_and_says_what_to_do() {
    let mut running = start(&format!("{GPU}\n desktop vm1 live A-4Q off\n desktop vm2 live A-4Q off"), Mode::Armed);
    let silent = |more: &str| {
        let desktop = format!("<h:desktop xmlns:h='https://headstart.dev/xmlns/desktop/1' {more}/>");
        xml("vm1", own("vm1")).replace("<devices>", &format!("<metadata>{desktop}</metadata><devices>"))
    };
    running.host.change(|shown| {
        let domain = shown.observed.domains.get_mut(&Scene::uuid("vm1")).unwrap();
        domain.settings = Some(DesktopSettings::default());
    });
    running.first_round().await;
    let why = format!(
        "{} does not exist and cannot be made for vm1: no profile is set: name one in its metadata or in a [[desktop]] rule \
         of the configuration; ",
        own("vm1")
    );
    let told = running.asks(Operation::Prepare, silent("")).await;
    assert_eq!((told.allowed, told.note), (true, format!("{why}the start is not refused")));
    // Also then it may be wished that it rather does not start.
    let told = running.asks(Operation::Prepare, silent("missing-gpu='block'")).await;
    let block = "its setting missing-gpu = \"block\" lets vm1 not start without its GPU";
    assert_eq!((told.allowed, told.note), (false, format!("{why}{block}")));
    assert_eq!(running.applied().len(), 0);
}

#[tokio::test]
async fn what_is_no_domain_goes_on_with_a_note() {
    let mut running = start(GPU, Mode::Armed);
    running.first_round().await;
    let told = running.asks(Operation::Prepare, "<network/>".into()).await;
    let note = "its XML is not a domain's: it begins with <network>; it goes on without headstart";
    assert_eq!((told.allowed, told.note.as_str()), (true, note));
}

#[tokio::test]
async fn who_shares_a_pool_is_learned_when_libvirt_tells() {
    let store = Store::in_memory().unwrap();
    let now = Clock::Wall.now();
    for day in 1..=28 {
        let at = now - Span::days(day) + Span::hours(1);
        let desktop: DesktopName = if day % 2 == 0 { "vm1" } else { "vm2" }.parse().unwrap();
        store.record(Record::SessionStarted {
            desktop: desktop.clone(),
            user: None,
            at,
            offset: None,
            source: Source::Broker,
        });
        store.record(Record::SessionEnded { desktop, at: at + Span::hours(2) });
    }
    store.flush().await;
    let mut running =
        start_with(&format!("{GPU}\n desktop vm1 live A-4Q off\n desktop vm2 live A-4Q off"), Mode::Shadow, store);
    let pooled = |settings: &mut Option<DesktopSettings>| {
        settings.as_mut().unwrap().pool = Some("design".parse().unwrap());
    };
    running.host.change(|shown| {
        shown.observed.domains.values_mut().for_each(|domain| pooled(&mut domain.settings));
        shown.later = std::mem::take(&mut shown.observed.domains);
        shown.observed.gaps.insert(Gap::Domains);
    });
    running.first_round().await;
    running.host.change(|shown| {
        shown.observed.domains = std::mem::take(&mut shown.later);
        shown.observed.gaps.clear();
    });
    running.messages.send(Message::Reconcile).await.unwrap();
    let expected = async {
        loop {
            // Of the desktop that is next in its pool; the other one is needed only if two come.
            let likeliest =
                |status: &Status| status.desktops.values().map(|desktop| desktop.today.get()).fold(0.0, f64::max);
            if likeliest(&running.status.borrow_and_update()) > 0.3 {
                return;
            }
            running.status.changed().await.unwrap();
        }
    };
    tokio::time::timeout(DEADLINE, expected).await.expect("the pool's logins are expected");
}
