//! Sources of this repository, read as tokens: which paths they name, without comments, documentation and tests.
//!
//! Tokens and not text, so that a word in a comment is no import; not a syntax tree, since macros have none.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// One source file.
#[derive(Debug)]
pub(super) struct Source {
    /// Below the repository's root: `daemon/src/main.rs`.
    pub(super) file: String,
    /// Everything of the form `a::b::c`, groups of imports spread out; a word by itself is one too.
    pub(super) paths: BTreeSet<String>,
    /// String literals, as written.
    pub(super) texts: Vec<String>,
}

/// The repository's root.
pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// All files of this ending below a folder of the repository, in order; none if there is no such folder.
pub(super) fn files(folder: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(root().join(folder)) else { return found };
    for entry in entries {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{folder}/{name}");
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&path, ending));
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The sources below a folder, without those that are tests.
pub(super) fn sources(folder: &str) -> Vec<Source> {
    let all = files(folder, ".rs").into_iter();
    all.filter(|file| !file.contains("/tests/") && !file.ends_with("/tests.rs")).map(Source::read).collect()
}

impl Source {
    fn read(file: String) -> Self {
        let text = fs::read_to_string(root().join(&file)).unwrap();
        let mut source = Self { file, paths: BTreeSet::new(), texts: Vec::new() };
        source.walk(text.parse().unwrap());
        source
    }

    fn walk(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    at += 1;
                    at += usize::from(matches!(&tokens[at], TokenTree::Punct(punct) if punct.as_char() == '!'));
                    if tokens[at].to_string().replace(' ', "") == "[cfg(test)]" {
                        at = end_of_item(&tokens, at + 1);
                    }
                }
                // A lifetime.
                TokenTree::Punct(punct) if punct.as_char() == '\'' => at += 1,
                TokenTree::Ident(_) => at = self.path(&tokens, at, String::new()),
                TokenTree::Group(group) => self.walk(group.stream()),
                TokenTree::Literal(literal) => {
                    let text = literal.to_string();
                    if text.ends_with(['"', '#']) {
                        self.texts.push(text);
                    }
                }
                TokenTree::Punct(_) => {}
            }
            at += 1;
        }
    }

    /// Takes the path that begins at `at` and says where its last token is.
    fn path(&mut self, tokens: &[TokenTree], mut at: usize, mut path: String) -> usize {
        loop {
            path.push_str(&tokens[at].to_string());
            if !is_colons(tokens, at + 1) {
                break;
            }
            match tokens.get(at + 3) {
                Some(TokenTree::Ident(_)) => path.push_str("::"),
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    self.group(group.stream(), &format!("{path}::"));
                    return at + 3;
                }
                _ => break,
            }
            at += 3;
        }
        self.paths.insert(path);
        at
    }

    /// The inside of `use a::{…}`.
    fn group(&mut self, tokens: TokenStream, prefix: &str) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Ident(ident) if ident == "self" => {
                    self.paths.insert(prefix.trim_end_matches("::").to_owned());
                }
                TokenTree::Ident(_) => at = self.path(&tokens, at, prefix.to_owned()),
                _ => {}
            }
            at += 1;
        }
    }

    /// Whether it names this, or something in it.
    pub(super) fn names(&self, path: &str) -> bool {
        let inside = format!("{path}::");
        self.paths.iter().any(|named| named == path || named.starts_with(&inside))
    }

    /// Whether this word is part of any path.
    pub(super) fn says(&self, word: &str) -> bool {
        self.paths.iter().any(|path| path.split("::").any(|part| part == word))
    }
}

fn is_colons(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    colon(at) && colon(at + 1)
}

/// The last token of the item that begins at `at`, attributes included.
fn end_of_item(tokens: &[TokenTree], at: usize) -> usize {
    let ends = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        _ => false,
    };
    let length = tokens[at.min(tokens.len())..].iter().position(ends);
    length.map_or(tokens.len(), |length| at + length)
}

#[test]
fn tokens_tell_imports_from_words() {
    let text = r#"
        /// std::fs
        use std::{collections::{BTreeMap, self}, sync::Arc as Shared};
        #[cfg(test)]
        mod tests { use std::env; }
        fn f() { tracing::info!("/sys/bus {}", zbus::fdo::NAME); x.fit(1); }
    "#;
    let mut source = Source { file: String::new(), paths: BTreeSet::new(), texts: Vec::new() };
    source.walk(text.parse().unwrap());
    for path in ["std::collections::BTreeMap", "std::collections", "std::sync::Arc", "zbus", "tracing::info", "fit"] {
        assert!(source.names(path), "{path} of {:?}", source.paths);
    }
    assert!(!source.names("std::fs") && !source.names("std::env") && source.says("fdo"));
    assert_eq!(source.texts, [r#""/sys/bus {}""#]);
}
