//! What NVIDIA's library tells of the cards: names, types with their limits, placements, modes.
//!
//! It is loaded if it is there, opened for a look and shut down again: an open handle keeps a card open, which hinders the enabling of
//! VFs and every change of mode. A look has a deadline, since the library can hang on a broken card; what it tells is kept for a while,
//! for it changes with the operator's acts only. Without the library all of it has other sources, except placements and MIG.
//! Deliberately not here: which vGPUs exist, of which the library sees only the open ones.

mod raw;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use headstart_core::id::PciAddress;
use headstart_core::unit::FramebufferMib;
use nvml_wrapper::enum_wrappers::device::VgpuCapability;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::vgpu::VgpuType;
use nvml_wrapper::{Device, Nvml};

use super::profile::{NvidiaType, type_name};

/// The library as the driver installs it; `libnvidia-ml.so` comes with development packages only.
pub(super) const LIBRARY: &str = "libnvidia-ml.so.1";
/// Modes change by the operator's hand; so long until that is noticed.
const FRESH: Duration = Duration::from_secs(120);

/// What the library tells of one card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NvmlGpu {
    /// Board name, `NVIDIA A40`.
    pub name: String,
    /// All types that it supports, whatever is on it.
    pub types: Vec<NvidiaType>,
    /// Mixed-size mode is on.
    pub mixed_size: bool,
    /// Whether series of one size may stand side by side; none if the library does not tell.
    pub series_may_mix: Option<bool>,
    /// MIG mode is on.
    pub mig: bool,
}

/// All cards.
pub(super) type NvmlGpus = BTreeMap<PciAddress, Arc<NvmlGpu>>;

/// The library, and what it told last.
#[derive(Debug)]
pub(super) struct NvmlSource {
    /// None: not to be used.
    library: Option<OsString>,
    patience: Duration,
    state: Mutex<State>,
    idle: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What was told, or why nothing; when; and for which cards.
    last: Option<(Result<NvmlGpus, String>, Instant, String)>,
    /// A look that has not come back.
    pending: Option<Receiver<Result<NvmlGpus, String>>>,
    /// The cards of the look that has not come back.
    pending_key: String,
    /// Whoever needs the cards closed.
    closed: bool,
}

impl NvmlSource {
    /// From this library; none: from none. A look may take so long before its caller goes on without it.
    pub(super) fn new(library: Option<OsString>, patience: Duration) -> Self {
        Self { library, patience, state: Mutex::default(), idle: Condvar::new() }
    }

    /// What is known of the cards. `key` changes with what makes an older look worthless: cards, drivers, VFs.
    ///
    /// # Errors
    /// Why the library could not be asked, though it is there.
    pub(super) fn cards(&self, key: &str) -> Result<NvmlGpus, String> {
        let Some(library) = self.library.clone() else { return Ok(NvmlGpus::new()) };
        let mut state = self.lock();
        if let Some((told, at, of)) = &state.last
            && of == key
            && at.elapsed() < FRESH
        {
            return told.clone();
        }
        if state.closed {
            return state.last.as_ref().map_or_else(|| Ok(NvmlGpus::new()), |(told, ..)| told.clone());
        }
        let answer = state.pending.take().unwrap_or_else(|| {
            let (sender, answer) = channel();
            key.clone_into(&mut state.pending_key);
            std::thread::spawn(move || {
                // Nobody may wait any more; whoever asks next takes it.
                let _ = sender.send(ask(&library));
            });
            answer
        });
        let Ok(told) = answer.recv_timeout(self.patience) else {
            state.pending = Some(answer);
            return Err(format!("{LIBRARY} has not answered within {:?}", self.patience));
        };
        let of = std::mem::take(&mut state.pending_key);
        state.last = Some((told.clone(), Instant::now(), of));
        self.idle.notify_all();
        told
    }

    /// Does something while no handle of ours is open, and forgets what was told before. None if a look does not come back in time.
    pub(super) fn closed_while<T>(&self, patience: Duration, act: impl FnOnce() -> T) -> Option<T> {
        let until = Instant::now() + patience;
        let mut state = self.lock();
        while state.closed || state.pending.as_ref().is_some_and(|answer| answer.try_recv().is_err()) {
            let left = until.checked_duration_since(Instant::now())?;
            // A look that nobody waits for ends silently, so it is asked from time to time.
            let round = left.min(Duration::from_millis(100));
            state = self.idle.wait_timeout(state, round).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.pending = None;
        state.closed = true;
        drop(state);
        let value = act();
        let mut state = self.lock();
        state.closed = false;
        state.last = None;
        self.idle.notify_all();
        Some(value)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens the library, asks, and shuts it down.
fn ask(library: &std::ffi::OsStr) -> Result<NvmlGpus, String> {
    let nvml = match Nvml::builder().lib_path(library).init() {
        Ok(nvml) => nvml,
        // No NVIDIA driver here, or none for hosts: nothing is missing.
        Err(NvmlError::LibloadingError(_) | NvmlError::DriverNotLoaded) => return Ok(NvmlGpus::new()),
        Err(error) => return Err(format!("{}: it cannot be opened: {error}", library.display())),
    };
    let count = nvml.device_count().map_err(|error| format!("the number of cards is not told: {error}"))?;
    let mut gpus = NvmlGpus::new();
    for index in 0..count {
        // A card that has fallen off the bus is missing, and the others are not.
        let Ok(device) = nvml.device_by_index(index) else { continue };
        let Ok(address) = device.pci_info().map(|pci| pci.bus_id) else { continue };
        if let Ok(address) = address.parse() {
            gpus.insert(address, Arc::new(card(&nvml, &device)));
        }
    }
    Ok(gpus)
}

fn card(nvml: &Nvml, device: &Device<'_>) -> NvmlGpu {
    let mixed_size = raw::mixed_size(nvml, device);
    let supported = device.vgpu_supported_types().unwrap_or_default();
    let types = supported.iter().filter_map(|it| nvidia_type(nvml, device, it, mixed_size)).collect();
    let mixes = device.vgpu_capabilities(VgpuCapability::HeterogeneousTimesliceProfiles);
    NvmlGpu {
        name: device.name().unwrap_or_else(|_| "NVIDIA GPU".into()),
        types,
        mixed_size,
        series_may_mix: mixes.ok().map(|mixes| mixes != 0),
        // 1 is NVML_DEVICE_MIG_ENABLE.
        mig: device.mig_mode().is_ok_and(|mode| mode.current == 1),
    }
}

/// A type; none if the library does not tell its name or size. A list that shrank while it was read ends in types of number 0.
fn nvidia_type(nvml: &Nvml, device: &Device<'_>, it: &VgpuType<'_>, mixed_size: bool) -> Option<NvidiaType> {
    if it.id() == 0 {
        return None;
    }
    let name = type_name(&it.name().ok()?).ok()?;
    let by_name = super::profile::framebuffer_by_name(name.as_str());
    let told = it.framebuffer_size().ok().and_then(|bytes| u32::try_from(bytes >> 20).ok()).map(FramebufferMib::new);
    Some(NvidiaType {
        number: it.id(),
        // The name's size is what users know and what the card reckons with; the library leaves out what the host keeps.
        framebuffer: by_name.or(told)?,
        name,
        max_instances: it.max_instances().ok().and_then(|most| u16::try_from(most).ok()),
        placement: if mixed_size { raw::placements(nvml, device, it.id()) } else { None },
    })
}
