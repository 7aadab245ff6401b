//! Somebody whom the others need is missing, or there twice.

use std::process::Command;

use headstart_tests::daemon::Daemon;

use crate::scene::{DEADLINE, DEMO_HOST, Scene, eventually, run, start};

/// Nothing a person at a terminal should see.
#[track_caller]
fn is_for_people(text: &str) {
    for noise in ["panicked", "stack backtrace", "Error {", "zbus::", "src/"] {
        assert!(!text.contains(noise), "{noise:?} in {text}");
    }
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn without_a_daemon_the_command_says_what_to_look_at() {
    let scene = Scene::new();
    scene.write("t.csv", "user,vm,start,end\n");
    for arguments in [
        &["status"][..],
        &["desktops"],
        &["gpus"],
        &["explain", "vm001"],
        &["forecast", "vm001"],
        &["request", "vm001"],
        &["release", "vm001"],
        &["hold", "why"],
        &["reconcile"],
        &["import", "t.csv"],
        &["export"],
        &["watch"],
        &["status", "--json"],
    ] {
        let ran = scene.headstart(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{arguments:?}");
        let want = format!(
            "headstart: headstartd is not on the bus at {}: is it running? `systemctl status headstartd` and `journalctl -u \
             headstartd` tell; --bus or HEADSTART_BUS chooses another bus\n",
            scene.bus.address()
        );
        assert_eq!(ran.err, want, "{arguments:?}");
    }
}

#[test]
fn without_a_bus_the_command_names_the_address() {
    let scene = Scene::new();
    let ran = run(scene.command("headstart").args(["--bus", "unix:path=/nowhere/bus", "status"]));
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("cannot connect to the bus at unix:path=/nowhere/bus: "), "{}", ran.err);
    is_for_people(&ran.err);
}

#[test]
fn without_a_bus_the_daemon_names_the_address_and_begins_nothing() {
    let scene = Scene::new();
    let refused = |command: &mut Command, name: &str| {
        let ran = run(command);
        assert_eq!(ran.code, Some(1));
        assert!(ran.err.starts_with(&format!("headstartd: cannot connect to {name}: ")), "{}", ran.err);
        is_for_people(&ran.err);
        assert!(!scene.path("history.db").exists());
        ran.err
    };
    let daemon = || scene.simulated("", DEMO_HOST);
    let nowhere = refused(daemon().args(["--bus", "unix:path=/nowhere/bus"]), "the bus at unix:path=/nowhere/bus");
    assert_eq!(nowhere.matches("No such file or directory").count(), 1, "each cause once: {nowhere}");
    refused(daemon().args(["--bus", "not an address"]), "the bus at not an address");
    // No bus was named, and the machine's own is not there.
    let own = "unix:path=/nowhere/system";
    refused(daemon().env_remove("HEADSTART_BUS").env("DBUS_SYSTEM_BUS_ADDRESS", own), "the system bus");
}

#[test]
fn a_second_daemon_is_told_who_is_there_and_touches_nothing() {
    let scene = Scene::new();
    // Time all but stands still, so that whatever changes was changed by the second one.
    let simulated = |speed: &str| {
        let mut command = scene.simulated("mode = \"armed\"\n", DEMO_HOST);
        command.args(["--simulate-state", "state.json", "--speed", speed]);
        command
    };
    let _first = start(&mut simulated("0.001"));
    scene.headstart(&["request", "vm001"]).ok();
    scene.wait_for_state("vm001", &["preparing"]);
    eventually("vm001 is started", || {
        let host = std::fs::read_to_string(scene.path("state.json")).expect("it is kept there");
        if host.contains("Starting") { Ok(()) } else { Err(host) }
    });
    scene.settle();
    let files = || ["state.json", "history.db", "history.db-wal"].map(|name| std::fs::read(scene.path(name)).ok());
    let before = files();
    let mut second = Daemon::spawn(&mut simulated("100000")).expect("it can be started");
    let status = second.wait(DEADLINE).expect("it ends by itself");
    assert_eq!(status.code(), Some(1));
    let log = second.log().whole();
    assert!(log.contains("headstartd: org.headstart1 is taken by :1."), "{log}");
    assert!(log.contains("another headstartd is running (busctl status org.headstart1 shows it)"), "{log}");
    is_for_people(&log);
    assert!(files() == before, "the second daemon touched the host or the history of the first");
    assert_eq!(scene.property("/desktop/vm001", "Desktop", "Gpu"), "0000:3b:00.0", "the first goes on");
}

#[test]
fn a_daemon_whose_bus_ends_says_so_and_ends() {
    let mut scene = Scene::new();
    let mut daemon = start(&mut scene.simulated("", DEMO_HOST));
    scene.bus = headstart_tests::bus::Bus::start().expect("another bus");
    let status = daemon.wait(DEADLINE).expect("systemd starts it again when there is a bus");
    assert_eq!(status.code(), Some(1));
    let log = daemon.log().whole();
    assert!(log.ends_with("headstartd: the bus closed the connection"), "{log}");
}

#[test]
fn on_a_host_without_its_gpu_and_without_libvirt_it_runs_and_says_what_is_missing() {
    let scene = Scene::new();
    let configuration =
        "[[gpu]]\naddress = \"0000:ff:1f.7\"\n[libvirt]\nuri = \"qemu+unix:///system?socket=/nonexistent/libvirt\"\n";
    let mut daemon = start(&mut scene.headstartd(configuration));
    let told = scene.headstart(&["status"]).ok();
    for missing in ["0000:ff:1f.7: it is in the configuration and not on this host", "libvirt is not there"] {
        assert!(told.contains(missing), "{told}");
        assert!(daemon.log().text().contains(missing), "{}", daemon.log().text());
    }
    daemon.kill();
}
