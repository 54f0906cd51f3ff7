//! A minimal controlling ICE agent with one candidate pair (RFC 8445), as browsers are towards a gateway: it nominates with its
//! first check and keeps asking for consent (RFC 7675).

use std::net::{IpAddr, SocketAddrV4};

use anyhow::Result;
use stun::agent::TransactionId;
use stun::attributes::{ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME, AttrType};
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, Setter};
use stun::textattrs::TextAttribute;
use stun::xoraddr::XorMappedAddress;

use crate::spec::IceSpec;

/// Of a host candidate that was learnt from the peer (RFC 8445 section 5.1.2).
const PRIORITY: u32 = 1_853_824_767;

#[derive(Debug)]
pub(crate) struct Ice {
    credentials: IceSpec,
    tie_breaker: u64,
    transaction: Option<TransactionId>,
    pub(crate) is_connected: bool,
    /// Checks that were answered.
    pub(crate) answered: u64,
    pub(crate) asked: u64,
}

struct Raw(AttrType, Vec<u8>);

impl Setter for Raw {
    fn add_to(&self, message: &mut Message) -> Result<(), stun::Error> {
        message.add(self.0, &self.1);
        Ok(())
    }
}

impl Ice {
    pub(crate) fn new(credentials: IceSpec, tie_breaker: u64) -> Self {
        Self { credentials, tie_breaker, transaction: None, is_connected: false, answered: 0, asked: 0 }
    }

    /// A connectivity check, or one for consent.
    pub(crate) fn check(&mut self) -> Result<Vec<u8>> {
        let transaction = TransactionId::new();
        let user = format!("{}:{}", self.credentials.remote_ufrag, self.credentials.ufrag);
        let mut message = Message::new();
        message.build(&[
            Box::new(BINDING_REQUEST),
            Box::new(transaction),
            Box::new(TextAttribute::new(ATTR_USERNAME, user)),
            Box::new(Raw(ATTR_PRIORITY, PRIORITY.to_be_bytes().to_vec())),
            Box::new(Raw(ATTR_ICE_CONTROLLING, self.tie_breaker.to_be_bytes().to_vec())),
            Box::new(Raw(ATTR_USE_CANDIDATE, Vec::new())),
            Box::new(MessageIntegrity::new_short_term_integrity(self.credentials.remote_pwd.clone())),
            Box::new(FINGERPRINT),
        ])?;
        self.transaction = Some(transaction);
        self.asked += 1;
        Ok(message.raw)
    }

    /// What came in; answers what goes back.
    pub(crate) fn handle(&mut self, datagram: &[u8], from: SocketAddrV4) -> Option<Vec<u8>> {
        let mut message = Message::new();
        message.unmarshal_binary(datagram).ok()?;
        if message.typ == BINDING_REQUEST {
            MessageIntegrity::new_short_term_integrity(self.credentials.pwd.clone()).check(&mut message).ok()?;
            return self.answer(&message, from).ok();
        }
        if message.typ == BINDING_SUCCESS && self.transaction == Some(message.transaction_id) {
            MessageIntegrity::new_short_term_integrity(self.credentials.remote_pwd.clone()).check(&mut message).ok()?;
            self.is_connected = true;
            self.answered += 1;
        }
        None
    }

    fn answer(&self, request: &Message, from: SocketAddrV4) -> Result<Vec<u8>> {
        let mut message = Message::new();
        message.build(&[
            Box::new(BINDING_SUCCESS),
            Box::new(request.transaction_id),
            Box::new(XorMappedAddress { ip: IpAddr::V4(*from.ip()), port: from.port() }),
            Box::new(MessageIntegrity::new_short_term_integrity(self.credentials.pwd.clone())),
            Box::new(FINGERPRINT),
        ])?;
        Ok(message.raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_answered_by_whom_it_names() {
        let side = |own: &str, other: &str| IceSpec {
            ufrag: own.into(),
            pwd: format!("password of {own}"),
            remote_ufrag: other.into(),
            remote_pwd: format!("password of {other}"),
        };
        let (mut a, mut b, mut stranger) =
            (Ice::new(side("a", "b"), 1), Ice::new(side("b", "a"), 2), Ice::new(side("c", "b"), 3));
        let from = "127.0.0.1:9".parse().expect("an address");
        let check = a.check().expect("a check");
        assert!(stranger.handle(&check, from).is_none());
        let answer = b.handle(&check, from).expect("an answer");
        stranger.check().expect("a check");
        assert!(stranger.handle(&answer, from).is_none() && !stranger.is_connected);
        assert!(a.handle(&answer, from).is_none() && a.is_connected);
    }
}
