//! Plain folders out of a machine, and captured ones into it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use headstart_simsysfs::nvidia::Gpu;
use headstart_simsysfs::samples::Sample;
use headstart_simsysfs::sriov::Device;
use headstart_simsysfs::{Blueprint, Errno};

use crate::mdev::{T4, create};
use crate::{errno, list, read, uuid, write};

/// Every file, link and folder below a folder with its content.
fn everything(root: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = ["sys", "proc", "dev"].iter().map(|name| root.join(name)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let kind = fs::symlink_metadata(&path).expect("there").file_type();
            let inside = path.strip_prefix(root).expect("below").to_owned();
            if kind.is_dir() {
                found.push((inside, "folder".to_owned()));
                folders.push(path);
            } else if kind.is_symlink() {
                found.push((inside, format!("-> {}", fs::read_link(&path).expect("a link").display())));
            } else {
                // Devices, and what can only be written, have nothing to compare.
                found.push((inside, fs::read_to_string(&path).unwrap_or_default()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_written_tree_is_what_is_mounted() {
    let blueprint = Blueprint::new()
        .with(Gpu::tesla_t4(T4))
        .with(Gpu::l40s("0000:86:00.0").vfs_enabled())
        .with(Device::igb("0000:4d:00.0").enabled(2))
        .with(Sample::mbochs());
    let Some(machine) = blueprint.mount_or_skip() else { return };
    create(&machine, T4, 232, &uuid(1)).expect("free");
    machine.open(&uuid(1), "desktop").expect("opened");
    let folder = tempfile::tempdir().expect("a folder");
    machine.write_tree(folder.path()).expect("written");
    let (written, mounted) = (everything(folder.path()), everything(machine.root()));
    assert!(written.len() > 1000, "only {} entries", written.len());
    for (one, other) in written.iter().zip(&mounted) {
        assert_eq!(one, other);
    }
    assert_eq!(written.len(), mounted.len());
}

#[test]
fn a_big_host_needs_no_mount() {
    let gpus = Gpu::l40s("0000:10:00.0").vfs(8).vfs_enabled().times(4);
    let machine = Blueprint::new().with_all(gpus).unmounted();
    let folder = tempfile::tempdir().expect("a folder");
    machine.write_tree(folder.path()).expect("written");
    let functions = list(folder.path().join("sys/bus/pci/devices"));
    assert_eq!(functions.len(), 4 * 9);
    assert_eq!(read(folder.path().join("sys/bus/pci/devices/0000:16:00.0/virtfn7/nvidia/current_vgpu_type")), "0");
}

#[test]
fn a_capture_is_a_machine_without_rules() {
    let capture = tempfile::tempdir().expect("a folder");
    let home = capture.path().join("sys/devices/pci0000:3b/0000:3b:00.0");
    let mdev_type = home.join("mdev_supported_types/nvidia-1");
    fs::create_dir_all(mdev_type.join("devices")).expect("made");
    fs::create_dir_all(capture.path().join("sys/class/mdev_bus")).expect("made");
    symlink("../../devices/pci0000:3b/0000:3b:00.0", capture.path().join("sys/class/mdev_bus/0000:3b:00.0"))
        .expect("made");
    fs::write(mdev_type.join("create"), "").expect("made");
    fs::write(mdev_type.join("available_instances"), "3\n").expect("made");
    fs::write(home.join("sriov_numvfs"), "0\n").expect("made");

    // Beside a GPU that does have rules.
    let blueprint = Blueprint::new().fixture(capture.path()).expect("read").with(Gpu::tesla_t4("0000:86:00.0"));
    let Some(machine) = blueprint.mount_or_skip() else { return };
    assert_eq!(list(machine.path("sys/class/mdev_bus")), ["0000:3b:00.0", "0000:86:00.0"]);
    let types = machine.path("sys/class/mdev_bus/0000:3b:00.0/mdev_supported_types");
    assert_eq!(list(types.join("nvidia-1/devices")), Vec::<String>::new());
    assert_eq!(errno(fs::read(types.join("nvidia-1/create"))), Errno::EACCES);
    write(types.join("nvidia-1/create"), &uuid(1));
    assert_eq!(read(types.join("nvidia-1/available_instances")), "3");
    write(machine.path("sys/class/mdev_bus/0000:3b:00.0/sriov_numvfs"), "4\n");
    assert_eq!(read(machine.path("sys/class/mdev_bus/0000:3b:00.0/sriov_numvfs")), "4");
    let told: Vec<String> = machine.writes().iter().map(|write| write.file().to_owned()).collect();
    assert_eq!(told, ["create", "sriov_numvfs"]);
}

#[test]
fn a_capture_that_is_not_there_is_named() {
    let error = Blueprint::new().fixture(Path::new("/no/such/capture")).err().expect("refused").to_string();
    assert!(error.starts_with("/no/such/capture: "), "{error}");
}
