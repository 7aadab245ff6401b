//! Domain XML of libvirt 9.0 and 11.3, shortened to what is read.

use super::*;

const UUID: &str = "11111111-2222-3333-4444-555555555555";
const OURS: &str = "ua-headstart-0000-3b-00-4";

fn domain(devices: &str) -> String {
    format!("<domain type='kvm' id='3'><name>win-01</name><uuid>{UUID}</uuid><devices>{devices}</devices></domain>")
}

fn parse(devices: &str) -> DomainXml {
    DomainXml::parse(&domain(devices)).unwrap()
}

fn vf(address: &str) -> DeviceId {
    DeviceId::Vf(address.parse().unwrap())
}

#[test]
fn devices_are_found_wherever_they_stand() {
    let found = parse(
        "<hostdev mode='subsystem' type='pci' managed='yes'><driver name='vfio'/><source><address domain='0x0000' bus='0x3b' \
         slot='0x00' function='0x4'/></source><alias name='ua-headstart-0000-3b-00-4'/><address type='pci' domain='0x0000' \
         bus='0x02' slot='0x00' function='0x0'/></hostdev>\
         <hostdev mode='subsystem' type='mdev' managed='no' model='vfio-pci' display='on' ramfb='on'><source>\
         <address uuid='AAAAAAAA-2222-3333-4444-555555555555'/></source><alias name='hostdev1'/></hostdev>\
         <hostdev mode='subsystem' type='usb'><source><vendor id='0x1234'/><product id='0xbeef'/></source></hostdev>\
         <hostdev mode='subsystem' type='usb'><source><address bus='1' device='2'/></source></hostdev>\
         <hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host0'/><address bus='0' target='0' unit='0'/></source></hostdev>\
         <interface type='hostdev' managed='yes'><mac address='52:54:00:6d:90:02'/><source><address type='pci' domain='0x0000' \
         bus='0x05' slot='0x10' function='0x2'/></source></interface>\
         <disk type='nvme' device='disk'><source type='pci' managed='yes' namespace='1'><address domain='0x0000' bus='0x01' \
         slot='0x00' function='0x0'/></source></disk>\
         <hostdev mode='subsystem' type='pci'><source><address bus='6' slot='0' function='0'/></source></hostdev>",
    );
    let named: Vec<String> = found.devices.iter().map(|named| format!("{} {}", named.device, named.ours())).collect();
    let want = [
        "aaaaaaaa-2222-3333-4444-555555555555 false",
        "0000:01:00.0 false",
        "0000:05:10.2 false",
        "0000:06:00.0 false",
    ];
    assert_eq!(named[..3], want[..3]);
    assert_eq!(named[3..], [want[3], "0000:3b:00.4 true"]);
    assert!(found.devices[0].stays, "ramfb");
    assert_eq!(found.device(vf("0000:3b:00.4")).unwrap().alias.as_deref(), Some(OURS));
    assert_eq!((found.uuid.to_string().as_str(), found.name.as_str(), found.run), (UUID, "win-01", Some(3)));
}

#[test]
fn what_we_write_is_what_we_read() {
    for device in [
        vf("0000:3b:00.4"),
        vf("10000:e1:1f.7"),
        DeviceId::Mdev("aaaaaaaa-2222-3333-4444-555555555555".parse().unwrap()),
    ] {
        for managed in [true, false] {
            let found = parse(&hostdev(device, managed));
            let named = found.device(device).expect("it is named");
            assert!(named.ours() && !named.stays);
            let alias = named.alias.as_deref().unwrap();
            assert!(alias.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "libvirt allows no other: {alias}");
        }
    }
    let managed = |managed| hostdev(vf("0000:3b:00.4"), managed);
    assert!(managed(true).contains("managed='yes'") && managed(false).contains("managed='no'"));
}

#[test]
fn free_root_ports_are_counted() {
    let port = |index: u32, more: &str| {
        format!("<controller type='pci' index='{index}' model='pcie-root-port'>{more}</controller>")
    };
    let root = "<controller type='pci' index='0' model='pcie-root'/>";
    let on_bus = |bus: u32| {
        format!("<rng><address type='pci' domain='0x0000' bus='0x{bus:02x}' slot='0x00' function='0x0'/></rng>")
    };
    for (devices, free) in [
        (String::new(), None),
        ("<controller type='usb' index='0'/>".to_owned(), None),
        (root.to_owned(), Some(0)),
        (format!("{root}{}{}", port(1, ""), port(2, "")), Some(2)),
        (format!("{root}{}{}{}", port(1, ""), port(2, ""), on_bus(2)), Some(1)),
        (format!("{root}{}{}", port(16, ""), on_bus(16)), Some(0)),
        (format!("{root}{}", port(1, "<target chassis='1' port='0x10' hotplug='off'/>")), Some(0)),
    ] {
        assert_eq!(parse(&devices).free_ports, free, "{devices}");
    }
    let conventional = "<controller type='pci' index='0' model='pci-root'/><video><address type='pci' domain='0x0000' bus='0x00' \
                        slot='0x02' function='0x0'/></video>";
    assert_eq!(parse(conventional).free_ports, Some(29));
}

#[test]
fn the_agents_channel_and_the_screens_are_found() {
    let agent = |state: &str| {
        format!(
            "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'{state}/></channel><channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0' state='connected'/></channel>"
        )
    };
    for (state, want) in [("", Some(false)), (" state='disconnected'", Some(false)), (" state='connected'", Some(true))]
    {
        assert_eq!(parse(&agent(state)).agent, want);
    }
    let found = parse(
        "<graphics type='vnc' port='5901' websocket='5701' autoport='yes'/><graphics type='spice' port='5902' tlsPort='5903'/>\
         <graphics type='vnc' port='-1' autoport='yes'/><graphics type='egl-headless'/>",
    );
    assert_eq!(found.agent, None);
    assert_eq!(found.screens.into_iter().collect::<Vec<_>>(), [5701, 5901, 5902, 5903]);
}

#[test]
fn what_is_no_domain_is_refused_in_words() {
    let bad = |text: &str| DomainXml::parse(text).unwrap_err().to_string();
    assert_eq!(bad(""), "its XML cannot be read: the document does not have a root node");
    assert_eq!(bad("<domain><name>"), "its XML cannot be read: the root node was opened but never closed");
    assert_eq!(bad("<network><name>default</name></network>"), "its XML is not a domain's: it begins with <network>");
    assert_eq!(bad("<domain><name>a</name></domain>"), "its XML is not a domain's: it lacks <uuid>");
    assert_eq!(
        bad("<domain><name>a</name><uuid>x</uuid></domain>"),
        "its XML is not a domain's: domain UUID \"x\" is not valid: expected 8-4-4-4-12 hexadecimal digits"
    );
    let entities = "<!DOCTYPE domain [<!ENTITY a SYSTEM 'file:///etc/shadow'>]><domain><name>&a;</name></domain>";
    assert_eq!(bad(entities), "its XML cannot be read: XML with DTD detected");
    assert_eq!(
        bad(&domain(
            "<hostdev><source><address domain='0x0' bus='0x300' slot='0x0' function='0x0'/></source></hostdev>"
        )),
        "its XML is not a domain's: <address domain='0x0' bus='0x300' slot='0x0' function='0x0'> is no PCI address",
        "a device that is skipped would count as free"
    );
    assert!(
        bad(&domain("<hostdev><source><address uuid='1'/></source></hostdev>"))
            .contains("mdev UUID \"1\" is not valid")
    );
}

#[test]
fn ten_megabytes_are_refused_and_deep_nesting_is_harmless() {
    let long = domain(&"<rng model='virtio'/>".repeat(500_000));
    let error = DomainXml::parse(&long).unwrap_err().to_string();
    assert_eq!(error, format!("its XML is {} bytes long, and libvirt sends at most 4194304", long.len()));
    let deep = 100_000;
    let found = parse(&("<a>".repeat(deep) + &"</a>".repeat(deep)));
    assert_eq!(found.devices, []);
}
