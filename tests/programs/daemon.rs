//! headstartd as systemd starts it: ready when it says so to `NOTIFY_SOCKET`, its log on standard error.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::lines::Lines;
use crate::process::Guarded;

/// It has to be up by then, on a machine that builds something else meanwhile.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// A running headstartd; it ends with its owner.
pub struct Daemon {
    process: Guarded,
    log: Lines,
    notifications: Receiver<String>,
    _folder: TempDir,
}

impl Daemon {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// It ended, or was not ready by the deadline; its log is part of the error.
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut daemon = Self::spawn(command)?;
        daemon.wait_for_notification("READY=1", START_DEADLINE)?;
        Ok(daemon)
    }

    /// Starts it and does not wait.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(command: &mut Command) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("headstart-notify").tempdir()?;
        let socket = folder.path().join("socket");
        let notifications = UnixDatagram::bind(&socket)?;
        command.env("NOTIFY_SOCKET", &socket).env_remove("JOURNAL_STREAM");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = Guarded::start(command)?;
        let log = Lines::of(process.child().stderr.take().context("its log is piped")?);
        let notifications = listen(notifications);
        Ok(Self { process, log, notifications, _folder: folder })
    }

    /// Waits until it has said this to systemd.
    ///
    /// # Errors
    /// It did not, or ended.
    pub fn wait_for_notification(&mut self, text: &str, deadline: Duration) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            // A short wait, so that its end is noticed.
            match self.notifications.recv_timeout(Duration::from_millis(50)) {
                Ok(told) if told.lines().any(|line| line == text) => return Ok(()),
                Ok(_) => {}
                Err(_) => {
                    if let Some(status) = self.process.ended()? {
                        bail!("headstartd ended with {status} before {text}:\n{}", self.log.whole());
                    }
                }
            }
            if began.elapsed() > deadline {
                bail!("headstartd has not said {text} after {deadline:?}:\n{}", self.log.text());
            }
        }
    }

    /// Its process.
    pub fn process(&self) -> &Guarded {
        &self.process
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It did not end by the deadline.
    pub fn wait(&mut self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        self.process.wait(deadline).with_context(|| format!("its log:\n{}", self.log.text()))
    }

    /// `kill -9`. What it may have started goes on until this is dropped, as far as it does by itself.
    pub fn kill(&mut self) {
        self.process.signal(nix::sys::signal::Signal::SIGKILL);
    }

    /// Asks it to stop as systemd does, and waits until it has.
    ///
    /// # Errors
    /// It did not end within the deadline.
    pub fn stop(&mut self, signal: nix::sys::signal::Signal, deadline: Duration) -> anyhow::Result<ExitStatus> {
        self.process.signal(signal);
        self.wait(deadline).with_context(|| format!("after {signal}"))
    }

    /// Its log.
    pub fn log(&self) -> &Lines {
        &self.log
    }
}

/// What it says, as it says it: systemd does not keep its services waiting either. The thread ends with the test.
fn listen(socket: UnixDatagram) -> Receiver<String> {
    let (sender, told) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n) = socket.recv(&mut buffer) {
            if sender.send(String::from_utf8_lossy(&buffer[..n]).into_owned()).is_err() {
                return;
            }
        }
    });
    told
}
