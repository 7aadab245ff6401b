//! Invariant 9: one module each knows `/sys`, libvirt, D-Bus, TOML; the simulator uses the core's types and none of its decisions. And the
//! direction of imports: core ◄─ host, store, config ◄─ reconcile ◄─ monitor, bus ◄─ main.
//!
//! Tables: a new module, or a new thing that one module is to know, is a line.

use super::source::{Source, sources};

/// Something that only some modules know.
#[derive(Clone, Copy, Debug)]
enum Thing {
    /// A crate or a path.
    Path(&'static str),
    /// A string literal that begins so.
    Text(&'static str),
}
use Thing::{Path, Text};

/// Where sources lie.
const FOLDERS: &[&str] = &["daemon/core/src", "daemon/src", "daemon/command/src", "hooks"];

/// Who may know what: files, or folders with all that is below.
const KNOWS: &[(Thing, &[&str])] = &[
    (Path("zbus"), &["daemon/src/bus.rs", "daemon/src/bus/", "daemon/command/src/", "hooks/"]),
    (Path("toml"), &["daemon/src/config.rs", "daemon/src/config/"]),
    (Path("calcard"), &["daemon/src/calendar/"]),
    (Path("rusqlite"), &["daemon/src/store.rs", "daemon/src/store/"]),
    (Path("utmp_rs"), &["daemon/src/store/wtmp.rs"]),
    (Path("virt"), &["daemon/src/host/libvirt.rs", "daemon/src/host/libvirt/"]),
    (Path("sd_notify"), &["daemon/src/systemd.rs", "daemon/src/main.rs"]),
    (Path("tracing_journald"), &["daemon/src/log.rs"]),
    (Path("clap"), &["daemon/src/main.rs", "daemon/command/src/"]),
    (Path("anyhow"), &["daemon/src/main.rs", "daemon/command/src/", "hooks/"]),
    (Text("/sys"), &["daemon/src/host/sysfs.rs"]),
    // Places below the root folder; whoever names one has it opened by `SysfsRoot`. What a host looks like is captured without us.
    (Text("sys/"), &["daemon/src/host/", "daemon/command/src/capture/"]),
    (Text("/proc"), &["daemon/src/host/sysfs.rs", "daemon/src/host/libvirt.rs", "daemon/src/host/libvirt/"]),
    (
        Text("/dev/"),
        &[
            "daemon/src/host/sysfs.rs",
            "daemon/src/host/holders.rs",
            "daemon/src/host/sriov/nvidia.rs",
            "daemon/command/src/capture/",
        ],
    ),
    (
        Text("qemu:///"),
        &["daemon/src/host/libvirt.rs", "daemon/src/host/libvirt/", "daemon/src/config.rs", "daemon/src/config/"],
    ),
];

/// Which modules of the daemon each of them may import.
const IMPORTS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("log", &[]),
    ("status", &[]),
    ("trace_file", &[]),
    ("message", &[]),
    ("systemd", &["status"]),
    ("store", &["trace_file"]),
    ("config", &["status", "store"]),
    ("calendar", &["config"]),
    ("host", &["clock", "config"]),
    ("simulation", &["clock", "config", "host", "reconcile", "trace_file"]),
    ("reconcile", &["calendar", "clock", "config", "host", "message", "simulation", "status", "store", "systemd"]),
    ("bus", &["host", "message", "status"]),
    ("history_port", &["bus", "reconcile", "store"]),
    ("host_port", &["bus", "host"]),
    ("monitor", &["message"]),
    ("world", &["bus", "clock", "config", "host", "host_port", "message", "reconcile", "simulation"]),
];

/// What the host's adapters and the simulator do not use of the core: its decisions.
const DECISIONS: &[&str] = &[
    "headstart_core::plan",
    "headstart_core::forecast",
    "headstart_core::chance",
    "headstart_core::check",
    "headstart_core::policy",
    "headstart_core::step::next_steps",
    "headstart_core::observed::tenure",
    "fit",
];

fn all() -> Vec<Source> {
    FOLDERS.iter().flat_map(|folder| sources(folder)).collect()
}

fn is_in(file: &str, places: &[&str]) -> bool {
    places.iter().any(|place| file == *place || (place.ends_with('/') && file.starts_with(place)))
}

impl Thing {
    fn is_known_by(self, source: &Source) -> bool {
        match self {
            Path(path) => source.names(path),
            Text(text) => source
                .texts
                .iter()
                .any(|literal| literal.trim_start_matches(['r', 'c', 'b', '#', '"']).starts_with(text)),
        }
    }
}

#[test]
fn one_module_each_knows_the_world() {
    let sources = all();
    for (thing, places) in KNOWS {
        let knowing: Vec<&str> =
            sources.iter().filter(|source| thing.is_known_by(source)).map(|source| source.file.as_str()).collect();
        let others: Vec<&&str> = knowing.iter().filter(|file| !is_in(file, places)).collect();
        assert!(others.is_empty(), "{thing:?} is the affair of {places:?}, and of nobody else: {others:?}");
        // A module that is there and does not know its thing would make the line idle.
        let there = sources.iter().any(|source| matches!(thing, Path(_)) && is_in(&source.file, places));
        assert!(!there || !knowing.is_empty(), "nobody knows {thing:?}: is its line still right?");
    }
}

#[test]
fn imports_go_in_one_direction() {
    let sources = sources("daemon/src");
    let library = sources.iter().find(|source| source.file == "daemon/src/lib.rs").unwrap();
    let modules: Vec<&str> = IMPORTS.iter().map(|(module, _)| *module).collect();
    for source in sources.iter().filter(|source| !["daemon/src/lib.rs", "daemon/src/main.rs"].contains(&&*source.file))
    {
        let path = source.file.trim_start_matches("daemon/src/").trim_end_matches(".rs");
        let module = path.split('/').next().unwrap_or_default();
        let line = IMPORTS.iter().find(|(name, _)| *name == module);
        let (_, may) =
            line.unwrap_or_else(|| panic!("{}: module {module} has no line in the table of imports", source.file));
        assert!(library.says(module), "{module} is not in lib.rs");
        for other in &modules {
            let imports = source.names(&format!("crate::{other}")) || source.names(&format!("headstartd::{other}"));
            assert!(
                !imports || *other == module || may.contains(other),
                "{}: {module} does not import {other}",
                source.file
            );
        }
    }
    for (at, (module, may)) in IMPORTS.iter().enumerate() {
        // In order, so that there is no circle; what a simulation replays is kept where it is learned.
        let later = may.iter().find(|other| modules[at..].contains(other));
        assert!(later.is_none() || *module == "simulation", "{module} imports {later:?}, which comes later");
    }
}

#[test]
fn adapters_and_the_simulator_decide_nothing() {
    let sources = sources("daemon/src/host");
    assert!(!sources.is_empty());
    for source in &sources {
        let used: Vec<&&str> = DECISIONS.iter().filter(|decision| source.names(decision)).collect();
        assert!(used.is_empty(), "{} uses decisions of the core: {used:?}", source.file);
    }
}
