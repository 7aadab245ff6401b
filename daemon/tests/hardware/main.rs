//! The hardware's back ends on a simulated tree, unmodified, through their root folder.
//!
//! What the tree refuses comes from the reference on GPU virtualization and not from our planner. Without root or `/dev/fuse` these
//! tests say so and do nothing.
#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect shall fail")]

mod candidates;
mod manners;
mod mdev;
mod mdev_on_vfs;
mod mig;
mod nvml;
mod rounds;
mod samples;
mod sriov;
mod sriov_manage;
mod trouble;
mod vfio_variant;

use std::fmt::Write as _;
use std::time::Duration;

use headstart_core::gpu::{DeviceId, Gpu, GpuState, Opened};
use headstart_core::id::{DomainUuid, GpuId, MdevUuid, PciAddress, ProfileName};
use headstart_core::step::{Applied, FailureKind, Step, StepError};
use headstart_simsysfs::{Blueprint, Machine};
use headstartd::host::hardware::{GpuRule, Hardware, HardwareSeen, Patience, ProfileRule, Selector};
use headstartd::host::sysfs::SysfsRoot;

/// Longer than anything here takes on a machine that builds something else meanwhile.
const DEADLINE: Duration = Duration::from_secs(60);

/// All the patience that a test can need.
const PATIENCE: Patience = Patience { look: DEADLINE, nvml: DEADLINE, vgpu: DEADLINE, vfs: DEADLINE };

/// A machine and the hardware that headstart sees on it.
struct Rig {
    machine: Machine,
    hardware: Hardware,
}

impl Rig {
    /// A machine whose GPUs with these names are ours; none where it cannot be mounted.
    fn new(blueprint: Blueprint, owned: &[&str]) -> Option<Self> {
        Self::with_rules(blueprint, owned.iter().map(|id| GpuRule::of(gpu_id(id))).collect())
    }

    fn with_rules(blueprint: Blueprint, rules: Vec<GpuRule>) -> Option<Self> {
        let machine = blueprint.mount_or_skip()?;
        let hardware = hardware(SysfsRoot::new(machine.root()), rules);
        Some(Self { machine, hardware })
    }

    /// The same with little patience, to be asked for what hangs only.
    fn impatient(&self, owned: &[&str]) -> Hardware {
        let rules = owned.iter().map(|id| GpuRule::of(gpu_id(id))).collect();
        let little = Duration::from_millis(300);
        let patience = Patience { look: little, nvml: little, vgpu: little, vfs: little };
        Hardware::with(SysfsRoot::new(self.machine.root()), rules, None, patience)
    }

    /// The daemon is started anew: what it remembered is gone.
    fn restart(&mut self, owned: &[&str]) {
        let rules = owned.iter().map(|id| GpuRule::of(gpu_id(id))).collect();
        self.hardware = hardware(SysfsRoot::new(self.machine.root()), rules);
    }

    fn gpu(&self, id: &str) -> Gpu {
        let seen = self.hardware.observe();
        let found = seen.gpus.get(&gpu_id(id)).cloned();
        found.unwrap_or_else(|| panic!("{id} was not seen: {seen:#?}"))
    }

    fn create(&self, gpu: &str, profile: &str, desktop: u128) -> Result<Applied, StepError> {
        self.create_at(gpu, profile, desktop, None)
    }

    fn create_at(&self, gpu: &str, profile: &str, desktop: u128, start: Option<u16>) -> Result<Applied, StepError> {
        let (gpu, profile) = (gpu_id(gpu), name(profile));
        self.hardware.apply(&Step::CreateMdev { gpu, profile, uuid: mdev(desktop), start })
    }

    fn remove(&self, gpu: &str, profile: &str, desktop: u128) -> Result<Applied, StepError> {
        let (gpu, profile) = (gpu_id(gpu), name(profile));
        self.hardware.apply(&Step::RemoveMdev { gpu, profile, uuid: mdev(desktop) })
    }

    fn set(&self, gpu: &str, vf: &str, profile: &str) -> Result<Applied, StepError> {
        let (gpu, vf, profile) = (gpu_id(gpu), function(vf), name(profile));
        self.hardware.apply(&Step::SetVgpuType { gpu, vf, profile, start: None })
    }

    fn clear(&self, gpu: &str, vf: &str, profile: &str) -> Result<Applied, StepError> {
        let (gpu, vf, profile) = (gpu_id(gpu), function(vf), name(profile));
        self.hardware.apply(&Step::ClearVgpuType { gpu, vf, profile })
    }

    fn set_num_vfs(&self, gpu: &str, vfs: u16) -> Result<Applied, StepError> {
        self.hardware.apply(&Step::SetNumVfs { gpu: gpu_id(gpu), vfs })
    }

    /// What was written since the machine was switched on or forgot: the file's name, the text, the answer.
    fn writes(&self) -> String {
        let mut text = String::new();
        for write in self.machine.writes() {
            let _ = writeln!(text, "{} <- {}: {}", write.path, write.text.trim(), answer(write.result.as_ref()));
        }
        text
    }
}

/// The hardware with patience and without NVML.
fn hardware(root: SysfsRoot, rules: Vec<GpuRule>) -> Hardware {
    Hardware::with(root, rules, None, PATIENCE)
}

fn answer(result: Option<&Result<(), headstart_simsysfs::Errno>>) -> String {
    match result {
        None => "blocked".into(),
        Some(Ok(())) => "ok".into(),
        Some(Err(errno)) => format!("{errno:?}"),
    }
}

fn gpu_id(text: &str) -> GpuId {
    text.parse().unwrap()
}

fn function(text: &str) -> PciAddress {
    text.parse().unwrap()
}

fn name(text: &str) -> ProfileName {
    text.parse().unwrap()
}

/// What an operator says of a type of NVIDIA: its number, no more.
fn numbered(text: &str, number: u32) -> ProfileRule {
    ProfileRule { name: name(text), number: Some(number), framebuffer: None, max_instances: None, slots: None }
}

/// The mdev of the `n`th desktop.
fn mdev(n: u128) -> MdevUuid {
    DomainUuid::new(uuid::Uuid::from_u128(n)).mdev()
}

/// A stranger's UUID.
fn stranger(n: u32) -> String {
    format!("c7a1e8b0-0000-4000-8000-{n:012}")
}

/// The kind of a failure and its text.
#[track_caller]
fn fails(result: Result<Applied, StepError>) -> (FailureKind, String) {
    let error = result.expect_err("this must fail");
    (error.kind, error.text)
}

/// A GPU in a few lines: state, rule, profiles, what is on it.
fn picture(gpu: &Gpu) -> String {
    let mut text = String::new();
    let state = match &gpu.state {
        GpuState::Ready => "ready".to_owned(),
        GpuState::NotReady(why) => format!("not ready: {why}"),
        GpuState::Unknown(why) => format!("unknown: {why}"),
    };
    let (address, board, interface, rule) = (gpu.address, &gpu.name, gpu.interface, gpu.partitioning);
    let _ = writeln!(text, "{address} {board}, {}: {interface}, {rule}, {state}", gpu.framebuffer);
    if !gpu.vfs.is_empty() || gpu.dormant_vfs > 0 {
        let _ = writeln!(text, "  {} VFs on, {} off", gpu.vfs.len(), gpu.dormant_vfs);
    }
    for profile in &gpu.profiles {
        let slots = if profile.slots > 0 { format!(", {} slots", profile.slots) } else { String::new() };
        let starts = if profile.starts.is_empty() { String::new() } else { format!(" at {:?}", profile.starts) };
        let (name, size, most) = (&profile.name, profile.framebuffer, profile.max_instances);
        let _ = writeln!(text, "  {name}: {size} x{most}{slots}{starts}");
    }
    text + &vgpus(gpu)
}

/// What is on a GPU, a line each.
fn vgpus(gpu: &Gpu) -> String {
    let mut text = String::new();
    for (device, vgpu) in &gpu.vgpus {
        let profile = vgpu.profile.as_ref().map_or("?", ProfileName::as_str);
        let start = vgpu.start.map_or_else(String::new, |start| format!(" at {start}"));
        let opened = match &vgpu.opened {
            Opened::No => String::new(),
            Opened::By(who) => format!(", {who} has it open"),
            Opened::Unknown(why) => format!(", unknown: {why}"),
        };
        let _ = writeln!(text, "  + {} {profile}{start}{opened}", device_name(device));
    }
    text
}

/// Our own mdevs by the number of their desktop, everything else by its name.
fn device_name(device: &DeviceId) -> String {
    let ours = (0..100).find(|n| *device == DeviceId::Mdev(mdev(*n)));
    ours.map_or_else(|| device.to_string(), |n| format!("mdev {n}"))
}

fn problems(seen: &HardwareSeen) -> String {
    seen.problems.iter().fold(String::new(), |text, problem| text + &problem.to_string() + "\n")
}

/// A rule for all GPUs of one vendor.
fn all_of(vendor: u16) -> GpuRule {
    GpuRule { select: Selector::Like { vendor: Some(vendor), device: None, driver: None }, ..GpuRule::default() }
}
