//! libvirt's test driver: no daemon, one domain that runs. It shows what must not depend on QEMU.

use std::sync::mpsc::channel;

use headstart_core::observed::{Login, Power};
use headstart_core::step::FailureKind;
use headstartd::host::libvirt::{Event, Libvirt, Options};

use crate::server::DEADLINE;
use crate::watch::{Watch, attach, shut_down, start, vf};

#[test]
fn a_driver_without_a_daemon_is_served() {
    let watch = Watch::new("test:///default", Options::default());
    let seen = watch.look();
    assert!(seen.complete);
    let (uuid, domain) = seen.domains.first_key_value().expect("it has a domain");
    assert_eq!((domain.name.as_str(), &domain.power), ("test", &Power::Running { ready: false }));
    assert_eq!((&domain.login, domain.settings.as_ref()), (&Login::None, None));
    watch.told("libvirt is there");
    watch.changed(&shut_down(*uuid));
    watch.until_domain(*uuid, "it is off", |domain| domain.unwrap().power == Power::Off);
    watch.changed(&start(*uuid));
    watch.told("test: it started");
    // What a driver cannot do is an error like any other.
    let (kind, text) = watch.fails(&attach(*uuid, vf(4), true));
    assert_ne!(kind, FailureKind::Transient, "{text}");
    assert!(text.starts_with("test: "), "{text}");
}

#[test]
fn a_wrong_address_is_an_error_in_words() {
    let watch = Watch::new("nonsense:///", Options::default());
    let error = watch.libvirt.observe().unwrap_err().to_string();
    assert!(error.starts_with("nonsense:///: libvirt is not there: "), "{error}");
}

/// Callbacks are counted by what they hold: libvirt gives everything back.
pub(crate) fn gives_everything_back(uri: &str) {
    struct Last(std::sync::mpsc::Sender<()>);
    impl Drop for Last {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
        }
    }
    let (sender, gone) = channel();
    let last = Last(sender);
    let wake = move |_: Event| {
        let _held = &last;
    };
    let libvirt = Libvirt::new(uri, wake, Options::default());
    libvirt.observe().unwrap();
    drop(libvirt);
    gone.recv_timeout(DEADLINE).expect("the last callback was given back");
}

#[test]
fn nothing_stays_behind() {
    gives_everything_back("test:///default");
}
