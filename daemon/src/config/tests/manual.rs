//! headstart.toml(5) against the reader: the same keys, the same defaults, the same ranges, and examples that are good.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const MANUAL: &str = include_str!("../../../../packaging/man/headstart.toml.5");

/// A key of the manual.
struct Item {
    /// In brackets, as in the file; empty at its top.
    table: String,
    key: String,
    /// The line as it would stand in the file.
    line: String,
    /// What is said of it, in one line.
    text: String,
}

impl Item {
    /// `section.key`, as the reader calls it.
    fn full(&self) -> String {
        let section = self.table.trim_matches(['[', ']']);
        if section.is_empty() { self.key.clone() } else { format!("{section}.{}", self.key) }
    }

    fn is_example(&self) -> bool {
        // Without a default: entries, and what there is a goal only if one is set.
        self.table.starts_with("[[") || ["idle-budget", "target-hit-rate"].contains(&&*self.key)
    }

    /// A file that sets this key alone, to `line`.
    fn file(&self, line: &str) -> String {
        // What each entry must say, unless this is it.
        let more = match (&*self.table, &*self.key) {
            ("[[desktop]]" | "[[gpu.profiles]]", "name") | ("[[gpu]]", "address" | "vendor" | "driver") => "",
            ("[[desktop]]" | "[[gpu.profiles]]", _) => "name = \"x\"\n",
            ("[[calendar]]", "path") => "kind = \"leave\"\n",
            ("[[calendar]]", "kind") => "path = \"/x\"\n",
            ("[[calendar]]", _) => "path = \"/x\"\nkind = \"leave\"\n",
            ("[[gpu]]", "device") => "vendor = 0x10de\n",
            ("[[gpu]]", _) => "address = \"0000:3b:00.0\"\n",
            _ => "",
        };
        let within = if self.table == "[[gpu.profiles]]" { "[[gpu]]\nvendor = 0x10de\n" } else { "" };
        format!("{within}{}\n{more}{line}\n", self.table)
    }
}

/// Text as it is read, without the escapes of roff.
fn plain(line: &str) -> String {
    line.replace("\\(dq", "\"").replace("\\(aq", "'").replace("\\-", "-").replace("\\&", "")
}

/// Every `.It Ic` of the section KEYS, with the table of the `.Ss` line above it.
fn items() -> Vec<Item> {
    let keys =
        MANUAL.split(".Sh ").find_map(|section| section.strip_prefix("KEYS\n")).expect("there is a section KEYS");
    let (mut items, mut table) = (Vec::<Item>::new(), String::new());
    for line in keys.lines() {
        if let Some(heading) = line.strip_prefix(".Ss ") {
            table = heading.split(' ').find(|word| word.starts_with('[')).unwrap_or_default().to_owned();
        } else if let Some(setting) = line.strip_prefix(".It Ic ") {
            let line = plain(setting);
            let key = line.split(" = ").next().expect("a split has a first part").to_owned();
            items.push(Item { table: table.clone(), key, line, text: String::new() });
        } else if let Some(item) = items.last_mut() {
            item.text = format!("{} {}", item.text, plain(line));
        }
    }
    items
}

#[test]
fn the_manual_has_every_key_and_no_other() {
    // A section is a key to the reader, too.
    let settings: BTreeSet<String> = keys().into_iter().collect();
    let sections: BTreeSet<String> =
        items().iter().map(|item| item.table.trim_matches(['[', ']']).to_owned()).collect();
    let told: BTreeSet<String> = items().iter().map(Item::full).chain(sections).filter(|key| !key.is_empty()).collect();
    assert_eq!(told, settings);
    assert_eq!(items().len(), items().iter().map(Item::full).collect::<BTreeSet<_>>().len(), "a key is there twice");
}

#[test]
fn its_defaults_are_the_defaults_and_its_examples_are_good() {
    let mut tables: BTreeMap<String, String> = BTreeMap::new();
    for item in items() {
        if item.is_example() {
            parse(&item.file(&item.line)).unwrap_or_else(|errors| panic!("{}: {errors}", item.line));
        } else {
            let lines = tables.entry(item.table.clone()).or_default();
            *lines = format!("{lines}{}\n", item.line);
        }
    }
    let tables: Vec<String> = tables.into_iter().map(|(table, lines)| format!("{table}\n{lines}")).collect();
    let file = tables.join("\n");
    assert_eq!(parse(&file).unwrap(), Config::default(), "{file}");
    let shown: Vec<String> =
        MANUAL.split(".Bd -literal").skip(1).map(|block| plain(block.split(".Ed").next().unwrap())).collect();
    assert_eq!(shown.len(), 3);
    for block in shown {
        let file = block.split_once('\n').unwrap().1;
        if file.starts_with("virsh metadata ") {
            let element = file.split('\'').nth(1).unwrap();
            let found = crate::host::desktop_xml::parse(element.trim());
            assert!(found.settings.is_some() && found.mistakes.is_empty(), "{element}: {:?}", found.mistakes);
            assert!(file.contains(crate::host::desktop_xml::NAMESPACE) && file.contains("--key headstart"));
            continue;
        }
        parse(file).unwrap_or_else(|errors| panic!("{file}: {errors}"));
    }
}

/// A value of the wrong kind makes the reader say its range: `expected a length of time from "1 min" to "7 days", ...`.
#[test]
fn its_ranges_are_the_ranges() {
    let mut ranges = 0;
    for item in items() {
        let refusal =
            parse(&item.file(&format!("{} = {{ x = 1 }}", item.key))).unwrap_err().to_string().replace('"', "");
        let Some((_, range)) = refusal.split_once(" from ") else { continue };
        let range = format!("from {}", range.split(',').next().unwrap());
        assert!(item.text.contains(&range), "{}: the manual does not say {range:?}:{}", item.full(), item.text);
        ranges += 1;
    }
    assert_eq!(ranges, 20, "thresholds, lengths of time and numbers have ranges");
}

/// The words that a key takes, each of them.
#[test]
fn its_words_are_the_words() {
    for (key, words) in [("mode", &["shadow", "armed"][..]), ("desktop.attach", &["cold", "live", "request"])] {
        let item = items().into_iter().find(|item| item.full() == key).unwrap();
        for word in words {
            parse(&item.file(&format!("{} = \"{word}\"", item.key))).unwrap();
            assert!(item.text.contains(&format!(".Ql {word} ")), "{key}: {word} is not told:{}", item.text);
        }
        let refusal = parse(&item.file(&format!("{} = 1", item.key))).unwrap_err().to_string();
        assert_eq!(refusal.matches('"').count(), 2 * words.len(), "the reader knows other words: {refusal}");
    }
}
