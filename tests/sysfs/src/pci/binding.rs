//! Which driver has a function: override, bind, unbind, probe.

use std::time::Duration;

use nix::errno::Errno;

use super::Physical;
use crate::attribute::word;
use crate::board::Progress;
use crate::host::Host;

impl Physical {
    pub(super) fn write_autoprobe(&mut self, text: &[u8]) -> Result<(), Errno> {
        let on = match word(text)?.as_str() {
            "1" | "y" | "Y" | "on" => true,
            "0" | "n" | "N" | "off" => false,
            _ => return Err(Errno::EINVAL),
        };
        self.sriov.as_mut().ok_or(Errno::ENOENT)?.autoprobe = on;
        Ok(())
    }

    pub(super) fn write_override(&mut self, function: &str, text: &[u8]) -> Result<(), Errno> {
        let driver = word(text)?;
        let function = self.function_mut(function).ok_or(Errno::ENODEV)?;
        function.driver_override = Some(driver).filter(|driver| !driver.is_empty());
        Ok(())
    }

    pub(super) fn bind(&mut self, host: &mut Host, driver: &str, text: &[u8]) -> Result<(), Errno> {
        let id = word(text)?;
        let function = self.function_mut(&id).ok_or(Errno::ENODEV)?;
        if function.driver.is_some() {
            return Err(Errno::EBUSY);
        }
        // vfio-pci takes nothing that was not given to it by name.
        let taken = match &function.driver_override {
            Some(chosen) => chosen == driver,
            None => function.native.as_deref() == Some(driver),
        };
        if !taken {
            return Err(Errno::ENODEV);
        }
        function.driver = Some(driver.to_owned());
        let function = function.clone();
        self.tell_bound(host, &function);
        Ok(())
    }

    pub(super) fn unbind(&mut self, host: &mut Host, driver: &str, text: &[u8], since: Option<Duration>) -> Progress {
        let Ok(id) = word(text) else { return Progress::Refused(Errno::EINVAL) };
        let physical = id == self.function.id();
        let Some(function) = self.function(&id) else { return Progress::Refused(Errno::ENODEV) };
        if function.driver.as_deref() != Some(driver) {
            return Progress::Refused(Errno::ENODEV);
        }
        let held = host.user(&id).is_some() || physical && self.virtual_functions_held(host, since.is_none());
        if host.user(&id).is_some() && since.is_none() {
            host.request_unplug(&id);
        }
        if held {
            return Progress::Waits;
        }
        if physical {
            self.disable(host);
        }
        if let Some(function) = self.function_mut(&id) {
            function.driver = None;
            let path = self.folder(self.function(&id).map_or(self.function.address, |function| function.address));
            host.tell("unbind", &path, "pci", &[("PCI_SLOT_NAME", &id)]);
        }
        Progress::Done
    }

    pub(super) fn probe(&mut self, host: &mut Host, text: &[u8]) -> Result<(), Errno> {
        let id = word(text)?;
        let function = self.function_mut(&id).ok_or(Errno::ENODEV)?;
        if function.driver.is_none() {
            function.driver = function.driver_override.clone().or_else(|| function.native.clone());
            let function = function.clone();
            self.tell_bound(host, &function);
        }
        Ok(())
    }
}
