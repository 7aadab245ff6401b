//! Events as bytes, real ones and others.

use std::os::unix::net::UnixDatagram;

use super::*;

const RULES: &str = include_str!("../../../../udev/60-headstart.rules");

fn kernel(action: &str, path: &str, subsystem: &str, more: &str) -> Vec<u8> {
    format!("{action}@{path}\0ACTION={action}\0DEVPATH={path}\0SUBSYSTEM={subsystem}\0{more}SEQNUM=7\0").into_bytes()
}

fn udev(properties: &str) -> Vec<u8> {
    let mut message = b"libudev\0".to_vec();
    message.extend(0xfeed_cafe_u32.to_be_bytes());
    for number in [40_u32, 40, properties.len() as u32, 1, 2, 3, 4] {
        message.extend(number.to_ne_bytes());
    }
    message.extend(properties.as_bytes());
    message
}

#[test]
fn both_kinds_are_read() {
    let message = kernel("change", "/devices/pci0000:3a/0000:3b:00.0", "pci", "MDEV_STATE=registered\0");
    let event = Event::parse(&message).unwrap();
    assert_eq!((event.action, event.path), ("change", "/devices/pci0000:3a/0000:3b:00.0"));
    assert_eq!((event.subsystem, event.mdev_state, event.tags), ("pci", "registered", ""));
    let message = udev("ACTION=add\0DEVPATH=/devices/x\0SUBSYSTEM=mdev\0TAGS=:seat:headstart:\0");
    let event = Event::parse(&message).unwrap();
    assert_eq!((event.action, event.subsystem, event.tags), ("add", "mdev", ":seat:headstart:"));
}

#[test]
fn what_is_neither_is_nothing() {
    let mut wrong_magic = udev("ACTION=add\0DEVPATH=/x\0");
    wrong_magic[8] = 0;
    let mut too_long = udev("ACTION=add\0DEVPATH=/x\0");
    too_long[20..24].copy_from_slice(&u32::MAX.to_ne_bytes());
    let mut far_away = udev("ACTION=add\0DEVPATH=/x\0");
    far_away[16..20].copy_from_slice(&u32::MAX.to_ne_bytes());
    for message in [&b""[..], b"x", b"\0\0\0", b"@", b"add@/x", b"add@/x\0ACTION=add\0", b"libudev\0", &[0xff; 100]] {
        assert_eq!(Event::parse(message), None, "{message:?}");
    }
    for message in [wrong_magic, too_long, far_away] {
        assert_eq!(Event::parse(&message), None);
    }
}

#[test]
fn only_some_concern_us() {
    for (subsystem, path, more, want) in [
        ("mdev", "/devices/pci0000:3a/0000:3b:00.0/6f1c2f9e", "", true),
        ("pci", "/devices/pci0000:3a/0000:3b:00.4", "", true),
        ("mbochs", "/devices/virtual/mbochs/mbochs", "MDEV_STATE=registered\0", true),
        ("vfio", "/devices/virtual/vfio/12", "", true),
        ("vfio-dev", "/devices/pci0000:3a/0000:3b:00.4/vfio-dev/vfio0", "", true),
        ("drivers", "/bus/pci/drivers/nvidia", "", true),
        ("drivers", "/bus/usb/drivers/hub", "", false),
        ("block", "/devices/virtual/block/loop0", "", false),
        ("net", "/devices/virtual/net/vnet0", "", false),
        ("mbochs", "/devices/virtual/mbochs/mbochs", "", false),
    ] {
        let message = kernel("add", path, subsystem, more);
        let event = Event::parse(&message).unwrap();
        assert_eq!(event.concerns_us(Source::Kernel), want, "{subsystem} {path}");
        assert!(!event.concerns_us(Source::Udev), "without the tag");
    }
    for (tags, want) in [(":headstart:", true), (":a:headstart:b:", true), (":headstarted:", false), ("", false)] {
        let event = Event { action: "add", path: "/x", tags, ..Event::default() };
        assert_eq!(event.concerns_us(Source::Udev), want, "{tags}");
    }
}

/// Rules that mark, and do nothing else; and the same kinds as without udev.
#[test]
fn the_rules_mark_the_same_and_do_nothing_else() {
    let rules: Vec<&str> = RULES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let mut marked = Vec::new();
    for rule in &rules {
        let (matches, assignment) = rule.rsplit_once(", ").unwrap();
        assert_eq!(assignment, "TAG+=\"headstart\"", "{rule}");
        for part in matches.split(", ") {
            let (key, values) = part.split_once("==").unwrap();
            if key == "SUBSYSTEM" {
                marked.extend(values.trim_matches('"').split('|'));
            }
        }
    }
    marked.sort_unstable();
    assert_eq!(marked, ["drivers", "mdev", "pci", "vfio", "vfio-dev"]);
    assert!(rules.contains(&"ENV{MDEV_STATE}==\"?*\", TAG+=\"headstart\""));
}

#[tokio::test]
async fn a_burst_is_one_wake_up() {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let mut uevents = Uevents::over(ours.into(), Source::Kernel).unwrap();
    theirs.send(&kernel("add", "/devices/virtual/net/vnet0", "net", "")).unwrap();
    for n in 0..20 {
        theirs.send(&kernel("add", &format!("/devices/pci0000:3a/0000:3b:00.{n}"), "pci", "")).unwrap();
    }
    assert_eq!(uevents.burst().await.unwrap(), "add /devices/pci0000:3a/0000:3b:00.0 (pci), and 19 more");
    theirs.send(&kernel("remove", "/devices/x", "mdev", "")).unwrap();
    assert_eq!(uevents.burst().await.unwrap(), "remove /devices/x (mdev)");
}

/// The kernel says what is written to a device's `uevent`.
#[tokio::test]
async fn the_kernel_is_heard() {
    // Memory devices are on every machine; that they do not concern us is not the question here.
    let device = "/sys/class/mem/null/uevent";
    let Ok(uevents) = Uevents::listen(Source::Kernel) else {
        eprintln!("skipped: no netlink here");
        return;
    };
    if std::fs::write(device, "change").is_err() {
        eprintln!("skipped: {device} cannot be written");
        return;
    }
    let mut buffer = [0; LONGEST];
    let heard = async {
        loop {
            let read = |socket: &OwnedFd| Ok(recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?);
            let n = uevents.socket.async_io(tokio::io::Interest::READABLE, read).await.unwrap();
            let event = Event::parse(&buffer[..n]).unwrap();
            if event.path == "/devices/virtual/mem/null" {
                return event.action.to_owned();
            }
        }
    };
    assert_eq!(tokio::time::timeout(Duration::from_secs(30), heard).await.unwrap(), "change");
}
