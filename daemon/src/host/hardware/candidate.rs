//! What on this host could be given to headstart.

use headstart_core::gpu::Interface;
use headstart_core::id::GpuId;

use super::look::{Kind, kind};
use super::owned::gpus;
use super::rule::{GpuRule, Selector};
use super::survey::Survey;
use crate::host::pci::{self, Function};
use crate::host::sysfs::{SysfsError, SysfsRoot};

/// A GPU, or another parent of mdevs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where it is.
    pub id: GpuId,
    /// What people call it.
    pub name: String,
    /// What is bound to it.
    pub driver: Option<String>,
    /// How vGPUs would be made; none if it cannot be partitioned as it is.
    pub interface: Option<Interface>,
    /// VFs there may be; 0 if it works without.
    pub vfs: u16,
    /// The configuration gives it.
    pub owned: bool,
    /// What has to be done before it is of use.
    pub note: Option<String>,
}

/// All of them, in order.
pub(super) fn find(root: &SysfsRoot, rules: &[GpuRule]) -> Result<Vec<Candidate>, SysfsError> {
    let survey = Survey::take(root);
    let mut found = Vec::new();
    let functions = gpus(root)?;
    for function in &functions {
        found.push(gpu(root, rules, &survey, function)?);
    }
    let is_known = |id: &GpuId| functions.iter().any(|function| GpuId::Pci(function.address) == *id);
    for id in survey.parents()?.keys().filter(|id| !is_known(id)) {
        let function = id.pci().map(|address| Function::look(root, address)).transpose()?.flatten();
        found.push(Candidate {
            id: *id,
            name: function.as_ref().map_or_else(|| id.to_string(), Function::name),
            driver: function.as_ref().and_then(|function| function.driver.clone()),
            interface: Some(Interface::Mdev),
            vfs: 0,
            owned: rules.iter().any(|rule| rule.select == Selector::Id(*id)),
            note: None,
        });
    }
    found.sort_by_key(|candidate| candidate.id);
    Ok(found)
}

fn gpu(root: &SysfsRoot, rules: &[GpuRule], survey: &Survey, function: &Function) -> Result<Candidate, SysfsError> {
    let id = GpuId::Pci(function.address);
    let vfs = pci::virtual_functions(root, function.address)?;
    let kind = kind(root, function, !survey.parents_of(id)?.is_empty(), &vfs);
    let (interface, note) = match kind {
        Kind::Mdev => (Some(Interface::Mdev), None),
        Kind::VfioVariant => (Some(Interface::VfioVariant), None),
        Kind::NvidiaWithoutVfs => (
            Some(Interface::VfioVariant),
            Some(
                "its VFs are off; headstart enables them with sriov-manage when a desktop is to have a part".to_owned(),
            ),
        ),
        Kind::NvidiaWithoutTypes => {
            (None, Some("its driver offers no vGPU types; is it NVIDIA's vGPU host driver?".to_owned()))
        }
        Kind::Vfs => (Some(Interface::Vf), None),
        Kind::Whole => (None, Some("it cannot be partitioned as it is".to_owned())),
    };
    Ok(Candidate {
        id,
        name: function.name(),
        driver: function.driver.clone(),
        interface,
        vfs: function.total_vfs,
        owned: rules.iter().any(|rule| rule.select.fits(function)),
        note,
    })
}
