//! What `headstart gpus --adopt` proposes.

use std::fmt::Write as _;

use expect_test::expect;
use headstart_simsysfs::nvidia::Gpu;
use headstart_simsysfs::samples::Sample;
use headstart_simsysfs::sriov::Device;
use headstart_simsysfs::{Blueprint, amd};

use super::Rig;

#[test]
fn everything_like_a_gpu_is_proposed_and_nothing_else() {
    let blueprint = Blueprint::new()
        .with(Gpu::tesla_t4("0000:3b:00.0"))
        .with(Gpu::a40("0000:5e:00.0").vfs_enabled())
        .with(Gpu::l40s("0000:86:00.0").vfs_enabled())
        .with(Gpu::a2("0000:08:00.0"))
        .with(amd::Mxgpu::v710("0000:c3:00.0", 4))
        .with(Device::flex_170("0000:4d:00.0").enabled(3))
        .with(Device::igb("0000:01:00.0").enabled(2))
        .with(Sample::mbochs());
    let Some(rig) = Rig::new(blueprint, &["0000:3b:00.0", "mbochs"]) else { return };
    let mut text = String::new();
    for it in rig.hardware.candidates().unwrap() {
        let interface = it.interface.map_or_else(|| "-".to_owned(), |interface| interface.to_string());
        let driver = it.driver.as_deref().unwrap_or("-");
        let owned = if it.owned { ", owned" } else { "" };
        let note = it.note.map_or_else(String::new, |note| format!(": {note}"));
        let _ = writeln!(text, "{} {} ({driver}), {interface}, {} VFs{owned}{note}", it.id, it.name, it.vfs);
    }
    expect![[r"
        0000:08:00.0 A2 / A16 (nvidia), vfio-variant, 16 VFs: its VFs are off; headstart enables them with sriov-manage when a desktop is to have a part
        0000:3b:00.0 Tesla T4 (nvidia), mdev, 0 VFs, owned
        0000:4d:00.0 Data Center GPU Flex 170 (i915), sriov, 31 VFs
        0000:5e:00.0 A40 (nvidia), mdev, 32 VFs
        0000:86:00.0 L40S (nvidia), vfio-variant, 32 VFs
        0000:c3:00.0 AMD Radeon PRO V710 (gim), sriov, 12 VFs
        mbochs mbochs (-), mdev, 0 VFs, owned
    "]].assert_eq(&text);
}
