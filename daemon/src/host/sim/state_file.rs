//! The simulated host on disk, so that it outlives the daemon as a real host does: a daemon that was killed finds the devices, the
//! guests and the hour as it left them.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use headstart_core::gpu::{DeviceId, Instance, Opened, Vgpu};
use headstart_core::id::{DomainUuid, GpuId, ProfileName};
use headstart_core::observed::{Attachment, Hostdev, Power};
use headstart_core::unit::Time;
use serde::{Deserialize, Serialize};

use super::State;

/// The whole host at one instant.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Image {
    /// The clock.
    pub(super) now: Time,
    vgpus: Vec<SavedVgpu>,
    #[serde(default)]
    instances: Vec<SavedInstance>,
    guests: Vec<SavedGuest>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedVgpu {
    gpu: GpuId,
    device: String,
    profile: Option<ProfileName>,
    start: Option<u16>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedInstance {
    gpu: GpuId,
    id: u32,
    profile: Option<ProfileName>,
    start: u16,
    slots: u16,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedGuest {
    uuid: DomainUuid,
    power: SavedPower,
    power_until: Option<Time>,
    hostdevs: Vec<SavedHostdev>,
    detach_until: Option<Time>,
    user: Option<Time>,
    without_gpu: bool,
}

#[derive(Debug, Serialize, Deserialize)]
enum SavedPower {
    Off,
    Starting,
    Up,
    Stopping,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedHostdev {
    device: String,
    detaching: bool,
    refused: bool,
    ours: bool,
}

fn device(text: &str) -> io::Result<DeviceId> {
    let vf = text.parse().map(DeviceId::Vf);
    vf.or_else(|_| text.parse().map(DeviceId::Mdev)).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

impl Image {
    /// What a file holds; none if there is no file yet.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(path) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whole or not at all: a kill in the middle leaves the image before.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let new = path.with_extension("new");
        std::fs::write(&new, serde_json::to_vec(self)?)?;
        std::fs::rename(&new, path)
    }

    pub(super) fn of(state: &State, now: Time) -> Self {
        let vgpus = state.gpus.values().flat_map(|gpu| {
            gpu.vgpus.iter().map(|(device, vgpu)| SavedVgpu {
                gpu: gpu.address,
                device: device.to_string(),
                profile: vgpu.profile.clone(),
                start: vgpu.start,
            })
        });
        let instances = state.gpus.values().flat_map(|gpu| {
            gpu.instances.iter().flatten().map(|(id, it)| SavedInstance {
                gpu: gpu.address,
                id: *id,
                profile: it.profile.clone(),
                start: it.start,
                slots: it.slots,
            })
        });
        let guests = state.guests.values().map(|guest| SavedGuest {
            uuid: guest.spec.uuid,
            power: match guest.power {
                Power::Running { ready: true } => SavedPower::Up,
                Power::Running { ready: false } => SavedPower::Starting,
                Power::Stopping => SavedPower::Stopping,
                Power::Off | Power::Starting | Power::Unknown(_) => SavedPower::Off,
            },
            power_until: guest.power_until,
            hostdevs: guest
                .hostdevs
                .iter()
                .map(|hostdev| SavedHostdev {
                    device: hostdev.device.to_string(),
                    detaching: hostdev.attachment == Attachment::Detaching,
                    refused: hostdev.attachment == Attachment::DetachRefused,
                    ours: hostdev.ours,
                })
                .collect(),
            detach_until: guest.detach_until,
            user: guest.user,
            without_gpu: guest.without_gpu,
        });
        Self { now, vgpus: vgpus.collect(), instances: instances.collect(), guests: guests.collect() }
    }

    /// Puts the host into this state. What the description no longer has is left out.
    pub(super) fn restore(self, state: &mut State) -> io::Result<()> {
        for gpu in state.gpus.values_mut() {
            gpu.vgpus.clear();
            gpu.instances.iter_mut().for_each(BTreeMap::clear);
        }
        for saved in self.instances {
            if let Some(instances) = state.gpus.get_mut(&saved.gpu).and_then(|gpu| gpu.instances.as_mut()) {
                let (profile, start, slots) = (saved.profile, saved.start, saved.slots);
                instances.insert(saved.id, Instance { profile, start, slots, used: Opened::No });
            }
        }
        for saved in self.vgpus {
            if let Some(gpu) = state.gpus.get_mut(&saved.gpu) {
                let vgpu = Vgpu { profile: saved.profile, start: saved.start, opened: Opened::No };
                gpu.vgpus.insert(device(&saved.device)?, vgpu);
            }
        }
        state.gpus.values_mut().for_each(super::hardware::mark_instances);
        for saved in self.guests {
            let Some(guest) = state.guests.get_mut(&saved.uuid) else { continue };
            let power = match saved.power {
                SavedPower::Off => Power::Off,
                SavedPower::Starting => Power::Running { ready: false },
                SavedPower::Up => Power::Running { ready: true },
                SavedPower::Stopping => Power::Stopping,
            };
            guest.set_power(power, saved.power_until);
            guest.hostdevs = saved
                .hostdevs
                .into_iter()
                .map(|hostdev| {
                    let attachment = match (hostdev.detaching, hostdev.refused) {
                        (true, _) => Attachment::Detaching,
                        (_, true) => Attachment::DetachRefused,
                        _ => Attachment::Attached,
                    };
                    Ok(Hostdev { device: device(&hostdev.device)?, attachment, ours: hostdev.ours })
                })
                .collect::<io::Result<_>>()?;
            guest.detach_until = saved.detach_until;
            guest.user = saved.user;
            guest.without_gpu = saved.without_gpu;
        }
        Ok(())
    }
}
