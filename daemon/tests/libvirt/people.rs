//! People at a desktop's screen.

use std::io::{Read, Write};
use std::net::TcpStream;

use headstart_core::id::DomainUuid;
use headstart_core::observed::Login;
use headstart_core::step::FailureKind;

use crate::server::{DEADLINE, Server, Spec};
use crate::watch::{Watch, detach, shut_down, start, vf};

const WIN: Spec = Spec {
    name: "win-01",
    digit: 1,
    devices: "<graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1'/><video><model type='vga'/></video>",
    ports: 1,
    system: None,
};

/// A viewer that looks at a screen until it is dropped: the handshake of RFB 3.8, RFC 6143.
fn viewer(server: &Server) -> TcpStream {
    let display = server.virsh(&["domdisplay", "win-01"]);
    let number: u16 = display.trim().rsplit_once(':').unwrap().1.parse().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", 5900 + number)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut read = |n: usize| {
        let mut bytes = vec![0; n];
        stream.read_exact(&mut bytes).unwrap();
        bytes
    };
    assert_eq!(read(12), b"RFB 003.008\n");
    stream.write_all(b"RFB 003.008\n").unwrap();
    let mut read = |n: usize| {
        let mut bytes = vec![0; n];
        stream.read_exact(&mut bytes).unwrap();
        bytes
    };
    let kinds = usize::from(read(1)[0]);
    assert!(read(kinds).contains(&1), "it asks for no password");
    stream.write_all(&[1]).unwrap();
    let mut result = [0; 4];
    stream.read_exact(&mut result).unwrap();
    assert_eq!(result, [0; 4]);
    stream.write_all(&[1]).unwrap();
    stream
}

/// Makes it a desktop.
fn desktop(server: &Server) -> DomainUuid {
    let uuid = server.define(&WIN);
    let namespace = headstartd::host::desktop_xml::NAMESPACE;
    server.virsh(&["metadata", "win-01", namespace, "--key", "headstart", "--set", "<desktop profile='A'/>"]);
    uuid
}

fn there(login: &Login) -> bool {
    matches!(login, Login::Active { .. })
}

#[test]
fn whoever_looks_at_the_screen_is_there() {
    let Some(server) = Server::start() else { return };
    let uuid = desktop(&server);
    let watch = Watch::on(&server);
    watch.changed(&start(uuid));
    assert_eq!(watch.domain(uuid).login, Login::None);
    let screen = viewer(&server);
    watch.until_domain(uuid, "somebody is there", |domain| there(&domain.unwrap().login));
    let (kind, text) = watch.fails(&shut_down(uuid));
    assert_eq!(kind, FailureKind::Conflict);
    assert!(text.starts_with("win-01: somebody is logged in since "), "{text}");
    let file = server.file("device.xml", &headstartd::host::domain_xml::hostdev(vf(4), true));
    server.virsh(&["attach-device", "win-01", &file, "--config"]);
    assert_eq!(watch.fails(&detach(uuid, vf(4), true)).0, FailureKind::Conflict);

    // A daemon that starts now heard of none of this.
    let later = Watch::on(&server);
    assert!(there(&later.domain(uuid).login), "the kernel knows");
    assert_eq!(later.fails(&shut_down(uuid)).0, FailureKind::Conflict);

    drop(screen);
    for watch in [&watch, &later] {
        watch.until_domain(uuid, "nobody is there", |domain| domain.unwrap().login == Login::None);
    }
    watch.changed(&detach(uuid, vf(4), true));
    watch.changed(&shut_down(uuid));
}

#[test]
fn strangers_screens_are_nobodys_business() {
    let Some(server) = Server::start() else { return };
    let uuid = server.define(&WIN);
    let watch = Watch::on(&server);
    watch.changed(&start(uuid));
    let _screen = viewer(&server);
    watch.told("win-01: somebody came to its screen, or left");
    assert_eq!(watch.domain(uuid).login, Login::None);
}
