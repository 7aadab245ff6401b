//! headstartd as systemd starts it: what arrives at `NOTIFY_SOCKET`, and when.

#[expect(dead_code, reason = "a bus like the system bus is for the tests of the policy")]
#[path = "../src/bus/tests/private_bus.rs"]
mod private_bus;

use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use private_bus::PrivateBus;
use tempfile::TempDir;

/// Everything that is waited for comes within this, on a slow machine too.
const DEADLINE: Duration = Duration::from_secs(60);

/// One desktop, one GPU, and nobody who comes: after its first rounds the loop waits for the next quarter hour.
const HOST: &str = r#"
[simulation]
start = "2026-03-09T04:00:01Z"

[[gpu]]
address = "0000:86:00.0"
name = "Tesla T4"
framebuffer-mib = 16384
interface = "mdev"
partitioning = "equal-size"
profiles = [{ name = "T4-4Q", framebuffer-mib = 4096, max-instances = 4 }]

[[domain]]
name = "vm1"
profile = "T4-4Q"
"#;

/// A daemon, and what it tells.
struct Watched {
    daemon: Child,
    bus: PrivateBus,
    socket: UnixDatagram,
    told: Vec<String>,
    _folder: TempDir,
}

impl Watched {
    fn start(watchdog: Option<Duration>) -> Self {
        let folder = TempDir::new().expect("a scratch folder");
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("host.toml"), HOST).expect("our own folder");
        std::fs::write(file("headstart.toml"), "").expect("our own folder");
        let socket = UnixDatagram::bind(file("notify")).expect("our own folder");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("it is not zero");
        let bus = PrivateBus::session();
        let mut command = Command::new(env!("CARGO_BIN_EXE_headstartd"));
        command.arg("--config").arg(file("headstart.toml")).arg("--simulate").arg(file("host.toml"));
        command.arg("--history").arg(file("history.db")).args(["--bus", &bus.address()]);
        command.env("NOTIFY_SOCKET", file("notify")).env_remove("WATCHDOG_PID").env_remove("WATCHDOG_USEC");
        if let Some(watchdog) = watchdog {
            command.env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        }
        let daemon = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("it was built");
        Self { daemon, bus, socket, told: Vec::new(), _folder: folder }
    }

    /// Takes what is told until that is so.
    fn until(&mut self, what: &str, is_so: impl Fn(&[String]) -> bool) {
        let began = Instant::now();
        let mut message = [0; 4096];
        while !is_so(&self.told) {
            assert!(began.elapsed() < DEADLINE, "{what} does not come; told was {:?}", self.told);
            if let Ok(n) = self.socket.recv(&mut message) {
                let text = String::from_utf8(message[..n].to_vec()).expect("it is text");
                self.told.extend(text.lines().map(str::to_owned));
            }
        }
    }

    /// How often a line was told.
    fn count(&self, line: &str) -> usize {
        self.told.iter().filter(|told| *told == line).count()
    }

    /// Rounds of the loop so far.
    fn rounds(&self) -> String {
        let mut busctl = Command::new("busctl");
        busctl.arg(format!("--address={}", self.bus.address())).args(["get-property", "org.headstart1"]);
        busctl.args(["/org/headstart1/host", "org.headstart1.Host", "Rounds"]);
        let output = busctl.output().expect("busctl is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it is text")
    }

    fn stop(&mut self) -> ExitStatus {
        let pid = Pid::from_raw(i32::try_from(self.daemon.id()).expect("a PID fits"));
        kill(pid, Signal::SIGTERM).expect("it is ours");
        self.until("the end", |told| told.iter().any(|line| line == "STOPPING=1"));
        self.daemon.wait().expect("it is ours")
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        drop(self.daemon.kill());
        drop(self.daemon.wait());
    }
}

#[test]
fn the_watchdog_is_fed_while_the_loop_waits_and_that_is_no_round() {
    let mut watched = Watched::start(Some(Duration::from_millis(200)));
    watched.until("readiness", |told| told.iter().any(|line| line == "READY=1"));
    assert!(watched.count("WATCHDOG=1") > 0, "the first round comes before readiness: {:?}", watched.told);
    // Reading the property is no round either; that the first attempt to learn ends is one.
    let mut rounds = watched.rounds();
    let began = Instant::now();
    loop {
        let beats = watched.count("WATCHDOG=1");
        watched.until("the next beats", |told| told.iter().filter(|line| *line == "WATCHDOG=1").count() >= beats + 5);
        let now = watched.rounds();
        if now == rounds {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "the loop does not come to rest: {rounds} {now}");
        rounds = now;
    }
    let status: Vec<&String> = watched.told.iter().filter(|line| line.starts_with("STATUS=")).collect();
    assert_eq!(status, ["STATUS=Shadow mode, nothing is done: 0 of 1 desktops in use, 0 reserved ahead"], "told once");
    assert!(watched.stop().success());
    assert_eq!((watched.count("READY=1"), watched.count("STOPPING=1")), (1, 1));
}

#[test]
fn nobody_is_fed_who_does_not_watch() {
    let mut watched = Watched::start(None);
    watched.until("readiness", |told| told.iter().any(|line| line == "READY=1"));
    assert!(watched.stop().success());
    assert_eq!(watched.count("WATCHDOG=1"), 0, "{:?}", watched.told);
}
