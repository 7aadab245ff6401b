//! GPU instances of MIG, which have to exist before the vGPUs that they back.
//!
//! They are listed, made and destroyed with `nvidia-smi mig`; on which a vGPU stands its file `gpu_instance_id` tells. Lists are kept for
//! a while, for asking opens the card; a step of ours makes them old. The mode itself is the operator's: it is never switched. Order on
//! a card: mode, VFs (whose enabling ends all instances), instances, vGPUs (NVIDIA's guide, section 2.11). Deliberately not here: compute
//! instances, which a guest makes for itself, and several vGPUs on one instance.

mod text;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use headstart_core::gpu::{DeviceId, Gpu, GpuState, Instance, Opened, Partitioning, Profile};
use headstart_core::id::{PciAddress, ProfileName};
use headstart_core::step::{Applied, FailureKind, StepError};
use headstart_core::unit::FramebufferMib;

use self::text::{Row, parse_instances, parse_placements, parse_profiles, serves};
use super::hardware::failure::failure;
use super::hardware::look::Look;
use super::nvidia;
use super::profile::{self, NvidiaType};

/// How long a list is believed: until somebody else's change is noticed.
const FRESH: Duration = Duration::from_secs(120);

/// What a card can be cut into, and is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cuts {
    profiles: Vec<CutProfile>,
    instances: Vec<Row>,
    /// Instances that could not be destroyed, and why: something is on them that shows nowhere else.
    refused: BTreeMap<u32, String>,
    at: Instant,
    /// A step of ours changed it since.
    old: bool,
}

/// A profile of GPU instances.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CutProfile {
    id: u32,
    name: String,
    starts: Vec<u16>,
    slots: u16,
}

/// The program, and the card that it is asked about.
#[derive(Clone, Debug)]
pub(crate) struct Smi {
    /// `nvidia-smi`.
    pub(crate) program: PathBuf,
    /// The card.
    pub(crate) card: PciAddress,
}

impl Smi {
    /// Its output, or its last line on failure.
    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(&self.program);
        let card = self.card.to_string();
        let ended = command.args(["mig", "-i", &card]).args(arguments).stdin(Stdio::null()).output();
        let output = ended.map_err(|error| format!("{} could not be started: {error}", self.program.display()))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = [output.stderr, output.stdout].concat();
        let said = String::from_utf8_lossy(&said).lines().rev().find(|line| !line.trim().is_empty()).map(str::to_owned);
        Err(said.map_or_else(|| format!("nvidia-smi ended with {}", output.status), |line| line.trim().to_owned()))
    }

    /// What the card can be cut into; nothing while MIG is off.
    fn profiles(&self) -> Result<Vec<CutProfile>, String> {
        let names = match self.run(&["-lgip"]) {
            Ok(names) => parse_profiles(&names),
            Err(why) if ["No MIG", "Not Supported"].iter().any(|off| why.contains(off)) => return Ok(Vec::new()),
            Err(why) => return Err(why),
        };
        let mut places = parse_placements(&self.run(&["-lgipp"])?);
        let of = |(id, name)| places.remove(&id).map(|(starts, slots)| CutProfile { id, name, starts, slots });
        Ok(names.into_iter().filter_map(of).collect())
    }

    /// The instances that exist.
    fn instances(&self) -> Result<Vec<Row>, String> {
        match self.run(&["-lgi"]) {
            Ok(text) => parse_instances(&text).map_err(|row| format!("nvidia-smi mig -lgi: {row:?} is not understood")),
            Err(why) if why.contains("No GPU instances found") => Ok(Vec::new()),
            Err(why) => Err(why),
        }
    }
}

/// Fills in what a card in MIG mode can hold. False if it is not in that mode.
pub(super) fn partition(look: &mut Look, gpu: &mut Gpu, table: &[NvidiaType]) -> bool {
    let backed: Vec<&NvidiaType> = table.iter().filter(|it| profile::slices(it.name.as_str()).is_some()).collect();
    let off = look.nvml.as_ref().is_some_and(|nvml| !nvml.mig && !nvml.types.is_empty());
    if backed.is_empty() || off {
        return false;
    }
    let cuts = match cuts(look) {
        Ok(Some(cuts)) => cuts,
        Ok(None) if look.nvml.as_ref().is_some_and(|nvml| nvml.mig) => {
            gpu.state = GpuState::NotReady("it is in MIG mode, and nvidia-smi does not tell its GPU instances".into());
            return true;
        }
        Ok(None) => return false,
        Err(why) => {
            gpu.state = GpuState::NotReady(format!("its GPU instances are not known: {why}"));
            return true;
        }
    };
    let ends = cuts.profiles.iter().flat_map(|it| it.starts.iter().map(|start| start.saturating_add(it.slots)));
    gpu.partitioning = Partitioning::Mig { slots: ends.max().unwrap_or(0) };
    let mut all: Vec<Profile> = Vec::new();
    for it in &backed {
        if let Some(cut) = cuts.profiles.iter().find(|cut| serves(&cut.name, it.name.as_str())) {
            let mut profile = Profile {
                name: it.name.clone(),
                framebuffer: it.framebuffer,
                max_instances: cut.starts.len() as u16,
                compute: false,
                slots: cut.slots,
                starts: cut.starts.clone(),
            };
            look.rule.correct(&mut profile);
            all.push(profile);
        }
    }
    gpu.profiles = all;
    let largest = gpu.profiles.iter().map(|it| it.framebuffer).max();
    gpu.framebuffer = look.rule.framebuffer.or(largest).unwrap_or(FramebufferMib::new(0));
    instances(look, gpu, &cuts);
    true
}

/// The list of a card: the one that is kept, if it is young, or if the card is being worked on and must not be opened.
fn cuts(look: &Look) -> Result<Option<Cuts>, String> {
    let kept = look.memory().cuts.clone();
    let stays = |cuts: &Cuts| look.in_motion || (!cuts.old && cuts.at.elapsed() < FRESH);
    if let Some(cuts) = kept.as_ref().filter(|cuts| stays(cuts)) {
        return Ok(Some(cuts.clone()).filter(|cuts| !cuts.profiles.is_empty()));
    }
    let Some(smi) = look.smi.as_ref().filter(|smi| smi.program.exists() && !look.in_motion) else { return Ok(None) };
    let profiles = smi.profiles()?;
    let instances = if profiles.is_empty() { Vec::new() } else { smi.instances()? };
    let mut refused = kept.map(|cuts| cuts.refused).unwrap_or_default();
    refused.retain(|id, _| instances.iter().any(|row| row.id == *id));
    let cuts = Cuts { profiles, instances, refused, at: Instant::now(), old: false };
    look.memory().cuts = Some(cuts.clone());
    Ok(Some(cuts).filter(|cuts| !cuts.profiles.is_empty()))
}

/// Which instances there are and what is on them; where each vGPU stands.
fn instances(look: &Look, gpu: &mut Gpu, cuts: &Cuts) {
    let profile_of = |row: &Row, gpu: &Gpu| {
        let cut = cuts.profiles.iter().find(|cut| cut.id == row.profile)?;
        gpu.profiles.iter().find(|it| serves(&cut.name, it.name.as_str())).map(|it| it.name.clone())
    };
    let mut instances: BTreeMap<u32, Instance> = BTreeMap::new();
    for row in &cuts.instances {
        let used = cuts.refused.get(&row.id).map_or(Opened::No, |why| Opened::By(why.clone()));
        let profile = profile_of(row, gpu);
        instances.insert(row.id, Instance { profile, start: row.start, slots: row.slots, used });
    }
    let mut unplaced: BTreeMap<Option<ProfileName>, Vec<DeviceId>> = BTreeMap::new();
    for (device, vgpu) in &mut gpu.vgpus {
        vgpu.start = None;
        let told = look.root.number(&format!("{}/gpu_instance_id", nvidia::folder(*device))).ok();
        match told.and_then(|id| instances.get_mut(&id)) {
            Some(instance) => {
                vgpu.start = Some(instance.start);
                instance.used = Opened::By(device.to_string());
            }
            None => unplaced.entry(vgpu.profile.clone()).or_default().push(*device),
        }
    }
    // Drivers without that file: where there are as many vGPUs of a profile as instances for it, each has one, whichever it is.
    for (profile, devices) in unplaced {
        let fits = |it: &&mut Instance| it.used == Opened::No && (profile.is_none() || it.profile == profile);
        let free: Vec<&mut Instance> = instances.values_mut().filter(fits).collect();
        let all_taken = profile.is_some() && free.len() == devices.len();
        for (at, instance) in free.into_iter().enumerate() {
            instance.used = match devices.get(at).filter(|_| all_taken) {
                Some(device) => {
                    if let Some(vgpu) = gpu.vgpus.get_mut(device) {
                        vgpu.start = Some(instance.start);
                    }
                    Opened::By(device.to_string())
                }
                None => Opened::Unknown("its driver does not tell on which instance a vGPU stands".into()),
            };
        }
    }
    gpu.instances = Some(instances);
}

impl Cuts {
    /// The list is to be read anew.
    pub(super) fn grow_old(&mut self) {
        self.old = true;
    }
}

/// Makes a GPU instance for vGPUs of a profile.
pub(super) fn create(
    smi: &Smi,
    cuts: Option<&mut Cuts>,
    profile: &ProfileName,
    start: u16,
) -> Result<Applied, StepError> {
    let card = smi.card;
    let fits = |cut: &&CutProfile| serves(&cut.name, profile.as_str());
    let found = cuts.and_then(|cuts| Some((cuts.profiles.iter().find(fits)?.clone(), cuts)));
    let Some((cut, cuts)) = found else {
        return Err(failure(FailureKind::Unsupported, format!("{card}: it has no GPU instances for {profile}")));
    };
    cuts.grow_old();
    let there = |rows: &[Row]| rows.iter().any(|row| row.profile == cut.id && row.start == start);
    let before = smi.instances().map_err(|why| unread(card, &why))?;
    if there(&before) {
        return Ok(Applied::AlreadySo);
    }
    let end = start.saturating_add(cut.slots);
    if let Some(row) = before.iter().find(|row| row.start < end && start < row.start.saturating_add(row.slots)) {
        let text = format!("{card}: GPU instance {} has slices that one for {profile} at {start} needs", row.id);
        return Err(failure(FailureKind::Conflict, text));
    }
    let said = smi.run(&["-cgi", &format!("{}:{start}", cut.id)]);
    let after = smi.instances().map_err(|why| unread(card, &why))?;
    let what = format!("{card}: no GPU instance for {profile} at slice {start}");
    match said {
        _ if there(&after) => Ok(Applied::Changed),
        Err(why) if why.contains("Insufficient Resources") => {
            Err(failure(FailureKind::Exhausted, format!("{what}: {why}")))
        }
        Err(why) => Err(failure(FailureKind::Transient, format!("{what}: {why}"))),
        Ok(_) => Err(failure(FailureKind::Transient, format!("{what}, though nvidia-smi made one"))),
    }
}

/// Destroys a GPU instance. `on_it`: what stands on it.
pub(super) fn destroy(
    smi: &Smi,
    cuts: Option<&mut Cuts>,
    instance: u32,
    on_it: impl Fn() -> Option<String>,
) -> Result<Applied, StepError> {
    let card = smi.card;
    let Some(cuts) = cuts else {
        return Err(failure(FailureKind::Unsupported, format!("{card}: it has no GPU instances")));
    };
    let there = || Ok(smi.instances().map_err(|why| unread(card, &why))?.iter().any(|row| row.id == instance));
    cuts.grow_old();
    if !there()? {
        return Ok(Applied::AlreadySo);
    }
    if let Some(device) = on_it() {
        return Err(failure(FailureKind::Conflict, format!("{card}: {device} is on GPU instance {instance}")));
    }
    let said = smi.run(&["-dgi", "-gi", &instance.to_string()]);
    if !there()? {
        return Ok(Applied::Changed);
    }
    let what = format!("{card}: GPU instance {instance} is still there");
    match said {
        Ok(_) => Err(failure(FailureKind::Transient, format!("{what}, though nvidia-smi destroyed it"))),
        Err(why) => {
            // Something of which nothing else tells, such as a compute instance: it counts as in use from now on.
            cuts.refused.insert(instance, why.clone());
            Err(failure(FailureKind::Conflict, format!("{what}: {why}")))
        }
    }
}

fn unread(card: PciAddress, why: &str) -> StepError {
    failure(FailureKind::Transient, format!("{card}: its GPU instances are not known: {why}"))
}
