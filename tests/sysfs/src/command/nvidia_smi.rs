//! `nvidia-smi` as far as vGPU and MIG need it. What it prints has the form of the vendor's output; its exit statuses are those of
//! NVML's error codes, which the reference does not confirm.

use std::fmt::Write as _;

use super::table::{choose, option};
use super::{Output, nvidia_mig, table};
use crate::host::Host;
use crate::nvidia::VgpuType;
use crate::nvidia::board::GpuBoard;
use crate::nvidia::room::slots;
use crate::state::State;

pub(super) const NOT_SUPPORTED: i32 = 3;
pub(super) const NOT_FOUND: i32 = 6;
pub(super) const IN_USE: i32 = 19;

pub(super) fn run(state: &mut State, arguments: &[&str]) -> Output {
    let all = table::boards(state, |board| board.nvidia().is_some_and(|gpu| !gpu.unbind_lock && gpu.is_bound()));
    let chosen = match option(arguments, &["-i", "--id"]) {
        Some(name) => choose(state, &all, name).into_iter().collect(),
        None => all.clone(),
    };
    if chosen.is_empty() {
        return Output::fail(NOT_FOUND, "No devices were found\n");
    }
    let mut output = Output::ok("");
    for board in chosen {
        let index = all.iter().position(|other| *other == board).unwrap_or_default();
        let one = state.at(board, |board, host| match board.nvidia() {
            Some(gpu) => on_gpu(gpu, host, index, arguments),
            None => Output::ok(""),
        });
        output.status = output.status.max(one.status);
        output.text.push_str(&one.text);
    }
    output
}

fn on_gpu(gpu: &mut GpuBoard, host: &mut Host, index: usize, arguments: &[&str]) -> Output {
    match arguments.first() {
        Some(&"mig") => nvidia_mig::run(gpu, index, arguments),
        Some(&"vgpu") => vgpu(gpu, host, arguments),
        _ if arguments.contains(&"-L") => Output::ok(format!("GPU {index}: {}\n", gpu.model.model)),
        _ if arguments.contains(&"-q") => query(gpu),
        _ => match option(arguments, &["-mig", "--multi-instance-gpu"]) {
            Some(mode @ ("0" | "1")) => nvidia_mig::set_mode(gpu, host, mode == "1"),
            _ => Output::fail(2, format!("nvidia-smi: this stub does not know {arguments:?}\n")),
        },
    }
}

fn query(gpu: &GpuBoard) -> Output {
    let on = |on: bool| if on { "Enabled" } else { "Disabled" };
    let mut text = format!("GPU {}\n", gpu.long_address());
    let _ = writeln!(text, "    Product Name                          : {}", gpu.model.model);
    let _ = writeln!(text, "    MIG Mode");
    let (current, pending) = match &gpu.mig {
        Some(mig) => (on(mig.on), on(mig.pending.unwrap_or(mig.on))),
        None => ("N/A", "N/A"),
    };
    let _ = writeln!(text, "        Current                           : {current}");
    let _ = writeln!(text, "        Pending                           : {pending}");
    let _ = writeln!(text, "    GPU Virtualization Mode");
    let _ = writeln!(text, "        Virtualization Mode               : Host VGPU");
    let mode = if gpu.pf.sriov.is_some() { "SR-IOV" } else { "Non SR-IOV" };
    let _ = writeln!(text, "        Host VGPU Mode                    : {mode}");
    let _ = writeln!(text, "        vGPU Heterogeneous Mode           : {}", on(gpu.mixed_size));
    Output::ok(text)
}

fn vgpu(gpu: &mut GpuBoard, host: &mut Host, arguments: &[&str]) -> Output {
    if let Some(mode) = option(arguments, &["-shm", "--set-heterogeneous-mode"]) {
        return match mode {
            "0" | "1" => set_mixed_size(gpu, host, mode == "1"),
            _ => Output::fail(2, "Invalid mode for vGPU heterogeneous mode\n"),
        };
    }
    let verbose = arguments.iter().any(|argument| ["-v", "--verbose"].contains(argument));
    let types: Vec<&VgpuType> = if arguments.iter().any(|argument| ["-s", "--supported"].contains(argument)) {
        gpu.model.types.iter().collect()
    } else if arguments.iter().any(|argument| ["-c", "--creatable"].contains(argument)) {
        gpu.model.types.iter().filter(|vgpu_type| gpu.room(vgpu_type) > 0).collect()
    } else {
        return Output::fail(2, format!("nvidia-smi: this stub does not know {arguments:?}\n"));
    };
    let mut text = format!("GPU {}\n", gpu.long_address());
    for vgpu_type in types {
        if verbose {
            describe(&mut text, gpu, vgpu_type);
        } else {
            let _ = writeln!(text, "    {}", vgpu_type.name);
        }
    }
    Output::ok(text)
}

fn describe(text: &mut String, gpu: &GpuBoard, vgpu_type: &VgpuType) {
    let class = match vgpu_type.series() {
        'C' => "Compute",
        'Q' => "Quadro",
        _ => "NVS",
    };
    let profile = vgpu_type.gpu_instance_profile.map_or("N/A".to_owned(), |profile| profile.to_string());
    let _ = writeln!(text, "    vGPU Type ID                          : {:#x}", vgpu_type.number);
    let _ = writeln!(text, "        Name                              : {}", vgpu_type.name);
    let _ = writeln!(text, "        Class                             : {class}");
    let _ = writeln!(text, "        GPU Instance Profile ID           : {profile}");
    let _ = writeln!(text, "        Max Instances                     : {}", vgpu_type.max);
    let _ = writeln!(text, "        Max Instances Per VM              : 1");
    let _ = writeln!(text, "        FB Memory                         : {} MiB", vgpu_type.framebuffer_mib);
    if gpu.mixed_size {
        let places: Vec<String> = gpu.free_placements(vgpu_type, None).iter().map(u32::to_string).collect();
        let _ = writeln!(text, "        vGPU Placement Size               : {}", slots(vgpu_type));
        let _ = writeln!(text, "        Creatable vGPU Placement IDs      : {}", places.join(" "));
    }
}

/// Section 3.1 of the reference.
fn set_mixed_size(gpu: &mut GpuBoard, host: &Host, on: bool) -> Output {
    let address = gpu.long_address();
    let enabled = gpu.pf.sriov.as_ref().is_none_or(|sriov| sriov.number > 0);
    let mig = gpu.mig.as_ref().is_some_and(|mig| mig.on);
    if !gpu.model.supports_mixed_size || mig || !enabled {
        return Output::fail(
            NOT_SUPPORTED,
            format!("Unable to set vGPU heterogeneous mode for GPU {address}: Not Supported\n"),
        );
    }
    // Created is enough; it need not run.
    if !gpu.vgpus.is_empty() || gpu.held(host) {
        return Output::fail(
            IN_USE,
            format!("Unable to set vGPU heterogeneous mode for GPU {address}: In use by another client\n"),
        );
    }
    gpu.mixed_size = on;
    let word = if on { "Enabled" } else { "Disabled" };
    Output::ok(format!("{word} vGPU heterogeneous mode for GPU {address}\n"))
}
