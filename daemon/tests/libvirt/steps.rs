//! Steps, carried out and refused.

use expect_test::expect;
use headstart_core::gpu::DeviceId;
use headstart_core::observed::{Attachment, Power};
use headstart_core::step::FailureKind;
use headstartd::host::domain_xml::hostdev;
use headstartd::host::libvirt::{Options, VfKind};
use nix::sys::signal::{Signal, kill};

use crate::server::{Server, Spec};
use crate::watch::{Watch, attach, detach, shut_down, start, vf};

const WIN: Spec = Spec { name: "win-01", digit: 1, devices: "", ports: 1, system: None };
const OTHER: Spec = Spec { name: "win-02", digit: 2, ..WIN };

#[test]
fn a_device_goes_into_the_definition_and_out_of_it() {
    let Some(server) = Server::start() else { return };
    let uuid = server.define(&WIN);
    let watch = Watch::on(&server);
    for device in [DeviceId::Mdev(uuid.mdev()), vf(4)] {
        watch.changed(&attach(uuid, device, false));
        watch.already_so(&attach(uuid, device, false));
        assert_eq!(watch.picture(uuid), format!("win-01: Off, None\n{device} Attached, ours"));
        let (kind, text) = watch.fails(&attach(uuid, vf(5), false));
        assert_eq!((kind, text), (FailureKind::Conflict, format!("win-01: it has {device} of headstart already")));
        let xml = server.virsh(&["dumpxml", "win-01"]);
        assert!(xml.contains("<alias name='ua-headstart-"), "{xml}");
        assert_eq!(xml.contains("managed='yes'"), matches!(device, DeviceId::Vf(_)));
        watch.changed(&detach(uuid, device, false));
        watch.already_so(&detach(uuid, device, false));
        assert_eq!(watch.picture(uuid), "win-01: Off, None");
    }
}

#[test]
fn devices_of_others_are_not_touched() {
    let Some(server) = Server::start() else { return };
    let uuid = server.define(&WIN);
    let theirs = hostdev(vf(4), true).replace("ua-headstart-", "ua-");
    let other = server.define(&Spec { devices: &theirs, ..OTHER });
    let watch = Watch::on(&server);
    assert_eq!(
        watch.fails(&attach(uuid, vf(4), false)),
        (FailureKind::Conflict, "win-01: 0000:3b:00.4 is named by win-02".to_owned())
    );
    assert_eq!(
        watch.fails(&detach(other, vf(4), false)),
        (FailureKind::Conflict, "win-02: headstart did not attach 0000:3b:00.4, so it does not take it out".to_owned())
    );
    assert_eq!(
        watch.fails(&attach(other, vf(4), false)),
        (FailureKind::Conflict, "win-02: it names 0000:3b:00.4 already, and headstart did not attach it".to_owned())
    );
    assert_eq!(watch.picture(other), "win-02: Off, None\n0000:3b:00.4 Attached");
}

#[test]
fn a_vf_with_its_vendors_driver_keeps_it_or_is_refused() {
    let Some(server) = Server::start() else { return };
    let uuid = server.define(&WIN);
    let options = Options { vf_kind: Box::new(|_| VfKind::Variant), ..Options::default() };
    let watch = Watch::new(&server.uri(), options);
    let version = server.virsh(&["version"]);
    let version = version.lines().find_map(|line| line.strip_prefix("Using library: libvirt ")).unwrap();
    let numbers: Vec<u32> = version.split('.').map(|number| number.parse().unwrap()).collect();
    if numbers >= vec![9, 7, 0] {
        watch.changed(&attach(uuid, vf(4), false));
        assert!(server.virsh(&["dumpxml", "win-01"]).contains("managed='no'"));
    } else {
        let text = format!(
            "win-01: VF 0000:3b:00.4 keeps its vendor's VFIO driver, which libvirt {version} cannot pass on: 9.7.0 or later is needed"
        );
        assert_eq!(watch.fails(&attach(uuid, vf(4), false)), (FailureKind::Unsupported, text));
    }
}

#[test]
fn a_desktop_starts_and_is_asked_to_shut_down() {
    let Some(server) = Server::start() else { return };
    let uuid = server.define(&WIN);
    let watch = Watch::on(&server);
    watch.already_so(&shut_down(uuid));
    watch.changed(&start(uuid));
    watch.already_so(&start(uuid));
    assert_eq!(watch.picture(uuid), "win-01: Running { ready: false }, None");
    assert_eq!(
        watch.fails(&attach(uuid, vf(4), false)),
        (FailureKind::Conflict, "win-01: it runs, and was thought to be off".to_owned())
    );
    watch.changed(&shut_down(uuid));
    watch.already_so(&shut_down(uuid));
    assert_eq!(watch.picture(uuid), "win-01: Stopping, None", "nothing runs in it that would react");
    server.virsh(&["destroy", "win-01"]);
    watch.until_domain(uuid, "it is off", |domain| domain.unwrap().power == Power::Off);
    watch.already_so(&shut_down(uuid));
    assert_eq!(
        watch.fails(&attach(uuid, vf(4), true)),
        (FailureKind::Conflict, "win-01: it is off, and was thought to run".to_owned())
    );
}

#[test]
fn a_start_without_its_device_fails_in_words() {
    let Some(server) = Server::start() else { return };
    let uuid = server.define(&WIN);
    let watch = Watch::on(&server);
    watch.changed(&attach(uuid, DeviceId::Mdev(uuid.mdev()), false));
    let (kind, text) = watch.fails(&start(uuid));
    // Without VFIO in the kernel libvirt looks no further; with it, the mdev is missing.
    assert!(matches!(kind, FailureKind::Unsupported | FailureKind::Gone), "{kind:?} {text}");
    assert!(text.starts_with("win-01: could not start it: "), "{text}");
    assert_eq!(watch.domain(uuid).power, Power::Off);
}

#[test]
fn nothing_is_plugged_without_a_free_port() {
    let Some(server) = Server::start() else { return };
    let uuid = server.define(&Spec { ports: 0, ..WIN });
    let roomy = server.define(&OTHER);
    let watch = Watch::on(&server);
    for uuid in [uuid, roomy] {
        watch.changed(&start(uuid));
    }
    let (kind, text) = watch.fails(&attach(uuid, vf(4), true));
    expect!["win-01: no PCI port is free that could be plugged into while it runs: give it spare <controller type='pci' model='pcie-root-port'/> and start it anew"]
        .assert_eq(&text);
    assert_eq!(kind, FailureKind::Exhausted);
    // With a port the attempt is libvirt's, and fails for want of the device.
    let (_, text) = watch.fails(&attach(roomy, DeviceId::Mdev(roomy.mdev()), true));
    assert!(text.starts_with(&format!("win-02: could not attach {}: ", roomy.mdev())), "{text}");
    assert_eq!(watch.picture(roomy), "win-02: Running { ready: false }, None");
}

#[test]
fn a_definition_that_runs_ahead_of_the_guest_is_cleaned_up() {
    let Some(server) = Server::start() else { return };
    let uuid = server.define(&WIN);
    let watch = Watch::on(&server);
    watch.changed(&start(uuid));
    let file = server.file("device.xml", &hostdev(vf(4), true));
    server.virsh(&["attach-device", "win-01", &file, "--config"]);
    let domain = watch.domain(uuid);
    assert_eq!((domain.hostdevs[0].ours, domain.hostdevs[0].attachment), (true, Attachment::DetachRefused));
    watch.changed(&detach(uuid, vf(4), true));
    assert_eq!(watch.picture(uuid), "win-01: Running { ready: false }, None");
    assert!(!server.virsh(&["dumpxml", "win-01", "--inactive"]).contains("hostdev"));
}

#[test]
fn a_domain_that_goes_under_a_step_is_gone() {
    let Some(server) = Server::start() else { return };
    let uuid = server.define(&WIN);
    let watch = Watch::on(&server);
    watch.domain(uuid);
    server.virsh(&["undefine", "win-01"]);
    for step in [start(uuid), shut_down(uuid), attach(uuid, vf(4), false), detach(uuid, vf(4), true)] {
        let (kind, text) = watch.fails(&step);
        assert_eq!(kind, FailureKind::Gone, "{text}");
        assert!(text.starts_with(&format!("{uuid}: could not find it: Domain not found")), "{text}");
    }
    watch.until_domain(uuid, "it is not there", |domain| domain.is_none());
}

#[test]
fn a_domain_that_crashes_is_off_and_keeps_what_its_definition_names() {
    let Some(server) = Server::start() else { return };
    let uuid = server.define(&WIN);
    let watch = Watch::on(&server);
    watch.changed(&start(uuid));
    watch.domain(uuid);
    kill(server.qemu("win-01"), Signal::SIGKILL).unwrap();
    watch.until_domain(uuid, "it is off", |domain| domain.unwrap().power == Power::Off);
    watch.changed(&attach(uuid, vf(4), false));
    watch.changed(&detach(uuid, vf(4), false));
    watch.changed(&start(uuid));
}

#[test]
fn a_saved_domain_is_left_alone() {
    let Some(server) = Server::start() else { return };
    let uuid = server.define(&WIN);
    let watch = Watch::on(&server);
    watch.changed(&start(uuid));
    server.virsh(&["managedsave", "win-01"]);
    watch.until_domain(
        uuid,
        "it is saved",
        |domain| matches!(&domain.unwrap().power, Power::Unknown(why) if why.contains("managed save image")),
    );
    for step in [attach(uuid, vf(4), false), start(uuid)] {
        let (kind, text) = watch.fails(&step);
        assert_eq!(kind, FailureKind::Conflict);
        assert!(text.starts_with("win-01: it has a managed save image"), "{text}");
    }
    server.virsh(&["start", "win-01"]);
    watch.until_domain(uuid, "it goes on", |domain| matches!(domain.unwrap().power, Power::Running { .. }));
    server.virsh(&["managedsave", "win-01"]);
    server.virsh(&["start", "win-01", "--force-boot"]);
    server.virsh(&["destroy", "win-01"]);
    watch.until_domain(uuid, "it is off", |domain| domain.unwrap().power == Power::Off);
    let file = server.file("saved", "");
    server.virsh(&["start", "win-01"]);
    server.virsh(&["save", "win-01", &file]);
    watch.until_domain(
        uuid,
        "it is in a file",
        |domain| matches!(&domain.unwrap().power, Power::Unknown(why) if why.contains("saved into a file")),
    );
    server.virsh(&["restore", &file]);
    watch.until_domain(uuid, "it is back", |domain| matches!(domain.unwrap().power, Power::Running { .. }));
    server.virsh(&["destroy", "win-01"]);
    watch.until_domain(uuid, "it is off again", |domain| domain.unwrap().power == Power::Off);
    watch.changed(&attach(uuid, vf(4), false));
}

#[test]
fn a_snapshot_brings_back_what_it_knew() {
    let Some(server) = Server::start() else { return };
    let disk = server.file("disk.qcow2", "");
    let made = std::process::Command::new("qemu-img").args(["create", "-q", "-f", "qcow2", &disk, "1M"]).status();
    assert!(made.is_ok_and(|status| status.success()), "qemu-img is missing: it comes with QEMU");
    let devices = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{disk}'/><target dev='sda' bus='sata'/></disk>"
    );
    let uuid = server.define(&Spec { devices: &devices, ..WIN });
    let other = server.define(&OTHER);
    let watch = Watch::on(&server);
    server.virsh(&["snapshot-create-as", "win-01", "without"]);
    watch.changed(&attach(uuid, vf(4), false));
    server.virsh(&["snapshot-create-as", "win-01", "with"]);
    server.virsh(&["snapshot-revert", "win-01", "without"]);
    assert_eq!(watch.picture(uuid), "win-01: Off, None");
    // Meanwhile another desktop got the device, and then the snapshot names it again.
    watch.changed(&attach(other, vf(4), false));
    server.virsh(&["snapshot-revert", "win-01", "with"]);
    for (uuid, name) in [(uuid, "win-01"), (other, "win-02")] {
        assert_eq!(watch.picture(uuid), format!("{name}: Off, None\n0000:3b:00.4 Attached, ours"), "both name it");
    }
    watch.changed(&detach(uuid, vf(4), false));
    assert_eq!(watch.picture(other), "win-02: Off, None\n0000:3b:00.4 Attached, ours");
    // While one is being made of a running domain, it stands still and is left alone; then it goes on.
    watch.changed(&start(uuid));
    watch.domain(uuid);
    watch.forget();
    let memory = format!("{},snapshot=external", server.path("memory").display());
    server.virsh(&[
        "snapshot-create-as",
        "win-01",
        "running",
        "--memspec",
        &memory,
        "--diskspec",
        "sda,snapshot=external",
    ]);
    watch.told("win-01: it was paused");
    watch.until_domain(uuid, "it goes on", |domain| matches!(domain.unwrap().power, Power::Running { .. }));
}
