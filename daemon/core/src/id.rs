//! Names of things, parsed once at the door; each has one canonical text form.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use uuid::Uuid;

/// A name that is not acceptable, with the rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not valid: {rule}")]
pub struct BadId {
    what: &'static str,
    text: String,
    rule: &'static str,
}

/// Address of a PCI function, `dddd:bb:ss.f`. NVML prints the domain with 8 digits, sysfs with 4; both are read, 4 are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PciAddress {
    domain: u32,
    bus: u8,
    slot: u8,
    function: u8,
}

impl PciAddress {
    /// The function `n` further on, as routing identifiers count: 8 functions a slot, 32 slots a bus.
    /// That is how the VFs of a PF follow each other (PCI Express, `First VF Offset` and `VF Stride`). None past bus 255.
    pub fn offset(self, n: u32) -> Option<Self> {
        let rid = (u32::from(self.bus) << 8 | u32::from(self.slot) << 3 | u32::from(self.function)).checked_add(n)?;
        let bus = u8::try_from(rid >> 8).ok()?;
        Some(Self { domain: self.domain, bus, slot: (rid >> 3 & 0x1f) as u8, function: (rid & 7) as u8 })
    }
}

impl FromStr for PciAddress {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = || BadId {
            what: "PCI address",
            text: text.to_owned(),
            rule: "expected domain:bus:slot.function in hexadecimal, as lspci -D prints it, e.g. 0000:3b:00.0",
        };
        let hex = |part: &str, most: usize| {
            let fits = !part.is_empty() && part.len() <= most && part.bytes().all(|b| b.is_ascii_hexdigit());
            if fits { u32::from_str_radix(part, 16).map_err(|_| bad()) } else { Err(bad()) }
        };
        let (rest, function) = text.rsplit_once('.').ok_or_else(bad)?;
        let mut parts = rest.split(':');
        let (Some(domain), Some(bus), Some(slot), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(bad());
        };
        let (domain, bus, slot, function) = (hex(domain, 8)?, hex(bus, 2)?, hex(slot, 2)?, hex(function, 1)?);
        if slot > 0x1f || function > 7 {
            return Err(bad());
        }
        Ok(Self { domain, bus: bus as u8, slot: slot as u8, function: function as u8 })
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{:x}", self.domain, self.bus, self.slot, self.function)
    }
}

impl TryFrom<String> for PciAddress {
    type Error = BadId;
    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<PciAddress> for String {
    fn from(address: PciAddress) -> String {
        address.to_string()
    }
}

/// Name of a device that is no PCI function, as its directory in `/sys/devices/virtual` bears it; at most 31 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualName([u8; 32]);

impl VirtualName {
    /// The text.
    pub fn as_str(&self) -> &str {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        // Only ASCII was let in.
        std::str::from_utf8(&self.0[..end]).unwrap_or_default()
    }
}

/// What vGPUs are made on: a PF, or the virtual parent of mdevs (the kernel's sample drivers have such).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum GpuId {
    /// A physical function.
    Pci(PciAddress),
    /// A parent that is no PCI function.
    Virtual(VirtualName),
}

impl GpuId {
    /// The PCI function `n` further on, as VFs follow their PF; none past bus 255, and for what is no PCI function.
    pub fn offset(self, n: u32) -> Option<PciAddress> {
        self.pci()?.offset(n)
    }

    /// The address of the PF; none if it is no PCI function.
    pub fn pci(self) -> Option<PciAddress> {
        match self {
            GpuId::Pci(address) => Some(address),
            GpuId::Virtual(_) => None,
        }
    }
}

impl From<PciAddress> for GpuId {
    fn from(address: PciAddress) -> Self {
        Self::Pci(address)
    }
}

impl FromStr for GpuId {
    type Err = BadId;
    /// What holds a colon is a PCI address, anything else a name.
    fn from_str(text: &str) -> Result<Self, BadId> {
        if text.contains(':') {
            return text.parse().map(Self::Pci);
        }
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if text.is_empty() || text.len() > 31 || !plain || text.starts_with('.') {
            return Err(BadId {
                what: "GPU",
                text: text.chars().take(80).collect(),
                rule: "expected a PCI address, e.g. 0000:3b:00.0, or the name of a parent in /sys/class/mdev_bus",
            });
        }
        let mut name = [0; 32];
        name[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self::Virtual(VirtualName(name)))
    }
}

impl fmt::Display for GpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GpuId::Pci(address) => address.fmt(f),
            GpuId::Virtual(name) => f.write_str(name.as_str()),
        }
    }
}

impl TryFrom<String> for GpuId {
    type Error = BadId;
    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<GpuId> for String {
    fn from(id: GpuId) -> String {
        id.to_string()
    }
}

/// A newtype over text with a check. A copy costs nothing, since every round copies the host; and a short text lies in the value itself,
/// so that maps by name are searched without a look elsewhere.
macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $most:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(SmolStr);

        impl $type {
            /// Checks the name.
            ///
            /// # Errors
            /// Empty, too long, with control characters, or with blanks at its ends.
            pub fn new(text: impl Into<String>) -> Result<Self, BadId> {
                let text = text.into();
                let rule = if text.is_empty() {
                    "it is empty"
                } else if text.len() > $most {
                    concat!("it is longer than ", $most, " bytes")
                } else if text.chars().any(char::is_control) {
                    "it holds control characters"
                } else if text.trim() != text {
                    "it begins or ends with a blank"
                } else {
                    return Ok(Self(text.into()));
                };
                Err(BadId { what: $what, text: text.chars().take(80).collect(), rule })
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = BadId;
            fn try_from(text: String) -> Result<Self, BadId> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.as_str().to_owned()
            }
        }
    };
}

name!(/// Name of a desktop: its libvirt domain's name.
    DesktopName, "desktop name", 255);
name!(/// Name of a user, as the history and the guest agent spell it.
    UserName, "user name", 255);
name!(/// Name of a pool of interchangeable desktops.
    PoolName, "pool name", 255);
name!(/// Name of a group of people who work alike: a department, a role.
    GroupName, "group name", 100);
name!(/// Marketing name of a vGPU profile or VF share, e.g. `A40-4Q`, `V710-1/4`.
    ProfileName, "profile name", 100);

/// Whose logins a forecast is about: a dedicated desktop, or a pool, whose users are counted and not named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The user of this dedicated desktop.
    Desktop(DesktopName),
    /// All users of this pool together.
    Pool(PoolName),
}

impl fmt::Display for Subject {
    /// `vm001`, `pool:design`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Desktop(name) => write!(f, "{name}"),
            Subject::Pool(name) => write!(f, "pool:{name}"),
        }
    }
}

/// UUID of a libvirt domain: its identity, which survives renaming.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DomainUuid(Uuid);

/// UUID of a mediated device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MdevUuid(Uuid);

/// Namespace of the version 5 UUIDs of our mdevs. A random number, fixed for ever: definitions on hosts name what it leads to.
const MDEV_NAMESPACE: Uuid = Uuid::from_u128(0x6f1c_2f9e_53a1_4d0b_9c57_1e0f_7a8e_c2d4);

impl DomainUuid {
    /// The domain with this UUID.
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The UUID of this domain's mdev. Derived, not stored, so that a definition survives re-placement and reboot.
    pub fn mdev(self) -> MdevUuid {
        MdevUuid(Uuid::new_v5(&MDEV_NAMESPACE, self.0.as_bytes()))
    }

    /// The bare UUID.
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl MdevUuid {
    /// The mdev with this UUID.
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

/// Text and parsing of a UUID newtype.
macro_rules! uuid_text {
    ($type:ident, $what:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0.hyphenated())
            }
        }

        impl FromStr for $type {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                let rule = "expected 8-4-4-4-12 hexadecimal digits";
                Uuid::parse_str(text).map(Self).map_err(|_| BadId {
                    what: $what,
                    text: text.chars().take(80).collect(),
                    rule,
                })
            }
        }
    };
}

uuid_text!(DomainUuid, "domain UUID");
uuid_text!(MdevUuid, "mdev UUID");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pci_addresses_have_one_spelling() {
        for (text, want) in [("0000:3b:00.0", "0000:3b:00.0"), ("00000000:3B:1F.7", "0000:3b:1f.7")] {
            assert_eq!(text.parse::<PciAddress>().unwrap().to_string(), want);
        }
        for text in ["", "3b:00.0", "0000:3b:00", "0000:3b:20.0", "0000:3b:00.8", "0000:3b:00.0.0", "0000:+b:00.0"] {
            let error = text.parse::<PciAddress>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")) && error.contains("lspci -D"), "{error}");
        }
    }

    #[test]
    fn a_gpu_is_a_pci_function_or_has_a_name() {
        let pf: GpuId = "00000000:3B:00.0".parse().unwrap();
        assert_eq!((pf.to_string().as_str(), pf.pci().is_some()), ("0000:3b:00.0", true));
        let sample: GpuId = "mbochs".parse().unwrap();
        assert_eq!((sample.to_string().as_str(), sample.pci()), ("mbochs", None));
        for text in ["", "3b:00", "a/b", "..", "a b", &"a".repeat(32)] {
            let error = text.parse::<GpuId>().unwrap_err().to_string();
            assert!(error.contains("0000:3b:00.0"), "{error}");
        }
    }

    #[test]
    fn virtual_functions_follow_across_slots() {
        let pf: PciAddress = "0000:08:00.0".parse().unwrap();
        assert_eq!(pf.offset(4).unwrap().to_string(), "0000:08:00.4");
        assert_eq!(pf.offset(19).unwrap().to_string(), "0000:08:02.3");
        assert_eq!("0000:ff:1f.7".parse::<PciAddress>().unwrap().offset(1), None);
    }

    #[test]
    fn names_say_what_is_wrong() {
        assert!(DesktopName::new("win 10 (lab)").is_ok());
        let error = DesktopName::new("a\nb").unwrap_err().to_string();
        assert_eq!(error, r#"desktop name "a\nb" is not valid: it holds control characters"#);
    }

    #[test]
    fn an_mdev_belongs_to_its_domain() {
        let a: DomainUuid = "11111111-2222-3333-4444-555555555555".parse().unwrap();
        let b: DomainUuid = "11111111-2222-3333-4444-555555555556".parse().unwrap();
        assert_eq!(a.mdev(), a.mdev());
        assert_ne!(a.mdev(), b.mdev());
    }
}
