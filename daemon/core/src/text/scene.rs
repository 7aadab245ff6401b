//! Reading a scene. Each line is one thing, each word one property, so that a test says only what it is about.

use std::collections::BTreeMap;
use std::str::FromStr;

use uuid::Uuid;

use crate::chance::Chance;
use crate::desktop::{AttachMode, Desktop, MissingGpu};
use crate::gpu::{DeviceId, Gpu, GpuState, Instance, Interface, Opened, Partitioning, Profile, Vgpu};
use crate::id::{DomainUuid, GpuId, MdevUuid, Subject};
use crate::observed::{Attachment, Domain, Gap, Hostdev, Login, Observed, Power};
use crate::plan::{Quarantine, Situation, Standing};
use crate::policy::Policy;
use crate::request::{Preallocation, Wish};
use crate::track::{Track, Tracks};
use crate::unit::{FramebufferMib, Probability, Span, Time};

/// Namespace of the UUIDs of domains and strangers' mdevs that a scene names. A random number.
const NAMESPACE: Uuid = Uuid::from_u128(0x2d53_9c0e_71c4_4f1b_a2d8_6f0b_3c5e_9a17);
/// When a scene plays: 2026-03-02 08:00 UTC, a Monday.
const NOW: Time = Time::from_unix(1_772_438_400);

/// Everything a plan is made of, owned.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// When.
    pub now: Time,
    /// What the administrator decided.
    pub policy: Policy,
    /// The host.
    pub observed: Observed,
    /// Who is managed.
    pub desktops: BTreeMap<DomainUuid, Desktop>,
    /// How likely logins are.
    pub chances: BTreeMap<DomainUuid, Chance>,
    /// How early to start.
    pub leads: BTreeMap<DomainUuid, Span>,
    /// Requests.
    pub standing: BTreeMap<DomainUuid, Standing>,
    /// Memories.
    pub tracks: Tracks,
    /// What takes nothing new.
    pub quarantine: Quarantine,
}

/// A line that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}: {text:?}")]
pub struct BadScene {
    line: usize,
    text: String,
    why: String,
}

impl Scene {
    /// As the planner takes it.
    pub fn situation(&self) -> Situation<'_> {
        Situation {
            now: self.now,
            policy: &self.policy,
            desktops: &self.desktops,
            chances: &self.chances,
            leads: &self.leads,
            standing: &self.standing,
            tracks: &self.tracks,
            quarantine: &self.quarantine,
            observed: &self.observed,
        }
    }

    /// The identity of the domain that a scene calls so.
    pub fn uuid(name: &str) -> DomainUuid {
        DomainUuid::new(Uuid::new_v5(&NAMESPACE, name.as_bytes()))
    }
}

impl FromStr for Scene {
    type Err = BadScene;
    fn from_str(text: &str) -> Result<Self, BadScene> {
        let mut scene = Scene { now: NOW, ..Scene::default() };
        let mut gpu = None;
        for (at, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let parsed = match words.as_slice() {
                [] => Ok(()),
                ["gpu", rest @ ..] => scene.gpu(rest).map(|address| gpu = Some(address)),
                ["desktop", name, attach, profiles, power, rest @ ..] => {
                    scene.desktop(name, attach, profiles).and_then(|()| scene.domain(name, power, rest))
                }
                ["domain", name, power, rest @ ..] => scene.domain(name, power, rest),
                ["gap", "domains"] => {
                    scene.observed.gaps.insert(Gap::Domains);
                    Ok(())
                }
                ["gap", pf] => address(pf).map(|address| {
                    scene.observed.gaps.insert(Gap::Gpu(address));
                }),
                ["policy", "keep-spare"] => {
                    scene.policy.keep_spare = true;
                    Ok(())
                }
                ["policy", "keep-running"] => {
                    scene.policy.shut_down_after_logout = false;
                    Ok(())
                }
                words => match gpu.and_then(|address| scene.observed.gpus.get_mut(&address)) {
                    Some(gpu) => on_gpu(gpu, words),
                    None => Err("belongs to no gpu".into()),
                },
            };
            parsed.map_err(|why| BadScene { line: at + 1, text: line.trim().to_owned(), why })?;
        }
        Ok(scene)
    }
}

impl Scene {
    fn gpu(&mut self, words: &[&str]) -> Result<GpuId, String> {
        let [pf, interface, partitioning, mib, rest @ ..] = words else {
            return Err("expected: gpu PF INTERFACE PARTITIONING MIB".into());
        };
        let address = address(pf)?;
        let interface = match *interface {
            "mdev" => Interface::Mdev,
            "vfio-variant" => Interface::VfioVariant,
            "sriov" => Interface::Vf,
            other => return Err(format!("no interface {other}")),
        };
        let (kind, count) = partitioning.split_once(':').unwrap_or((partitioning, "0"));
        let partitioning = match kind {
            "equal-size" => Partitioning::EqualSize { series_may_mix: true },
            "one-type" => Partitioning::EqualSize { series_may_mix: false },
            "mixed-size" => Partitioning::MixedSize { slots: number(count)? },
            "mig" => Partitioning::Mig { slots: number(count)? },
            "budget" => Partitioning::Budget { slots: number(count)? },
            "fixed-vfs" => Partitioning::FixedVfs,
            "sriov" => Partitioning::SrIov { vfs: number(count)? },
            other => return Err(format!("no partitioning {other}")),
        };
        let mut gpu = Gpu {
            address,
            name: (*pf).to_owned(),
            framebuffer: FramebufferMib::new(number(mib)?),
            interface,
            partitioning,
            profiles: Vec::new(),
            vfs: Vec::new(),
            dormant_vfs: 0,
            vgpus: BTreeMap::new(),
            instances: None,
            state: GpuState::Ready,
        };
        for word in rest {
            match word.split_once('=') {
                Some(("vfs", n)) => gpu.vfs = (1..=number(n)?).filter_map(|n| address.offset(n)).collect(),
                None if *word == "gpu-instances" => gpu.instances = Some(BTreeMap::new()),
                Some(("vfs-off", n)) => gpu.dormant_vfs = number(n)?,
                Some(("state", "not-ready")) => gpu.state = GpuState::NotReady("driver missing".into()),
                Some(("state", "unknown")) => gpu.state = GpuState::Unknown("not readable".into()),
                Some(("quarantine", why)) => {
                    self.quarantine.gpus.insert(address, why.to_owned());
                }
                _ => return Err(format!("no property {word}")),
            }
        }
        self.observed.gpus.insert(address, gpu);
        Ok(address)
    }

    fn desktop(&mut self, name: &str, attach: &str, profiles: &str) -> Result<(), String> {
        let uuid = Self::uuid(name);
        let profiles: Result<Vec<_>, _> = profiles.split(',').map(str::parse).collect();
        let name: crate::id::DesktopName = name.parse().map_err(text)?;
        let desktop = Desktop {
            uuid,
            subject: Subject::Desktop(name.clone()),
            name,
            user: None,
            attach: attach.parse::<AttachMode>().map_err(text)?,
            priority: 0,
            profiles: profiles.map_err(text)?,
            time_zone: jiff::tz::TimeZone::UTC,
            lead: None,
            preallocate: true,
            missing_gpu: MissingGpu::default(),
            presence: crate::presence::Presence::default(),
            hours: None,
            group: None,
        };
        self.desktops.insert(uuid, desktop);
        self.tracks.insert(uuid, Track::default());
        Ok(())
    }

    fn domain(&mut self, name: &str, power: &str, words: &[&str]) -> Result<(), String> {
        let uuid = Self::uuid(name);
        let mut domain = Domain {
            uuid,
            name: name.parse().map_err(text)?,
            power: match power {
                "off" => Power::Off,
                "starting" => Power::Starting,
                "booting" => Power::Running { ready: false },
                "running" => Power::Running { ready: true },
                "stopping" => Power::Stopping,
                "?" => Power::Unknown("not readable".into()),
                other => return Err(format!("no power state {other}")),
            },
            hostdevs: Vec::new(),
            login: Login::None,
            screen: Login::None,
            settings: None,
        };
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key {
                "has" | "detaching" | "refused" | "foreign" => domain.hostdevs.push(Hostdev {
                    device: device(value)?,
                    attachment: match key {
                        "detaching" => Attachment::Detaching,
                        "refused" => Attachment::DetachRefused,
                        _ => Attachment::Attached,
                    },
                    ours: key != "foreign",
                }),
                "waiting" => domain.login = Login::Waiting { since: self.ago(value)? },
                "active" => domain.login = Login::Active { since: self.ago(value)? },
                "login" => domain.login = Login::Unknown("not readable".into()),
                _ => self.of_desktop(uuid, key, value)?,
            }
        }
        self.observed.domains.insert(uuid, domain);
        Ok(())
    }

    /// A property that only a managed domain has.
    fn of_desktop(&mut self, uuid: DomainUuid, key: &str, value: &str) -> Result<(), String> {
        let ago = self.ago(value);
        let no = || format!("no property {key}");
        let desktop = self.desktops.get_mut(&uuid).ok_or_else(no)?;
        let track = self.tracks.entry(uuid).or_default();
        match key {
            "p" => self.chances.entry(uuid).or_default().now = percent(value)?,
            "soon" => self.chances.entry(uuid).or_default().soon = percent(value)?,
            "prio" => desktop.priority = number(value)?,
            "held" => track.held_since = Some(ago?),
            "left" => track.logout_at = Some(ago?),
            "quarantine" => {
                self.quarantine.domains.insert(uuid, value.to_owned());
            }
            "block" => desktop.missing_gpu = MissingGpu::Block,
            "accept" | "decline" => {
                let preallocation = if key == "accept" { Preallocation::Accept } else { Preallocation::Decline };
                let wish = Wish { preallocation, profile: None };
                self.standing.insert(uuid, Standing { wish, since: ago? });
            }
            "asks" => {
                let wish = Wish { preallocation: Preallocation::Accept, profile: Some(value.parse().map_err(text)?) };
                self.standing.insert(uuid, Standing { wish, since: self.now });
            }
            _ => return Err(no()),
        }
        Ok(())
    }

    /// `5m`: five minutes ago; nothing: now.
    fn ago(&self, value: &str) -> Result<Time, String> {
        match value.strip_suffix('m') {
            Some(minutes) => Ok(self.now - Span::minutes(number(minutes)?)),
            None if value.is_empty() => Ok(self.now),
            None => Err(format!("expected minutes as in 5m, not {value}")),
        }
    }
}

/// A line under a PF: a profile, or a vGPU that exists.
fn on_gpu(gpu: &mut Gpu, words: &[&str]) -> Result<(), String> {
    match words {
        ["instance", id, profile, rest @ ..] => {
            let profile = if *profile == "?" { None } else { Some(profile.parse().map_err(text)?) };
            let slots = profile.as_ref().and_then(|name| gpu.profile(name)).map_or(1, |profile| profile.slots);
            let mut instance = Instance { profile, start: 0, slots, used: Opened::No };
            for word in rest {
                match word.split_once('=') {
                    Some(("at", start)) => instance.start = number(start)?,
                    Some(("open", "?")) => instance.used = Opened::Unknown("not readable".into()),
                    Some(("open", who)) => {
                        instance.used = Opened::By(device(who).map_or_else(|_| who.to_owned(), |it| it.to_string()));
                    }
                    _ => return Err(format!("no property {word}")),
                }
            }
            gpu.instances.as_mut().ok_or("this gpu has no `gpu-instances`")?.insert(number(id)?, instance);
        }
        ["+", id, profile, rest @ ..] => {
            let profile = if *profile == "?" { None } else { Some(profile.parse().map_err(text)?) };
            let mut vgpu = Vgpu { profile, start: None, opened: Opened::No };
            for word in rest {
                match word.split_once('=') {
                    Some(("at", start)) => vgpu.start = Some(number(start)?),
                    Some(("open", "?")) => vgpu.opened = Opened::Unknown("not readable".into()),
                    Some(("open", who)) => vgpu.opened = Opened::By(who.to_owned()),
                    _ => return Err(format!("no property {word}")),
                }
            }
            gpu.vgpus.insert(device(id)?, vgpu);
        }
        [name, mib, most, rest @ ..] => {
            let mut profile = Profile {
                name: name.parse().map_err(text)?,
                framebuffer: FramebufferMib::new(number(mib)?),
                max_instances: number(most.strip_prefix('x').unwrap_or(most))?,
                compute: false,
                slots: 0,
                starts: Vec::new(),
            };
            for word in rest {
                match word.split_once('=') {
                    None if *word == "compute" => profile.compute = true,
                    Some(("slots", n)) => profile.slots = number(n)?,
                    Some(("at", starts)) => profile.starts = starts.split(',').map(number).collect::<Result<_, _>>()?,
                    _ => return Err(format!("no property {word}")),
                }
            }
            gpu.profiles.push(profile);
        }
        _ => return Err("neither a profile nor a vGPU".into()),
    }
    Ok(())
}

fn device(word: &str) -> Result<DeviceId, String> {
    if let Some(name) = word.strip_prefix("mdev:") {
        return Ok(DeviceId::Mdev(Scene::uuid(name).mdev()));
    }
    if let Some(name) = word.strip_prefix("alien:") {
        return Ok(DeviceId::Mdev(MdevUuid::new(Uuid::new_v5(&NAMESPACE, name.as_bytes()))));
    }
    let (bus, n) = word.split_once('.').ok_or_else(|| format!("no device {word}"))?;
    address(bus)?.offset(number(n)?).map(DeviceId::Vf).ok_or_else(|| format!("no device {word}"))
}

fn address(bus: &str) -> Result<GpuId, String> {
    format!("0000:{bus}:00.0").parse().map_err(text)
}

fn number<T: FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("{word} is not such a number"))
}

fn percent(word: &str) -> Result<Probability, String> {
    let percent: f64 = number(word.strip_suffix('%').unwrap_or(word))?;
    Probability::new(percent / 100.0).map_err(text)
}

fn text(error: impl std::error::Error) -> String {
    error.to_string()
}
