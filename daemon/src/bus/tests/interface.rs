//! The interface that is checked in is the one that is served. `UPDATE_EXPECT=1` rewrites it.

use std::collections::BTreeSet;

use super::service;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/org.headstart1.xml");
const HEAD: &str = r#"<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"
  "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">
<!-- What headstartd serves, written by its tests (UPDATE_EXPECT=1 cargo test -p headstartd interface).
     org.headstart1.Manager and org.headstart1.Hook are at /org/headstart1, beside org.freedesktop.DBus.ObjectManager;
     org.headstart1.Host at /org/headstart1/host; org.headstart1.Gpu at /org/headstart1/gpu/0000_3b_00_0;
     org.headstart1.Desktop at /org/headstart1/desktop/NAME, escaped as systemd escapes bus labels. -->
<node>
"#;

/// What an object says of itself.
pub(super) async fn introspect(client: &zbus::Connection, path: &str) -> String {
    let interface = Some("org.freedesktop.DBus.Introspectable");
    let reply = client.call_method(Some("org.headstart1"), path, interface, "Introspect", &()).await.unwrap();
    reply.body().deserialize().unwrap()
}

/// Our interfaces in the introspection of one object, without those of the objects below it.
pub(super) fn ours(xml: &str) -> String {
    let mut all = String::new();
    let xml = xml.split("<node name=").next().unwrap();
    for (start, _) in xml.match_indices(r#"<interface name="org.headstart1."#) {
        let end = xml[start..].find("</interface>").unwrap() + start;
        let lines = xml[start..end].lines().map(str::trim_end);
        all = format!("{all}  {}\n  </interface>\n", lines.collect::<Vec<_>>().join("\n").trim_end());
    }
    all
}

/// Names of the properties of an interface whose changes are signalled with their value.
pub(super) fn signalled(xml: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for property in xml.split("<property ").skip(1) {
        let name = property.split('"').nth(1).unwrap();
        let body = property.split("<property ").next().unwrap().split("</property>").next().unwrap();
        if !body.contains(r#"EmitsChangedSignal" value="false"#)
            && !body.contains(r#"EmitsChangedSignal" value="const"#)
        {
            names.insert(name.to_owned());
        }
    }
    names
}

#[tokio::test]
async fn the_checked_in_interface_is_the_one_served() {
    let service = service::sample().await;
    let client = service.client().await;
    let mut xml = HEAD.to_owned();
    for path in ["", "/host", "/gpu/0000_3b_00_0", "/desktop/design_2d01"] {
        xml.push_str(&ours(&introspect(&client, &format!("/org/headstart1{path}")).await));
    }
    xml.push_str("</node>\n");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(FILE, &xml).unwrap();
    }
    let checked_in = std::fs::read_to_string(FILE).unwrap_or_default();
    assert_eq!(xml, checked_in, "config/org.headstart1.xml differs; UPDATE_EXPECT=1 rewrites it");
}
