//! Mediated devices: any parent under `/sys/class/mdev_bus`.
//!
//! NVIDIA's vGPUs on a PF or on its VFs, Intel GVT-g, the kernel's samples. What a type is called and how large it is comes from its
//! files; what may stand side by side from the kind of parent: NVIDIA's rules, or a budget (`budget`). Rules of the kernel's side:
//! `Documentation/ABI/testing/sysfs-bus-vfio-mdev`. Deliberately not here: NVIDIA's VFs without mdevs (`vfio_variant`).

mod budget;
mod nvidia;
mod text;
mod write;

use headstart_core::gpu::{DeviceId, Gpu, GpuState, Interface, Opened, Partitioning, Profile, Vgpu};
use headstart_core::id::{MdevUuid, ProfileName};
use headstart_core::unit::FramebufferMib;

use self::budget::{Budget, TypeUse, one_store, several_stores};
use self::text::Description;
use super::hardware::look::Look;
use super::hardware::survey::{MDEVS, Parent};
use super::pci::{self, Function};
use super::sysfs::{SysfsError, SysfsRoot, optional};

pub(super) use write::{NewMdev, create, prepare, remove};

/// The one kind of mdev that is a PCI device for a guest (`VFIO_DEVICE_API_PCI_STRING`).
const PCI_API: &str = "vfio-pci";

/// A type that a parent offers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct MdevType {
    /// Its directory: `nvidia-558`, `mbochs-small`.
    id: String,
    /// What we call it.
    name: ProfileName,
    description: Description,
}

/// What is on a GPU whose parents these are.
pub(super) fn observe(
    look: &mut Look,
    mut gpu: Gpu,
    function: Option<&Function>,
    parents: &[Parent],
) -> Result<Gpu, SysfsError> {
    let nvidia = function.is_some_and(|function| function.vendor == pci::NVIDIA);
    gpu.interface = Interface::Mdev;
    gpu.vfs = parents.iter().filter_map(|parent| parent.vf).collect();
    gpu.vfs.sort_unstable();
    let types = offered(look, parents, nvidia)?;
    let mdevs = existing(look, parents, nvidia, &types)?;
    gpu.vgpus = mdevs;
    if types.is_empty() {
        gpu.state = GpuState::NotReady("its driver has published no mdev types yet".into());
        return Ok(gpu);
    }
    if nvidia {
        nvidia::partition(look, &mut gpu, parents, &types)?;
    } else {
        share(look, &mut gpu, parents, &types)?;
    }
    Ok(gpu)
}

/// The types of the first parent that has any: all parents of a GPU have the same.
fn offered(look: &mut Look, parents: &[Parent], nvidia: bool) -> Result<Vec<MdevType>, SysfsError> {
    for parent in parents {
        let folder = format!("{}/mdev_supported_types", parent.path());
        let ids = optional(look.root.list(&folder))?.unwrap_or_default();
        let mut types = Vec::new();
        for id in ids {
            let path = format!("{folder}/{id}");
            match mdev_type(&look.root, &path, &id, nvidia) {
                Ok(found) => types.extend(found),
                // It went while we looked; a type that cannot be read is left out, and what is of that type is unknown.
                Err(TypeError::Sysfs(error)) if error.is_absent() => {}
                Err(error) => look.problem(&format!("/{path}"), format!("this type is left out: {error}")),
            }
        }
        if !types.is_empty() {
            return Ok(types);
        }
    }
    Ok(Vec::new())
}

/// Why a type is left out.
#[derive(Debug, thiserror::Error)]
enum TypeError {
    #[error(transparent)]
    Sysfs(#[from] SysfsError),
    #[error(transparent)]
    Name(#[from] headstart_core::id::BadId),
}

/// Reads a type; none if it is none that a guest could see on its PCI bus.
fn mdev_type(root: &SysfsRoot, path: &str, id: &str, nvidia: bool) -> Result<Option<MdevType>, TypeError> {
    if root.read(&format!("{path}/device_api"))?.trim() != PCI_API {
        return Ok(None);
    }
    let name = profile_of(root, path, id, nvidia)?;
    let description = optional(root.read_long(&format!("{path}/description")))?;
    let description = description.as_deref().map(text::parse_description).unwrap_or_default();
    Ok(Some(MdevType { id: id.to_owned(), name, description }))
}

/// What we call a type: NVIDIA's marketing name without the brand, else the name of the directory. The `name` file of other drivers
/// says no more (mbochs) or is meant for people (mtty: `Single port serial`).
fn profile_of(root: &SysfsRoot, path: &str, id: &str, nvidia: bool) -> Result<ProfileName, TypeError> {
    if !nvidia {
        return Ok(ProfileName::new(id)?);
    }
    Ok(super::profile::type_name(&root.read(&format!("{path}/name"))?)?)
}

/// The mdevs on these parents.
fn existing(
    look: &mut Look,
    parents: &[Parent],
    nvidia: bool,
    types: &[MdevType],
) -> Result<std::collections::BTreeMap<DeviceId, Vgpu>, SysfsError> {
    let survey = std::sync::Arc::clone(&look.survey);
    let mut vgpus = std::collections::BTreeMap::new();
    for parent in parents {
        for uuid in survey.mdevs_on(&parent.name)? {
            let path = format!("{MDEVS}/{uuid}");
            let id = match optional(look.root.link_name(&format!("{path}/mdev_type"))) {
                Ok(Some(id)) => id,
                // The link comes a little later than the device, and goes a little earlier.
                Ok(None) if look.root.exists(&path) => String::new(),
                Ok(None) => continue,
                Err(error) => {
                    look.problem(&format!("/{path}"), format!("its type is not known: {error}"));
                    String::new()
                }
            };
            let profile = types.iter().find(|it| it.id == id).map(|it| it.name.clone());
            let start = if nvidia { super::nvidia::params::start(&look.root, &format!("{path}/nvidia")) } else { None };
            let opened = opened(look, &path);
            vgpus.insert(DeviceId::Mdev(*uuid), Vgpu { profile, start, opened });
        }
    }
    Ok(vgpus)
}

/// Whether an mdev is open, by its driver's word and by the open files of all processes.
fn opened(look: &Look, path: &str) -> Opened {
    match vm_name(&look.root, path) {
        Ok(Some(name)) => Opened::By(name),
        Ok(None) => look.opened(path),
        Err(error) => Opened::Unknown(error.to_string()),
    }
}

/// The VM that has an mdev open, if its driver says so.
fn vm_name(root: &SysfsRoot, path: &str) -> Result<Option<String>, SysfsError> {
    let name = optional(root.read(&format!("{path}/nvidia/vm_name")))?;
    Ok(name.as_deref().and_then(text::vm_name).map(str::to_owned))
}

/// Partitions a parent that gives any mix until it is empty.
fn share(look: &mut Look, gpu: &mut Gpu, parents: &[Parent], types: &[MdevType]) -> Result<(), SysfsError> {
    let Some(parent) = parents.first() else { return Ok(()) };
    let by_operator = |it: &MdevType| look.rule.profile(&it.name).is_some_and(|rule| rule.slots.is_some());
    let all_by_rule = types.iter().all(by_operator);
    let mut uses = Vec::new();
    for it in types {
        let path = format!("{}/mdev_supported_types/{}/available_instances", parent.path(), it.id);
        let existing = gpu.vgpus.values().filter(|vgpu| vgpu.profile.as_ref() == Some(&it.name)).count() as u32;
        let by_rule =
            || look.rule.profile(&it.name)?.slots.filter(|slots| *slots > 0).map(|slots| vec![u32::from(slots)]);
        let only = || (types.len() == 1).then(|| vec![1]);
        let told = || it.description.needs.clone().or_else(|| text::known_needs(&it.id));
        // Slots of the operator and megabytes of the driver do not add up: it is all of one or all of the other.
        let needs = if all_by_rule { by_rule() } else { told().or_else(only) };
        let Some(needs) = needs else {
            let text = format!("what one {} takes is told nowhere; give its `slots` in this GPU's [[gpu]]", it.name);
            gpu.state = GpuState::NotReady(text);
            return Ok(());
        };
        uses.push(TypeUse { needs, available: look.root.number(&path)?, existing });
    }
    let Some(budget) = budget(look, &uses) else {
        gpu.state = GpuState::Unknown("the numbers of instances that its types show cannot be true".into());
        return Ok(());
    };
    gpu.partitioning = Partitioning::Budget { slots: budget.slots };
    for (it, slots) in types.iter().zip(&budget.each) {
        let mut profile = Profile {
            name: it.name.clone(),
            framebuffer: it.description.framebuffer.unwrap_or_default(),
            max_instances: budget.slots.checked_div(*slots).unwrap_or(0),
            compute: false,
            slots: *slots,
            starts: Vec::new(),
        };
        look.rule.correct(&mut profile);
        gpu.profiles.push(profile);
    }
    let all = gpu.profiles.iter().map(|it| it.framebuffer.get().saturating_mul(u32::from(it.max_instances)));
    gpu.framebuffer = look.rule.framebuffer.unwrap_or(FramebufferMib::new(all.max().unwrap_or(0)));
    Ok(())
}

/// The budget, and what is remembered of it.
fn budget(look: &Look, uses: &[TypeUse]) -> Option<Budget> {
    let mut memory = look.memory();
    if uses.iter().any(|it| it.needs.len() > 1) {
        return several_stores(uses, &mut memory.empty_holds);
    }
    let mut budget = one_store(uses, memory.budget)?;
    match memory.budget {
        // While a device of ours is made or removed, the list of devices and the numbers of instances are of different moments.
        Some(known) if look.in_motion => budget.slots = known,
        _ => memory.budget = Some(budget.slots),
    }
    Some(budget)
}

/// The parents of a GPU, each with the directory of the type that is called so. A type has one directory name on all of them.
fn parents_with(
    root: &SysfsRoot,
    parents: &[Parent],
    nvidia: bool,
    profile: &ProfileName,
) -> Result<Vec<(Parent, String)>, SysfsError> {
    let mut id = None;
    let mut found = Vec::new();
    for parent in parents {
        let folder = format!("{}/mdev_supported_types", parent.path());
        if id.is_none() {
            let ids = optional(root.list(&folder))?.unwrap_or_default();
            let is_it = |id: &String| {
                profile_of(root, &format!("{folder}/{id}"), id, nvidia).is_ok_and(|name| name == *profile)
            };
            id = ids.into_iter().find(is_it);
        }
        if let Some(path) = id.as_ref().map(|id| format!("{folder}/{id}")).filter(|path| root.exists(path)) {
            found.push((parent.clone(), path));
        }
    }
    Ok(found)
}

/// The type of an mdev.
fn type_of(root: &SysfsRoot, uuid: MdevUuid) -> Result<String, SysfsError> {
    root.link_name(&format!("{MDEVS}/{uuid}/mdev_type"))
}
