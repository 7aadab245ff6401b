//! Invariant 1: the core does no I/O, reads no clock, has no randomness, no lock, no async, no unordered map.
//!
//! Its `clippy.toml` bans calls; here are whole families, and the manifest, which clippy does not read.

use std::collections::BTreeSet;
use std::fs;

use super::source::{root, sources};

const CORE: &str = "daemon/core/src";

/// All that the core may depend on, and the features that would let it look at the world.
const DEPENDENCIES: &[(&str, &[&str])] = &[
    ("jiff", &["tzdb-zoneinfo", "js"]),
    ("linfa", &[]),
    ("linfa-logistic", &[]),
    ("ndarray", &["rayon"]),
    ("serde", &[]),
    ("thiserror", &[]),
    ("uuid", &["v1", "v4", "v6", "v7", "fast-rng", "rng-rand", "rng-getrandom"]),
    ("smol_str", &[]),
    ("wide", &["std"]),
];

/// Paths that the core does not name.
const PATHS: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::path",
    "std::process",
    "std::sync::atomic",
    "std::sync::mpsc",
    "std::task",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "jiff::Timestamp::now",
    "jiff::Zoned::now",
    "jiff::tz::TimeZone::system",
    "tokio",
];

/// Words that appear in none of its paths.
const WORDS: &[&str] = &[
    "HashMap",
    "HashSet",
    "RandomState",
    "Mutex",
    "RwLock",
    "OnceLock",
    "LazyLock",
    "Condvar",
    "RefCell",
    "Cell",
    "Instant",
    "SystemTime",
    "async",
    "await",
    "static",
    "unsafe",
    "thread_local",
    "rand",
    "new_v4",
    "println",
    "eprintln",
    "dbg",
];

#[test]
fn the_core_names_nothing_of_the_world() {
    let sources = sources(CORE);
    assert!(sources.len() > 20, "{CORE}: only {} sources were found", sources.len());
    let mut named = Vec::new();
    for source in &sources {
        named.extend(PATHS.iter().filter(|path| source.names(path)).map(|path| format!("{}: {path}", source.file)));
        named.extend(WORDS.iter().filter(|word| source.says(word)).map(|word| format!("{}: {word}", source.file)));
    }
    assert!(named.is_empty(), "the core is pure (ARCHITECTURE.md, invariant 1), and this is not: {named:#?}");
}

#[test]
fn the_core_depends_on_nothing_of_the_world() {
    let manifest = |path: &str| fs::read_to_string(root().join(path)).unwrap().parse::<toml::Table>().unwrap();
    let (core, workspace) = (manifest("daemon/core/Cargo.toml"), manifest("Cargo.toml"));
    let depends: BTreeSet<&str> = core["dependencies"].as_table().unwrap().keys().map(String::as_str).collect();
    let may: BTreeSet<&str> = DEPENDENCIES.iter().map(|(name, _)| *name).collect();
    assert_eq!(depends, may, "a dependency of the core is argued in its manifest and listed here");
    assert!(!core.contains_key("build-dependencies") && !core.contains_key("target"));
    for (name, forbidden) in DEPENDENCIES {
        for table in [&core["dependencies"][name], &workspace["workspace"]["dependencies"][name]] {
            let features = table.get("features").and_then(toml::Value::as_array).cloned().unwrap_or_default();
            let bad: Vec<&toml::Value> =
                features.iter().filter(|f| forbidden.contains(&f.as_str().unwrap_or_default())).collect();
            assert!(bad.is_empty(), "{name} must not have the features {bad:?}");
        }
    }
}
