//! What domains say of themselves, and GPUs that could be had.

use expect_test::expect;
use serde_json::{Value, json};

use crate::{headstart, service};

#[tokio::test]
async fn a_desktop_is_shown_with_who_says_so() {
    let service = service::sample().await;
    let ran = headstart(&service.bus.address(), &["desktop", "show", "design-01"]).await;
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    expect![[r#"
        design-01
        Setting      Value   From
        user         anna    metadata
        profiles     A40-4Q  configuration or default
        attach       cold    configuration or default
        priority     10      configuration or default
        time-zone    UTC     configuration or default
        preallocate  true    configuration or default
        missing-gpu  start   configuration or default
    "#]]
    .assert_eq(&ran.out);
    let ran = headstart(&service.bus.address(), &["desktop", "show", "plain"]).await;
    assert_eq!(ran.out, "plain: it is no desktop; `headstart desktop set` makes it one\n");
    let ran = headstart(&service.bus.address(), &["desktop", "show", "nobody"]).await;
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), "headstart: there is no domain nobody on this host\n"));
    let ran = headstart(&service.bus.address(), &["desktop", "show", "design-01", "--json"]).await;
    let shown: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&shown["managed"], &shown["metadata"]["user"]), (&json!(true), &json!("anna")));
    assert_eq!((&shown["metadata"]["attach"], &shown["effective"]["attach"]), (&json!(null), &json!("cold")));
}

#[tokio::test]
async fn settings_are_set_and_taken_back() {
    let service = service::sample().await;
    let set = [
        "desktop",
        "set",
        "design-01",
        "profiles=A40-8Q, A40-4Q",
        "attach=live",
        "priority=-5",
        "lead=2 min 30s",
        "preallocate=false",
        "missing-gpu=block",
        "time-zone=Europe/Berlin",
    ];
    let ran = headstart(&service.bus.address(), &set).await;
    let said = "design-01: its metadata says now: user=anna profiles=A40-8Q,A40-4Q attach=live priority=-5 \
                time-zone=Europe/Berlin lead=2 min 30 s preallocate=false missing-gpu=block\n";
    assert_eq!((ran.code, ran.err.as_str(), ran.out.as_str()), (Some(0), "", said));
    let back = ["desktop", "set", "design-01", "user=", "profile=A40-4Q", "attach=", "priority=", "lead=", "--json"];
    let ran = headstart(&service.bus.address(), &back).await;
    let shown: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&shown["metadata"]["user"], &shown["metadata"]["profiles"]), (&json!(null), &json!("A40-4Q")));
}

#[tokio::test]
async fn what_cannot_be_set_is_named() {
    let service = service::sample().await;
    for (setting, why) in [
        ("profiles", "\"profiles\" is not of the form KEY=VALUE"),
        (
            "colour=red",
            "there is no setting \"colour\"; there are: user, pool, profiles, attach, priority, time-zone, lead,",
        ),
        ("priority=high", "priority: expected a whole number, found \"high\""),
        ("lead=soon", "lead: expected a length of time such as 90s or 2min, found \"soon\""),
        ("preallocate=yes", "preallocate: expected true or false, found \"yes\""),
        ("attach=hot", "option \"attach\": attach mode \"hot\" is not known: use cold, live or request"),
        ("priority=5000", "option \"priority\": 5000 is not from -1000 to 1000"),
    ] {
        let ran = headstart(&service.bus.address(), &["desktop", "set", "design-01", setting]).await;
        assert!(ran.code == Some(1) && ran.err.starts_with(&format!("headstart: {why}")), "{setting}: {}", ran.err);
    }
    for (settings, why) in
        [(["attach=live", "attach=cold"], "attach is set twice"), (["user=", "user=ada"], "user is set and taken back")]
    {
        let ran = headstart(&service.bus.address(), &[&["desktop", "set", "design-01"], &settings[..]].concat()).await;
        assert_eq!((ran.code, ran.err), (Some(1), format!("headstart: {why}\n")));
    }
    let ran = headstart(&service.bus.address(), &["desktop", "set", "design-01"]).await;
    assert_eq!(ran.code, Some(2));
}

#[tokio::test]
async fn gpus_are_proposed_as_configuration() {
    let service = service::sample().await;
    let ran = headstart(&service.bus.address(), &["gpus", "--adopt"]).await;
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    expect![[r##"
        # Put those that headstart shall have to itself into /etc/headstart/headstart.toml.d/gpus.toml, then
        # `headstartd --check-config && systemctl restart headstartd`. On a GPU given to it, every idle VF is its own.

        # NVIDIA A40, driver nvidia, vfio-variant, up to 32 VFs
        # headstart has it already.
        #[[gpu]]
        #address = "0000:3b:00.0"

        # AMD V710, driver gim, sriov, up to 12 VFs
        [[gpu]]
        address = "0000:5e:00.0"

        # GeForce RTX 3080, driver nouveau
        # it cannot be partitioned as it is
        #[[gpu]]
        #address = "0000:86:00.0"

        # mbochs, mdev
        # a sample of the kernel's
        [[gpu]]
        address = "mbochs"
    "##]]
    .assert_eq(&ran.out);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gpus.toml");
    std::fs::write(&file, &ran.out).unwrap();
    let config = headstartd::config::Config::load_file(&file).unwrap();
    assert_eq!(config.gpus.len(), 2, "what is proposed can be pasted as it is");
    let ran = headstart(&service.bus.address(), &["gpus", "--adopt", "--json"]).await;
    let shown: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((shown.as_array().unwrap().len(), &shown[2]["interface"]), (4, &json!(null)));
}
