//! AMD MxGPU under GIM: virtual functions are made when the module loads, and only amd-smi changes their number. Sections 5.3 and 10.3
//! of the reference.

use std::time::Duration;

use nix::errno::Errno;

use crate::address::address;
use crate::attribute::{Attribute, word};
use crate::blueprint::Part;
use crate::board::{Board, Progress};
use crate::host::{Event, Host, Vfio};
use crate::pci::{Configure, Function, Kind, Physical, Sriov};
use crate::sketch::Sketch;

/// A GPU of AMD with GIM, as a part of a [`Blueprint`](crate::Blueprint).
#[derive(Clone, Debug)]
#[must_use]
pub struct Mxgpu {
    address: String,
    kind: Kind,
    vf_device: u16,
    most: u16,
    vf_num: u16,
    partition_refused: bool,
}

impl Mxgpu {
    /// Radeon PRO V710, 28 GB: 1 to 12 virtual functions, as many as the module parameter `vf_num` said when GIM was loaded.
    #[track_caller]
    pub fn v710(pf: &str, vf_num: u16) -> Self {
        let kind = Kind { vendor: 0x1002, device: 0x7460, subsystem: (0x1002, 0x0e34), class: 0x03_0000 };
        Self { address: address(pf).to_string(), kind, vf_device: 0x7461, most: 12, vf_num, partition_refused: false }
    }

    /// Instinct MI300X, 192 GB: 1 or 8 virtual functions.
    #[track_caller]
    pub fn mi300x(pf: &str, vf_num: u16) -> Self {
        let kind = Kind { vendor: 0x1002, device: 0x74a1, subsystem: (0x1002, 0x74a1), class: 0x12_0000 };
        Self { address: address(pf).to_string(), kind, vf_device: 0x74b5, most: 8, vf_num, partition_refused: false }
    }

    /// Firmware refuses another `memory_partition_mode`; the write succeeds all the same.
    pub fn partition_refused(self) -> Self {
        Self { partition_refused: true, ..self }
    }
}

impl From<Mxgpu> for Part {
    fn from(gpu: Mxgpu) -> Self {
        Self(Box::new(MxgpuBoard::new(&gpu)))
    }
}

pub(crate) struct MxgpuBoard {
    pf: Physical,
    /// The module parameter.
    vf_num: u16,
    partition: String,
    partition_refused: bool,
}

impl MxgpuBoard {
    fn new(gpu: &Mxgpu) -> Self {
        let function = Function {
            address: address(&gpu.address),
            kind: gpu.kind,
            driver: None,
            driver_override: None,
            native: Some("gim".to_owned()),
            vfio: Vfio { group: 0, device: 0 },
        };
        let sriov = Sriov {
            total: gpu.most,
            offset: 1,
            stride: 1,
            vf_kind: Kind { device: gpu.vf_device, ..gpu.kind },
            // The host must not load amdgpu for them.
            vf_driver: None,
            autoprobe: true,
            number: 0,
            functions: Vec::new(),
            configure: Configure::Absent,
            late: Duration::ZERO,
        };
        Self {
            pf: Physical { function, sriov: Some(sriov), variant: None },
            vf_num: gpu.vf_num,
            partition: "NPS1".to_owned(),
            partition_refused: gpu.partition_refused,
        }
    }

    pub(crate) fn address(&self) -> String {
        self.pf.function.id()
    }

    fn active(&self, host: &Host) -> bool {
        self.pf.virtual_functions().iter().any(|function| host.user(&function.id()).is_some())
    }

    /// `amdsmi_set_num_vf`: every VF idle, else nothing changes; all are made anew.
    pub(crate) fn set_number(&mut self, host: &mut Host, number: u16) -> Result<(), &'static str> {
        let most = self.pf.sriov.as_ref().map_or(0, |sriov| sriov.total);
        if number == 0 || number > most {
            return Err("AMDSMI_STATUS_INVAL");
        }
        if self.active(host) {
            return Err("AMDSMI_STATUS_VF_BUSY");
        }
        self.pf.disable(host);
        self.pf.enable(host, number);
        Ok(())
    }

    /// `amdsmi_clear_vf_fb`.
    pub(crate) fn clear_framebuffer(&self, host: &Host, function: &str) -> Result<(), &'static str> {
        if self.pf.virtual_functions().iter().all(|other| other.id() != function) {
            return Err("AMDSMI_STATUS_NOT_FOUND");
        }
        if host.user(function).is_some() { Err("AMDSMI_STATUS_BUSY") } else { Ok(()) }
    }
}

impl Board for MxgpuBoard {
    fn name(&self) -> String {
        self.address()
    }

    fn has(&self, device: &str) -> bool {
        self.pf.function(device).is_some()
    }

    fn drivers(&self) -> Vec<String> {
        vec!["gim".to_owned()]
    }

    fn driver(&self, function: &str) -> Option<String> {
        self.pf.function(function)?.driver.clone()
    }

    fn draw(&self, host: &Host, sketch: &mut Sketch) {
        self.pf.draw(host, sketch);
        if self.pf.function.driver.as_deref() == Some("gim") {
            let home = self.pf.home();
            sketch.file(format!("{home}/accelerator_partition_profile"), "SPX");
            sketch.attribute(format!("{home}/memory_partition_mode"), &self.partition, Attribute::MemoryPartition);
        }
    }

    fn write(&mut self, host: &mut Host, attribute: &Attribute, text: &[u8], since: Option<Duration>) -> Progress {
        if let Attribute::MemoryPartition = attribute {
            // The store reports success whatever became of it.
            if let Ok(mode) = word(text)
                && !self.partition_refused
                && ["NPS1", "NPS2", "NPS4", "NPS8"].contains(&mode.as_str())
            {
                self.partition = mode;
            }
            return Progress::Done;
        }
        let before = self.pf.function.driver.is_some();
        let progress = self.pf.write(host, attribute, text, since).unwrap_or(Progress::Refused(Errno::EIO));
        if !before && self.pf.function.driver.is_some() {
            self.pf.enable(host, self.vf_num);
        }
        progress
    }

    fn switch_on(&mut self, host: &mut Host) {
        self.pf.function.vfio = host.vfio();
        self.pf.function.driver = Some("gim".to_owned());
        self.pf.tell_added(host, &self.pf.function);
        self.pf.enable(host, self.vf_num);
    }

    fn switch_off(&mut self, host: &mut Host) {
        self.pf.disable(host);
        self.pf.function.driver = None;
        self.pf.function.driver_override = None;
        "NPS1".clone_into(&mut self.partition);
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

    fn mxgpu(&mut self) -> Option<&mut MxgpuBoard> {
        Some(self)
    }
}
