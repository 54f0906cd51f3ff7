//! An INVITE on its way to becoming a call: whom it dials, where that is, which legs it needs.

use std::net::IpAddr;
use std::sync::Arc;

use super::screen::{Arrived, Sender, Waiting};
use super::{CallKey, Engine, Output, can};
use crate::base::Now;
use crate::plan::{LegId, Source, Ssrc};
use crate::policy::account::Account;
use crate::policy::dialplan::Target;
use crate::policy::profile::{MediaKind, Profile};
use crate::signalling::call::ring::{Ring, Stage};
use crate::signalling::call::session_timer::{self, asked};
use crate::signalling::call::{Call, Invite, Leg, LegMediaState, LegState, Party};
use crate::signalling::dialog::Dialog;
use crate::signalling::flow::Flow;
use crate::signalling::offer::{LocalEnd, OfferAnswer, OfferError, SecureEnd};
use crate::signalling::record::{CallRecord, LegMedia};
use crate::wire::sip::{Message, escape_user, quote};

/// Where a branch goes, before there is a leg.
pub(super) struct Destination {
    who: String,
    party: Party,
    instance: Option<String>,
    pub(super) flow: Flow,
    profile: Arc<Profile>,
    /// The Request-URI.
    pub(super) uri: String,
    /// To, without tag.
    to: String,
}

impl Engine {
    pub(super) fn look_up_callee(&mut self, now: Now, arrived: Arrived, sender: Sender, out: &mut Vec<Output>) {
        let Some(dialled) = arrived.request.request_uri().ok().and_then(|uri| uri.user_decoded()) else {
            return self.refuse(now, &arrived, 404, "Nobody is dialled", out);
        };
        if self.is_merged(&arrived.request) {
            return self.refuse(now, &arrived, 482, "Merged request", out);
        }
        if arrived.request.line_named("Replaces").is_some() {
            return self.replace(now, &arrived, &sender, out);
        }
        let trying = self.response(&arrived, 100, "").end();
        self.finish(now, &arrived, 100, trying, out);
        if !self.config.dialplan.asks_for_account(&dialled, sender.party.caller()) {
            return self.route(now, arrived, sender, None, out);
        }
        // Account names are lower case; people are not.
        self.ask(Waiting::Callee { arrived, sender }, dialled.to_lowercase(), out);
    }

    /// The same request by another way (RFC 3261 section 8.2.2.2).
    fn is_merged(&self, invite: &Message) -> bool {
        let (Ok(call_id), Ok(from)) = (invite.call_id(), invite.from()) else { return false };
        let same = |other: &Message| other.call_id() == Ok(call_id) && other.from().is_ok_and(|f| f.tag() == from.tag());
        let leg = self.by_call_id.get(call_id).and_then(|leg| self.leg(*leg));
        let waits = |waiting: &Waiting| matches!(waiting, Waiting::Callee { arrived, .. } if same(&arrived.request));
        leg.is_some_and(|leg| leg.dialog.remote_tag.as_deref() == from.tag()) || self.waiting.values().any(waits)
    }

    pub(super) fn route(&mut self, now: Now, arrived: Arrived, sender: Sender, callee: Option<Account>, out: &mut Vec<Output>) {
        let dialled = arrived.request.request_uri().ok().and_then(|uri| uri.user_decoded()).unwrap_or_default();
        let decision = self.decide(&sender.party, &dialled, callee.as_ref());
        let demo = match decision.target {
            Target::Refuse { status } => return self.refuse(now, &arrived, status, "", out),
            Target::Echo => Some(Source::Itself),
            Target::Tone { hz } => Some(Source::Tone { hz }),
            Target::Account(_) | Target::Peer { .. } | Target::Group { .. } => None,
        };
        if self.calls.len() >= self.config.max_calls {
            return self.refuse(now, &arrived, 503, "Too many calls", out);
        }
        let mut leg = match self.leg_a(&arrived, &sender) {
            Ok(leg) => leg,
            Err((status, reason)) => return self.refuse(now, &arrived, status, reason, out),
        };
        leg.offer.prefer_by_route(decision.prefer);
        let to = match demo {
            Some(demo) => Err(demo),
            None => {
                let ring = Ring::new(leg.id, decision.target, decision.forward, decision.ring_secs);
                Ok(ring.preferring(decision.prefer))
            }
        };
        let record = CallRecord {
            // The call knows it, and gives it to the record in the end.
            id: String::new(),
            from: leg.who.to_string(),
            dialled,
            because: decision.because,
            sip_call_ids: [Some(leg.dialog.call_id.clone()), None],
            started_unix_ms: now.unix_ms(),
            answered_unix_ms: None,
            ended_unix_ms: 0,
            status: 0,
            ended_by: String::new(),
            pipeline: String::new(),
            media: [LegMedia::default(), LegMedia::default()],
        };
        let id: Arc<str> = self.call_id(now).into();
        let names = leg.clone();
        let key = self.calls.insert(Call::new(id.clone(), leg, to, self.config.times, record));
        self.remember(key, &names);
        self.transactions.belongs_to(arrived.server, id.clone());
        tracing::debug!(call = %id, "call");
        self.with_call(now, key, out, |call, acts| call.start(now, acts));
    }

    /// The gateway's id of a new call: seven letters of time, so that what is kept of calls lies together by age (a database
    /// writes a page for many, not one for each), and five by chance.
    fn call_id(&mut self, now: Now) -> String {
        const LETTERS: &[u8; 32] = b"23456789abcdefghijkmnpqrstuvwxyz";
        let secs = now.unix.as_secs();
        let time = (0..7).rev().map(|at| char::from(LETTERS[(secs >> (5 * at)) as usize & 31]));
        time.chain(self.rng.word(5).chars()).collect()
    }

    /// Makes a branch for each device of each target, and has them rung.
    pub(super) fn ring_stage(&mut self, now: Now, key: CallKey, stage: Stage, out: &mut Vec<Output>) {
        let call = &self.calls[key];
        let room = call.branch_room();
        let Some(waiting) = call.waiting_leg() else { return };
        let (identity, own_flow, prefer) = (waiting.identity.clone(), waiting.flow, call.preferred());
        let max_forwards = match &waiting.invite {
            Invite::Uas { max_forwards, .. } | Invite::Uac { max_forwards } => *max_forwards,
        };
        let destinations: Vec<Destination> = stage.iter().flat_map(|target| self.destinations(target)).collect();
        // Who calls an account of its own calls its other devices.
        let others = destinations.into_iter().filter(|to| !(to.flow == own_flow && own_flow.is_reliable()));
        let others: Vec<Destination> = others.take(room).collect();
        let mut legs: Vec<Leg> = others.into_iter().map(|to| self.branch(to, &identity, max_forwards)).collect();
        legs.iter_mut().for_each(|leg| leg.offer.prefer_by_route(prefer));
        legs.iter().for_each(|leg| self.remember(key, leg));
        self.with_call(now, key, out, |call, acts| call.on_branches(legs, now, acts));
    }

    pub(super) fn leg_a(&mut self, arrived: &Arrived, sender: &Sender) -> Result<Leg, (u16, &'static str)> {
        let profile = self.profile_of(arrived.flow).clone();
        let (id, tag) = self.mint_leg();
        let dialog = Dialog::from_invite(&arrived.request, tag).map_err(|_| (400, "Malformed or missing Contact"))?;
        let body = arrived.request.body();
        let session_expires_secs = profile.session_expires_secs;
        let mut offer = OfferAnswer::new(profile.clone(), self.local_end(&profile));
        // Without an offer, ours goes out with the 200 (RFC 3261 section 13.3.1).
        if !body.is_empty() {
            offer.receive_offer(body).map_err(|error| match error {
                OfferError::Sdp(_) => (400, "Malformed session description"),
                OfferError::NoAudio => (488, "No audio is offered"),
                OfferError::Transport => (488, "Its transport is not of this kind of peer"),
                OfferError::Security => (488, "ICE, fingerprint or rtcp-mux is missing"),
                OfferError::NoCommonCodec => (488, "No codec in common"),
                OfferError::Address => (488, "Its media address cannot be used"),
                OfferError::Unexpected => (500, ""),
            })?;
        }
        let (who, instance) = match &sender.party {
            Party::Account(name) => (name.clone(), self.registrar.instance_of(name, arrived.flow)),
            Party::Peer(name) => {
                let number = arrived.request.from().ok().and_then(|from| from.uri.user_decoded()).unwrap_or_default();
                (format!("{name} {number}").trim_end().to_owned(), None)
            }
        };
        let can = can(&arrived.request);
        let max_forwards = arrived.request.max_forwards().ok().flatten().unwrap_or(70).saturating_sub(1);
        let request = Some(Box::new(arrived.request.clone()));
        let invite = Invite::Uas { server: arrived.server, request, max_forwards };
        let invite_seq = arrived.request.cseq().map(|cseq| cseq.number).unwrap_or_default();
        let timer = session_timer::grant(asked(&arrived.request), can.timer, session_expires_secs);
        let media_ip = self.media_ip(arrived.flow);
        Ok(Leg {
            instance,
            can,
            invite_seq,
            timer,
            ..new_leg(id, &who, sender, arrived.flow, media_ip, invite, LegState::Incoming, dialog, offer)
        })
    }

    fn branch(&mut self, to: Destination, identity: &str, max_forwards: u8) -> Leg {
        let call_id = self.rng.token(22);
        let (id, tag) = self.mint_leg();
        let local = self.local_end(&to.profile);
        let dialog = Dialog::to_invite(call_id, tag, identity.to_owned(), to.to.clone(), to.uri);
        let offer = OfferAnswer::new(to.profile, local);
        let media_ip = self.media_ip(to.flow);
        let sender = Sender { party: to.party, identity: to.to };
        let invite = Invite::Uac { max_forwards };
        let leg = new_leg(id, &to.who, &sender, to.flow, media_ip, invite, LegState::Idle, dialog, offer);
        Leg { instance: to.instance, ..leg }
    }

    /// How others see an account: as the directory knows it, whatever its own From says.
    pub(super) fn identity_of_account(&self, account: &Account) -> String {
        let display = account.display_name.as_deref().unwrap_or(&account.name);
        let user = account.number.as_deref().unwrap_or(&account.name);
        format!("{} <sip:{}@{}>", quote(display), escape_user(user), self.config.domain)
    }

    /// How others see one who calls by a trusted peer: as the peer says.
    pub(super) fn identity_of_peer(&self, peer: &str, request: &Message) -> String {
        let from = request.from().ok();
        let user = from.as_ref().and_then(|f| f.uri.user_decoded()).unwrap_or_else(|| peer.to_owned());
        let display = from.and_then(|f| f.display_text()).map(|d| format!("{} ", quote(&d))).unwrap_or_default();
        format!("{display}<sip:{}@{}>", escape_user(&user), self.config.domain)
    }

    /// The devices of a target.
    pub(super) fn destinations(&self, target: &Target) -> Vec<Destination> {
        match target {
            Target::Account(name) => self.destinations_of_account(name),
            Target::Peer { peer, number } => self.destination_of_peer(peer, number).into_iter().collect(),
            Target::Group { members, .. } => members.iter().flat_map(|member| self.destinations(member)).collect(),
            Target::Echo | Target::Tone { .. } | Target::Refuse { .. } => Vec::new(),
        }
    }

    fn destinations_of_account(&self, name: &str) -> Vec<Destination> {
        let to = format!("<sip:{}@{}>", escape_user(name), self.config.domain);
        let bindings = self.registrar.bindings(name).into_iter();
        bindings
            .map(|binding| Destination {
                who: name.to_owned(),
                party: Party::Account(name.to_owned()),
                instance: binding.instance.clone(),
                flow: binding.flow,
                profile: self.profile_of(binding.flow).clone(),
                // A Contact's `?headers` are not the caller's to send (RFC 3261 section 19.1.5).
                uri: binding.contact.split('?').next().unwrap_or_default().to_owned(),
                to: to.clone(),
            })
            .collect()
    }

    fn destination_of_peer(&self, name: &str, number: &str) -> Option<Destination> {
        let peer = self.config.peer_named(name)?;
        let local = self.config.udp_toward(peer.address.ip())?;
        let uri = format!("sip:{}@{}", escape_user(number), peer.address);
        Some(Destination {
            who: name.to_owned(),
            party: Party::Peer(name.to_owned()),
            instance: None,
            flow: Flow::Udp { local, remote: peer.address },
            profile: peer.profile.clone(),
            to: format!("<{uri}>"),
            uri,
        })
    }

    fn local_end(&mut self, profile: &Profile) -> LocalEnd {
        let secure = (profile.media == MediaKind::Webrtc).then(|| {
            Box::new(SecureEnd {
                // 5 bits a letter: RFC 8839 asks for at least 24 and 128 bits.
                ice_ufrag: self.rng.word(8),
                ice_pwd: self.rng.word(26),
                fingerprint: self.config.fingerprint,
            })
        });
        LocalEnd { addresses: Vec::new(), ssrc: Ssrc(self.rng.next_u32()), session_id: u64::from(self.rng.next_u32()), secure }
    }

    fn media_ip(&self, flow: Flow) -> IpAddr {
        let unspecified = std::net::Ipv4Addr::UNSPECIFIED.into();
        self.local_of(flow).map_or(unspecified, |local| local.ip())
    }
}

#[allow(clippy::too_many_arguments)]
fn new_leg(
    id: LegId,
    who: &str,
    sender: &Sender,
    flow: Flow,
    media_ip: IpAddr,
    invite: Invite,
    state: LegState,
    dialog: Dialog,
    offer: OfferAnswer,
) -> Leg {
    Leg {
        id,
        who: who.into(),
        party: sender.party.clone(),
        identity: sender.identity.clone(),
        instance: None,
        flow,
        flow_closed: false,
        media_ip,
        invite,
        client: None,
        invite_seq: 0,
        state,
        dialog,
        offer,
        can: Default::default(),
        unacked: None,
        reliable: Default::default(),
        seen_rseq: None,
        timer: None,
        min_se_secs: 0,
        refreshing: None,
        proposals: 0,
        moves_to_opus: false,
        refer: None,
        keys: Default::default(),
        media: LegMediaState::Unopened,
        path: None,
        connected: false,
        failure: None,
        stats: None,
    }
}
