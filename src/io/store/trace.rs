//! SIP messages, packed: those of one call (or, outside of calls, of one Call-ID) that came within a moment share a row. They
//! repeat each other nearly word for word, so together they shrink to a fifth, and a busy gateway writes a row a call instead
//! of fourteen.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use rusqlite::{Connection, Row, params};
use serde_bytes::{ByteBuf, Bytes};

use super::calls::whole;
use super::{Store, StoreError};
use crate::signalling::record::TraceRecord;
use crate::wire::sip::{Framing, Message};

/// The oldest rows go when there are more than these.
pub const MAX_TRACE_ROWS: u64 = 100_000;

/// And when they are older than this.
pub const MAX_TRACE_AGE_DAYS: u64 = 30;

const TRANSPORTS: [&str; 5] = ["udp", "tcp", "tls", "ws", "wss"];

/// A message as it is packed: when, whether it came in, transport, our address, theirs, who, the bytes.
type Packed = (u64, bool, u8, SocketAddr, SocketAddr, String, ByteBuf);

impl Store {
    /// The messages of one call, in the order in which they were seen: also those of its Call-IDs that came before there was
    /// a call (a challenge, a second try).
    ///
    /// # Errors
    /// The database, or a row that cannot be unpacked.
    pub fn trace_of(&self, call: &str) -> Result<Vec<TraceRecord>, StoreError> {
        let mut found = self.unpacked("WHERE call = ?1", &[&call])?;
        let call_ids: BTreeSet<String> = found.iter().filter_map(call_id_of).collect();
        for call_id in call_ids {
            found.extend(self.unpacked("WHERE call IS NULL AND sip_call_id = ?1", &[&call_id])?);
        }
        found.sort_by_key(|record| record.unix_us);
        Ok(found)
    }

    /// All messages that are kept, in the order in which they were seen.
    ///
    /// # Errors
    /// The database, or a row that cannot be unpacked.
    pub fn trace(&self) -> Result<Vec<TraceRecord>, StoreError> {
        let mut all = self.unpacked("", &[])?;
        all.sort_by_key(|record| record.unix_us);
        Ok(all)
    }

    fn unpacked(&self, which: &str, params: &[&dyn rusqlite::ToSql]) -> Result<Vec<TraceRecord>, StoreError> {
        let mut statement = self.db.prepare(&format!("SELECT call, packed FROM sip_messages {which} ORDER BY seq"))?;
        let rows = statement.query_map(params, unpack)?;
        let rows: Vec<Vec<TraceRecord>> = rows.collect::<Result<_, _>>()?;
        Ok(rows.into_iter().flatten().collect())
    }

    /// Forgets the rows that are too many or too old; `unix_us` is now. Says how many rows.
    ///
    /// # Errors
    /// The database.
    pub fn prune_trace(&mut self, unix_us: u64, max_rows: u64) -> Result<usize, StoreError> {
        let oldest = unix_us.saturating_sub(MAX_TRACE_AGE_DAYS * 86_400_000_000);
        let too_many = "DELETE FROM sip_messages WHERE seq <= (SELECT max(seq) FROM sip_messages) - ?1";
        // Rows are in order of time, so the first of them that is young enough ends the search.
        let too_old = "DELETE FROM sip_messages WHERE seq <
            coalesce((SELECT seq FROM sip_messages WHERE unix_us >= ?1 ORDER BY seq LIMIT 1), 9223372036854775807)";
        Ok(self.db.execute(too_many, [whole(max_rows)])? + self.db.execute(too_old, [whole(oldest)])?)
    }
}

/// Keeps messages, a row for each call or Call-ID among them.
pub(super) fn insert(db: &Connection, trace: &[TraceRecord]) -> Result<(), StoreError> {
    let mut groups: BTreeMap<(Option<&str>, String), Vec<&TraceRecord>> = BTreeMap::new();
    for record in trace {
        let key = match &record.call {
            Some(call) => (Some(call.as_str()), String::new()),
            None => (None, call_id_of(record).unwrap_or_default()),
        };
        groups.entry(key).or_default().push(record);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    // Rows stand in order of time.
    groups.sort_by_key(|(_, records)| records[0].unix_us);
    let sql = "INSERT INTO sip_messages (unix_us, call, sip_call_id, packed) VALUES (?1, ?2, ?3, ?4)";
    let mut statement = db.prepare_cached(sql)?;
    for ((call, sip_call_id), records) in groups {
        statement.execute(params![whole(records[0].unix_us), call, sip_call_id, pack(&records)])?;
    }
    Ok(())
}

fn pack(records: &[&TraceRecord]) -> Vec<u8> {
    let packed: Vec<_> = records
        .iter()
        .map(|r| {
            let transport = TRANSPORTS.iter().position(|t| *t == r.transport).unwrap_or_default() as u8;
            (r.unix_us, r.rx, transport, r.local, r.remote, r.peer.as_str(), Bytes::new(&r.bytes))
        })
        .collect();
    let plain = postcard::to_allocvec(&packed).expect("writing to memory does not fail");
    lz4_flex::compress_prepend_size(&plain)
}

fn unpack(row: &Row<'_>) -> rusqlite::Result<Vec<TraceRecord>> {
    let call: Option<String> = row.get(0)?;
    let broken = |cause: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Blob, cause)
    };
    let plain = lz4_flex::decompress_size_prepended(row.get_ref(1)?.as_blob()?).map_err(|cause| broken(cause.into()))?;
    let packed: Vec<Packed> = postcard::from_bytes(&plain).map_err(|cause| broken(cause.into()))?;
    let unpacked = packed.into_iter().map(|(unix_us, rx, transport, local, remote, peer, bytes)| TraceRecord {
        unix_us,
        call: call.clone(),
        rx,
        transport: TRANSPORTS.get(usize::from(transport)).copied().unwrap_or("unknown"),
        local,
        remote,
        peer,
        bytes: bytes.into_vec().into(),
    });
    Ok(unpacked.collect())
}

fn call_id_of(record: &TraceRecord) -> Option<String> {
    let message = Message::parse(record.bytes.clone(), Framing::Datagram).ok()?;
    message.call_id().ok().map(str::to_owned).filter(|call_id| !call_id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::store::tests::{Dir, message};

    #[test]
    fn old_rows_go() {
        let dir = Dir::new("prune");
        let mut store = dir.open("a.org");
        let day = 86_400_000_000;
        let trace: Vec<_> = (0..100).map(|n| message("aaaabbbbcccc", n * day)).collect();
        for record in &trace {
            store.insert_batch(&[], std::slice::from_ref(record)).expect("kept");
        }
        assert_eq!(store.trace_of("aaaabbbbcccc").expect("read"), trace);
        assert_eq!(store.trace().expect("read"), trace);
        assert_eq!(store.prune_trace(100 * day, 1000).expect("pruned"), 70, "older than 30 days");
        assert_eq!(store.prune_trace(100 * day, 10).expect("pruned"), 20, "more than 10");
        assert_eq!(store.trace_of("aaaabbbbcccc").expect("read"), trace[90..]);
        assert_eq!(store.prune_trace(1000 * day, 10).expect("pruned"), 10);
    }

    #[test]
    fn messages_of_one_moment_share_a_row_and_come_back_in_their_order() {
        let dir = Dir::new("packed");
        let mut store = dir.open("a.org");
        let trace: Vec<_> = (0..100).map(|n| message(if n % 2 == 0 { "one" } else { "two" }, n)).collect();
        store.insert_batch(&[], &trace).expect("kept");
        assert_eq!(store.trace().expect("read"), trace);
        let rows: u32 = store.db.query_row("SELECT count(*) FROM sip_messages", [], |row| row.get(0)).expect("counted");
        assert_eq!(rows, 2);
    }

    #[test]
    fn a_calls_messages_include_those_from_before_it_was_one() {
        let dir = Dir::new("before");
        let mut store = dir.open("a.org");
        let bytes = |status: &str| format!("SIP/2.0 {status}\r\nCall-ID: of-leg-a\r\n\r\n");
        let challenge = TraceRecord { call: None, bytes: bytes("401 Unauthorized").into(), ..message("", 1) };
        let ringing = TraceRecord { bytes: bytes("180 Ringing").into(), ..message("one", 2) };
        let stray = TraceRecord { call: None, ..message("", 3) };
        store.insert_batch(&[], &[challenge.clone(), ringing.clone(), stray]).expect("kept");
        assert_eq!(store.trace_of("one").expect("read"), [challenge, ringing]);
    }
}
