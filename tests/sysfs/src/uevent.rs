//! What the kernel would tell udev. Vendor VFIO type changes tell nothing: a test that expects an event there waits in vain.

use std::fmt;

/// One uevent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uevent {
    /// `add`, `remove`, `change`, `bind`, `unbind`.
    pub action: String,
    /// The device's path below `/sys`, with a leading slash: `/devices/pci0000:3b/0000:3b:00.0`.
    pub devpath: String,
    /// `pci`, `mdev`, `vfio`, `vfio-dev`.
    pub subsystem: String,
    /// All further properties, such as `MDEV_STATE=registered`, in the kernel's order.
    pub properties: Vec<(String, String)>,
}

impl Uevent {
    /// The value of a property.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The message as the kernel puts it on its netlink socket.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!(
            "{}@{}\0ACTION={}\0DEVPATH={}\0SUBSYSTEM={}\0",
            self.action, self.devpath, self.action, self.devpath, self.subsystem
        );
        for (key, value) in &self.properties {
            text.extend([key.as_str(), "=", value.as_str(), "\0"]);
        }
        text.into_bytes()
    }
}

/// `add mdev /devices/… KEY=value`.
impl fmt::Display for Uevent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.action, self.subsystem, self.devpath)?;
        for (key, value) in &self.properties {
            write!(f, " {key}={value}")?;
        }
        Ok(())
    }
}
