//! The definition that libvirt's hook hands over, as a domain that is about to start; and a device exchanged in its text.
//!
//! Pure functions over text. Not here: what a definition says (`domain_xml`) and what its metadata means (`desktop_xml`).

use std::ops::Range;

use headstart_core::gpu::DeviceId;
use headstart_core::id::{BadId, DesktopName};
use headstart_core::observed::{Attachment, Domain, Hostdev, Login, Power};
use roxmltree::{Document, Node};

use super::domain_xml::{BadDomainXml, DomainXml, is_our_alias};

/// Why a definition cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadXml {
    /// It is none.
    #[error(transparent)]
    Domain(#[from] BadDomainXml),
    /// It names nobody.
    #[error(transparent)]
    Name(#[from] BadId),
}

/// The domain of a definition that libvirt is about to use.
///
/// # Errors
/// It is none.
pub fn parse(xml: &str) -> Result<Domain, BadXml> {
    let said = DomainXml::parse(xml)?;
    let hostdev = |device: &super::domain_xml::NamedDevice| Hostdev {
        device: device.device,
        attachment: Attachment::Attached,
        ours: device.ours(),
    };
    Ok(Domain {
        uuid: said.uuid,
        name: DesktopName::new(said.name.as_str())?,
        power: Power::Starting,
        hostdevs: said.devices.iter().map(hostdev).collect(),
        login: Login::None,
        screen: Login::None,
        settings: said.desktop.settings,
    })
}

/// The same definition with `to` in place of our `from`, every byte as it was that does not say which device it is. `managed`: libvirt
/// binds and unbinds `to`, if that is a VF. What its guest sees of it stays: the address on the guest's bus, boot order, ROM, and the
/// alias, which is ours on any host.
///
/// None: it does not name `from`; or `to` is of the other kind, and the device has a display, which only the kind it has may have.
pub fn exchange(xml: &str, from: DeviceId, to: DeviceId, managed: bool) -> Option<String> {
    let document = Document::parse(xml).ok()?;
    let devices = child(document.root_element(), "devices")?;
    let hostdev = devices.children().filter(|node| node.has_tag_name("hostdev")).find(|hostdev| {
        let alias = child(*hostdev, "alias").and_then(|alias| alias.attribute("name"));
        alias.is_some_and(is_our_alias) && named(*hostdev) == Some(from)
    })?;
    let source = child(hostdev, "source")?;
    let managed = if managed { "yes" } else { "no" };
    let mut changes = Changes::default();
    match (from, to) {
        (DeviceId::Mdev(_), DeviceId::Mdev(_)) => changes.replace(child(source, "address")?.range(), address(to)),
        (DeviceId::Vf(_), DeviceId::Vf(_)) => {
            changes.replace(child(source, "address")?.range(), address(to));
            if let Some(old) = hostdev.attribute_node("managed") {
                changes.replace(old.range_value(), managed.to_owned());
            }
        }
        _ if ["display", "ramfb"].iter().any(|name| hostdev.attribute(*name) == Some("on")) => return None,
        (_, to) => {
            let tag = match to {
                DeviceId::Mdev(_) => "<hostdev mode='subsystem' type='mdev' model='vfio-pci'>".to_owned(),
                DeviceId::Vf(_) => format!("<hostdev mode='subsystem' type='pci' managed='{managed}'>"),
            };
            changes.replace(hostdev.range().start..start_tag_end(xml, hostdev)?, tag);
            changes.replace(source.range(), format!("<source>{}</source>", address(to)));
            // It says how a VF is passed through, and an mdev has none.
            if let Some(driver) = child(hostdev, "driver") {
                changes.replace(driver.range(), String::new());
            }
        }
    }
    Some(changes.applied(xml))
}

/// Parts of a text, and what comes in their place.
#[derive(Default)]
struct Changes(Vec<(Range<usize>, String)>);

impl Changes {
    fn replace(&mut self, range: Range<usize>, new: String) {
        self.0.push((range, new));
    }

    fn applied(mut self, text: &str) -> String {
        // From the end, so that what stands before keeps its place.
        self.0.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
        self.0.into_iter().fold(text.to_owned(), |mut text, (range, new)| {
            text.replace_range(range, &new);
            text
        })
    }
}

/// Where the content of an element begins. None: it has none.
fn start_tag_end(xml: &str, node: Node<'_, '_>) -> Option<usize> {
    // Attributes may hold a `>`, what follows them cannot.
    let attributes = node.attributes().map(|attribute| attribute.range().end).max().unwrap_or(node.range().start);
    let end = attributes + xml[attributes..].find('>')? + 1;
    (!xml[..end].ends_with("/>")).then_some(end)
}

fn address(device: DeviceId) -> String {
    match device {
        DeviceId::Mdev(uuid) => format!("<address uuid='{uuid}'/>"),
        DeviceId::Vf(vf) => {
            let text = vf.to_string();
            let mut parts = text.split([':', '.']);
            let mut next = || parts.next().unwrap_or_default();
            let (domain, bus, slot, function) = (next(), next(), next(), next());
            format!("<address domain='0x{domain}' bus='0x{bus}' slot='0x{slot}' function='0x{function}'/>")
        }
    }
}

/// The device that a hostdev names.
fn named(hostdev: Node<'_, '_>) -> Option<DeviceId> {
    device(hostdev.attribute("type")?, child(child(hostdev, "source")?, "address")?)
}

fn child<'a, 'i>(node: Node<'a, 'i>, tag: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|child| child.is_element() && child.tag_name().name() == tag)
}

/// libvirt writes hexadecimal with 0x, and takes decimal, too.
fn device(kind: &str, address: Node<'_, '_>) -> Option<DeviceId> {
    if kind == "mdev" {
        return address.attribute("uuid")?.parse().ok().map(DeviceId::Mdev);
    }
    let number = |name: &str| {
        let text = address.attribute(name).unwrap_or("0");
        text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok())
    };
    let (domain, bus, slot, function) = (number("domain")?, number("bus")?, number("slot")?, number("function")?);
    format!("{domain:04x}:{bus:02x}:{slot:02x}.{function:x}").parse().ok().map(DeviceId::Vf)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOMAIN: &str = "<domain type='kvm' id='3'>
  <name>win-01</name>
  <uuid>11111111-2222-3333-4444-555555555555</uuid>
  <devices>
    <disk type='file' device='disk'><alias name='ua-headstart-not-a-hostdev'/></disk>
    <hostdev mode='subsystem' type='pci' managed='yes'>
      <driver name='vfio'/>
      <source>
        <address domain='0x0000' bus='0x3b' slot='0x00' function='0x4'/>
      </source>
      <alias name='ua-headstart-0'/>
      <address type='pci' domain='0x0000' bus='0x06' slot='0x00' function='0x0'/>
    </hostdev>
    <hostdev mode='subsystem' type='mdev' model='vfio-pci'>
      <source><address uuid='6f1c2f9e-53a1-4d0b-9c57-1e0f7a8ec2d4'/></source>
      <alias name='ua-headstart-1'/>
    </hostdev>
    <hostdev mode='subsystem' type='mdev' model='vfio-pci'>
      <source><address uuid='6f1c2f9e-53a1-4d0b-9c57-1e0f7a8ec2d5'/></source>
      <alias name='hostdev2'/>
    </hostdev>
    <hostdev mode='subsystem' type='usb'><source><address bus='1' device='2'/></source></hostdev>
  </devices>
</domain>
";

    fn vf(text: &str) -> DeviceId {
        DeviceId::Vf(text.parse().unwrap())
    }

    #[test]
    fn a_domain_and_its_devices() {
        let domain = parse(DOMAIN).unwrap();
        assert_eq!((domain.name.as_str(), &domain.power), ("win-01", &Power::Starting));
        let devices: Vec<String> =
            domain.hostdevs.iter().map(|hostdev| format!("{} {}", hostdev.device, hostdev.ours)).collect();
        assert_eq!(
            devices,
            [
                "6f1c2f9e-53a1-4d0b-9c57-1e0f7a8ec2d4 true",
                "6f1c2f9e-53a1-4d0b-9c57-1e0f7a8ec2d5 false",
                "0000:3b:00.4 true"
            ]
        );
    }

    const OUR_MDEV: &str = "6f1c2f9e-53a1-4d0b-9c57-1e0f7a8ec2d4";
    const NEW_MDEV: &str = "6f1c2f9e-53a1-4d0b-9c57-1e0f7a8ec2ff";

    fn mdev(text: &str) -> DeviceId {
        DeviceId::Mdev(text.parse().unwrap())
    }

    #[test]
    fn a_device_is_exchanged_and_nothing_else() {
        let changed = exchange(DOMAIN, vf("0000:3b:00.4"), vf("0001:af:1f.7"), true).unwrap();
        let (old, new) = (
            "<address domain='0x0000' bus='0x3b' slot='0x00' function='0x4'/>",
            "<address domain='0x0001' bus='0xaf' slot='0x1f' function='0x7'/>",
        );
        assert_eq!(changed, DOMAIN.replace(old, new));
        let changed = exchange(DOMAIN, vf("0000:3b:00.4"), vf("0001:af:1f.7"), false).unwrap();
        assert_eq!(
            changed,
            DOMAIN.replace(old, new).replace("managed='yes'", "managed='no'"),
            "its driver stays bound"
        );
        let changed = exchange(DOMAIN, mdev(OUR_MDEV), mdev(NEW_MDEV), false).unwrap();
        assert_eq!(changed, DOMAIN.replace(OUR_MDEV, NEW_MDEV));
        // A stranger's, one that is not there, and the place on the guest's bus.
        assert_eq!(exchange(DOMAIN, mdev("6f1c2f9e-53a1-4d0b-9c57-1e0f7a8ec2d5"), mdev(NEW_MDEV), false), None);
        assert_eq!(exchange(DOMAIN, vf("0000:06:00.0"), vf("0000:3b:00.5"), true), None);
    }

    #[test]
    fn a_vf_takes_the_place_of_an_mdev_and_an_mdev_that_of_a_vf() {
        let (before, rest) = DOMAIN.split_once("    <hostdev mode='subsystem' type='pci'").unwrap();
        let (_, after) = rest.split_once("</hostdev>\n").unwrap();
        let changed = exchange(DOMAIN, vf("0000:3b:00.4"), mdev(NEW_MDEV), false).unwrap();
        let guest = "
      <alias name='ua-headstart-0'/>
      <address type='pci' domain='0x0000' bus='0x06' slot='0x00' function='0x0'/>
    </hostdev>
";
        let new = format!(
            "    <hostdev mode='subsystem' type='mdev' model='vfio-pci'>
      
      <source><address uuid='{NEW_MDEV}'/></source>{guest}"
        );
        assert_eq!(changed, format!("{before}{new}{after}"));
        assert_eq!(
            parse(&changed).unwrap().hostdevs.iter().filter(|it| it.ours && it.device == mdev(NEW_MDEV)).count(),
            1
        );

        for (managed, word) in [(true, "yes"), (false, "no")] {
            let changed = exchange(DOMAIN, mdev(OUR_MDEV), vf("0000:3b:00.5"), managed).unwrap();
            let old = format!(
                "<hostdev mode='subsystem' type='mdev' model='vfio-pci'>
      <source><address uuid='{OUR_MDEV}'/></source>"
            );
            let new = format!(
                "<hostdev mode='subsystem' type='pci' managed='{word}'>
      <source><address domain='0x0000' bus='0x3b' slot='0x00' function='0x5'/></source>"
            );
            assert_eq!(changed, DOMAIN.replacen(&old, &new, 1));
            assert!(parse(&changed).unwrap().hostdevs.iter().any(|it| it.ours && it.device == vf("0000:3b:00.5")));
            // And back, byte for byte.
            assert_eq!(exchange(&changed, vf("0000:3b:00.5"), mdev(OUR_MDEV), false).unwrap(), DOMAIN);
        }
    }

    #[test]
    fn a_device_with_a_display_keeps_its_kind() {
        for shown in ["display='on'", "display='on' ramfb='on'"] {
            let xml = DOMAIN.replace("model='vfio-pci'", &format!("model='vfio-pci' {shown}"));
            assert_eq!(exchange(&xml, mdev(OUR_MDEV), vf("0000:3b:00.5"), false), None);
            assert!(exchange(&xml, mdev(OUR_MDEV), mdev(NEW_MDEV), false).is_some());
        }
        let xml = DOMAIN.replace("model='vfio-pci'", "display = \"off\" model='vfio-pci' note='a>b' ");
        assert!(
            exchange(&xml, mdev(OUR_MDEV), vf("0000:3b:00.5"), false).unwrap().contains("type='pci' managed='no'>\n")
        );
    }

    #[test]
    fn its_metadata_comes_with_it() {
        let metadata = "<metadata><h:desktop xmlns:h='https://headstart.dev/xmlns/desktop/1' profile='A40-4Q' missing-gpu='block'/>\
                        </metadata>\n  <devices>";
        let settings = parse(&DOMAIN.replace("<devices>", metadata)).unwrap().settings.unwrap();
        assert_eq!(settings.missing_gpu, Some(headstart_core::desktop::MissingGpu::Block));
        assert_eq!(settings.profiles.unwrap()[0].as_str(), "A40-4Q");
        assert_eq!(parse(DOMAIN).unwrap().settings, None);
    }

    #[test]
    fn what_is_no_domain_says_what_it_is() {
        let nested = format!("<domain>{}", "<a>".repeat(100_000));
        for (xml, want) in [
            ("", "its XML cannot be read: "),
            ("<network/>", "its XML is not a domain's: it begins with <network>"),
            ("<domain><name>x</name></domain>", "its XML is not a domain's: "),
            ("<domain><uuid>11111111-2222-3333-4444-555555555555</uuid></domain>", "its XML is not a domain's: "),
            (
                "<domain><name> x</name><uuid>11111111-2222-3333-4444-555555555555</uuid></domain>",
                "desktop name \" x\" is not valid: ",
            ),
            ("<domain><name>x</name>", "its XML cannot be read: "),
            ("<!DOCTYPE domain [<!ENTITY a \"b\">]><domain/>", "its XML cannot be read: XML with DTD detected"),
            (&nested, "its XML cannot be read: "),
            (&"x".repeat(10 << 20), "its XML is 10485760 bytes long, and libvirt sends at most 4194304"),
        ] {
            let error = parse(xml).unwrap_err().to_string();
            assert!(error.starts_with(want), "{error}");
        }
    }
}
