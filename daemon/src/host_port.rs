//! The host, as the bus service sees it where no round has to do with it.

use std::sync::Arc;

use headstart_core::desktop::{Change, Settings};
use headstart_core::id::{DesktopName, DomainUuid};

use crate::bus::{Candidate, HostPort, Pending};
use crate::host::Host;
use crate::host::hardware::Hardware;
use crate::host::real::RealHost;
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

/// Over the real host. Whatever asks the hardware or libvirt does so on a thread of its own.
pub struct RealPort {
    hardware: Arc<Hardware>,
    host: Arc<RealHost>,
}

impl RealPort {
    /// Over this host and its hardware.
    pub fn new(hardware: Arc<Hardware>, host: Arc<RealHost>) -> Self {
        Self { hardware, host }
    }
}

impl HostPort for RealPort {
    fn candidates(&self) -> Pending<'_, Vec<Candidate>> {
        let hardware = Arc::clone(&self.hardware);
        off_the_loop(move || hardware.candidates().map_err(|error| error.to_string()))
    }

    fn settings(&self, domain: DesktopName) -> Pending<'_, Option<Settings>> {
        let host = Arc::clone(&self.host);
        off_the_loop(move || Ok(known(&host, &domain)?.1))
    }

    fn change_settings(&self, domain: DesktopName, change: Change) -> Pending<'_, Settings> {
        let host = Arc::clone(&self.host);
        off_the_loop(move || {
            let (uuid, before) = known(&host, &domain)?;
            let after = change.apply(before.unwrap_or_default()).map_err(|why| format!("{domain}: {why}"))?;
            host.libvirt().set_settings(uuid, Some(&after)).map_err(|error| error.to_string())?;
            Ok(after)
        })
    }
}

/// A domain of the real host, and what its metadata says.
fn known(host: &RealHost, name: &DesktopName) -> Result<(DomainUuid, Option<Settings>), String> {
    let seen = host.libvirt().observe().map_err(|error| error.to_string())?;
    let domain = seen.domains.into_values().find(|domain| domain.name == *name);
    let domain = domain.ok_or_else(|| format!("there is no domain {name} on this host"))?;
    Ok((domain.uuid, domain.settings))
}

fn off_the_loop<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Pending<'static, T> {
    Box::pin(async move {
        match tokio::task::spawn_blocking(work).await {
            Ok(answer) => answer,
            Err(error) => Err(format!("the host could not be asked: {error}")),
        }
    })
}
