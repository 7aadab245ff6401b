//! Section 10.3: AMD MxGPU under GIM.

use std::fs;
use std::process::Command;

use headstart_simsysfs::amd::Mxgpu;
use headstart_simsysfs::{Blueprint, Errno, Machine};

use crate::{errno, list, read, write};

const PF: &str = "0000:c3:00.0";
const VF: &str = "0000:c3:00.1";

fn smi(machine: &Machine, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(machine.path("usr/bin/amd-smi")).args(arguments).output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("text").trim_end().to_owned())
}

#[test]
fn functions_are_there_when_the_module_is_loaded() {
    let Some(machine) = Blueprint::new().with(Mxgpu::v710(PF, 4)).mount_or_skip() else { return };
    let file = |name: &str| read(machine.pci(PF).join(name));
    assert_eq!([file("vendor"), file("sriov_totalvfs"), file("sriov_numvfs")], ["0x1002", "12", "4"]);
    assert_eq!(fs::read_link(machine.pci(PF).join("driver")).expect("bound").file_name(), Some("gim".as_ref()));
    assert!(machine.pci(PF).join("virtfn3").exists());
    // The host must not load amdgpu for them.
    assert!(!machine.pci(VF).join("driver").exists());
    assert!(machine.pci(PF).join("accelerator_partition_profile").exists());
    machine.reboot();
    assert_eq!(file("sriov_numvfs"), "4");
}

#[test]
fn sriov_numvfs_is_refused() {
    let Some(machine) = Blueprint::new().with(Mxgpu::v710(PF, 4)).mount_or_skip() else { return };
    for number in ["0", "8"] {
        assert_eq!(errno(fs::write(machine.pci(PF).join("sriov_numvfs"), number)), Errno::ENOENT, "{number}");
    }
    assert_eq!(read(machine.pci(PF).join("sriov_numvfs")), "4");
}

#[test]
fn a_partition_that_firmware_refuses_is_written_and_not_taken() {
    let other = "0000:c5:00.0";
    let blueprint = Blueprint::new().with(Mxgpu::mi300x(PF, 1)).with(Mxgpu::mi300x(other, 1).partition_refused());
    let Some(machine) = blueprint.mount_or_skip() else { return };
    let file = |pf: &str| machine.pci(pf).join("memory_partition_mode");
    write(file(PF), "NPS4");
    write(file(other), "NPS4");
    assert_eq!([read(file(PF)), read(file(other))], ["NPS4", "NPS1"]);
}

#[test]
fn amd_smi_changes_the_number_while_every_function_is_idle() {
    let Some(machine) = Blueprint::new().with(Mxgpu::v710(PF, 4)).mount_or_skip() else { return };
    for wrong in ["--num-vf=0", "--num-vf=13"] {
        assert_eq!(smi(&machine, &["set", wrong]), (Some(1), "AMDSMI_STATUS_INVAL".to_owned()), "{wrong}");
    }
    machine.open_managed(VF, "desktop").expect("opened");
    assert_eq!(smi(&machine, &["set", "--num-vf=2"]), (Some(1), "AMDSMI_STATUS_VF_BUSY".to_owned()));
    assert_eq!(read(machine.pci(PF).join("sriov_numvfs")), "4");

    machine.close_managed(VF);
    write(machine.pci(VF).join("driver_override"), "vfio-pci");
    assert_eq!(smi(&machine, &["set", "--gpu", PF, "--num-vf=2"]).0, Some(0));
    assert_eq!(list(machine.path("sys/bus/pci/devices")), [PF, VF, "0000:c3:00.2"]);
    // All are made anew.
    assert_eq!(read(machine.pci(VF).join("driver_override")), "(null)");
}

#[test]
fn clearing_a_framebuffer_needs_an_idle_function() {
    let Some(machine) = Blueprint::new().with(Mxgpu::v710(PF, 4)).mount_or_skip() else { return };
    let clear = || smi(&machine, &["reset", "--vf", VF, "--vf-fb"]).1;
    assert_eq!(clear(), "AMDSMI_STATUS_SUCCESS");
    machine.open_managed(VF, "desktop").expect("opened");
    assert_eq!(clear(), "AMDSMI_STATUS_BUSY");
}
