use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Store, StoreError};
use crate::signalling::record::{CallRecord, TraceRecord};

/// What the words of `ringway ladder` led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallMatch {
    /// No call.
    None,
    /// One call: its id.
    One(String),
    /// Several whose ids begin so.
    Several(Vec<String>),
}

const CALL_COLUMNS: &str = "id, caller, dialled, because, sip_call_id_a, sip_call_id_b, started_unix_ms, answered_unix_ms, \
    ended_unix_ms, status, ended_by, pipeline, media";

impl Store {
    /// Keeps the record of a call that has ended; said again, the later one stays.
    ///
    /// # Errors
    /// The database.
    pub fn insert_call(&mut self, record: &CallRecord) -> Result<(), StoreError> {
        insert_call(&self.db, record)
    }

    /// Keeps calls and messages in one transaction.
    ///
    /// # Errors
    /// The database; then nothing of it is kept.
    pub fn insert_batch(&mut self, calls: &[CallRecord], trace: &[TraceRecord]) -> Result<(), StoreError> {
        let transaction = self.db.transaction()?;
        for record in calls {
            insert_call(&transaction, record)?;
        }
        super::trace::insert(&transaction, trace)?;
        transaction.commit()?;
        Ok(())
    }

    /// The latest calls, latest first.
    ///
    /// # Errors
    /// The database.
    pub fn recent_calls(&self, limit: usize) -> Result<Vec<CallRecord>, StoreError> {
        let sql = format!("SELECT {CALL_COLUMNS} FROM calls ORDER BY started_unix_ms DESC, rowid DESC LIMIT ?1");
        let mut statement = self.db.prepare(&sql)?;
        let rows = statement.query_map([i64::try_from(limit).unwrap_or(i64::MAX)], read_call)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// One call that has ended.
    ///
    /// # Errors
    /// The database.
    pub fn call(&self, id: &str) -> Result<Option<CallRecord>, StoreError> {
        let sql = format!("SELECT {CALL_COLUMNS} FROM calls WHERE id = ?1");
        Ok(self.db.query_row(&sql, [id], read_call).optional()?)
    }

    /// Finds a call, ended or not, by its id, by the Call-ID of either leg, or by the beginning of one of these.
    ///
    /// # Errors
    /// The database.
    pub fn find_call(&self, wanted: &str) -> Result<CallMatch, StoreError> {
        let ended = "SELECT id FROM calls WHERE id = ?1 OR sip_call_id_a = ?1 OR sip_call_id_b = ?1";
        let running = "SELECT DISTINCT call FROM sip_messages WHERE call = ?1";
        let mut ids = self.ids(&format!("{ended} UNION {running} LIMIT 10"), wanted)?;
        if ids.is_empty() && !wanted.is_empty() {
            let begins = |column: &str| format!("substr({column}, 1, length(?1)) = ?1");
            let ended = [begins("id"), begins("sip_call_id_a"), begins("sip_call_id_b")].join(" OR ");
            let running = begins("call");
            let sql = format!("SELECT id FROM calls WHERE {ended} UNION SELECT call FROM sip_messages WHERE {running} LIMIT 10");
            ids = self.ids(&sql, wanted)?;
        }
        Ok(match ids.len() {
            0 => CallMatch::None,
            1 => CallMatch::One(ids.remove(0)),
            _ => CallMatch::Several(ids),
        })
    }

    fn ids(&self, sql: &str, wanted: &str) -> Result<Vec<String>, StoreError> {
        let mut statement = self.db.prepare(sql)?;
        let rows = statement.query_map([wanted], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// SQLite's whole numbers are signed; no time or count here comes near their end.
pub(super) fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn insert_call(db: &Connection, record: &CallRecord) -> Result<(), StoreError> {
    let sql =
        format!("INSERT OR REPLACE INTO calls ({CALL_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)");
    let [id_a, id_b] = &record.sip_call_ids;
    let media = serde_json::to_string(&record.media).expect("counts and texts are JSON");
    db.prepare_cached(&sql)?.execute(params![
        record.id,
        record.from,
        record.dialled,
        record.because,
        id_a,
        id_b,
        whole(record.started_unix_ms),
        record.answered_unix_ms.map(whole),
        whole(record.ended_unix_ms),
        record.status,
        record.ended_by,
        record.pipeline,
        media,
    ])?;
    Ok(())
}

fn read_call(row: &Row<'_>) -> rusqlite::Result<CallRecord> {
    Ok(CallRecord {
        id: row.get(0)?,
        from: row.get(1)?,
        dialled: row.get(2)?,
        because: row.get(3)?,
        sip_call_ids: [row.get(4)?, row.get(5)?],
        started_unix_ms: row.get::<_, i64>(6)?.unsigned_abs(),
        answered_unix_ms: row.get::<_, Option<i64>>(7)?.map(i64::unsigned_abs),
        ended_unix_ms: row.get::<_, i64>(8)?.unsigned_abs(),
        status: row.get(9)?,
        ended_by: row.get(10)?,
        pipeline: row.get(11)?,
        media: serde_json::from_str(&row.get::<_, String>(12)?).map_err(|cause| in_column(12, cause))?,
    })
}

fn in_column(column: usize, cause: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(cause))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::store::tests::{Dir, call, message};

    #[test]
    fn a_call_comes_back_as_it_went_in() {
        let dir = Dir::new("calls");
        let mut store = dir.open("a.org");
        let (first, second) = (call("aaaabbbbcccc", 1), call("aaaaddddeeee", 2));
        store.insert_call(&first).expect("kept");
        store.insert_call(&second).expect("kept");
        assert_eq!(store.recent_calls(10).expect("read"), [second.clone(), first.clone()]);
        assert_eq!(store.recent_calls(1).expect("read"), [second]);
        assert_eq!(store.call("aaaabbbbcccc").expect("read"), Some(first));
    }

    #[test]
    fn a_call_is_found_by_id_by_call_id_and_by_prefix() {
        let dir = Dir::new("find");
        let mut store = dir.open("a.org");
        store.insert_call(&call("aaaabbbbcccc", 1)).expect("kept");
        store.insert_call(&call("aaaaddddeeee", 2)).expect("kept");
        store.insert_batch(&[], &[message("running00000", 3)]).expect("kept");
        let find = |wanted: &str| store.find_call(wanted).expect("read");
        let one = |id: &str| CallMatch::One(id.to_owned());
        assert_eq!(find("aaaabbbbcccc"), one("aaaabbbbcccc"));
        assert_eq!(find("aaaab"), one("aaaabbbbcccc"));
        assert_eq!(find("leg-b-of-aaaadddd"), one("aaaaddddeeee"));
        assert_eq!(find("run"), one("running00000"));
        assert!(matches!(find("aaaa"), CallMatch::Several(ids) if ids.len() == 2));
        assert_eq!(find("zzz"), CallMatch::None);
        assert_eq!(find("%"), CallMatch::None);
    }
}
