//! NVIDIA's `sriov-manage`: section 1.8 of the reference.

use super::{Behavior, Output, table};
use crate::board::Board;
use crate::host::Host;
use crate::state::State;

pub(super) fn run(state: &mut State, arguments: &[&str], behavior: Behavior) -> Output {
    let (enable, which) = match arguments {
        ["-e", which] => (true, *which),
        ["-d", which] => (false, *which),
        _ => return Output::fail(1, "Usage:\n    sriov-manage <-e|-d> <ssss:bb:dd.f|ALL>\n"),
    };
    let all = table::boards(state, |board| board.nvidia().is_some());
    let chosen = match which {
        "ALL" => all,
        // Here only an address is taken, no index.
        address if address.contains(':') => table::choose(state, &all, address).into_iter().collect(),
        _ => Vec::new(),
    };
    if chosen.is_empty() {
        return Output::fail(1, format!("No such GPU: {which}\n"));
    }
    let mut output = Output::ok("");
    for board in chosen {
        let one = state.at(board, |board, host| on_board(board, host, enable, behavior));
        output.status = output.status.max(one.status);
        output.text.push_str(&one.text);
    }
    output
}

fn on_board(board: &mut dyn Board, host: &mut Host, enable: bool, behavior: Behavior) -> Output {
    let Some(gpu) = board.nvidia() else { return Output::ok("") };
    let name = gpu.name();
    if gpu.pf.sriov.is_none() {
        // ALL passes over boards that cannot.
        return Output::ok("");
    }
    if gpu.held(host) || gpu.unbind_lock {
        return Output::fail(1, format!("Cannot obtain unbindLock for {name}\n"));
    }
    let word = if enable { "Enabling" } else { "Disabling" };
    if behavior == Behavior::LeavesGpuUnbound {
        gpu.lose_driver(host);
        return Output::fail(1, format!("Error: {name} is without a driver\n"));
    }
    gpu.rebind(host, enable);
    if behavior == Behavior::LeavesFunctionsUnbound {
        gpu.pf.unbind_virtual_functions();
    }
    Output::ok(format!("{word} VFs on {name}\n"))
}
