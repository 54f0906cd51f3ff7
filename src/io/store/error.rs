use std::fmt;
use std::path::PathBuf;
use std::{error, io};

use super::MIN_PASSWORD_CHARS;

/// Why the store could not do what it was asked.
#[derive(Debug)]
pub enum StoreError {
    /// SQLite.
    Database(rusqlite::Error),
    /// A file or directory.
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The database was written by a newer Ringway.
    TooNew {
        /// Its schema's number.
        found: u32,
        /// The highest that this one knows.
        known: u32,
    },
    /// There are accounts, but the key that their passwords are sealed with is gone.
    KeyMissing(PathBuf),
    /// Others than its owner can read the key.
    KeyExposed(PathBuf),
    /// The key's file holds no key.
    KeyBroken(PathBuf),
    /// A password's record was not sealed with this key for this account.
    Sealed(String),
    /// The account's password was stored for another domain.
    OtherRealm {
        /// The account.
        name: String,
        /// That domain.
        realm: String,
    },
    /// Another account has this name.
    NameTaken(String),
    /// Another account has this number (or has it as its name).
    NumberTaken {
        /// The number.
        number: String,
        /// Who has it.
        by: String,
    },
    /// No account has this name.
    NoSuchAccount(String),
    /// A name that is none.
    BadName(String),
    /// A number that is none.
    BadNumber(String),
    /// A display name with line breaks or of more than 64 characters.
    BadDisplayName,
    /// A password that is too short.
    ShortPassword,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(cause) => write!(f, "the database: {cause}"),
            Self::File { path, cause } => write!(f, "{}: {cause}", path.display()),
            Self::TooNew { found, known } => {
                write!(f, "the database was written by a newer Ringway (schema {found}; this one knows {known})")
            }
            Self::KeyMissing(path) => write!(
                f,
                "{}: the key that the passwords are sealed with is missing; put it back from a backup, or remove the database and make the accounts anew",
                path.display()
            ),
            Self::KeyExposed(path) => {
                let path = path.display();
                write!(f, "{path}: expected a file that only its owner can read; chmod 600 {path}")
            }
            Self::KeyBroken(path) => write!(f, "{}: expected 32 bytes of key", path.display()),
            Self::Sealed(name) => {
                write!(f, "account {name}: its password was sealed with another key; set it anew: ringway user passwd {name}")
            }
            Self::OtherRealm { name, realm } => {
                write!(f, "account {name}: its password was set for the domain {realm}; set it anew: ringway user passwd {name}")
            }
            Self::NameTaken(name) => write!(f, "there is an account {name} already"),
            Self::NumberTaken { number, by } => write!(f, "the number {number} belongs to the account {by}"),
            Self::NoSuchAccount(name) => write!(f, "there is no account {name}"),
            Self::BadName(name) => {
                write!(
                    f,
                    "account name: expected 1 to 64 lower-case letters, digits, . _ - beginning with a letter or digit, found {name:?}"
                )
            }
            Self::BadNumber(number) => write!(f, "number: expected 1 to 32 digits, a + before them if need be, found {number:?}"),
            Self::BadDisplayName => write!(f, "display name: expected one line of at most 64 characters"),
            Self::ShortPassword => write!(f, "password: expected one line of at least {MIN_PASSWORD_CHARS} characters"),
        }
    }
}

impl error::Error for StoreError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Database(cause) => Some(cause),
            Self::File { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(cause: rusqlite::Error) -> Self {
        Self::Database(cause)
    }
}
