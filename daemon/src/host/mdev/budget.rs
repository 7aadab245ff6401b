//! What mdev types take of a parent that gives any mix until it is empty: the kernel's samples and Intel GVT-g.
//!
//! The kernel shows only how many more of each type could be made now. From that, and from what stands there, the whole budget has to
//! come out the same in every state, or the plan would change while it is carried out:
//!
//! - **One store** (mbochs: MB, mtty: ports, mdpy: devices). All needs are multiples of the smallest step `g`; what stands there takes
//!   whole steps, so the number of free steps is exact wherever a type takes one step, and free + taken is the whole in every state,
//!   also with everything taken and with strangers' devices. A rest smaller than `g` can never be used and is not counted.
//! - **Several stores** (GVT-g: two kinds of graphics memory, and fences). Every type is counted as a fraction of the parent: `1/n`
//!   where an empty parent holds `n`. If the fractions stay within one, so does each store, since a type takes at most `1/n` of every
//!   one; so this refuses mixes that might fit and never permits one that does not. How many an empty parent holds is known when it was
//!   seen empty; until then, from what stands there, at least.

/// One type in one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TypeUse {
    /// What one takes of each store; never empty, no zero first.
    pub needs: Vec<u32>,
    /// How many more could be made now.
    pub available: u32,
    /// How many there are.
    pub existing: u32,
}

/// Slots in all, and of one of each type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    /// All.
    pub slots: u16,
    /// Of one, in the order of the types; 0 for a type of which an empty parent holds none.
    pub each: Vec<u16>,
}

/// One store. `remembered` is the budget of an earlier look, believed as long as this one does not contradict it. None if numbers
/// are too large to be true.
pub(super) fn one_store(types: &[TypeUse], remembered: Option<u16>) -> Option<Budget> {
    let step = types.iter().filter_map(|it| it.needs.first().copied()).reduce(gcd).filter(|step| *step > 0)?;
    let steps: Vec<u64> = types.iter().map(|it| u64::from(it.needs.first().copied().unwrap_or(0) / step)).collect();
    let pairs = || types.iter().zip(&steps);
    let taken: u64 = pairs().map(|(it, steps)| u64::from(it.existing) * steps).sum();
    // What is free lies between these: at least what the offers add up to, less than one more of any.
    let least = pairs().map(|(it, steps)| u64::from(it.available) * steps).max()?;
    let most = pairs().map(|(it, steps)| u64::from(it.available) * steps + steps - 1).min()?;
    let free = match remembered.map(|all| u64::from(all).checked_sub(taken)) {
        Some(Some(free)) if (least..=most).contains(&free) => free,
        // Contradictory numbers were read while somebody made or removed a device.
        _ => least.min(most),
    };
    let each = steps.iter().map(|steps| u16::try_from(*steps).ok()).collect::<Option<_>>()?;
    Some(Budget { slots: u16::try_from(taken + free).ok()?, each })
}

/// Several stores. `remembered`: how many of each type an empty parent holds, as far as is known; brought up to date.
pub(super) fn several_stores(types: &[TypeUse], remembered: &mut Vec<u32>) -> Option<Budget> {
    remembered.resize(types.len(), 0);
    for (it, most) in types.iter().zip(remembered.iter_mut()) {
        // Each device that stands there would leave room for so many of this type at least.
        let instead_of = |other: &TypeUse| {
            let fits =
                it.needs.iter().zip(&other.needs).map(|(need, room)| room.checked_div(*need).unwrap_or(u32::MAX));
            fits.min().unwrap_or(0).saturating_mul(other.existing)
        };
        let others = types.iter().map(instead_of).fold(0, u32::saturating_add);
        *most = (*most).max(it.available.saturating_add(others));
    }
    let offered = remembered.iter().copied().filter(|most| *most > 0);
    let whole = offered.clone().try_fold(1u64, |all, n| {
        let lcm = all / u64::from(gcd(u32::try_from(all).ok()?, n)) * u64::from(n);
        u16::try_from(lcm).is_ok().then_some(lcm)
    });
    // Where the common multiple is too large, fractions are rounded up: on the safe side.
    let slots = whole.unwrap_or(u64::from(u16::MAX));
    let each = remembered
        .iter()
        .map(|most| if *most == 0 { Some(0) } else { u16::try_from(slots.div_ceil(u64::from(*most))).ok() });
    offered.clone().next()?;
    Some(Budget { slots: u16::try_from(slots).ok()?, each: each.collect::<Option<_>>()? })
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A driver with stores, as `mbochs.c`, `mtty.c`, `mdpy.c` and `gvt/vgpu.c` count: available is the least that any store allows.
    struct Driver {
        stores: Vec<u32>,
        needs: Vec<Vec<u32>>,
    }

    impl Driver {
        fn free(&self, counts: &[u32]) -> Option<Vec<u32>> {
            let used = |store: usize| self.needs.iter().zip(counts).map(|(need, n)| need[store] * n).sum::<u32>();
            self.stores.iter().enumerate().map(|(store, all)| all.checked_sub(used(store))).collect()
        }

        fn look(&self, counts: &[u32]) -> Vec<TypeUse> {
            let free = self.free(counts).unwrap();
            let available = |need: &[u32]| need.iter().zip(&free).map(|(need, free)| free / need).min().unwrap();
            let types = self.needs.iter().zip(counts);
            types.map(|(need, n)| TypeUse { needs: need.clone(), available: available(need), existing: *n }).collect()
        }

        /// Every state that can be reached, whoever made the devices in it.
        fn states(&self) -> Vec<Vec<u32>> {
            let mut states = vec![vec![]];
            for _ in &self.needs {
                let more = |state: &Vec<u32>| {
                    let grown = (0..).map(|n| [state.as_slice(), &[n]].concat());
                    let full = |state: &Vec<u32>| {
                        let padded: Vec<u32> =
                            state.iter().copied().chain(std::iter::repeat(0)).take(self.needs.len()).collect();
                        self.free(&padded).is_some()
                    };
                    grown.take_while(full).collect::<Vec<_>>()
                };
                states = states.iter().flat_map(more).collect();
            }
            states
        }
    }

    fn slots(budget: &Budget, counts: &[u32]) -> u32 {
        budget.each.iter().zip(counts).map(|(each, n)| u32::from(*each) * n).sum()
    }

    /// In every state the budget is the same, and permits one more of a type exactly when the driver does.
    fn check_one_store(all: u32, needs: &[u32], expected: (u16, &[u16])) {
        let driver = Driver { stores: vec![all], needs: needs.iter().map(|need| vec![*need]).collect() };
        for state in driver.states() {
            let look = driver.look(&state);
            let budget = one_store(&look, None).unwrap();
            assert_eq!((budget.slots, budget.each.as_slice()), expected, "{state:?}");
            for (at, it) in look.iter().enumerate() {
                let room = slots(&budget, &state) + u32::from(budget.each[at]) <= u32::from(budget.slots);
                assert_eq!(room, it.available > 0, "{state:?}, type {at}");
            }
        }
    }

    #[test]
    fn mbochs_is_the_same_in_every_state() {
        check_one_store(256, &[4, 16, 64], (64, &[1, 4, 16]));
        check_one_store(70, &[4, 16, 64], (17, &[1, 4, 16]));
        check_one_store(63, &[4, 16, 64], (15, &[1, 4, 16]));
    }

    #[test]
    fn mtty_is_the_same_in_every_state() {
        check_one_store(24, &[1, 2], (24, &[1, 2]));
    }

    #[test]
    fn mdpy_is_the_same_in_every_state() {
        check_one_store(4, &[1, 1, 1], (4, &[1, 1, 1]));
        check_one_store(1, &[1], (1, &[1]));
    }

    #[test]
    fn a_store_without_a_smallest_type_is_never_taken_for_larger() {
        let driver = Driver { stores: vec![29], needs: vec![vec![4], vec![6]] };
        let mut remembered = None;
        for state in driver.states() {
            let budget = one_store(&driver.look(&state), remembered).unwrap();
            assert!(budget.slots <= 14, "{state:?}: {budget:?}");
            assert!(remembered <= Some(budget.slots), "{state:?}: what was known is forgotten");
            remembered = Some(budget.slots);
        }
        assert_eq!(remembered, Some(14));
    }

    #[test]
    fn a_budget_that_changed_is_believed_over_memory() {
        let driver = Driver { stores: vec![16], needs: vec![vec![4], vec![16]] };
        assert_eq!(one_store(&driver.look(&[0, 0]), Some(64)).unwrap().slots, 4);
    }

    /// A card of 896 MB low and 2688 MB high graphics memory and 28 fences.
    fn gvt() -> Driver {
        Driver {
            stores: vec![896, 2688, 28],
            needs: vec![vec![512, 2048, 4], vec![256, 1024, 4], vec![128, 512, 4], vec![64, 384, 4]],
        }
    }

    #[test]
    fn fractions_are_the_same_in_every_state_and_never_too_many() {
        let driver = gvt();
        let mut remembered = Vec::new();
        let empty = several_stores(&driver.look(&[0, 0, 0, 0]), &mut remembered).unwrap();
        assert_eq!(remembered, [1, 2, 5, 7]);
        for state in driver.states() {
            let look = driver.look(&state);
            assert_eq!(several_stores(&look, &mut remembered).as_ref(), Some(&empty), "{state:?}");
            for (at, it) in look.iter().enumerate() {
                let room = slots(&empty, &state) + u32::from(empty.each[at]) <= u32::from(empty.slots);
                assert!(!room || it.available > 0, "{state:?}: type {at} is permitted and refused");
            }
        }
    }

    #[test]
    fn a_card_first_seen_in_use_is_not_taken_for_larger() {
        let driver = gvt();
        for state in driver.states() {
            let mut first = Vec::new();
            let budget = several_stores(&driver.look(&state), &mut first).unwrap();
            let truth = [1, 2, 5, 7];
            assert!(first.iter().zip(truth).all(|(seen, most)| *seen <= most), "{state:?}: {first:?}");
            for (at, it) in driver.look(&state).iter().enumerate() {
                let room = slots(&budget, &state) + u32::from(budget.each[at]) <= u32::from(budget.slots);
                assert!(!room || it.available > 0 || first[at] == 0, "{state:?}: type {at} is permitted and refused");
            }
        }
    }

    #[test]
    fn absurd_numbers_are_no_budget() {
        let absurd = TypeUse { needs: vec![1], available: u32::MAX, existing: u32::MAX };
        assert_eq!(one_store(std::slice::from_ref(&absurd), None), None);
        assert_eq!(one_store(&[], None), None);
        assert_eq!(several_stores(&[], &mut Vec::new()), None);
        let mut remembered = Vec::new();
        let large = several_stores(&[absurd], &mut remembered).unwrap();
        assert_eq!((large.slots, large.each), (u16::MAX, vec![1]));
    }
}
