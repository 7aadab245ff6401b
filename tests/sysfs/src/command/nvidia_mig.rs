//! `nvidia-smi mig` and `nvidia-smi -mig`: section 3.3 of the reference.

use std::fmt::Write as _;

use super::Output;
use super::nvidia_smi::{IN_USE, NOT_FOUND, NOT_SUPPORTED};
use super::table::option;
use crate::host::Host;
use crate::nvidia::board::GpuBoard;

/// NVML's error code for it.
const INSUFFICIENT_RESOURCES: i32 = 23;

pub(super) fn set_mode(gpu: &mut GpuBoard, host: &Host, on: bool) -> Output {
    let address = gpu.long_address();
    let busy = gpu.held(host) || !gpu.vgpus.is_empty();
    let enabled = gpu.pf.sriov.as_ref().is_some_and(|sriov| sriov.number > 0);
    let Some(mig) = &mut gpu.mig else {
        return Output::fail(NOT_SUPPORTED, format!("Unable to set MIG mode for GPU {address}: Not Supported\n"));
    };
    let word = if on { "enable" } else { "disable" };
    if !on && mig.on && enabled {
        return Output::fail(
            IN_USE,
            format!("Unable to {word} MIG Mode for GPU {address}: In use by another client\n"),
        );
    }
    if mig.on != on && busy {
        mig.pending = Some(on);
        // It waits for a reset of the GPU, and says so with a good end.
        let text = format!(
            "Warning: MIG mode is in pending {word} state for GPU {address}:In use by another client\nAll done.\n"
        );
        return Output::ok(text);
    }
    mig.pending = None;
    if mig.on != on {
        mig.on = on;
        mig.instances.clear();
    }
    let word = if on { "Enabled" } else { "Disabled" };
    Output::ok(format!("{word} MIG Mode for GPU {address}\nAll done.\n"))
}

pub(super) fn run(gpu: &mut GpuBoard, index: usize, arguments: &[&str]) -> Output {
    if !gpu.mig.as_ref().is_some_and(|mig| mig.on) {
        return Output::fail(NOT_FOUND, "No MIG-enabled devices found.\n");
    }
    let has = |names: [&str; 2]| arguments.iter().any(|argument| names.contains(argument));
    if let Some(list) = option(arguments, &["-cgi", "--create-gpu-instance"]) {
        create(gpu, index, list)
    } else if has(["-lgip", "--list-gpu-instance-profiles"]) {
        list_profiles(gpu, index)
    } else if has(["-lgipp", "--list-gpu-instance-possible-placements"]) {
        list_placements(gpu, index)
    } else if has(["-lgi", "--list-gpu-instances"]) {
        list(gpu, index)
    } else if has(["-dgi", "--destroy-gpu-instance"]) {
        destroy(gpu, index, option(arguments, &["-gi", "--gpu-instance-id"]))
    } else {
        Output::fail(2, format!("nvidia-smi mig: this stub does not know {arguments:?}\n"))
    }
}

fn create(gpu: &mut GpuBoard, index: usize, list: &str) -> Output {
    let Some(mig) = &mut gpu.mig else { return Output::fail(NOT_SUPPORTED, "") };
    let mut text = String::new();
    for wanted in list.split(',') {
        // A profile may be followed by the slice at which its instance is to begin.
        let (wanted, start) = match wanted.split_once(':') {
            Some((wanted, start)) => (wanted, start.parse().ok()),
            None => (wanted, None),
        };
        let found = mig
            .model
            .profiles
            .iter()
            .find(|profile| wanted.parse() == Ok(profile.id) || wanted.trim_start_matches("MIG ") == profile.name);
        let Some(profile) = found.copied() else {
            let _ = writeln!(text, "Unable to find GPU instance profile {wanted} on GPU {index:2}");
            return Output::fail(NOT_FOUND, text);
        };
        let (id, name) = (profile.id, profile.name);
        let Some(instance) = mig.create_at(id, start) else {
            let _ = writeln!(
                text,
                "Unable to create a GPU instance on GPU {index:2} using profile {id}: Insufficient Resources\n\
                 Failed to create GPU instances: Insufficient Resources"
            );
            // Those before it stay.
            return Output::fail(INSUFFICIENT_RESOURCES, text);
        };
        let instance = instance.id;
        let _ = writeln!(
            text,
            "Successfully created GPU instance ID {instance:2} on GPU {index:2} using profile MIG {name} (ID {id:2})"
        );
    }
    Output::ok(text)
}

fn destroy(gpu: &mut GpuBoard, index: usize, list: Option<&str>) -> Output {
    let busy: Vec<u32> = gpu.vgpus.values().filter_map(|vgpu| vgpu.gpu_instance).collect();
    let Some(mig) = &mut gpu.mig else { return Output::fail(NOT_SUPPORTED, "") };
    let ids: Vec<Option<u32>> = match list {
        Some(list) => list.split(',').map(|id| id.parse().ok()).collect(),
        None => mig.instances.iter().map(|instance| Some(instance.id)).collect(),
    };
    if ids.is_empty() {
        return Output::fail(NOT_FOUND, "No GPU instances found: Not Found\n");
    }
    let mut text = String::new();
    for id in ids {
        let Some(id) = id.filter(|id| mig.instances.iter().any(|instance| instance.id == *id)) else {
            text.push_str("Unable to find GPU instance: Not Found\n");
            return Output::fail(NOT_FOUND, text);
        };
        if busy.contains(&id) {
            let _ = writeln!(
                text,
                "Unable to destroy GPU instance ID {id:2} from GPU {index:2}: In use by another client\n\
                 Failed to destroy GPU instances: In use by another client"
            );
            return Output::fail(IN_USE, text);
        }
        mig.instances.retain(|instance| instance.id != id);
        let _ = writeln!(text, "Successfully destroyed GPU instance ID {id:2} from GPU {index:2}");
    }
    Output::ok(text)
}

fn list_profiles(gpu: &GpuBoard, index: usize) -> Output {
    let Some(mig) = &gpu.mig else { return Output::fail(NOT_SUPPORTED, "") };
    let line = "-".repeat(77);
    let mut text = format!(
        "+{line}+\n\
         | GPU instance profiles:                                                      |\n\
         | GPU   Name             ID    Instances   Memory     P2P    SM    DEC   ENC  |\n\
         |                              Free/Total   GiB              CE    JPEG  OFA  |\n\
         |{}|\n",
        "=".repeat(77)
    );
    for profile in &mig.model.profiles {
        let total = profile.starts.len();
        let free = mig.free(profile);
        let name = format!("MIG {}", profile.name);
        let (id, memory) = (profile.id, profile.memory_gib);
        let instances = format!("{free}/{total}");
        let sm = profile.compute * 14;
        let row =
            format!("{index:4}  {name:<15}{id:4}     {instances:<8}{memory:>9}       No    {sm:3}     0     0   ");
        let _ = writeln!(text, "|{row:<77}|");
        let _ = writeln!(text, "|{:<77}|", format!("{:>61}     0     0   ", profile.compute));
        let _ = writeln!(text, "+{line}+");
    }
    Output::ok(text)
}

fn list_placements(gpu: &GpuBoard, index: usize) -> Output {
    let Some(mig) = &gpu.mig else { return Output::fail(NOT_SUPPORTED, "") };
    let mut text = String::new();
    for profile in &mig.model.profiles {
        let word = if profile.starts.len() > 1 { "Placements:" } else { "Placement :" };
        let starts: Vec<String> = profile.starts.iter().map(u32::to_string).collect();
        let (id, starts, size) = (profile.id, starts.join(","), profile.size);
        let _ = writeln!(text, "GPU {index:2} Profile ID {id:2} {word} {{{starts}}}:{size}");
    }
    Output::ok(text)
}

fn list(gpu: &GpuBoard, index: usize) -> Output {
    let Some(mig) = &gpu.mig else { return Output::fail(NOT_SUPPORTED, "") };
    if mig.instances.is_empty() {
        return Output::fail(NOT_FOUND, "No GPU instances found: Not Found\n");
    }
    let line = "-".repeat(55);
    let mut text = format!(
        "+{line}+\n\
         | GPU instances:                                        |\n\
         | GPU   Name             Profile  Instance   Placement  |\n\
         |                          ID       ID       Start:Size |\n\
         |{}|\n",
        "=".repeat(55)
    );
    for instance in &mig.instances {
        let name = mig.model.profile(instance.profile).map_or("", |profile| profile.name);
        let name = format!("MIG {name}");
        let (profile, id, start, size) = (instance.profile, instance.id, instance.start, instance.size);
        let row = format!("{index:4}  {name:<15}{profile:6}{id:9}{:>14}", format!("{start}:{size}"));
        let _ = writeln!(text, "|{row:<55}|");
        let _ = writeln!(text, "+{line}+");
    }
    Output::ok(text)
}
