//! This host's own logins, from the `wtmp` file of the C library (`man 5 wtmp`), as sessions.
//!
//! A session is a `USER_PROCESS` record up to the `DEAD_PROCESS` record of the same terminal; a boot or a shutdown ends
//! all. A host's `wtmp` knows no VM, so the desktop is called as the user is.

use std::collections::BTreeMap;
use std::io::{BufRead, ErrorKind};

use headstart_core::id::{DesktopName, UserName};
use headstart_core::trace::Row;
use headstart_core::unit::Time;
use jiff::tz::TimeZone;
use utmp_rs::{ParseError, UtmpEntry, UtmpParser};

use super::error::ImportError;
use super::import::Import;

/// A login whose logout has not been read yet.
struct Login {
    record: u64,
    user: String,
    start: Time,
}

/// Reads all records and hands the sessions to the import.
pub(super) fn read(
    input: Box<dyn BufRead + Send>,
    name: &str,
    zone: &TimeZone,
    import: &mut Import,
) -> Result<(), ImportError> {
    let mut open: BTreeMap<String, Login> = BTreeMap::new();
    let mut record = 0;
    for entry in UtmpParser::from_reader(input) {
        record += 1;
        match entry {
            Ok(UtmpEntry::UserProcess { line, user, time, .. }) => {
                let start = Time::from_unix(time.unix_timestamp());
                // A terminal that is used again without a logout: the earlier session ended at some time before.
                if let Some(before) = open.insert(line, Login { record, user, start }) {
                    session(before, None, name, zone, import)?;
                }
            }
            Ok(UtmpEntry::DeadProcess { line, time, .. }) => {
                if let Some(login) = open.remove(&line) {
                    session(login, Some(Time::from_unix(time.unix_timestamp())), name, zone, import)?;
                }
            }
            Ok(UtmpEntry::BootTime { time, .. } | UtmpEntry::ShutdownTime { time, .. }) => {
                let end = Time::from_unix(time.unix_timestamp());
                for (_, login) in std::mem::take(&mut open) {
                    session(login, Some(end), name, zone, import)?;
                }
            }
            Ok(_) => {}
            Err(ParseError::Io(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                import.bad_row(&format_args!("{name}:record {record}"), &"the file ends in the middle of the record");
                break;
            }
            Err(ParseError::Io(source)) => {
                return Err(ImportError::Read { name: name.to_owned(), line: record, source });
            }
            Err(error) => import.bad_row(&format_args!("{name}:record {record}"), &error),
        }
    }
    // Still logged in, or the rest of the file was rotated away.
    for (_, login) in open {
        session(login, None, name, zone, import)?;
    }
    Ok(())
}

fn session(
    login: Login,
    end: Option<Time>,
    name: &str,
    zone: &TimeZone,
    import: &mut Import,
) -> Result<(), ImportError> {
    let Login { record, user, start } = login;
    let place = format!("{name}:record {record}");
    let (user, desktop, offset) = match names_and_offset(user, start, zone) {
        Ok(parts) => parts,
        Err(why) => {
            import.bad_row(&place, &why);
            return Ok(());
        }
    };
    if let Some(end) = end.filter(|end| *end < start) {
        // The clock was set back between the two.
        import.bad_row(&place, &format_args!("the session ends ({end}) before it starts ({start})"));
        return Ok(());
    }
    import.row(&Row { user, desktop, start, end, offset })
}

fn names_and_offset(
    user: String,
    start: Time,
    zone: &TimeZone,
) -> Result<(UserName, DesktopName, jiff::tz::Offset), String> {
    let desktop = DesktopName::new(user.clone()).map_err(|error| error.to_string())?;
    let user = UserName::new(user).map_err(|error| error.to_string())?;
    let instant = jiff::Timestamp::from_second(start.unix()).map_err(|error| error.to_string())?;
    Ok((user, desktop, zone.to_offset(instant)))
}
