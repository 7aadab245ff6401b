//! Import and export pass open files.

use std::collections::HashMap;
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;

use headstartd::message::Message;
use zbus::wire::{OwnedVariant, Variant};

use super::service;

type Options = HashMap<&'static str, Variant<'static>>;

/// Imports this text under the name `trace.csv`.
async fn import(
    client: &zbus::Connection,
    text: &str,
    options: Options,
) -> zbus::Result<HashMap<String, OwnedVariant>> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.rewind().unwrap();
    let body = (zbus::Fd::from(file.as_fd()), "trace.csv", options);
    let manager = Some("org.headstart1.Manager");
    let reply = client.call_method(Some("org.headstart1"), "/org/headstart1", manager, "Import", &body).await?;
    reply.body().deserialize()
}

#[tokio::test]
async fn an_import_is_read_from_the_callers_file_and_the_loop_learns_of_it() {
    let mut service = service::sample().await;
    let client = service.client().await;
    let report = import(&client, "user,vm,start,end\na,b,c,d\n", Options::new()).await.unwrap();
    assert_eq!(*report["sessions"], Variant::from(1_u64));
    assert!(matches!(service.messages.recv().await, Some(Message::HistoryImported)));

    let skip = Options::from([("skip-bad", true.into())]);
    let report = import(&client, "user,vm,start,end\nbad\na,b,c,d\n", skip).await.unwrap();
    assert_eq!((&*report["sessions"], &*report["bad"]), (&Variant::from(1_u64), &Variant::from(1_u64)));
    assert!(matches!(service.messages.recv().await, Some(Message::HistoryImported)));

    let error = import(&client, "user,vm,start,end\nbad\n", Options::new()).await.unwrap_err();
    assert!(error.to_string().contains("trace.csv:2:"), "{error}");
    let error = import(&client, "", [("format", "xml".into())].into()).await.unwrap_err();
    assert!(error.to_string().contains("use csv or wtmp"), "{error}");
    assert!(service.messages.try_recv().is_err());
}

#[tokio::test]
async fn an_import_from_a_pipe_is_refused() {
    let service = service::sample().await;
    let client = service.client().await;
    let (reader, _writer) = std::io::pipe().unwrap();
    let body = (zbus::Fd::from(reader.as_fd()), "pipe", Options::new());
    let manager = Some("org.headstart1.Manager");
    let error =
        client.call_method(Some("org.headstart1"), "/org/headstart1", manager, "Import", &body).await.unwrap_err();
    assert!(error.to_string().contains("pipe: an import needs a regular file"), "{error}");
}

#[tokio::test]
async fn an_export_is_written_into_the_callers_file() {
    let service = service::sample().await;
    let client = service.client().await;
    let mut file = tempfile::tempfile().unwrap();
    let manager = Some("org.headstart1.Manager");
    let body = (zbus::Fd::from(file.as_fd()), Options::new());
    let reply = client.call_method(Some("org.headstart1"), "/org/headstart1", manager, "Export", &body).await.unwrap();
    assert_eq!(reply.body().deserialize::<u64>().unwrap(), 1);
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    assert!(text.contains("anna,design-01"), "{text}");

    let body = (zbus::Fd::from(file.as_fd()), Options::from([("since", "yesterday".into())]));
    let error =
        client.call_method(Some("org.headstart1"), "/org/headstart1", manager, "Export", &body).await.unwrap_err();
    assert!(error.to_string().contains("seconds since 1970 (x)"), "{error}");
}
