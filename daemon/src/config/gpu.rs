//! The `[[gpu]]` entries: which GPUs are headstart's, and what the administrator says of them that the host does not.

use headstart_core::id::{GpuId, ProfileName};
use headstart_core::unit::FramebufferMib;

use super::document::{At, Section};
use super::value;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuEntry {
    /// Which GPUs it gives to headstart.
    pub select: Select,
    /// What shares of the board are called, where the host knows no better name.
    pub board: Option<String>,
    /// VFs to enable where their number is free to choose; none: as many as there may be.
    pub vfs: Option<u16>,
    /// Framebuffer of the whole board, where the host does not tell.
    pub framebuffer: Option<FramebufferMib>,
    /// `key=value` parameters of every vGPU, set before a domain opens it.
    pub vgpu_params: Option<String>,
    /// What is said of single profiles.
    pub profiles: Vec<ProfileEntry>,
}

/// Which GPUs an entry is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Select {
    /// This one: a PF, or a parent of mdevs that is no PCI function.
    One(GpuId),
    /// All of this host that fit; what is not said fits any. At least one is said.
    Like {
        /// PCI vendor.
        vendor: Option<u16>,
        /// PCI device, of that vendor.
        device: Option<u16>,
        /// Name of the driver that is bound to it.
        driver: Option<String>,
    },
}

/// A `[[gpu.profiles]]` entry: what it says goes before what the host says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileEntry {
    /// Which profile.
    pub name: ProfileName,
    /// NVIDIA's number of the vGPU type.
    pub number: Option<u32>,
    /// Framebuffer of one.
    pub framebuffer: Option<FramebufferMib>,
    /// Most of it on one GPU.
    pub max_instances: Option<u16>,
    /// What one takes of a parent's one budget.
    pub slots: Option<u16>,
}

/// Reads one entry; none if it does not say which GPU.
pub(super) fn entry(section: &Section) -> Option<GpuEntry> {
    let select = select(section);
    let entry = GpuEntry {
        select: select.clone().unwrap_or(Select::Like { vendor: None, device: None, driver: None }),
        board: section.get("board", value::label).map(|at| at.value),
        vfs: section.get("vfs", value::integer(1..=65_535)).map(|at| at.value as u16),
        framebuffer: section.get("framebuffer-mib", value::framebuffer).map(|at| at.value),
        vgpu_params: section.get("vgpu-params", value::vgpu_params).map(|at| at.value),
        profiles: section.sections("profiles", profile).into_iter().flatten().collect(),
    };
    select.map(|_| entry)
}

fn select(section: &Section) -> Option<Select> {
    let address = section.get("address", value::gpu_id);
    let vendor = section.get("vendor", value::pci_id);
    let device = section.get("device", value::pci_id);
    let driver = section.get("driver", value::label);
    let rules = ["vendor", "device", "driver"];
    if section.has("address") {
        if let Some(rule) = rules.into_iter().find(|rule| section.has(rule)) {
            section.problem(&section.place_of(rule), &format_args!("`address` names one GPU; leave `{rule}` out"));
        }
        return address.map(|at| Select::One(at.value));
    }
    if !rules.into_iter().any(|rule| section.has(rule)) {
        let what = "[gpu] lacks the key `address`, or `vendor`, `device` and `driver` of those that are meant";
        section.problem(section.place(), &what);
        return None;
    }
    if section.has("device") && !section.has("vendor") {
        section
            .problem(&section.place_of("device"), &"`device` says nothing without `vendor`; every vendor has its own");
    }
    let of = |at: Option<At<u16>>| at.map(|at| at.value);
    Some(Select::Like { vendor: of(vendor), device: of(device), driver: driver.map(|at| at.value) })
}

fn profile(section: &Section) -> Option<ProfileEntry> {
    let name = section.need("name", value::profile);
    let small = |key| section.get(key, value::integer(1..=65_535)).map(|at| at.value as u16);
    let number = section.get("number", value::integer(0..=4_294_967_295)).map(|at| at.value as u32);
    let framebuffer = section.get("framebuffer-mib", value::framebuffer).map(|at| at.value);
    let (max_instances, slots) = (small("max-instances"), small("slots"));
    name.map(|at| ProfileEntry { name: at.value, number, framebuffer, max_instances, slots })
}
