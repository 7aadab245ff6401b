//! What the parts of a machine share: time, processes, open devices, numbers given once, events told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nix::errno::Errno;

use crate::clock::Clock;
use crate::process::{Process, Vm};
use crate::uevent::Uevent;

/// Something that happens to a board by itself at a later moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The virtual functions that were asked for show up.
    FunctionsAppear,
    /// The vendor's driver has published its types.
    DriverReady,
    /// The driver removes an mdev whose user has gone.
    SelfClean { uuid: String },
    /// The link to the type of a new mdev shows up.
    TypeLinkAppears { uuid: String },
    /// The vGPU process of a device that was closed ends.
    ProcessEnds { device: String },
    /// Nothing but a look at what waits.
    Wake,
}

/// A device that a process has open.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub(crate) pid: u32,
    pub(crate) vm: Vm,
    /// The path that the process has open.
    pub(crate) node: String,
    /// Closed, but the vendor's own process for it still runs.
    pub(crate) lingers: bool,
}

/// A request to a virtual machine to let go of a device, as the kernel makes it when the device is to be removed in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnplugRequest {
    /// The device: an mdev's UUID or a function's address.
    pub device: String,
    /// The name of the virtual machine.
    pub vm: String,
}

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) clock: Clock,
    pub(crate) agenda: BTreeMap<(Duration, u64), (usize, Event)>,
    pub(crate) processes: BTreeMap<u32, Process>,
    pub(crate) opened: BTreeMap<String, Opened>,
    pub(crate) mdevs: BTreeSet<String>,
    pub(crate) uevents: Vec<Uevent>,
    pub(crate) unplug_requests: Vec<UnplugRequest>,
    /// The board that is at work.
    pub(crate) board: usize,
    /// Boards that may look different now.
    pub(crate) changed: BTreeSet<usize>,
    pub(crate) processes_changed: bool,
    /// The mdev core is older than Linux 6.1 or newer; newer ones have `vfio-dev`.
    pub(crate) vfio_dev: bool,
    next_group: u32,
    next_vfio: u32,
    next_pid: u32,
    next_event: u64,
    next_minor: u32,
}

/// The numbers under which VFIO shows a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vfio {
    /// The IOMMU group, and `/dev/vfio/<group>`.
    pub(crate) group: u32,
    /// `vfio-dev/vfio<device>`, and `/dev/vfio/devices/vfio<device>`.
    pub(crate) device: u32,
}

impl Host {
    pub(crate) fn new(clock: Clock, vfio_dev: bool) -> Self {
        Self {
            clock,
            agenda: BTreeMap::new(),
            processes: BTreeMap::new(),
            opened: BTreeMap::new(),
            mdevs: BTreeSet::new(),
            uevents: Vec::new(),
            unplug_requests: Vec::new(),
            board: 0,
            changed: BTreeSet::new(),
            processes_changed: false,
            vfio_dev,
            // Groups and VFIO devices count apart, so that nobody takes one number for the other.
            next_group: 20,
            next_vfio: 0,
            next_pid: 70_001,
            next_event: 0,
            next_minor: 0,
        }
    }

    /// The next number of `/dev/nvidia<minor>`.
    pub(crate) fn minor(&mut self) -> u32 {
        self.next_minor += 1;
        self.next_minor - 1
    }

    pub(crate) fn vfio(&mut self) -> Vfio {
        self.next_group += 1;
        self.next_vfio += 1;
        Vfio { group: self.next_group - 1, device: self.next_vfio - 1 }
    }

    /// Puts something on the agenda of the board that is at work.
    pub(crate) fn after(&mut self, time: Duration, event: Event) {
        self.next_event += 1;
        self.agenda.insert((self.clock.now().saturating_add(time), self.next_event), (self.board, event));
    }

    /// Takes from the agenda of the board at work what fits.
    pub(crate) fn cancel(&mut self, fits: impl Fn(&Event) -> bool) {
        let board = self.board;
        self.agenda.retain(|_, (owner, event)| *owner != board || !fits(event));
    }

    pub(crate) fn tell(&mut self, action: &str, path: &str, subsystem: &str, properties: &[(&str, &str)]) {
        self.uevents.push(Uevent {
            action: action.to_owned(),
            devpath: path.strip_prefix("sys").unwrap_or(path).to_owned(),
            subsystem: subsystem.to_owned(),
            properties: properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        });
    }

    pub(crate) fn start(&mut self, process: Process) -> u32 {
        self.next_pid += 1;
        self.processes_changed = true;
        self.processes.insert(self.next_pid - 1, process);
        self.next_pid - 1
    }

    /// The process of this virtual machine, started if it does not run yet.
    pub(crate) fn qemu(&mut self, vm: &Vm) -> u32 {
        let running = self.opened.values().find(|opened| opened.vm.name == vm.name && !opened.lingers);
        match running {
            Some(opened) => opened.pid,
            None => self.start(Process::qemu(vm)),
        }
    }

    pub(crate) fn open(&mut self, device: &str, vm: &Vm, vfio: Vfio) -> u32 {
        let pid = self.qemu(vm);
        self.processes_changed = true;
        let node = if vm.cdev && self.vfio_dev {
            format!("/dev/vfio/devices/vfio{}", vfio.device)
        } else {
            format!("/dev/vfio/{}", vfio.group)
        };
        if let Some(process) = self.processes.get_mut(&pid) {
            process.opens(node.clone());
        }
        self.opened.insert(device.to_owned(), Opened { pid, vm: vm.clone(), node, lingers: false });
        pid
    }

    /// The virtual machine lets go. With `lingers`, the vendor's process for the device does not yet.
    pub(crate) fn close(&mut self, device: &str, lingers: bool) {
        let Some(opened) = self.opened.get_mut(device) else { return };
        let (pid, node) = (opened.pid, opened.node.clone());
        opened.lingers = true;
        self.processes_changed = true;
        if let Some(process) = self.processes.get_mut(&pid) {
            process.closes(&node);
        }
        if !lingers {
            self.opened.remove(device);
        }
        if !self.opened.values().any(|opened| opened.pid == pid && !opened.lingers) {
            self.processes.remove(&pid);
        }
    }

    /// The virtual machine that has a device open.
    pub(crate) fn user(&self, device: &str) -> Option<&Vm> {
        self.opened.get(device).filter(|opened| !opened.lingers).map(|opened| &opened.vm)
    }

    pub(crate) fn lingers(&self, device: &str) -> bool {
        self.opened.get(device).is_some_and(|opened| opened.lingers)
    }

    /// Asks the user of a device, if it has one, to let go.
    pub(crate) fn request_unplug(&mut self, device: &str) {
        if let Some(vm) = self.user(device) {
            let request = UnplugRequest { device: device.to_owned(), vm: vm.name.clone() };
            self.unplug_requests.push(request);
        }
    }

    /// What `vgpu_params`, `placement_id` and others answer while a device is in use.
    pub(crate) fn not_in_use(&self, device: &str) -> Result<(), Errno> {
        if self.user(device).is_some() { Err(Errno::EPERM) } else { Ok(()) }
    }
}
