use std::time::Instant;

use is::stun::StunMessage;
use smallvec::SmallVec;

use super::dtls::{DtlsEvent, DtlsIdentity, Handshake};
use super::ice::{Checked, Ice};
use super::srtp::{SrtpError, SrtpRx, SrtpTx};
use super::{Pair, Sink, WorkerId};
use crate::plan::{DtlsRole, LegFailure};

/// What a browser leg has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The keys are there.
    Connected,
    /// It will never work, or no longer does.
    Failed(LegFailure),
}

/// A browser leg: ICE finds it, DTLS gives it keys, SRTP carries it.
#[derive(Debug)]
pub(super) struct Browser {
    /// The worker whose port it sends to, wherever the leg lives.
    pub(super) home: WorkerId,
    /// Where it is.
    pub(super) ice: Ice,
    /// Whose certificate, and who speaks first; known with SetRemote.
    expected: Option<(DtlsRole, [u8; 32])>,
    /// Begun with the first validated remote.
    handshake: Option<Handshake>,
    /// With the keys of the newest handshake that has ended.
    srtp: Option<Box<(SrtpRx, SrtpTx)>>,
    /// The keys are another certificate's: they serve until the new ones are there.
    renewing: bool,
    failed: bool,
}

/// Remotes that a step validated or forgot.
pub(super) type Changes = SmallVec<[Checked; 2]>;

fn put(sink: &mut dyn Sink, pair: Pair, bytes: &[u8]) {
    sink.slot().fill(bytes);
    sink.transmit(pair);
}

impl Browser {
    /// A leg that waits for its far side.
    #[must_use]
    pub(super) fn new(home: WorkerId, ufrag: String, pwd: String) -> Self {
        let ice = Ice::new(ufrag, pwd);
        Self { home, ice, expected: None, handshake: None, srtp: None, renewing: false, failed: false }
    }

    /// The far side's SDP. With another fingerprint or role a new handshake is waited for; until it has ended the old keys are
    /// good.
    pub(super) fn set_remote(
        &mut self,
        now: Instant,
        creds: (&str, &str),
        fingerprint: [u8; 32],
        role: DtlsRole,
        sink: &mut dyn Sink,
    ) -> Changes {
        if self.failed {
            (self.handshake, self.srtp, self.renewing, self.failed) = (None, None, false, false);
        }
        if self.expected.replace((role, fingerprint)).is_some_and(|expected| expected != (role, fingerprint)) {
            (self.handshake, self.renewing) = (None, self.srtp.is_some());
        }
        let mut changes = Changes::new();
        self.ice.set_remote(now, creds.0, creds.1, |pair, stun| put(sink, pair, stun), |checked| changes.push(checked));
        changes
    }

    /// A STUN datagram that names our user fragment.
    pub(super) fn on_stun(&mut self, now: Instant, pair: Pair, message: StunMessage<'_>, sink: &mut dyn Sink) -> Option<Checked> {
        if self.failed {
            return None;
        }
        self.ice.handle_stun(now, pair, message, |stun| put(sink, pair, stun))
    }

    /// Begins the handshake once there is someone to shake hands with.
    pub(super) fn begin(&mut self, now: Instant, identity: &DtlsIdentity, sink: &mut dyn Sink) -> Option<Turn> {
        let (Some((role, expected)), None, Some(_), false) =
            (self.expected, &self.handshake, self.ice.handshake_pair(), self.failed)
        else {
            return None;
        };
        self.handshake = Some(Handshake::new(now, identity, role, expected));
        self.on_dtls_timeout(now, sink)
    }

    /// A DTLS datagram from a validated remote; answered to where it came from, for a browser may nominate later.
    pub(super) fn on_dtls(&mut self, now: Instant, pair: Pair, datagram: &[u8], sink: &mut dyn Sink) -> Option<Turn> {
        // What the old page says last is not for the new one's ears.
        let stale = self.renewing && !self.ice.is_current(pair);
        let handshake = self.handshake.as_mut().filter(|_| !stale)?;
        let step = handshake.handle_datagram(now, datagram, |packet| put(sink, pair, packet));
        self.turn(step)
    }

    fn on_dtls_timeout(&mut self, now: Instant, sink: &mut dyn Sink) -> Option<Turn> {
        let (handshake, pair) = (self.handshake.as_mut()?, self.ice.handshake_pair().or_else(|| self.ice.send_pair())?);
        let step = handshake.handle_timeout(now, |packet| put(sink, pair, packet));
        self.turn(step)
    }

    fn turn(&mut self, step: Result<Option<DtlsEvent>, LegFailure>) -> Option<Turn> {
        match step {
            Ok(None) => None,
            Ok(Some(DtlsEvent::Keys(srtp))) => {
                (self.srtp, self.renewing) = (Some(srtp), false);
                Some(Turn::Connected)
            }
            Ok(Some(DtlsEvent::Closed)) => Some(self.fail(LegFailure::DtlsClosed)),
            Err(cause) => Some(self.fail(cause)),
        }
    }

    fn fail(&mut self, cause: LegFailure) -> Turn {
        (self.handshake, self.srtp, self.failed) = (None, None, true);
        Turn::Failed(cause)
    }

    /// Whatever is due at `now`.
    pub(super) fn handle_timeout(&mut self, now: Instant, sink: &mut dyn Sink) -> Option<Turn> {
        if self.failed {
            return None;
        }
        if self.ice.has_timed_out(now) {
            return Some(self.fail(LegFailure::IceTimeout));
        }
        let due = self.handshake.as_ref().and_then(Handshake::poll_timeout).is_some_and(|at| at <= now);
        if due { self.on_dtls_timeout(now, sink) } else { None }
    }

    /// The next deadline and its name.
    #[must_use]
    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        if self.failed {
            return None;
        }
        let ice = self.ice.timeout().map(|at| (at, "ice"));
        let dtls = self.handshake.as_ref().and_then(Handshake::poll_timeout).map(|at| (at, "dtls"));
        ice.into_iter().chain(dtls).min()
    }

    /// Keys to hear with.
    pub(super) fn rx(&mut self) -> Option<&mut SrtpRx> {
        self.srtp.as_mut().map(|srtp| &mut srtp.0)
    }

    /// Where to send, once there are keys to send with.
    #[must_use]
    pub(super) fn send_pair(&self) -> Option<Pair> {
        self.srtp.as_ref().and_then(|_| self.ice.send_pair())
    }

    /// Protects `buf[..len]`, RTP or RTCP; the new length.
    ///
    /// # Errors
    /// As [`SrtpTx`]; [`SrtpError::KeyLength`] before there are keys.
    pub(super) fn protect(&mut self, buf: &mut [u8], len: usize, rtcp: bool) -> Result<usize, SrtpError> {
        let tx = self.srtp.as_mut().map(|srtp| &mut srtp.1).ok_or(SrtpError::KeyLength)?;
        if rtcp { tx.protect_rtcp(buf, len) } else { tx.protect_rtp(buf, len) }
    }

    /// Says good-bye (DTLS close_notify).
    pub(super) fn close(&mut self, sink: &mut dyn Sink) {
        if let (Some(mut handshake), Some(pair)) = (self.handshake.take(), self.ice.send_pair()) {
            handshake.close(|packet| put(sink, pair, packet));
        }
    }
}
