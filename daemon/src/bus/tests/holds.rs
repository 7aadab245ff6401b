//! A hold lasts as long as its owner is on the bus.

use headstartd::message::Message;
use headstartd::status::Hold;

use super::service::{self, Running};

/// Calls `Hold` and plays the loop: answers with `cookie`, and gives back the owner it was told.
async fn hold(service: &mut Running, client: &zbus::Connection, cookie: u32) -> String {
    let manager = Some("org.headstart1.Manager");
    let call = client.call_method(Some("org.headstart1"), "/org/headstart1", manager, "Hold", &"driver update");
    let answer = async {
        match service.messages.recv().await {
            Some(Message::Hold { owner, reason, reply }) => {
                assert_eq!(reason, "driver update");
                reply.send(cookie).unwrap();
                owner
            }
            other => panic!("a hold was expected, not {other:?}"),
        }
    };
    let (reply, owner) = tokio::join!(call, answer);
    assert_eq!(reply.unwrap().body().deserialize::<u32>().unwrap(), cookie);
    owner
}

#[tokio::test]
async fn a_hold_ends_when_its_owner_leaves_the_bus() {
    let mut service = service::sample().await;
    let client = service.client().await;
    let owner = hold(&mut service, &client, 7).await;
    assert_eq!(owner, client.unique_name().unwrap().as_str());
    assert_eq!(hold(&mut service, &client, 8).await, owner);
    client.close().await.unwrap();
    let Some(Message::OwnerLeft { owner: left }) = service.messages.recv().await else { panic!("it left") };
    assert_eq!(left, owner);
    // Once for both: nothing else comes before what a second client says.
    let second = service.client().await;
    let manager = Some("org.headstart1.Manager");
    second.call_method(Some("org.headstart1"), "/org/headstart1", manager, "Reconcile", &()).await.unwrap();
    assert!(matches!(service.messages.recv().await, Some(Message::Reconcile)));
}

#[tokio::test]
async fn a_hold_is_ended_by_its_owner_only() {
    let mut service = service::sample().await;
    let client = service.client().await;
    service.change(|status| {
        status.holds.push(Hold { cookie: 3, owner: ":1.999".to_owned(), reason: "theirs".to_owned() });
    });
    for (cookie, known, want) in [(7, true, ""), (3, false, "NotAuthorized"), (4, false, "InvalidArgument")] {
        let manager = Some("org.headstart1.Manager");
        let call = client.call_method(Some("org.headstart1"), "/org/headstart1", manager, "EndHold", &cookie);
        let answer = async {
            match service.messages.recv().await {
                Some(Message::EndHold { cookie: told, reply, .. }) => {
                    assert_eq!(told, cookie);
                    reply.send(known).unwrap();
                }
                other => panic!("the end of a hold was expected, not {other:?}"),
            }
        };
        let (reply, ()) = tokio::join!(call, answer);
        match reply {
            Ok(_) => assert!(known),
            Err(error) => assert!(!known && error.to_string().contains(want), "{error}"),
        }
    }
}
