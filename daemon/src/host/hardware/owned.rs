//! Which GPUs of this host the rules give to headstart.

use std::collections::BTreeMap;

use headstart_core::id::{GpuId, PciAddress};
use headstart_core::observed::Problem;
use headstart_core::step::{FailureKind, StepError};

use super::Inner;
use super::failure::failure;
use super::rule::{GpuRule, Selector};
use super::survey::Survey;
use crate::host::pci::{self, Function};
use crate::host::sysfs::{SysfsError, SysfsRoot};

impl Inner {
    /// All GPUs that are ours, each with its rule.
    pub(super) fn owned(&self, survey: &Survey, problems: &mut Vec<Problem>) -> BTreeMap<GpuId, GpuRule> {
        let mut owned = BTreeMap::new();
        let by_id = self.rules.iter().filter_map(|rule| match rule.select {
            Selector::Id(id) => Some((id, rule)),
            Selector::Like { .. } => None,
        });
        for (id, rule) in by_id {
            owned.entry(id).or_insert_with(|| rule.clone());
        }
        if self.rules.iter().all(|rule| matches!(rule.select, Selector::Id(_))) {
            return owned;
        }
        match partitionable(&self.root, survey) {
            Ok(functions) => {
                for function in functions {
                    let id = GpuId::Pci(function.address);
                    if let Some(rule) = self.rules.iter().find(|rule| rule.select.fits(&function)) {
                        owned.entry(id).or_insert_with(|| rule.clone());
                    }
                }
            }
            Err(error) => {
                let text = format!("which GPUs fit the rules of the configuration is not known: {error}");
                problems.push(Problem { object: "[[gpu]]".into(), text });
                // Those that fitted before are looked at as before.
                let known: Vec<GpuId> = self.memories().keys().copied().collect();
                for id in known {
                    let rule = self.rules.iter().find(|rule| matches!(rule.select, Selector::Like { .. }));
                    if let Some(rule) = rule {
                        owned.entry(id).or_insert_with(|| rule.clone());
                    }
                }
            }
        }
        owned
    }

    /// The rule of a GPU, if it is ours and was seen.
    pub(super) fn rule_of(&self, id: GpuId) -> Result<GpuRule, StepError> {
        let by_id = self.rules.iter().find(|rule| rule.select == Selector::Id(id));
        let by_kind = || {
            let function = Function::look(&self.root, id.pci()?).ok().flatten()?;
            self.rules.iter().find(|rule| rule.select.fits(&function))
        };
        let rule = by_id.or_else(by_kind).cloned();
        rule.ok_or_else(|| failure(FailureKind::Unsupported, format!("{id}: no [[gpu]] of the configuration gives it")))
    }
}

/// The PFs of this host that are GPUs and can be partitioned.
pub(super) fn partitionable(root: &SysfsRoot, survey: &Survey) -> Result<Vec<Function>, SysfsError> {
    let parents = survey.parents()?;
    let gpus = gpus(root)?;
    Ok(gpus.into_iter().filter(|it| it.total_vfs > 0 || parents.contains_key(&GpuId::Pci(it.address))).collect())
}

/// The PFs of this host that are GPUs. VFs, of which there may be hundreds, are told by one link each.
pub(super) fn gpus(root: &SysfsRoot) -> Result<Vec<Function>, SysfsError> {
    let is_gpu = |address: &PciAddress| {
        let class = root.hexadecimal(&format!("{}/class", pci::path(*address)));
        class.is_ok_and(pci::is_gpu) && !root.exists(&format!("{}/physfn", pci::path(*address)))
    };
    let mut found = Vec::new();
    for address in pci::addresses(root)?.into_iter().filter(is_gpu) {
        found.extend(Function::look(root, address)?);
    }
    Ok(found)
}
