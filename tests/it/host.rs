//! The simulated host as `--simulate-state` keeps it: what a look at a real host would show while nobody runs headstartd.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::scene::Scene;

/// The file, in the folder of a scene.
pub(crate) const FILE: &str = "state.json";

/// One image.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Host {
    /// The hour.
    pub(crate) now: i64,
    /// Every device with its GPU and profile.
    pub(crate) vgpus: BTreeMap<String, (String, String)>,
    pub(crate) guests: BTreeMap<String, Guest>,
}

/// A domain, by UUID.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Guest {
    /// Off, Starting, Up or Stopping.
    pub(crate) power: String,
    /// Devices that headstart attached and that are not on their way out.
    pub(crate) ours: BTreeSet<String>,
    pub(crate) all: BTreeSet<String>,
    /// Devices that somebody else attached.
    pub(crate) foreign: BTreeSet<String>,
    /// Since when somebody is there.
    pub(crate) user: Option<i64>,
}

impl Host {
    /// As it is now; none before the first daemon has looked at it.
    pub(crate) fn read(scene: &Scene) -> Option<Self> {
        let text = std::fs::read(scene.path(FILE)).ok()?;
        let image: Value = serde_json::from_slice(&text).expect("it is whole at any moment");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let vgpus = list(&image["vgpus"]);
        let vgpus = vgpus.iter().map(|vgpu| (text(&vgpu["device"]), (text(&vgpu["gpu"]), text(&vgpu["profile"]))));
        let guests = list(&image["guests"]);
        let guests = guests.iter().map(|guest| (text(&guest["uuid"]), Guest::of(guest)));
        Some(Self { now: image["now"].as_i64().expect("an hour"), vgpus: vgpus.collect(), guests: guests.collect() })
    }

    /// Devices that no domain names. Those of a GPU with fixed VFs are there by themselves.
    pub(crate) fn idle(&self, fixed: &str) -> BTreeSet<String> {
        let attached: BTreeSet<&String> = self.guests.values().flat_map(|guest| &guest.all).collect();
        let made = self.vgpus.iter().filter(|(_, (gpu, _))| gpu != fixed);
        made.map(|(device, _)| device).filter(|device| !attached.contains(device)).cloned().collect()
    }

    /// What strangers have: domain and device, and that device's GPU and profile, if it is still there.
    pub(crate) fn foreign(&self) -> BTreeMap<(String, String), Option<(String, String)>> {
        let held = self.guests.iter().flat_map(|(uuid, guest)| guest.foreign.iter().map(move |device| (uuid, device)));
        held.map(|(uuid, device)| ((uuid.clone(), device.clone()), self.vgpus.get(device).cloned())).collect()
    }
}

impl Guest {
    fn of(guest: &Value) -> Self {
        let devices = |fits: &dyn Fn(&Value) -> bool| {
            let hostdevs = guest["hostdevs"].as_array().into_iter().flatten();
            hostdevs
                .filter(|hostdev| fits(hostdev))
                .filter_map(|hostdev| hostdev["device"].as_str())
                .map(str::to_owned)
                .collect()
        };
        Self {
            power: guest["power"].as_str().unwrap_or_default().to_owned(),
            ours: devices(&|hostdev| hostdev["ours"] == true && hostdev["detaching"] == false),
            foreign: devices(&|hostdev| hostdev["ours"] == false),
            all: devices(&|_| true),
            user: guest["user"].as_i64(),
        }
    }
}
