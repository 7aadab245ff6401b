//! Stopping: at once, with nothing on the host changed by it, and with the history on disk.

use std::time::{Duration, Instant};

use headstart_tests::daemon::Daemon;
use headstart_tests::process::Guarded;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::host::{FILE, Host};
use crate::scene::{DEADLINE, DEMO_HOST, Scene, eventually, start};

/// systemd would wait for 90 s; an administrator at a terminal would not. Mostly it is some milliseconds.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A daemon in the middle of its work, on a host whose time all but stands still: guests start, somebody is logged in.
fn busy(scene: &Scene) -> Daemon {
    let mut command = scene.simulated("mode = \"armed\"\n", DEMO_HOST);
    let daemon = start(command.args(["--speed", "0.001", "--simulate-state", FILE]));
    for desktop in ["vm001", "vm025", "vm035"] {
        scene.headstart(&["request", desktop]).ok();
    }
    scene.call("SessionStarted", &["sa{sv}", "vm019", "1", "user", "s", "ada"]);
    eventually("guests start", || {
        let host = Host::read(scene).ok_or("there is no host")?;
        let starting = host.guests.values().filter(|guest| guest.power == "Starting").count();
        let given = host.guests.values().filter(|guest| guest.ours.len() == 1).count();
        // Nobody starts a desktop at which somebody is said to be.
        if (starting, given) == (3, 4) {
            Ok(())
        } else {
            Err(format!("{starting} start, {given} have a device: {host:?}"))
        }
    });
    scene.settle();
    daemon
}

/// Stops it, and checks that it was at once and in good order.
#[track_caller]
fn stop(daemon: &mut Daemon, signal: Signal) {
    let began = Instant::now();
    let status = daemon.stop(signal, DEADLINE).expect("it ends");
    assert_eq!(status.code(), Some(0), "{signal}: {status}\n{}", daemon.log().whole());
    let took = began.elapsed();
    assert!(took < AT_ONCE, "{signal}: {took:?}");
}

#[test]
fn a_stop_changes_nothing_on_the_host_and_leaves_a_whole_history() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let scene = Scene::new();
        let mut daemon = busy(&scene);
        let before = std::fs::read(scene.path(FILE)).expect("it is kept");
        stop(&mut daemon, signal);
        assert!(std::fs::read(scene.path(FILE)).expect("it is kept") == before, "{signal} changed the host");
        daemon.wait_for_notification("STOPPING=1", DEADLINE).expect("systemd is told");

        // Whoever reads it just then, as a fit does, keeps the file of the log.
        let log = std::fs::metadata(scene.path("history.db-wal")).map_or(0, |log| log.len());
        assert_eq!(log, 0, "{signal}: the log is merged into the file");
        let history = rusqlite::Connection::open(scene.path("history.db")).expect("it is closed");
        let text = |query: &str| history.query_row(query, [], |row| row.get::<_, String>(0)).expect("one row");
        assert_eq!(text("PRAGMA integrity_check"), "ok");
        assert_eq!(text("SELECT text FROM session JOIN name ON id = user WHERE length < 0"), "ada");
        let count = |query: &str| history.query_row(query, [], |row| row.get::<_, i64>(0)).expect("one row");
        assert_eq!(count("SELECT count(*) FROM decision WHERE what = 'request'"), 3);
        drop(history);

        // The next start goes on from there.
        let _next =
            start(scene.simulated("mode = \"armed\"\n", DEMO_HOST).args(["--speed", "120", "--simulate-state", FILE]));
        scene.wait_for_state("vm019", &["in-use"]);
    }
}

#[test]
fn a_stop_breaks_an_import_off() {
    let scene = Scene::new();
    let mut daemon = start(scene.simulated("", DEMO_HOST).args(["--speed", "0.001"]));
    let before = Importing::start(&scene);
    stop(&mut daemon, Signal::SIGTERM);
    let (code, complaint) = before.end();
    assert_eq!(code, Some(1));
    assert_eq!(complaint, "headstart: large.csv: the import was broken off; nothing was imported");
    let history = rusqlite::Connection::open(scene.path("history.db")).expect("it is closed");
    let sessions: i64 = history.query_row("SELECT count(*) FROM session", [], |row| row.get(0)).expect("one row");
    assert_eq!(sessions, 0);
}

#[test]
fn a_step_that_hangs_does_not_keep_the_daemon_from_stopping() {
    let scene = Scene::new();
    let host = std::fs::read_to_string(DEMO_HOST).expect("it is in the repository");
    let fault = "[[fault]]\nat = \"0 s\"\non = \"vm001\"\nstep = \"attach\"\nerror = \"hang\"\n";
    scene.write("host.toml", format!("{host}\n{fault}"));
    let mut daemon = start(scene.simulated("mode = \"armed\"\n", "host.toml").args(["--speed", "1"]));
    scene.headstart(&["request", "vm001"]).ok();
    daemon
        .log()
        .find("of a step that hangs", DEADLINE, |line| line.contains("to vm001 has not come back"))
        .expect("it is told");
    let told = eventually("people are told", || {
        let status = scene.headstart(&["status"]).ok();
        if status.contains("to vm001 has not come back") { Ok(status) } else { Err(status) }
    });
    assert!(told.contains("Problems"), "{told}");
    // Others are served meanwhile.
    scene.headstart(&["request", "vm035"]).ok();
    scene.wait_for_state("vm035", &["preparing", "ready"]);
    stop(&mut daemon, Signal::SIGTERM);
}

#[test]
fn what_is_wrong_with_a_desktop_is_told_at_that_desktop() {
    let scene = Scene::new();
    let host = std::fs::read_to_string(DEMO_HOST).expect("it is in the repository");
    let fault = "[[fault]]\nat = \"0 s\"\non = \"vm001\"\nstep = \"attach\"\nerror = \"denied\"\ncount = 100\n";
    scene.write("host.toml", format!("{host}\n{fault}"));
    let _daemon = start(scene.simulated("mode = \"armed\"\n", "host.toml").args(["--speed", "120"]));
    let problems = |object, interface| scene.property(object, interface, "Problems");
    assert_eq!(problems("/desktop/vm001", "Desktop"), json!([]));
    scene.headstart(&["request", "vm001"]).ok();
    let told = eventually("the desktop has a problem", || {
        let told = problems("/desktop/vm001", "Desktop");
        if told == json!([]) { Err("none".to_owned()) } else { Ok(told.to_string()) }
    });
    assert!(told.contains(": injected Denied (left alone until "), "{told}");
    assert_eq!(problems("/desktop/vm002", "Desktop"), json!([]));
    assert_eq!(problems("/host", "Host"), json!([]), "it is told once");
    let status = scene.headstart(&["status"]).ok();
    assert!(status.contains("vm001: could not attach"), "{status}");
}

/// `headstart import` in the middle of a large file.
pub(crate) struct Importing {
    process: Guarded,
    complaints: headstart_tests::lines::Lines,
}

/// Rows of the large file: some seconds of work.
pub(crate) const LARGE: usize = 400_000;

impl Importing {
    /// Starts it, and returns when rows are on their way to the disk.
    pub(crate) fn start(scene: &Scene) -> Self {
        use std::fmt::Write as _;
        let mut rows = String::from("user,vm,start,end\n");
        for n in 0..LARGE {
            // A session each 20 s, of 500 people in turn.
            let start = headstart_core::unit::Time::from_unix(1_750_000_000 + 20 * n as i64);
            writeln!(rows, "u{0:03},vm{0:03},{start},", n % 500).expect("a String takes all");
        }
        scene.write("large.csv", rows);
        let mut import = scene.command("headstart");
        import.args(["import", "large.csv"]).stderr(std::process::Stdio::piped());
        let mut process = Guarded::start(&mut import).expect("it was built");
        let complaints = headstart_tests::lines::Lines::of(process.child().stderr.take().expect("it is piped"));
        eventually("the import is under way", || {
            let size = scene.path("history.db-wal").metadata().map_or(0, |log| log.len());
            if size > 1 << 20 { Ok(()) } else { Err(format!("{size} bytes of log")) }
        });
        Self { process, complaints }
    }

    /// Its exit status and what it said.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let status = self.process.wait(DEADLINE).expect("it ends");
        (status.code(), self.complaints.whole())
    }
}
