//! What is on the bus is what `config/org.headstart1.xml` says.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use headstart_tests::lines::Lines;
use headstart_tests::process::Guarded;
use roxmltree::{Document, Node, ParsingOptions};
use serde_json::Value;

use crate::scene::{DEADLINE, DEMO_HOST, NAME, ROOT, Scene, eventually, start};

const XML: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/org.headstart1.xml");

/// `method RequestGpu sa{sv} a{sv}`, as the file has it.
fn checked_in(interface: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(XML).expect("it is in the repository");
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let document = Document::parse_with_options(&text, options).expect("it is XML");
    let has_name = |node: &Node<'_, '_>| node.attribute("name") == Some(interface);
    let interface = document.descendants().find(has_name).expect("the interface is there");
    let members = interface.children().filter(Node::is_element);
    members
        .map(|member| {
            let args = |direction: &str| {
                let fits =
                    |arg: &Node<'_, '_>| arg.has_tag_name("arg") && arg.attribute("direction") == Some(direction);
                member.children().filter(fits).filter_map(|arg| arg.attribute("type")).collect::<String>()
            };
            let name = member.attribute("name").expect("members have names");
            let dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
            match member.tag_name().name() {
                "method" => format!("method {name} {} {}", dash(args("in")), dash(args("out"))),
                "property" => format!("property {name} {}", member.attribute("type").expect("properties have types")),
                kind => {
                    let types = member.children().filter_map(|arg| arg.attribute("type"));
                    format!("{kind} {name} {}", types.collect::<String>())
                }
            }
        })
        .collect()
}

/// The same, as `busctl introspect` has it.
fn served(scene: &Scene, object: &str, interface: &str) -> BTreeSet<String> {
    let table = scene.busctl(&["--no-legend", "introspect", NAME, &format!("{ROOT}{object}"), interface]).ok();
    table
        .lines()
        .map(|line| {
            let mut columns = line.split_whitespace();
            let mut next = || columns.next().unwrap_or_default();
            let (name, kind, signature) = (next().trim_start_matches('.'), next(), next());
            match kind {
                "method" => format!("method {name} {signature} {}", next()),
                _ => format!("{kind} {name} {signature}"),
            }
        })
        .collect()
}

#[test]
fn tree_and_introspection_are_those_that_are_checked_in() {
    let scene = Scene::new();
    let _daemon = start(&mut scene.simulated("", DEMO_HOST));
    let tree = scene.busctl(&["--list", "tree", NAME]).ok();
    let objects: BTreeSet<&str> = tree.lines().filter(|path| path.starts_with(ROOT)).collect();
    let mut want: BTreeSet<String> = (1..=40).map(|n| format!("{ROOT}/desktop/vm{n:03}")).collect();
    want.extend(["3b", "5e", "86", "af"].map(|bus| format!("{ROOT}/gpu/0000_{bus}_00_0")));
    want.extend(["", "/host", "/gpu", "/desktop"].map(|path| format!("{ROOT}{path}")));
    assert_eq!(objects, want.iter().map(String::as_str).collect::<BTreeSet<_>>());

    for (object, interface) in
        [("", "Manager"), ("", "Hook"), ("/host", "Host"), ("/gpu/0000_3b_00_0", "Gpu"), ("/desktop/vm001", "Desktop")]
    {
        let interface = format!("org.headstart1.{interface}");
        let want = checked_in(&interface);
        assert!(!want.is_empty(), "{interface}");
        assert_eq!(served(&scene, object, &interface), want, "{interface}");
    }
}

#[test]
fn the_object_manager_shows_what_the_properties_show() {
    let scene = Scene::new();
    let _daemon = start(scene.simulated("mode = \"armed\"\n", DEMO_HOST).args(["--speed", "0.001"]));
    let objects = scene.objects();
    // Folders of the tree have no interface.
    let interfaces = objects.as_object().expect("objects by path").values().filter_map(|object| object.as_object());
    assert_eq!(interfaces.map(serde_json::Map::len).sum::<usize>(), 45, "a host, 4 GPUs, 40 desktops");
    for (object, interface) in [("/host", "Host"), ("/gpu/0000_86_00_0", "Gpu"), ("/desktop/vm015", "Desktop")] {
        let properties = &objects[format!("{ROOT}{object}")][format!("org.headstart1.{interface}")];
        for (name, value) in properties.as_object().expect("properties by name") {
            assert_eq!(scene.property(object, interface, name), *value, "{object} {name}");
        }
    }
    let host = |name: &str| scene.property("/host", "Host", name);
    assert_eq!((host("Desktops"), host("Gpus"), host("Simulated")), (40.into(), 4.into(), true.into()));
    assert_eq!((host("Mode"), host("Version")), ("armed".into(), env!("CARGO_PKG_VERSION").into()));
    assert_eq!(host("Problems"), Value::Array(Vec::new()));
    let desktop = |name: &str| scene.property("/desktop/vm015", "Desktop", name);
    assert_eq!(
        (desktop("Subject"), desktop("AttachMode"), desktop("Priority")),
        ("u015".into(), "live".into(), 10.into())
    );
    assert_eq!((desktop("State"), desktop("Profile")), ("running".into(), "L40S-12Q".into()));
    // The stranger's mdev is shown and counted, and its owner is no desktop of ours.
    let vgpus = scene.property("/gpu/0000_86_00_0", "Gpu", "Vgpus");
    assert_eq!(
        (&vgpus[0][1], &vgpus[0][2], &vgpus[0][3]),
        (&"T4-4Q".into(), &"render-legacy".into(), &"foreign".into())
    );
    assert_eq!(scene.property("/gpu/0000_86_00_0", "Gpu", "UsedMib"), 4096);
    assert_eq!(scene.property("/gpu/0000_86_00_0", "Gpu", "Creatable"), serde_json::json!(["T4-4Q"]));
}

#[test]
fn a_change_is_signalled_with_its_new_value() {
    let scene = Scene::new();
    let _daemon = start(scene.simulated("mode = \"armed\"\n", DEMO_HOST).args(["--speed", "60"]));
    let mut monitor = Command::new("busctl");
    monitor.arg(format!("--address={}", scene.bus.address())).args(["--json=short", "monitor", NAME]);
    monitor.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut monitor = Guarded::start(&mut monitor).expect("busctl is installed");
    let mut complaints = Lines::of(monitor.child().stderr.take().expect("it is piped"));
    let begins = complaints.next(DEADLINE).expect("it says that it listens");
    assert!(begins.contains("Monitoring"), "{begins}");
    scene.call("RequestGpu", &["sa{sv}", "vm001", "0"]);

    let mut messages = Lines::of(monitor.child().stdout.take().expect("it is piped"));
    let mut states = Vec::new();
    let mut device = String::new();
    while states.last().is_none_or(|state| state != "ready") {
        let line = messages.next(DEADLINE).expect("it becomes ready");
        let message: Value = serde_json::from_str(&line).expect("it is JSON");
        if message["member"] != "PropertiesChanged" || message["path"] != format!("{ROOT}/desktop/vm001") {
            continue;
        }
        assert_eq!(message["payload"]["data"][0], "org.headstart1.Desktop");
        let changed = &message["payload"]["data"][1];
        assert_eq!(message["payload"]["data"][2], serde_json::json!([]), "values come with the signal");
        states.extend(changed["State"]["data"].as_str().map(str::to_owned));
        device = changed["Device"]["data"].as_str().map_or(device, str::to_owned);
    }
    assert_eq!(states, ["preparing", "ready"]);
    assert_eq!(scene.property("/desktop/vm001", "Desktop", "Device"), device);
    eventually("the GPU shows it", || {
        let vgpus = scene.property("/gpu/0000_3b_00_0", "Gpu", "Vgpus");
        if vgpus[0] == serde_json::json!([device, "A40-4Q", "vm001", "attached"]) {
            Ok(())
        } else {
            Err(vgpus.to_string())
        }
    });
}
