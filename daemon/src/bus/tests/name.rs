//! The name: taken by another daemon, or not to be had.

use std::sync::Arc;

use headstartd::bus::{self, BusChoice, Ports, ServeError};
use tokio::sync::{broadcast, mpsc, watch};

use super::private_bus::PrivateBus;
use super::service;

/// Serves an empty status on this bus, which must fail.
async fn refused(bus: &PrivateBus) -> ServeError {
    let (_status, status) = watch::channel(Arc::default());
    let (messages, _inbox) = mpsc::channel(1);
    let (_decisions, decisions) = broadcast::channel(1);
    let host = Arc::new(service::FakeHost::default());
    let ports = Ports { status, messages, history: Arc::new(service::FakeHistory), host, decisions };
    let connection = bus::connect(&BusChoice::Address(bus.address())).await.unwrap();
    bus::publish(connection, ports).await.err().expect("the name is not to be had")
}

#[tokio::test]
async fn a_second_daemon_is_told_who_has_the_name() {
    let service = service::sample().await;
    let error = refused(&service.bus).await;
    assert!(matches!(&error, ServeError::NameTaken { owner } if owner.starts_with(':')), "{error:?}");
    assert!(error.to_string().contains("another headstartd is running"), "{error}");
}

#[tokio::test]
async fn that_the_name_is_taken_can_be_known_before_anything_is_done() {
    let bus = PrivateBus::session();
    let connection = bus::connect(&BusChoice::Address(bus.address())).await.unwrap();
    bus::check_free(&connection).await.unwrap();
    let service = service::sample().await;
    let error = bus::check_free(&service.client().await).await.unwrap_err();
    assert!(matches!(&error, ServeError::NameTaken { owner } if owner.starts_with(':')), "{error:?}");
}

#[tokio::test]
async fn a_bus_without_our_policy_does_not_give_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("empty.conf");
    std::fs::write(&policy, "<busconfig></busconfig>").unwrap();
    let error = refused(&PrivateBus::system(&policy)).await;
    assert!(matches!(&error, ServeError::NotAllowed(_)), "{error:?}");
}

#[tokio::test]
async fn no_bus_is_named() {
    let error = bus::connect(&"unix:path=/nowhere/bus".parse().unwrap()).await.unwrap_err();
    assert_eq!(
        headstartd::reconcile::chain(&error),
        "cannot connect to the bus at unix:path=/nowhere/bus: failed to connect to `unix:path=/nowhere/bus`: \
         No such file or directory (os error 2)"
    );
}
