//! A TOML file read strictly: every key must be known, every value of its kind and in its range, and every complaint
//! says file, line, column, what was expected and what was found.
//!
//! serde would stop at the first mistake of a file and name types of Rust; people who edit a file want all mistakes at
//! once, in their words. What the keys mean is the callers' business.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A place in a file; lines and columns (in characters) count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct Place {
    file: Arc<str>,
    line: usize,
    column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::config) struct At<T> {
    pub(in crate::config) value: T,
    pub(in crate::config) place: Place,
}

/// What is wrong with one place of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct Problem(pub(in crate::config) String);

impl Problem {
    pub(in crate::config) fn at(place: &Place, what: &dyn fmt::Display) -> Self {
        Self(format!("{place}: {what}"))
    }
}

/// The text of a file under examination, and what was found so far.
pub(in crate::config) struct Document<'t> {
    file: Arc<str>,
    text: &'t str,
    problems: RefCell<Vec<(Place, Problem)>>,
    asked: RefCell<BTreeSet<String>>,
}

impl<'t> Document<'t> {
    pub(in crate::config) fn new(file: &Path, text: &'t str) -> Self {
        let file = file.display().to_string().into();
        Self { file, text, problems: RefCell::default(), asked: RefCell::default() }
    }

    /// Hands the top of the document to `read`; none if it is no TOML. A byte order mark is passed over.
    pub(in crate::config) fn read<T>(&self, read: impl FnOnce(&Section) -> T) -> Option<T> {
        match DeTable::parse(self.text) {
            Ok(table) => {
                let top = Section {
                    document: self,
                    name: String::new(),
                    table: table.get_ref(),
                    known: RefCell::default(),
                    place: self.place(0),
                };
                let value = read(&top);
                top.complain_about_unknown_keys();
                Some(value)
            }
            Err(error) => {
                let place = self.place(error.span().map_or(0, |span| span.start));
                self.problem(&place, &error.message().trim_end());
                None
            }
        }
    }

    /// All that is wrong, in the order of the file.
    pub(in crate::config) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|(place, _)| (place.line, place.column));
        problems.into_iter().map(|(_, problem)| problem).collect()
    }

    /// Every key that a reader asked for, `section.key`: for the test that walks them all.
    #[cfg(test)]
    pub(in crate::config) fn asked(&self) -> BTreeSet<String> {
        self.asked.borrow().clone()
    }

    pub(in crate::config) fn problem(&self, place: &Place, what: &dyn fmt::Display) {
        self.problems.borrow_mut().push((place.clone(), Problem::at(place, what)));
    }

    fn place(&self, at: usize) -> Place {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |text| text.chars().count()) + 1;
        Place { file: Arc::clone(&self.file), line, column }
    }
}

/// A table of the document whose keys are read one by one. What is left unread at the end is unknown.
pub(in crate::config) struct Section<'d> {
    document: &'d Document<'d>,
    name: String,
    table: &'d DeTable<'d>,
    known: RefCell<Vec<&'static str>>,
    place: Place,
}

impl<'d> Section<'d> {
    /// Where the section begins.
    pub(in crate::config) fn place(&self) -> &Place {
        &self.place
    }

    /// Whether a key is there, be its value right or wrong.
    pub(in crate::config) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Where the value of a key is; the section's place if it is not there.
    pub(in crate::config) fn place_of(&self, key: &str) -> Place {
        self.table.get(key).map_or_else(|| self.place.clone(), |value| self.document.place(value.span().start))
    }

    /// Something is wrong here.
    pub(in crate::config) fn problem(&self, place: &Place, what: &dyn fmt::Display) {
        self.document.problem(place, what);
    }

    /// A value; none if it is not there, or wrong, which was then noted.
    pub(in crate::config) fn get<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&DeValue) -> Result<T, String>,
    ) -> Option<At<T>> {
        let value = self.value(key)?;
        let place = self.document.place(value.span().start);
        match parse(value.get_ref()) {
            Ok(value) => Some(At { value, place }),
            Err(what) => {
                self.problem(&place, &format_args!("{}: {what}", self.full(key)));
                None
            }
        }
    }

    /// A value that must be there.
    pub(in crate::config) fn need<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&DeValue) -> Result<T, String>,
    ) -> Option<At<T>> {
        if !self.table.contains_key(key) {
            self.problem(&self.place, &format_args!("{} lacks the key `{key}`", self.title()));
        }
        self.get(key, parse)
    }

    /// Hands the table below a key to `read`, if it is there.
    pub(in crate::config) fn section<T>(&self, key: &'static str, read: impl FnOnce(&Section) -> T) -> Option<T> {
        let value = self.value(key)?;
        self.enter(key, value, read)
    }

    /// Hands each table of a list of tables to `read`.
    pub(in crate::config) fn sections<T>(&self, key: &'static str, mut read: impl FnMut(&Section) -> T) -> Vec<T> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(list) = value.get_ref().as_array() else {
            let place = self.document.place(value.span().start);
            let full = self.full(key);
            self.problem(
                &place,
                &format_args!("{full}: expected tables, each under [[{full}]], found {}", kind(value)),
            );
            return Vec::new();
        };
        list.iter().filter_map(|value| self.enter(key, value, &mut read)).collect()
    }

    fn enter<T>(&self, key: &'static str, value: &Spanned<DeValue>, read: impl FnOnce(&Section) -> T) -> Option<T> {
        let place = self.document.place(value.span().start);
        let Some(table) = value.get_ref().as_table() else {
            self.problem(&place, &format_args!("{}: expected a table, found {}", self.full(key), kind(value)));
            return None;
        };
        let section =
            Section { document: self.document, name: self.full(key), table, known: RefCell::default(), place };
        let value = read(&section);
        section.complain_about_unknown_keys();
        Some(value)
    }

    fn value(&self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.known.borrow_mut().push(key);
        self.document.asked.borrow_mut().insert(self.full(key));
        self.table.get(key)
    }

    fn complain_about_unknown_keys(&self) {
        let known = self.known.borrow();
        for (key, _) in self.table.iter().filter(|(key, _)| !known.contains(&key.get_ref().as_ref())) {
            let place = self.document.place(key.span().start);
            let hint = suggest(key.get_ref(), known.iter().copied());
            self.problem(&place, &format_args!("unknown key `{}`{}{hint}", key.get_ref(), self.within()));
        }
    }

    fn full(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn title(&self) -> String {
        if self.name.is_empty() { "the file".to_owned() } else { format!("[{}]", self.name) }
    }

    fn within(&self) -> String {
        if self.name.is_empty() { String::new() } else { format!(" in [{}]", self.name) }
    }
}

/// `; did you mean `x`?` if a known word is near, else all that are known.
pub(crate) fn suggest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    known.dedup();
    let near = known
        .iter()
        .map(|candidate| {
            (strsim::jaro_winkler(&word.to_lowercase().replace('_', "-"), &candidate.to_lowercase()), candidate)
        })
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.8);
    match near {
        Some((_, candidate)) => format!("; did you mean `{candidate}`?"),
        None if known.is_empty() => String::new(),
        None => format!("; known are {}", words(&known)),
    }
}

/// `` `a`, `b` and `c` ``.
pub(in crate::config) fn words(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// What kind of value was found, in words.
pub(in crate::config) fn kind(value: &Spanned<DeValue>) -> &'static str {
    super::value::kind(value.get_ref())
}
