//! libvirtd that ends, comes back, or stands still.

use std::time::{Duration, Instant};

use headstart_core::observed::Power;
use headstart_core::step::FailureKind;
use headstartd::host::libvirt::Options;
use nix::sys::signal::Signal;

use crate::server::{Server, Spec};
use crate::watch::{Watch, attach, shut_down, start, vf};

const WIN: Spec = Spec { name: "win-01", digit: 1, devices: "", ports: 1, system: None };

#[test]
fn nothing_stays_behind() {
    let Some(server) = Server::start() else { return };
    crate::driver::gives_everything_back(&server.uri());
}

#[test]
fn it_may_come_later_than_we() {
    let Some(mut server) = Server::start() else { return };
    let uuid = server.define(&WIN);
    server.stop(Signal::SIGTERM);
    let watch = Watch::on(&server);
    let error = watch.libvirt.observe().unwrap_err().to_string();
    assert!(error.starts_with("qemu+unix:///session") && error.contains("libvirt is not there: "), "{error}");
    assert!(error.ends_with("; see systemctl status virtqemud.socket libvirtd.socket"), "{error}");
    assert_eq!(watch.fails(&start(uuid)), (FailureKind::Transient, error));
    server.launch();
    // Nobody asks: it is found.
    watch.told("libvirt is there");
    assert_eq!(watch.domain(uuid).power, Power::Off);
}

#[test]
fn a_restart_of_libvirtd_loses_nothing() {
    let Some(mut server) = Server::start() else { return };
    let uuid = server.define(&WIN);
    let other = server.define(&Spec { name: "win-02", digit: 2, ..WIN });
    let watch = Watch::on(&server);
    watch.changed(&start(uuid));
    watch.changed(&attach(other, vf(4), false));
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        watch.forget();
        server.stop(signal);
        watch.told("libvirt is gone");
        assert!(watch.libvirt.observe().is_err(), "nothing is known, and nothing is made up");
        assert_eq!(watch.fails(&shut_down(uuid)).0, FailureKind::Transient);
        server.launch();
        watch.told("libvirt is there");
        assert_eq!(watch.picture(uuid), "win-01: Running { ready: false }, None");
        assert_eq!(watch.picture(other), "win-02: Off, None\n0000:3b:00.4 Attached, ours");
    }
    // Its events are heard again.
    watch.forget();
    server.virsh(&["destroy", "win-01"]);
    watch.told("win-01: it stopped");
    watch.changed(&start(uuid));
}

#[test]
fn a_domain_that_goes_while_libvirtd_is_away_is_seen_to_have_gone() {
    let Some(mut server) = Server::start() else { return };
    let uuid = server.define(&WIN);
    let watch = Watch::on(&server);
    watch.changed(&start(uuid));
    let qemu = server.qemu("win-01");
    watch.domain(uuid);
    watch.forget();
    server.stop(Signal::SIGKILL);
    nix::sys::signal::kill(qemu, Signal::SIGKILL).unwrap();
    server.launch();
    watch.until("it is off", |seen| seen.as_ref().is_ok_and(|seen| seen.domains[&uuid].power == Power::Off));
}

#[test]
fn a_libvirtd_that_stands_still_is_given_up_and_found_again() {
    let Some(server) = Server::start() else { return };
    let uuid = server.define(&WIN);
    let watch = Watch::on(&server);
    watch.domain(uuid);
    let patient =
        Watch::new(&server.uri(), Options { open_deadline: Duration::from_millis(300), ..Options::default() });
    server.signal(Signal::SIGSTOP);
    let began = Instant::now();
    assert!(watch.libvirt.observe().is_err());
    // Two signs of life, one second apart, are missed; then opening waits as long as it may.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let error = patient.libvirt.observe().unwrap_err().to_string();
    assert!(error.contains("libvirt is not there: it accepts connections and does not answer; "), "{error}");
    server.signal(Signal::SIGCONT);
    for watch in [&watch, &patient] {
        watch.until("it is back", |seen| seen.as_ref().is_ok_and(|seen| seen.domains.contains_key(&uuid)));
    }
}
