use rusqlite::{OptionalExtension as _, TransactionBehavior, params};

use super::calls::whole;
use super::{Store, StoreError};
use crate::signalling::message::{Kept, KeptLetter, Letter, MAX_KEPT, Waiting};

impl Store {
    /// Keeps a letter for an account; none when it has [`MAX_KEPT`] already.
    ///
    /// # Errors
    /// The database, or no such account (it was removed a moment ago).
    pub fn keep_message(&mut self, account: &str, letter: &Letter) -> Result<Option<Kept>, StoreError> {
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let now = whole(letter.received_unix_ms);
        let sql = "SELECT count(*) FROM messages WHERE account = ?1 AND expires_unix_ms > ?2";
        let count: u32 = transaction.query_row(sql, params![account, now], |row| row.get(0))?;
        if count >= MAX_KEPT {
            return Ok(None);
        }
        let sql = "INSERT INTO messages (account, sender, content_type, body, received_unix_ms, expires_unix_ms)
            SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE EXISTS (SELECT 1 FROM accounts WHERE name = ?1)";
        let expires = whole(letter.expires_unix_ms);
        let kept =
            transaction.execute(sql, params![account, letter.from, letter.content_type, letter.body.as_ref(), now, expires])?;
        if kept == 0 {
            return Err(StoreError::NoSuchAccount(account.to_owned()));
        }
        let id = transaction.last_insert_rowid().unsigned_abs();
        transaction.commit()?;
        Ok(Some(Kept { id, count: count + 1 }))
    }

    /// What waits for an account; `unix_ms` is now.
    ///
    /// # Errors
    /// The database.
    pub fn waiting_messages(&self, account: &str, unix_ms: u64) -> Result<Waiting, StoreError> {
        let here = params![account, whole(unix_ms)];
        let sql = "SELECT count(*) FROM messages WHERE account = ?1 AND expires_unix_ms > ?2";
        let count = self.db.prepare_cached(sql)?.query_row(here, |row| row.get(0))?;
        let sql = "SELECT id, sender, content_type, body, received_unix_ms, expires_unix_ms FROM messages
            WHERE account = ?1 AND expires_unix_ms > ?2 ORDER BY id LIMIT 1";
        let oldest = self.db.prepare_cached(sql)?.query_row(here, |row| {
            let letter = Letter {
                from: row.get(1)?,
                content_type: row.get(2)?,
                body: row.get::<_, Vec<u8>>(3)?.into(),
                received_unix_ms: row.get::<_, i64>(4)?.unsigned_abs(),
                expires_unix_ms: row.get::<_, i64>(5)?.unsigned_abs(),
            };
            Ok(KeptLetter { id: row.get::<_, i64>(0)?.unsigned_abs(), letter })
        });
        Ok(Waiting { oldest: oldest.optional()?, count })
    }

    /// Removes a letter that has been taken; one that is gone already is no error.
    ///
    /// # Errors
    /// The database.
    pub fn drop_message(&mut self, account: &str, id: u64) -> Result<(), StoreError> {
        self.db.execute("DELETE FROM messages WHERE id = ?1 AND account = ?2", params![whole(id), account])?;
        Ok(())
    }

    /// Removes the letters that are worth nothing any more; `unix_ms` is now.
    ///
    /// # Errors
    /// The database.
    pub fn prune_messages(&mut self, unix_ms: u64) -> Result<usize, StoreError> {
        Ok(self.db.execute("DELETE FROM messages WHERE expires_unix_ms <= ?1", [whole(unix_ms)])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::store::NewAccount;
    use crate::io::store::tests::Dir;

    fn store(dir: &Dir) -> Store {
        let mut store = dir.open("a.org");
        for name in ["alice", "bob"] {
            store.add_account(NewAccount { name, number: None, display_name: None, password: "correct horse" }).expect("added");
        }
        store
    }

    fn letter(body: &'static [u8], received_unix_ms: u64) -> Letter {
        Letter {
            from: "\"Älice\" <sip:alice@a.org>".into(),
            content_type: "text/plain;charset=utf-8".into(),
            body: bytes::Bytes::from_static(body),
            received_unix_ms,
            expires_unix_ms: received_unix_ms + 1_000,
        }
    }

    fn keep(store: &mut Store, account: &str, letter: &Letter) -> u64 {
        store.keep_message(account, letter).expect("asked").expect("room").id
    }

    #[test]
    fn letters_come_back_in_order_to_the_byte_and_outlive_the_process() {
        let dir = Dir::new("letters");
        let (first, second) = (letter("grüß dich 🎧\r\n\0".as_bytes(), 10), letter(b"\xff\xfe", 5));
        let mut store = store(&dir);
        let id = keep(&mut store, "bob", &first);
        assert_eq!(store.keep_message("bob", &second).expect("kept"), Some(Kept { id: id + 1, count: 2 }));
        drop(store);
        let mut store = dir.open("a.org");
        let waiting = store.waiting_messages("bob", 20).expect("read");
        assert_eq!(waiting, Waiting { oldest: Some(KeptLetter { id, letter: first }), count: 2 });
        store.drop_message("alice", id).expect("somebody else's stays");
        store.drop_message("bob", id).expect("removed");
        store.drop_message("bob", id).expect("gone already");
        let waiting = store.waiting_messages("bob", 20).expect("read");
        assert_eq!(waiting, Waiting { oldest: Some(KeptLetter { id: id + 1, letter: second }), count: 1 });
        store.drop_message("bob", id + 1).expect("removed");
        assert_eq!(keep(&mut store, "bob", &letter(b"x", 30)), id + 2, "no id is used twice");
        assert_eq!(store.waiting_messages("alice", 20).expect("read"), Waiting::default());
    }

    #[test]
    fn an_account_takes_its_letters_along_and_old_ones_go() {
        let dir = Dir::new("letters-go");
        let mut store = store(&dir);
        keep(&mut store, "alice", &letter(b"a", 10));
        keep(&mut store, "bob", &letter(b"b", 10));
        store.remove_account("alice").expect("removed");
        assert!(matches!(store.keep_message("alice", &letter(b"a", 10)), Err(StoreError::NoSuchAccount(_))));
        store
            .add_account(NewAccount { name: "alice", number: None, display_name: None, password: "correct horse" })
            .expect("a new");
        assert_eq!(store.waiting_messages("alice", 20).expect("read"), Waiting::default());
        assert_eq!(store.waiting_messages("bob", 1_010).expect("read"), Waiting::default(), "too old to be delivered");
        assert_eq!(store.prune_messages(1_009).expect("pruned"), 0);
        assert_eq!(store.prune_messages(1_010).expect("pruned"), 1);
    }

    #[test]
    fn a_mailbox_is_bounded_and_another_is_not_full_for_it() {
        let dir = Dir::new("letters-full");
        let mut store = store(&dir);
        for _ in 0..MAX_KEPT {
            keep(&mut store, "bob", &letter(b"b", 10));
        }
        assert_eq!(store.keep_message("bob", &letter(b"b", 10)).expect("asked"), None);
        keep(&mut store, "alice", &letter(b"a", 10));
        // What is too old takes no room.
        keep(&mut store, "bob", &letter(b"b", 5_000));
    }
}
