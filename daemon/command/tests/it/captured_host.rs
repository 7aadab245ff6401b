//! A host of several vendors, captured and made into a simulated host: headstart sees the same GPUs there, and nobody is recognised.
#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect shall fail")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use headstart_core::gpu::{DeviceId, Gpu, Opened};
use headstart_core::id::{DomainUuid, GpuId, MdevUuid};
use headstart_simsysfs::samples::Sample;
use headstart_simsysfs::sriov::Device;
use headstart_simsysfs::{Blueprint, Machine, Vm, amd, nvidia};
use headstartd::host::hardware::{GpuRule, Hardware, Patience};
use headstartd::host::sysfs::SysfsRoot;

use crate::headstart;

const T4: &str = "0000:3b:00.0";
const A40: &str = "0000:5e:00.0";
const L40S: &str = "0000:86:00.0";
const V710: &str = "0000:c3:00.0";
const FLEX: &str = "0000:4d:00.0";
const IGB: &str = "0000:01:00.0";
const ZOE: &str = "9f0c1de2-0a47-4d0f-8f3a-3f6a9f0d1c2b";
const MAX: &str = "1c9e7a44-51d3-4b0e-9d55-7f1b1f0a2d3c";
/// The types of a card in use are told by the driver's table only.
const TABLE: &str = r#"<vgpuconfig><vgpuType id="1152" name="NVIDIA L40S-8Q"/><vgpuType id="1153" name="NVIDIA L40S-12Q"/>
    <pgpu><devId deviceId="0x26b9" subsystemId="0x0"/><supportedVgpu vgpuId="1152"><maxVgpus>6</maxVgpus></supportedVgpu>
    <supportedVgpu vgpuId="1153"><maxVgpus>4</maxVgpus></supportedVgpu></pgpu></vgpuconfig>"#;
/// Whatever tells whose host it is.
const SECRETS: [&str; 9] = [
    "zoe",
    "Zoe",
    "max-",
    ZOE,
    MAX,
    "SN-471",
    "aa:bb:cc",
    "0x6a1b2c3d4e5f6071",
    "10de5e7a-1111-2222-3333-444455556666",
];

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// What lies on the host beside its GPUs.
fn overlay(root: &Path) {
    put(root, "usr/share/nvidia/vgpu/vgpuConfig.xml", TABLE);
    put(root, "sys/devices/pci0000:c3/0000:c3:00.0/unique_id", "0x6a1b2c3d4e5f6071\n");
    put(root, "sys/devices/pci0000:c3/0000:c3:00.0/serial_number", "SN-4711\n");
    for (name, uuid) in [("zoe-laptop", ZOE), ("max-desk", MAX)] {
        let mdev = uuid.parse::<DomainUuid>().unwrap().mdev();
        let text = format!(
            "<domain type='kvm'><name>{name}</name><uuid>{uuid}</uuid><title>Zoe</title><devices>\
             <disk type='file'><serial>SN-4712</serial></disk><interface type='bridge'><mac address='AA:bb:cc:01:02:03'/></interface>\
             <hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='{mdev}'/></source></hostdev>\
             </devices></domain>"
        );
        put(root, &format!("etc/libvirt/qemu/{name}.xml"), &text);
    }
}

/// The host, with vGPUs of every kind: of desktops, of a stranger, open and not.
fn host(overlay: &Path) -> Option<Machine> {
    let machine = Blueprint::new()
        .fixture(overlay)
        .unwrap()
        .with(nvidia::Gpu::tesla_t4(T4))
        .with(nvidia::Gpu::a40(A40).vfs(4).vfs_enabled())
        .with(nvidia::Gpu::l40s(L40S).vfs_enabled())
        .with(amd::Mxgpu::v710(V710, 4))
        .with(Device::flex_170(FLEX).enabled(3))
        .with(Device::igb(IGB).enabled(2))
        .with(Sample::mbochs())
        .mount_or_skip()?;
    let create = |parent: &str, kind: &str, uuid: &str| {
        let file = format!("sys/class/mdev_bus/{parent}/mdev_supported_types/{kind}/create");
        fs::write(machine.path(&file), uuid).unwrap();
    };
    let [zoes, maxs] = [ZOE, MAX].map(|uuid| uuid.parse::<DomainUuid>().unwrap().mdev().to_string());
    create(T4, "nvidia-231", &zoes);
    create("0000:5e:00.4", "nvidia-560", &maxs);
    create("mbochs", "mbochs-small", "10de5e7a-1111-2222-3333-444455556666");
    fs::write(machine.pci("0000:86:00.4").join("nvidia/current_vgpu_type"), "1152").unwrap();
    fs::write(machine.pci("0000:86:00.5").join("nvidia/current_vgpu_type"), "1152").unwrap();
    machine.open(&zoes, Vm::new("zoe-laptop").uuid(ZOE)).unwrap();
    machine.open("0000:86:00.4", "max-desk").unwrap();
    machine.open_managed("0000:c3:00.2", "zoe-other").unwrap_or_else(|error| panic!("{error}"));
    Some(machine)
}

/// What headstart sees below a root: all GPUs, and what it has to say to them.
fn seen(root: &Path) -> (BTreeMap<GpuId, Gpu>, Vec<String>) {
    let rules = [T4, A40, L40S, V710, FLEX, IGB, "mbochs"].iter().map(|id| GpuRule::of(id.parse().unwrap())).collect();
    let seen = Hardware::with(SysfsRoot::new(root), rules, None, Patience::default()).observe();
    assert!(seen.gaps.is_empty(), "{:?}", seen.problems);
    (seen.gpus, seen.problems.iter().map(ToString::to_string).collect())
}

/// All files and links below a folder: path, and what is in it.
fn contents(folder: &Path, all: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_symlink() {
            all.push((path.clone(), fs::read_link(&path).unwrap().to_string_lossy().into_owned()));
        } else if path.is_dir() {
            contents(&path, all);
        } else {
            all.push((path.clone(), String::from_utf8(fs::read(&path).unwrap()).unwrap()));
        }
    }
}

/// The UUIDs that the desktops have in a capture: definitions are numbered in the order of their files, max-desk before zoe-laptop.
fn renamed(capture: &Path) -> [(MdevUuid, MdevUuid); 2] {
    [(MAX, 1), (ZOE, 2)].map(|(old, n)| {
        let text = fs::read_to_string(capture.join(format!("etc/libvirt/qemu/vm{n}.xml"))).unwrap();
        let uuid = text.split_once("<uuid>").and_then(|(_, rest)| rest.split_once("</uuid>")).unwrap().0;
        (old.parse::<DomainUuid>().unwrap().mdev(), uuid.parse::<DomainUuid>().unwrap().mdev())
    })
}

/// The same GPUs, as a capture calls their vGPUs and who has them open.
fn as_captured(gpus: BTreeMap<GpuId, Gpu>, names: &[(MdevUuid, MdevUuid)], stranger: DeviceId) -> BTreeMap<GpuId, Gpu> {
    let rename = |device| match device {
        DeviceId::Mdev(uuid) => {
            names.iter().find(|(old, _)| *old == uuid).map_or(stranger, |(_, new)| DeviceId::Mdev(*new))
        }
        DeviceId::Vf(_) => device,
    };
    let vm = |opened| match opened {
        Opened::By(who) => {
            let numbered = [("max-desk", "vm1"), ("zoe-laptop", "vm2"), ("zoe-other", "vm3")];
            Opened::By(numbered.iter().fold(who, |who, (name, vm)| who.replace(name, vm)))
        }
        opened => opened,
    };
    let mut gpus = gpus;
    for gpu in gpus.values_mut() {
        let vgpus = std::mem::take(&mut gpu.vgpus).into_iter();
        gpu.vgpus = vgpus
            .map(|(device, mut vgpu)| {
                vgpu.opened = vm(vgpu.opened);
                (rename(device), vgpu)
            })
            .collect();
    }
    gpus
}

#[tokio::test]
async fn a_host_made_of_a_capture_is_seen_as_the_host_was() {
    let scratch = tempfile::tempdir().unwrap();
    overlay(&scratch.path().join("overlay"));
    let Some(machine) = host(&scratch.path().join("overlay")) else { return };
    let (file, folder) = (scratch.path().join("host.tar"), scratch.path().join("capture"));
    let root = machine.root().to_str().unwrap();
    let ran = headstart("unix:path=/nowhere", &["capture", file.to_str().unwrap(), "--root", root]).await;
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{}", ran.out);
    assert!(!ran.out.contains("not read"), "{}", ran.out);
    tar::Archive::new(fs::File::open(&file).unwrap()).unpack(&folder).unwrap();

    let mut told = Vec::new();
    contents(&folder, &mut told);
    assert!(told.len() > 500, "{} files", told.len());
    for (path, text) in &told {
        let path = path.strip_prefix(&folder).unwrap().to_str().unwrap();
        for secret in SECRETS {
            let (path, text) = (path.to_lowercase(), text.to_lowercase());
            assert!(
                !path.contains(&secret.to_lowercase()) && !text.contains(&secret.to_lowercase()),
                "{path} tells {secret}: {text}"
            );
        }
    }

    let again = scratch.path().join("again");
    Blueprint::new().fixture(&folder).unwrap().unmounted().write_tree(&again).unwrap();
    let ((was, said), (is, says)) = (seen(machine.root()), seen(&again));
    assert_eq!(was.values().map(|gpu| gpu.vgpus.len()).collect::<Vec<_>>(), [2, 1, 3, 1, 2, 4, 1]);
    let mbochs: GpuId = "mbochs".parse().unwrap();
    let stranger = *is[&mbochs].vgpus.keys().next().unwrap();
    let was = as_captured(was, &renamed(&folder), stranger);
    assert_eq!(is.keys().collect::<Vec<_>>(), was.keys().collect::<Vec<_>>());
    for (id, gpu) in &is {
        assert_eq!(gpu, &was[id], "{id}");
    }
    assert_eq!(says, said);
}
