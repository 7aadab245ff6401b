//! Whatever goes wrong: exit status 0, nothing on standard output, a line for libvirt's log, within two seconds.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};

use super::run::{NAMESPACE, command, domain, goes_on, hook, hostdev, run, run_with};
use crate::scene::{Scene, run as plain_run};

const UUID: &str = "11111111-2222-3333-4444-555555555555";
const MDEV: &str = "6f1c2f9e-53a1-4d0b-9c57-1e0f7a8ec2d4";
/// Two seconds are the hook's; the rest is for a machine that builds something else meanwhile.
const IN_TIME: Duration = Duration::from_secs(8);

#[test]
fn without_a_daemon_everything_goes_on() {
    let scene = Scene::new();
    let xml = domain("vm1", UUID, &hostdev(MDEV));
    for operation in ["prepare", "migrate", "restore"] {
        let want =
            format!("headstart-qemu-hook: vm1: {operation}: headstartd is not running; it goes on without headstart\n");
        goes_on(&hook(&scene, "vm1", operation, "begin", &xml), &want);
    }
    goes_on(&hook(&scene, "vm1", "release", "end", &xml), "");
    let mut no_bus = command(&scene, &["vm1", "prepare", "begin", "-"]);
    let ran = run(no_bus.env("HEADSTART_BUS", "unix:path=/nowhere/bus"), xml.as_bytes());
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""));
    assert!(ran.err.contains("headstartd could not be asked") && ran.err.contains("/nowhere/bus"), "{}", ran.err);
}

#[test]
fn what_does_not_concern_us_is_not_even_asked_about() {
    let scene = Scene::new();
    let nowhere = |arguments: &[&str], xml: &str| {
        run(command(&scene, arguments).env("HEADSTART_BUS", "unix:path=/nowhere/bus"), xml.as_bytes())
    };
    // Whoever asked would complain about the bus.
    let plain = domain("other", UUID, "<devices><hostdev type='pci'><alias name='ua-mine'/></hostdev></devices>");
    for operation in ["prepare", "migrate", "restore"] {
        goes_on(&nowhere(&["other", operation, "begin", "-"], &plain), "");
    }
    goes_on(&nowhere(&["other", "release", "end", "shutdown"], &plain), "");
    let ours = domain("vm1", UUID, &hostdev(MDEV));
    for (operation, suboperation) in [
        ("start", "begin"),
        ("started", "begin"),
        ("stopped", "end"),
        ("reconnect", "begin"),
        ("attach", "begin"),
        ("prepare", "end"),
        ("hotplug", "begin"),
    ] {
        goes_on(&nowhere(&["vm1", operation, suboperation, "-"], &ours), "");
    }
    // One that needs to know nothing of XML, and one that only the daemon's configuration knows.
    goes_on(&nowhere(&["vm1", "reconnect", "begin", "-"], ""), "");
    scene.write("ask-about-all", "");
    let ran = nowhere(&["other", "prepare", "begin", "-"], &plain);
    assert!(ran.code == Some(0) && ran.err.contains("/nowhere/bus"), "{ran:?}");
    let metadata =
        domain("vm1", UUID, &format!("<metadata><headstart:desktop xmlns:headstart='{NAMESPACE}'/></metadata>"));
    std::fs::remove_file(scene.path("ask-about-all")).expect("it is there");
    let ran = nowhere(&["vm1", "prepare", "begin", "-"], &metadata);
    assert!(ran.code == Some(0) && ran.err.contains("/nowhere/bus"), "{ran:?}");
}

#[test]
fn input_that_is_no_definition_is_named() {
    let scene = Scene::new();
    let arguments = ["vm1", "prepare", "begin", "-"];
    let said = |why: &str| format!("headstart-qemu-hook: vm1: prepare: {why}; it goes on without headstart\n");
    for (input, why) in [
        (&b""[..], "there is no XML on standard input"),
        (b" \n", "there is no XML on standard input"),
        (b"ua-headstart-\xff", "its XML is not UTF-8 text"),
        (&vec![b'x'; 10 << 20], "its XML is longer than 4 MiB, which libvirt itself does not allow"),
    ] {
        goes_on(&run(&mut command(&scene, &arguments), input), &said(why));
    }
    goes_on(&run_with(&mut command(&scene, &arguments), Stdio::null()).0, &said("there is no XML on standard input"));
    // No standard input at all.
    let mut shell = std::process::Command::new("sh");
    let hook = command(&scene, &[]);
    shell.args(["-c", "exec \"$0\" vm1 prepare begin - <&-"]).arg(hook.get_program());
    goes_on(&plain_run(&mut shell), &said("there is no XML on standard input"));
    // A folder can be opened and not read.
    let folder = std::fs::File::open(scene.folder()).expect("it is there");
    let ran = run_with(&mut command(&scene, &arguments), Stdio::from(folder)).0;
    assert!(ran.code == Some(0) && ran.err.contains("cannot be read from standard input: Is a directory"), "{ran:?}");
}

#[test]
fn arguments_that_are_not_libvirts_are_told_and_those_of_a_newer_one_are_not() {
    let scene = Scene::new();
    let usage = "headstart-qemu-hook: it is for libvirt to call: DOMAIN OPERATION SUBOPERATION EXTRA, and the domain's XML on \
                 standard input\n";
    for arguments in [&[][..], &["vm1"], &["vm1", "prepare", "begin"]] {
        goes_on(&run(&mut command(&scene, arguments), b""), usage);
    }
    let newer = ["vm1", "prepare", "begin", "-", "more", "and more"];
    let xml = domain("vm1", UUID, &hostdev(MDEV));
    let want = "headstart-qemu-hook: vm1: prepare: headstartd is not running; it goes on without headstart\n";
    goes_on(&run(&mut command(&scene, &newer), xml.as_bytes()), want);
}

#[test]
fn nobody_is_waited_for_longer_than_two_seconds() {
    let scene = Scene::new();
    let arguments = ["vm1", "migrate", "begin", "-"];
    let want = "headstart-qemu-hook: vm1: migrate: no answer within 2 s; it goes on without headstart\n";
    // Standard input that does not end.
    let (reader, _writer) = std::io::pipe().expect("a pipe");
    let (ran, took) = run_with(&mut command(&scene, &arguments), Stdio::from(reader));
    goes_on(&ran, want);
    assert!(took < IN_TIME, "{took:?}");
    // A bus that listens and does not answer.
    let silent = UnixListener::bind(scene.path("silent")).expect("our own folder");
    let address = format!("unix:path={}", scene.path("silent").display());
    let xml = scene.write("vm1.xml", domain("vm1", UUID, &hostdev(MDEV)));
    let input = || Stdio::from(std::fs::File::open(&xml).expect("it was written"));
    let (ran, took) = run_with(command(&scene, &arguments).env("HEADSTART_BUS", address), input());
    goes_on(&ran, want);
    assert!(took < IN_TIME, "{took:?}");
    drop(silent);
    // A bus that has no room for one more to wait.
    let full = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
    let path = scene.path("full");
    bind(full.as_raw_fd(), &UnixAddr::new(&path).expect("a short path")).expect("our own folder");
    listen(&full, Backlog::new(0).expect("none")).expect("it listens");
    let _waits = UnixStream::connect(&path).expect("one may wait");
    let address = format!("unix:path={}", path.display());
    let (ran, took) = run_with(command(&scene, &arguments).env("HEADSTART_BUS", address), input());
    goes_on(&ran, want);
    assert!(took < IN_TIME, "{took:?}");
}

#[test]
fn what_is_no_bus_or_lets_nobody_in_is_named() {
    let scene = Scene::new();
    let xml = domain("vm1", UUID, &hostdev(MDEV));
    let said = |why: &str| format!("headstart-qemu-hook: vm1: prepare: headstartd could not be asked: {why}");
    for (at, (answer, why)) in [
        (
            &b"REJECTED EXTERNAL\r\n"[..],
            "D-Bus handshake failed: the bus does not let us in: REJECTED EXTERNAL; it goes on",
        ),
        (
            b"HTTP/1.1 400 Bad Request\r\n",
            "D-Bus handshake failed: the bus does not let us in: HTTP/1.1 400 Bad Request; it goes on",
        ),
        (&[b'x'; 4000], "D-Bus handshake failed: what answers is no message bus; it goes on"),
        (b"OK 0123456789abcdef0123456789abcdef\r\nbut then no message of D-Bus", ""),
        (b"OK 0123", "the bus hung up; it goes on"),
        (b"", "the bus hung up; it goes on"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = scene.path(&format!("bus{at}"));
        let listener = UnixListener::bind(&path).expect("our own folder");
        let bus = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("it comes");
            let mut greeting = [0; 4096];
            // All of it is read: unread bytes would turn the end of the connection into an error of its own.
            let read = stream.read(&mut greeting).expect("it greets");
            stream.write_all(answer).expect("it listens");
            greeting.get(..read).expect("so many").starts_with(b"\0AUTH EXTERNAL ")
        });
        let address = format!("unix:path={}", path.display());
        let mut command = command(&scene, &["vm1", "prepare", "begin", "-"]);
        let ran = run(command.env("HEADSTART_BUS", address), xml.as_bytes());
        assert!(ran.code == Some(0) && ran.out.is_empty() && ran.err.starts_with(&said(why)), "{answer:?}: {ran:?}");
        assert!(bus.join().expect("it does not panic"));
    }
}

#[test]
fn addresses_that_are_no_socket_are_named() {
    let scene = Scene::new();
    let xml = domain("vm1", UUID, &hostdev(MDEV));
    for (address, why) in [
        ("tcp:host=127.0.0.1,port=1", "tcp:host=127.0.0.1,port=1 is no Unix socket; it goes on"),
        ("unix:dir=/tmp", "unix:dir=/tmp is where a bus would listen, not where one does; it goes on"),
        (&format!("unix:path=/{}", "x".repeat(200)), "xxx: File name too long (os error 36); it goes on"),
        ("nonsense", ""),
    ] {
        let mut command = command(&scene, &["vm1", "prepare", "begin", "-"]);
        let ran = run(command.env("HEADSTART_BUS", address), xml.as_bytes());
        assert!(ran.code == Some(0) && ran.out.is_empty() && ran.err.contains(why), "{ran:?}");
    }
}

#[tokio::test]
async fn a_daemon_that_does_not_answer_is_not_waited_for_either() {
    let scene = Scene::new();
    let hung = scene.connect().await;
    // It has the name and serves nothing: calls to it wait in its queue.
    hung.request_name("org.headstart1").await.expect("the name is free");
    let stream = zbus::MessageStream::from(&hung);
    let (ran, took) = tokio::task::spawn_blocking(move || {
        let xml = scene.write("vm1.xml", domain("vm1", UUID, &hostdev(MDEV)));
        let input = Stdio::from(std::fs::File::open(xml).expect("it was written"));
        run_with(&mut command(&scene, &["vm1", "prepare", "begin", "-"]), input)
    })
    .await
    .expect("it does not panic");
    drop(stream);
    goes_on(&ran, "headstart-qemu-hook: vm1: prepare: no answer within 2 s; it goes on without headstart\n");
    assert!(took < IN_TIME, "{took:?}");
}

#[test]
fn it_is_not_linked_with_libvirt() {
    let program = headstart_tests::program("headstart-qemu-hook").expect("it was built");
    let bytes = std::fs::read(program).expect("it can be read");
    assert!(!bytes.windows(10).any(|window| window == b"libvirt.so"));
}
