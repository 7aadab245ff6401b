//! Mdev parents whose types share a budget: the kernel's samples on a virtual device, Intel GVT-g on the integrated GPU. Section 6 of
//! the reference.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::errno::Errno;

use crate::attribute::{Attribute, number, uuid};
use crate::board::{Board, Progress};
use crate::host::{Event, Host, Vfio};
use crate::mdev::{Mdev, TypeView, draw_parent, tell_parent};
use crate::pci::Physical;
use crate::sketch::Sketch;

/// A type, and what of each resource one device of it takes.
#[derive(Clone, Debug)]
pub(crate) struct BudgetType {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) costs: Vec<u32>,
}

/// What answers a `create` when the budget is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted(pub(crate) Errno);

pub(crate) struct BudgetBoard {
    /// The virtual parent's name; none for a PCI function.
    pub(crate) name: Option<String>,
    pub(crate) pf: Option<Physical>,
    pub(crate) driver: &'static str,
    pub(crate) types: Vec<BudgetType>,
    pub(crate) budget: Vec<u32>,
    pub(crate) exhausted: Exhausted,
    pub(crate) mdevs: BTreeMap<String, Mdev>,
    pub(crate) slow_start: Duration,
    pub(crate) registered: bool,
}

impl BudgetBoard {
    fn parent(&self) -> String {
        match (&self.name, &self.pf) {
            (Some(name), _) => name.clone(),
            (None, Some(pf)) => pf.function.id(),
            (None, None) => String::new(),
        }
    }

    fn folder(&self) -> String {
        match (&self.name, &self.pf) {
            // The module and its only device have one name.
            (Some(name), _) => format!("sys/devices/virtual/{name}/{name}"),
            (None, pf) => pf.as_ref().map(Physical::home).unwrap_or_default(),
        }
    }

    fn subsystem(&self) -> &str {
        self.name.as_deref().unwrap_or("pci")
    }

    fn available(&self, costs: &[u32]) -> u32 {
        let used = |resource: usize| -> u32 {
            let cost = |mdev: &Mdev| self.types.iter().find(|t| t.id == mdev.type_id).map_or(0, |t| t.costs[resource]);
            self.mdevs.values().map(cost).sum()
        };
        let left = |(resource, cost): (usize, &u32)| self.budget[resource].saturating_sub(used(resource)) / cost;
        costs.iter().enumerate().filter(|(_, cost)| **cost > 0).map(left).min().unwrap_or(0)
    }

    fn create(&mut self, host: &mut Host, id: &str, text: &[u8]) -> Result<(), Errno> {
        let uuid = uuid(text)?;
        if host.mdevs.contains(&uuid) {
            return Err(Errno::EEXIST);
        }
        let chosen = self.types.iter().find(|t| t.id == id).ok_or(Errno::EINVAL)?;
        if self.available(&chosen.costs) == 0 {
            return Err(self.exhausted.0);
        }
        let folder = self.folder();
        let mdev = Mdev::new(host, &folder, id, &uuid);
        mdev.tell_bound(host, &folder, self.driver);
        self.mdevs.insert(uuid, mdev);
        Ok(())
    }

    fn remove(&mut self, host: &mut Host, uuid: &str, text: &[u8], since: Option<Duration>) -> Progress {
        match number(text, u64::MAX) {
            Err(_) => return Progress::Refused(Errno::EINVAL),
            Ok(0) => return Progress::Done,
            Ok(_) => {}
        }
        let folder = self.folder();
        let Some(mdev) = self.mdevs.get_mut(uuid) else { return Progress::Refused(Errno::ENODEV) };
        if mdev.removing && since.is_none() {
            return Progress::Refused(Errno::EAGAIN);
        }
        mdev.removing = true;
        if host.user(uuid).is_some() {
            if since.is_none() {
                host.request_unplug(uuid);
            }
            return Progress::Waits;
        }
        mdev.gone(host, &folder);
        self.mdevs.remove(uuid);
        Progress::Done
    }

    fn register(&mut self, host: &mut Host, registered: bool) {
        if registered != self.registered {
            self.registered = registered;
            tell_parent(host, &self.folder(), self.subsystem(), registered);
        }
    }
}

impl Board for BudgetBoard {
    fn name(&self) -> String {
        self.parent()
    }

    fn has(&self, device: &str) -> bool {
        self.mdevs.contains_key(device) || self.pf.as_ref().is_some_and(|pf| pf.function(device).is_some())
    }

    fn drivers(&self) -> Vec<String> {
        self.pf.as_ref().and_then(|pf| pf.function.native.clone()).into_iter().collect()
    }

    fn has_mdev(&self) -> bool {
        true
    }

    fn driver(&self, function: &str) -> Option<String> {
        self.pf.as_ref()?.function(function)?.driver.clone()
    }

    fn draw(&self, host: &Host, sketch: &mut Sketch) {
        let folder = self.folder();
        match &self.pf {
            Some(pf) => pf.draw(host, sketch),
            None => sketch.file(format!("{folder}/uevent"), ""),
        }
        if !self.registered {
            return;
        }
        let view = |t: &BudgetType| TypeView {
            id: t.id.clone(),
            name: t.name.clone(),
            description: t.description.clone(),
            available: self.available(&t.costs),
        };
        draw_parent(&self.parent(), &folder, &self.types.iter().map(view).collect::<Vec<_>>(), sketch);
        for mdev in self.mdevs.values() {
            mdev.draw(host, &folder, self.driver, sketch);
        }
    }

    fn write(&mut self, host: &mut Host, attribute: &Attribute, text: &[u8], since: Option<Duration>) -> Progress {
        match attribute {
            Attribute::Create { mdev_type, .. } => self.create(host, mdev_type, text).into(),
            Attribute::Remove { uuid } => self.remove(host, uuid, text, since),
            other => match &mut self.pf {
                Some(pf) => pf.write(host, other, text, since).unwrap_or(Progress::Refused(Errno::EIO)),
                None => Progress::Refused(Errno::EIO),
            },
        }
    }

    fn switch_on(&mut self, host: &mut Host) {
        if let Some(pf) = &mut self.pf {
            pf.function.vfio = host.vfio();
            pf.function.driver.clone_from(&pf.function.native);
            pf.tell_added(host, &pf.function);
        }
        if self.slow_start.is_zero() {
            self.register(host, true);
        } else {
            host.after(self.slow_start, Event::DriverReady);
        }
    }

    fn switch_off(&mut self, host: &mut Host) {
        self.register(host, false);
        let folder = self.folder();
        for (uuid, mdev) in std::mem::take(&mut self.mdevs) {
            host.close(&uuid, false);
            mdev.gone(host, &folder);
        }
    }

    fn unplug(&mut self, host: &mut Host) {
        self.switch_off(host);
        if let Some(pf) = &self.pf {
            pf.tell_removed(host, &pf.function);
        }
    }

    fn happen(&mut self, host: &mut Host, event: &Event) {
        if *event == Event::DriverReady {
            self.register(host, true);
        }
    }

    fn open(&mut self, _: &mut Host, device: &str) -> Result<Option<Vfio>, Errno> {
        match (self.mdevs.get(device), &self.pf) {
            (Some(mdev), _) => Ok(Some(mdev.vfio)),
            (None, Some(pf)) => pf.open(device).map(Some),
            (None, None) => Err(Errno::ENODEV),
        }
    }
}
