use rusqlite::{OptionalExtension as _, TransactionBehavior, params};

use super::{Store, StoreError};
use crate::policy::account::{Account, Ha1};

/// A password has at least this many characters.
pub const MIN_PASSWORD_CHARS: usize = 8;

/// An account to be made.
#[derive(Clone, Copy)]
pub struct NewAccount<'a> {
    /// Lower-case letters, digits, `.` `_` `-`.
    pub name: &'a str,
    /// What others dial.
    pub number: Option<&'a str>,
    /// What others see.
    pub display_name: Option<&'a str>,
    /// Kept nowhere, only what it is checked against.
    pub password: &'a str,
}

/// An account without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSummary {
    /// Its name.
    pub name: String,
    /// What others dial.
    pub number: Option<String>,
    /// What others see.
    pub display_name: Option<String>,
    /// The domain that its password was set for.
    pub realm: String,
}

impl Store {
    /// Makes an account.
    ///
    /// # Errors
    /// A name, number or password that does not fit, or is taken.
    pub fn add_account(&mut self, new: NewAccount<'_>) -> Result<(), StoreError> {
        check_name(new.name)?;
        new.number.map_or(Ok(()), check_number)?;
        if new.display_name.is_some_and(|shown| shown.chars().count() > 64 || shown.chars().any(char::is_control)) {
            return Err(StoreError::BadDisplayName);
        }
        let ha1 = self.sealed(new.name, new.password)?;
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let holder = |number: &str| {
            let sql = "SELECT name FROM accounts WHERE number = ?1 OR name = ?1";
            transaction.query_row(sql, [number], |row| row.get::<_, String>(0)).optional()
        };
        match holder(new.name)? {
            Some(by) if by == new.name => return Err(StoreError::NameTaken(by)),
            Some(by) => return Err(StoreError::NumberTaken { number: new.name.to_owned(), by }),
            None => {}
        }
        if let Some(number) = new.number
            && let Some(by) = holder(number)?
        {
            return Err(StoreError::NumberTaken { number: number.to_owned(), by });
        }
        let sql = "INSERT INTO accounts (name, number, display_name, realm, ha1) VALUES (?1, ?2, ?3, ?4, ?5)";
        transaction.execute(sql, params![new.name, new.number, new.display_name, self.realm, ha1])?;
        transaction.commit()?;
        Ok(())
    }

    /// Gives an account another password.
    ///
    /// # Errors
    /// No such account, or a password that is too short.
    pub fn set_password(&mut self, name: &str, password: &str) -> Result<(), StoreError> {
        let ha1 = self.sealed(name, password)?;
        let sql = "UPDATE accounts SET realm = ?2, ha1 = ?3 WHERE name = ?1";
        let changed = self.db.execute(sql, params![name, self.realm, ha1])?;
        if changed == 0 { Err(StoreError::NoSuchAccount(name.to_owned())) } else { Ok(()) }
    }

    /// Removes an account and the messages that wait for it; its calls stay on record.
    ///
    /// # Errors
    /// No such account.
    pub fn remove_account(&mut self, name: &str) -> Result<(), StoreError> {
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let removed = transaction.execute("DELETE FROM accounts WHERE name = ?1", [name])?;
        transaction.execute("DELETE FROM messages WHERE account = ?1", [name])?;
        transaction.commit()?;
        if removed == 0 { Err(StoreError::NoSuchAccount(name.to_owned())) } else { Ok(()) }
    }

    /// All accounts, by name.
    ///
    /// # Errors
    /// The database.
    pub fn list_accounts(&self) -> Result<Vec<AccountSummary>, StoreError> {
        let mut statement = self.db.prepare("SELECT name, number, display_name, realm FROM accounts ORDER BY name")?;
        let rows = statement.query_map([], |row| {
            Ok(AccountSummary { name: row.get(0)?, number: row.get(1)?, display_name: row.get(2)?, realm: row.get(3)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The account that has this name or number.
    ///
    /// # Errors
    /// The database, or an account whose password must be set anew.
    pub fn account_by_name_or_number(&self, wanted: &str) -> Result<Option<Account>, StoreError> {
        let sql = "SELECT name, number, display_name, realm, ha1 FROM accounts WHERE name = ?1 OR number = ?1";
        let mut statement = self.db.prepare_cached(sql)?;
        let row = statement.query_row([wanted], |row| {
            let sealed: Vec<u8> = row.get(4)?;
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, row.get::<_, String>(3)?, sealed))
        });
        let Some((name, number, display_name, realm, sealed)) = row.optional()? else {
            std::hint::black_box(self.key.open("", &self.realm, &self.decoy));
            return Ok(None);
        };
        if realm != self.realm {
            return Err(StoreError::OtherRealm { name, realm });
        }
        let Some(ha1) = self.key.open(&name, &realm, &sealed) else { return Err(StoreError::Sealed(name)) };
        Ok(Some(Account { name, number, display_name, ha1 }))
    }

    fn sealed(&self, name: &str, password: &str) -> Result<Vec<u8>, StoreError> {
        if password.chars().count() < MIN_PASSWORD_CHARS || password.chars().any(char::is_control) {
            return Err(StoreError::ShortPassword);
        }
        Ok(self.key.seal(name, &self.realm, &Ha1::of(name, &self.realm, password)))
    }
}

fn check_name(name: &str) -> Result<(), StoreError> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let good = first && name.len() <= 64 && name.bytes().all(fits);
    if good { Ok(()) } else { Err(StoreError::BadName(name.to_owned())) }
}

fn check_number(number: &str) -> Result<(), StoreError> {
    let digits = number.strip_prefix('+').unwrap_or(number);
    let good = (1..=32).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if good { Ok(()) } else { Err(StoreError::BadNumber(number.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::store::tests::Dir;

    fn new<'a>(name: &'a str, number: Option<&'a str>) -> NewAccount<'a> {
        NewAccount { name, number, display_name: None, password: "correct horse" }
    }

    #[test]
    fn an_account_is_found_by_name_and_by_number() {
        let dir = Dir::new("found");
        let mut store = dir.open("a.org");
        store.add_account(new("alice", Some("201"))).expect("added");
        let account = store.account_by_name_or_number("201").expect("read").expect("there");
        assert_eq!((account.name.as_str(), &account.ha1), ("alice", &Ha1::of("alice", "a.org", "correct horse")));
        assert_eq!(store.account_by_name_or_number("alice").expect("read"), Some(account));
        assert_eq!(store.account_by_name_or_number("202").expect("read"), None);
        store.set_password("alice", "battery staple").expect("changed");
        let account = dir.open("a.org").account_by_name_or_number("alice").expect("read").expect("there");
        assert_eq!(account.ha1, Ha1::of("alice", "a.org", "battery staple"));
        store.remove_account("alice").expect("removed");
        assert!(matches!(store.remove_account("alice"), Err(StoreError::NoSuchAccount(_))));
    }

    #[test]
    fn names_and_numbers_are_one_space() {
        let dir = Dir::new("taken");
        let mut store = dir.open("a.org");
        store.add_account(new("alice", Some("201"))).expect("added");
        assert!(matches!(store.add_account(new("alice", None)), Err(StoreError::NameTaken(_))));
        assert!(matches!(store.add_account(new("bob", Some("201"))), Err(StoreError::NumberTaken { .. })));
        assert!(matches!(store.add_account(new("201", None)), Err(StoreError::NumberTaken { .. })));
        store.add_account(new("300", None)).expect("a name of digits");
        assert!(matches!(store.add_account(new("bob", Some("300"))), Err(StoreError::NumberTaken { .. })));
        store.add_account(new("bob", None)).expect("no number");
        store.add_account(new("carol", None)).expect("no number either");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let dir = Dir::new("fit");
        let mut store = dir.open("a.org");
        for name in ["", "Alice", "a b", "a@b", "-a", "é"] {
            assert!(matches!(store.add_account(new(name, None)), Err(StoreError::BadName(_))), "{name}");
        }
        for number in ["", "+", "20a", "2 0"] {
            assert!(matches!(store.add_account(new("a", Some(number))), Err(StoreError::BadNumber(_))), "{number}");
        }
        let short = NewAccount { password: "seven77", ..new("a", None) };
        assert!(matches!(store.add_account(short), Err(StoreError::ShortPassword)));
    }

    #[test]
    fn a_sealed_record_opens_only_where_it_belongs() {
        let dir = Dir::new("sealed");
        let mut store = dir.open("a.org");
        store.add_account(new("alice", None)).expect("added");
        store.add_account(new("bob", None)).expect("added");
        store
            .db
            .execute("UPDATE accounts SET ha1 = (SELECT ha1 FROM accounts WHERE name = 'bob') WHERE name = 'alice'", [])
            .expect("moved");
        assert!(matches!(store.account_by_name_or_number("alice"), Err(StoreError::Sealed(_))));
        assert!(matches!(dir.open("b.org").account_by_name_or_number("bob"), Err(StoreError::OtherRealm { .. })));
    }

    #[test]
    fn nothing_readable_is_on_the_disk() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = Dir::new("disk");
        let mut store = dir.open("a.org");
        store.add_account(new("alice", None)).expect("added");
        let ha1 = Ha1::of("alice", "a.org", "correct horse");
        for entry in std::fs::read_dir(&dir.0).expect("a directory") {
            let path = entry.expect("an entry").path();
            let bytes = std::fs::read(&path).expect("a file");
            let holds = |secret: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!holds(&ha1.md5) && !holds(&ha1.sha256) && !holds(b"correct horse"), "{}", path.display());
            assert_eq!(std::fs::metadata(&path).expect("a file").mode() & 0o777, 0o600, "{}", path.display());
        }
    }

    #[test]
    fn a_lost_or_exposed_key_is_named() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = Dir::new("key");
        dir.open("a.org").add_account(new("alice", None)).expect("added");
        let key = dir.0.join("secret.key");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("chmod");
        assert!(matches!(Store::open(&dir.0, "a.org"), Err(StoreError::KeyExposed(_))));
        std::fs::remove_file(&key).expect("removed");
        assert!(matches!(Store::open(&dir.0, "a.org"), Err(StoreError::KeyMissing(_))));
    }
}
