//! The tables, as steps from one version to the next; a step is never changed once it has been released.

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;

const STEPS: [&str; 3] = [
    "
    CREATE TABLE accounts (
        name TEXT PRIMARY KEY,
        number TEXT UNIQUE,
        display_name TEXT,
        realm TEXT NOT NULL,
        ha1 BLOB NOT NULL           -- sealed: see secret.rs
    ) STRICT;
    CREATE TABLE calls (
        id TEXT PRIMARY KEY,
        caller TEXT NOT NULL,
        dialled TEXT NOT NULL,
        because TEXT NOT NULL,
        sip_call_id_a TEXT,
        sip_call_id_b TEXT,
        started_unix_ms INTEGER NOT NULL,
        answered_unix_ms INTEGER,
        ended_unix_ms INTEGER NOT NULL,
        status INTEGER NOT NULL,
        ended_by TEXT NOT NULL,
        pipeline TEXT NOT NULL,
        media TEXT NOT NULL         -- JSON: both legs' counts and verdicts
    ) STRICT;
    CREATE INDEX calls_by_start ON calls (started_unix_ms);
    CREATE TABLE sip_trace (
        seq INTEGER PRIMARY KEY,
        unix_us INTEGER NOT NULL,
        call TEXT,
        sip_call_id TEXT NOT NULL,
        rx INTEGER NOT NULL,
        transport TEXT NOT NULL,
        local TEXT NOT NULL,
        remote TEXT NOT NULL,
        peer TEXT NOT NULL,
        bytes BLOB NOT NULL
    ) STRICT;
    CREATE INDEX sip_trace_by_call ON sip_trace (call) WHERE call IS NOT NULL;
    CREATE INDEX sip_trace_by_sip_call_id ON sip_trace (sip_call_id);
",
    "
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT,   -- never used twice: their order is that of arrival
        account TEXT NOT NULL,
        sender TEXT NOT NULL,
        content_type TEXT NOT NULL,
        body BLOB NOT NULL,
        received_unix_ms INTEGER NOT NULL,
        expires_unix_ms INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX messages_by_account ON messages (account, id);
    CREATE INDEX messages_by_expiry ON messages (expires_unix_ms);
",
    "
    -- SIP messages are kept packed from here on: see trace.rs. Those of the last days before are given up.
    DROP TABLE sip_trace;
    CREATE TABLE sip_messages (
        seq INTEGER PRIMARY KEY,
        unix_us INTEGER NOT NULL,   -- of the first
        call TEXT,
        sip_call_id TEXT NOT NULL,  -- of those that belong to no call
        packed BLOB NOT NULL
    ) STRICT;
    CREATE INDEX sip_messages_by_call ON sip_messages (call) WHERE call IS NOT NULL;
    CREATE INDEX sip_messages_by_sip_call_id ON sip_messages (sip_call_id) WHERE call IS NULL;
",
];

/// Brings the database to the newest version.
pub(super) fn migrate(db: &mut Connection) -> Result<(), StoreError> {
    let known = u32::try_from(STEPS.len()).expect("a handful");
    // Immediate: of two processes that start at once, one waits for the other and then finds nothing left to do.
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > known {
        return Err(StoreError::TooNew { found, known });
    }
    for step in &STEPS[found as usize..] {
        transaction.execute_batch(step)?;
    }
    if found < known {
        transaction.pragma_update(None, "user_version", known)?;
    }
    transaction.commit()?;
    Ok(())
}
