//! The types of a card, from a source that does not shrink with use.
//!
//! In this order: NVML; the table that NVIDIA's host driver installs; what the card offered while it was empty, completed by the numbers that
//! the operator gives, for a card that is never empty is never seen whole. What the operator says of a type goes before what any source
//! says.

use headstart_core::id::PciAddress;

use super::write::creatable;
use crate::host::hardware::look::Look;
use crate::host::pci::Function;
use crate::host::profile::{self, NvidiaType};

/// The table. `free`: a VF without a type; `empty`: all are.
pub(super) fn table(look: &mut Look, function: &Function, free: Option<PciAddress>, empty: bool) -> Vec<NvidiaType> {
    let mut table = by_source(look, function, free, empty);
    for it in &mut table {
        look.rule.correct_type(it);
    }
    table
}

fn by_source(look: &mut Look, function: &Function, free: Option<PciAddress>, empty: bool) -> Vec<NvidiaType> {
    if let Some(nvml) = look.nvml.as_ref().filter(|nvml| !nvml.types.is_empty()) {
        return nvml.types.clone();
    }
    let installed = look.installed.read(&look.root);
    match installed.as_ref().as_ref().map(|installed| installed.types(function)) {
        Ok(types) if !types.is_empty() => return types,
        Ok(_) => {}
        Err(why) => {
            let why = why.clone();
            look.problem(&"vgpuConfig.xml", why);
        }
    }
    if let Some(vf) = free.filter(|_| empty) {
        match creatable(&look.root, vf) {
            // Nothing is offered while the driver is not ready; what was seen stays.
            Ok(types) if types.is_empty() => {}
            Ok(types) => look.memory().offered = types.into_iter().collect(),
            Err(error) => look.problem(&vf, format!("what it offers is not known: {error}")),
        }
    }
    remembered(look)
}

/// What the operator says and what was offered.
fn remembered(look: &mut Look) -> Vec<NvidiaType> {
    let mut numbers = look.memory().offered.clone();
    for rule in &look.rule.profiles {
        if let Some(number) = rule.number {
            numbers.entry(number).or_insert_with(|| rule.name.to_string());
        }
    }
    let mut types = Vec::new();
    for (number, name) in numbers {
        let Ok(name) = profile::type_name(&name) else {
            look.problem(&number, format!("this type is left out: {name:?} is no acceptable name"));
            continue;
        };
        let by_rule = || look.rule.profile(&name)?.framebuffer;
        let size = profile::framebuffer_by_name(name.as_str()).or_else(by_rule);
        let Some(framebuffer) = size else {
            look.problem(&number, format!("type {name} is left out: its name does not tell its size"));
            continue;
        };
        types.push(NvidiaType { number, name, framebuffer, max_instances: None, placement: None });
    }
    types
}
