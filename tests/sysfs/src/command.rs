//! Stub programs in the machine's `usr`: they hand their words to the machine through a stream and print its answer.

mod amd_smi;
mod nvidia_mig;
mod nvidia_smi;
mod sriov_manage;
mod table;

use std::time::Duration;

use fuser::ReplyData;
use nix::errno::Errno;

use crate::attribute::Attribute;
use crate::sketch::Sketch;
use crate::state::State;

/// The stream through which the programs speak.
const STREAM: &str = "run/simsysfs/commands";

/// A stub program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// `usr/lib/nvidia/sriov-manage`: `-e` and `-d` with an address or `ALL`.
    SriovManage,
    /// `usr/bin/nvidia-smi`: `-i N -mig 0|1`, `mig -lgip|-lgipp|-lgi|-cgi|-dgi`, `vgpu -i N -shm 0|1`, `vgpu -s|-c [-v]`.
    NvidiaSmi,
    /// `usr/bin/amd-smi`: `set --gpu N --num-vf=N`, `reset --vf ADDRESS --vf-fb`.
    AmdSmi,
}

impl Program {
    fn path(self) -> &'static str {
        match self {
            Self::SriovManage => "usr/lib/nvidia/sriov-manage",
            Self::NvidiaSmi => "usr/bin/nvidia-smi",
            Self::AmdSmi => "usr/bin/amd-smi",
        }
    }
}

/// How a stub program behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behavior {
    /// As the vendor's.
    Works,
    /// Ends with this status and does nothing.
    Fails(i32),
    /// Ends with 0 and does nothing, as sriov-manage of 17.2 did.
    DoesNothing,
    /// Works, but leaves the virtual functions without a driver. For sriov-manage.
    LeavesFunctionsUnbound,
    /// Leaves the GPU itself without a driver, as sriov-manage can on a GPU with live vGPUs, and ends with 1.
    LeavesGpuUnbound,
    /// Works after this much of the machine's time.
    Takes(Duration),
}

/// What a program prints and how it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) status: i32,
    pub(crate) text: String,
}

impl Output {
    pub(crate) fn ok(text: impl Into<String>) -> Self {
        Self { status: 0, text: text.into() }
    }

    pub(crate) fn fail(status: i32, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }
}

/// Whether a path is a stub program or the pipe that they speak through.
pub(crate) fn is_program(path: &str) -> bool {
    let programs = [Program::SriovManage, Program::NvidiaSmi, Program::AmdSmi];
    path == STREAM || programs.iter().any(|program| program.path() == path)
}

pub(crate) fn draw(sketch: &mut Sketch, nvidia: bool, amd: bool) {
    sketch.content(STREAM, 0o600, Ok(Vec::new()), Some(Attribute::Commands));
    let mut programs = Vec::new();
    if nvidia {
        programs.extend([Program::SriovManage, Program::NvidiaSmi]);
    }
    if amd {
        programs.push(Program::AmdSmi);
    }
    for program in programs {
        let path = program.path();
        // One word a line; the machine answers with the status on a line of its own and then the text.
        let script = format!(
            "#!/bin/sh\n\
             exec 3<>\"${{0%{path}}}{STREAM}\"\n\
             printf '%s\\n' '{path}' \"$@\" >&3\n\
             read -r status <&3\n\
             if [ \"$status\" = 0 ]; then cat <&3; else cat <&3 >&2; fi\n\
             exit \"$status\"\n"
        );
        sketch.content(path, 0o755, Ok(script.into_bytes()), None);
    }
}

/// Words come in.
pub(crate) fn write(state: &mut State, handle: u64, text: &[u8]) -> u32 {
    if let Some(handle) = state.handles.get_mut(&handle) {
        handle.words.extend_from_slice(text);
    }
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

/// The answer goes out. The first read runs the command, and waits while that takes its time.
pub(crate) fn read(state: &mut State, handle: u64, size: u32, reply: ReplyData) {
    let Some(open) = state.handles.get_mut(&handle) else { return reply.error(fuser::Errno::EBADF) };
    if open.asked {
        let take = open.content.len().min(size as usize);
        let bytes: Vec<u8> = open.content.drain(..take).collect();
        // Only now, so that the tree shows what the program has done before it ends.
        return state.answer(Box::new(move |_| reply.data(&bytes)));
    }
    open.asked = true;
    let words = String::from_utf8_lossy(&open.words).into_owned();
    let words: Vec<String> = words.lines().map(str::to_owned).collect();
    let program = [Program::SriovManage, Program::NvidiaSmi, Program::AmdSmi]
        .into_iter()
        .find(|program| words.first().is_some_and(|word| word == program.path()));
    let behavior = program.and_then(|program| state.programs.get(&program)).copied().unwrap_or(Behavior::Works);
    let finish = move |state: &mut State, output: Output| {
        if let Some(open) = state.handles.get_mut(&handle) {
            open.content = format!("{}\n{}", output.status, output.text).into_bytes();
        }
        read(state, handle, size, reply);
    };
    let run = move |state: &mut State| {
        let arguments: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
        match program {
            Some(Program::SriovManage) => sriov_manage::run(state, &arguments, behavior),
            Some(Program::NvidiaSmi) => nvidia_smi::run(state, &arguments),
            Some(Program::AmdSmi) => amd_smi::run(state, &arguments),
            None => Output::fail(127, "no such program\n"),
        }
    };
    match behavior {
        Behavior::Works | Behavior::LeavesFunctionsUnbound | Behavior::LeavesGpuUnbound => {
            let output = run(state);
            finish(state, output);
        }
        Behavior::Fails(status) => finish(state, Output::fail(status, "")),
        Behavior::DoesNothing => finish(state, Output::ok("")),
        Behavior::Takes(time) => {
            state.programs_running += 1;
            state.later(
                time,
                Box::new(move |state, result: Result<_, Errno>| {
                    state.programs_running -= 1;
                    let output = if result.is_ok() { run(state) } else { Output::fail(1, "") };
                    finish(state, output);
                }),
            );
        }
    }
}
