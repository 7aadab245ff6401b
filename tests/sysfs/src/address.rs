//! The address of a PCI function, and the arithmetic that finds the addresses of its virtual functions.

use std::fmt;
use std::str::FromStr;

/// `0000:3b:00.4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Address {
    domain: u16,
    /// Bus, device and function in the 16 bits that PCI calls routing id.
    routing: u16,
}

impl Address {
    pub(crate) fn bus(self) -> u16 {
        self.routing >> 8
    }

    pub(crate) fn domain(self) -> u16 {
        self.domain
    }

    /// Where the virtual function with this index is; the sum runs over devices and buses.
    pub(crate) fn virtual_function(self, offset: u16, stride: u16, index: u16) -> Self {
        Self { domain: self.domain, routing: self.routing + offset + stride * index }
    }

    /// The form of nvidia-smi and NVML: eight digits of domain.
    pub(crate) fn with_long_domain(self) -> String {
        format!("0000{self}").to_uppercase()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = (self.routing >> 3) & 0x1f;
        write!(f, "{:04x}:{:02x}:{device:02x}.{}", self.domain, self.routing >> 8, self.routing & 7)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (domain, rest) = text.split_once(':')?;
            let (bus, rest) = rest.split_once(':')?;
            let (device, function) = rest.split_once('.')?;
            // nvidia-smi writes eight digits of domain, sysfs four.
            let domain = u16::try_from(u32::from_str_radix(domain, 16).ok()?).ok()?;
            let bus = u16::from(u8::from_str_radix(bus, 16).ok()?);
            let device = u16::from_str_radix(device, 16).ok().filter(|n| *n < 32)?;
            let function = u16::from_str_radix(function, 16).ok().filter(|n| *n < 8)?;
            Some(Self { domain, routing: bus << 8 | device << 3 | function })
        };
        parse().ok_or_else(|| format!("{text:?} is not a PCI address like 0000:3b:00.0"))
    }
}

/// An address written in a test.
#[track_caller]
pub(crate) fn address(text: &str) -> Address {
    text.parse().unwrap_or_else(|error: String| panic!("{error}"))
}
