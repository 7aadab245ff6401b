//! AMD's `amd-smi` on a GIM host: section 10.3 of the reference. The spelling of options follows the reference where it gives one; the
//! form of messages is ours.

use super::{Output, table};
use crate::state::State;

pub(super) fn run(state: &mut State, arguments: &[&str]) -> Output {
    let all = table::boards(state, |board| board.mxgpu().is_some());
    let gpu = table::option(arguments, &["--gpu", "-g"]);
    let board = match gpu {
        Some(name) => table::choose(state, &all, name),
        None => all.first().copied(),
    };
    if let Some(number) = table::option(arguments, &["--num-vf"]) {
        let (Some(board), Ok(number)) = (board, number.parse()) else {
            return Output::fail(1, "AMDSMI_STATUS_INVAL\n");
        };
        return answer(state.at(board, |board, host| {
            board.mxgpu().map_or(Err("AMDSMI_STATUS_NOT_FOUND"), |board| board.set_number(host, number))
        }));
    }
    if let (Some(function), true) = (table::option(arguments, &["--vf"]), arguments.contains(&"--vf-fb")) {
        let Some(board) = state.board_of(function) else { return Output::fail(1, "AMDSMI_STATUS_NOT_FOUND\n") };
        return answer(state.at(board, |board, host| {
            board.mxgpu().map_or(Err("AMDSMI_STATUS_NOT_FOUND"), |board| board.clear_framebuffer(host, function))
        }));
    }
    Output::fail(2, "amd-smi: this stub knows: set --num-vf=N, reset --vf ADDRESS --vf-fb\n")
}

fn answer(result: Result<(), &str>) -> Output {
    match result {
        Ok(()) => Output::ok("AMDSMI_STATUS_SUCCESS\n"),
        Err(status) => Output::fail(1, format!("{status}\n")),
    }
}
