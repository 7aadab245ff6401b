//! Definitions of domains, as libvirt keeps them on disk, cut to what headstart reads. What is not known to be harmless is left out:
//! disks' paths, passwords of consoles, descriptions, others' metadata.

use std::fmt::Write;
use std::path::Path;

use roxmltree::{Document, Node};

use super::identity::Identities;

/// Where they are, and where they go: `vm1.xml` and so on.
pub(super) const FOLDER: &str = "etc/libvirt/qemu/vm";
/// Metadata of ours.
const NAMESPACE: &str = "https://headstart.dev/xmlns/desktop/1";

/// Elements that are taken, and which of their attributes; with `text`, what stands in them, too.
const ELEMENTS: &[(&str, &[&str], bool)] = &[
    ("domain", &["type"], false),
    ("name", &[], true),
    ("uuid", &[], true),
    ("metadata", &[], false),
    ("memory", &["unit"], true),
    ("currentMemory", &["unit"], true),
    ("memoryBacking", &[], false),
    ("hugepages", &[], false),
    ("locked", &[], false),
    ("vcpu", &["placement"], true),
    ("os", &[], false),
    ("type", &["arch", "machine"], true),
    ("features", &[], false),
    ("acpi", &[], false),
    ("apic", &[], false),
    ("ioapic", &["driver"], false),
    ("cpu", &["mode", "check"], false),
    ("devices", &[], false),
    ("controller", &["type", "index", "model"], false),
    ("model", &["name", "type"], false),
    ("target", &["chassis", "port", "name", "type", "dev", "bus"], false),
    (
        "address",
        &["type", "domain", "bus", "slot", "function", "multifunction", "uuid", "controller", "port", "unit"],
        false,
    ),
    ("hostdev", &["mode", "type", "managed", "model", "display", "ramfb"], false),
    ("driver", &["name", "model"], false),
    ("source", &[], false),
    ("alias", &["name"], false),
    ("disk", &["type", "device"], false),
    ("interface", &["type"], false),
    ("mac", &["address"], false),
    ("graphics", &["type"], false),
    ("video", &[], false),
    ("channel", &["type"], false),
    ("iommu", &["model"], false),
];

/// Attributes of `<headstart:desktop>` that name nobody.
const SETTINGS: [&str; 8] =
    ["attach", "lead-time", "missing-gpu", "preallocate", "presence", "priority", "profile", "time-zone"];

/// Texts of all definitions, in order of their names.
pub(super) fn read(root: &Path, unread: &mut Vec<String>) -> Vec<String> {
    let folder = root.join("etc/libvirt/qemu");
    let Ok(entries) = std::fs::read_dir(&folder) else { return Vec::new() };
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "xml"));
    files.sort();
    let mut texts = Vec::new();
    for (n, file) in files.iter().enumerate() {
        match std::fs::read_to_string(file) {
            Ok(text) if Document::parse(&text).is_ok_and(|document| document.root_element().has_tag_name("domain")) => {
                texts.push(text);
            }
            // Its file bears its name.
            Ok(_) => unread.push(format!("domain definition {}: it is no definition of a domain", n + 1)),
            Err(error) => unread.push(format!("domain definition {}: {error}", n + 1)),
        }
    }
    texts
}

/// Takes note of who it is.
pub(super) fn learn(text: &str, identities: &mut Identities) {
    let Ok(document) = Document::parse(text) else { return };
    let child = |name: &str| document.root_element().children().find(|node| node.has_tag_name(name))?.text();
    if let Some(name) = child("name") {
        identities.name("vm", name);
    }
    if let Some(uuid) = child("uuid") {
        identities.domain(uuid.trim());
    }
}

/// The definition without whatever could tell whose it is.
pub(super) fn harmless(text: &str, identities: &mut Identities) -> String {
    let mut out = String::new();
    if let Ok(document) = Document::parse(text) {
        element(document.root_element(), 0, &mut out, identities);
    }
    out
}

fn element(node: Node<'_, '_>, depth: usize, out: &mut String, identities: &mut Identities) {
    let name = node.tag_name().name();
    let indent = "  ".repeat(depth);
    if node.tag_name().namespace() == Some(NAMESPACE) {
        return metadata(node, &indent, out, identities);
    }
    let Some((_, attributes, with_text)) = ELEMENTS.iter().find(|(known, ..)| *known == name) else { return };
    if node.tag_name().namespace().is_some() {
        return;
    }
    let mut tag = format!("{indent}<{name}");
    for attribute in node.attributes().filter(|attribute| attributes.contains(&attribute.name())) {
        tag = format!("{tag} {}='{}'", attribute.name(), escape(&identities.replace(attribute.value())));
    }
    let mut line = |text: String| writeln!(out, "{text}").expect("a String takes all that is written");
    if *with_text {
        let text = node.text().unwrap_or_default();
        let text = if name == "name" { identities.name("vm", text) } else { identities.replace(text) };
        line(format!("{tag}>{}</{name}>", escape(&text)));
    } else if node.children().any(|child| child.is_element()) {
        line(format!("{tag}>"));
        for child in node.children().filter(Node::is_element) {
            element(child, depth + 1, out, identities);
        }
        writeln!(out, "{indent}</{name}>").expect("a String takes all that is written");
    } else {
        line(format!("{tag}/>"));
    }
}

/// What makes it a desktop: settings as they are, people by number.
fn metadata(node: Node<'_, '_>, indent: &str, out: &mut String, identities: &mut Identities) {
    if node.tag_name().name() != "desktop" {
        return;
    }
    let mut tag = format!("{indent}<headstart:desktop xmlns:headstart='{NAMESPACE}'");
    for attribute in node.attributes() {
        let value = match attribute.name() {
            "user" => identities.name("user", attribute.value()),
            "pool" => identities.name("pool", attribute.value()),
            name if SETTINGS.contains(&name) => attribute.value().to_owned(),
            _ => continue,
        };
        tag = format!("{tag} {}='{}'", attribute.name(), escape(&value));
    }
    let mut profiles = String::new();
    for profile in node.children().filter(|child| child.tag_name().name() == "profile") {
        let name = escape(profile.text().unwrap_or_default());
        profiles.push_str("<headstart:profile>");
        profiles.push_str(&name);
        profiles.push_str("</headstart:profile>");
    }
    writeln!(out, "{tag}>{profiles}</headstart:desktop>").expect("a String takes all that is written");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('\'', "&apos;")
}
