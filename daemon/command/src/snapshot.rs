//! All of headstartd's objects at one moment, as plain values. Their serialization is the `--json` of the command.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use zbus::fdo::ManagedObjects;
use zbus::wire::{OwnedVariant, Variant};

use crate::clock::Moment;

/// Everything.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Snapshot {
    pub(crate) host: Host,
    pub(crate) gpus: Vec<Gpu>,
    pub(crate) desktops: Vec<Desktop>,
}

/// The host; names as in `org.headstart1.Host`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Host {
    pub(crate) version: String,
    pub(crate) mode: String,
    pub(crate) simulated: bool,
    pub(crate) clock: Moment,
    pub(crate) rounds: u64,
    pub(crate) model: String,
    pub(crate) goal: String,
    pub(crate) logins: u64,
    pub(crate) hits: u64,
    pub(crate) late: u64,
    pub(crate) misses: u64,
    pub(crate) wasted: u64,
    pub(crate) idle_hours: f64,
    pub(crate) holds: Vec<Hold>,
    pub(crate) problems: Vec<String>,
    pub(crate) reserved: u32,
    pub(crate) in_use: u32,
    pub(crate) waiting: u32,
}

/// A hold in force.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Hold {
    pub(crate) cookie: u32,
    pub(crate) owner: String,
    pub(crate) reason: String,
}

/// One GPU.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Gpu {
    /// Its object on the bus.
    pub(crate) path: String,
    pub(crate) address: String,
    pub(crate) name: String,
    pub(crate) partitioning: String,
    pub(crate) framebuffer_mib: u32,
    pub(crate) used_mib: u32,
    pub(crate) health: String,
    pub(crate) vgpus: Vec<Vgpu>,
    pub(crate) creatable: Vec<String>,
}

/// What exists on a GPU.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Vgpu {
    pub(crate) device: String,
    pub(crate) profile: String,
    pub(crate) holder: String,
    pub(crate) state: String,
}

/// One desktop. What is empty on the bus is null here.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Desktop {
    /// Its object on the bus.
    pub(crate) path: String,
    pub(crate) name: String,
    pub(crate) uuid: String,
    pub(crate) subject: String,
    pub(crate) attach_mode: String,
    pub(crate) priority: i32,
    pub(crate) state: String,
    pub(crate) gpu: Option<String>,
    pub(crate) device: Option<String>,
    pub(crate) profile: Option<String>,
    pub(crate) confidence: f64,
    pub(crate) next_login: Option<Moment>,
    pub(crate) today: f64,
    pub(crate) lead_seconds: u32,
    pub(crate) reason: String,
    pub(crate) problems: Vec<String>,
}

impl Desktop {
    /// Whether its GPU is there for its user.
    pub(crate) fn is_prepared(&self) -> bool {
        matches!(self.state.as_str(), "ready" | "in-use" | "grace")
    }

    /// Whether its user is there, or was a moment ago: no login is to come.
    pub(crate) fn is_in_use(&self) -> bool {
        matches!(self.state.as_str(), "in-use" | "grace")
    }
}

impl Snapshot {
    /// Reads the answer of the object manager. Objects of kinds that this version does not know are left alone.
    pub(crate) fn read(objects: ManagedObjects) -> zbus::Result<Self> {
        let (mut host, mut gpus, mut desktops) = (None, BTreeMap::new(), BTreeMap::new());
        let interfaces = objects.into_iter().flat_map(|(path, interfaces)| {
            interfaces.into_iter().map(move |(interface, values)| (path.to_string(), interface, Properties(values)))
        });
        for (path, interface, properties) in interfaces {
            match interface.as_str() {
                "org.headstart1.Host" => host = Some(read_host(properties)?),
                "org.headstart1.Gpu" => {
                    let gpu = read_gpu(path, properties)?;
                    gpus.insert(gpu.address.clone(), gpu);
                }
                "org.headstart1.Desktop" => {
                    let desktop = read_desktop(path, properties)?;
                    desktops.insert(desktop.name.clone(), desktop);
                }
                _ => {}
            }
        }
        let host = host.ok_or_else(|| zbus::Error::Failure("it has no host object".to_owned()))?;
        Ok(Self { host, gpus: gpus.into_values().collect(), desktops: desktops.into_values().collect() })
    }
}

/// Properties of one object, taken out by name.
pub(crate) struct Properties(pub(crate) HashMap<String, OwnedVariant>);

impl Properties {
    /// One value.
    pub(crate) fn take<T: TryFrom<OwnedVariant>>(&mut self, name: &str) -> zbus::Result<T> {
        let value = self.0.remove(name).ok_or_else(|| zbus::Error::Failure(format!("{name} is missing")))?;
        T::try_from(value).map_err(|_| zbus::Error::Failure(format!("{name} is of another type")))
    }

    /// A text; none if it is empty.
    pub(crate) fn text(&mut self, name: &str) -> zbus::Result<Option<String>> {
        self.take(name).map(|text: String| Some(text).filter(|text| !text.is_empty()))
    }

    /// A moment; none if it is 0.
    pub(crate) fn moment(&mut self, name: &str) -> zbus::Result<Option<Moment>> {
        self.take(name).map(|seconds: i64| Some(seconds).filter(|seconds| *seconds != 0).map(Moment::from_unix))
    }

    /// The fields of each structure of a list.
    pub(crate) fn rows(&mut self, name: &str) -> zbus::Result<Vec<Vec<OwnedVariant>>> {
        let strange = || zbus::Error::Failure(format!("{name} is of another type"));
        let value: OwnedVariant = self.0.remove(name).ok_or_else(strange)?;
        let Variant::Array(rows) = &*value else { return Err(strange()) };
        let fields = |row: &Variant<'_>| match row {
            Variant::Structure(row) => row.fields().iter().map(Variant::try_to_owned).collect(),
            _ => Err(strange()),
        };
        rows.iter().map(fields).collect()
    }
}

/// One field of a row.
fn field<T: TryFrom<OwnedVariant>>(fields: &mut std::vec::IntoIter<OwnedVariant>) -> zbus::Result<T> {
    let strange = || zbus::Error::Failure("a list has rows of another type".to_owned());
    fields.next().and_then(|field| T::try_from(field).ok()).ok_or_else(strange)
}

fn read_host(mut p: Properties) -> zbus::Result<Host> {
    let hold = |row: Vec<OwnedVariant>| {
        let mut row = row.into_iter();
        Ok(Hold { cookie: field(&mut row)?, owner: field(&mut row)?, reason: field(&mut row)? })
    };
    Ok(Host {
        version: p.take("Version")?,
        mode: p.take("Mode")?,
        simulated: p.take("Simulated")?,
        clock: Moment::from_unix(p.take("Clock")?),
        rounds: p.take("Rounds")?,
        model: p.take("Model")?,
        goal: p.take("Goal")?,
        logins: p.take("Logins")?,
        hits: p.take("Hits")?,
        late: p.take("Late")?,
        misses: p.take("Misses")?,
        wasted: p.take("Wasted")?,
        idle_hours: p.take("IdleHours")?,
        holds: p.rows("Holds")?.into_iter().map(hold).collect::<zbus::Result<_>>()?,
        problems: p.take("Problems")?,
        reserved: p.take("Reserved")?,
        in_use: p.take("InUse")?,
        waiting: p.take("Waiting")?,
    })
}

fn read_gpu(path: String, mut p: Properties) -> zbus::Result<Gpu> {
    let vgpu = |row: Vec<OwnedVariant>| {
        let mut row = row.into_iter();
        let (device, profile) = (field(&mut row)?, field(&mut row)?);
        Ok(Vgpu { device, profile, holder: field(&mut row)?, state: field(&mut row)? })
    };
    Ok(Gpu {
        path,
        address: p.take("Address")?,
        name: p.take("Name")?,
        partitioning: p.take("Partitioning")?,
        framebuffer_mib: p.take("FramebufferMib")?,
        used_mib: p.take("UsedMib")?,
        health: p.take("Health")?,
        vgpus: p.rows("Vgpus")?.into_iter().map(vgpu).collect::<zbus::Result<_>>()?,
        creatable: p.take("Creatable")?,
    })
}

fn read_desktop(path: String, mut p: Properties) -> zbus::Result<Desktop> {
    Ok(Desktop {
        path,
        name: p.take("Name")?,
        uuid: p.take("Uuid")?,
        subject: p.take("Subject")?,
        attach_mode: p.take("AttachMode")?,
        priority: p.take("Priority")?,
        state: p.take("State")?,
        gpu: p.text("Gpu")?,
        device: p.text("Device")?,
        profile: p.text("Profile")?,
        confidence: p.take("Confidence")?,
        next_login: p.moment("NextLogin")?,
        today: p.take("Today")?,
        lead_seconds: p.take("LeadSeconds")?,
        reason: p.take("Reason")?,
        problems: p.take("Problems")?,
    })
}
