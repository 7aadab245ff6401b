//! A `dbus-daemon` of one's own: no root, and nothing of this machine's buses.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::process::Guarded;

/// A bus on which everybody may do everything; it ends with its owner.
pub struct Bus {
    process: Guarded,
    address: String,
    // A socket's path may have 107 characters, so that it has a folder of its own with a short name.
    _folder: TempDir,
}

impl Bus {
    /// Starts it. When this returns it takes connections.
    ///
    /// # Errors
    /// `dbus-daemon` is not installed or did not start.
    pub fn start() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("headstart-bus").tempdir()?;
        let socket = folder.path().join("bus");
        let config = folder.path().join("bus.conf");
        let text = format!(
            "<busconfig>\n  <type>custom</type>\n  <listen>unix:path={}</listen>\n  <auth>EXTERNAL</auth>\n  \
             <policy context=\"default\"><allow own=\"*\"/><allow send_destination=\"*\" eavesdrop=\"true\"/>\
             <allow eavesdrop=\"true\"/></policy>\n</busconfig>\n",
            socket.display()
        );
        std::fs::write(&config, text)?;
        let mut command = Command::new("dbus-daemon");
        command.arg(format!("--config-file={}", config.display()));
        command.args(["--nofork", "--nopidfile", "--nosyslog", "--print-address=1"]);
        // It complains of limits that no test reaches.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = Guarded::start(&mut command).context("is dbus-daemon installed?")?;
        let output = process.child().stdout.take().context("its output is piped")?;
        let mut address = String::new();
        BufReader::new(output).read_line(&mut address)?;
        ensure!(address.starts_with("unix:"), "dbus-daemon did not start");
        // Without the guid, as an administrator would type it.
        Ok(Self { process, address: format!("unix:path={}", socket.display()), _folder: folder })
    }

    /// Its address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its process.
    pub fn process(&self) -> &Guarded {
        &self.process
    }
}
