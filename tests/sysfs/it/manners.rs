//! How files of sysfs behave, whatever they mean.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::process::Command;
use std::time::Duration;

use headstart_simsysfs::nvidia::Gpu;
use headstart_simsysfs::sriov::Device;
use headstart_simsysfs::{Blueprint, Errno, Fault};

use crate::mdev::{T4, create, type_folder};
use crate::{DEADLINE, errno, read, uuid};

#[test]
fn modes_bind_even_root() {
    let Some(machine) = Blueprint::new().with(Gpu::tesla_t4(T4)).mount_or_skip() else { return };
    let folder = type_folder(&machine, T4, 232);
    assert_eq!(errno(fs::read(folder.join("create"))), Errno::EACCES);
    assert_eq!(errno(fs::write(folder.join("name"), "x")), Errno::EACCES);
    assert_eq!(errno(OpenOptions::new().write(true).open(folder.join("name"))), Errno::EACCES);
    let mode = |path: &str| fs::metadata(machine.pci(T4).join(path)).expect("there").permissions().mode() & 0o7777;
    assert_eq!([mode("vendor"), mode("driver_override")], [0o444, 0o644]);
    assert_eq!(fs::metadata(folder.join("name")).expect("there").size(), 4096);
}

#[test]
fn nothing_can_be_made_or_removed() {
    let Some(machine) = Blueprint::new().with(Gpu::tesla_t4(T4)).mount_or_skip() else { return };
    // What `echo 1 > sriov_numvfs` gets at a function without SR-IOV.
    assert_eq!(errno(fs::write(machine.pci(T4).join("sriov_numvfs"), "1")), Errno::EACCES);
    assert_eq!(errno(OpenOptions::new().write(true).open(machine.pci(T4).join("sriov_numvfs"))), Errno::ENOENT);
    assert!(fs::remove_file(machine.pci(T4).join("vendor")).is_err());
    assert!(fs::create_dir(machine.pci(T4).join("new")).is_err());
}

#[test]
fn a_read_from_the_start_shows_the_present() {
    let Some(machine) = Blueprint::new().with(Gpu::tesla_t4(T4)).mount_or_skip() else { return };
    let mut file = fs::File::open(type_folder(&machine, T4, 232).join("available_instances")).expect("opened");
    let mut text = String::new();
    file.read_to_string(&mut text).expect("read");
    create(&machine, T4, 232, &uuid(1)).expect("free");
    file.seek(SeekFrom::Start(0)).expect("sought");
    file.read_to_string(&mut text).expect("read");
    assert_eq!(text, "4\n3\n");
}

#[test]
fn each_write_is_one_store() {
    let Some(machine) = Blueprint::new().with(Device::igb("0000:4d:00.0")).mount_or_skip() else { return };
    let path = machine.pci("0000:4d:00.0").join("sriov_numvfs");
    let mut file = OpenOptions::new().write(true).open(&path).expect("opened");
    file.write_all(b"1").expect("one");
    assert_eq!(errno(file.write(b"2")), Errno::EBUSY, "a second store, and no appending");
    file.write_all(b"0").expect("none");
    // A page is the most that a store takes.
    assert_eq!(errno(file.write(&[b' '; 5000])), Errno::EINVAL);
    assert_eq!(machine.writes().last().expect("recorded").text.len(), 4096);
    assert_eq!(read(path), "0");
}

#[test]
fn links_are_relative_and_stay_inside() {
    let gpus = [Gpu::a40("0000:5e:00.0").vfs_enabled(), Gpu::l40s("0000:86:00.0").vfs_enabled()];
    let blueprint =
        Blueprint::new().with_all(gpus).with(Gpu::tesla_t4(T4)).with(Device::igb("0000:4d:00.0").enabled(7));
    let Some(machine) = blueprint.mount_or_skip() else { return };
    create(&machine, T4, 232, &uuid(1)).expect("free");
    let root = machine.root().canonicalize().expect("mounted");
    let mut links = 0;
    let mut folders = vec![root.join("sys")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let kind = fs::symlink_metadata(&path).expect("there").file_type();
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_symlink() {
                links += 1;
                let text = fs::read_link(&path).expect("a link");
                assert!(text.is_relative(), "{} -> {}", path.display(), text.display());
                let target = path.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                assert!(target.starts_with(&root), "{} -> {}", path.display(), target.display());
            }
        }
    }
    assert!(links > 500, "only {links} links were seen");
}

#[test]
fn vfio_nodes_are_devices() {
    let Some(machine) = Blueprint::new().mount_or_skip() else { return };
    let kind = fs::metadata(machine.path("/dev/vfio/vfio")).expect("there").file_type();
    assert!(kind.is_char_device());
}

#[test]
fn an_old_kernel_has_no_vfio_dev() {
    let Some(machine) = Blueprint::new().with(Gpu::tesla_t4(T4)).without_vfio_dev().mount_or_skip() else { return };
    create(&machine, T4, 232, &uuid(1)).expect("free");
    assert!(!machine.mdev(&uuid(1)).join("vfio-dev").exists());
    assert!(!machine.path("dev/vfio/devices").exists());
    assert!(machine.mdev(&uuid(1)).join("iommu_group").exists());
}

#[test]
fn whoever_is_blocked_is_freed_when_the_machine_goes() {
    let Some(machine) = Blueprint::new().with(Gpu::tesla_t4(T4)).mount_or_skip() else { return };
    create(&machine, T4, 232, &uuid(1)).expect("free");
    machine.open(&uuid(1), "desktop").expect("opened");
    let path = machine.mdev(&uuid(1)).join("remove");
    let writer = crate::blocked_write(&machine, path, "1");
    let root = machine.root().to_owned();
    drop(machine);
    assert_eq!(errno(writer.join().expect("no panic")), Errno::EIO);
    assert!(!root.exists());
}

/// Set for the process that [`a_killed_process_leaves_no_mount`] kills.
const DOOMED: &str = "HEADSTART_SIMSYSFS_DOOMED";

#[test]
fn a_killed_process_leaves_no_mount() {
    if std::env::var_os(DOOMED).is_some() {
        let machine = Blueprint::new().with(Gpu::tesla_t4(T4)).mount().expect("it could be mounted before");
        let _gate = machine.block(Fault::write("**/create"));
        println!("mounted at {}", machine.root().display());
        // Never returns: that is what keeps a killed process from dying.
        let _ = create(&machine, T4, 232, &uuid(1));
        return;
    }
    let Some(machine) = Blueprint::new().mount_or_skip() else { return };
    drop(machine);
    let mut child = Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", "manners::a_killed_process_leaves_no_mount", "--nocapture"])
        .env(DOOMED, "1")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("started");
    let output = std::io::BufReader::new(child.stdout.take().expect("piped"));
    let path = std::io::BufRead::lines(output)
        .map_while(Result::ok)
        .find_map(|line| line.split("mounted at ").nth(1).map(str::to_owned))
        .expect("a mount point");
    child.kill().expect("killed");
    // Waiting for the process hangs as long as the mount does.
    let (sender, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait()));
    ended.recv_timeout(DEADLINE).expect("the process ends").expect("waited for");
    let mounted = || fs::read_to_string("/proc/self/mounts").expect("mounts").contains(&path);
    let began = std::time::Instant::now();
    while mounted() {
        assert!(began.elapsed() < DEADLINE, "{path} is still mounted");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
