//! Forecast, requests and the host as seen → who should have what, and why.
//!
//! A plan cannot fail: it yields the desired state and, for every desktop, a verdict with its reason. Placement keeps what is
//! attached and still fits, then takes the first fit in a fixed order; it looks at nothing that its own steps change, so that the
//! plan stays the same while it is carried out. Not here: the order of acts (`step`), and how likely a login is (`forecast`).

mod contest;
mod reason;
mod room;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(crate) use contest::LEAST_GAIN;
use contest::{Contender, Rank, Right, WAITING, victims};
pub use reason::Reason;
use room::{Placed, Room, Standings};

use crate::chance::Chance;
use crate::desktop::{AttachMode, Desktop};
use crate::gpu::{DeviceId, Gpu, GpuState, Opened, Vgpu};
use crate::id::{DomainUuid, GpuId, PciAddress, ProfileName};
use crate::observed::{Attachment, Domain, Gap, Holders, Login, Observed, Power, Tenure, tenure};
use crate::policy::Policy;
use crate::request::{Offer, Preallocation, Way, Wish};
use crate::step::{Desired, Want, our_hostdev};
use crate::track::{Track, Tracks, is_ready};
use crate::unit::{Probability, Span, Time};

/// A request that stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// What is asked.
    pub wish: Wish,
    /// Since when.
    pub since: Time,
}

/// What takes nothing new for a while, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quarantine {
    /// PFs.
    pub gpus: BTreeMap<GpuId, String>,
    /// Domains.
    pub domains: BTreeMap<DomainUuid, String>,
}

/// Everything a plan is made of.
#[derive(Clone, Copy)]
pub struct Situation<'a> {
    /// The instant of the round.
    pub now: Time,
    /// What the administrator decided.
    pub policy: &'a Policy,
    /// Desktops under management.
    pub desktops: &'a BTreeMap<DomainUuid, Desktop>,
    /// What the forecast means for each.
    pub chances: &'a BTreeMap<DomainUuid, Chance>,
    /// How long before a login work must start, for each.
    pub leads: &'a BTreeMap<DomainUuid, Span>,
    /// Requests that stand.
    pub standing: &'a BTreeMap<DomainUuid, Standing>,
    /// What is remembered of each.
    pub tracks: &'a Tracks,
    /// What takes nothing new.
    pub quarantine: &'a Quarantine,
    /// The host.
    pub observed: &'a Observed,
}

/// What the plan says about one desktop.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Why.
    pub reason: Reason,
    /// What a request would be answered.
    pub offer: Offer,
    /// The chance it was decided on.
    pub chance: Chance,
}

/// The desired state, and why.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Who should have what.
    pub desired: Desired,
    /// One for each desktop.
    pub verdicts: BTreeMap<DomainUuid, Verdict>,
}

/// What a desktop asks of the plan.
enum Claim {
    /// Leave everything as it is.
    HandsOff(Reason),
    /// It keeps the device it has, whatever else.
    Keep(Reason),
    /// It competes for room.
    Compete { value: f64, right: Right, reason: Reason },
    /// It gets nothing, and gives back what it has.
    Nothing(Reason),
}

/// What stands before anybody new is placed.
#[derive(Default)]
struct Base {
    standing: Standings,
    /// PFs that somebody opened whom no plan moves.
    opened: BTreeSet<GpuId>,
    /// Desktops that keep their device anyhow, in order of rank, and where it is.
    stayers: Vec<(Rank, GpuId)>,
}

/// Makes the plan.
pub fn plan(situation: &Situation<'_>) -> Plan {
    Planner::new(situation).run()
}

struct Planner<'a> {
    s: &'a Situation<'a>,
    desired: Desired,
    reasons: BTreeMap<DomainUuid, Reason>,
    /// Devices of ours and where they are.
    places: BTreeMap<DeviceId, &'a Gpu>,
    holders: Holders,
    /// The mdevs that we would make.
    derived: BTreeSet<DeviceId>,
    known_profiles: Arc<[ProfileName]>,
}

impl<'a> Planner<'a> {
    fn new(s: &'a Situation<'a>) -> Self {
        let known: BTreeSet<ProfileName> =
            s.observed.gpus.values().flat_map(|gpu| gpu.profiles.iter().map(|p| p.name.clone())).collect();
        Self {
            s,
            desired: Desired::default(),
            reasons: BTreeMap::new(),
            places: s.observed.places(),
            holders: s.observed.holders(),
            derived: s.observed.derived(s.desktops.keys()),
            known_profiles: known.into_iter().collect(),
        }
    }

    fn run(mut self) -> Plan {
        let mut contenders = Vec::new();
        for desktop in self.s.desktops.values() {
            let Some(domain) = self.s.observed.domains.get(&desktop.uuid) else { continue };
            match self.claim(desktop, domain) {
                Claim::HandsOff(reason) => {
                    self.desired.hands_off.insert(desktop.uuid);
                    self.reasons.insert(desktop.uuid, reason);
                }
                Claim::Keep(reason) => self.keep(desktop, domain, reason),
                Claim::Nothing(reason) => {
                    self.release(desktop, domain);
                    self.reasons.insert(desktop.uuid, reason);
                }
                Claim::Compete { value, right, reason } => {
                    let (held, profiles) = (self.suitable(desktop, domain), self.profiles(desktop));
                    contenders.push(Contender { desktop, value, right, reason, held, profiles });
                }
            }
        }
        contenders.sort_by(|a, b| a.rank().order(&b.rank()));
        let base = self.base(&contenders);
        let quarantine = &self.s.quarantine.gpus;
        let mut room = Room::new(self.s.observed, quarantine, &base, self.named_vfs(), self.demand());
        self.place(&contenders, &base.stayers, &mut room);
        self.enable_vfs();
        let verdicts = self.verdicts(&room);
        Plan { desired: self.desired, verdicts }
    }

    /// What a desktop asks, from its state, its forecast and the requests; before any competition.
    fn claim(&self, desktop: &Desktop, domain: &Domain) -> Claim {
        let policy = self.s.policy;
        let empty = Track::default();
        let track = self.s.tracks.get(&desktop.uuid).unwrap_or(&empty);
        if domain.hostdevs.iter().any(|hostdev| !hostdev.ours && self.places.contains_key(&hostdev.device)) {
            return Claim::HandsOff(Reason::ForeignDevice);
        }
        let hostdev = our_hostdev(domain);
        if let Some(why) = self.s.quarantine.domains.get(&desktop.uuid) {
            let reason = Reason::Quarantined { why: why.clone() };
            return if hostdev.is_some() { Claim::HandsOff(reason) } else { Claim::Nothing(reason) };
        }
        match &domain.power {
            Power::Unknown(why) => return Claim::HandsOff(Reason::Unknown { why: why.clone() }),
            Power::Starting => return Claim::HandsOff(Reason::Starting),
            _ => {}
        }
        let wish = self.s.standing.get(&desktop.uuid);
        let missing = hostdev.is_some_and(|hostdev| !self.places.contains_key(&hostdev.device));
        let in_the_dark = hostdev.and_then(|hostdev| self.places.get(&hostdev.device)).map_or_else(
            || missing && !self.s.observed.sees_all_gpus(),
            |gpu| matches!(gpu.state, GpuState::Unknown(_)),
        );
        if in_the_dark {
            return Claim::HandsOff(Reason::Unknown { why: "the GPU of its device could not be read".into() });
        }
        if let Some(why) = self.lost_mdev(desktop).or_else(|| self.lost_device(domain)) {
            return Claim::HandsOff(Reason::Unknown { why });
        }
        let can_attach = match domain.power {
            Power::Off => true,
            Power::Running { .. } => desktop.attach == AttachMode::Live,
            _ => false,
        };
        let reason = |since| Reason::Waiting { since };
        let waits = |since| Claim::Compete { value: WAITING, right: Right::Waits, reason: reason(since) };
        match &domain.login {
            Login::Unknown(why) => return Claim::HandsOff(Reason::Unknown { why: why.clone() }),
            // The device that its definition names does not exist any more: it gets a new one.
            Login::Waiting { since } if missing && domain.power == Power::Off => return waits(*since),
            Login::Active { .. } | Login::Waiting { .. } if hostdev.is_some() => {
                return if matches!(domain.login, Login::Active { .. }) {
                    Claim::HandsOff(Reason::InUse)
                } else {
                    Claim::Keep(Reason::Arriving)
                };
            }
            Login::Active { .. } | Login::Waiting { .. } if !can_attach => {
                return Claim::Nothing(Reason::WaitsForDomainOff);
            }
            Login::Active { since } | Login::Waiting { since } => return waits(*since),
            Login::None => {}
        }
        // For whoever had the device and comes right back; one that came later waits for somebody else.
        let left = track.logout_at.filter(|left| track.held_since.is_none_or(|held| held <= *left));
        let left = left.map(|left| Reason::Grace { until: left + policy.grace });
        let found = track.found_at.map(|found| Reason::Found { until: found + policy.grace });
        if let Some(reason) = left.or(found)
            && let Reason::Grace { until } | Reason::Found { until } = reason
            && hostdev.is_some_and(|hostdev| hostdev.attachment != Attachment::Detaching)
            && until > self.s.now
        {
            return Claim::Keep(reason);
        }
        let suitable = self.suitable(desktop, domain).is_some();
        // What the guest was asked for is as good as gone.
        let has = hostdev.is_some_and(|hostdev| hostdev.attachment != Attachment::Detaching);
        let stuck = if has { !self.can_let_go(desktop, domain) } else { !can_attach };
        if !suitable && stuck {
            return Claim::Nothing(Reason::WaitsForDomainOff);
        }
        if let Some(standing) = wish
            && standing.since + policy.wish_valid > self.s.now
        {
            return waits(standing.since);
        }
        match (self.reservation(desktop, track, suitable, wish), hostdev.map(|hostdev| hostdev.attachment)) {
            (Claim::Nothing(_), Some(Attachment::Detaching | Attachment::DetachRefused)) => {
                Claim::Nothing(Reason::UnplugRefusedOrPending)
            }
            (claim, _) => claim,
        }
    }

    /// Whether a desktop at which nobody is, and for which nobody asked, gets or keeps a reservation.
    fn reservation(&self, desktop: &Desktop, track: &Track, held: bool, wish: Option<&Standing>) -> Claim {
        let policy = self.s.policy;
        if desktop.attach == AttachMode::Request || !desktop.preallocate {
            return Claim::Nothing(Reason::NothingAhead);
        }
        if wish.is_some_and(|standing| standing.wish.preallocation == Preallocation::Decline) {
            return Claim::Nothing(Reason::Declined);
        }
        let p = self.s.chances.get(&desktop.uuid).map_or(Probability::ZERO, |chance| chance.now);
        if held {
            let until = track.held_since.map(|since| since + policy.minimum_hold);
            let young = until.is_some_and(|until| until > self.s.now);
            let (value, right) = (p.get(), Right::Reserved { young, anew: p >= policy.take });
            if p >= policy.release {
                let reason = Reason::Reserved { confidence: p, threshold: policy.release };
                return Claim::Compete { value, right, reason };
            }
            if let Some(until) = until.filter(|_| young) {
                let reason = Reason::MinimumHold { confidence: p, until };
                return Claim::Compete { value, right, reason };
            }
            if policy.keep_spare {
                let reason = Reason::Spare { confidence: p, threshold: policy.release };
                return Claim::Compete { value, right: Right::Spare, reason };
            }
            return Claim::Nothing(Reason::BelowRelease { confidence: p, threshold: policy.release });
        }
        if p >= policy.take {
            let reason = Reason::Reserved { confidence: p, threshold: policy.take };
            let right = Right::Reserved { young: false, anew: true };
            return Claim::Compete { value: p.get(), right, reason };
        }
        Claim::Nothing(Reason::BelowTake { confidence: p, threshold: policy.take })
    }

    /// The profiles a desktop may get, in order of wish.
    fn profiles(&self, desktop: &Desktop) -> Vec<ProfileName> {
        match self.s.standing.get(&desktop.uuid).and_then(|standing| standing.wish.profile.clone()) {
            Some(profile) => vec![profile],
            None => desktop.profiles.clone(),
        }
    }

    /// Where the device of a desktop is, and what.
    fn held(&self, domain: &Domain) -> Option<(GpuId, Placed)> {
        let device = our_hostdev(domain)?.device;
        let gpu = self.places.get(&device)?;
        let vgpu = gpu.vgpus.get(&device)?;
        Some((gpu.address, Placed { profile: vgpu.profile.clone(), start: vgpu.start }))
    }

    /// The same, if it is what the desktop should have and the guest was not asked to let it go.
    fn suitable(&self, desktop: &Desktop, domain: &Domain) -> Option<(GpuId, Placed)> {
        let profiles = self.profiles(desktop);
        let going = our_hostdev(domain)?.attachment == Attachment::Detaching;
        let fits = |placed: &Placed| placed.profile.as_ref().is_some_and(|profile| profiles.contains(profile));
        self.held(domain).filter(|(_, placed)| !going && fits(placed))
    }

    /// Why a desktop cannot have an mdev: somebody else has its own, or would as soon as it were made.
    fn lost_mdev(&self, desktop: &Desktop) -> Option<String> {
        let device = DeviceId::Mdev(desktop.uuid.mdev());
        let lost = |who: &str| Some(format!("{device}, which is its own, is held by {who}"));
        let other = self.holders.of(device).iter().find(|uuid| **uuid != desktop.uuid);
        if let Some(other) = other.and_then(|uuid| self.s.observed.domains.get(uuid)) {
            return lost(other.name.as_str());
        }
        let vgpu = self.places.get(&device)?.vgpus.get(&device)?;
        match self.tenure(device, vgpu) {
            Tenure::Foreign(who) => lost(&who),
            // Nobody takes away what nobody knows.
            Tenure::Idle if vgpu.profile.is_none() => lost("its profile is not known"),
            _ => None,
        }
    }

    /// Why the device that a desktop names cannot be its: another domain names it too, as copies of definitions do, or somebody has it
    /// open while the desktop is off.
    fn lost_device(&self, domain: &Domain) -> Option<String> {
        let device = our_hostdev(domain)?.device;
        let lost = |who: &str| Some(format!("{device}, which it names, is held by {who}"));
        let other = self.holders.of(device).iter().find(|uuid| **uuid != domain.uuid);
        if let Some(other) = other.and_then(|uuid| self.s.observed.domains.get(uuid)) {
            return lost(other.name.as_str());
        }
        match &self.places.get(&device)?.vgpus.get(&device)?.opened {
            Opened::By(who) | Opened::Unknown(who) if domain.power == Power::Off => lost(who),
            _ => None,
        }
    }

    /// A desktop keeps its device as it is.
    fn keep(&mut self, desktop: &Desktop, domain: &Domain, reason: Reason) {
        match self.held(domain) {
            Some((gpu, Placed { profile: Some(profile), start })) => {
                let run = domain.power != Power::Off || matches!(domain.login, Login::Waiting { .. });
                self.desired.wants.insert(desktop.uuid, Want { gpu, profile, start, run, rank: 0 });
            }
            // Its device is not seen: whoever waits there gets a new one, else it stays as it is.
            None if matches!(domain.login, Login::Waiting { .. }) && domain.power == Power::Off => {}
            _ => {
                self.desired.hands_off.insert(desktop.uuid);
            }
        }
        self.reasons.insert(desktop.uuid, reason);
    }

    /// A desktop gives its device back: one that must be off for that is shut down.
    fn release(&mut self, desktop: &Desktop, domain: &Domain) {
        let Some(hostdev) = our_hostdev(domain) else { return };
        let plugs = desktop.attach == AttachMode::Live && hostdev.attachment != Attachment::DetachRefused;
        let running = matches!(domain.power, Power::Running { .. });
        if running && !plugs && self.s.policy.shut_down_after_logout && domain.login == Login::None {
            self.desired.shut_down.insert(desktop.uuid);
        }
    }

    /// What stands on every PF before anybody new is placed: what stays whatever is placed, and what contenders hold. Not our own idle
    /// devices, which serve whoever is placed, and which carrying out the plan changes.
    fn base(&self, contenders: &[Contender<'_>]) -> Base {
        let holding: BTreeSet<DomainUuid> = contenders
            .iter()
            .filter(|contender| contender.held.is_some())
            .map(|contender| contender.desktop.uuid)
            .collect();
        let mut base = Base::default();
        for gpu in self.s.observed.gpus.values() {
            for (device, vgpu) in &gpu.vgpus {
                match self.tenure(*device, vgpu) {
                    Tenure::Desktop(uuid) if holding.contains(&uuid) => {}
                    // It may leave its desktop; nobody takes away what we did not make, or do not know.
                    _ if vgpu.profile.is_none() || !self.is_ours(*device) => base.opened.extend([gpu.address]),
                    Tenure::Idle => continue,
                    // A device that is on its way out makes room for those who are placed now; they wait until it is gone.
                    Tenure::Desktop(uuid) if self.goes(uuid) => continue,
                    // It opens the PF in its turn: it may have got the device in a round before, as the last to be placed.
                    Tenure::Desktop(uuid) => {
                        let priority = self.s.desktops.get(&uuid).map_or(0, |desktop| desktop.priority);
                        base.stayers
                            .push((Rank { spare: false, priority, value: WAITING, desktop: uuid }, gpu.address));
                    }
                    Tenure::Foreign(_) => base.opened.extend([gpu.address]),
                }
                let placed = Placed { profile: vgpu.profile.clone(), start: vgpu.start };
                base.standing.entry(gpu.address).or_default().push(placed);
            }
        }
        base.stayers.sort_by(|(a, _), (b, _)| a.order(b));
        base
    }

    /// A device of a kind that we would make, whoever has it.
    fn is_ours(&self, device: DeviceId) -> bool {
        matches!(device, DeviceId::Vf(_)) || self.derived.contains(&device)
    }

    /// Whose a device is.
    fn tenure(&self, device: DeviceId, vgpu: &Vgpu) -> Tenure {
        let managed = |uuid| self.s.desktops.contains_key(&uuid);
        tenure(device, &vgpu.opened, &self.holders, self.s.observed, &managed, &self.derived)
    }

    /// How many VFs of every PF have no type and can get none, since a domain that will not let go names them.
    fn named_vfs(&self) -> BTreeMap<GpuId, usize> {
        let ours = |uuid: &DomainUuid, device| {
            let hostdev = self.s.observed.domains.get(uuid).and_then(our_hostdev);
            hostdev.is_some_and(|hostdev| hostdev.device == device)
        };
        let named = |vf: &&PciAddress| {
            let device = DeviceId::Vf(**vf);
            let stays = |uuid: &DomainUuid| !ours(uuid, device) || !self.goes(*uuid);
            self.holders.of(device).iter().any(stays)
        };
        let counted = self.s.observed.gpus.values().map(|gpu| {
            let bare = gpu.vfs.iter().filter(|vf| !gpu.vgpus.contains_key(&DeviceId::Vf(**vf)));
            (gpu.address, bare.filter(named).count())
        });
        counted.filter(|(_, n)| *n > 0).collect()
    }

    /// This desktop will give its device back, unless it is placed.
    fn goes(&self, uuid: DomainUuid) -> bool {
        let (Some(desktop), Some(domain)) = (self.s.desktops.get(&uuid), self.s.observed.domains.get(&uuid)) else {
            return false;
        };
        let kept = self.desired.hands_off.contains(&uuid) || self.desired.wants.contains_key(&uuid);
        !kept && self.makes_room(desktop, domain)
    }

    /// Its device can be given to somebody else, by and by: it can be taken out, and no domain that was not seen may have it too.
    fn makes_room(&self, desktop: &Desktop, domain: &Domain) -> bool {
        !self.s.observed.gaps.contains(&Gap::Domains) && self.can_let_go(desktop, domain)
    }

    /// Its device can be taken out, by and by.
    fn can_let_go(&self, desktop: &Desktop, domain: &Domain) -> bool {
        match domain.power {
            Power::Off | Power::Stopping => true,
            Power::Running { .. } => {
                let plugs = match our_hostdev(domain).map(|hostdev| hostdev.attachment) {
                    Some(Attachment::DetachRefused) => false,
                    Some(Attachment::Detaching) => true,
                    _ => desktop.attach == AttachMode::Live,
                };
                plugs || (self.s.policy.shut_down_after_logout && domain.login == Login::None)
            }
            Power::Starting | Power::Unknown(_) => false,
        }
    }

    /// Expected logins within the next hours of desktops at which nobody is, by their first profile. Whether they have a device is
    /// not asked, since the steps change it.
    fn demand(&self) -> BTreeMap<ProfileName, f64> {
        let mut demand = BTreeMap::new();
        for desktop in self.s.desktops.values() {
            let idle = self.s.observed.domains.get(&desktop.uuid).is_some_and(|domain| domain.login == Login::None);
            if let (true, Some(profile), Some(chance)) =
                (idle, desktop.profiles.first(), self.s.chances.get(&desktop.uuid))
            {
                *demand.entry(profile.clone()).or_insert(0.0) += chance.soon.get();
            }
        }
        demand
    }

    /// Gives room by rank; who finds none may take the room of idle reservations that rank lower.
    fn place(&mut self, contenders: &[Contender<'a>], stayers: &[(Rank, GpuId)], room: &mut Room<'_>) {
        let mut stayers = stayers.iter().peekable();
        let mut evicted: BTreeSet<DomainUuid> = BTreeSet::new();
        // Who ranks lower can take from fewer: where one found nothing, the next with the same wish need not look.
        let mut hopeless: BTreeSet<(&[ProfileName], bool)> = BTreeSet::new();
        // Why a wish found no room stays true while room is only taken; asking every GPU for every desktop would cost their product.
        let mut refused: BTreeMap<&[ProfileName], Reason> = BTreeMap::new();
        for (rank, contender) in contenders.iter().enumerate() {
            while let Some((_, gpu)) = stayers.next_if(|(stayer, _)| stayer.order(&contender.rank()).is_lt()) {
                room.open(*gpu);
            }
            let uuid = contender.desktop.uuid;
            let was_evicted = evicted.contains(&uuid);
            if was_evicted && !contender.right.is_anew() {
                continue;
            }
            if let Some((gpu, Placed { profile: Some(profile), start })) =
                contender.held.as_ref().filter(|_| !was_evicted)
            {
                room.open(*gpu);
                // Where nobody is expected, being started serves nobody.
                let off = self.s.observed.domains.get(&uuid).is_some_and(|domain| domain.power == Power::Off);
                let run = !(off && contender.right == Right::Spare);
                let want = Want { gpu: *gpu, profile: profile.clone(), start: *start, run, rank: rank as u32 };
                self.desired.wants.insert(uuid, want);
                self.reasons.insert(uuid, contender.reason.clone());
                continue;
            }
            // It may have one that is not wanted any more, or that it lost to somebody else just now; that goes first.
            if let Some(domain) = self.s.observed.domains.get(&uuid) {
                self.release(contender.desktop, domain);
            }
            if let Some((gpu, profile, start)) = find(room, &contender.profiles) {
                self.grant(contender, rank, room, gpu, profile, start);
                continue;
            }
            let key = (contender.profiles.as_slice(), contender.right == Right::Waits);
            let found = if hopeless.contains(&key) {
                None
            } else {
                let able = |victim: &Contender<'_>| {
                    let domain = self.s.observed.domains.get(&victim.desktop.uuid);
                    domain.is_some_and(|domain| self.makes_room(victim.desktop, domain))
                };
                victims(contender, &contenders[rank + 1..], &evicted, room, able)
            };
            let Some((gpu, profile, victims)) = found else {
                hopeless.insert(key);
                if !was_evicted {
                    let why = refused.entry(&contender.profiles).or_insert_with(|| refusal(room, &contender.profiles));
                    self.reasons.insert(uuid, why.clone());
                }
                continue;
            };
            refused.clear();
            for victim in victims {
                if let Some((address, placed)) = &victim.held {
                    room.free(*address, placed);
                }
                evicted.insert(victim.desktop.uuid);
                if let Some(domain) = self.s.observed.domains.get(&victim.desktop.uuid) {
                    self.release(victim.desktop, domain);
                }
                self.reasons.insert(victim.desktop.uuid, Reason::Outranked { by: contender.desktop.name.clone() });
            }
            if let Ok(start) = room.fit(gpu, &profile, &[]) {
                self.grant(contender, rank, room, gpu, profile, start);
            }
        }
    }

    fn grant(
        &mut self,
        contender: &Contender<'_>,
        rank: usize,
        room: &mut Room<'_>,
        gpu: GpuId,
        profile: ProfileName,
        start: Option<u16>,
    ) {
        room.take(gpu, Placed { profile: Some(profile.clone()), start });
        let want = Want { gpu, profile, start, run: true, rank: rank as u32 };
        self.desired.wants.insert(contender.desktop.uuid, want);
        self.reasons.insert(contender.desktop.uuid, contender.reason.clone());
    }

    /// PFs on which somebody is placed need their VFs.
    fn enable_vfs(&mut self) {
        for want in self.desired.wants.values() {
            if let Some(gpu) = self.s.observed.gpus.get(&want.gpu)
                && let Some(vfs) = gpu.vfs_to_enable()
                && gpu.state == GpuState::Ready
            {
                self.desired.num_vfs.insert(want.gpu, vfs);
            }
        }
    }

    /// One verdict for each desktop, with what a request would be answered.
    fn verdicts(&mut self, room: &Room<'_>) -> BTreeMap<DomainUuid, Verdict> {
        let mut memo: BTreeMap<Vec<ProfileName>, Result<(GpuId, ProfileName), Reason>> = BTreeMap::new();
        let mut verdicts = BTreeMap::new();
        for desktop in self.s.desktops.values() {
            let Some(domain) = self.s.observed.domains.get(&desktop.uuid) else { continue };
            let reason = self.reasons.remove(&desktop.uuid).unwrap_or(Reason::Unknown { why: "not planned".into() });
            let chance = self.s.chances.get(&desktop.uuid).copied().unwrap_or_default();
            let lead = self.s.leads.get(&desktop.uuid).copied().unwrap_or(self.s.policy.lead_cold);
            let mut offer = Offer {
                way: Way::Refused,
                confidence: chance.now,
                profile: desktop.profiles.first().cloned(),
                gpu: None,
                wait: None,
                reason: reason.sentence(&desktop.time_zone),
                known_profiles: Arc::clone(&self.known_profiles),
            };
            let ready = is_ready(domain);
            if let Some(want) = self.desired.wants.get(&desktop.uuid) {
                offer.way =
                    if matches!(reason, Reason::Waiting { .. }) && !ready { Way::OnDemand } else { Way::Reserved };
                offer.gpu = Some(want.gpu);
                offer.profile = Some(want.profile.clone());
                offer.wait = Some(if ready { Span::ZERO } else { lead });
            } else if matches!(reason, Reason::InUse) || (reason == Reason::Starting && self.held(domain).is_some()) {
                offer.way = Way::Reserved;
                offer.wait = Some(if reason == Reason::Starting { lead } else { Span::ZERO });
                if let Some((gpu, placed)) = self.held(domain) {
                    offer.gpu = Some(gpu);
                    offer.profile = placed.profile;
                }
            } else if matches!(reason, Reason::ForeignDevice | Reason::Quarantined { .. }) {
                // Refused, for the reason given.
            } else if matches!(reason, Reason::WaitsForDomainOff | Reason::Unknown { .. }) {
                offer.way = Way::Queued;
            } else if our_hostdev(domain).is_some() {
                offer.way = Way::Queued;
                offer.reason = format!("its device is on its way back ({}); after that it gets another", offer.reason);
            } else {
                let found = memo.entry(desktop.profiles.clone()).or_insert_with(|| {
                    let found = find(room, &desktop.profiles).map(|(gpu, profile, _)| (gpu, profile));
                    found.ok_or_else(|| refusal(room, &desktop.profiles))
                });
                match found {
                    Ok((gpu, profile)) => {
                        offer.way = Way::OnDemand;
                        offer.gpu = Some(*gpu);
                        offer.profile = Some(profile.clone());
                        offer.wait = Some(lead);
                        offer.reason = format!("nothing is reserved ({}); made when asked", offer.reason);
                    }
                    Err(Reason::NotOffered { profile }) => offer.reason = format!("no GPU here offers {profile}"),
                    Err(refusal) => {
                        offer.way = Way::Queued;
                        offer.reason = refusal.sentence(&desktop.time_zone);
                    }
                }
            }
            verdicts.insert(desktop.uuid, Verdict { reason, offer, chance });
        }
        verdicts
    }
}

/// Why none of these profiles fits.
fn refusal(room: &Room<'_>, profiles: &[ProfileName]) -> Reason {
    let Some(profile) = profiles.first() else { return Reason::Unknown { why: "no profile is set".into() } };
    if profiles.iter().all(|profile| !room.offers(profile)) {
        return Reason::NotOffered { profile: profile.clone() };
    }
    Reason::NoCapacity { profile: profile.clone(), why: room.refusal(profile) }
}

/// The first profile of the wish that fits anywhere, and where.
fn find(room: &Room<'_>, profiles: &[ProfileName]) -> Option<(GpuId, ProfileName, Option<u16>)> {
    profiles.iter().find_map(|profile| room.find(profile).map(|(gpu, start)| (gpu, profile.clone(), start)))
}
