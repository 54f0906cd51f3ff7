use std::collections::BTreeMap;

use super::pidf::Published;
use crate::base::DeadlineKey;

/// One document that a device of the account has published (RFC 3903).
#[derive(Debug)]
pub(super) struct Publication {
    /// Its SIP-ETag, another one after each PUBLISH.
    pub(super) tag: String,
    pub(super) expires: DeadlineKey,
    pub(super) status: Published,
}

/// What accounts have published. Of several documents the one that was published last counts.
#[derive(Debug, Default)]
pub(super) struct Publications {
    /// Each list from the oldest to the newest.
    by_account: BTreeMap<String, Vec<Publication>>,
    count: usize,
}

impl Publications {
    pub(super) fn latest(&self, account: &str) -> Option<&Published> {
        self.by_account.get(account)?.last().map(|publication| &publication.status)
    }

    pub(super) fn add(&mut self, account: &str, publication: Publication) {
        self.by_account.entry(account.to_owned()).or_default().push(publication);
        self.count += 1;
    }

    pub(super) fn take(&mut self, account: &str, tag: &str) -> Option<Publication> {
        let list = self.by_account.get_mut(account)?;
        let at = list.iter().position(|publication| publication.tag == tag)?;
        let taken = list.remove(at);
        if list.is_empty() {
            self.by_account.remove(account);
        }
        self.count -= 1;
        Some(taken)
    }

    /// The tag of an account's oldest document, if it has `limit` of them or more.
    pub(super) fn one_too_many(&self, account: &str, limit: usize) -> Option<String> {
        let list = self.by_account.get(account).filter(|list| list.len() >= limit)?;
        list.first().map(|publication| publication.tag.clone())
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }
}
