//! What a domain's XML says that headstart needs: which devices it names, what it could still take, who could be at its screen; and
//! the XML of a device that is to be attached.
//!
//! Text in, values out; libvirt's `formatdomain` describes the text. Deliberately not here: whether something may be done (`step`),
//! and the state of a domain, which its XML does not tell.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use headstart_core::gpu::DeviceId;
use headstart_core::id::{DomainUuid, MdevUuid, PciAddress};
use roxmltree::{Document, Node};

use super::desktop_xml::{self, DesktopXml};

/// Longest domain XML that is read. libvirt's protocol carries no longer text (`REMOTE_STRING_MAX`).
const LONGEST: usize = 4 << 20;
/// What the alias of every device begins with that headstart attached. libvirt keeps aliases that begin with `ua-`.
const MARK: &str = "ua-headstart-";
/// The channel on which QEMU's guest agent listens.
const AGENT_CHANNEL: &str = "org.qemu.guest_agent.0";
/// Slots of a conventional PCI bus that can be plugged into; slot 0 is the bridge's own.
const SLOTS: u32 = 31;

/// A domain's XML, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainXml {
    /// Its identity.
    pub uuid: DomainUuid,
    /// Its name, as it stands there.
    pub name: String,
    /// libvirt's number of its run; none: this is a definition.
    pub run: Option<u32>,
    /// Host devices that it names, each once.
    pub devices: Vec<NamedDevice>,
    /// How many devices could be plugged into it while it runs; none if it has no PCI, or none that libvirt tells of.
    pub free_ports: Option<usize>,
    /// The guest agent's channel, if it has one: whether somebody in the guest listens.
    pub agent: Option<bool>,
    /// TCP ports at which its screens are served.
    pub screens: BTreeSet<u16>,
    /// The metadata that makes it a desktop.
    pub desktop: DesktopXml,
}

/// A host device that a domain names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedDevice {
    /// Which.
    pub device: DeviceId,
    /// Under which alias.
    pub alias: Option<String>,
    /// QEMU was told that it will never be unplugged (`ramfb`).
    pub stays: bool,
}

impl NamedDevice {
    /// It bears our mark.
    pub fn ours(&self) -> bool {
        self.alias.as_deref().is_some_and(is_our_alias)
    }
}

/// Text that is not a domain's XML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDomainXml {
    /// Longer than libvirt sends.
    #[error("its XML is {0} bytes long, and libvirt sends at most {LONGEST}")]
    TooLong(usize),
    /// No XML, or with a document type.
    #[error("its XML cannot be read: {0}")]
    NotXml(String),
    /// XML of something else.
    #[error("its XML is not a domain's: {0}")]
    NotADomain(String),
}

impl DomainXml {
    /// Reads what `virsh dumpxml` shows.
    ///
    /// # Errors
    /// It is not a domain's XML. A device whose address cannot be read is an error too: it would be missed.
    pub fn parse(text: &str) -> Result<Self, BadDomainXml> {
        if text.len() > LONGEST {
            return Err(BadDomainXml::TooLong(text.len()));
        }
        // roxmltree refuses document types, and with them all entities that are not XML's own.
        let document = Document::parse(text).map_err(|error| BadDomainXml::NotXml(error.to_string()))?;
        let root = document.root_element();
        if root.tag_name().name() != "domain" {
            let what = format!("it begins with <{}>", root.tag_name().name());
            return Err(BadDomainXml::NotADomain(what));
        }
        let text_of = |name: &str| {
            let element = child(root, name);
            element.and_then(|element| element.text()).map(str::to_owned).ok_or_else(|| lacks(name))
        };
        let uuid = text_of("uuid")?.trim().parse().map_err(not_a_domain)?;
        let name = text_of("name")?;
        let devices = child(root, "devices");
        let parts: Vec<Node> =
            devices.into_iter().flat_map(|devices| devices.children()).filter(Node::is_element).collect();
        Ok(Self {
            uuid,
            name,
            run: root.attribute("id").and_then(|id| id.parse().ok()),
            devices: named(&parts)?,
            free_ports: free_ports(&parts),
            agent: agent(&parts),
            screens: screens(&parts),
            desktop: child(root, "metadata").map(desktop_xml::read).unwrap_or_default(),
        })
    }

    /// How it names a device, if it does.
    pub fn device(&self, device: DeviceId) -> Option<&NamedDevice> {
        self.devices.iter().find(|named| named.device == device)
    }
}

fn not_a_domain(error: impl fmt::Display) -> BadDomainXml {
    BadDomainXml::NotADomain(error.to_string())
}

fn lacks(name: &str) -> BadDomainXml {
    BadDomainXml::NotADomain(format!("it lacks <{name}>"))
}

fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|child| child.has_tag_name(name))
}

/// Every PCI function and mdev of the host that stands in a `<source>`: of a hostdev, of an interface that is a VF, of a disk.
fn named(parts: &[Node]) -> Result<Vec<NamedDevice>, BadDomainXml> {
    let mut devices: BTreeMap<DeviceId, NamedDevice> = BTreeMap::new();
    for part in parts {
        let Some(address) = child(*part, "source").and_then(|source| child(source, "address")) else { continue };
        let device = if let Some(uuid) = address.attribute("uuid") {
            DeviceId::Mdev(uuid.parse::<MdevUuid>().map_err(not_a_domain)?)
        } else if address.attribute("function").is_some() {
            DeviceId::Vf(pci_address(address)?)
        } else {
            // USB and SCSI devices.
            continue;
        };
        let alias = child(*part, "alias").and_then(|alias| alias.attribute("name")).map(str::to_owned);
        let stays = part.attribute("ramfb") == Some("on");
        devices.entry(device).or_insert(NamedDevice { device, alias, stays });
    }
    Ok(devices.into_values().collect())
}

/// `domain='0x0000' bus='0x3b' slot='0x00' function='0x4'`; a domain of 0 may be left out, numbers may be decimal.
fn pci_address(address: Node) -> Result<PciAddress, BadDomainXml> {
    let bad = || {
        let attributes: Vec<String> =
            address.attributes().map(|attribute| format!("{}='{}'", attribute.name(), attribute.value())).collect();
        BadDomainXml::NotADomain(format!("<address {}> is no PCI address", attributes.join(" ")))
    };
    let number = |name| {
        let text: &str = address.attribute(name).unwrap_or("0");
        let parsed = text.strip_prefix("0x").map_or_else(|| text.parse(), |hex| u32::from_str_radix(hex, 16));
        parsed.map_err(|_| bad())
    };
    let (domain, bus, slot, function) = (number("domain")?, number("bus")?, number("slot")?, number("function")?);
    format!("{domain:x}:{bus:x}:{slot:x}.{function:x}").parse().map_err(|_| bad())
}

/// Where on the guest's PCI buses something is: bus and slot.
fn guest_address(part: Node) -> Option<(u32, u32)> {
    let address = child(part, "address").filter(|address| address.attribute("type") == Some("pci"))?;
    let number = |name| u32::from_str_radix(address.attribute(name)?.trim_start_matches("0x"), 16).ok();
    Some((number("bus")?, number("slot")?))
}

/// Root ports of a PCI Express machine that carry nothing; slots of a conventional one that carry nothing.
fn free_ports(parts: &[Node]) -> Option<usize> {
    let taken: BTreeSet<(u32, u32)> = parts.iter().filter_map(|part| guest_address(*part)).collect();
    let mut free = None;
    for controller in
        parts.iter().filter(|part| part.has_tag_name("controller") && part.attribute("type") == Some("pci"))
    {
        let index: u32 = controller.attribute("index").and_then(|index| index.parse().ok()).unwrap_or(0);
        let room = match controller.attribute("model") {
            Some("pcie-root-port" | "pcie-switch-downstream-port") => {
                let fixed =
                    child(*controller, "target").is_some_and(|target| target.attribute("hotplug") == Some("off"));
                usize::from(!fixed && !taken.iter().any(|(bus, _)| *bus == index))
            }
            Some("pci-root" | "pci-bridge") => {
                let slots = (1..=SLOTS).filter(|slot| !taken.contains(&(index, *slot)));
                // The machine's own chipset stands in slot 1 of bus 0, told of or not.
                slots.filter(|slot| index != 0 || *slot > 1).count()
            }
            _ => 0,
        };
        free = Some(free.unwrap_or(0) + room);
    }
    free
}

/// Whether there is a guest agent's channel, and whether somebody listens.
fn agent(parts: &[Node]) -> Option<bool> {
    let targets = parts.iter().filter(|part| part.has_tag_name("channel")).filter_map(|part| child(*part, "target"));
    let mut agents = targets.filter(|target| target.attribute("name") == Some(AGENT_CHANNEL));
    agents.next().map(|target| target.attribute("state") == Some("connected"))
}

/// TCP ports at which VNC and SPICE are served now; a domain that is off has none yet.
fn screens(parts: &[Node]) -> BTreeSet<u16> {
    let graphics = parts.iter().filter(|part| part.has_tag_name("graphics"));
    let ports = graphics.flat_map(|graphics| ["port", "tlsPort", "websocket"].map(|name| graphics.attribute(name)));
    ports.flatten().filter_map(|port| port.parse().ok()).filter(|port| *port != 0).collect()
}

/// Whether an alias is one that we give.
pub fn is_our_alias(alias: &str) -> bool {
    alias.starts_with(MARK)
}

/// The alias under which we attach a device: the same on every host and at any time.
pub fn alias(device: DeviceId) -> String {
    format!("{MARK}{}", device.to_string().replace([':', '.'], "-"))
}

/// The XML of a device that we attach. `managed`: libvirt binds the VF to its VFIO driver and back; mdevs have no such choice.
///
/// `display` and `ramfb` stay off: they bind the device to the guest for good, and users come over the network.
pub fn hostdev(device: DeviceId, managed: bool) -> String {
    let alias = alias(device);
    match device {
        DeviceId::Mdev(uuid) => format!(
            "<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='{uuid}'/></source>\
             <alias name='{alias}'/></hostdev>"
        ),
        DeviceId::Vf(address) => {
            let text = address.to_string();
            let (place, function) = text.rsplit_once('.').unwrap_or((&text, "0"));
            let mut parts = place.split(':');
            let mut next = || parts.next().unwrap_or("0");
            let (domain, bus, slot) = (next(), next(), next());
            let managed = if managed { "yes" } else { "no" };
            format!(
                "<hostdev mode='subsystem' type='pci' managed='{managed}'><source><address domain='0x{domain}' bus='0x{bus}' \
                 slot='0x{slot}' function='0x{function}'/></source><alias name='{alias}'/></hostdev>"
            )
        }
    }
}

#[cfg(test)]
mod tests;
