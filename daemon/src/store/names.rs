//! Names are stored once, in a table of their own, and rows carry their number: a million sessions stay a small file.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension};

/// Numbers of names that were already looked up. 0 is no name.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: HashMap<String, i64>,
}

impl Names {
    /// The number of a name, which is entered if it is new.
    pub(super) fn id(&mut self, connection: &Connection, name: &str) -> rusqlite::Result<i64> {
        if let Some(id) = self.known.get(name) {
            return Ok(*id);
        }
        let id = match Self::find(connection, name)? {
            Some(id) => id,
            None => connection
                .prepare_cached("INSERT INTO name (text) VALUES (?1) RETURNING id")?
                .query_row([name], |row| row.get(0))?,
        };
        self.known.insert(name.to_owned(), id);
        Ok(id)
    }

    /// The number of a name, if any row ever needed it.
    pub(super) fn find(connection: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
        connection.prepare_cached("SELECT id FROM name WHERE text = ?1")?.query_row([name], |row| row.get(0)).optional()
    }

    /// Forgets all numbers: after a transaction that entered some was taken back, or names were deleted.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }
}
