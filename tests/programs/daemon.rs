//! headstartd as systemd starts it: ready when it says so to `NOTIFY_SOCKET`, its log on standard error.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::process::Guarded;

/// It has to be up by then, on a machine that builds something else meanwhile.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// A running headstartd; it ends with its owner.
pub struct Daemon {
    process: Guarded,
    log: Log,
    notifications: UnixDatagram,
    _folder: TempDir,
}

/// What it logged so far, and whether there can be more.
#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

/// The log, filled by a thread.
#[derive(Clone, Default)]
struct Log(Arc<(Mutex<Lines>, Condvar)>);

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
        let log = Log::default();
        log.fill_from(process.child().stderr.take().context("its log is piped")?);
        Ok(Self { process, log, notifications, _folder: folder })
    }

    /// Waits until it has said this to systemd.
    ///
    /// # Errors
    /// It did not, or ended.
    pub fn wait_for_notification(&mut self, text: &str, deadline: Duration) -> anyhow::Result<()> {
        // So that its end is noticed.
        self.notifications.set_read_timeout(Some(Duration::from_millis(50)))?;
        let began = Instant::now();
        let mut buffer = [0; 4096];
        loop {
            match self.notifications.recv(&mut buffer) {
                Ok(n) if String::from_utf8_lossy(&buffer[..n]).lines().any(|line| line == text) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    if let Some(status) = self.process.ended()? {
                        bail!("headstartd ended with {status} before {text}:\n{}", self.whole_log());
                    }
                }
                Err(error) => return Err(error.into()),
            }
            if began.elapsed() > deadline {
                bail!("headstartd has not said {text} after {deadline:?}:\n{}", self.log());
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
        self.process.wait(deadline).with_context(|| format!("its log:\n{}", self.log()))
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

    /// The log so far.
    pub fn log(&self) -> String {
        self.log.lock().lines.join("\n")
    }

    /// The log to its end; for a daemon that has ended.
    pub fn whole_log(&self) -> String {
        let mut lines = self.log.lock();
        while !lines.ended {
            lines = self.log.0.1.wait(lines).unwrap_or_else(PoisonError::into_inner);
        }
        lines.lines.join("\n")
    }

    /// Waits for a line of the log that fits, and returns it.
    ///
    /// # Errors
    /// There was none by the deadline, or the log ended.
    pub fn wait_for_line(&self, what: &str, deadline: Duration, fits: impl Fn(&str) -> bool) -> anyhow::Result<String> {
        let began = Instant::now();
        let mut lines = self.log.lock();
        let mut read = 0;
        loop {
            if let Some(line) = lines.lines[read..].iter().find(|line| fits(line)) {
                return Ok(line.clone());
            }
            read = lines.lines.len();
            let left = deadline.saturating_sub(began.elapsed());
            if lines.ended || left.is_zero() {
                let why = if lines.ended { "the log has ended" } else { "the deadline has passed" };
                bail!("no line of the log {what}: {why}:\n{}", lines.lines.join("\n"));
            }
            lines = self.log.0.1.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill_from(&self, input: impl std::io::Read + Send + 'static) {
        let log = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(input).split(b'\n').map_while(Result::ok) {
                log.lock().lines.push(String::from_utf8_lossy(&line).into_owned());
                log.0.1.notify_all();
            }
            log.lock().ended = true;
            log.0.1.notify_all();
        });
    }
}
