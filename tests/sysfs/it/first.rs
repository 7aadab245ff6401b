use std::fs;

use headstart_simsysfs::{Blueprint, Errno, nvidia};

#[test]
fn an_mdev_comes_and_goes() {
    let Some(machine) = Blueprint::new().with(nvidia::Gpu::tesla_t4("0000:3b:00.0")).mount_or_skip() else { return };
    let types = machine.path("sys/class/mdev_bus/0000:3b:00.0/mdev_supported_types");
    let available = |id: &str| fs::read_to_string(types.join(id).join("available_instances")).unwrap();
    assert_eq!(available("nvidia-232"), "4\n");
    let uuid = "c7a1e8b0-0000-4000-8000-000000000001";
    fs::write(types.join("nvidia-232/create"), uuid).unwrap();
    assert_eq!(available("nvidia-232"), "3\n");
    assert_eq!(available("nvidia-231"), "0\n");
    let refused = fs::write(types.join("nvidia-231/create"), uuid.replace('1', "2")).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(Errno::EIO as i32));
    fs::write(machine.mdev(uuid).join("remove"), "1\n").unwrap();
    assert_eq!(available("nvidia-232"), "4\n");
    println!("{:#?}", machine.writes());
}
