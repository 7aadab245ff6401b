//! A GPU of NVIDIA at work: modes, vGPUs, holders, the driver's start and end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nix::errno::Errno;

use super::mig::Mig;
use super::types::VgpuType;
use super::{Codes, Framework, Gpu, Plugin};
use crate::address::address;
use crate::attribute::{Attribute, word};
use crate::board::{Board, Progress};
use crate::host::{Event, Host, Vfio};
use crate::mdev::{Mdev, tell_parent};
use crate::pci::{Configure, Function, Physical, Sriov};
use crate::process::Process;
use crate::sketch::Sketch;

/// How long the driver waits for a vGPU process to exit before it answers `EBUSY`.
const EXIT: Duration = Duration::from_secs(5);
/// A vGPU, whichever way it was made.
#[derive(Clone, Debug)]
pub(crate) struct Vgpu {
    /// The function that it is on.
    pub(crate) site: String,
    pub(crate) number: u32,
    pub(crate) placement: Option<u32>,
    pub(crate) gpu_instance: Option<u32>,
    pub(crate) params: String,
    pub(crate) mdev: Option<Mdev>,
}

pub(crate) struct GpuBoard {
    pub(crate) model: Gpu,
    pub(crate) pf: Physical,
    pub(crate) ready: bool,
    pub(crate) mixed_size: bool,
    pub(crate) mig: Option<Mig>,
    /// By mdev UUID or by VF address.
    pub(crate) vgpus: BTreeMap<String, Vgpu>,
    plugin: Plugin,
    holders: BTreeSet<u32>,
    pub(crate) unbind_lock: bool,
    /// `/dev/nvidia<minor>`; none before it was switched on first.
    minor: Option<u32>,
}

impl GpuBoard {
    pub(crate) fn new(model: Gpu) -> Self {
        let kind = model.kind;
        let pf = Function {
            address: address(&model.address),
            kind,
            driver: None,
            driver_override: None,
            native: Some("nvidia".to_owned()),
            vfio: Vfio { group: 0, device: 0 },
        };
        let sriov = model.total_vfs.map(|total| Sriov {
            total,
            offset: 4,
            stride: 1,
            vf_kind: kind,
            vf_driver: Some("nvidia".to_owned()),
            autoprobe: true,
            number: 0,
            functions: Vec::new(),
            // NVIDIA's module has no sriov_configure; only sriov-manage enables VFs.
            configure: Configure::Absent,
            late: model.late_vfs,
        });
        let variant = (model.framework == Framework::VendorVfio).then(|| "nvidia".to_owned());
        Self {
            pf: Physical { function: pf, sriov, variant },
            ready: false,
            mixed_size: false,
            mig: model.mig.clone().map(Mig::new),
            vgpus: BTreeMap::new(),
            plugin: Plugin::Works,
            holders: BTreeSet::new(),
            unbind_lock: false,
            minor: None,
            model,
        }
    }

    /// The address as nvidia-smi writes it.
    pub(crate) fn long_address(&self) -> String {
        self.pf.function.address.with_long_domain()
    }

    pub(crate) fn is_bound(&self) -> bool {
        self.pf.function.driver.as_deref() == Some("nvidia")
    }

    pub(crate) fn minor(&self) -> u32 {
        self.minor.unwrap_or_default()
    }

    /// Functions that carry vGPUs: the PF, or with SR-IOV the VFs.
    pub(super) fn sites(&self) -> Vec<&Function> {
        let all: Vec<&Function> = match &self.pf.sriov {
            None => vec![&self.pf.function],
            Some(sriov) => sriov.functions.iter().collect(),
        };
        all.into_iter().filter(|function| function.driver.as_deref() == Some("nvidia")).collect()
    }

    pub(super) fn site_folder(&self, site: &str) -> String {
        let address = self.pf.function(site).map_or(self.pf.function.address, |function| function.address);
        self.pf.folder(address)
    }

    /// Programs that have the GPU open and still run.
    pub(crate) fn held(&self, host: &Host) -> bool {
        let open = self.vgpus.keys().any(|device| host.opened.contains_key(device));
        open || self.holders.iter().any(|pid| host.processes.contains_key(pid))
    }

    pub(crate) fn hold(&mut self, host: &mut Host, mut process: Process) -> u32 {
        process.opens(format!("/dev/nvidia{}", self.minor()));
        let pid = host.start(process);
        self.holders.insert(pid);
        pid
    }

    pub(crate) fn set_plugin(&mut self, plugin: Plugin) {
        self.plugin = plugin;
    }

    pub(crate) fn set_ready(&mut self, host: &mut Host, ready: bool) {
        if ready != self.ready {
            self.ready = ready;
            self.tell_parents(host, ready);
        }
    }

    fn tell_parents(&self, host: &mut Host, registered: bool) {
        if self.model.framework == Framework::Mdev {
            for site in self.sites() {
                tell_parent(host, &self.pf.folder(site.address), "pci", registered);
            }
        }
    }

    /// The driver begins to publish its types, now or after its time.
    fn start(&mut self, host: &mut Host) {
        host.cancel(|event| *event == Event::DriverReady);
        if self.model.slow_start.is_zero() {
            self.set_ready(host, true);
        } else {
            host.after(self.model.slow_start, Event::DriverReady);
        }
    }

    /// What the driver keeps in memory goes: parents are unregistered first, then every vGPU, then modes.
    fn forget(&mut self, host: &mut Host) {
        host.cancel(|event| *event != Event::FunctionsAppear);
        self.set_ready(host, false);
        for device in self.vgpus.keys().cloned().collect::<Vec<_>>() {
            self.drop_vgpu(host, &device);
        }
        self.mixed_size = false;
        if let Some(mig) = &mut self.mig {
            mig.instances.clear();
            mig.on = mig.pending.take().unwrap_or(mig.on);
        }
    }

    /// What `sriov-manage` does when it can: the driver is bound anew, with all VFs or none.
    pub(crate) fn rebind(&mut self, host: &mut Host, enable: bool) {
        self.forget(host);
        self.pf.function.driver = Some("nvidia".to_owned());
        let total = self.pf.sriov.as_ref().map_or(0, |sriov| sriov.total);
        let number = self.pf.sriov.as_ref().map_or(0, |sriov| sriov.number);
        if enable && number == 0 {
            self.pf.enable(host, total);
        } else if enable {
            self.pf.probe_virtual_functions();
        } else {
            self.pf.disable(host);
        }
        self.start(host);
    }

    /// The driver lets go of the GPU, with everything on it.
    pub(crate) fn lose_driver(&mut self, host: &mut Host) {
        self.forget(host);
        self.pf.disable(host);
        self.pf.function.driver = None;
    }

    /// A new vGPU on a function. The caller has made sure that there is room.
    pub(super) fn add_vgpu(&mut self, device: &str, site: &str, vgpu_type: &VgpuType, mdev: Option<Mdev>) {
        let placement = self.mixed_size.then(|| self.free_placements(vgpu_type, None).first().copied()).flatten();
        let gpu_instance = self.free_instance(vgpu_type);
        let number = vgpu_type.number;
        let vgpu = Vgpu { site: site.to_owned(), number, placement, gpu_instance, params: String::new(), mdev };
        self.vgpus.insert(device.to_owned(), vgpu);
    }

    pub(super) fn drop_vgpu(&mut self, host: &mut Host, device: &str) {
        let Some(vgpu) = self.vgpus.remove(device) else { return };
        host.close(device, false);
        if let Some(mdev) = vgpu.mdev {
            let folder = self.site_folder(&vgpu.site);
            mdev.gone(host, &folder);
        }
    }

    /// Unbinding the driver takes the vGPUs along, so it waits until nobody uses them.
    fn unbind(&mut self, host: &mut Host, attribute: &Attribute, text: &[u8], since: Option<Duration>) -> Progress {
        let Ok(id) = word(text) else { return Progress::Refused(Errno::EINVAL) };
        let physical = id == self.pf.function.id();
        let on_it = |vgpu: &Vgpu| physical || vgpu.site == id;
        let gone: Vec<String> =
            self.vgpus.iter().filter(|(_, vgpu)| on_it(vgpu)).map(|(device, _)| device.clone()).collect();
        let used: Vec<&String> = gone.iter().filter(|device| host.user(device).is_some()).collect();
        if !used.is_empty() {
            for device in used.into_iter().filter(|_| since.is_none()) {
                host.request_unplug(device);
            }
            return Progress::Waits;
        }
        if physical {
            self.forget(host);
        }
        for device in &gone {
            self.drop_vgpu(host, device);
        }
        self.pf.write(host, attribute, text, since).unwrap_or(Progress::Refused(Errno::EIO))
    }

    pub(super) fn code(&self, nvidia: Errno, nouveau: Errno) -> Errno {
        match self.model.codes {
            Codes::Nvidia => nvidia,
            Codes::Nouveau => nouveau,
        }
    }
}

/// Waits for the vGPU process of a closed device, `EBUSY` after its time.
pub(super) fn wait_for_exit(host: &mut Host, device: &str, since: Option<Duration>) -> Option<Progress> {
    if !host.lingers(device) {
        return None;
    }
    match since {
        None => {
            host.after(EXIT, Event::Wake);
            Some(Progress::Waits)
        }
        Some(since) if host.clock.now() < since + EXIT => Some(Progress::Waits),
        Some(_) => Some(Progress::Refused(Errno::EBUSY)),
    }
}

impl Board for GpuBoard {
    fn name(&self) -> String {
        self.pf.function.id()
    }

    fn has(&self, device: &str) -> bool {
        self.pf.function(device).is_some() || self.vgpus.get(device).is_some_and(|vgpu| vgpu.mdev.is_some())
    }

    fn drivers(&self) -> Vec<String> {
        vec!["nvidia".to_owned()]
    }

    fn has_mdev(&self) -> bool {
        self.model.framework == Framework::Mdev
    }

    fn driver(&self, function: &str) -> Option<String> {
        self.pf.function(function)?.driver.clone()
    }

    fn draw(&self, host: &Host, sketch: &mut Sketch) {
        self.pf.draw(host, sketch);
        let id = self.pf.function.id();
        if self.pf.function.driver.as_deref() == Some("nvidia") {
            let folder = format!("proc/driver/nvidia/gpus/{id}");
            let lock = u8::from(self.unbind_lock);
            sketch.attribute(format!("{folder}/unbindLock"), lock, Attribute::UnbindLock);
            let (model, minor) = (self.model.model, self.minor());
            sketch.file(
                format!("{folder}/information"),
                format_args!("Model: \t\t {model}\nBus Type: \t PCIe\nBus Location: \t {id}\nDevice Minor: \t {minor}"),
            );
            sketch.device(format!("dev/nvidia{minor}"));
        }
        match self.model.framework {
            Framework::Mdev => self.draw_mdevs(host, sketch),
            Framework::VendorVfio => self.draw_vendor_vfio(sketch),
        }
    }

    fn write(&mut self, host: &mut Host, attribute: &Attribute, text: &[u8], since: Option<Duration>) -> Progress {
        match attribute {
            Attribute::Create { parent, mdev_type } => self.create(host, parent, mdev_type, text).into(),
            Attribute::Remove { uuid } => self.remove(host, uuid, text, since),
            Attribute::CurrentVgpuType { function } => self.write_type(host, function, text, since),
            Attribute::VgpuParams { device } => self.write_params(host, device, text).into(),
            Attribute::PlacementId { device } => self.write_placement(host, device, text).into(),
            Attribute::GpuInstanceId { device } => self.write_gpu_instance(host, device, text).into(),
            Attribute::UnbindLock => self.write_unbind_lock(host, text).into(),
            Attribute::Unbind { .. } => self.unbind(host, attribute, text, since),
            other => {
                let bound = self.is_bound();
                let progress = self.pf.write(host, other, text, since).unwrap_or(Progress::Refused(Errno::EIO));
                if !bound && self.is_bound() {
                    self.start(host);
                }
                progress
            }
        }
    }

    fn switch_on(&mut self, host: &mut Host) {
        if self.minor.is_none() {
            self.minor = Some(host.minor());
            // The state in which a test wants to find the machine; a reboot does not bring it back.
            self.pf.function.driver = Some("nvidia".to_owned());
            if let Some(mig) = &mut self.mig {
                mig.on = self.model.mig_enabled;
                for profile in &self.model.instances {
                    assert!(mig.create(*profile).is_some(), "GPU instance profile {profile} does not fit any more");
                }
            }
            if self.model.enabled {
                self.pf.enable(host, self.model.total_vfs.unwrap_or(0));
            }
            self.mixed_size = self.model.mixed_size;
        }
        self.pf.function.vfio = host.vfio();
        self.pf.function.driver = Some("nvidia".to_owned());
        self.pf.tell_added(host, &self.pf.function);
        self.start(host);
    }

    fn switch_off(&mut self, host: &mut Host) {
        self.forget(host);
        self.holders.clear();
        self.unbind_lock = false;
        self.pf.disable(host);
        self.pf.function.driver = None;
        self.pf.function.driver_override = None;
        if let Some(mig) = &mut self.mig
            && !mig.model.persists
        {
            mig.on = false;
        }
    }

    fn reload(&mut self, host: &mut Host) {
        self.forget(host);
        self.pf.disable(host);
        self.start(host);
    }

    fn unplug(&mut self, host: &mut Host) {
        self.switch_off(host);
        self.pf.tell_removed(host, &self.pf.function);
    }

    fn happen(&mut self, host: &mut Host, event: &Event) {
        match event {
            Event::FunctionsAppear => {
                self.pf.appear(host);
                if self.ready {
                    self.tell_parents(host, true);
                }
            }
            Event::DriverReady => self.set_ready(host, true),
            Event::SelfClean { uuid } if host.user(uuid).is_none() => self.drop_vgpu(host, uuid),
            Event::TypeLinkAppears { uuid } => {
                if let Some(mdev) = self.vgpus.get_mut(uuid).and_then(|vgpu| vgpu.mdev.as_mut()) {
                    mdev.linked = true;
                }
            }
            Event::ProcessEnds { device } if host.lingers(device) => {
                host.close(device, false);
            }
            _ => {}
        }
    }

    fn open(&mut self, host: &mut Host, device: &str) -> Result<Option<Vfio>, Errno> {
        let vfio = match self.vgpus.get(device) {
            Some(Vgpu { mdev: Some(mdev), .. }) => mdev.vfio,
            vgpu => {
                let own = self.pf.function(device).and_then(|function| function.driver.as_deref()) == Some("nvidia");
                // A VF of the vendor's own driver without a type.
                if own && vgpu.is_none() {
                    return Err(Errno::ENODEV);
                }
                let vfio = self.pf.open(device)?;
                if !own {
                    return Ok(Some(vfio));
                }
                vfio
            }
        };
        if self.placement_param_is_wrong(device) {
            return Err(Errno::EIO);
        }
        match self.plugin {
            Plugin::Works => Ok(Some(vfio)),
            Plugin::Stuck => Ok(None),
            Plugin::Fails => Err(Errno::EIO),
            Plugin::FailsOnce => {
                self.plugin = Plugin::Works;
                host.changed.insert(host.board);
                Err(Errno::EIO)
            }
        }
    }

    fn closed(&mut self, host: &mut Host, device: &str) -> bool {
        if !self.vgpus.contains_key(device) {
            return false;
        }
        if let Some(after) = self.model.self_cleaning {
            host.after(after, Event::SelfClean { uuid: device.to_owned() });
        }
        match self.model.lingering {
            None => false,
            Some(Duration::MAX) => true,
            Some(time) => {
                host.after(time, Event::ProcessEnds { device: device.to_owned() });
                true
            }
        }
    }

    fn nvidia(&mut self) -> Option<&mut GpuBoard> {
        Some(self)
    }
}
