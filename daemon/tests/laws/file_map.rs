//! ARCHITECTURE.md names every module file that exists, and none that does not.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::source::{files, root};

/// The code map: for each folder at the margin, the files and folders named under it. A folder of which nothing is named stands for all
/// that is in it.
fn map() -> Vec<(String, BTreeSet<String>)> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let section = text.split("## Code map").nth(1).and_then(|rest| rest.split("```").nth(1)).unwrap();
    let mut map: Vec<(String, BTreeSet<String>)> = Vec::new();
    for line in section.lines().filter(|line| !line.trim().is_empty()) {
        let words = || line.split_whitespace().map(|word| word.trim_end_matches([',', ';', ':', '.']));
        let is_source = |word: &str| Path::new(word).extension().is_some_and(|extension| extension == "rs");
        if line.starts_with(' ') {
            let (_, named) = map.last_mut().unwrap();
            let first = words().take_while(|word| word.ends_with('/') || is_source(word));
            // Beside the first words, a file may be named where it is explained.
            named.extend(first.chain(words().filter(|word| is_source(word))).map(str::to_owned));
        } else {
            for folder in words().filter(|word| word.ends_with('/')) {
                map.push((folder.to_owned(), BTreeSet::new()));
            }
        }
    }
    map
}

#[test]
fn the_code_map_is_complete_and_true() {
    let map = map();
    let mut wrong = Vec::new();
    for (folder, named) in map.iter().filter(|(_, named)| !named.is_empty()) {
        let covers =
            |file: &str| named.iter().any(|name| file == name || (name.ends_with('/') && file.starts_with(name)));
        for file in files(folder.trim_end_matches('/'), ".rs") {
            let within = file.strip_prefix(folder).unwrap();
            if within != "lib.rs" && !covers(within) {
                wrong.push(format!("{file} is not named"));
            }
        }
        let there = |name: &&String| root().join(folder).join(name).exists();
        wrong.extend(named.iter().filter(|name| !there(name)).map(|name| format!("{folder}{name} is not there")));
    }
    for folder in map.iter().map(|(folder, _)| folder).filter(|folder| !root().join(folder).exists()) {
        wrong.push(format!("{folder} is not there"));
    }
    let folders: BTreeSet<&str> = map.iter().map(|(folder, _)| folder.as_str()).collect();
    for folder in ["daemon/src/", "daemon/core/src/", "daemon/command/src/", "daemon/tests/", "hooks/", "tests/it/"] {
        if !folders.contains(folder) && root().join(folder).exists() {
            wrong.push(format!("{folder} is not on the map"));
        }
    }
    assert!(wrong.is_empty(), "the code map of ARCHITECTURE.md is not right: {wrong:#?}");
}
