//! Processes that end with their owner, and what `/proc` and the kernel's clocks say of them.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, kill, killpg};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use crate::until;

/// A child in a process group of its own. When it is no longer needed it is killed with all that it started, and reaped.
pub struct Guarded {
    child: Child,
    reaped: bool,
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        // Until it is reaped its number is nobody else's. It may have ended by itself.
        let _ = killpg(self.pid(), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

impl Guarded {
    /// Starts it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.process_group(0).spawn().with_context(|| format!("{name} cannot be started"))?;
        Ok(Self { child, reaped: false })
    }

    /// Its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Its number.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Sends it a signal; nothing happens if it has ended.
    pub fn signal(&self, signal: Signal) {
        if !self.reaped {
            let _ = kill(self.pid(), signal);
        }
    }

    /// How it ended, if it has. What it started goes with it.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        if !self.reaped && !self.is_zombie()? {
            return Ok(None);
        }
        if !self.reaped {
            let _ = killpg(self.pid(), Signal::SIGKILL);
            self.reaped = true;
        }
        Ok(Some(self.child.wait()?))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It did not end by the deadline.
    pub fn wait(&mut self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        until(&format!("process {} ends", self.pid()), deadline, || self.ended())
    }

    /// Whether it has ended; it is left to be reaped, so that its group can still be named.
    fn is_zombie(&self) -> anyhow::Result<bool> {
        use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        Ok(waitid(Id::Pid(self.pid()), flags)? != WaitStatus::StillAlive)
    }

    /// Processor time since its start, over all its threads, also those that have ended.
    ///
    /// # Errors
    /// It has ended.
    pub fn processor_time(&self) -> anyhow::Result<Duration> {
        let clock = clock_getcpuclockid(self.pid())?;
        Ok(clock_gettime(clock)?.into())
    }

    /// Resident memory now, MB.
    ///
    /// # Errors
    /// It has ended.
    pub fn resident(&self) -> anyhow::Result<f64> {
        status_mb(&self.pid().to_string(), "VmRSS")
    }
}

/// Most memory this process ever had resident, MB.
///
/// # Errors
/// There is no `/proc`.
pub fn own_peak() -> anyhow::Result<f64> {
    status_mb("self", "VmHWM")
}

/// A memory line of `/proc/PID/status` in MB (1,000,000 bytes).
fn status_mb(pid: &str, key: &str) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let kib: f64 = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .with_context(|| format!("{path} has no {key}"))?
        .trim()
        .parse()?;
    Ok(kib * 1024.0 / 1e6)
}
