//! What is to be seen when nothing is left to do: everybody has what the plan says, nothing of ours lies about, and nobody waits
//! in front of room. Worked out from the truth, in the plainest way.

use std::collections::BTreeSet;

use headstart_core::check::stand_together;
use headstart_core::desktop::{AttachMode, Desktop};
use headstart_core::gpu::{DeviceId, Gpu, GpuState, Interface, Opened};
use headstart_core::id::{DomainUuid, ProfileName};
use headstart_core::observed::{Attachment, Domain, Hostdev, Login, Observed, Power};
use headstart_core::unit::{Span, Time};

use super::course::Course;
use super::lap::Lap;
use super::scene::Turn;
use super::witness::Witness;

/// A course that has not come to rest after so many rounds never will: the longest that was ever seen took a fifth of it.
pub(super) const FOR_EVER: usize = 400;
/// Longer than grace time, minimum hold and the validity of a request.
const AN_HOUR: Span = Span::hours(1);

impl Course {
    /// Goes on without any trouble until nothing is left to do, and once more when all that was young or left a moment ago no longer
    /// is. What is wrong then.
    pub(super) fn come_to_rest(&mut self) -> Vec<String> {
        self.note("no more trouble");
        let mut wrong = Vec::new();
        for _ in 0..2 {
            match self.settle() {
                Ok(lap) => wrong.extend(self.left_undone(&lap)),
                Err(why) => wrong.push(why),
            }
            self.built.clock.advance(self.now() + AN_HOUR);
        }
        wrong
    }

    /// Goes on without any trouble until nothing is left to do, and returns that last round.
    pub(super) fn settle(&mut self) -> Result<Lap, String> {
        for _ in 0..FOR_EVER {
            let quiet = self.is_quiet();
            let lap = self.play(&Turn::default());
            if quiet && lap.round.steps.is_empty() && !self.sleep() {
                return Ok(lap);
            }
        }
        Err("it never comes to rest".into())
    }

    /// Lets the clock go on to the next thing that happens by itself. Says whether there is one.
    pub(super) fn sleep(&mut self) -> bool {
        let next: Option<Time> =
            [self.built.sim.next_event(), self.memory.trouble.next(self.now())].into_iter().flatten().min();
        next.is_some_and(|next| {
            self.built.clock.advance(next);
            true
        })
    }

    /// What is wrong with a host at rest.
    pub(super) fn left_undone(&self, lap: &Lap) -> Vec<String> {
        let rest = Rest {
            lap,
            truth: Witness { truth: &lap.truth, managed: &self.built.managed, reported: &lap.reported },
            keep_running: !self.built.settings.policy.shut_down_after_logout,
        };
        let mut undone = rest.wants();
        undone.extend(rest.given_back());
        undone.extend(rest.leaks());
        undone.extend(rest.waits_in_vain());
        undone
    }
}

struct Rest<'a> {
    lap: &'a Lap,
    truth: Witness<'a>,
    keep_running: bool,
}

impl Rest<'_> {
    fn observed(&self) -> &Observed {
        &self.lap.truth
    }

    /// Every want is fulfilled.
    fn wants(&self) -> Vec<String> {
        let mut undone = Vec::new();
        for (uuid, want) in &self.lap.round.plan.desired.wants {
            let domain = &self.observed().domains[uuid];
            let has = ours(domain).is_some_and(|hostdev| {
                let vgpu = self.observed().gpus[&want.gpu].vgpus.get(&hostdev.device);
                hostdev.attachment != Attachment::Detaching
                    && vgpu.is_some_and(|v| v.profile.as_ref() == Some(&want.profile) && v.start == want.start)
            });
            if !has {
                undone.push(format!("{} has not got {} on {}", domain.name, want.profile, want.gpu));
            }
            if want.run && domain.power != (Power::Running { ready: true }) {
                undone.push(format!("{} does not run", domain.name));
            }
        }
        undone
    }

    /// Whoever has a device without a want is left alone, or cannot let go.
    fn given_back(&self) -> Vec<String> {
        let desired = &self.lap.round.plan.desired;
        let mut undone = Vec::new();
        for (uuid, desktop) in &self.lap.round.desktops {
            let domain = &self.observed().domains[uuid];
            let Some(hostdev) = ours(domain) else { continue };
            let clings = desktop.attach != AttachMode::Live || hostdev.attachment != Attachment::Attached;
            let stuck = domain.power != Power::Off && clings && self.keep_running;
            if !desired.wants.contains_key(uuid) && !desired.hands_off.contains(uuid) && !stuck {
                undone.push(format!("{} still has {}", domain.name, hostdev.device));
            }
        }
        undone
    }

    /// No idle device of ours is left.
    fn leaks(&self) -> Vec<String> {
        let mut leaks = Vec::new();
        for gpu in self.observed().gpus.values().filter(|gpu| gpu.interface != Interface::Vf) {
            for (device, _) in gpu.vgpus.iter().filter(|(_, vgpu)| vgpu.profile.is_some()) {
                if !self.is_named(*device) && !self.truth.protects(*device) {
                    leaks.push(format!("{device} on {} serves nobody", gpu.address));
                }
            }
        }
        for gpu in self.observed().gpus.values() {
            let idle = gpu.instances.iter().flatten().filter(|(_, it)| it.used == Opened::No && it.profile.is_some());
            leaks.extend(idle.map(|(id, _)| format!("GPU instance {id} of {} serves nobody", gpu.address)));
        }
        leaks
    }

    /// Nobody waits for a device that could be made or given beside all that exists.
    fn waits_in_vain(&self) -> Vec<String> {
        let waits = |desktop: &&Desktop| {
            let domain = &self.observed().domains[&desktop.uuid];
            let takes = match domain.power {
                Power::Off => true,
                Power::Running { ready } => ready && desktop.attach == AttachMode::Live,
                _ => false,
            };
            takes && matches!(domain.login, Login::Waiting { .. }) && domain.hostdevs.is_empty()
        };
        // Its own mdev in other hands is no room for it.
        let own = |uuid: DomainUuid| {
            self.observed().gpus.values().any(|g| g.vgpus.contains_key(&DeviceId::Mdev(uuid.mdev())))
        };
        let mut vain = Vec::new();
        for desktop in self.lap.round.desktops.values().filter(waits).filter(|desktop| !own(desktop.uuid)) {
            for gpu in self.observed().gpus.values().filter(|gpu| gpu.state == GpuState::Ready) {
                let profile = desktop.profiles.iter().find(|profile| self.has_room(gpu, profile));
                vain.extend(
                    profile
                        .map(|profile| format!("{} waits, and {} has room for {profile}", desktop.name, gpu.address)),
                );
            }
        }
        vain
    }

    fn has_room(&self, gpu: &Gpu, name: &ProfileName) -> bool {
        let Some(profile) = gpu.profiles.iter().find(|profile| profile.name == *name) else { return false };
        if gpu.interface == Interface::Vf {
            let free = |(device, vgpu): (&DeviceId, &headstart_core::gpu::Vgpu)| {
                vgpu.profile.as_ref() == Some(name) && !self.is_named(*device) && !self.truth.protects(*device)
            };
            return gpu.vfs.is_empty() || gpu.vgpus.iter().any(free);
        }
        let bare = |vf: &DeviceId| !gpu.vgpus.contains_key(vf) && !self.is_named(*vf);
        if gpu.interface == Interface::VfioVariant && !gpu.vfs.iter().map(|vf| DeviceId::Vf(*vf)).any(|vf| bare(&vf)) {
            return false;
        }
        let starts: BTreeSet<Option<u16>> =
            if profile.starts.is_empty() { [None].into() } else { profile.starts.iter().copied().map(Some).collect() };
        starts.into_iter().any(|start| {
            let mut tenants: Vec<_> = gpu.vgpus.values().map(|vgpu| (vgpu.profile.clone(), vgpu.start)).collect();
            tenants.push((Some(name.clone()), start));
            stand_together(gpu, &tenants).is_ok()
        })
    }

    fn is_named(&self, device: DeviceId) -> bool {
        self.observed().domains.values().flat_map(|domain| &domain.hostdevs).any(|hostdev| hostdev.device == device)
    }
}

fn ours(domain: &Domain) -> Option<&Hostdev> {
    domain.hostdevs.iter().find(|hostdev| hostdev.ours)
}
