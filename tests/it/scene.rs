//! A private bus, a scratch folder, and the programs run in them as an administrator would.

use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use headstart_tests::bus::Bus;
use headstart_tests::daemon::Daemon;
use headstart_tests::process::Guarded;
use headstart_tests::{program, until};
use serde_json::Value;
use tempfile::TempDir;

/// Everything that is waited for has happened by then, also on a machine that builds something else meanwhile.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// The host of the demo: 4 GPUs, 40 desktops, a stranger.
pub(crate) const DEMO_HOST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/demo-host.toml");

/// Where one test plays. Daemons that it starts must end before it.
pub(crate) struct Scene {
    pub(crate) bus: Bus,
    folder: TempDir,
}

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Its output; it must have ended well and have had nothing to complain about.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{}", self.out);
        self.out
    }

    /// Its output as JSON.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        let out = self.ok();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self { bus: Bus::start().expect("a private bus"), folder: tempfile::tempdir().expect("a scratch folder") }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file; for commands run in the folder its name is enough.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("our own folder");
        path
    }

    /// headstartd on this bus, with this configuration and its history in the folder; not yet started.
    pub(crate) fn headstartd(&self, config: &str) -> Command {
        self.write("headstart.toml", config);
        let mut command = self.command("headstartd");
        command.args(["--config", "headstart.toml", "--history", "history.db"]);
        command
    }

    /// The same on simulated hardware.
    pub(crate) fn simulated(&self, config: &str, host: impl AsRef<Path>) -> Command {
        let mut command = self.headstartd(config);
        command.arg("--simulate").arg(host.as_ref());
        command
    }

    /// A program of ours, in the folder, on this bus, in UTC.
    pub(crate) fn command(&self, name: &str) -> Command {
        let program = program(name).unwrap_or_else(|error| panic!("{error}"));
        let mut command = Command::new(program);
        command.current_dir(self.folder()).env("HEADSTART_BUS", self.bus.address());
        command.env("TZ", "UTC").env("LC_ALL", "C.UTF-8").env("COLUMNS", "120").env_remove("HEADSTART_LOG");
        command
    }

    /// Runs `headstart`.
    pub(crate) fn headstart(&self, arguments: &[&str]) -> Ran {
        run(self.command("headstart").args(arguments))
    }

    /// Runs `busctl` on this bus.
    pub(crate) fn busctl(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new("busctl");
        command.arg(format!("--address={}", self.bus.address())).args(arguments).env("LC_ALL", "C.UTF-8");
        run(&mut command)
    }

    /// Calls a method of the manager by `busctl`; the arguments begin with their signature. Answers what it returned.
    #[track_caller]
    pub(crate) fn call(&self, method: &str, arguments: &[&str]) -> Value {
        let base = ["--json=short", "call", NAME, ROOT, MANAGER, method];
        let answer = self.busctl(&[&base, arguments].concat()).ok();
        if answer.trim().is_empty() {
            return Value::Null;
        }
        let mut answer: Value = serde_json::from_str(&answer).expect("busctl writes JSON");
        plain(answer["data"][0].take())
    }

    /// A property by `busctl`.
    #[track_caller]
    pub(crate) fn property(&self, object: &str, interface: &str, name: &str) -> Value {
        let interface = format!("org.headstart1.{interface}");
        self.busctl(&["--json=short", "get-property", NAME, &format!("{ROOT}{object}"), &interface, name]).json()["data"]
            .take()
    }

    /// All objects with their interfaces and properties, by `busctl`. What the interface declares as changing all the time
    /// is left out.
    #[track_caller]
    pub(crate) fn objects(&self) -> Value {
        let manager = "org.freedesktop.DBus.ObjectManager";
        let mut answer =
            self.busctl(&["--json=short", "call", NAME, ROOT, manager, "GetManagedObjects"]).json()["data"][0].take();
        for always_new in ["Clock", "Rounds"] {
            answer["/org/headstart1/host"]["org.headstart1.Host"]
                .as_object_mut()
                .expect("there is a host")
                .remove(always_new)
                .expect("the host has it");
        }
        plain(answer)
    }

    /// Waits until the daemon has looked at the host once more and all that it has to write is written.
    #[track_caller]
    pub(crate) fn settle(&self) {
        let rounds = || self.property("/host", "Host", "Rounds").as_u64().expect("a count");
        let before = rounds();
        self.call("Reconcile", &[]);
        eventually("another round", || if rounds() > before { Ok(()) } else { Err("none".to_owned()) });
        // It is answered after everything that was recorded before.
        self.call("Decisions", &["su", "", "1"]);
    }

    /// State of a desktop as `headstart desktops` tells it.
    #[track_caller]
    pub(crate) fn state(&self, desktop: &str) -> String {
        let state = self.property(&format!("/desktop/{desktop}"), "Desktop", "State");
        state.as_str().expect("a state is a word").to_owned()
    }

    /// Waits until a desktop is in one of these states.
    #[track_caller]
    pub(crate) fn wait_for_state(&self, desktop: &str, states: &[&str]) {
        let what = format!("{desktop} is {}", states.join(" or "));
        eventually(&what, || {
            let state = self.state(desktop);
            if states.contains(&state.as_str()) { Ok(()) } else { Err(state) }
        });
    }

    /// A connection of one's own, to see the names of errors and to own holds.
    pub(crate) async fn connect(&self) -> zbus::Connection {
        let builder = zbus::connection::Builder::address(self.bus.address());
        builder.build().await.expect("the private bus runs")
    }
}

pub(crate) const NAME: &str = "org.headstart1";
pub(crate) const ROOT: &str = "/org/headstart1";
pub(crate) const MANAGER: &str = "org.headstart1.Manager";

/// Starts a daemon and waits until it is ready.
#[track_caller]
pub(crate) fn start(command: &mut Command) -> Daemon {
    Daemon::start(command).unwrap_or_else(|error| panic!("{error:?}"))
}

/// Runs a command to its end.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Ran {
    let scratch = || tempfile::tempfile().expect("a scratch file");
    let (mut out, mut err) = (scratch(), scratch());
    let share = |file: &std::fs::File| Stdio::from(file.try_clone().expect("a second handle"));
    command.stdin(Stdio::null()).stdout(share(&out)).stderr(share(&err));
    let status = Guarded::start(command).and_then(|mut process| process.wait(DEADLINE));
    let read = |file: &mut std::fs::File| {
        let mut text = String::new();
        file.rewind().and_then(|()| file.read_to_string(&mut text)).expect("it prints UTF-8");
        text
    };
    let (out, err) = (read(&mut out), read(&mut err));
    let status = status.unwrap_or_else(|error| panic!("{command:?}: {error:?}\n{out}{err}"));
    Ran { code: status.code(), out, err }
}

/// Looks until it is so; if it never is, says how it was the last time.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let mut last = String::new();
    let seen = until(what, DEADLINE, || match look() {
        Ok(seen) => Ok(Some(seen)),
        Err(why) => {
            last = why;
            Ok(None)
        }
    });
    seen.unwrap_or_else(|error| panic!("{error}; at last: {last}"))
}

/// busctl's JSON with the types of variants left out.
pub(crate) fn plain(value: Value) -> Value {
    match value {
        Value::Object(mut map) if map.len() == 2 && map.contains_key("type") && map.contains_key("data") => {
            plain(map.remove("data").expect("it was there"))
        }
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, plain(value))).collect(),
        Value::Array(list) => list.into_iter().map(plain).collect(),
        other => other,
    }
}
