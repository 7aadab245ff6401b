//! The host, as the bus service sees it where no round has to do with it.

use std::sync::Arc;

use headstart_core::desktop::{Change, Settings};
use headstart_core::id::DesktopName;

use crate::bus::{Candidate, HostPort, Pending};
use crate::host::Host;
use crate::host::sim::SimHost;

/// Over a simulated host, all of whose GPUs are headstart's.
pub struct SimPort(Arc<SimHost>);

impl SimPort {
    /// Over this host.
    pub fn new(host: Arc<SimHost>) -> Self {
        Self(host)
    }

    fn known(&self, domain: &DesktopName) -> Result<Option<Settings>, String> {
        self.0.settings(domain).ok_or_else(|| format!("there is no domain {domain} on this host"))
    }
}

impl HostPort for SimPort {
    fn candidates(&self) -> Pending<'_, Vec<Candidate>> {
        let observed = self.0.observe();
        let owned = observed.gpus.values().map(|gpu| Candidate {
            id: gpu.address,
            name: gpu.name.clone(),
            driver: None,
            interface: Some(gpu.interface),
            vfs: u16::try_from(gpu.vfs.len()).unwrap_or(u16::MAX),
            owned: true,
            note: None,
        });
        let owned = owned.collect();
        Box::pin(async move { Ok(owned) })
    }

    fn settings(&self, domain: DesktopName) -> Pending<'_, Option<Settings>> {
        Box::pin(async move { self.known(&domain) })
    }

    fn change_settings(&self, domain: DesktopName, change: Change) -> Pending<'_, Settings> {
        Box::pin(async move {
            let before = self.known(&domain)?.unwrap_or_default();
            let after = change.apply(before).map_err(|why| format!("{domain}: {why}"))?;
            self.0.set_settings(&domain, after.clone());
            Ok(after)
        })
    }
}
