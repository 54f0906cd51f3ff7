//! What outlives the process: accounts, calls, messages that wait for their addressee, and the SIP messages of the recent
//! past, in one SQLite file.
//!
//! [`Store`] is the open database: the command line uses it as it is, while the gateway runs or not (SQLite's write-ahead
//! log lets one writer and many readers work at once). In the gateway one thread owns it ([`StoreThread`]): requests come
//! over a bounded queue, answers go back by the closure that came with the question.
//!
//! Registrations are not kept here: a WebSocket's ends with its connection, a phone's is soon renewed.

mod accounts;
mod calls;
mod error;
mod messages;
mod schema;
mod secret;
mod thread;
mod trace;

use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

pub use accounts::{AccountSummary, MIN_PASSWORD_CHARS, NewAccount};
pub use calls::CallMatch;
pub use error::StoreError;
pub use thread::{QueueFull, StoreHandle, StoreThread};
pub use trace::{MAX_TRACE_AGE_DAYS, MAX_TRACE_ROWS};

use crate::policy::account::Ha1;
use secret::SecretKey;

/// The database's file in the data directory.
pub const DATABASE_FILE: &str = "ringway.db";

/// Pages that the write-ahead log gathers before they are copied into the database: 16 MB.
const LOG_PAGES: u32 = 4_000;

/// Kilobytes of the database that are kept in memory; the operating system keeps the rest.
const CACHE_KB: i32 = 512;

/// The open database of one gateway.
pub struct Store {
    db: Connection,
    key: SecretKey,
    realm: String,
    /// A sealed nothing: an unknown name costs the same unsealing as a known one.
    decoy: Vec<u8>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("realm", &self.realm).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the database in `data_dir`, and makes directory, database and key when they are not there. `realm` is what
    /// passwords are stored for.
    ///
    /// # Errors
    /// The disk, the database, or a key that is missing, readable by others or no key.
    pub fn open(data_dir: &Path, realm: &str) -> Result<Self, StoreError> {
        let file_error = |path: &Path| {
            let path = path.to_owned();
            move |cause| StoreError::File { path, cause }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(file_error(data_dir))?;
        let path = data_dir.join(DATABASE_FILE);
        // SQLite makes its files with the umask's mode, and its log with that of the database: so this comes first.
        let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        made.map_err(file_error(&path))?;
        let mut db = Connection::open(&path)?;
        db.busy_timeout(Duration::from_secs(5))?;
        db.pragma_update(None, "journal_mode", "wal")?;
        // A power cut may lose the last moments of a log that is in sequence; it never breaks the database.
        db.pragma_update(None, "synchronous", "normal")?;
        db.pragma_update(None, "secure_delete", true)?;
        db.pragma_update(None, "cache_size", -CACHE_KB)?;
        // Pages that calls write again and again are copied out of the log once for many times.
        db.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
        schema::migrate(&mut db)?;
        let empty: bool = db.query_row("SELECT NOT EXISTS (SELECT 1 FROM accounts)", [], |row| row.get(0))?;
        let key = SecretKey::read_or_make(data_dir, empty)?;
        let decoy = key.seal("", realm, &Ha1 { md5: [0; 16], sha256: [0; 32] });
        Ok(Self { db, key, realm: realm.to_owned(), decoy })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::Store;
    use crate::signalling::record::{CallRecord, LegMedia, TraceRecord};

    /// A directory of one test's own, gone when it ends.
    pub(super) struct Dir(pub(super) PathBuf);

    impl Dir {
        pub(super) fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("ringway-store-{test}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            Self(path)
        }

        pub(super) fn open(&self, realm: &str) -> Store {
            Store::open(&self.0, realm).expect("the store opens")
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    pub(super) fn call(id: &str, started_unix_ms: u64) -> CallRecord {
        let mut leg = LegMedia { verdict: "ok".to_owned(), ..LegMedia::default() };
        leg.stats.rx_packets = u64::from(u32::MAX) + 1;
        CallRecord {
            id: id.to_owned(),
            from: "alice".to_owned(),
            dialled: "600".to_owned(),
            because: "rule \"echo\", dialplan/default.toml:19".to_owned(),
            sip_call_ids: [Some(format!("leg-a-of-{id}")), Some(format!("leg-b-of-{id}"))],
            started_unix_ms,
            answered_unix_ms: None,
            ended_unix_ms: started_unix_ms + 5,
            status: 200,
            ended_by: "hung up by alice".to_owned(),
            pipeline: String::new(),
            media: [leg, LegMedia::default()],
        }
    }

    pub(super) fn message(call: &str, unix_us: u64) -> TraceRecord {
        TraceRecord {
            unix_us,
            call: Some(call.to_owned()),
            rx: true,
            transport: "wss",
            local: "10.0.0.1:8443".parse().expect("an address"),
            remote: "[fd00::2]:50000".parse().expect("an address"),
            peer: "alice".to_owned(),
            bytes: b"SIP/2.0 180 Ringing\r\n\r\n\xff"[..].into(),
        }
    }
}
