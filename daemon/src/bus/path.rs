//! Names of objects on the bus.

use std::fmt::Write;

use headstart_core::id::{DesktopName, GpuId};

/// The host's object.
pub(super) const HOST: &str = "/org/headstart1/host";

/// Object of a GPU: `/org/headstart1/gpu/0000_3b_00_0`.
pub fn gpu_path(address: GpuId) -> String {
    format!("/org/headstart1/gpu/{}", address.to_string().replace([':', '.'], "_"))
}

/// Object of a desktop: `/org/headstart1/desktop/vm_2d01` for `vm-01`.
pub fn desktop_path(name: &DesktopName) -> String {
    format!("/org/headstart1/desktop/{}", escape(name.as_str()))
}

/// The escaping of systemd's `bus_label_escape`: every byte that is no letter or digit, and a digit at the front,
/// becomes `_` and its two hexadecimal digits.
fn escape(text: &str) -> String {
    let mut label = String::with_capacity(text.len());
    for (i, byte) in text.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (i > 0 && byte.is_ascii_digit()) {
            label.push(char::from(byte));
        } else {
            write!(label, "_{byte:02x}").expect("a String takes all that is written");
        }
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_systemd() {
        let path = |name: &str| desktop_path(&DesktopName::new(name).unwrap());
        assert_eq!(path("vm-01"), "/org/headstart1/desktop/vm_2d01");
        assert_eq!(path("7zip_ä"), "/org/headstart1/desktop/_37zip_5f_c3_a4");
        assert_eq!(gpu_path("0000:3b:00.0".parse().unwrap()), "/org/headstart1/gpu/0000_3b_00_0");
    }
}
