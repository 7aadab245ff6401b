//! GPU instances of MIG: profiles, placements, and what is free. Section 3.3 of the reference.

/// A profile of GPU instances. Sizes and starts are in slices of memory, of which there are eight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) id: u32,
    pub(crate) name: &'static str,
    /// Of seven slices of the engines.
    pub(crate) compute: u32,
    pub(crate) size: u32,
    pub(crate) starts: &'static [u32],
    pub(crate) memory_gib: &'static str,
}

/// What a GPU can do in MIG mode.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) profiles: Vec<Profile>,
    /// The mode outlives a reboot: Ampere, not Hopper and later.
    pub(crate) persists: bool,
}

impl Model {
    pub(crate) fn a100_40gb() -> Self {
        let profile =
            |id, name, compute, size, starts, memory_gib| Profile { id, name, compute, size, starts, memory_gib };
        let profiles = vec![
            profile(19, "1g.5gb", 1, 1, &[0, 1, 2, 3, 4, 5, 6][..], "4.75"),
            profile(14, "2g.10gb", 2, 2, &[0, 2, 4], "9.75"),
            profile(9, "3g.20gb", 3, 4, &[0, 4], "19.62"),
            profile(5, "4g.20gb", 4, 4, &[0], "19.62"),
            profile(0, "7g.40gb", 7, 8, &[0], "39.50"),
        ];
        Self { profiles, persists: true }
    }

    pub(crate) fn h100_80gb() -> Self {
        let profile =
            |id, name, compute, size, starts, memory_gib| Profile { id, name, compute, size, starts, memory_gib };
        let profiles = vec![
            profile(19, "1g.10gb", 1, 1, &[0, 1, 2, 3, 4, 5, 6][..], "9.75"),
            profile(15, "1g.20gb", 1, 2, &[0, 2, 4, 6], "19.62"),
            profile(14, "2g.20gb", 2, 2, &[0, 2, 4], "19.62"),
            profile(9, "3g.40gb", 3, 4, &[0, 4], "39.50"),
            profile(5, "4g.40gb", 4, 4, &[0], "39.50"),
            profile(0, "7g.80gb", 7, 8, &[0], "79.12"),
        ];
        Self { profiles, persists: false }
    }

    pub(crate) fn profile(&self, id: u32) -> Option<&Profile> {
        self.profiles.iter().find(|profile| profile.id == id)
    }
}

/// A GPU instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    pub(crate) id: u32,
    pub(crate) profile: u32,
    pub(crate) start: u32,
    pub(crate) size: u32,
}

/// The mode and the instances of a GPU.
#[derive(Clone, Debug)]
pub(crate) struct Mig {
    pub(crate) model: Model,
    pub(crate) on: bool,
    /// What the mode becomes when the GPU is free and reset.
    pub(crate) pending: Option<bool>,
    pub(crate) instances: Vec<Instance>,
}

impl Mig {
    pub(crate) fn new(model: Model) -> Self {
        Self { model, on: false, pending: None, instances: Vec::new() }
    }

    /// A start where an instance of this profile fits, or this one if it does. Starts are such that the engines suffice too.
    fn place(&self, profile: &Profile, at: Option<u32>) -> Option<u32> {
        let free = |start: u32| {
            self.instances.iter().all(|other| start + profile.size <= other.start || other.start + other.size <= start)
        };
        profile.starts.iter().copied().find(|start| free(*start) && at.is_none_or(|at| at == *start))
    }

    /// How many more instances of this profile fit.
    pub(crate) fn free(&self, profile: &Profile) -> u32 {
        let mut trial = self.clone();
        std::iter::from_fn(|| trial.create(profile.id)).count() as u32
    }

    /// Makes a GPU instance at the first free place.
    pub(crate) fn create(&mut self, profile: u32) -> Option<Instance> {
        self.create_at(profile, None)
    }

    /// Makes a GPU instance at this place, or at the first free one.
    pub(crate) fn create_at(&mut self, profile: u32, at: Option<u32>) -> Option<Instance> {
        let profile = *self.model.profile(profile)?;
        let start = self.place(&profile, at)?;
        let id = (1..=7).find(|id| self.instances.iter().all(|instance| instance.id != *id))?;
        let instance = Instance { id, profile: profile.id, start, size: profile.size };
        self.instances.push(instance);
        Some(instance)
    }
}
