//! Carrying out one step: compare with what it relies on, write, read back.

use std::time::Duration;

use headstart_core::desktop::Settings;
use headstart_core::gpu::DeviceId;
use headstart_core::id::{DomainUuid, PciAddress};
use headstart_core::observed::{Attachment, Login, Power};
use headstart_core::step::{Applied, FailureKind, Step, StepError};
use virt::domain::Domain;
use virt::error::Error;
use virt::sys;

use super::connection::Open;
use super::failure::{conflict, step_error};
use super::login::NO_AGENT;
use super::look::{Said, Sides, power};
use super::{LibvirtError, Shared, VfKind, ffi, read};
use crate::host::desktop_xml::{self, DesktopXml};
use crate::host::domain_xml;

/// How long a step waits until libvirt has room for another call that takes long. In the morning many desktops start at once, each
/// for up to 25 s (the vGPU's opening); the loop reports a step as hanging after 300 s.
const PATIENCE: Duration = Duration::from_secs(240);
/// The first libvirt that can give a VF with a vendor's VFIO variant driver to a domain (its release notes), as it counts versions.
const VARIANT_DRIVERS: u32 = 9_007_000;

/// One step under way on one domain.
pub(super) struct Act<'a> {
    shared: &'a Shared,
    open: &'a Open,
    domain: Domain,
    said: Said,
    sides: Sides,
}

type Outcome = Result<Applied, StepError>;

/// Carries out a step.
pub(super) fn apply(shared: &Shared, step: &Step) -> Outcome {
    let transient = |error: LibvirtError| StepError { kind: FailureKind::Transient, text: error.to_string() };
    let Some(uuid) = step.domain() else {
        return Err(StepError {
            kind: FailureKind::Unsupported,
            text: format!("could not {step}: it is no affair of libvirt's"),
        });
    };
    let open = shared.connection.get().map_err(transient)?;
    let result = begin(shared, &open, uuid).and_then(|act| act.step(step));
    // Whatever it looked like, a dead connection is the reason.
    result.map_err(|error| shared.connection.check(&open).map_or(error, transient))
}

/// Finds the domain and reads it.
pub(super) fn begin<'a>(shared: &'a Shared, open: &'a Open, uuid: DomainUuid) -> Result<Act<'a>, StepError> {
    let id = uuid.to_string();
    let domain = open.connect.lookup_domain_by_uuid(uuid.uuid()).map_err(|error| step_error(&id, "find it", &error))?;
    let said = read::domain(&domain).map_err(|error| step_error(&id, "read it", &error))?;
    let said =
        said.ok_or_else(|| StepError { kind: FailureKind::Gone, text: format!("{id}: it is not there any more") })?;
    let sides = Sides::read(&said)
        .map_err(|error| StepError { kind: FailureKind::Transient, text: format!("{}: {error}", said.name) })?;
    Ok(Act { shared, open, domain, said, sides })
}

/// Writes, changes or takes away the metadata that makes a domain a desktop.
pub(super) fn set_settings(shared: &Shared, uuid: DomainUuid, settings: Option<&Settings>) -> Outcome {
    let transient = |error: LibvirtError| StepError { kind: FailureKind::Transient, text: error.to_string() };
    let open = shared.connection.get().map_err(transient)?;
    let result = begin(shared, &open, uuid).and_then(|act| act.set_settings(settings));
    result.map_err(|error| shared.connection.check(&open).map_or(error, transient))
}

impl Act<'_> {
    fn set_settings(&self, settings: Option<&Settings>) -> Outcome {
        let wanted = DesktopXml { settings: settings.cloned(), mistakes: Vec::new() };
        let sides =
            [(&self.sides.live, sys::VIR_DOMAIN_AFFECT_LIVE), (&self.sides.config, sys::VIR_DOMAIN_AFFECT_CONFIG)];
        let mut applied = Applied::AlreadySo;
        let text = settings.map(desktop_xml::write);
        for (side, flag) in sides {
            if side.as_ref().is_none_or(|side| side.desktop == wanted) {
                continue;
            }
            let kind = sys::VIR_DOMAIN_METADATA_ELEMENT as i32;
            let (key, uri) = (Some(desktop_xml::KEY), Some(desktop_xml::NAMESPACE));
            let set = self.domain.set_metadata(kind, text.as_deref(), key, uri, flag);
            set.map_err(|error| self.error("change its metadata", &error))?;
            applied = Applied::Changed;
        }
        Ok(applied)
    }

    fn step(mut self, step: &Step) -> Outcome {
        match step {
            Step::AttachHostdev { device, live, .. } => self.attach(*device, *live),
            Step::DetachHostdev { device, live, .. } => self.detach(*device, *live),
            Step::StartDomain { .. } => self.start(),
            Step::ShutDownDomain { .. } => self.shut_down(),
            _ => Err(self.failure(FailureKind::Unsupported, format!("could not {step}: it is no affair of libvirt's"))),
        }
    }

    fn failure(&self, kind: FailureKind, text: impl std::fmt::Display) -> StepError {
        StepError { kind, text: format!("{}: {text}", self.said.name) }
    }

    fn conflict(&self, text: impl std::fmt::Display) -> StepError {
        conflict(&self.said.name, text)
    }

    fn error(&self, what: &str, error: &Error) -> StepError {
        step_error(&self.said.name, what, error)
    }

    /// The domain runs, or is off, as the step relies on.
    fn power_is(&self, live: bool) -> Result<(), StepError> {
        match (power(&self.said), live) {
            (Power::Running { .. }, true) | (Power::Off, false) => Ok(()),
            (Power::Unknown(why), _) => Err(self.conflict(why)),
            (Power::Running { .. }, false) => Err(self.conflict("it runs, and was thought to be off")),
            (Power::Off, true) => Err(self.conflict("it is off, and was thought to run")),
            (Power::Starting, _) => Err(self.conflict("it is being started")),
            (Power::Stopping, _) => Err(self.conflict("it is shutting down")),
        }
    }

    /// Reads both sides again.
    fn read_again(&mut self) -> Result<(), StepError> {
        let said = read::domain(&self.domain).map_err(|error| self.error("read it", &error))?;
        self.said = said.ok_or_else(|| self.failure(FailureKind::Gone, "it is not there any more"))?;
        self.sides = Sides::read(&self.said).map_err(|error| self.failure(FailureKind::Transient, error))?;
        Ok(())
    }

    fn attach(&mut self, device: DeviceId, live: bool) -> Outcome {
        self.power_is(live)?;
        if self.names(device, live) {
            return if self.sides.mention(device).ours {
                Ok(Applied::AlreadySo)
            } else {
                Err(self.conflict(format!("it names {device} already, and headstart did not attach it")))
            };
        }
        if let Some(other) = self.sides.ours() {
            return Err(self.conflict(format!("it has {other} of headstart already")));
        }
        if let Some(other) = self.named_elsewhere(device)? {
            return Err(self.conflict(format!("{device} is named by {other}")));
        }
        let managed = self.managed(device)?;
        if live && self.sides.live.as_ref().and_then(|xml| xml.free_ports) == Some(0) {
            let text = "no PCI port is free that could be plugged into while it runs: give it spare <controller type='pci' \
                        model='pcie-root-port'/> and start it anew";
            return Err(self.failure(FailureKind::Exhausted, text));
        }
        let flag = if live { sys::VIR_DOMAIN_AFFECT_LIVE } else { sys::VIR_DOMAIN_AFFECT_CONFIG };
        {
            let _long = self.long_call()?;
            let xml = domain_xml::hostdev(device, managed);
            let attached = self.domain.attach_device_flags(&xml, flag);
            attached.map_err(|error| self.error(&format!("attach {device}"), &error))?;
        }
        self.read_again()?;
        if self.names(device, live) {
            Ok(Applied::Changed)
        } else {
            Err(self.conflict(format!("libvirt attached {device}, and it is not there")))
        }
    }

    /// The running instance, or the definition, names the device.
    fn names(&self, device: DeviceId, live: bool) -> bool {
        let mention = self.sides.mention(device);
        if live { mention.live } else { mention.config }
    }

    /// Whether libvirt binds the device to its VFIO driver. A VF with a vendor's driver must keep it.
    fn managed(&self, device: DeviceId) -> Result<bool, StepError> {
        let DeviceId::Vf(address) = device else { return Ok(false) };
        match (self.shared.options.vf_kind)(address) {
            VfKind::Plain => Ok(true),
            VfKind::Variant if self.open.version >= VARIANT_DRIVERS => Ok(false),
            VfKind::Variant => Err(self.old_libvirt(address)),
        }
    }

    fn old_libvirt(&self, address: PciAddress) -> StepError {
        let version = |n: u32| format!("{}.{}.{}", n / 1_000_000, n / 1000 % 1000, n % 1000);
        let (has, needs) = (version(self.open.version), version(VARIANT_DRIVERS));
        let text = format!(
            "VF {address} keeps its vendor's VFIO driver, which libvirt {has} cannot pass on: {needs} or later is needed"
        );
        self.failure(FailureKind::Unsupported, text)
    }

    /// The name of another domain that names this device.
    fn named_elsewhere(&self, device: DeviceId) -> Result<Option<String>, StepError> {
        let others = read::others(&self.open.connect, Some(self.said.uuid));
        for said in others.map_err(|error| self.error("look at the other domains", &error))? {
            let sides = Sides::read(&said)
                .map_err(|error| self.conflict(format!("{device} may be named by {}: {error}", said.name)))?;
            if sides.devices().contains(&device) {
                return Ok(Some(said.name));
            }
        }
        Ok(None)
    }

    fn detach(&mut self, device: DeviceId, live: bool) -> Outcome {
        let mention = self.sides.mention(device);
        if !mention.live && !mention.config {
            return Ok(Applied::AlreadySo);
        }
        if !mention.ours {
            return Err(self.conflict(format!("headstart did not attach {device}, so it does not take it out")));
        }
        self.power_is(live)?;
        self.nobody_there()?;
        // The definition first: if the guest refuses, or we are killed in between, the device goes when the guest does.
        if mention.config {
            let alias = self.alias(device, false)?;
            let detached = ffi::detach_alias(&self.domain, &alias, sys::VIR_DOMAIN_AFFECT_CONFIG);
            detached.map_err(|error| self.error(&format!("take {device} out of its definition"), &error))?;
        }
        if mention.live {
            return self.unplug(device);
        }
        self.read_again()?;
        if self.sides.mention(device).config {
            return Err(self.conflict(format!("libvirt took {device} out of its definition, and it is still there")));
        }
        Ok(Applied::Changed)
    }

    /// The alias under which one side names the device.
    fn alias(&self, device: DeviceId, live: bool) -> Result<String, StepError> {
        let side = if live { &self.sides.live } else { &self.sides.config };
        let named = side.as_ref().and_then(|xml| xml.device(device));
        let alias = named.and_then(|named| named.alias.clone());
        alias.ok_or_else(|| self.conflict(format!("{device} has no alias there any more")))
    }

    /// Asks the guest to let go, and does not wait. The answer is an event, a later look, or a deadline.
    fn unplug(&self, device: DeviceId) -> Outcome {
        let alias = self.alias(device, true)?;
        let now = self.shared.now();
        let Some(id) = self.sides.run() else { return Err(self.conflict("it stopped")) };
        let before = self.shared.memory().run(self.said.uuid, id, now.at).attachment(&alias, now.at).0;
        if before == Attachment::Detaching {
            return Ok(Applied::AlreadySo);
        }
        let refused = |why: String| {
            self.shared.memory().run(self.said.uuid, id, now.at).unplug_refused(&alias, why.clone());
            self.conflict(format!("{device} cannot be taken out while it runs: {why}"))
        };
        let stays = self.sides.live.as_ref().and_then(|xml| xml.device(device)).is_some_and(|named| named.stays);
        if stays {
            return Err(refused("it shows the guest's screen from the start (ramfb)".to_owned()));
        }
        let _long = self.long_call()?;
        // Known before it is asked: the answer may come first.
        self.shared.memory().run(self.said.uuid, id, now.at).unplug_asked(&alias, now.at);
        match ffi::detach_alias(&self.domain, &alias, sys::VIR_DOMAIN_AFFECT_LIVE) {
            Ok(()) => Ok(Applied::Changed),
            // Asked before this daemon started, and the guest is still at it.
            Err(error) if error.message().contains("in the process of unplug") => Ok(Applied::AlreadySo),
            Err(error) => {
                let failure = self.error(&format!("unplug {device}"), &error);
                let passing = error.code().known().is_some_and(|code| PASSING.contains(&code))
                    || error.domain().is(virt::error::ErrorDomain::Rpc)
                    || !self.open.connect.is_alive().unwrap_or(false);
                // Everything else is libvirt's word that it will not do it.
                if !passing && !matches!(failure.kind, FailureKind::Gone | FailureKind::Denied) {
                    return Err(refused(error.message().to_owned()));
                }
                self.shared.memory().run(self.said.uuid, id, now.at).unplug_not_asked(&alias);
                Err(failure)
            }
        }
    }

    fn start(&mut self) -> Outcome {
        match power(&self.said) {
            Power::Running { .. } | Power::Starting => return Ok(Applied::AlreadySo),
            Power::Off => {}
            Power::Unknown(why) => return Err(self.conflict(why)),
            Power::Stopping => return Err(self.conflict("it is shutting down")),
        }
        let _long = self.long_call()?;
        self.domain.create().map_err(|error| self.error("start it", &error))?;
        Ok(Applied::Changed)
    }

    fn shut_down(&mut self) -> Outcome {
        let Some(id) = self.sides.run() else { return Ok(Applied::AlreadySo) };
        match power(&self.said) {
            Power::Running { .. } => {}
            Power::Starting => return Err(self.conflict("it is being started")),
            Power::Off | Power::Stopping => return Ok(Applied::AlreadySo),
            Power::Unknown(why) => return Err(self.conflict(why)),
        }
        self.nobody_there()?;
        let now = self.shared.now();
        if self.shared.memory().run(self.said.uuid, id, now.at).shuts_down(now.at) {
            return Ok(Applied::AlreadySo);
        }
        let _long = self.long_call()?;
        // libvirt chooses: the guest agent if it is there, else the power button.
        self.domain.shutdown().map_err(|error| self.error("shut it down", &error))?;
        self.shared.memory().run(self.said.uuid, id, now.at).shutdown_asked(now);
        Ok(Applied::Changed)
    }

    /// Nobody is logged in, as far as can be told right now: somebody may have come since the last look.
    fn nobody_there(&self) -> Result<(), StepError> {
        match self.shared.login_now(&self.domain, &self.said, &self.sides) {
            Login::None => Ok(()),
            Login::Active { since } => Err(self.conflict(format!("somebody is logged in since {since}"))),
            Login::Waiting { since } => Err(self.conflict(format!("somebody is at its screen since {since}"))),
            // That nobody tells was known when the step was decided; that somebody has come is what is asked here.
            Login::Unknown(why) if why == NO_AGENT => Ok(()),
            Login::Unknown(why) => Err(self.conflict(why)),
        }
    }

    fn long_call(&self) -> Result<super::connection::LongCall<'_>, StepError> {
        self.shared.connection.long_call(PATIENCE).ok_or_else(|| {
            let text = format!("libvirt has been busy with other domains for {} s", PATIENCE.as_secs());
            self.failure(FailureKind::Transient, text)
        })
    }
}

/// Errors of an unplug that say nothing about the guest. Neither does what a connection says that breaks: the libvirt of Debian 13 calls
/// it an internal error of its RPC, and whoever took that for a refusal would have an idle desktop shut down.
const PASSING: [virt::error::ErrorNumber; 4] = [
    virt::error::ErrorNumber::OperationTimeout,
    virt::error::ErrorNumber::ResourceBusy,
    virt::error::ErrorNumber::Rpc,
    virt::error::ErrorNumber::SystemError,
];
