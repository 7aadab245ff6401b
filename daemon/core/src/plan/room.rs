//! What still fits where, kept current while the plan is made.
//!
//! For each profile an ordered set of the PFs that could take one more. The order is fixed by things that carrying out the plan
//! does not change (invariant 7). A PF counts as opened by strangers and by whoever ranks higher, holding or placed; not by lower ranks,
//! who may have got their devices in a round before.

use std::collections::{BTreeMap, BTreeSet};

use super::Base;
use crate::gpu::{Gpu, GpuState, Partitioning, Refusal, Tenant};
use crate::id::{GpuId, ProfileName};
use crate::observed::Observed;

/// One vGPU as placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) profile: Option<ProfileName>,
    pub(super) start: Option<u16>,
}

/// What stands where.
pub(super) type Standings = BTreeMap<GpuId, Vec<Placed>>;

/// Position of a PF in the order of one profile: opened before empty, then what opening it would cost, then the address.
type Key = (bool, u64, GpuId);

/// Room on all PFs.
pub(super) struct Room<'a> {
    gpus: BTreeMap<GpuId, &'a Gpu>,
    closed: &'a BTreeMap<GpuId, String>,
    placed: Standings,
    opened: BTreeSet<GpuId>,
    named_vfs: BTreeMap<GpuId, usize>,
    demand: BTreeMap<ProfileName, f64>,
    capacity: BTreeMap<&'a ProfileName, u32>,
    fitting: BTreeMap<&'a ProfileName, BTreeSet<Key>>,
    keys: BTreeMap<(GpuId, &'a ProfileName), Key>,
}

impl<'a> Room<'a> {
    /// Room beside what stands at first. `closed`: PFs that take nothing new, and why. `named_vfs`: how many VFs cannot be given a type.
    /// `demand`: expected logins soon, by profile.
    pub(super) fn new(
        observed: &'a Observed,
        closed: &'a BTreeMap<GpuId, String>,
        base: &Base,
        named_vfs: BTreeMap<GpuId, usize>,
        demand: BTreeMap<ProfileName, f64>,
    ) -> Self {
        let gpus = &observed.gpus;
        let mut capacity: BTreeMap<&ProfileName, u32> = BTreeMap::new();
        for gpu in gpus.values() {
            for profile in &gpu.profiles {
                *capacity.entry(&profile.name).or_default() += u32::from(gpu.capacity(&profile.name));
            }
        }
        let gpus: BTreeMap<_, _> = gpus.iter().map(|(address, gpu)| (*address, gpu)).collect();
        let addresses: Vec<GpuId> = gpus.keys().copied().collect();
        let mut room = Self {
            gpus,
            closed,
            placed: base.standing.clone(),
            opened: base.opened.clone(),
            named_vfs,
            demand,
            capacity,
            fitting: BTreeMap::new(),
            keys: BTreeMap::new(),
        };
        for address in addresses {
            room.index(address);
        }
        room
    }

    /// The best PF for one more of `profile`, and its start.
    pub(super) fn find(&self, profile: &ProfileName) -> Option<(GpuId, Option<u16>)> {
        let (_, _, address) = self.fitting.get(profile)?.first()?;
        Some((*address, self.fit(*address, profile, &[]).ok()?))
    }

    /// Whether any PF has this profile at all.
    pub(super) fn offers(&self, profile: &ProfileName) -> bool {
        self.capacity.contains_key(profile)
    }

    /// Room for one more of `profile` on this PF if `without` were gone.
    pub(super) fn fit(
        &self,
        address: GpuId,
        profile: &ProfileName,
        without: &[Placed],
    ) -> Result<Option<u16>, Refusal> {
        let gpu = self.gpus.get(&address).ok_or(Refusal::NotOffered)?;
        let mut left: Vec<&Placed> = self.placed.get(&address).into_iter().flatten().collect();
        for gone in without {
            if let Some(at) = left.iter().position(|placed| *placed == gone) {
                left.remove(at);
            }
        }
        let tenants: Vec<Tenant<'_>> =
            left.iter().map(|placed| Tenant { profile: placed.profile.as_ref(), start: placed.start }).collect();
        let named = self.named_vfs.get(&address).copied().unwrap_or(0);
        if named > 0 && tenants.len() + named >= gpu.vfs.len() {
            return Err(Refusal::NoVf);
        }
        gpu.fit(&tenants, profile, None)
    }

    /// Whether this PF takes anything new.
    pub(super) fn is_open(&self, address: GpuId) -> bool {
        let ready = self.gpus.get(&address).is_some_and(|gpu| gpu.state == GpuState::Ready);
        ready && !self.closed.contains_key(&address)
    }

    /// Whoever is placed next may take this PF as opened.
    pub(super) fn open(&mut self, address: GpuId) {
        if self.opened.insert(address) {
            self.index(address);
        }
    }

    /// One more is there.
    pub(super) fn take(&mut self, address: GpuId, placed: Placed) {
        self.opened.insert(address);
        self.placed.entry(address).or_default().push(placed);
        self.index(address);
    }

    /// One is gone.
    pub(super) fn free(&mut self, address: GpuId, placed: &Placed) {
        if let Some(all) = self.placed.get_mut(&address)
            && let Some(at) = all.iter().position(|other| other == placed)
        {
            all.remove(at);
        }
        self.index(address);
    }

    /// Why no PF takes one more of `profile`: one reason, of the PF that comes nearest, with its address.
    pub(super) fn refusal(&self, profile: &ProfileName) -> String {
        let mut reasons = Vec::new();
        for (address, gpu) in self.gpus.iter().filter(|(_, gpu)| gpu.profile(profile).is_some()) {
            let why = match (&gpu.state, self.closed.get(address)) {
                (GpuState::NotReady(why) | GpuState::Unknown(why), _) | (_, Some(why)) => why.clone(),
                _ => match self.fit(*address, profile, &[]) {
                    Ok(_) => continue,
                    Err(refusal) => refusal.to_string(),
                },
            };
            reasons.push(format!("{address}: {why}"));
        }
        match reasons.len() {
            0 => format!("no GPU here offers {profile}"),
            1..=4 => reasons.join("; "),
            n => format!("{}; and {} more GPUs", reasons[..3].join("; "), n - 3),
        }
    }

    fn index(&mut self, address: GpuId) {
        let Some(gpu) = self.gpus.get(&address).copied() else { return };
        let open = self.is_open(address);
        for profile in &gpu.profiles {
            let name = &profile.name;
            if let Some(old) = self.keys.remove(&(address, name))
                && let Some(set) = self.fitting.get_mut(name)
            {
                set.remove(&old);
            }
            if open && self.fit(address, name, &[]).is_ok() {
                let key = self.key(gpu, name);
                self.keys.insert((address, name), key);
                self.fitting.entry(name).or_default().insert(key);
            }
        }
    }

    fn key(&self, gpu: &Gpu, profile: &ProfileName) -> Key {
        match gpu.partitioning {
            // Opening an empty PF binds it to one size.
            Partitioning::EqualSize { .. } if !self.opened.contains(&gpu.address) => {
                (true, self.cost_of_opening(gpu, profile), gpu.address)
            }
            _ => (false, 0, gpu.address),
        }
    }

    /// Expected logins soon, in millionths, that this PF could no longer serve if it were bound to the size of `profile`: for every
    /// profile of another size, the demand for it times this PF's share of the host's capacity for it.
    fn cost_of_opening(&self, gpu: &Gpu, profile: &ProfileName) -> u64 {
        let size = gpu.framebuffer_of(Some(profile));
        let lost: f64 = gpu
            .profiles
            .iter()
            .filter(|other| other.framebuffer != size)
            .filter_map(|other| {
                let demand = self.demand.get(&other.name)?;
                let all = self.capacity.get(&other.name).copied().filter(|n| *n > 0)?;
                Some(demand * f64::from(gpu.capacity(&other.name)) / f64::from(all))
            })
            .sum();
        (lost * 1e6) as u64
    }
}
