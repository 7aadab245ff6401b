//! What went wrong, and what to do about it.

use crate::private_bus::PrivateBus;
use crate::{headstart, service};

#[tokio::test]
async fn no_bus() {
    let ran = headstart("unix:path=/nowhere/bus", &["status"]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.starts_with("headstart: cannot connect to the bus at unix:path=/nowhere/bus: "), "{}", ran.err);
}

#[tokio::test]
async fn no_daemon() {
    let bus = PrivateBus::session();
    for arguments in [&["status"][..], &["request", "design-01"], &["watch"], &["hold", "x"]] {
        let ran = headstart(&bus.address(), arguments).await;
        assert_eq!(ran.code, Some(1));
        let want = format!("headstart: headstartd is not on the bus at {}: is it running?", bus.address());
        assert!(ran.err.starts_with(&want), "{arguments:?}: {}", ran.err);
    }
}

#[tokio::test]
async fn no_such_desktop() {
    let service = service::sample().await;
    let ran = headstart(&service.bus.address(), &["explain", "desgin-01"]).await;
    assert_eq!(ran.code, Some(1));
    assert_eq!(ran.err, "headstart: no desktop \"desgin-01\" is managed here; nearest: design-01, design-02\n");
}

#[tokio::test]
async fn wrong_usage() {
    let ran = headstart("session", &["request"]).await;
    assert_eq!(ran.code, Some(2));
    let ran = headstart("session", &["request", "a", "--preallocation", "maybe"]).await;
    assert!(ran.code == Some(2) && ran.err.contains("accept, require, decline"), "{ran:?}");
}

#[tokio::test]
async fn not_allowed() {
    let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/org.headstart1.conf");
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !is_root || std::process::Command::new("setpriv").arg("--version").output().is_err() {
        eprintln!("skipped: needs root and setpriv");
        return;
    }
    let service = service::serve(PrivateBus::system(policy.as_ref()), crate::sample::status()).await;
    let mut nobody = std::process::Command::new("setpriv");
    nobody.args(["--reuid=65534", "--clear-groups", env!("CARGO_BIN_EXE_headstart"), "status"]);
    nobody.env("HEADSTART_BUS", service.bus.address());
    let ran = crate::run(nobody).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("not allowed to ask headstartd") && ran.err.contains("run as root"), "{}", ran.err);
}
