//! A PCI function in sysfs, and the kernel's SR-IOV attributes of a physical one.

use std::time::Duration;

use nix::errno::Errno;

use crate::address::Address;
use crate::attribute::{Attribute, number, word};
use crate::board::Progress;
use crate::host::{Event, Host, Vfio};
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

    /// `vfio-pci` and drivers that carry VFIO themselves.
    pub(crate) fn has_vfio(&self, variant: Option<&str>) -> bool {
        self.driver.as_deref().is_some_and(|driver| driver == "vfio-pci" || Some(driver) == variant)
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
    /// A driver of the PF or its VFs, other than vfio-pci, that carries VFIO.
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

    /// Whether a virtual machine may open this function directly.
    pub(crate) fn open(&self, id: &str) -> Result<Vfio, Errno> {
        let function = self.function(id).ok_or(Errno::ENODEV)?;
        if function.has_vfio(self.variant.as_deref()) { Ok(function.vfio) } else { Err(Errno::ENODEV) }
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
        if function.has_vfio(self.variant.as_deref()) && function.address != self.function.address
            || driver == Some("vfio-pci")
        {
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
            host.tell("bind", &self.folder(function.address), "pci", &[("DRIVER", driver), ("PCI_SLOT_NAME", &id)]);
        }
    }

    pub(crate) fn tell_removed(&self, host: &mut Host, function: &Function) {
        let id = function.id();
        host.tell("remove", &self.folder(function.address), "pci", &[("PCI_SLOT_NAME", &id)]);
    }

    /// Enables so many virtual functions, now or late.
    pub(crate) fn enable(&mut self, host: &mut Host, number: u16) {
        let Some(sriov) = &mut self.sriov else { return };
        sriov.number = number;
        if sriov.late.is_zero() {
            self.appear(host);
        } else {
            host.after(sriov.late, Event::FunctionsAppear);
        }
    }

    /// The virtual functions that `sriov_numvfs` promises show up.
    pub(crate) fn appear(&mut self, host: &mut Host) {
        let Some(sriov) = &mut self.sriov else { return };
        for index in u16::try_from(sriov.functions.len()).unwrap_or(u16::MAX)..sriov.number {
            let driver = sriov.vf_driver.clone();
            sriov.functions.push(Function {
                address: self.function.address.virtual_function(sriov.offset, sriov.stride, index),
                kind: sriov.vf_kind,
                driver: driver.clone().filter(|_| sriov.autoprobe),
                driver_override: None,
                native: driver,
                vfio: host.vfio(),
            });
        }
        for function in self.virtual_functions() {
            self.tell_added(host, function);
        }
        let id = self.function.id();
        host.tell("change", &self.home(), "pci", &[("PCI_SLOT_NAME", &id)]);
    }

    /// All virtual functions go.
    pub(crate) fn disable(&mut self, host: &mut Host) {
        host.cancel(|event| *event == Event::FunctionsAppear);
        let Some(sriov) = &mut self.sriov else { return };
        sriov.number = 0;
        let gone = std::mem::take(&mut sriov.functions);
        for function in &gone {
            self.tell_removed(host, function);
        }
        if !gone.is_empty() {
            let id = self.function.id();
            host.tell("change", &self.home(), "pci", &[("PCI_SLOT_NAME", &id)]);
        }
    }

    /// Section 5.4 of the reference. `busy` asks the board whether something holds the virtual functions.
    pub(crate) fn write_num_vfs(&mut self, host: &mut Host, text: &[u8], since: Option<Duration>) -> Progress {
        let Some(sriov) = &self.sriov else { return Progress::Refused(Errno::ENOENT) };
        let Ok(wanted) = number(text, u16::MAX.into()) else { return Progress::Refused(Errno::EINVAL) };
        let wanted = u16::try_from(wanted).unwrap_or(u16::MAX);
        if wanted > sriov.total {
            return Progress::Refused(Errno::ERANGE);
        }
        if wanted == sriov.number {
            return Progress::Done;
        }
        if self.function.driver.is_none() || sriov.configure == Configure::Absent {
            return Progress::Refused(Errno::ENOENT);
        }
        if wanted == 0 {
            // Each VF waits for its own holder; the request to let go is made once.
            if self.virtual_functions_held(host, since.is_none()) {
                return Progress::Waits;
            }
            self.disable(host);
            return Progress::Done;
        }
        if sriov.number != 0 {
            return Progress::Refused(Errno::EBUSY);
        }
        match sriov.configure {
            Configure::AtMost(most) => self.enable(host, wanted.min(most)),
            Configure::Refuses(errno) => return Progress::Refused(errno),
            Configure::Absent => return Progress::Refused(Errno::ENOENT),
        }
        Progress::Done
    }

    /// Whether a virtual machine has a virtual function open; asks each to let go.
    pub(crate) fn virtual_functions_held(&self, host: &mut Host, ask: bool) -> bool {
        let ids: Vec<String> = self.virtual_functions().iter().map(Function::id).collect();
        let held: Vec<&String> = ids.iter().filter(|id| host.user(id).is_some()).collect();
        for id in held.iter().filter(|_| ask) {
            host.request_unplug(id);
        }
        !held.is_empty()
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

    fn write_autoprobe(&mut self, text: &[u8]) -> Result<(), Errno> {
        let on = match word(text)?.as_str() {
            "1" | "y" | "Y" | "on" => true,
            "0" | "n" | "N" | "off" => false,
            _ => return Err(Errno::EINVAL),
        };
        self.sriov.as_mut().ok_or(Errno::ENOENT)?.autoprobe = on;
        Ok(())
    }

    fn write_override(&mut self, function: &str, text: &[u8]) -> Result<(), Errno> {
        let driver = word(text)?;
        let function = self.function_mut(function).ok_or(Errno::ENODEV)?;
        function.driver_override = Some(driver).filter(|driver| !driver.is_empty());
        Ok(())
    }

    fn bind(&mut self, host: &mut Host, driver: &str, text: &[u8]) -> Result<(), Errno> {
        let id = word(text)?;
        let function = self.function_mut(&id).ok_or(Errno::ENODEV)?;
        if function.driver.is_some() {
            return Err(Errno::EBUSY);
        }
        // vfio-pci takes nothing that was not given to it by name.
        let taken = match &function.driver_override {
            Some(chosen) => chosen == driver,
            None => function.native.as_deref() == Some(driver),
        };
        if !taken {
            return Err(Errno::ENODEV);
        }
        function.driver = Some(driver.to_owned());
        let function = function.clone();
        self.tell_bound(host, &function);
        Ok(())
    }

    fn unbind(&mut self, host: &mut Host, driver: &str, text: &[u8], since: Option<Duration>) -> Progress {
        let Ok(id) = word(text) else { return Progress::Refused(Errno::EINVAL) };
        let physical = id == self.function.id();
        let Some(function) = self.function(&id) else { return Progress::Refused(Errno::ENODEV) };
        if function.driver.as_deref() != Some(driver) {
            return Progress::Refused(Errno::ENODEV);
        }
        let held = host.user(&id).is_some() || physical && self.virtual_functions_held(host, since.is_none());
        if host.user(&id).is_some() && since.is_none() {
            host.request_unplug(&id);
        }
        if held {
            return Progress::Waits;
        }
        if physical {
            self.disable(host);
        }
        if let Some(function) = self.function_mut(&id) {
            function.driver = None;
            let path = self.folder(self.function(&id).map_or(self.function.address, |function| function.address));
            host.tell("unbind", &path, "pci", &[("PCI_SLOT_NAME", &id)]);
        }
        Progress::Done
    }

    fn probe(&mut self, host: &mut Host, text: &[u8]) -> Result<(), Errno> {
        let id = word(text)?;
        let function = self.function_mut(&id).ok_or(Errno::ENODEV)?;
        if function.driver.is_none() {
            function.driver = function.driver_override.clone().or_else(|| function.native.clone());
            let function = function.clone();
            self.tell_bound(host, &function);
        }
        Ok(())
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

fn modalias(kind: Kind) -> String {
    let Kind { vendor, device, subsystem, class } = kind;
    let (base, sub, interface) = (class >> 16 & 0xff, class >> 8 & 0xff, class & 0xff);
    format!(
        "pci:v{vendor:08X}d{device:08X}sv{:08X}sd{:08X}bc{base:02X}sc{sub:02X}i{interface:02X}",
        subsystem.0, subsystem.1
    )
}
