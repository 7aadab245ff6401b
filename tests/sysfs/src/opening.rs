//! Virtual machines that open and close devices, and boards that come and go under them.

use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;

use crate::attribute::Attribute;
use crate::host::Event;
use crate::process::Vm;
use crate::state::{Shared, State};

/// How long NVIDIA's driver waits for its plugin when a vGPU is opened: section 1.10 of the reference.
const PLUGIN: Duration = Duration::from_secs(25);
/// Real time after which a test that opens a device has gone wrong, whatever the machine's clock says.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn open(shared: &Arc<Shared>, device: &str, vm: &Vm) -> Result<u32, Errno> {
    let deadline = shared.act(|state| {
        if let Some(board) = state.board_of(device) {
            state.at(board, |_, host| host.after(PLUGIN, Event::Wake));
        }
        state.host.clock.now() + PLUGIN
    });
    let opened = shared.wait(PATIENCE, |state| {
        let result = match try_open(state, device, vm) {
            Ok(None) if state.host.clock.now() < deadline => return None,
            Ok(None) => Err(Errno::ETIMEDOUT),
            Ok(Some(pid)) => Ok(pid),
            Err(errno) => Err(errno),
        };
        state.settle();
        Some(result)
    });
    opened.unwrap_or(Err(Errno::ETIMEDOUT))
}

fn try_open(state: &mut State, device: &str, vm: &Vm) -> Result<Option<u32>, Errno> {
    let board = state.board_of(device).ok_or(Errno::ENODEV)?;
    if state.host.opened.contains_key(device) {
        return Err(Errno::EBUSY);
    }
    state.at(board, |board, host| Ok(board.open(host, device)?.map(|vfio| host.open(device, vm, vfio))))
}

pub(crate) fn close(state: &mut State, device: &str) {
    if state.host.user(device).is_none() {
        return;
    }
    match state.board_of(device) {
        Some(board) => state.at(board, |board, host| {
            let lingers = board.closed(host, device);
            host.close(device, lingers);
        }),
        None => state.host.close(device, false),
    }
}

pub(crate) fn open_managed(shared: &Arc<Shared>, function: &str, vm: &Vm) -> Result<u32, Errno> {
    shared.act(|state| {
        let board = state.board_of(function).ok_or(Errno::ENODEV)?;
        rebind(state, board, function, Some("vfio-pci"));
        Ok(())
    })?;
    open(shared, function, vm)
}

pub(crate) fn close_managed(shared: &Arc<Shared>, function: &str) {
    shared.act(|state| {
        close(state, function);
        if let Some(board) = state.board_of(function) {
            rebind(state, board, function, None);
        }
    });
}

/// What libvirt writes: override, unbind, probe.
fn rebind(state: &mut State, board: usize, function: &str, driver: Option<&str>) {
    let address = function.as_bytes();
    state.at(board, |board, host| {
        let bound = board.driver(function);
        let chosen = Attribute::DriverOverride { function: function.to_owned() };
        board.write(host, &chosen, driver.unwrap_or_default().as_bytes(), None);
        if let Some(driver) = bound {
            board.write(host, &Attribute::Unbind { driver }, address, None);
        }
        board.write(host, &Attribute::Probe, address, None);
    });
}

pub(crate) fn end_lingering(state: &mut State, device: &str) {
    if state.host.lingers(device)
        && let Some(board) = state.board_of(device)
    {
        state.at(board, |_, host| host.close(device, false));
    }
}

pub(crate) fn end_process(state: &mut State, pid: u32) {
    let devices: Vec<String> =
        state.host.opened.iter().filter(|(_, opened)| opened.pid == pid).map(|(device, _)| device.clone()).collect();
    for device in devices {
        close(state, &device);
    }
    state.host.processes.remove(&pid);
    state.host.processes_changed = true;
}

pub(crate) fn unplug(state: &mut State, gpu: &str) {
    let Some(board) = state.board_of(gpu) else { return };
    let devices: Vec<String> =
        state.host.opened.keys().filter(|device| state.slots[board].board.has(device)).cloned().collect();
    state.at(board, |board, host| board.unplug(host));
    for device in devices {
        state.host.close(&device, false);
    }
    state.host.agenda.retain(|_, (owner, _)| *owner != board);
    state.slots[board].present = false;
}

#[track_caller]
pub(crate) fn plug(state: &mut State, gpu: &str) {
    let absent = state.slots.iter().position(|slot| !slot.present && slot.board.name() == gpu);
    let board = absent.unwrap_or_else(|| panic!("{gpu} was not unplugged from this machine"));
    state.slots[board].present = true;
    state.at(board, |board, host| board.switch_on(host));
}

pub(crate) fn reboot(state: &mut State) {
    let told = state.host.uevents.len();
    state.host.processes.clear();
    state.host.processes_changed = true;
    state.host.opened.clear();
    state.host.agenda.clear();
    for index in 0..state.slots.len() {
        if state.slots[index].present {
            state.at(index, |board, host| board.switch_off(host));
        }
    }
    // Nobody runs who could hear of it.
    state.host.uevents.truncate(told);
    for index in 0..state.slots.len() {
        if state.slots[index].present {
            state.at(index, |board, host| board.switch_on(host));
        }
    }
}
