//! A PCI function in sysfs, and the kernel's SR-IOV attributes of a physical one.

mod binding;
mod functions;

use std::time::Duration;

use nix::errno::Errno;

use crate::address::Address;
use crate::attribute::Attribute;
use crate::board::Progress;
use crate::host::{Host, Vfio};
use crate::sketch::Sketch;

/// Numbers that name a kind of function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) vendor: u16,
    pub(crate) device: u16,
    pub(crate) subsystem: (u16, u16),
    pub(crate) class: u32,
}

/// One function, physical or virtual.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    pub(crate) address: Address,
    pub(crate) kind: Kind,
    pub(crate) driver: Option<String>,
    pub(crate) driver_override: Option<String>,
    /// The driver that takes it when it is probed.
    pub(crate) native: Option<String>,
    pub(crate) vfio: Vfio,
}

impl Function {
    pub(crate) fn id(&self) -> String {
        self.address.to_string()
    }
}

/// The SR-IOV capability of a physical function.
#[derive(Clone, Debug)]
pub(crate) struct Sriov {
    pub(crate) total: u16,
    pub(crate) offset: u16,
    pub(crate) stride: u16,
    pub(crate) vf_kind: Kind,
    /// The driver of fresh virtual functions; none leaves them unbound.
    pub(crate) vf_driver: Option<String>,
    pub(crate) autoprobe: bool,
    /// `sriov_numvfs`.
    pub(crate) number: u16,
    /// The virtual functions that are there.
    pub(crate) functions: Vec<Function>,
    /// Whether the PF's driver lets `sriov_numvfs` through.
    pub(crate) configure: Configure,
    /// Virtual functions appear this long after they were asked for.
    pub(crate) late: Duration,
}

/// What the PF's driver does when `sriov_numvfs` is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Configure {
    /// It has no callback for it.
    Absent,
    /// It enables as many as it was asked for, at most this number.
    AtMost(u16),
    /// It refuses.
    Refuses(Errno),
}

/// A physical function, with or without SR-IOV.
#[derive(Clone, Debug)]
pub(crate) struct Physical {
    pub(crate) function: Function,
    pub(crate) sriov: Option<Sriov>,
    /// The driver of its VFs that carries VFIO without being vfio-pci.
    pub(crate) variant: Option<String>,
}

impl Physical {
    /// The function's folder.
    pub(crate) fn folder(&self, function: Address) -> String {
        let pf = self.function.address;
        format!("sys/devices/pci{:04x}:{:02x}/{function}", pf.domain(), pf.bus())
    }

    pub(crate) fn home(&self) -> String {
        self.folder(self.function.address)
    }

    pub(crate) fn functions(&self) -> impl Iterator<Item = &Function> {
        std::iter::once(&self.function).chain(self.virtual_functions())
    }

    pub(crate) fn virtual_functions(&self) -> &[Function] {
        self.sriov.as_ref().map_or(&[], |sriov| &sriov.functions)
    }

    pub(crate) fn function(&self, id: &str) -> Option<&Function> {
        self.functions().find(|function| function.id() == id)
    }

    pub(crate) fn function_mut(&mut self, id: &str) -> Option<&mut Function> {
        if self.function.id() == id {
            return Some(&mut self.function);
        }
        self.sriov.as_mut()?.functions.iter_mut().find(|function| function.id() == id)
    }

    /// Bound to `vfio-pci`, or a VF whose driver carries VFIO itself.
    fn has_vfio(&self, function: &Function) -> bool {
        let virtual_function = function.address != self.function.address;
        match function.driver.as_deref() {
            None => false,
            Some("vfio-pci") => true,
            driver => virtual_function && driver == self.variant.as_deref(),
        }
    }

    /// Whether a virtual machine may open this function directly.
    pub(crate) fn open(&self, id: &str) -> Result<Vfio, Errno> {
        let function = self.function(id).ok_or(Errno::ENODEV)?;
        if self.has_vfio(function) { Ok(function.vfio) } else { Err(Errno::ENODEV) }
    }

    pub(crate) fn draw(&self, host: &Host, sketch: &mut Sketch) {
        for function in self.functions() {
            self.draw_function(host, function, sketch);
        }
        let Some(sriov) = &self.sriov else { return };
        let home = self.home();
        sketch.file(format!("{home}/sriov_totalvfs"), sriov.total);
        sketch.attribute(format!("{home}/sriov_numvfs"), sriov.number, Attribute::NumVfs);
        sketch.file(format!("{home}/sriov_offset"), sriov.offset);
        sketch.file(format!("{home}/sriov_stride"), sriov.stride);
        sketch.file(format!("{home}/sriov_vf_device"), format_args!("{:x}", sriov.vf_kind.device));
        sketch.attribute(format!("{home}/sriov_drivers_autoprobe"), u8::from(sriov.autoprobe), Attribute::Autoprobe);
        for (index, function) in sriov.functions.iter().enumerate() {
            let folder = self.folder(function.address);
            sketch.link(format!("{home}/virtfn{index}"), &folder);
            sketch.link(format!("{folder}/physfn"), &home);
        }
    }

    fn draw_function(&self, host: &Host, function: &Function, sketch: &mut Sketch) {
        let id = function.id();
        let folder = self.folder(function.address);
        let Kind { vendor, device, subsystem, class } = function.kind;
        sketch.file(format!("{folder}/vendor"), format_args!("0x{vendor:04x}"));
        sketch.file(format!("{folder}/device"), format_args!("0x{device:04x}"));
        sketch.file(format!("{folder}/subsystem_vendor"), format_args!("0x{:04x}", subsystem.0));
        sketch.file(format!("{folder}/subsystem_device"), format_args!("0x{:04x}", subsystem.1));
        sketch.file(format!("{folder}/class"), format_args!("0x{class:06x}"));
        sketch.file(format!("{folder}/revision"), "0xa1");
        sketch.file(format!("{folder}/numa_node"), 0);
        sketch.file(format!("{folder}/reset_method"), "flr");
        sketch.file(format!("{folder}/modalias"), modalias(function.kind));
        let driver = function.driver.as_deref();
        let bound = driver.map(|driver| format!("DRIVER={driver}\n")).unwrap_or_default();
        sketch.file(
            format!("{folder}/uevent"),
            format_args!(
                "{bound}PCI_CLASS={class:X}\nPCI_ID={vendor:04X}:{device:04X}\nPCI_SUBSYS_ID={:04X}:{:04X}\nPCI_SLOT_NAME={id}\nMODALIAS={}",
                subsystem.0,
                subsystem.1,
                modalias(function.kind)
            ),
        );
        let chosen = function.driver_override.as_deref().unwrap_or("(null)");
        sketch.attribute(
            format!("{folder}/driver_override"),
            chosen,
            Attribute::DriverOverride { function: id.clone() },
        );
        sketch.link(format!("{folder}/subsystem"), "sys/bus/pci");
        sketch.link(format!("sys/bus/pci/devices/{id}"), &folder);
        let group = function.vfio.group;
        sketch.link(format!("{folder}/iommu_group"), &format!("sys/kernel/iommu_groups/{group}"));
        sketch.link(format!("sys/kernel/iommu_groups/{group}/devices/{id}"), &folder);
        if let Some(driver) = driver {
            sketch.link(format!("{folder}/driver"), &format!("sys/bus/pci/drivers/{driver}"));
            sketch.link(format!("sys/bus/pci/drivers/{driver}/{id}"), &folder);
        }
        if self.has_vfio(function) {
            draw_vfio(host, &folder, function.vfio, sketch);
        }
    }

    /// Every function appears: its `add` event, and `bind` if it has a driver.
    pub(crate) fn tell_added(&self, host: &mut Host, function: &Function) {
        let folder = self.folder(function.address);
        let id = function.id();
        let numbers = format!("{:04X}:{:04X}", function.kind.vendor, function.kind.device);
        host.tell("add", &folder, "pci", &[("PCI_ID", &numbers), ("PCI_SLOT_NAME", &id)]);
        self.tell_bound(host, function);
    }

    fn tell_bound(&self, host: &mut Host, function: &Function) {
        if let Some(driver) = &function.driver {
            let id = function.id();
            let folder = self.folder(function.address);
            host.tell("bind", &folder, "pci", &[("DRIVER", driver), ("PCI_SLOT_NAME", &id)]);
            if self.has_vfio(function) {
                tell_vfio(host, &folder, function.vfio);
            }
        }
    }

    pub(crate) fn tell_removed(&self, host: &mut Host, function: &Function) {
        let id = function.id();
        host.tell("remove", &self.folder(function.address), "pci", &[("PCI_SLOT_NAME", &id)]);
    }

    /// The attributes that every function has. None if this is not one of them.
    pub(crate) fn write(
        &mut self,
        host: &mut Host,
        attribute: &Attribute,
        text: &[u8],
        since: Option<Duration>,
    ) -> Option<Progress> {
        Some(match attribute {
            Attribute::NumVfs => self.write_num_vfs(host, text, since),
            Attribute::Autoprobe => self.write_autoprobe(text).into(),
            Attribute::DriverOverride { function } => self.write_override(function, text).into(),
            Attribute::Bind { driver } => self.bind(host, driver, text).into(),
            Attribute::Unbind { driver } => self.unbind(host, driver, text, since),
            Attribute::Probe => self.probe(host, text).into(),
            _ => return None,
        })
    }
}

/// The folder and the nodes by which VFIO shows a device.
pub(crate) fn draw_vfio(host: &Host, folder: &str, vfio: Vfio, sketch: &mut Sketch) {
    let Vfio { group, device } = vfio;
    sketch.device(format!("dev/vfio/{group}"));
    if host.vfio_dev {
        sketch.file(format!("{folder}/vfio-dev/vfio{device}/dev"), format_args!("511:{device}"));
        sketch.link(format!("sys/class/vfio-dev/vfio{device}"), &format!("{folder}/vfio-dev/vfio{device}"));
        sketch.device(format!("dev/vfio/devices/vfio{device}"));
    }
}

/// The events of a device that VFIO takes.
pub(crate) fn tell_vfio(host: &mut Host, folder: &str, vfio: Vfio) {
    host.tell("add", &format!("sys/devices/virtual/vfio/{}", vfio.group), "vfio", &[]);
    if host.vfio_dev {
        host.tell("add", &format!("{folder}/vfio-dev/vfio{}", vfio.device), "vfio-dev", &[]);
    }
}

fn modalias(kind: Kind) -> String {
    let Kind { vendor, device, subsystem, class } = kind;
    let (base, sub, interface) = (class >> 16 & 0xff, class >> 8 & 0xff, class & 0xff);
    format!(
        "pci:v{vendor:08X}d{device:08X}sv{:08X}sd{:08X}bc{base:02X}sc{sub:02X}i{interface:02X}",
        subsystem.0, subsystem.1
    )
}
