//! Running it, and the definitions that it is given.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use headstart_tests::process::Guarded;

use crate::scene::{DEADLINE, Ran, Scene};

pub(super) const NAMESPACE: &str = "https://headstart.dev/xmlns/desktop/1";

/// A domain with these devices and this metadata.
pub(super) fn domain(name: &str, uuid: &str, inside: &str) -> String {
    format!("<domain type='kvm'>\n  <name>{name}</name>\n  <uuid>{uuid}</uuid>\n  {inside}\n</domain>\n")
}

/// The element of a device that headstart attached.
pub(super) fn hostdev(device: &str) -> String {
    let (kind, address) = if device.contains(':') {
        let part = |range| device.get(range).expect("an address has 12 characters");
        let (domain, bus, slot, function) = (part(0..4), part(5..7), part(8..10), part(11..12));
        ("pci", format!("domain='0x{domain}' bus='0x{bus}' slot='0x{slot}' function='0x{function}'"))
    } else {
        ("mdev", format!("uuid='{device}'"))
    };
    format!(
        "<devices><hostdev mode='subsystem' type='{kind}'><source><address {address}/></source>\
         <alias name='ua-headstart-vgpu'/></hostdev></devices>"
    )
}

/// The hook, ready to be run on the scene's bus.
pub(super) fn command(scene: &Scene, arguments: &[&str]) -> Command {
    let mut command = scene.command("headstart-qemu-hook");
    command.args(arguments).env("HEADSTART_RUN", scene.folder());
    command
}

/// Runs it with this on standard input, as libvirt does: all at once, then the end of file.
#[track_caller]
pub(super) fn run(command: &mut Command, input: &[u8]) -> Ran {
    let mut file = tempfile::tempfile().expect("a scratch file");
    file.write_all(input).and_then(|()| std::io::Seek::rewind(&mut file)).expect("our own file");
    run_with(command, Stdio::from(file)).0
}

/// Runs it; says how long it took, too.
#[track_caller]
pub(super) fn run_with(command: &mut Command, input: Stdio) -> (Ran, Duration) {
    let scratch = || tempfile::tempfile().expect("a scratch file");
    let (mut out, mut err) = (scratch(), scratch());
    let share = |file: &std::fs::File| Stdio::from(file.try_clone().expect("a second handle"));
    command.stdin(input).stdout(share(&out)).stderr(share(&err));
    let began = Instant::now();
    let mut process = Guarded::start(command).expect("it was built");
    let status = process.wait(DEADLINE).expect("it ends by itself");
    let took = began.elapsed();
    let read = |file: &mut std::fs::File| {
        let mut text = String::new();
        std::io::Seek::rewind(file).and_then(|()| std::io::Read::read_to_string(file, &mut text)).expect("text");
        text
    };
    (Ran { code: status.code(), out: read(&mut out), err: read(&mut err) }, took)
}

/// Runs it for a domain of this name.
#[track_caller]
pub(super) fn hook(scene: &Scene, name: &str, operation: &str, suboperation: &str, xml: &str) -> Ran {
    run(&mut command(scene, &[name, operation, suboperation, "-"]), xml.as_bytes())
}

/// It must have ended well, with nothing on standard output.
#[track_caller]
pub(super) fn goes_on(ran: &Ran, complaint: &str) {
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "", complaint));
}
