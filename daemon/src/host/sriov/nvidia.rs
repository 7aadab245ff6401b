//! Enabling the VFs of an NVIDIA card with NVIDIA's program `sriov-manage`, the only way that its driver knows.
//!
//! It rebinds the driver, which nobody may have open, and what it says of its success is not to be trusted: what counts is what is
//! there afterwards (release 17.2 ended with 0 having done nothing). It is never run on a card that has VFs: that would end MIG
//! instances, mixed-size mode and, on some releases, the PF's driver.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use headstart_core::id::PciAddress;
use headstart_core::step::{Applied, FailureKind, StepError};

use crate::host::hardware::failure::{failure, unexpected};
use crate::host::holders::{Holders, Nodes};
use crate::host::pci;
use crate::host::sysfs::{SysfsRoot, optional};
use headstart_core::gpu::Opened;

/// The driver binds to the VFs one by one after the program has ended; on a loaded host this took some seconds.
const BINDING: Duration = Duration::from_secs(30);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Enables all VFs of a card that has none. `program` is `sriov-manage`.
pub(crate) fn enable(root: &SysfsRoot, program: &Path, pf: PciAddress, vfs: u16) -> Result<Applied, StepError> {
    let before = pci::virtual_functions(root, pf).map_err(|error| unexpected(&error))?;
    if before.len() == usize::from(vfs) {
        return Ok(Applied::AlreadySo);
    }
    if !before.is_empty() {
        let text =
            format!("{pf}: {} VFs are enabled already; sriov-manage would disturb what is on them", before.len());
        return Err(failure(FailureKind::Conflict, text));
    }
    let ended = Command::new(program).arg("-e").arg(pf.to_string()).stdin(Stdio::null()).output();
    let said = match ended {
        Ok(output) => last_line(&output.stderr).or_else(|| last_line(&output.stdout)).unwrap_or_default(),
        Err(error) => {
            let text = format!("{pf}: {} could not be started: {error}", program.display());
            return Err(failure(FailureKind::Unsupported, text));
        }
    };
    wait(root, pf, vfs).map_err(|why| {
        let said = if said.is_empty() { String::new() } else { format!("; sriov-manage said: {said}") };
        failure(FailureKind::Transient, format!("{pf}: its VFs were not enabled: {why}{said}{}", who_holds(root, pf)))
    })?;
    Ok(Applied::Changed)
}

/// Waits until all VFs are there and NVIDIA's driver is bound to them.
fn wait(root: &SysfsRoot, pf: PciAddress, vfs: u16) -> Result<(), String> {
    let until = Instant::now() + BINDING;
    loop {
        let there = pci::virtual_functions(root, pf).map_err(|error| error.to_string())?;
        let bound =
            there.iter().filter(|vf| pci::driver(root, **vf).is_ok_and(|driver| driver.as_deref() == Some("nvidia")));
        let bound = bound.count();
        if bound >= usize::from(vfs) {
            return Ok(());
        }
        // Nothing at all happened: no use in waiting for more.
        if there.is_empty() {
            return Err("none is there".into());
        }
        if Instant::now() >= until {
            return Err(format!("{} of {vfs} are there, and {bound} are bound to nvidia", there.len()));
        }
        std::thread::sleep(LOOK);
    }
}

/// Who has the card open: that is what keeps `sriov-manage` from its work most of the time.
fn who_holds(root: &SysfsRoot, pf: PciAddress) -> String {
    let information = optional(root.read_long(&format!("proc/driver/nvidia/gpus/{pf}/information"))).ok().flatten();
    let minor = information.as_deref().and_then(device_minor);
    let Some(minor) = minor else { return String::new() };
    match Holders::scan(root).opened(&Nodes::file(format!("/dev/nvidia{minor}"))) {
        Opened::By(who) => format!("; {who} has the card open"),
        Opened::No | Opened::Unknown(_) => String::new(),
    }
}

/// The number of a card's file, from the line `Device Minor:` of `/proc/driver/nvidia/gpus/*/information`.
fn device_minor(information: &str) -> Option<u32> {
    let line = information.lines().find_map(|line| line.strip_prefix("Device Minor:"))?;
    line.trim().parse().ok()
}

fn last_line(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().rev().find(|line| !line.trim().is_empty())?;
    Some(line.trim().chars().take(200).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_the_cards_file() {
        let text = "Model: \t\t NVIDIA A40\nIRQ:   \t\t 88\nDevice Minor: \t 3\nGPU Excluded:\t No\n";
        assert_eq!(device_minor(text), Some(3));
        assert_eq!(device_minor("Model: x"), None);
    }

    #[test]
    fn programs_are_quoted_by_their_last_line() {
        assert_eq!(
            last_line(b"Enabling VFs on 0000:41:00.0\nCannot obtain unbindLock for 0000:41:00.0\n\n").unwrap(),
            "Cannot obtain unbindLock for 0000:41:00.0"
        );
        assert_eq!(last_line(b"\n"), None);
    }
}
