//! An INVITE on its way to becoming a call: whom it dials, where that is, which legs it needs.

use std::net::IpAddr;

use super::screen::{Arrived, Party, Stage};
use super::{CallKey, Engine, Output};
use crate::base::Now;
use crate::plan::{Path, SessionId, Side, Ssrc};
use crate::policy::account::Account;
use crate::policy::dialplan::{Caller, Intent, Target};
use crate::policy::profile::{MediaKind, Profile};
use crate::signalling::call::{Call, Callee, Invite, Leg, LegState};
use crate::signalling::dialog::Dialog;
use crate::signalling::flow::Flow;
use crate::signalling::offer::{LocalEnd, OfferAnswer, OfferError, SecureEnd};
use crate::signalling::record::{CallRecord, LegMedia};
use crate::signalling::transaction::ServerId;
use crate::wire::sip::{Message, escape_user, quote};

/// Where leg B goes, before there is a leg.
pub(super) struct Destination {
    who: String,
    pub(super) flow: Flow,
    profile: Profile,
    /// The Request-URI.
    pub(super) uri: String,
    /// To, without tag.
    to: String,
}

impl Engine {
    pub(super) fn call_by_invite(&self, server: ServerId) -> Option<CallKey> {
        self.by_invite.get(&server).copied()
    }

    pub(super) fn look_up_callee(&mut self, now: Now, arrived: Arrived, caller: Party, out: &mut Vec<Output>) {
        let Some(dialled) = arrived.request.request_uri().ok().and_then(|uri| uri.user_decoded()) else {
            return self.refuse(now, &arrived, 404, "Nobody is dialled", out);
        };
        if self.is_merged(&arrived.request) {
            return self.refuse(now, &arrived, 482, "Merged request", out);
        }
        let trying = self.response(&arrived, 100, "").end();
        self.finish(now, &arrived, 100, trying, out);
        // Account names are lower case; people are not.
        self.ask(arrived, Stage::Callee { caller }, dialled.to_lowercase(), out);
    }

    /// The same request by another way (RFC 3261 section 8.2.2.2).
    fn is_merged(&self, invite: &Message) -> bool {
        let (Ok(call_id), Ok(from)) = (invite.call_id(), invite.from()) else { return false };
        let same = |other: &Message| other.call_id() == Ok(call_id) && other.from().is_ok_and(|f| f.tag() == from.tag());
        let in_call =
            self.by_call_id.get(call_id).is_some_and(|key| self.calls[*key].a.dialog.remote_tag.as_deref() == from.tag());
        in_call || self.waiting.values().any(|w| matches!(w.stage, Stage::Callee { .. }) && same(&w.arrived.request))
    }

    pub(super) fn route(&mut self, now: Now, arrived: Arrived, caller: Party, callee: Option<Account>, out: &mut Vec<Output>) {
        let dialled = arrived.request.request_uri().ok().and_then(|uri| uri.user_decoded()).unwrap_or_default();
        let from = match &caller {
            Party::Account(account) => Caller::Account(&account.name),
            Party::Peer(name) => Caller::Peer(name),
        };
        let intent = Intent { dialled: &dialled, account: callee.as_ref().map(|a| a.name.as_str()), from };
        let decision = self.config.dialplan.route(&intent);
        let destination = match decision.target {
            Target::Refuse { status } => return self.refuse(now, &arrived, status, "", out),
            Target::Echo => Err(Path::Echo),
            Target::Tone { hz } => Err(Path::Tone { hz }),
            Target::Account(name) => match self.destination_of_account(&name) {
                Some(destination) => Ok(destination),
                None => return self.refuse(now, &arrived, 480, "Not registered", out),
            },
            Target::Peer { peer, number } => match self.destination_of_peer(&peer, &number) {
                Some(destination) => Ok(destination),
                None => return self.refuse(now, &arrived, 500, "No way to that peer", out),
            },
        };
        if self.calls.len() >= self.config.max_calls {
            return self.refuse(now, &arrived, 503, "Too many calls", out);
        }
        let a = match self.leg_a(&arrived, &caller) {
            Ok(leg) => leg,
            Err((status, reason)) => return self.refuse(now, &arrived, status, reason, out),
        };
        let max_forwards = arrived.request.max_forwards().ok().flatten().unwrap_or(70).saturating_sub(1);
        let callee = match destination {
            Err(path) => Callee::Gateway(path),
            Ok(destination) => Callee::Leg(Box::new(self.leg_b(destination, &arrived.request, &caller, max_forwards))),
        };
        let record = CallRecord {
            id: self.rng.word(12),
            from: a.who.clone(),
            dialled,
            because: decision.because,
            sip_call_ids: [
                Some(a.dialog.call_id.clone()),
                if let Callee::Leg(b) = &callee { Some(b.dialog.call_id.clone()) } else { None },
            ],
            started_unix_ms: now.unix_ms(),
            answered_unix_ms: None,
            ended_unix_ms: 0,
            status: 0,
            ended_by: String::new(),
            pipeline: String::new(),
            media: [LegMedia::default(), LegMedia::default()],
        };
        self.open(now, arrived.server, a, callee, record, out);
    }

    fn open(&mut self, now: Now, server: ServerId, a: Leg, callee: Callee, record: CallRecord, out: &mut Vec<Output>) {
        let session = SessionId(self.mint());
        let id: std::sync::Arc<str> = record.id.as_str().into();
        let tags = [
            Some(a.dialog.local_tag.clone()),
            if let Callee::Leg(b) = &callee { Some(b.dialog.local_tag.clone()) } else { None },
        ];
        let call_id = a.dialog.call_id.clone();
        let key = self.calls.insert(Call::new(id.clone(), session, a, callee, self.config.times, record));
        for (tag, side) in tags.into_iter().zip([Side::A, Side::B]) {
            if let Some(tag) = tag {
                self.by_tag.insert(tag, (key, side));
            }
        }
        self.by_session.insert(session, key);
        self.by_invite.insert(server, key);
        self.by_call_id.insert(call_id, key);
        self.transactions.belongs_to(server, id.clone());
        tracing::info!(call = %id, "call");
        self.with_call(now, key, out, Call::start);
    }

    fn leg_a(&mut self, arrived: &Arrived, caller: &Party) -> Result<Leg, (u16, &'static str)> {
        let profile = self.profile_of(arrived.flow).clone();
        let tag = self.rng.token(22);
        let dialog = Dialog::from_invite(&arrived.request, tag).map_err(|_| (400, "Malformed or missing Contact"))?;
        let body = arrived.request.body();
        if body.is_empty() {
            return Err((488, "An offer is expected in the INVITE"));
        }
        let mut offer = OfferAnswer::new(profile.clone(), self.local_end(&profile));
        offer.receive_offer(body).map_err(|error| match error {
            OfferError::Sdp(_) => (400, "Malformed session description"),
            OfferError::NoAudio => (488, "No audio is offered"),
            OfferError::Transport => (488, "Its transport is not of this kind of peer"),
            OfferError::Security => (488, "ICE, fingerprint or rtcp-mux is missing"),
            OfferError::NoCommonCodec => (488, "No codec in common"),
            OfferError::Address => (488, "Its media address cannot be used"),
            OfferError::Unexpected => (500, ""),
        })?;
        let who = match caller {
            Party::Account(account) => account.name.clone(),
            Party::Peer(name) => {
                let number = arrived.request.from().ok().and_then(|from| from.uri.user_decoded()).unwrap_or_default();
                format!("{name} {number}").trim_end().to_owned()
            }
        };
        Ok(Leg {
            who,
            flow: arrived.flow,
            flow_closed: false,
            media_ip: self.media_ip(arrived.flow),
            invite: Invite::Uas { server: arrived.server, request: arrived.request.clone() },
            state: LegState::Incoming,
            dialog,
            offer,
            unacked: None,
            connected: false,
            failure: None,
        })
    }

    fn leg_b(&mut self, to: Destination, invite: &Message, caller: &Party, max_forwards: u8) -> Leg {
        let from = self.caller_id(invite, caller);
        let (call_id, tag) = (self.rng.token(22), self.rng.token(22));
        let local = self.local_end(&to.profile);
        Leg {
            who: to.who,
            flow: to.flow,
            flow_closed: false,
            media_ip: self.media_ip(to.flow),
            invite: Invite::Uac { client: None, max_forwards },
            state: LegState::Idle,
            dialog: Dialog::to_invite(call_id, tag, from, to.to, to.uri),
            offer: OfferAnswer::new(to.profile, local),
            unacked: None,
            connected: false,
            failure: None,
        }
    }

    /// From toward leg B: an account is who the directory says it is, whatever its own From said; a trusted peer is believed.
    pub(super) fn caller_id(&self, invite: &Message, caller: &Party) -> String {
        let domain = &self.config.domain;
        match caller {
            Party::Account(account) => {
                let display = account.display_name.as_deref().unwrap_or(&account.name);
                let user = account.number.as_deref().unwrap_or(&account.name);
                format!("{} <sip:{}@{domain}>", quote(display), escape_user(user))
            }
            Party::Peer(name) => {
                let from = invite.from().ok();
                let user = from.as_ref().and_then(|f| f.uri.user_decoded()).unwrap_or_else(|| name.clone());
                let display = from.and_then(|f| f.display_text()).map(|d| format!("{} ", quote(&d))).unwrap_or_default();
                format!("{display}<sip:{}@{domain}>", escape_user(&user))
            }
        }
    }

    fn destination_of_account(&self, name: &str) -> Option<Destination> {
        // One device: the one that was heard of last. Ringing them all is forking's.
        let binding = self.registrar.bindings(name).into_iter().next()?;
        // A Contact's `?headers` are not the caller's to send (RFC 3261 section 19.1.5).
        let uri = binding.contact.split('?').next().unwrap_or_default().to_owned();
        Some(Destination {
            who: name.to_owned(),
            flow: binding.flow,
            profile: self.profile_of(binding.flow).clone(),
            uri,
            to: format!("<sip:{}@{}>", escape_user(name), self.config.domain),
        })
    }

    pub(super) fn destination_of_peer(&self, name: &str, number: &str) -> Option<Destination> {
        let peer = self.config.peer_named(name)?;
        let local = self.config.udp_toward(peer.address.ip())?;
        let uri = format!("sip:{}@{}", escape_user(number), peer.address);
        Some(Destination {
            who: name.to_owned(),
            flow: Flow::Udp { local, remote: peer.address },
            profile: peer.profile.clone(),
            to: format!("<{uri}>"),
            uri,
        })
    }

    fn local_end(&mut self, profile: &Profile) -> LocalEnd {
        let secure = (profile.media == MediaKind::Webrtc).then(|| SecureEnd {
            // 5 bits a letter: RFC 8839 asks for at least 24 and 128 bits.
            ice_ufrag: self.rng.word(8),
            ice_pwd: self.rng.word(26),
            fingerprint: self.config.fingerprint,
        });
        LocalEnd { addresses: Vec::new(), ssrc: Ssrc(self.rng.next_u32()), session_id: u64::from(self.rng.next_u32()), secure }
    }

    fn media_ip(&self, flow: Flow) -> IpAddr {
        let unspecified = std::net::Ipv4Addr::UNSPECIFIED.into();
        self.local_of(flow).map_or(unspecified, |local| local.ip())
    }
}
