//! Generic SR-IOV: a PF whose driver takes `sriov_numvfs`. Sections 5.4 and 10.3 of the reference.

use std::time::Duration;

use nix::errno::Errno;

use crate::address::address;
use crate::attribute::Attribute;
use crate::blueprint::Part;
use crate::board::{Board, Progress};
use crate::host::{Event, Host, Vfio};
use crate::pci::{Configure, Function, Kind, Physical, Sriov};
use crate::sketch::Sketch;

/// A function with virtual functions, as a part of a [`Blueprint`](crate::Blueprint).
#[derive(Clone, Debug)]
#[must_use]
pub struct Device {
    address: String,
    kind: Kind,
    vf_id: u16,
    driver: Option<String>,
    vf_driver: Option<String>,
    total: u16,
    offset: u16,
    stride: u16,
    enabled: u16,
    configure: Configure,
    late: Duration,
}

impl Device {
    /// Intel Data Center GPU Flex 170: 31 virtual functions; theirs is the PF's device id.
    #[track_caller]
    pub fn flex_170(pf: &str) -> Self {
        let kind = Kind { vendor: 0x8086, device: 0x56c0, subsystem: (0x8086, 0x4905), class: 0x03_8000 };
        Self::new(pf, kind, 0x56c0, "i915", None, 31, 1, 1)
    }

    /// Intel 82576 as QEMU emulates it: a network function with 7 virtual ones, the lab's stand-in for a GPU.
    #[track_caller]
    pub fn igb(pf: &str) -> Self {
        let kind = Kind { vendor: 0x8086, device: 0x10c9, subsystem: (0x1af4, 0x1100), class: 0x02_0000 };
        Self::new(pf, kind, 0x10ca, "igb", Some("igbvf"), 7, 0x80, 2)
    }

    #[expect(clippy::too_many_arguments, reason = "the numbers of a data sheet, named by the callers above")]
    #[track_caller]
    fn new(
        pf: &str,
        kind: Kind,
        vf_id: u16,
        driver: &str,
        vf_driver: Option<&str>,
        total: u16,
        offset: u16,
        stride: u16,
    ) -> Self {
        Self {
            address: address(pf).to_string(),
            kind,
            vf_id,
            driver: Some(driver.to_owned()),
            vf_driver: vf_driver.map(str::to_owned),
            total,
            offset,
            stride,
            enabled: 0,
            configure: Configure::AtMost(u16::MAX),
            late: Duration::ZERO,
        }
    }

    /// No SR-IOV at all: a function that is there and can only be passed through whole.
    pub fn without_sriov(self) -> Self {
        Self { total: 0, ..self }
    }

    /// `sriov_totalvfs`.
    pub fn vfs(self, total: u16) -> Self {
        Self { total, ..self }
    }

    /// So many virtual functions are enabled when the machine is switched on first.
    pub fn enabled(self, number: u16) -> Self {
        Self { enabled: number, ..self }
    }

    /// No driver is bound to the PF.
    pub fn without_driver(self) -> Self {
        Self { driver: None, ..self }
    }

    /// The PF's driver has no callback for `sriov_numvfs`.
    pub fn without_configure(self) -> Self {
        Self { configure: Configure::Absent, ..self }
    }

    /// The PF's driver enables no more than this and calls that success.
    pub fn enables_at_most(self, number: u16) -> Self {
        Self { configure: Configure::AtMost(number), ..self }
    }

    /// The PF's driver refuses to enable any.
    pub fn refuses(self, errno: Errno) -> Self {
        Self { configure: Configure::Refuses(errno), ..self }
    }

    /// The driver that takes fresh virtual functions, or none.
    pub fn vf_driver(self, driver: Option<&str>) -> Self {
        Self { vf_driver: driver.map(str::to_owned), ..self }
    }

    /// Virtual functions appear this long after `sriov_numvfs` was written.
    pub fn late_vfs(self, time: Duration) -> Self {
        Self { late: time, ..self }
    }

    /// So many functions of this kind, on buses from its own on.
    pub fn times(self, count: u8) -> Vec<Self> {
        let first = address(&self.address);
        let at = |n: u8| format!("{:04x}:{:02x}:00.0", first.domain(), first.bus() + u16::from(n) * 2);
        (0..count).map(|n| Self { address: address(&at(n)).to_string(), ..self.clone() }).collect()
    }
}

impl From<Device> for Part {
    fn from(device: Device) -> Self {
        let function = Function {
            address: address(&device.address),
            kind: device.kind,
            driver: None,
            driver_override: None,
            native: device.driver.clone(),
            vfio: Vfio { group: 0, device: 0 },
        };
        let sriov = Sriov {
            total: device.total,
            offset: device.offset,
            stride: device.stride,
            vf_kind: Kind { device: device.vf_id, ..device.kind },
            vf_driver: device.vf_driver.clone(),
            autoprobe: true,
            number: 0,
            functions: Vec::new(),
            configure: device.configure,
            late: device.late,
        };
        let pf = Physical { function, sriov: Some(sriov).filter(|sriov| sriov.total > 0), variant: None };
        Self(Box::new(SriovBoard { pf, enabled: device.enabled }))
    }
}

struct SriovBoard {
    pf: Physical,
    /// Virtual functions still to be enabled at the first start.
    enabled: u16,
}

impl Board for SriovBoard {
    fn name(&self) -> String {
        self.pf.function.id()
    }

    fn has(&self, device: &str) -> bool {
        self.pf.function(device).is_some()
    }

    fn drivers(&self) -> Vec<String> {
        let vf = self.pf.sriov.as_ref().and_then(|sriov| sriov.vf_driver.clone());
        self.pf.function.native.clone().into_iter().chain(vf).collect()
    }

    fn driver(&self, function: &str) -> Option<String> {
        self.pf.function(function)?.driver.clone()
    }

    fn draw(&self, host: &Host, sketch: &mut Sketch) {
        self.pf.draw(host, sketch);
    }

    fn write(&mut self, host: &mut Host, attribute: &Attribute, text: &[u8], since: Option<Duration>) -> Progress {
        self.pf.write(host, attribute, text, since).unwrap_or(Progress::Refused(Errno::EIO))
    }

    fn switch_on(&mut self, host: &mut Host) {
        self.pf.function.vfio = host.vfio();
        self.pf.function.driver.clone_from(&self.pf.function.native);
        self.pf.tell_added(host, &self.pf.function);
        let enabled = std::mem::take(&mut self.enabled);
        if enabled > 0 {
            self.pf.enable(host, enabled);
        }
    }

    fn switch_off(&mut self, host: &mut Host) {
        self.pf.disable(host);
        self.pf.function.driver = None;
        self.pf.function.driver_override = None;
        if let Some(sriov) = &mut self.pf.sriov {
            sriov.autoprobe = true;
        }
    }

    fn unplug(&mut self, host: &mut Host) {
        self.switch_off(host);
        self.pf.tell_removed(host, &self.pf.function);
    }

    fn happen(&mut self, host: &mut Host, event: &Event) {
        if *event == Event::FunctionsAppear {
            self.pf.appear(host);
        }
    }

    fn open(&mut self, _: &mut Host, device: &str) -> Result<Option<Vfio>, Errno> {
        self.pf.open(device).map(Some)
    }
}
