//! Names for whom nobody may recognise: each always the same, so that what belongs together still does.

use std::collections::BTreeMap;

use headstart_core::id::{DomainUuid, MdevUuid};

use super::process::GUEST;

/// Who was met, and what they are called now.
#[derive(Debug, Default)]
pub(super) struct Identities {
    uuids: BTreeMap<String, String>,
    macs: BTreeMap<String, String>,
    names: BTreeMap<(&'static str, String), String>,
}

/// Programs that are found at devices and tell of nobody.
const PROGRAMS: [&str; 3] = ["qemu", "nvidia", "Xorg"];
/// Length of a UUID and of a MAC address as text.
const UUID: usize = 36;
const MAC: usize = 17;

impl Identities {
    /// A domain; its mdev, which headstart derives from it, keeps to it.
    pub(super) fn domain(&mut self, uuid: &str) {
        let Ok(old) = uuid.parse::<DomainUuid>() else { return };
        let Ok(new) = self.uuid(&old.to_string()).parse::<DomainUuid>() else { return };
        let mdev = |uuid: MdevUuid| uuid.to_string();
        self.uuids.insert(mdev(old.mdev()), mdev(new.mdev()));
    }

    /// `vm1`, `user2`, `pool3`: the next of its kind, or the one it has.
    pub(super) fn name(&mut self, kind: &'static str, name: &str) -> String {
        let next = self.names.keys().filter(|(other, _)| *other == kind).count() + 1;
        self.names.entry((kind, name.to_owned())).or_insert_with(|| format!("{kind}{next}")).clone()
    }

    fn uuid(&mut self, uuid: &str) -> String {
        let next = self.uuids.len() + 1;
        self.uuids.entry(uuid.to_lowercase()).or_insert_with(|| format!("00000000-0000-4000-8000-{next:012x}")).clone()
    }

    fn mac(&mut self, mac: &str) -> String {
        let next = self.macs.len() + 1;
        let new = || format!("52:54:00:{:02x}:{:02x}:{:02x}", next >> 16 & 0xff, next >> 8 & 0xff, next & 0xff);
        self.macs.entry(mac.to_lowercase()).or_insert_with(new).clone()
    }

    /// The same text with other UUIDs and MAC addresses.
    pub(super) fn replace(&mut self, text: &str) -> String {
        let mut new = String::with_capacity(text.len());
        let mut rest = text;
        // What goes on to the left or right is something else that looks alike.
        let mut before = false;
        while let Some(first) = rest.chars().next() {
            let whole = |length: usize, fits: fn(&str) -> bool| {
                let part = rest.get(..length).filter(|part| !before && fits(part))?;
                let after = rest[length..].chars().next();
                (!after.is_some_and(|c| c.is_ascii_alphanumeric())).then_some(part)
            };
            if let Some(uuid) = whole(UUID, is_uuid) {
                new.push_str(&self.uuid(uuid));
                (rest, before) = (&rest[UUID..], true);
            } else if let Some(mac) = whole(MAC, is_mac) {
                new.push_str(&self.mac(mac));
                (rest, before) = (&rest[MAC..], true);
            } else {
                new.push(first);
                (rest, before) = (&rest[first.len_utf8()..], first.is_ascii_alphanumeric());
            }
        }
        new
    }

    /// A file of `/sys` or `/proc`: text, or it is left empty.
    pub(super) fn file(&mut self, path: &str, bytes: &[u8]) -> Vec<u8> {
        let Ok(text) = std::str::from_utf8(bytes) else { return Vec::new() };
        if path.ends_with("/vm_name") {
            // The argument of QEMU's `-name`; what stands behind the name may be somebody's choice as well.
            let (guest, name) = text.trim().strip_prefix("guest=").map_or(("", text.trim()), |name| ("guest=", name));
            let name = name.split(',').next().unwrap_or_default();
            let new = if name.is_empty() { String::new() } else { self.name("vm", name) };
            return format!("{guest}{new}\n").into_bytes();
        }
        if let Some(guest) = text.strip_prefix(GUEST).filter(|_| path.ends_with("/cmdline")) {
            return format!("{GUEST}{}\0", self.name("vm", guest.trim_end_matches('\0'))).into_bytes();
        }
        if path.ends_with("/comm") && !PROGRAMS.iter().any(|program| text.starts_with(program)) {
            return format!("{}\n", self.name("program", text.trim())).into_bytes();
        }
        self.replace(text).into_bytes()
    }
}

fn is_uuid(text: &str) -> bool {
    text.bytes().enumerate().all(
        |(at, byte)| {
            if matches!(at, 8 | 13 | 18 | 23) { byte == b'-' } else { byte.is_ascii_hexdigit() }
        },
    )
}

fn is_mac(text: &str) -> bool {
    text.bytes().enumerate().all(|(at, byte)| if at % 3 == 2 { byte == b':' } else { byte.is_ascii_hexdigit() })
}
