//! The hook's method: what reaches the loop, and what is answered without it.

use headstart_core::hook::Operation;
use headstartd::message::{Message, Told};

use super::service::{self, Running};

const XML: &str = "<domain><name>vm1</name></domain>";

/// Asks as the hook does.
async fn ask(client: &zbus::Connection, operation: &str, suboperation: &str, xml: &str) -> (bool, String, String) {
    let body = ("vm1", operation, suboperation, "-", xml);
    let hook = Some("org.headstart1.Hook");
    let reply = client.call_method(Some("org.headstart1"), "/org/headstart1", hook, "Ask", &body).await.unwrap();
    reply.body().deserialize().unwrap()
}

/// Asks, and plays the loop.
async fn asked(service: &mut Running, operation: &str, told: Told) -> (Operation, (bool, String, String)) {
    let client = service.client().await;
    let answer = async {
        let Some(Message::Hook { operation, xml, reply }) = service.messages.recv().await else { panic!("a question") };
        assert_eq!(xml, XML);
        reply.send(told).unwrap();
        operation
    };
    let (reply, operation) = tokio::join!(ask(&client, operation, "begin", XML), answer);
    (operation, reply)
}

#[tokio::test]
async fn the_loop_is_asked_and_its_answer_goes_back() {
    let mut service = service::sample().await;
    let told = Told { allowed: false, note: "no room".into(), xml: String::new() };
    let (operation, reply) = asked(&mut service, "prepare", told).await;
    assert_eq!((operation, reply), (Operation::Prepare, (false, "no room".into(), String::new())));
    for (name, operation) in [("migrate", Operation::Migrate), ("restore", Operation::Restore)] {
        let told = Told { allowed: true, note: "another".into(), xml: "<domain/>".into() };
        let (told, reply) = asked(&mut service, name, told).await;
        assert_eq!((told, reply), (operation, (true, "another".into(), "<domain/>".into())));
    }
}

#[tokio::test]
async fn what_is_no_question_is_answered_at_once() {
    let mut service = service::sample().await;
    let client = service.client().await;
    for (operation, suboperation) in
        [("reconnect", "begin"), ("started", "begin"), ("prepare", "end"), ("hotplug", "begin")]
    {
        let answer = ask(&client, operation, suboperation, XML).await;
        assert_eq!(answer, (true, String::new(), String::new()), "{operation}");
    }
    assert!(service.messages.try_recv().is_err(), "none of it wakes the loop");
    ask(&client, "release", "end", "").await;
    let Some(Message::Stopped { domain }) = service.messages.recv().await else { panic!("its devices are free") };
    assert_eq!(domain.as_str(), "vm1");
}
