//! The definition that libvirt's hook hands over: who it is and which devices it names; and a device exchanged in its text.
//!
//! Pure functions over text. Not here: what the metadata says (`desktop_xml`), and domains as libvirt lists them (`domain_xml`).

use headstart_core::gpu::DeviceId;
use headstart_core::id::{BadId, DesktopName, DomainUuid, PciAddress};
use headstart_core::observed::{Attachment, Domain, Hostdev, Login, Power};
use roxmltree::{Document, Node, ParsingOptions};

/// The beginning of the alias of what we attach.
pub const ALIAS: &str = "ua-headstart-";
/// libvirt's own protocol lets no text be longer.
pub const LONGEST: usize = 4 << 20;
/// No definition has so many elements; it bounds what hostile text can cost.
const MOST_NODES: u32 = 200_000;

/// Why a definition cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadXml {
    /// Too long to be one.
    #[error("{0} bytes are more than libvirt's {LONGEST}")]
    TooLong(usize),
    /// No XML.
    #[error("not well-formed: {0}")]
    NotXml(#[from] roxmltree::Error),
    /// Something else.
    #[error("the outermost element is <{0}>, not <domain>")]
    NotADomain(String),
    /// A domain without an identity.
    #[error("it lacks <{0}>")]
    Lacks(&'static str),
    /// Not a name or UUID.
    #[error(transparent)]
    Id(#[from] BadId),
}

fn document(xml: &str) -> Result<Document<'_>, BadXml> {
    if xml.len() > LONGEST {
        return Err(BadXml::TooLong(xml.len()));
    }
    // Without a DTD there are no entities to blow up.
    let options = ParsingOptions { nodes_limit: MOST_NODES, ..ParsingOptions::default() };
    Ok(Document::parse_with_options(xml, options)?)
}

/// The domain of a definition that libvirt is about to use.
///
/// # Errors
/// It is none.
pub fn parse(xml: &str) -> Result<Domain, BadXml> {
    let document = document(xml)?;
    let root = document.root_element();
    if root.tag_name().name() != "domain" {
        return Err(BadXml::NotADomain(root.tag_name().name().chars().take(80).collect()));
    }
    let text = |tag: &'static str| child(root, tag).and_then(|node| node.text()).ok_or(BadXml::Lacks(tag));
    let uuid: DomainUuid = text("uuid")?.trim().parse()?;
    let name = DesktopName::new(text("name")?)?;
    Ok(Domain {
        uuid,
        name,
        power: Power::Starting,
        hostdevs: hostdevs(root).map(|(_, hostdev)| hostdev).collect(),
        login: Login::None,
        screen: Login::None,
        settings: None,
    })
}

/// The same definition with `to` in place of our `from`, every other byte as it was. None: it does not name `from`, or the two are of
/// different kinds.
pub fn exchange(xml: &str, from: DeviceId, to: DeviceId) -> Option<String> {
    let document = document(xml).ok()?;
    let (address, _) = hostdevs(document.root_element()).find(|(_, hostdev)| hostdev.ours && hostdev.device == from)?;
    let new = match (from, to) {
        (DeviceId::Mdev(_), DeviceId::Mdev(uuid)) => format!("<address uuid='{uuid}'/>"),
        (DeviceId::Vf(_), DeviceId::Vf(vf)) => {
            let text = vf.to_string();
            let mut parts = text.split([':', '.']);
            let mut next = || parts.next().unwrap_or_default();
            let (domain, bus, slot, function) = (next(), next(), next(), next());
            format!("<address domain='0x{domain}' bus='0x{bus}' slot='0x{slot}' function='0x{function}'/>")
        }
        _ => return None,
    };
    let range = address.range();
    Some(format!("{}{new}{}", &xml[..range.start], &xml[range.end..]))
}

fn child<'a, 'i>(node: Node<'a, 'i>, tag: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|child| child.is_element() && child.tag_name().name() == tag)
}

/// Devices that could be ours, each with the element that says where it is. What is not understood is none of ours.
fn hostdevs<'a, 'i>(root: Node<'a, 'i>) -> impl Iterator<Item = (Node<'a, 'i>, Hostdev)> {
    let devices = child(root, "devices");
    let all = devices.into_iter().flat_map(|devices| devices.children());
    all.filter(|node| node.has_tag_name("hostdev")).filter_map(|hostdev| {
        let address = child(child(hostdev, "source")?, "address")?;
        let device = match hostdev.attribute("type")? {
            "mdev" => DeviceId::Mdev(address.attribute("uuid")?.parse().ok()?),
            "pci" => DeviceId::Vf(pci(address)?),
            _ => return None,
        };
        let alias = child(hostdev, "alias").and_then(|alias| alias.attribute("name"));
        let ours = alias.is_some_and(|alias| alias.starts_with(ALIAS));
        Some((address, Hostdev { device, attachment: Attachment::Attached, ours }))
    })
}

/// libvirt writes hexadecimal with 0x, and takes decimal, too.
fn pci(address: Node<'_, '_>) -> Option<PciAddress> {
    let number = |name: &str| {
        let text = address.attribute(name).unwrap_or("0");
        text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok())
    };
    let (domain, bus, slot, function) = (number("domain")?, number("bus")?, number("slot")?, number("function")?);
    format!("{domain:04x}:{bus:02x}:{slot:02x}.{function:x}").parse().ok()
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
    <hostdev mode='subsystem' type='pci'><source><address bus='x'/></source></hostdev>
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
                "0000:3b:00.4 true",
                "6f1c2f9e-53a1-4d0b-9c57-1e0f7a8ec2d4 true",
                "6f1c2f9e-53a1-4d0b-9c57-1e0f7a8ec2d5 false"
            ]
        );
    }

    #[test]
    fn a_device_is_exchanged_and_nothing_else() {
        let changed = exchange(DOMAIN, vf("0000:3b:00.4"), vf("0001:af:1f.7")).unwrap();
        let address = "<address domain='0x0001' bus='0xaf' slot='0x1f' function='0x7'/>";
        assert_eq!(
            changed,
            DOMAIN.replace("<address domain='0x0000' bus='0x3b' slot='0x00' function='0x4'/>", address)
        );
        let (old, new) = ("6f1c2f9e-53a1-4d0b-9c57-1e0f7a8ec2d4", "6f1c2f9e-53a1-4d0b-9c57-1e0f7a8ec2ff");
        let mdev = |text: &str| DeviceId::Mdev(text.parse().unwrap());
        let changed = exchange(DOMAIN, mdev(old), mdev(new)).unwrap();
        assert_eq!(changed, DOMAIN.replace(old, new));
        // A stranger's, one that is not there, and one of another kind.
        assert_eq!(exchange(DOMAIN, mdev("6f1c2f9e-53a1-4d0b-9c57-1e0f7a8ec2d5"), mdev(new)), None);
        assert_eq!(exchange(DOMAIN, vf("0000:06:00.0"), vf("0000:3b:00.5")), None);
        assert_eq!(exchange(DOMAIN, vf("0000:3b:00.4"), mdev(new)), None);
    }

    #[test]
    fn what_is_no_domain_says_what_it_is() {
        let nested = format!("<domain>{}", "<a>".repeat(100_000));
        let many = format!("<domain>{}</domain>", "<a/>".repeat(300_000));
        for (xml, want) in [
            ("", "not well-formed: the document does not have a root node"),
            ("<network/>", "the outermost element is <network>, not <domain>"),
            ("<domain><name>x</name></domain>", "it lacks <uuid>"),
            ("<domain><uuid>11111111-2222-3333-4444-555555555555</uuid></domain>", "it lacks <name>"),
            ("<domain><name>x</name><uuid>7</uuid></domain>", "domain UUID \"7\" is not valid"),
            ("<domain><name>x</name>", "not well-formed: "),
            ("<!DOCTYPE domain [<!ENTITY a \"b\">]><domain/>", "not well-formed: XML with DTD detected"),
            (&nested, "not well-formed: "),
            (&many, "not well-formed: nodes limit reached"),
            (&"x".repeat(10 << 20), "10485760 bytes are more than libvirt's 4194304"),
        ] {
            let error = parse(xml).unwrap_err().to_string();
            assert!(error.starts_with(want), "{error}");
        }
    }
}
