//! The CSV form of who belongs to which group: `user,group`, a user once.
//!
//! Not here: opening files, which is the shell's, and what is learned of a group ([`crate::history`]).

use crate::id::{BadId, GroupName, UserName};
use crate::trace;

/// The header every such file begins with.
pub const HEADER: &str = "user,group";

/// Why a row cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMember {
    /// Not the header.
    #[error("the first line must be `{HEADER}`, not {0:?}")]
    Header(String),
    /// Too few columns.
    #[error("{0} column where 2 are needed: {HEADER}")]
    Columns(usize),
    /// A name is not acceptable.
    #[error(transparent)]
    Name(#[from] BadId),
}

/// Checks the first line.
///
/// # Errors
/// It is not [`HEADER`] (a byte order mark before it and columns after it are accepted).
pub fn check_header(line: &str) -> Result<(), BadMember> {
    if trace::is_header(line, HEADER) { Ok(()) } else { Err(BadMember::Header(line.trim().chars().take(80).collect())) }
}

/// Reads one line after the header.
///
/// # Errors
/// Says what is wrong; the caller adds file and line.
pub fn parse_row(line: &str) -> Result<(UserName, GroupName), BadMember> {
    let mut columns = line.split(',').map(str::trim);
    let (Some(user), Some(group)) = (columns.next(), columns.next()) else { return Err(BadMember::Columns(1)) };
    Ok((UserName::new(user)?, GroupName::new(group)?))
}

/// Writes one row, as [`parse_row`] reads it.
pub fn format_row(user: &UserName, group: &GroupName) -> String {
    format!("{user},{group}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_and_bad_ones_refused() {
        let (user, group) = parse_row("u01, design ,a note\r\n").unwrap();
        assert_eq!(format_row(&user, &group), "u01,design");
        let error = |line: &str| parse_row(line).unwrap_err().to_string();
        assert_eq!(error("u01"), "1 column where 2 are needed: user,group");
        assert_eq!(error("u01,"), "group name \"\" is not valid: it is empty");
        assert_eq!(error(",design"), "user name \"\" is not valid: it is empty");
        assert!(check_header("\u{feff}user,group\r\n").is_ok());
        assert_eq!(check_header("user").unwrap_err().to_string(), "the first line must be `user,group`, not \"user\"");
    }
}
