//! A machine that runs: what a test does to it and asks of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;

use crate::board::Board;
use crate::command::{Behavior, Program};
use crate::export;
use crate::fault::Fault;
use crate::host::{Host, UnplugRequest};
use crate::mount::Mount;
use crate::process::{Process, Vm};
use crate::record::{Looks, Write};
use crate::state::Shared;
use crate::uevent::Uevent;

/// A simulated machine. Dropped, it is unmounted, and whoever was blocked in it gets `EIO`.
pub struct Machine {
    shared: Arc<Shared>,
    mount: Option<Mount>,
    timekeeper: Option<JoinHandle<()>>,
}

/// Holds up everybody who comes to a fault's files until it is released or dropped.
pub struct Gate {
    shared: Arc<Shared>,
    gate: u64,
}

impl Machine {
    pub(crate) fn new(shared: Arc<Shared>, mount: Option<Mount>) -> Self {
        let keeper = Arc::clone(&shared);
        let timekeeper = std::thread::Builder::new().name("simsysfs-time".to_owned()).spawn(move || keeper.keep_time());
        Self { shared, mount, timekeeper: timekeeper.ok() }
    }

    /// The folder that stands for `/`: it holds `sys`, `proc`, `dev`, `usr`.
    ///
    /// # Panics
    /// The machine is not mounted.
    pub fn root(&self) -> &Path {
        self.mount.as_ref().expect("Blueprint::mount, not Blueprint::unmounted").path()
    }

    /// A path below [`root`](Self::root); a leading slash is ignored.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    /// The folder of a PCI function.
    pub fn pci(&self, address: &str) -> PathBuf {
        self.path("sys/bus/pci/devices").join(address)
    }

    /// The folder of an mdev.
    pub fn mdev(&self, uuid: &str) -> PathBuf {
        self.path("sys/bus/mdev/devices").join(uuid)
    }

    /// A virtual machine opens a device, an mdev by UUID or a function by address, as QEMU does when it starts or is told to plug it
    /// in. Gives the process id of its QEMU, which `/proc` shows with the device open.
    ///
    /// # Errors
    /// What `open(2)` or the VFIO calls would answer: `ENODEV` (not there, no VFIO driver, no vGPU type set), `EBUSY` (open already),
    /// `EIO` and `ETIMEDOUT` (the vendor's plugin failed or did not come in 25 s of the machine's time).
    pub fn open(&self, device: &str, vm: impl Into<Vm>) -> Result<u32, Errno> {
        crate::opening::open(&self.shared, device, &vm.into())
    }

    /// The virtual machine lets go of a device. Nothing happens if it has none open.
    pub fn close(&self, device: &str) {
        self.shared.act(|state| crate::opening::close(state, device));
    }

    /// libvirt's `managed='yes'`: binds a function to vfio-pci and opens it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_managed(&self, function: &str, vm: impl Into<Vm>) -> Result<u32, Errno> {
        crate::opening::open_managed(&self.shared, function, &vm.into())
    }

    /// Closes a function and gives it back to its own driver.
    pub fn close_managed(&self, function: &str) {
        crate::opening::close_managed(&self.shared, function);
    }

    /// A process of the host that has nothing to do with virtual machines opens a GPU (`/dev/nvidia<minor>`), as NVML clients do. Gives
    /// its process id.
    pub fn hold_gpu(&self, gpu: &str, program: &str) -> u32 {
        self.on_nvidia(gpu, |board, host| board.hold(host, Process::new([program])))
    }

    /// A process ends, and what it had open is closed.
    pub fn end_process(&self, pid: u32) {
        self.shared.act(|state| crate::opening::end_process(state, pid));
    }

    /// How the vendor's plugin answers when a virtual machine opens a vGPU of this GPU.
    pub fn set_plugin(&self, gpu: &str, plugin: crate::nvidia::Plugin) {
        self.on_nvidia(gpu, |board, _| board.set_plugin(plugin));
    }

    /// The vGPU processes of a GPU that linger after their machines have gone end now.
    pub fn end_lingering(&self, device: &str) {
        self.shared.act(|state| crate::opening::end_lingering(state, device));
    }

    /// Whether NVIDIA's driver has published its types on this GPU.
    pub fn set_ready(&self, gpu: &str, ready: bool) {
        self.on_nvidia(gpu, |board, host| board.set_ready(host, ready));
    }

    /// The board is gone from its slot, with everything on it and whoever uses it.
    pub fn unplug(&self, gpu: &str) {
        self.shared.act(|state| crate::opening::unplug(state, gpu));
    }

    /// The board that was unplugged is back, as after power on.
    #[track_caller]
    pub fn plug(&self, gpu: &str) {
        self.shared.act(|state| crate::opening::plug(state, gpu));
    }

    /// The driver of a GPU is unloaded and loaded: virtual functions, mdevs and modes are gone.
    #[track_caller]
    pub fn reload_driver(&self, gpu: &str) {
        self.on(gpu, |board, host| board.reload(host));
    }

    /// The host boots again: nothing is left but what firmware and fixed configuration bring back. Recorded writes and faults stay.
    pub fn reboot(&self) {
        self.shared.act(crate::opening::reboot);
    }

    /// How a stub program behaves from now on.
    pub fn set_program(&self, program: Program, behavior: Behavior) {
        self.shared.act(|state| state.programs.insert(program, behavior));
    }

    /// Lets the machine's time pass.
    pub fn advance(&self, time: Duration) {
        self.shared.act(|state| state.host.clock.advance(time));
    }

    /// Time since the machine was switched on.
    pub fn now(&self) -> Duration {
        self.shared.lock().host.clock.now()
    }

    /// Puts a fault on paths.
    pub fn inject(&self, fault: Fault) {
        self.shared.act(|state| state.faults.add(fault));
    }

    /// Holds up everybody who does what the fault says, until the gate opens.
    pub fn block(&self, fault: Fault) -> Gate {
        let gate = self.shared.act(|state| {
            let gate = state.gate();
            state.faults.add(fault.block(gate));
            gate
        });
        Gate { shared: Arc::clone(&self.shared), gate }
    }

    /// Takes all faults away and opens all gates.
    pub fn heal(&self) {
        self.shared.act(|state| {
            state.faults.clear();
            state.gates.clear();
        });
    }

    /// Every `write(2)` so far, in the order they came.
    pub fn writes(&self) -> Vec<Write> {
        self.shared.lock().record.writes.clone()
    }

    /// Waits until so many writes are blocked; tells whether they are within this real time.
    pub fn wait_for_blocked_writes(&self, count: usize, most: Duration) -> bool {
        let blocked = |state: &mut crate::state::State| {
            state.record.writes.iter().filter(|write| write.result.is_none()).count() >= count
        };
        self.shared.wait(most, |state| blocked(state).then_some(())).is_some()
    }

    /// Waits until so many stub programs are under way; tells whether they are within this real time.
    pub fn wait_for_programs(&self, count: usize, most: Duration) -> bool {
        self.shared.wait(most, |state| (state.programs_running >= count).then_some(())).is_some()
    }

    /// How often each path was read, listed and walked through so far.
    pub fn looks(&self) -> Looks {
        self.shared.lock().record.looks.clone()
    }

    /// Begins new records of writes and looks.
    pub fn forget(&self) {
        self.shared.lock().record.forget();
    }

    /// All uevents from now on.
    pub fn uevents(&self) -> Receiver<Uevent> {
        let (sender, receiver) = channel();
        self.shared.lock().listeners.push(sender);
        receiver
    }

    /// Whom the kernel has asked to let go of a device so far, because its removal waits for that.
    pub fn unplug_requests(&self) -> Vec<UnplugRequest> {
        self.shared.lock().host.unplug_requests.clone()
    }

    /// Writes everything as it is now into a folder, as plain files, folders and relative links; devices become empty files. What is in
    /// the folder answers no write as hardware would, but costs nothing to read.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write_tree(&self, folder: &Path) -> std::io::Result<()> {
        export::write(&self.shared.lock().tree, folder)
    }

    #[track_caller]
    fn on<T>(&self, device: &str, act: impl FnOnce(&mut dyn Board, &mut Host) -> T) -> T {
        self.shared.act(|state| {
            let board = state.board_of(device).unwrap_or_else(|| panic!("this machine has no {device}"));
            state.at(board, act)
        })
    }

    #[track_caller]
    fn on_nvidia<T>(&self, gpu: &str, act: impl FnOnce(&mut crate::nvidia::board::GpuBoard, &mut Host) -> T) -> T {
        self.on(gpu, |board, host| {
            let board = board.nvidia().unwrap_or_else(|| panic!("{gpu} is no GPU of NVIDIA"));
            act(board, host)
        })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.shared.act(|state| state.ended = true);
        self.mount = None;
        if let Some(timekeeper) = self.timekeeper.take() {
            // It only panics if the machine has a bug, which its tests have shown already.
            let _ = timekeeper.join();
        }
    }
}

impl Gate {
    /// Waits until so many callers are held up; tells whether they are within this real time.
    pub fn wait_for(&self, callers: usize, most: Duration) -> bool {
        let arrived =
            |state: &mut crate::state::State| state.gates.get(&self.gate).is_some_and(|count| *count >= callers);
        self.shared.wait(most, |state| arrived(state).then_some(())).is_some()
    }

    /// Lets everybody go on, and holds up nobody any more.
    pub fn open(self) {
        drop(self);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.shared.act(|state| {
            state.gates.remove(&self.gate);
            state.faults.remove_gate(self.gate);
        });
    }
}
