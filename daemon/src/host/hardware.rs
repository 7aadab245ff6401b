//! The GPUs that the operator gave to headstart: what is on them, and the steps that change it.
//!
//! Which of the back ends serves a GPU is decided by what sysfs shows, anew in every look, so several kinds stand side by side on one
//! host. Deliberately not here: domains (libvirt's adapter), any decision, any second try.

mod act;
mod candidate;
pub(super) mod failure;
pub(super) mod look;
pub(super) mod memory;
mod owned;
mod rule;
pub(super) mod survey;
pub(super) mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use headstart_core::gpu::{DeviceId, Gpu, GpuState};
use headstart_core::id::GpuId;
use headstart_core::observed::{Gap, Problem};
use headstart_core::step::{Applied, FailureKind, Step, StepError};

pub use candidate::Candidate;
pub use rule::{GpuRule, ProfileRule, Selector};

use self::failure::{failure, unexpected};
use self::look::Look;
use self::memory::Memory;
use self::survey::Survey;
use self::worker::{Begun, Occupied, Workers};
use super::mig::Smi;
use super::nvml::{self, NvmlGpus, NvmlSource};
use super::pci;
use super::sriov;
use super::sysfs::{SysfsError, SysfsRoot, optional};
use super::vfio_variant::{self, InstalledTable};

/// How long work on one GPU may take before its caller goes on without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// A look. The loop gives a whole look 20 s; all GPUs are looked at side by side.
    pub look: Duration,
    /// Asking NVIDIA's library, which wakes sleeping cards one after the other: some seconds each without persistence.
    pub nvml: Duration,
    /// Making, removing, changing one vGPU. NVIDIA's driver waits 5 s for a process to end, the kernel warns after each 10 s of waiting
    /// for whoever holds a device; twice the latter.
    pub vgpu: Duration,
    /// Enabling VFs; nmstate, which does the same for networks, waits as long.
    pub vfs: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            look: Duration::from_secs(5),
            nvml: Duration::from_secs(4),
            vgpu: Duration::from_secs(20),
            vfs: Duration::from_secs(300),
        }
    }
}

/// What one look at the hardware saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HardwareSeen {
    /// GPUs that are there.
    pub gpus: BTreeMap<GpuId, Gpu>,
    /// GPUs that could not be seen at all.
    pub gaps: BTreeSet<Gap>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// The hardware of this host.
pub struct Hardware(Arc<Inner>);

struct Inner {
    root: SysfsRoot,
    rules: Vec<GpuRule>,
    patience: Patience,
    sriov_manage: PathBuf,
    nvidia_smi: PathBuf,
    nvml: NvmlSource,
    installed: Arc<InstalledTable>,
    looks: Workers,
    writes: Workers,
    memories: Mutex<BTreeMap<GpuId, Arc<Mutex<Memory>>>>,
}

type Answer = (Result<Option<Gpu>, SysfsError>, Vec<Problem>);

impl Hardware {
    /// The hardware below a root folder. `owned` are the rules by which GPUs were given to headstart; of several that fit a GPU the first
    /// counts. NVIDIA's library is used only for the real root.
    pub fn new(root: SysfsRoot, owned: Vec<GpuRule>) -> Self {
        let library = (root.locate("") == std::path::Path::new("/")).then(|| nvml::LIBRARY.into());
        Self::with(root, owned, library, Patience::default())
    }

    /// The same with another NVML, or none, and other patience.
    pub fn with(root: SysfsRoot, owned: Vec<GpuRule>, library: Option<OsString>, patience: Patience) -> Self {
        Self(Arc::new(Inner {
            sriov_manage: root.locate("usr/lib/nvidia/sriov-manage"),
            nvidia_smi: root.locate("usr/bin/nvidia-smi"),
            root,
            rules: owned,
            patience,
            nvml: NvmlSource::new(library, patience.nvml),
            installed: Arc::default(),
            looks: Workers::default(),
            writes: Workers::default(),
            memories: Mutex::default(),
        }))
    }

    /// Looks at all GPUs that are ours.
    pub fn observe(&self) -> HardwareSeen {
        let survey = Arc::new(Survey::take(&self.0.root));
        let mut seen = HardwareSeen::default();
        let owned = self.0.owned(&survey, &mut seen.problems);
        let nvml = self.0.cards(owned.keys().copied(), &mut seen.problems);
        let begun: Vec<(GpuId, bool, Result<Begun<Answer>, Occupied>)> = owned
            .into_iter()
            .map(|(id, rule)| {
                let by_id = rule.select == Selector::Id(id);
                (id, by_id, self.0.begin_look(id, rule, &survey, &nvml))
            })
            .collect();
        let deadline = Instant::now() + self.0.patience.look;
        let mut there = BTreeSet::new();
        for (id, by_id, begun) in begun {
            there.insert(id);
            match begun.and_then(|begun| begun.wait(deadline)) {
                Ok((Ok(Some(gpu)), problems)) => {
                    seen.problems.extend(problems);
                    self.0.saw(gpu, &mut seen);
                }
                Ok((Ok(None), _)) => {
                    there.remove(&id);
                    if by_id {
                        seen.problem(&id, "it is in the configuration and not on this host".into());
                    }
                }
                Ok((Err(error), _)) => self.0.missed(id, &error.to_string(), &mut seen),
                Err(Occupied(what)) => self.0.missed(id, &format!("{what} has not come back"), &mut seen),
            }
        }
        // What is gone comes back as something new.
        self.0.memories().retain(|id, _| there.contains(id));
        seen
    }

    /// Everything on this host that could be given to headstart, and what already is.
    ///
    /// # Errors
    /// The host's devices cannot be listed.
    pub fn candidates(&self) -> Result<Vec<Candidate>, SysfsError> {
        candidate::find(&self.0.root, &self.0.rules)
    }

    /// Carries out a step on a device of ours. Compares just before it writes, writes once, reads back.
    ///
    /// # Errors
    /// What went wrong, by what the loop has to do about it.
    pub fn apply(&self, step: &Step) -> Result<Applied, StepError> {
        let Some(gpu) = step.gpu() else {
            return Err(failure(FailureKind::Unsupported, format!("{step}: this is no step on a GPU")));
        };
        let (inner, job) = (Arc::clone(&self.0), step.clone());
        self.0.work(gpu, &format!("to {step}"), self.0.patience.of(step), move || inner.carry_out(&job))
    }

    /// Brings the parameters of a device up to what the configuration says, before a domain is given it: they are lost with the
    /// device, and read when a VM opens it.
    ///
    /// # Errors
    /// As `apply`.
    pub fn prepare(&self, gpu: GpuId, device: DeviceId) -> Result<Applied, StepError> {
        let rule = self.0.rule_of(gpu)?;
        let Some(params) = rule.vgpu_params else { return Ok(Applied::AlreadySo) };
        let inner = Arc::clone(&self.0);
        let what = format!("to set the parameters of {device}");
        self.0.work(gpu, &what, self.0.patience.vgpu, move || inner.set_params(device, &params))
    }

    /// Whether libvirt is to bind and unbind this device (`managed='yes'`): plain VFs, but not those whose own driver makes the vGPU. It
    /// means nothing for mdevs.
    ///
    /// # Errors
    /// The device is not there or cannot be read.
    pub fn wants_managed(&self, device: DeviceId) -> Result<bool, StepError> {
        let DeviceId::Vf(vf) = device else { return Ok(false) };
        let root = &self.0.root;
        if !root.exists(&pci::path(vf)) {
            return Err(failure(FailureKind::Gone, format!("VF {vf}: it is not there")));
        }
        let driver = pci::driver(root, vf).map_err(|error| unexpected(&error))?;
        let vfio = root.exists(&sriov::vfio_device(vf));
        Ok(!(vfio_variant::is_variant(root, vf) || sriov::keeps_its_driver(driver.as_deref(), vfio)))
    }
}

impl HardwareSeen {
    fn problem(&mut self, object: &impl ToString, text: String) {
        self.problems.push(Problem { object: object.to_string(), text });
    }
}

impl Inner {
    fn begin_look(
        &self,
        id: GpuId,
        rule: GpuRule,
        survey: &Arc<Survey>,
        nvml: &NvmlGpus,
    ) -> Result<Begun<Answer>, Occupied> {
        let mut look = Look {
            root: self.root.clone(),
            survey: Arc::clone(survey),
            rule,
            nvml: id.pci().and_then(|address| nvml.get(&address)).map(Arc::clone),
            installed: Arc::clone(&self.installed),
            smi: self.smi(id),
            memory: self.memory(id),
            in_motion: self.writes.occupied(id),
            problems: Vec::new(),
        };
        self.looks.begin(id, "a look at it", move || (look.at(id), look.problems))
    }

    /// A GPU was seen whole.
    fn saw(&self, mut gpu: Gpu, seen: &mut HardwareSeen) {
        self.memory(gpu.address).lock().unwrap_or_else(PoisonError::into_inner).last = Some(gpu.clone());
        if let Some(what) = self.writes.overdue(gpu.address) {
            let text = format!("an attempt {what} has not come back; whoever has the device open must let it go");
            seen.problem(&gpu.address, text.clone());
            if !matches!(gpu.state, GpuState::Unknown(_)) {
                gpu.state = GpuState::NotReady(text);
            }
        }
        seen.gpus.insert(gpu.address, gpu);
    }

    /// A GPU was not seen, or not whole: what is on it is as it was, as far as anybody knows, and nothing there may be touched.
    fn missed(&self, id: GpuId, why: &str, seen: &mut HardwareSeen) {
        seen.problem(&id, format!("it could not be looked at: {why}"));
        let last = self.memory(id).lock().unwrap_or_else(PoisonError::into_inner).last.clone();
        match last {
            Some(gpu) => {
                seen.gpus.insert(id, Gpu { state: GpuState::Unknown(why.to_owned()), ..gpu });
            }
            None => {
                seen.gaps.insert(Gap::Gpu(id));
            }
        }
    }

    /// What NVIDIA's library tells, if any card of ours is NVIDIA's.
    fn cards(&self, owned: impl Iterator<Item = GpuId>, problems: &mut Vec<Problem>) -> NvmlGpus {
        let mut key = String::new();
        for address in owned.filter_map(GpuId::pci) {
            let vendor = optional(self.root.hexadecimal(&format!("{}/vendor", pci::path(address))));
            if vendor == Ok(Some(u32::from(pci::NVIDIA))) {
                let driver = pci::driver(&self.root, address).ok().flatten().unwrap_or_default();
                let vfs = self.root.exists(&format!("{}/virtfn0", pci::path(address)));
                let _ = write!(key, "{address} {driver} {vfs};");
            }
        }
        if key.is_empty() {
            return NvmlGpus::new();
        }
        self.nvml.cards(&key).unwrap_or_else(|text| {
            problems.push(Problem { object: nvml::LIBRARY.into(), text });
            NvmlGpus::new()
        })
    }

    fn smi(&self, id: GpuId) -> Option<Smi> {
        Some(Smi { program: self.nvidia_smi.clone(), card: id.pci()? })
    }

    fn memory(&self, id: GpuId) -> Arc<Mutex<Memory>> {
        Arc::clone(self.memories().entry(id).or_default())
    }

    fn memories(&self) -> MutexGuard<'_, BTreeMap<GpuId, Arc<Mutex<Memory>>>> {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
