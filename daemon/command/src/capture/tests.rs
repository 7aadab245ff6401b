//! A host made of files, and what of it is taken.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use expect_test::expect;
use headstart_core::id::DomainUuid;
use tempfile::TempDir;

use super::identity::Identities;
use super::{Entry, Tree, archive, capture};

const DOMAIN: &str = "9f0c1de2-0a47-4d0f-8f3a-3f6a9f0d1c2b";
const PF: &str = "sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0";

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn link(root: &Path, path: &str, to: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink(to, path).unwrap();
}

/// A PF with a VF that has a vGPU, an mdev on a sample parent, a disk controller, and two domains.
fn host() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mdev = DOMAIN.parse::<DomainUuid>().unwrap().mdev().to_string();
    put(root, "proc/sys/kernel/osrelease", "6.12.0-1-amd64\n");
    for (process, program, file) in [(7, "zoe-editor", "/home/zoe/SECRET"), (8, "zoe-render", "/dev/dri/renderD128")] {
        put(root, &format!("proc/{process}/comm"), &format!("{program}\n"));
        put(root, &format!("proc/{process}/environ"), "SECRET");
        link(root, &format!("proc/{process}/fd/3"), file);
    }
    put(root, "proc/8/cmdline", "/usr/bin/qemu\0-name\0guest=zoe-laptop,process=zoe\0-uuid\0SECRET\0");
    put(root, "usr/share/nvidia/vgpu/vgpuConfig.xml", "<vgpuconfig/>");
    for (file, text) in
        [("class", "0x030200\n"), ("vendor", "0x10de\n"), ("device", "0x2235\n"), ("sriov_totalvfs", "32\n")]
    {
        put(root, &format!("{PF}/{file}"), text);
    }
    // What could do something when it is read, and what tells whose card it is.
    for file in ["rom", "config", "resource0", "vpd", "reset", "unique_id", "serial_number", "nvidia/serial"] {
        put(root, &format!("{PF}/{file}"), "SECRET");
    }
    // A read of it could wait for its writer.
    put(root, &format!("{PF}/sriov_numvfs"), "SECRET");
    link(root, &format!("{PF}/driver"), "../../../../bus/pci/drivers/nvidia");
    link(root, &format!("{PF}/virtfn0"), "../0000:3b:00.4");
    link(root, &format!("{PF}/firmware_node"), "../../../LNXSYSTM:00");
    link(root, "sys/bus/pci/devices/0000:3b:00.0", "../../../devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0");
    let vf = PF.replace(":3b:00.0", ":3b:00.4");
    put(root, &format!("{vf}/class"), "0x030200\n");
    put(root, &format!("{vf}/nvidia/current_vgpu_type"), "558\n");
    put(root, &format!("{vf}/nvidia/vm_name"), "guest=zoe-laptop,process=zoe\n");
    put(root, &format!("{vf}/net/zoes-lan/flags"), "0x1003\n");
    put(root, &format!("{vf}/net/zoes-lan/address"), "SECRET");
    link(root, &format!("{vf}/net/zoes-lan/master"), "../../../../../virtual/net/zoe-bridge");
    put(root, &format!("{vf}/drm/renderD128/uevent"), "SECRET");
    link(root, &format!("{vf}/physfn"), "../0000:3b:00.0");
    link(root, &format!("{vf}/iommu_group"), "../../../../kernel/iommu_groups/42");
    link(
        root,
        "sys/kernel/iommu_groups/42/devices/0000:3b:00.4",
        "../../../../devices/pci0000:3a/0000:3a:00.0/0000:3b:00.4",
    );
    link(root, "sys/bus/pci/devices/0000:3b:00.4", "../../../devices/pci0000:3a/0000:3a:00.0/0000:3b:00.4");
    put(root, "sys/devices/pci0000:00/0000:00:1f.2/class", "0x010601\n");
    link(root, "sys/bus/pci/devices/0000:00:1f.2", "../../../devices/pci0000:00/0000:00:1f.2");

    let parent = "sys/devices/virtual/mbochs/mbochs";
    let kind = format!("{parent}/mdev_supported_types/mbochs-small");
    put(root, &format!("{kind}/available_instances"), "12\n");
    put(root, &format!("{kind}/create"), "never read");
    fs::set_permissions(root.join(format!("{kind}/create")), fs::Permissions::from_mode(0o200)).unwrap();
    link(root, &format!("{kind}/devices/{mdev}"), &format!("../../../{mdev}"));
    link(root, &format!("{parent}/{mdev}/mdev_type"), "../mdev_supported_types/mbochs-small");
    put(root, &format!("{parent}/{mdev}/remove"), "1");
    link(root, "sys/class/mdev_bus/mbochs", "../../devices/virtual/mbochs/mbochs");
    link(root, &format!("sys/bus/mdev/devices/{mdev}"), &format!("../../../devices/virtual/mbochs/mbochs/{mdev}"));
    let information = "Model: \t NVIDIA A40\nGPU UUID: \t GPU-1b2c3d4e-1111-2222-3333-444455556666\n";
    put(root, "proc/driver/nvidia/gpus/0000:3b:00.0/information", information);

    put(
        root,
        "etc/libvirt/qemu/zoe-laptop.xml",
        &format!(
            "<!-- WARNING: made by libvirt for zoe -->\n<domain type='kvm'><name>zoe-laptop</name><uuid>{DOMAIN}</uuid>\
             <title>Zoe</title><description>SECRET</description><metadata>\
             <headstart:desktop xmlns:headstart='https://headstart.dev/xmlns/desktop/1' user='zoe' attach='live' note='SECRET'>\
             <headstart:profile>A40-4Q</headstart:profile></headstart:desktop><x:y xmlns:x='urn:x'>SECRET</x:y></metadata>\
             <memory unit='KiB'>4194304</memory><os><type arch='x86_64' machine='q35'>hvm</type><loader>/SECRET</loader></os>\
             <devices><emulator>/usr/bin/SECRET</emulator>\
             <disk type='file' device='disk'><source file='/vm/zoe.qcow2'/><target dev='vda' bus='virtio'/><serial>SECRET</serial></disk>\
             <interface type='bridge'><mac address='52:54:00:AB:cd:ef'/><source bridge='SECRET'/></interface>\
             <graphics type='vnc' passwd='SECRET'/>\
             <hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='{mdev}'/></source>\
             <alias name='ua-headstart-vgpu'/></hostdev></devices></domain>\n"
        ),
    );
    put(root, "etc/libvirt/qemu/broken.xml", "<domain");
    put(root, "etc/libvirt/qemu/networks/default.xml", "<network/>");
    folder
}

fn text<'a>(tree: &'a Tree, path: &str) -> &'a str {
    match tree.entries.get(path) {
        Some(Entry::File(bytes)) => std::str::from_utf8(bytes).unwrap(),
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn what_is_taken_is_what_is_looked_at() {
    let host = host();
    let tree = capture(host.path()).unwrap();
    let paths: Vec<&str> = tree.entries.keys().map(String::as_str).collect();
    expect![[r"
        capture.txt
        etc/libvirt/qemu/vm1.xml
        proc
        proc/8/cmdline
        proc/8/comm
        proc/8/fd/3
        proc/driver/nvidia/gpus/0000:3b:00.0/information
        sys/bus/mdev/devices
        sys/bus/mdev/devices/305adaad-1ccc-590a-a20a-0d24f42d1fcd
        sys/bus/pci/devices
        sys/bus/pci/devices/0000:3b:00.0
        sys/bus/pci/devices/0000:3b:00.4
        sys/bus/pci/drivers/nvidia
        sys/class/mdev_bus
        sys/class/mdev_bus/mbochs
        sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0
        sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0/class
        sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0/device
        sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0/driver
        sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0/nvidia
        sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0/sriov_numvfs
        sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0/sriov_totalvfs
        sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0/vendor
        sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0/virtfn0
        sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.4
        sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.4/class
        sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.4/drm/renderD128
        sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.4/iommu_group
        sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.4/net/net0/flags
        sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.4/net/net0/master
        sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.4/nvidia
        sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.4/nvidia/current_vgpu_type
        sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.4/nvidia/vm_name
        sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.4/physfn
        sys/devices/virtual/mbochs/mbochs
        sys/devices/virtual/mbochs/mbochs/305adaad-1ccc-590a-a20a-0d24f42d1fcd
        sys/devices/virtual/mbochs/mbochs/305adaad-1ccc-590a-a20a-0d24f42d1fcd/mdev_type
        sys/devices/virtual/mbochs/mbochs/305adaad-1ccc-590a-a20a-0d24f42d1fcd/remove
        sys/devices/virtual/mbochs/mbochs/mdev_supported_types
        sys/devices/virtual/mbochs/mbochs/mdev_supported_types/mbochs-small
        sys/devices/virtual/mbochs/mbochs/mdev_supported_types/mbochs-small/available_instances
        sys/devices/virtual/mbochs/mbochs/mdev_supported_types/mbochs-small/create
        sys/devices/virtual/mbochs/mbochs/mdev_supported_types/mbochs-small/devices
        sys/devices/virtual/mbochs/mbochs/mdev_supported_types/mbochs-small/devices/305adaad-1ccc-590a-a20a-0d24f42d1fcd
        sys/kernel/iommu_groups/42
        sys/kernel/iommu_groups/42/devices/0000:3b:00.4
        usr/share/nvidia/vgpu/vgpuConfig.xml
    "]]
    .assert_eq(&(paths.join("\n") + "\n"));
}

#[test]
fn nobody_can_be_recognised_and_what_belongs_together_still_does() {
    let host = host();
    let tree = capture(host.path()).unwrap();
    for (path, entry) in &tree.entries {
        let text = match entry {
            Entry::Folder => String::new(),
            Entry::Link(text) => text.clone(),
            Entry::File(bytes) => String::from_utf8(bytes.clone()).unwrap(),
        };
        for secret in ["SECRET", "zoe", "Zoe", "laptop", DOMAIN, "1b2c3d4e", "AB:cd:ef", "WARNING"] {
            assert!(!path.contains(secret) && !text.contains(secret), "{path} tells {secret}: {text}");
        }
    }
    expect![[r"
        <domain type='kvm'>
          <name>vm1</name>
          <uuid>00000000-0000-4000-8000-000000000001</uuid>
          <metadata>
            <headstart:desktop xmlns:headstart='https://headstart.dev/xmlns/desktop/1' user='user1' attach='live'><headstart:profile>A40-4Q</headstart:profile></headstart:desktop>
          </metadata>
          <memory unit='KiB'>4194304</memory>
          <os>
            <type arch='x86_64' machine='q35'>hvm</type>
          </os>
          <devices>
            <disk type='file' device='disk'>
              <source/>
              <target dev='vda' bus='virtio'/>
            </disk>
            <interface type='bridge'>
              <mac address='52:54:00:00:00:01'/>
              <source/>
            </interface>
            <graphics type='vnc'/>
            <hostdev mode='subsystem' type='mdev' model='vfio-pci'>
              <source>
                <address uuid='305adaad-1ccc-590a-a20a-0d24f42d1fcd'/>
              </source>
              <alias name='ua-headstart-vgpu'/>
            </hostdev>
          </devices>
        </domain>
    "]]
    .assert_eq(text(&tree, "etc/libvirt/qemu/vm1.xml"));
    assert_eq!(text(&tree, &PF.replace(":3b:00.0", ":3b:00.4/nvidia/vm_name")), "guest=vm1\n", "the same domain");
    assert_eq!(text(&tree, "proc/8/cmdline"), "-name\0guest=vm1\0", "and its process");
    let uuid: DomainUuid = "00000000-0000-4000-8000-000000000001".parse().unwrap();
    let mdev = format!("sys/devices/virtual/mbochs/mbochs/{}/remove", uuid.mdev());
    assert_eq!(text(&tree, &mdev), "1", "its mdev is still the one that headstart would make for it");
    assert_eq!(text(&tree, "sys/devices/virtual/mbochs/mbochs/mdev_supported_types/mbochs-small/create"), "");
    assert_eq!(tree.unread, ["domain definition 1: it is no definition of a domain"]);
    assert!(text(&tree, "capture.txt").contains("on Linux 6.12.0-1-amd64\n"));
}

#[test]
fn names_are_replaced_where_they_stand_alone() {
    let mut identities = Identities::default();
    let uuid = "1b2c3d4e-1111-2222-3333-444455556666";
    for (text, want) in [
        (format!("GPU-{uuid}"), "GPU-00000000-0000-4000-8000-000000000001".to_owned()),
        (format!("x{uuid}"), format!("x{uuid}")),
        (format!("{uuid}0"), format!("{uuid}0")),
        (uuid.to_uppercase(), "00000000-0000-4000-8000-000000000001".to_owned()),
        ("0000:3b:00.0 0000:3b:00.4".to_owned(), "0000:3b:00.0 0000:3b:00.4".to_owned()),
        ("aa:BB:cc:dd:ee:ff, 11:22:33:44:55:66".to_owned(), "52:54:00:00:00:01, 52:54:00:00:00:02".to_owned()),
        ("aa:bb:cc:dd:ee:ff".to_owned(), "52:54:00:00:00:01".to_owned()),
        ("größer als ß".to_owned(), "größer als ß".to_owned()),
    ] {
        assert_eq!(identities.replace(&text), want);
    }
}

/// Every file and link of a folder, with what it holds.
fn contents(folder: &Path, at: &Path, all: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        if path.is_symlink() {
            all.insert(name, fs::read_link(&path).unwrap().to_str().unwrap().to_owned());
        } else if path.is_dir() {
            all.insert(name, String::new());
            contents(folder, &path, all);
        } else {
            all.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn a_folder_and_an_archive_say_the_same() {
    let (host, out) = (host(), tempfile::tempdir().unwrap());
    let tree = capture(host.path()).unwrap();
    let (folder, file, unpacked) = (out.path().join("a"), out.path().join("a.tar"), out.path().join("b"));
    archive::folder(&tree, &folder).unwrap();
    archive::tar(&tree, &file).unwrap();
    tar::Archive::new(fs::File::open(&file).unwrap()).unpack(&unpacked).unwrap();
    let (mut one, mut other) = (BTreeMap::new(), BTreeMap::new());
    contents(&folder, &folder, &mut one);
    contents(&unpacked, &unpacked, &mut other);
    assert!(one.len() > 20, "{one:#?}");
    assert_eq!(one, other);
    // Links lead somewhere within.
    assert!(folder.join("sys/bus/pci/devices/0000:3b:00.0/driver").is_dir());
    assert!(folder.join("sys/class/mdev_bus/mbochs/mdev_supported_types/mbochs-small").is_dir());
    // A capture of a capture is the same capture, but for what could not be read.
    let mut again = capture(&folder).unwrap();
    let mut tree = tree;
    for tree in [&mut tree, &mut again] {
        tree.entries.remove("capture.txt");
    }
    assert_eq!(again.entries, tree.entries);
}
