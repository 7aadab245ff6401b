//! The bus policy lets root in and nobody else.

use std::path::Path;
use std::process::Command;

use super::private_bus::PrivateBus;
use super::{sample, service};

/// `busctl` against this bus, as this user.
async fn busctl(bus: &PrivateBus, uid: u32, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={uid}"), "--clear-groups", "busctl"]);
    command.arg(format!("--address={}", bus.address())).args(arguments);
    // The service runs on this thread.
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.success(), text)
}

#[tokio::test]
async fn root_may_and_nobody_may_not() {
    let tools = ["setpriv", "busctl", "dbus-daemon"];
    let there = |tool: &&str| Command::new(tool).arg("--version").output().is_ok();
    if !nix::unistd::geteuid().is_root() || !tools.iter().all(there) {
        eprintln!("skipped: needs root, setpriv, busctl and dbus-daemon");
        return;
    }
    let policy = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../config/org.headstart1.conf"));
    let service = service::serve(PrivateBus::system(policy), sample::status()).await;
    let manager = ["call", "org.headstart1", "/org/headstart1", "org.headstart1.Manager"];
    let (allowed, text) = busctl(&service.bus, 0, &[&manager[..], &["Explain", "s", "design-01"]].concat()).await;
    assert!(allowed && text.contains("This desktop is ready"), "{text}");
    let mode = ["get-property", "org.headstart1", "/org/headstart1/host", "org.headstart1.Host", "Mode"];
    for arguments in [[&manager[..], &["Explain", "s", "design-01"]].concat(), mode.to_vec()] {
        let (allowed, text) = busctl(&service.bus, 65_534, &arguments).await;
        assert!(!allowed && text.contains("Access denied"), "{text}");
    }
    // Neither may anybody else take the name.
    let bus = ["call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "RequestName", "su", "org.headstart1", "0"];
    let (allowed, text) = busctl(&service.bus, 65_534, &bus).await;
    assert!(!allowed && text.contains("Access denied"), "{text}");
}
