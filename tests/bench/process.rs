//! What `/proc` and the kernel's clocks say of a process, and processes that end with their owner.

use std::process::Child;
use std::time::Duration;

use anyhow::Context;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// A child that is killed when it is no longer needed.
pub(crate) struct Guarded(pub(crate) Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Guarded {
    /// Processor time since its start, over all its threads, also those that have ended.
    pub(crate) fn processor_time(&self) -> anyhow::Result<Duration> {
        let clock = clock_getcpuclockid(Pid::from_raw(self.0.id().cast_signed()))?;
        Ok(clock_gettime(clock)?.into())
    }

    /// Resident memory now, MB.
    pub(crate) fn resident(&self) -> anyhow::Result<f64> {
        status_mb(&self.0.id().to_string(), "VmRSS")
    }
}

/// Most memory this process ever had resident, MB.
pub(crate) fn own_peak() -> anyhow::Result<f64> {
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
