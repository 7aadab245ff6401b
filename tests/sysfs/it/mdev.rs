//! Section 10.1: NVIDIA mdevs, from types to parameters.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use headstart_simsysfs::nvidia::Gpu;
use headstart_simsysfs::{Blueprint, Errno, Machine};

use crate::{errno, list, read, uuid, write};

pub(crate) const T4: &str = "0000:3b:00.0";

pub(crate) fn type_folder(machine: &Machine, parent: &str, id: u32) -> PathBuf {
    machine.path("sys/class/mdev_bus").join(parent).join(format!("mdev_supported_types/nvidia-{id}"))
}

pub(crate) fn available(machine: &Machine, parent: &str, id: u32) -> String {
    read(type_folder(machine, parent, id).join("available_instances"))
}

/// Writes to `create`; the result is for the caller to judge.
pub(crate) fn create(machine: &Machine, parent: &str, id: u32, text: &str) -> std::io::Result<()> {
    fs::write(type_folder(machine, parent, id).join("create"), text)
}

#[test]
fn a_type_tells_what_it_is() {
    let Some(machine) = Blueprint::new().with(Gpu::tesla_t4(T4)).mount_or_skip() else { return };
    let folder = type_folder(&machine, T4, 231);
    assert_eq!(list(&folder), ["available_instances", "create", "description", "device_api", "devices", "name"]);
    assert_eq!(read(folder.join("name")), "GRID T4-2Q");
    assert_eq!(read(folder.join("device_api")), "vfio-pci");
    assert_eq!(read(folder.join("available_instances")), "8");
    assert_eq!(
        read(folder.join("description")),
        "num_heads=4, frl_config=60, framebuffer=2048M, max_resolution=7680x4320, max_instance=8"
    );
}

#[test]
fn a_description_can_be_absent() {
    let Some(machine) = Blueprint::new().with(Gpu::tesla_t4(T4).no_description()).mount_or_skip() else { return };
    assert_eq!(errno(fs::read(type_folder(&machine, T4, 231).join("description"))), Errno::ENOENT);
}

#[test]
fn create_reads_a_uuid_of_36_characters_and_at_most_one_more() {
    let Some(machine) = Blueprint::new().with(Gpu::tesla_t4(T4)).mount_or_skip() else { return };
    let long = format!("{} \n", uuid(1));
    for wrong in [
        "\n",
        "1",
        &uuid(1)[..35],
        &long,
        "c7a1e8b0_0000-4000-8000-000000000001",
        "g7a1e8b0-0000-4000-8000-000000000001",
    ] {
        assert_eq!(errno(create(&machine, T4, 232, wrong)), Errno::EINVAL, "{wrong:?}");
    }
    create(&machine, T4, 232, &format!("{}\n", uuid(1))).expect("a newline is allowed");
    create(&machine, T4, 232, &uuid(2).to_uppercase()).expect("capitals are allowed");
    assert_eq!(list(machine.path("sys/bus/mdev/devices")), [uuid(1), uuid(2)]);
}

#[test]
fn a_uuid_is_taken_on_the_whole_host() {
    let other = "0000:86:00.0";
    let blueprint = Blueprint::new().with(Gpu::tesla_t4(T4)).with(Gpu::tesla_t4(other));
    let Some(machine) = blueprint.mount_or_skip() else { return };
    create(&machine, T4, 232, &uuid(1)).expect("free");
    assert_eq!(errno(create(&machine, other, 232, &uuid(1))), Errno::EEXIST);
    // EEXIST comes before what the driver would say.
    assert_eq!(errno(create(&machine, T4, 231, &uuid(1))), Errno::EEXIST);
}

#[test]
fn a_device_shows_up_everywhere_and_goes_everywhere() {
    let Some(machine) = Blueprint::new().with(Gpu::tesla_t4(T4)).mount_or_skip() else { return };
    create(&machine, T4, 232, &uuid(1)).expect("free");
    let id = uuid(1);
    let folder = machine.pci(T4).join(&id);
    let file_name = |link: &str| fs::read_link(folder.join(link)).expect(link).file_name().expect("a name").to_owned();
    assert_eq!(file_name("mdev_type"), "nvidia-232");
    assert_eq!(file_name("driver"), "nvidia-vgpu-vfio");
    let group = file_name("iommu_group");
    assert!(machine.path("dev/vfio").join(&group).exists());
    assert_eq!(list(machine.path("sys/kernel/iommu_groups").join(&group).join("devices")), [uuid(1)]);
    assert_eq!(list(folder.join("vfio-dev")).len(), 1);
    assert_eq!(list(type_folder(&machine, T4, 232).join("devices")), [uuid(1)]);
    let flat = fs::canonicalize(machine.mdev(&id)).expect("the flat link");
    assert_eq!(flat, fs::canonicalize(&folder).expect("the folder"));

    write(folder.join("remove"), "1");
    assert!(!folder.exists());
    assert!(!machine.path("dev/vfio").join(&group).exists());
    assert_eq!(list(machine.path("sys/bus/mdev/devices")), Vec::<String>::new());
    assert_eq!(list(type_folder(&machine, T4, 232).join("devices")), Vec::<String>::new());
}

#[test]
fn the_first_device_closes_every_other_size_until_the_last_is_deleted() {
    let Some(machine) = Blueprint::new().with(Gpu::tesla_t4(T4)).mount_or_skip() else { return };
    let shown = |ids: [u32; 5]| ids.map(|id| available(&machine, T4, id));
    // 1Q, 2Q, 2B, 2A, 4Q
    let types = [230, 231, 223, 226, 232];
    assert_eq!(shown(types), ["16", "8", "8", "8", "4"]);
    create(&machine, T4, 231, &uuid(1)).expect("free");
    assert_eq!(shown(types), ["0", "7", "7", "7", "0"]);
    assert_eq!(errno(create(&machine, T4, 232, &uuid(9))), Errno::EIO);
    create(&machine, T4, 226, &uuid(2)).expect("the same size, another series");
    assert_eq!(shown(types), ["0", "6", "6", "6", "0"]);

    // A virtual machine that stops opens nothing.
    machine.open(&uuid(1), "one").expect("opened");
    machine.close(&uuid(1));
    assert_eq!(shown(types), ["0", "6", "6", "6", "0"]);
    write(machine.mdev(&uuid(1)).join("remove"), "1");
    assert_eq!(shown(types), ["0", "7", "7", "7", "0"]);
    write(machine.mdev(&uuid(2)).join("remove"), "1");
    assert_eq!(shown(types), ["16", "8", "8", "8", "4"]);
}

#[test]
fn a_driver_that_does_not_mix_leaves_only_the_identical_type_open() {
    let Some(machine) = Blueprint::new().with(Gpu::tesla_t4(T4).identical_types_only()).mount_or_skip() else { return };
    create(&machine, T4, 231, &uuid(1)).expect("free");
    assert_eq!(available(&machine, T4, 231), "7");
    assert_eq!(available(&machine, T4, 226), "0");
    assert_eq!(errno(create(&machine, T4, 226, &uuid(2))), Errno::EIO);
}

#[test]
fn a_full_gpu_refuses() {
    let Some(machine) = Blueprint::new().with(Gpu::tesla_t4(T4)).mount_or_skip() else { return };
    for n in 0..2 {
        create(&machine, T4, 233, &uuid(n)).expect("two of 8 GB in 16 GB");
    }
    assert_eq!(available(&machine, T4, 233), "0");
    assert_eq!(errno(create(&machine, T4, 233, &uuid(3))), Errno::EIO);
    assert!(!machine.mdev(&uuid(3)).exists());
}

#[test]
fn a_virtual_function_has_one_or_none() {
    let a2 = "0000:08:00.0";
    let Some(machine) = Blueprint::new().with(Gpu::a2(a2).vfs_enabled()).mount_or_skip() else { return };
    // Addresses of the capture: from function 4 on, across devices.
    let first = fs::read_link(machine.pci(a2).join("virtfn0")).expect("a link");
    let last = fs::read_link(machine.pci(a2).join("virtfn15")).expect("a link");
    assert_eq!((first.to_str(), last.to_str()), (Some("../0000:08:00.4"), Some("../0000:08:02.3")));
    let (one, two) = ("0000:08:00.4", "0000:08:00.5");
    assert_eq!(available(&machine, one, 750), "1");
    create(&machine, one, 750, &uuid(1)).expect("free");
    assert_eq!(available(&machine, one, 750), "0");
    assert_eq!(errno(create(&machine, one, 750, &uuid(2))), Errno::EIO);
    // The sibling is free, but only for this size; each free VF counts though memory holds but one more.
    assert_eq!([available(&machine, two, 750), available(&machine, two, 749)], ["1", "0"]);
    assert_eq!(available(&machine, "0000:08:02.3", 750), "1");
    create(&machine, two, 750, &uuid(3)).expect("the second half of 16 GB");
    assert_eq!(available(&machine, "0000:08:02.3", 750), "0");
}

#[test]
fn a_physical_function_with_virtual_ones_offers_no_types() {
    let a2 = "0000:08:00.0";
    let Some(machine) = Blueprint::new().with(Gpu::a2(a2).vfs_enabled()).mount_or_skip() else { return };
    assert!(!machine.pci(a2).join("mdev_supported_types").exists());
    let parents = list(machine.path("sys/class/mdev_bus"));
    assert_eq!(parents.len(), 16);
    assert!(!parents.contains(&a2.to_owned()));
}

#[test]
fn types_appear_when_the_driver_is_ready() {
    let gpu = Gpu::tesla_t4(T4).slow_start(Duration::from_secs(30));
    let Some(machine) = Blueprint::new().with(gpu).time_by_hand().mount_or_skip() else { return };
    assert_eq!(list(machine.path("sys/class/mdev_bus")), Vec::<String>::new());
    machine.advance(Duration::from_secs(29));
    assert!(!machine.pci(T4).join("mdev_supported_types").exists());
    machine.advance(Duration::from_secs(1));
    assert_eq!(available(&machine, T4, 232), "4");
}

#[test]
fn parameters_are_read_back_and_a_space_clears_them() {
    let Some(machine) = Blueprint::new().with(Gpu::tesla_t4(T4)).mount_or_skip() else { return };
    create(&machine, T4, 232, &uuid(1)).expect("free");
    let file = machine.mdev(&uuid(1)).join("nvidia/vgpu_params");
    assert_eq!(read(&file), "");
    write(&file, "frame_rate_limiter=0,disable_vnc=1\n");
    assert_eq!(read(&file), "frame_rate_limiter=0,disable_vnc=1");
    assert_eq!(errno(fs::write(&file, "x".repeat(2000))), Errno::E2BIG);
    assert_eq!(read(&file), "frame_rate_limiter=0,disable_vnc=1");
    write(&file, " ");
    assert_eq!(read(&file), "");

    write(&file, "disable_vnc=1");
    machine.open(&uuid(1), "desktop").expect("opened");
    assert_eq!(errno(fs::write(&file, "disable_vnc=0")), Errno::EPERM);
    assert_eq!(read(&file), "disable_vnc=1");
}

#[test]
fn parameters_are_lost_with_the_device() {
    let Some(machine) = Blueprint::new().with(Gpu::tesla_t4(T4)).mount_or_skip() else { return };
    let file = machine.mdev(&uuid(1)).join("nvidia/vgpu_params");
    create(&machine, T4, 232, &uuid(1)).expect("free");
    write(&file, "disable_vnc=1");
    write(machine.mdev(&uuid(1)).join("remove"), "1");
    create(&machine, T4, 232, &uuid(1)).expect("free again");
    assert_eq!(read(&file), "");
}

#[test]
fn vm_name_is_blank_or_the_text_of_qemu() {
    let plain = "0000:86:00.0";
    let blueprint = Blueprint::new().with(Gpu::tesla_t4(T4)).with(Gpu::tesla_t4(plain).plain_vm_name());
    let Some(machine) = blueprint.mount_or_skip() else { return };
    create(&machine, T4, 232, &uuid(1)).expect("free");
    create(&machine, plain, 232, &uuid(2)).expect("free");
    let name = |n| read(machine.mdev(&uuid(n)).join("nvidia/vm_name"));
    assert_eq!([name(1), name(2)], ["", ""]);
    machine.open(&uuid(1), "desktop 7").expect("opened");
    machine.open(&uuid(2), "desktop 8").expect("opened");
    assert_eq!([name(1), name(2)], ["desktop 7,debug-threads=on", "desktop 8"]);
    machine.close(&uuid(1));
    assert_eq!(name(1), "");
}

#[test]
fn placements_are_given_first_fit_and_moved_while_nobody_uses_them() {
    let pf = "0000:5e:00.0";
    let gpu = Gpu::a40(pf).vfs_enabled().mixed_size().extra_files();
    let Some(machine) = Blueprint::new().with(gpu).mount_or_skip() else { return };
    let vf = |n: u32| format!("0000:5e:00.{}", n + 4);
    let file = |n: u32| machine.mdev(&uuid(n)).join("nvidia/placement_id");
    create(&machine, &vf(0), 558, &uuid(0)).expect("2 GB");
    create(&machine, &vf(1), 565, &uuid(1)).expect("24 GB beside it");
    assert_eq!([read(file(0)), read(file(1))], ["0", "24"]);
    // What is left is 2..24: no place for 24, nor for 16 whose places are 0, 16 and 32.
    assert_eq!(available(&machine, &vf(2), 565), "0");
    assert_eq!(available(&machine, &vf(2), 564), "0");
    assert_eq!(available(&machine, &vf(2), 563), "1");

    assert_eq!(errno(fs::write(file(0), "24")), Errno::EINVAL);
    assert_eq!(errno(fs::write(file(0), "high")), Errno::EINVAL);
    write(file(0), "22");
    assert_eq!(read(file(0)), "22");
    machine.open(&uuid(0), "desktop").expect("opened");
    assert_eq!(errno(fs::write(file(0), "2")), Errno::EPERM);
}

#[test]
fn placement_files_say_when_they_do_not_apply_or_are_absent() {
    let without = "0000:86:00.0";
    let blueprint = Blueprint::new().with(Gpu::tesla_t4(T4).extra_files()).with(Gpu::tesla_t4(without));
    let Some(machine) = blueprint.mount_or_skip() else { return };
    create(&machine, T4, 232, &uuid(1)).expect("free");
    create(&machine, without, 232, &uuid(2)).expect("free");
    let folder = machine.mdev(&uuid(1)).join("nvidia");
    assert_eq!(read(folder.join("placement_id")), "Not Applicable");
    assert_eq!(read(folder.join("gpu_instance_id")), "Not Applicable");
    assert_eq!(errno(fs::write(folder.join("placement_id"), "0")), Errno::EINVAL);
    assert_eq!(list(machine.mdev(&uuid(2)).join("nvidia")), ["vgpu_params", "vm_name"]);
}

#[test]
fn a_wrong_placement_parameter_is_found_out_when_the_vm_boots() {
    let gpu = Gpu::a40("0000:5e:00.0").vfs_enabled().mixed_size();
    let Some(machine) = Blueprint::new().with(gpu).mount_or_skip() else { return };
    create(&machine, "0000:5e:00.4", 565, &uuid(1)).expect("24 GB");
    let file = machine.mdev(&uuid(1)).join("nvidia/vgpu_params");
    write(&file, "vgpu-placement-id=5");
    assert_eq!(machine.open(&uuid(1), "desktop"), Err(Errno::EIO));
    write(&file, "vgpu-placement-id=24");
    machine.open(&uuid(1), "desktop").expect("a place that exists");
}

#[test]
fn the_type_link_can_come_after_the_device() {
    let gpu = Gpu::tesla_t4(T4).late_type_link(Duration::from_secs(1));
    let Some(machine) = Blueprint::new().with(gpu).time_by_hand().mount_or_skip() else { return };
    create(&machine, T4, 232, &uuid(1)).expect("free");
    assert!(machine.mdev(&uuid(1)).join("remove").exists());
    assert!(!machine.mdev(&uuid(1)).join("mdev_type").exists());
    machine.advance(Duration::from_secs(1));
    assert!(machine.mdev(&uuid(1)).join("mdev_type").exists());
}

#[test]
fn create_on_a_parent_that_is_being_unregistered_answers_enodev() {
    use std::io::Write;
    let Some(machine) = Blueprint::new().with(Gpu::tesla_t4(T4)).mount_or_skip() else { return };
    let path = type_folder(&machine, T4, 232).join("create");
    let mut file = fs::OpenOptions::new().write(true).open(&path).expect("opened");
    machine.set_ready(T4, false);
    assert_eq!(errno(file.write(uuid(1).as_bytes())), Errno::ENODEV);
    assert_eq!(errno(fs::OpenOptions::new().write(true).open(&path)), Errno::ENOENT);
}
