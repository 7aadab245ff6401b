//! A GPU of NVIDIA at work: modes, vGPUs, holders, the driver's start and end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nix::errno::Errno;

use super::mig::Mig;
use super::types::VgpuType;
use super::{Codes, Framework, Gpu, Plugin};
use crate::address::address;
use crate::attribute::{Attribute, number};
use crate::board::{Board, Progress};
use crate::host::{Event, Host, Vfio};
use crate::mdev::{Mdev, tell_parent};
use crate::pci::{Configure, Function, Physical, Sriov};
use crate::process::Process;
use crate::sketch::Sketch;

/// How long the driver waits for a vGPU process to exit before it answers `EBUSY`.
pub(super) const EXIT: Duration = Duration::from_secs(5);
/// The longest text of `vgpu_params`. The reference says that there is a limit and not which; a vGPU plugin of the 510 era had this.
const PARAMS: usize = 1024;

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
        host.cancel(|_| true);
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
        let total = self.pf.sriov.as_ref().map_or(0, |sriov| sriov.total);
        let number = self.pf.sriov.as_ref().map_or(0, |sriov| sriov.number);
        if enable && number == 0 {
            self.pf.enable(host, total);
        } else if !enable {
            self.pf.disable(host);
        }
        self.start(host);
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
        host.opened.remove(device);
        if let Some(mdev) = vgpu.mdev {
            let folder = self.site_folder(&vgpu.site);
            mdev.gone(host, &folder);
        }
    }

    /// Waits for the vGPU process of a closed device, `EBUSY` after its time.
    pub(super) fn wait_for_exit(&self, host: &mut Host, device: &str, since: Option<Duration>) -> Option<Progress> {
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

    fn write_params(&mut self, host: &Host, device: &str, text: &[u8]) -> Result<(), Errno> {
        let vgpu = self.vgpus.get_mut(device);
        if text.len() > PARAMS {
            return Err(Errno::E2BIG);
        }
        host.not_in_use(device)?;
        let vgpu = vgpu.ok_or(Errno::ENXIO)?;
        if vgpu.mdev.as_ref().is_some_and(|mdev| mdev.removing) {
            return Err(Errno::ENXIO);
        }
        let text = String::from_utf8_lossy(text);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        // A single space clears.
        vgpu.params = if text == " " { String::new() } else { text.to_owned() };
        Ok(())
    }

    fn write_placement(&mut self, host: &Host, device: &str, text: &[u8]) -> Result<(), Errno> {
        host.not_in_use(device)?;
        let wanted = number(text, u32::MAX.into())? as u32;
        let vgpu = self.vgpus.get(device).ok_or(Errno::ENXIO)?;
        let vgpu_type = self.type_of(vgpu.number).ok_or(Errno::EINVAL)?;
        if !self.mixed_size || !self.free_placements(vgpu_type, Some(device)).contains(&wanted) {
            return Err(Errno::EINVAL);
        }
        self.vgpus.get_mut(device).ok_or(Errno::ENXIO)?.placement = Some(wanted);
        Ok(())
    }

    fn write_gpu_instance(&mut self, host: &Host, device: &str, text: &[u8]) -> Result<(), Errno> {
        host.not_in_use(device)?;
        let wanted = number(text, u32::MAX.into())? as u32;
        let vgpu = self.vgpus.get(device).ok_or(Errno::ENXIO)?;
        let vgpu_type = self.type_of(vgpu.number).ok_or(Errno::EINVAL)?;
        let taken = self.vgpus.iter().any(|(other, vgpu)| other != device && vgpu.gpu_instance == Some(wanted));
        if taken || !self.instances_for(vgpu_type).any(|id| id == wanted) {
            return Err(Errno::EINVAL);
        }
        self.vgpus.get_mut(device).ok_or(Errno::ENXIO)?.gpu_instance = Some(wanted);
        Ok(())
    }

    /// The files that mdevs and VFs have in common below `nvidia/`.
    pub(super) fn draw_common(&self, folder: &str, device: &str, sketch: &mut Sketch) {
        let vgpu = self.vgpus.get(device);
        let own = device.to_owned();
        let params = vgpu.map_or("", |vgpu| vgpu.params.as_str());
        sketch.attribute(format!("{folder}/vgpu_params"), params, Attribute::VgpuParams { device: own.clone() });
        if !self.model.extra_files {
            return;
        }
        let show = |value: Option<u32>| match (vgpu, value) {
            (None, _) => Err(Errno::ENXIO),
            (Some(_), None) => Ok(b"Not Applicable\n".to_vec()),
            (Some(_), Some(value)) => Ok(format!("{value}\n").into_bytes()),
        };
        let placement = show(vgpu.and_then(|vgpu| vgpu.placement));
        let attribute = Attribute::PlacementId { device: own.clone() };
        sketch.content(format!("{folder}/placement_id"), 0o644, placement, Some(attribute));
        let instance = show(vgpu.and_then(|vgpu| vgpu.gpu_instance));
        let attribute = Attribute::GpuInstanceId { device: own };
        sketch.content(format!("{folder}/gpu_instance_id"), 0o644, instance, Some(attribute));
    }

    fn write_unbind_lock(&mut self, host: &Host, text: &[u8]) -> Result<(), Errno> {
        // The write itself always succeeds; the file tells whether the lock was got.
        self.unbind_lock = number(text, u64::MAX)? != 0 && !self.held(host);
        Ok(())
    }

    pub(super) fn code(&self, nvidia: Errno, nouveau: Errno) -> Errno {
        match self.model.codes {
            Codes::Nvidia => nvidia,
            Codes::Nouveau => nouveau,
        }
    }

    /// A value of `vgpu-placement-id` that does not exist is found out when the virtual machine boots.
    fn placement_param_is_wrong(&self, device: &str) -> bool {
        let Some(vgpu) = self.vgpus.get(device) else { return false };
        let wanted = vgpu.params.split(',').find_map(|param| param.trim().strip_prefix("vgpu-placement-id="));
        let (Some(wanted), Some(vgpu_type)) = (wanted, self.type_of(vgpu.number)) else { return false };
        !wanted.parse().is_ok_and(|wanted| self.free_placements(vgpu_type, Some(device)).contains(&wanted))
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
            other => {
                let before = self.pf.function.driver.is_some();
                let progress = self.pf.write(host, other, text, since).unwrap_or(Progress::Refused(Errno::EIO));
                match (before, self.pf.function.driver.is_some()) {
                    (true, false) => self.forget(host),
                    (false, true) => self.start(host),
                    _ => {}
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
                for profile in &self.model.gpu_instances {
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
                host.opened.remove(device);
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
