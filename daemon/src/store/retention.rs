//! Deleting what is older than the retention: rows, then names that no row needs, then the free pages.

use headstart_core::unit::Time;
use rusqlite::Connection;

/// Deletes everything that began before `limit`. Returns how many rows went.
///
/// A session or reservation that is still open stays, whatever its age. The caller's numbers of names are void after it.
pub(super) fn delete_before(connection: &mut Connection, limit: Time) -> rusqlite::Result<usize> {
    let transaction = connection.transaction()?;
    let limit = [limit.unix()];
    let mut n = transaction.execute("DELETE FROM session WHERE start < ?1 AND (length >= 0 OR source = 0)", limit)?;
    n += transaction.execute("DELETE FROM reservation WHERE start < ?1 AND length >= 0", limit)?;
    n += transaction.execute("DELETE FROM utilisation WHERE time < ?1", limit)?;
    n += transaction.execute("DELETE FROM preparation WHERE time < ?1", limit)?;
    n += transaction.execute("DELETE FROM hint WHERE due < ?1", limit)?;
    // That nothing is to be done ahead stands until it is taken back; when that was said goes.
    n += transaction.execute("DELETE FROM wish WHERE since < ?1 AND preallocation <> 2", limit)?;
    n += transaction.execute("UPDATE wish SET since = 0 WHERE since < ?1 AND since <> 0", limit)?;
    // Row numbers follow the order of recording, so the scan ends at the first row that stays.
    n += transaction.execute(
        "DELETE FROM decision WHERE id < coalesce(
             (SELECT id FROM decision WHERE time >= ?1 ORDER BY id LIMIT 1), 9223372036854775807)",
        limit,
    )?;
    if n > 0 {
        transaction.execute(
            "DELETE FROM name WHERE id NOT IN (
                 SELECT desktop FROM session UNION SELECT user FROM session
                 UNION SELECT desktop FROM reservation UNION SELECT gpu FROM reservation
                 UNION SELECT profile FROM reservation UNION SELECT desktop FROM utilisation
                 UNION SELECT desktop FROM preparation UNION SELECT desktop FROM hint
                 UNION SELECT desktop FROM decision)",
            [],
        )?;
    }
    transaction.commit()?;
    if n > 0 {
        // Steps through all free pages; each row of the answer is one page.
        let mut statement = connection.prepare("PRAGMA incremental_vacuum")?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        drop(rows);
        drop(statement);
        checkpoint(connection)?;
    }
    Ok(n)
}

/// Brings the log into the file and empties it, so that nothing deleted survives there.
pub(super) fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}
