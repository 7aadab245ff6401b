//! A guest that answers: who is logged in by its agent's word, and devices that it lets go.
//!
//! Needs a system to boot: a folder with `vmlinuz` and `initrd.gz`, named by `HEADSTART_TEST_GUEST`. Its agent must listen, allow
//! `guest-exec`; it needs a shell with `printf`. It boots within seconds, emulated.

use std::path::PathBuf;
use std::time::Instant;

use headstart_core::id::DomainUuid;
use headstart_core::observed::{Login, Power};
use headstart_core::step::FailureKind;
use headstart_core::unit::Time;

use crate::server::{DEADLINE, Server, Spec};
use crate::watch::{Watch, shut_down, start};

const AGENT: &str = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>";

/// A domain that runs and whose agent answered.
struct Guest {
    server: Server,
    watch: Watch,
    uuid: DomainUuid,
}

impl Guest {
    fn boot() -> Option<Self> {
        let Some(system) = std::env::var_os("HEADSTART_TEST_GUEST").map(PathBuf::from) else {
            eprintln!("skipped: HEADSTART_TEST_GUEST names no guest to boot");
            return None;
        };
        let server = Server::start()?;
        let spec = Spec { name: "win-01", digit: 1, devices: AGENT, ports: 3, system: Some(&system) };
        let uuid = server.define(&spec);
        let namespace = headstartd::host::desktop_xml::NAMESPACE;
        server.virsh(&["metadata", "win-01", namespace, "--key", "headstart", "--set", "<desktop profile='A'/>"]);
        let watch = Watch::on(&server);
        watch.changed(&start(uuid));
        assert_eq!(watch.domain(uuid).login, Login::None, "nobody listens yet, and nobody can be logged in");
        watch.until_domain(uuid, "its agent answered", |domain| {
            let domain = domain.unwrap();
            domain.power == Power::Running { ready: true } && domain.login == Login::None
        });
        Some(Self { server, watch, uuid })
    }

    /// Runs a line of shell inside, to its end.
    fn run(&self, line: &str) {
        let started = self.begin(line);
        let pid: String = started.chars().filter(char::is_ascii_digit).collect();
        let status = format!(r#"{{"execute": "guest-exec-status", "arguments": {{"pid": {pid}}}}}"#);
        let deadline = Instant::now() + DEADLINE;
        while !self.server.virsh(&["qemu-agent-command", "win-01", &status]).contains("\"exited\":true") {
            assert!(Instant::now() < deadline, "{line} does not end");
        }
    }

    /// Begins to run a line of shell inside.
    fn begin(&self, line: &str) -> String {
        let line = line.replace('\\', "\\\\").replace('"', "\\\"");
        let command =
            format!(r#"{{"execute": "guest-exec", "arguments": {{"path": "/bin/sh", "arg": ["-c", "{line}"]}}}}"#);
        self.server.virsh(&["qemu-agent-command", "win-01", &command])
    }

    /// Somebody logs in at this time, by what `who` would read.
    fn log_in(&self, at: i32) {
        let mut record = [0_u8; 384];
        record[0] = 7; // USER_PROCESS
        record[4] = 1;
        record[8..12].copy_from_slice(b"tty1");
        record[44..47].copy_from_slice(b"ada");
        record[340..344].copy_from_slice(&at.to_le_bytes());
        let octal: Vec<String> = record.iter().map(|byte| format!("\\{byte:03o}")).collect();
        self.run(&format!("printf '{}' > /var/run/utmp", octal.concat()));
    }

    /// Something happens, after which a look asks the agent.
    fn stir(&self) {
        self.server.virsh(&["suspend", "win-01"]);
        self.server.virsh(&["resume", "win-01"]);
    }

    fn until(&self, what: &str, is_so: impl Fn(&Login) -> bool) {
        self.watch.until_domain(self.uuid, what, |domain| is_so(&domain.unwrap().login));
    }
}

#[test]
fn the_agent_tells_who_is_logged_in() {
    let Some(guest) = Guest::boot() else { return };
    guest.log_in(1_700_000_000);
    guest.stir();
    guest.until("ada is there", |login| *login == Login::Active { since: Time::from_unix(1_700_000_000) });
    guest.run("rm /var/run/utmp");
    guest.stir();
    guest.until("ada left", |login| *login == Login::None);

    // A step asks again: somebody may have come since the last look.
    guest.log_in(1_700_000_001);
    let (kind, text) = guest.watch.fails(&shut_down(guest.uuid));
    assert_eq!(
        (kind, text.as_str()),
        (FailureKind::Conflict, "win-01: somebody is logged in since 2023-11-14T22:13:21Z")
    );
    guest.run("rm /var/run/utmp");
    guest.watch.changed(&shut_down(guest.uuid));

    // An agent that answered and stops is not nobody.
    guest.begin("kill -STOP $PPID");
    let ping = ["qemu-agent-command", "--timeout", "1", "win-01", r#"{"execute": "guest-ping"}"#];
    let deadline = Instant::now() + DEADLINE;
    while guest.server.try_virsh(&ping).is_ok() {
        assert!(Instant::now() < deadline, "its agent does not stop");
    }
    guest.stir();
    guest.until(
        "its agent is missed",
        |login| matches!(login, Login::Unknown(why) if why.ends_with("and does not any more")),
    );
    let (kind, text) = guest.watch.fails(&shut_down(guest.uuid));
    assert_eq!(kind, FailureKind::Conflict, "{text}");
    guest.server.virsh(&["destroy", "win-01"]);
    guest.until("it is off", |login| *login == Login::None);
}

#[test]
fn a_guest_lets_a_device_go() {
    let Some(guest) = Guest::boot() else { return };
    let device = guest.server.file(
        "rng.xml",
        "<rng model='virtio'><backend model='random'>/dev/urandom</backend><alias name='ua-headstart-rng'/></rng>",
    );
    guest.server.virsh(&["attach-device", "win-01", &device, "--live"]);
    guest.watch.told("win-01: it got the device ua-headstart-rng");
    guest.server.virsh(&["detach-device-alias", "win-01", "ua-headstart-rng", "--live"]);
    guest.watch.told("win-01: it let go of the device ua-headstart-rng");
}
