//! A `dbus-daemon` of its own for one test.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// Everybody may do everything, as on a session bus.
const OPEN: &str = r#"<policy context="default">
    <allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
  </policy>"#;

/// As `/usr/share/dbus-1/system.conf`: nobody owns, nobody calls, signals and replies pass.
const CLOSED: &str = r#"<policy context="default">
    <allow user="*"/><deny own="*"/><deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/><allow receive_type="method_return"/>
    <allow receive_type="error"/><allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Introspectable"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Properties"/>
  </policy>"#;

/// A bus that ends with its test.
pub(crate) struct PrivateBus {
    daemon: Child,
    folder: TempDir,
}

impl PrivateBus {
    /// A bus like the session bus.
    pub(crate) fn session() -> Self {
        Self::start(OPEN, None)
    }

    /// A bus like the system bus, with one more policy file.
    pub(crate) fn system(policy: &Path) -> Self {
        Self::start(CLOSED, Some(policy))
    }

    fn start(policy: &str, include: Option<&Path>) -> Self {
        let folder = TempDir::new().expect("a scratch folder");
        // Others than root must reach the socket, or the policy is not what stops them.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("our own folder");
        let config = folder.path().join("bus.conf");
        let include = include.map(|file| format!("<include>{}</include>", file.display())).unwrap_or_default();
        let text = format!(
            "<busconfig>\n  <type>custom</type>\n  <listen>unix:path={}/bus</listen>\n  <auth>EXTERNAL</auth>\n  \
             {policy}\n  {include}\n</busconfig>\n",
            folder.path().display()
        );
        std::fs::write(&config, text).expect("our own folder");
        let mut daemon = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--nopidfile", "--print-address=1"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("dbus-daemon is installed");
        let mut line = String::new();
        let stdout = daemon.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it prints its address when it listens");
        assert!(line.starts_with("unix:"), "dbus-daemon did not start");
        Self { daemon, folder }
    }

    /// Its address.
    pub(crate) fn address(&self) -> String {
        format!("unix:path={}/bus", self.folder.path().display())
    }
}

impl Drop for PrivateBus {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        drop(self.daemon.kill());
        drop(self.daemon.wait());
    }
}
