//! `kill -9` at any moment: the next start finds the truth on the host and goes on. Nothing leaks, nobody who works loses their device,
//! strangers notice nothing, and the history stays whole.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use headstart_tests::daemon::Daemon;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde_json::Value;

use crate::host::{FILE, Host};
use crate::scene::{DEADLINE, DEMO_HOST, Scene, eventually, start};
use crate::signals::{Importing, LARGE};

/// Each interface and way of attaching; more desktops than vGPUs; something of a stranger's on every GPU; and now and then a failure.
const HOST: &str = r#"
[[gpu]]
address = "0000:3b:00.0"
name = "NVIDIA A40"
framebuffer-mib = 49152
interface = "vfio-variant"
partitioning = "equal-size"
vfs = 16
profiles = [{ name = "A40-8Q", framebuffer-mib = 8192, max-instances = 6, series = "Q" }]
strangers = [{ profile = "A40-8Q", domain = "stranger-a" }]

[[gpu]]
address = "0000:86:00.0"
name = "Tesla T4"
framebuffer-mib = 16384
interface = "mdev"
partitioning = "equal-size"
profiles = [{ name = "T4-2Q", framebuffer-mib = 2048, max-instances = 8, series = "Q" }]
strangers = [{ profile = "T4-2Q", domain = "stranger-b" }]

[[gpu]]
address = "0000:af:00.0"
name = "AMD Radeon PRO V710"
framebuffer-mib = 28672
interface = "sriov"
partitioning = "fixed-vfs"
vfs = 4
profiles = [{ name = "V710-1/4", framebuffer-mib = 7168, max-instances = 4 }]
strangers = [{ profile = "V710-1/4", domain = "stranger-c" }]

[[domain]]
name = "vm001"
count = 8
user = "u001"
profile = "A40-8Q"

[[domain]]
name = "vm009"
count = 4
user = "u009"
profile = "T4-2Q"

[[domain]]
name = "vm013"
count = 4
user = "u013"
profile = "T4-2Q"
attach = "live"

[[domain]]
name = "vm017"
user = "u017"
profile = "T4-2Q"
attach = "live"
guest-refuses-unplug = true

[[domain]]
name = "vm018"
count = 5
user = "u018"
profile = "V710-1/4"
boot-seconds = 90

[[fault]]
every = "5 h"
on = "0000:3b:00.0"
error = "transient"

[[fault]]
every = "7 h"
on = "vm010"
error = "transient"
"#;
/// Its VFs are there by themselves.
const FIXED: &str = "0000:af:00.0";
const PEOPLE: &str = "22";
/// Four weeks to learn from; then time flies, so that a night costs about a second.
const BEGINS: &str = "2026-02-02T05:00:00Z";
const SPEED: &str = "50000";
const KILLS: u64 = 24;

/// When to kill.
#[derive(Clone, Copy, Debug)]
enum At {
    /// So many changes of files after its start: of the host, of the history, of the model.
    Change(u64),
    /// When this step begins for the nth time.
    Step(&'static str, usize),
}

/// Moments of all kinds, the same in every run as far as they depend on us.
fn moment(n: u64) -> At {
    const STEPS: [&str; 6] = ["make ", "attach ", "start ", "shut down ", "detach ", "take "];
    // Knuth's multiplier scatters them.
    let scattered = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    match n % 3 {
        // While it starts ...
        0 => At::Change(1 + scattered % 24),
        // ... in the middle of its work ...
        1 => At::Change(40 + scattered % 500),
        // ... and as something is about to be done.
        _ => At::Step(STEPS[(n / 3) as usize % STEPS.len()], 1 + scattered as usize % 4),
    }
}

fn daemon(scene: &Scene) -> std::process::Command {
    let mut command = scene.simulated("mode = \"armed\"\n[forecast]\ntime-zone = \"Europe/Berlin\"\n", "host.toml");
    command.args(["--trace", "t.csv", "--start", BEGINS, "--speed", SPEED, "--simulate-state", FILE]);
    command.env("HEADSTART_LOG", "debug,zbus=warn");
    command
}

/// Starts the daemon and kills it at that moment. What is left is what `kill -9` leaves.
fn run_and_kill(scene: &Scene, at: At) {
    let changes = Inotify::init(InitFlags::IN_NONBLOCK).expect("the kernel has it");
    let what = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_MOVED_TO;
    changes.add_watch(scene.folder(), what).expect("our own folder");
    let mut daemon = Daemon::spawn(&mut daemon(scene)).expect("it was built");
    match at {
        At::Change(n) => {
            let began = Instant::now();
            let mut seen = 0;
            while seen < n {
                let mut ready = [PollFd::new(changes.as_fd(), PollFlags::POLLIN)];
                poll(&mut ready, PollTimeout::from(100_u8)).expect("it can be waited for");
                seen += changes.read_events().map_or(0, |events| events.len() as u64);
                assert!(began.elapsed() < DEADLINE, "{seen} of {n} changes:\n{}", daemon.log().text());
            }
        }
        At::Step(step, n) => {
            let begun = std::cell::Cell::new(0);
            let fits = |line: &str| {
                begun.set(begun.get() + usize::from(line.contains(&format!("DEBUG {step}"))));
                begun.get() == n
            };
            daemon.log().find(step, DEADLINE, fits).expect("the trace is long enough");
        }
    }
    daemon.kill();
    let status = daemon.wait(DEADLINE).expect("nothing survives that");
    assert_eq!(status.code(), None, "it ended by itself:\n{}", daemon.log().whole());
}

/// Who is logged in and works with a device of ours, since when.
fn at_work(host: &Host) -> BTreeMap<String, (i64, BTreeSet<String>)> {
    let working = host.guests.iter().filter(|(_, guest)| guest.power == "Up" && !guest.ours.is_empty());
    working.filter_map(|(uuid, guest)| Some((uuid.clone(), (guest.user?, guest.ours.clone())))).collect()
}

/// What must hold from one look at the host to the next, whatever happened between.
fn compare(before: &Host, after: &Host) {
    assert_eq!(after.foreign(), before.foreign(), "strangers notice nothing");
    for (uuid, (since, devices)) in at_work(before) {
        let guest = &after.guests[&uuid];
        if guest.user == Some(since) {
            assert_eq!(guest.all, devices, "{uuid}: whoever works keeps their device");
        }
    }
    assert!(before.now <= after.now, "the clock goes on where it stopped");
}

/// Every desktop is seen at rest, and every idle device is seen to go or to find its desktop; on the way nothing is taken from anybody.
fn converges(scene: &Scene, daemon: &Daemon, left: &Host) {
    let mut last = left.clone();
    let mut restless: Option<BTreeSet<String>> = None;
    let mut idle: Option<BTreeSet<String>> = None;
    eventually("the host settles", || {
        let host = Host::read(scene).ok_or("there is no host")?;
        compare(&last, &host);
        let still = host.idle(FIXED);
        idle = Some(idle.take().map_or(still.clone(), |before| before.intersection(&still).cloned().collect()));
        let desktops = scene.headstart(&["desktops", "--json"]).json();
        let moving = |desktop: &&Value| desktop["state"] == "preparing" || desktop["state"] == "releasing";
        let moving =
            desktops.as_array().expect("a list").iter().filter(moving).map(|desktop| desktop["name"].to_string());
        let moving: BTreeSet<String> = moving.collect();
        restless =
            Some(restless.take().map_or(moving.clone(), |before| before.intersection(&moving).cloned().collect()));
        last = host;
        let (restless, idle) = (restless.iter().flatten(), idle.iter().flatten());
        if restless.clone().chain(idle.clone()).next().is_none() {
            return Ok(());
        }
        Err(format!(
            "preparing or releasing all the time: {:?}; devices that nobody names: {:?}\n{}",
            restless.collect::<Vec<_>>(),
            idle.collect::<Vec<_>>(),
            daemon.log().text()
        ))
    });
}

/// A history that anybody can read, and nothing in it that did not happen. Returns the sessions since the simulation began.
fn history(scene: &Scene, trace: &BTreeSet<(String, i64)>) -> BTreeSet<(String, i64)> {
    let history = rusqlite::Connection::open(scene.path("history.db")).expect("it opens");
    history.busy_timeout(Duration::from_secs(10)).expect("a number");
    let verdict: String = history.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("one row");
    assert_eq!(verdict, "ok");
    let mut rows = history
        .prepare("SELECT text, start FROM session JOIN name ON id = desktop ORDER BY start")
        .expect("its tables");
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("its columns");
    let all: Vec<(String, i64)> = rows.collect::<Result<_, _>>().expect("its rows");
    let sessions: BTreeSet<(String, i64)> = all.iter().cloned().collect();
    assert_eq!(sessions.len(), all.len(), "no session is there twice");
    let invented: Vec<_> = sessions.difference(trace).collect();
    assert!(invented.is_empty(), "sessions that never began: {invented:?}");
    sessions
}

/// The logins of a trace: desktop and time.
fn logins(scene: &Scene) -> BTreeSet<(String, i64)> {
    let text = std::fs::read_to_string(scene.path("t.csv")).expect("it was invented");
    let row = |line: &str| headstart_core::trace::parse_row(line).expect("it is good");
    text.lines().skip(1).map(row).map(|row| (row.desktop.to_string(), row.start.unix())).collect()
}

#[test]
fn whenever_it_is_killed_the_next_start_goes_on() {
    let scene = Scene::new();
    scene.write("host.toml", HOST);
    scene.headstart(&["generate-trace", "--users", PEOPLE, "--days", "120", "--out", "t.csv"]).ok();
    let trace = logins(&scene);
    let mut before = Host::default();
    let mut known = BTreeSet::new();
    for n in 0..KILLS {
        let at = moment(n);
        eprintln!("kill {n}, at {at:?}");
        run_and_kill(&scene, at);
        // Killed before it had looked at the host for the first time, it leaves none.
        let Some(left) = Host::read(&scene) else { continue };
        if !before.guests.is_empty() {
            compare(&before, &left);
        }

        let mut next = start(&mut daemon(&scene));
        converges(&scene, &next, &left);
        // Whoever worked when it was killed has not been forgotten.
        let names = scene.headstart(&["desktops", "--json"]).json();
        let name = |uuid: &String| {
            let desktop = names.as_array().into_iter().flatten().find(|desktop| desktop["uuid"] == **uuid)?;
            desktop["name"].as_str().map(str::to_owned)
        };
        scene.call("Decisions", &["su", "", "1"]);
        let sessions = history(&scene, &trace);
        for (uuid, (since, _)) in at_work(&left) {
            let session = (name(&uuid).expect("it is managed"), since);
            assert!(sessions.contains(&session), "{session:?} is not in the history");
        }
        assert!(sessions.is_superset(&known), "what was on disk stays there");
        let errors: Vec<String> =
            next.log().text().lines().filter(|line| line.contains("ERROR")).map(str::to_owned).collect();
        assert!(errors.is_empty(), "{errors:#?}");
        next.kill();
        next.wait(DEADLINE).expect("nothing survives that");
        before = Host::read(&scene).expect("it is kept");
        known = history(&scene, &trace);
    }
    // All this was not for nothing.
    assert_eq!(before.foreign().len(), 3);
    let history = rusqlite::Connection::open(scene.path("history.db")).expect("it opens");
    let count = |query: &str| history.query_row(query, [], |row| row.get::<_, i64>(0)).expect("one row");
    let (used, steps) =
        (count("SELECT count(*) FROM reservation WHERE outcome = 1"), count("SELECT count(*) FROM preparation"));
    eprintln!("{used} reservations were used, {steps} desktops were made ready");
    assert!(used > 20 && steps > 30, "{used} reservations were used, {steps} desktops were made ready");
}

#[test]
fn killed_in_the_middle_of_an_import_nothing_is_half_there() {
    let scene = Scene::new();
    let mut first = start(scene.simulated("", DEMO_HOST).args(["--speed", "0.001"]));
    let import = Importing::start(&scene);
    first.kill();
    first.wait(DEADLINE).expect("nothing survives that");
    let (code, complaint) = import.end();
    assert_eq!(code, Some(1));
    assert!(complaint.starts_with("headstart: headstartd is not on the bus at "), "{complaint}");

    let _next = start(scene.simulated("", DEMO_HOST).args(["--speed", "0.001"]));
    assert_eq!(history(&scene, &BTreeSet::new()), BTreeSet::new());
    assert_eq!(scene.headstart(&["export"]).ok(), "user,vm,start,end\n");
    let told = scene.headstart(&["import", "large.csv"]).ok();
    assert_eq!(told, format!("large.csv: {LARGE} sessions imported\n"), "nothing of it was there already");
}

#[test]
fn a_session_that_only_a_broker_knows_of_outlives_a_kill() {
    let scene = Scene::new();
    let daemon = |speed: &str| {
        let mut command = scene.simulated("mode = \"armed\"\n", DEMO_HOST);
        command.args(["--speed", speed, "--simulate-state", FILE]);
        start(&mut command)
    };
    let mut first = daemon("120");
    scene.call("SessionStarted", &["sa{sv}", "vm001", "1", "user", "s", "ada"]);
    scene.wait_for_state("vm001", &["in-use"]);
    let device = scene.property("/desktop/vm001", "Desktop", "Device");
    scene.settle();
    first.kill();
    first.wait(DEADLINE).expect("nothing survives that");

    // Grace and minimum hold pass in an instant: whoever is not known to be there loses the device.
    let mut second = daemon("100000");
    let began = scene.headstart(&["status", "--json"]).json()["host"]["rounds"].as_u64();
    eventually("many rounds", || {
        let status = scene.headstart(&["status", "--json"]).json();
        if status["host"]["rounds"].as_u64() > began.map(|began| began + 100) {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
    assert_eq!(scene.state("vm001"), "in-use");
    assert_eq!(scene.property("/desktop/vm001", "Desktop", "Device"), device);
    let host = scene.headstart(&["status", "--json"]).json()["host"].take();
    assert_eq!(
        (&host["logins"], &host["misses"]),
        (&0.into(), &0.into()),
        "a login from before the start is not judged"
    );
    assert!(!second.log().text().contains("vm001: login"), "nor told again:\n{}", second.log().text());
    scene.call("SessionEnded", &["s", "vm001"]);
    scene.wait_for_state("vm001", &["off"]);
    second.kill();
}
