//! Patterns of desktop names: `*` is any text, `?` any one character, everything else itself.

use std::fmt;

use headstart_core::id::DesktopName;

/// A pattern over desktop names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern(String);

impl NamePattern {
    /// The pattern with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether the whole name fits.
    pub fn matches(&self, name: &DesktopName) -> bool {
        let pattern: Vec<char> = self.0.chars().collect();
        let name: Vec<char> = name.as_str().chars().collect();
        let (mut p, mut n) = (0, 0);
        // Where to go on if the last star took one character too few; each star is tried anew only from its own place,
        // so the time is at most the product of the lengths.
        let mut retry: Option<(usize, usize)> = None;
        while n < name.len() {
            match pattern.get(p) {
                Some('*') => {
                    retry = Some((p, n));
                    p += 1;
                }
                Some(c) if *c == '?' || *c == name[n] => {
                    p += 1;
                    n += 1;
                }
                _ => {
                    let Some((star, taken)) = retry else { return false };
                    retry = Some((star, taken + 1));
                    p = star + 1;
                    n = taken + 1;
                }
            }
        }
        pattern[p..].iter().all(|c| *c == '*')
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        let fits = |pattern: &str, name: &str| NamePattern::new(pattern).matches(&DesktopName::new(name).unwrap());
        for (pattern, name) in [
            ("*", "a"),
            ("win-*", "win-7"),
            ("win-*", "win-"),
            ("*-7", "win-7"),
            ("w?n", "win"),
            ("a*b*c", "aXbYbZc"),
            ("ä?", "äö"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("win-*", "lin-7"), ("w?n", "wn"), ("win", "win7"), ("*a", "b"), ("a*b*c", "aXc")] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        let pattern = NamePattern::new("*a".repeat(60) + "b");
        assert!(!pattern.matches(&DesktopName::new("a".repeat(255)).unwrap()));
    }
}
