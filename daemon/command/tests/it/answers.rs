//! Subcommands that tell the daemon something, and those that follow it.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use expect_test::expect;
use headstartd::bus::Decision;
use headstartd::message::Message;
use serde_json::Value;

use crate::{command, headstart, run, sample, service};

#[tokio::test]
async fn a_request_says_which_way_it_went() {
    let mut service = service::sample().await;
    let bus = service.bus.address();
    let ran = headstart(&bus, &["request", "design-01"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    expect![[r#"
        design-01: reserved, A40-4Q on 0000:3b:00.0, ready in 2 min 20 s
        room on 0000:3b:00.0 (a login is 86 % likely in the slot that decides now)
    "#]]
    .assert_eq(&ran.out);
    assert!(matches!(service.messages.recv().await, Some(Message::Wish { .. })));

    let ran = headstart(&bus, &["request", "office-02", "--preallocation", "require"]).await;
    assert_eq!(ran.code, Some(3), "{ran:?}");
    expect![[r#"
        office-02: refused
        only a reservation was accepted, and there is none: room on 0000:3b:00.0 (a login is 74 % likely in the slot that decides now)
    "#]].assert_eq(&ran.out);

    let ran = headstart(&bus, &["--json", "request", "office-02", "--profile", "A40-8Q"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    expect![[r#"
        {
          "desktop": "office-02",
          "way": "queued",
          "confidence": 0.74,
          "profile": "A40-8Q",
          "gpu": null,
          "wait_seconds": null,
          "reason": "room on 0000:3b:00.0"
        }
    "#]]
    .assert_eq(&ran.out);
    assert!(matches!(service.messages.recv().await, Some(Message::Wish { .. })));

    for (arguments, told) in [(&["release", "design-01"][..], "Release"), (&["reconcile"], "Reconcile")] {
        let ran = headstart(&bus, arguments).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(format!("{:?}", service.messages.recv().await.unwrap()).starts_with(told));
    }
}

#[tokio::test]
async fn json_is_json_everywhere() {
    let service = service::sample().await;
    for arguments in [
        &["status"][..],
        &["desktops"],
        &["gpus"],
        &["explain", "design-01"],
        &["forecast", "design-01"],
        &["request", "design-01"],
        &["release", "design-01"],
        &["reconcile"],
    ] {
        let ran = headstart(&service.bus.address(), &[arguments, &["--json"]].concat()).await;
        assert!(serde_json::from_str::<Value>(&ran.out).is_ok(), "{arguments:?}: {ran:?}");
    }
    let ran = headstart(&service.bus.address(), &["status", "--json"]).await;
    let status: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(status["host"]["clock"], "2026-11-23T07:40:00Z");
    assert_eq!(status["next_logins"][0]["desktop"], "design-01");
    assert_eq!(status["next_logins"][0]["time"], "2026-11-23T08:05:00Z");
    assert_eq!(status["next_logins"][0]["prepared"], true);
    assert_eq!(status["gpus"][0]["vgpus"][1]["state"], "foreign");
}

#[tokio::test]
async fn files_go_in_and_out() {
    let service = service::sample().await;
    let (bus, folder) = (service.bus.address(), tempfile::tempdir().unwrap());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("good.csv"), "user,vm,start,end\na,b,c,d\n").unwrap();
    std::fs::write(path("bad.csv"), "user,vm,start,end\nbad\na,b,c,d\n").unwrap();
    let ran = headstart(&bus, &["import", &path("good.csv")]).await;
    assert_eq!((ran.code, ran.out), (Some(0), format!("{}: 1 sessions imported\n", path("good.csv"))));
    let ran = headstart(&bus, &["import", &path("bad.csv")]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("bad.csv:2: 1 columns"), "{}", ran.err);
    let ran = headstart(&bus, &["import", &path("bad.csv"), "--skip-bad"]).await;
    assert!(ran.out.contains("1 sessions imported, 1 bad rows left out\n"), "{ran:?}");
    let ran = headstart(&bus, &["export"]).await;
    assert!(ran.out.starts_with("user,vm,start,end\nanna,"), "{ran:?}");
    let ran = headstart(&bus, &["export", &path("out.csv"), "--since", "2026-01-01"]).await;
    assert_eq!((ran.code, ran.out), (Some(0), format!("{}: 0 sessions exported\n", path("out.csv"))));
    assert!(std::fs::read_to_string(path("out.csv")).unwrap().contains("anna"));
    let ran = headstart(&bus, &["export", "--since", "soon"]).await;
    assert_eq!(ran.code, Some(2));
}

#[tokio::test]
async fn watch_prints_decisions_and_changes_with_the_daemons_clock() {
    let service = service::sample().await;
    let mut watch = command(&service.bus.address(), &["watch", "--count", "2"]);
    let mut watch = watch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut err = BufReader::new(watch.stderr.take().unwrap()).lines();
    let follows = tokio::task::spawn_blocking(move || err.next().unwrap().unwrap()).await.unwrap();
    assert!(follows.starts_with("following headstartd on the bus at unix:"), "{follows}");
    let decision = Decision {
        time: sample::NOW,
        desktop: Some(sample::desktop_name("office-01")),
        what: "reserve A40-4Q on 0000:3b:00.0".to_owned(),
        why: "its user is expected at 9:00".to_owned(),
    };
    service.decisions.send(decision).unwrap();
    let mut out = BufReader::new(watch.stdout.take().unwrap());
    let (first, mut out) = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        (line, out)
    })
    .await
    .unwrap();
    service.change(|status| {
        status.now = sample::NOW + headstart_core::unit::Span::minutes(1);
        let desktop = status.desktops.get_mut(&sample::desktop_name("office-01")).unwrap();
        desktop.state = "preparing";
    });
    let rest = tokio::task::spawn_blocking(move || {
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        rest
    });
    let text = first + &rest.await.unwrap();
    expect![[r#"
        Mon 07:40:00  office-01       reserve A40-4Q on 0000:3b:00.0  (its user is expected at 9:00)
        Mon 07:41:00  office-01       off -> preparing  (off: 31 % is above the threshold)
    "#]]
    .assert_eq(&text);
    assert!(tokio::task::spawn_blocking(move || watch.wait()).await.unwrap().unwrap().success());
}

#[tokio::test]
async fn a_hold_lasts_as_long_as_its_command() {
    let mut service = service::sample().await;
    let bus = service.bus.address();
    let held = headstart(&bus, &["hold", "driver update", "--", "sh", "-c", "exit 7"]);
    let answer = async {
        let Some(Message::Hold { reason, reply, .. }) = service.messages.recv().await else { panic!("a hold first") };
        assert_eq!(reason, "driver update");
        reply.send(5).unwrap();
        let Some(Message::EndHold { cookie, reply, .. }) = service.messages.recv().await else {
            panic!("then its end")
        };
        assert_eq!(cookie, 5);
        reply.send(true).unwrap();
    };
    let (ran, ()) = tokio::join!(held, answer);
    assert_eq!((ran.code, ran.err.as_str()), (Some(7), ""));
}

#[tokio::test]
async fn a_hold_ends_with_an_interrupt() {
    let mut service = service::sample().await;
    let mut hold = command(&service.bus.address(), &["hold", "lunch"]).stdout(Stdio::piped()).spawn().unwrap();
    let Some(Message::Hold { reply, .. }) = service.messages.recv().await else { panic!("a hold first") };
    reply.send(9).unwrap();
    let mut out = BufReader::new(hold.stdout.take().unwrap());
    let line = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        line
    });
    assert_eq!(line.await.unwrap(), "hold 9: nothing on the host is changed until Ctrl-C\n");
    let pid = hold.id().to_string();
    std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap();
    let Some(Message::EndHold { cookie: 9, reply, .. }) = service.messages.recv().await else { panic!("then its end") };
    reply.send(true).unwrap();
    assert!(tokio::task::spawn_blocking(move || hold.wait()).await.unwrap().unwrap().success());
}

#[tokio::test]
async fn completions_and_manual_pages_need_no_daemon() {
    let ran = headstart("unix:path=/nowhere", &["completions", "bash"]).await;
    assert!(ran.code == Some(0) && ran.out.contains("_headstart()"), "{:?}", ran.code);
    let folder = tempfile::tempdir().unwrap();
    let ran = run(command("unix:path=/nowhere", &["man", folder.path().to_str().unwrap()])).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let page = std::fs::read_to_string(folder.path().join("headstart-forecast.1")).unwrap();
    assert!(page.contains("24 hours"), "{page}");
}
