//! `nvidia-smi` as far as vGPU and MIG need it.

use super::Output;
use crate::state::State;

pub(super) fn run(_: &mut State, _: &[&str]) -> Output {
    Output::fail(2, "nvidia-smi: not yet\n")
}
