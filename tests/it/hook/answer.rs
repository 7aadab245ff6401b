//! The hook and the daemon together, on a simulated host.

use serde_json::{Value, json};

use super::run::{NAMESPACE, domain, goes_on, hook, hostdev, run};
use crate::scene::{Ran, Scene, eventually, start};

/// One board for mdevs and one with VFs, and a desktop for each whose device cannot be taken out of it, so that what a reboot leaves
/// behind stays to be looked at.
const HOST: &str = r#"
[[gpu]]
address = "0000:86:00.0"
name = "Tesla T4"
framebuffer-mib = 16384
interface = "mdev"
partitioning = "equal-size"
profiles = [{ name = "T4-8Q", framebuffer-mib = 8192, max-instances = 2 }]
strangers = [{ profile = "T4-8Q", domain = "render-legacy" }]

[[gpu]]
address = "0000:3b:00.0"
name = "NVIDIA A40"
framebuffer-mib = 49152
interface = "vfio-variant"
partitioning = "equal-size"
vfs = 4
profiles = [{ name = "A40-4Q", framebuffer-mib = 4096, max-instances = 12 }]

[[domain]]
name = "mdev1"
profile = "T4-8Q"

[[domain]]
name = "mdev2"
profile = "T4-8Q"

[[domain]]
name = "vf1"
profile = "A40-4Q"

[[fault]]
at = "0 s"
on = "mdev1"
step = "detach"
error = "transient"
count = 1000

[[fault]]
at = "0 s"
on = "vf1"
step = "detach"
error = "transient"
count = 1000
"#;

const CONFIG: &str = "mode = \"armed\"\n[[desktop]]\nname = \"mdev2\"\nmissing-gpu = \"block\"\n";

fn daemon(scene: &Scene, speed: &str) -> headstart_tests::daemon::Daemon {
    let host = scene.write("host.toml", HOST);
    start(scene.simulated(CONFIG, host).args(["--speed", speed, "--simulate-state", "state.json"]))
}

fn property(scene: &Scene, desktop: &str, name: &str) -> String {
    scene.property(&format!("/desktop/{desktop}"), "Desktop", name).as_str().expect("a text").to_owned()
}

fn devices(scene: &Scene) -> Vec<Value> {
    let text = std::fs::read(scene.path("state.json")).expect("it is kept");
    let image: Value = serde_json::from_slice(&text).expect("it is whole at any moment");
    image["vgpus"].as_array().expect("a list").iter().map(|vgpu| vgpu["device"].clone()).collect()
}

/// Its definition: who it is, and the device that it was given.
fn definition(scene: &Scene, desktop: &str) -> (String, String) {
    let (uuid, device) = (property(scene, desktop, "Uuid"), property(scene, desktop, "Device"));
    (device.clone(), domain(desktop, &uuid, &hostdev(&device)))
}

/// Both desktops have had their devices, and then the host was switched off and on: the definitions name what does not exist any more.
fn rebooted(scene: &Scene) {
    {
        let _daemon = daemon(scene, "600");
        for desktop in ["mdev1", "vf1"] {
            scene.call("RequestGpu", &["sa{sv}", desktop, "0"]);
            scene.wait_for_state(desktop, &["ready"]);
        }
    }
    let text = std::fs::read(scene.path("state.json")).expect("it is kept");
    let mut image: Value = serde_json::from_slice(&text).expect("it is whole");
    image["vgpus"] = json!([]);
    for guest in image["guests"].as_array_mut().expect("a list") {
        guest["power"] = json!("Off");
        guest["power_until"] = Value::Null;
    }
    scene.write("state.json", image.to_string());
}

#[test]
fn after_a_reboot_the_device_is_there_before_libvirt_looks() {
    let scene = Scene::new();
    rebooted(&scene);
    let _daemon = daemon(&scene, "0.001");
    assert_eq!(devices(&scene), [""; 0]);
    for desktop in ["mdev1", "vf1"] {
        let (device, xml) = definition(&scene, desktop);
        goes_on(&hook(&scene, desktop, "prepare", "begin", &xml), "");
        // It is there when the hook ends, not some time later.
        assert!(devices(&scene).contains(&json!(device)), "{desktop}: {device}");
        goes_on(&hook(&scene, desktop, "prepare", "begin", &xml), "");
        eventually("it is being started", || match scene.state(desktop).as_str() {
            "preparing" => Ok(()),
            other => Err(other.to_owned()),
        });
        let rows = scene.call("Decisions", &["su", desktop, "9"]);
        let told = rows.as_array().expect("rows").iter().any(|row| {
            row[2] == "start" && row[3].as_str().is_some_and(|why| why.starts_with("its device was missing: "))
        });
        assert!(told, "{rows}");
        goes_on(&hook(&scene, desktop, "release", "end", &xml), "");
    }
}

#[test]
fn a_desktop_that_must_have_a_gpu_is_refused_without_one() {
    let scene = Scene::new();
    let _daemon = daemon(&scene, "0.001");
    let uuid = property(&scene, "mdev2", "Uuid");
    let metadata = format!("<metadata><headstart:desktop xmlns:headstart='{NAMESPACE}'/></metadata>");
    let bare = domain("mdev2", &uuid, &metadata);
    let Ran { code, out, err } = hook(&scene, "mdev2", "prepare", "begin", &bare);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    let want = "headstart-qemu-hook: mdev2: prepare: its definition names no device of headstart; its setting missing-gpu = \
                \"block\" lets mdev2 not start without its GPU\n";
    assert_eq!(err, want);
    // The same without the setting.
    let bare = domain("mdev1", &property(&scene, "mdev1", "Uuid"), &metadata);
    goes_on(&hook(&scene, "mdev1", "prepare", "begin", &bare), "");
    // Whatever the setting: what is no start is not refused.
    let xml = domain("mdev2", &uuid, &metadata);
    for (operation, suboperation) in
        [("reconnect", "begin"), ("started", "begin"), ("stopped", "end"), ("release", "end")]
    {
        goes_on(&hook(&scene, "mdev2", operation, suboperation, &xml), "");
    }
}

#[test]
fn a_desktop_that_only_the_configuration_knows_is_asked_about() {
    let scene = Scene::new();
    let host = scene.write("host.toml", HOST);
    let mut command = scene.simulated(CONFIG, host);
    let _daemon = start(command.args(["--speed", "0.001"]).env("RUNTIME_DIRECTORY", scene.folder()));
    let bare = domain("mdev2", &property(&scene, "mdev2", "Uuid"), "");
    let Ran { code, err, .. } = hook(&scene, "mdev2", "prepare", "begin", &bare);
    assert!(code == Some(1) && err.contains("missing-gpu = \"block\" lets mdev2 not start"), "{err}");
    // Nobody else notices.
    let other = domain("other", "11111111-2222-3333-4444-555555555555", "");
    goes_on(&hook(&scene, "other", "prepare", "begin", &other), "");
}

#[test]
fn a_definition_from_elsewhere_is_printed_with_a_device_of_this_host() {
    let scene = Scene::new();
    let _daemon = daemon(&scene, "0.001");
    let uuid = property(&scene, "vf1", "Uuid");
    let foreign = domain("vf1", &uuid, &hostdev("0000:af:00.4"));
    for operation in ["migrate", "restore"] {
        let ran = hook(&scene, "vf1", operation, "begin", &foreign);
        let note = format!(
            "headstart-qemu-hook: vf1: {operation}: 0000:3b:00.1 of this host takes the place of 0000:af:00.4\n"
        );
        assert_eq!((ran.code, ran.err), (Some(0), note));
        assert_eq!(ran.out, domain("vf1", &uuid, &hostdev("0000:3b:00.1")), "every other byte as it was");
    }
    // One that fits already, one that is nobody's, one that is not ours.
    let home = domain("vf1", &uuid, &hostdev("0000:3b:00.1"));
    goes_on(&hook(&scene, "vf1", "migrate", "begin", &home), "");
    let stranger = domain("guest", "11111111-2222-3333-4444-555555555555", &hostdev("0000:af:00.4"));
    goes_on(&hook(&scene, "guest", "migrate", "begin", &stranger), "");
    let other = stranger.replace("ua-headstart-vgpu", "hostdev0");
    goes_on(&hook(&scene, "guest", "migrate", "begin", &other), "");
}

#[test]
fn xml_that_is_no_domain_is_told_by_the_daemon() {
    let scene = Scene::new();
    let _daemon = daemon(&scene, "0.001");
    for (xml, why) in [
        ("<network><!-- ua-headstart-0 --></network>", "its XML is not a domain's: it begins with <network>"),
        ("<domain><name>ua-headstart-0</name></domain>", "its XML is not a domain's: it lacks <uuid>"),
    ] {
        let want = format!("headstart-qemu-hook: vm1: prepare: {why}; it goes on without headstart\n");
        goes_on(&hook(&scene, "vm1", "prepare", "begin", xml), &want);
    }
    let ran = hook(&scene, "vm1", "migrate", "begin", "ua-headstart-0 <domain>");
    assert!(ran.code == Some(0) && ran.out.is_empty() && ran.err.contains("its XML cannot be read"), "{ran:?}");
}

/// As libvirt chains the scripts of a hook: what one prints is the next one's input; what prints nothing leaves it as it was; the
/// first that fails ends it.
#[test]
fn it_stands_between_other_hooks() {
    let scene = Scene::new();
    let _daemon = daemon(&scene, "0.001");
    let uuid = property(&scene, "vf1", "Uuid");
    scene.write("10-before", "sed 's|<name>vf1</name>|<name>vf1</name><title>before</title>|'");
    scene.write("90-after", "grep -q before && grep -c . >/dev/null; exit 0");
    scene.write("99-last", "sed 's|</domain>|<!-- after --></domain>|'");
    let mut xml = domain("vf1", &uuid, &hostdev("0000:af:00.4"));
    for script in ["10-before", "50-headstart", "90-after", "99-last"] {
        let ran = if script == "50-headstart" {
            hook(&scene, "vf1", "migrate", "begin", &xml)
        } else {
            run(std::process::Command::new("sh").arg(scene.path(script)), xml.as_bytes())
        };
        assert_eq!(ran.code, Some(0), "{script}: {}", ran.err);
        if !ran.out.is_empty() {
            xml = ran.out;
        }
    }
    for part in ["<title>before</title>", "bus='0x3b' slot='0x00' function='0x1'", "<!-- after -->"] {
        assert!(xml.contains(part), "{part}: {xml}");
    }
    assert!(!xml.contains("bus='0xaf'"), "{xml}");
}
