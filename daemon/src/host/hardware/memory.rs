//! What is remembered of a GPU between looks, because the driver shows it only at times. Never anything that the host could be asked.

use std::collections::BTreeMap;

use headstart_core::gpu::Gpu;
use headstart_core::id::ProfileName;

use crate::host::mig::Cuts;

/// Of one GPU. Lost with the daemon, forgotten when the GPU vanishes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    /// As it was when it was last seen whole.
    pub(crate) last: Option<Gpu>,
    /// The budget of a parent with one store.
    pub(crate) budget: Option<u16>,
    /// How many of each type an empty parent with several stores holds.
    pub(crate) empty_holds: Vec<u32>,
    /// Whether series of one size may stand side by side; none as long as the card has not shown it.
    pub(crate) series_may_mix: Option<bool>,
    /// Numbers of profiles, where the driver goes by numbers.
    pub(crate) numbers: BTreeMap<ProfileName, u32>,
    /// What the card can be cut into by MIG, and is.
    pub(crate) cuts: Option<Cuts>,
    /// Types that were offered while the card was empty, by number.
    pub(crate) offered: BTreeMap<u32, String>,
}
