//! A capture of a host by the command.

use serde_json::{Value, json};

use crate::headstart;

#[tokio::test]
async fn a_capture_says_what_it_took_and_overwrites_nothing() {
    let out = tempfile::tempdir().unwrap();
    let root = out.path().join("host");
    std::fs::create_dir_all(root.join("sys/bus/pci/devices")).unwrap();
    let (root, file) = (root.to_str().unwrap(), out.path().join("host.tar"));
    let file = file.to_str().unwrap();
    let ran = headstart("unix:path=/nowhere", &["capture", file, "--root", root]).await;
    let said = format!(
        "{file}: 0 PCI functions, 0 domain definitions; UUIDs, MAC addresses and names are replaced\n\
         Look through it before you give it to anybody.\n"
    );
    assert_eq!((ran.code, ran.err.as_str(), ran.out), (Some(0), "", said));
    let ran = headstart("unix:path=/nowhere", &["capture", file, "--root", root]).await;
    assert_eq!((ran.code, ran.err), (Some(1), format!("headstart: {file} is there already: name one that is not\n")));
    let folder = out.path().join("folder");
    let ran = headstart("x", &["capture", folder.to_str().unwrap(), "--root", root, "--json"]).await;
    let shown: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&shown["domains"], &shown["unread"]), (&json!(0), &json!([])));
    assert!(folder.join("capture.txt").is_file());
    let ran = headstart("x", &["capture", "/proc/nowhere/x.tar", "--root", root]).await;
    assert!(ran.code == Some(1) && ran.err.starts_with("headstart: cannot write /proc/nowhere/x.tar: "), "{ran:?}");
    let ran = headstart("x", &["capture", out.path().join("y").to_str().unwrap(), "--root", "/nowhere"]).await;
    assert!(ran.code == Some(1) && ran.err.starts_with("headstart: cannot read /sys: "), "{ran:?}");
}
