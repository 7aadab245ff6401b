//! Finding a GPU from what stands behind `-i`.

use crate::state::State;

/// The boards of one vendor that are in their slots, in the order in which the machine has them.
pub(super) fn boards(state: &mut State, fits: impl Fn(&mut dyn crate::board::Board) -> bool) -> Vec<usize> {
    let slots = state.slots.iter_mut().enumerate();
    slots.filter_map(|(index, slot)| (slot.present && fits(slot.board.as_mut())).then_some(index)).collect()
}

/// The value behind one of these options, as a word of its own or behind `=`.
pub(super) fn option<'a>(arguments: &[&'a str], names: &[&str]) -> Option<&'a str> {
    arguments.iter().enumerate().find_map(|(at, argument)| {
        if names.contains(argument) {
            return arguments.get(at + 1).copied();
        }
        let (name, value) = argument.split_once('=')?;
        names.contains(&name).then_some(value)
    })
}

/// One board by index or address, in the order of `boards`.
pub(super) fn choose(state: &State, boards: &[usize], name: &str) -> Option<usize> {
    if let Ok(index) = name.parse::<usize>() {
        return boards.get(index).copied();
    }
    // nvidia-smi takes eight digits of domain as well as four.
    let address = name.parse::<crate::address::Address>().ok()?.to_string();
    boards.iter().copied().find(|board| state.slots[*board].board.name() == address)
}
