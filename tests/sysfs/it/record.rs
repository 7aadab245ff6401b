//! What was written and looked at.

use std::fs;

use headstart_simsysfs::nvidia::Gpu;
use headstart_simsysfs::{Blueprint, Errno};

use crate::mdev::{T4, create};
use crate::{list, read, uuid};

#[test]
fn writes_are_recorded_with_their_results() {
    let Some(machine) = Blueprint::new().with(Gpu::tesla_t4(T4)).mount_or_skip() else { return };
    create(&machine, T4, 233, &uuid(1)).expect("free");
    let _ = create(&machine, T4, 232, "short\n");
    let told: Vec<String> = machine.writes().iter().map(ToString::to_string).collect();
    let types = "sys/devices/pci0000:3b/0000:3b:00.0/mdev_supported_types";
    assert_eq!(
        told,
        [
            format!("{types}/nvidia-233/create <- \"{}\": ok", uuid(1)),
            format!("{types}/nvidia-232/create <- \"short\\n\": EINVAL"),
        ]
    );
    let first = &machine.writes()[0];
    assert_eq!((first.file(), first.result), ("create", Some(Ok(()))));
    assert_eq!(machine.writes()[1].result, Some(Err(Errno::EINVAL)));
    machine.forget();
    assert_eq!(machine.writes(), []);
}

#[test]
fn looks_are_counted_by_the_path_without_links() {
    let Some(machine) = Blueprint::new().with(Gpu::a2("0000:08:00.0").vfs_enabled()).mount_or_skip() else { return };
    machine.forget();
    let home = "sys/devices/pci0000:08/0000:08:00.0";
    read(machine.pci("0000:08:00.0").join("vendor"));
    list(machine.path(home));
    let looks = machine.looks();
    assert_eq!(looks.reads[&format!("{home}/vendor")], 1);
    assert_eq!(looks.lists[home], 1);
    assert_eq!(looks.links["sys/bus/pci/devices/0000:08:00.0"], 1);
    assert_eq!(looks.repeated(), []);

    // The same folder by another way is the same folder.
    let through_vf = machine.path("sys/devices/pci0000:08/0000:08:00.4/physfn");
    list(&through_vf);
    fs::read(through_vf.join("vendor")).expect("read");
    let vendor = format!("{home}/vendor");
    assert_eq!(machine.looks().repeated(), [(home, 2), (vendor.as_str(), 2)]);
}

#[test]
fn a_look_at_a_file_in_pieces_is_one_look() {
    use std::io::Read;
    let Some(machine) = Blueprint::new().with(Gpu::tesla_t4(T4)).mount_or_skip() else { return };
    machine.forget();
    let mut file = fs::File::open(machine.pci(T4).join("uevent")).expect("opened");
    let mut byte = [0];
    while file.read(&mut byte).expect("read") > 0 {}
    // A long folder takes several calls of the kernel.
    list(machine.pci(T4).join("mdev_supported_types"));
    assert_eq!(machine.looks().repeated(), []);
}
