//! Who hears whom: what SetPath and Close mean for the flows between legs.

use std::sync::Arc;

use super::Sink;
use super::core::Core;
use super::flow::{Flow, Target};
use super::routes::LegKey;
use super::seats::Seats;
use crate::base::Now;
use crate::plan::{LegId, LegPlan, Source};

impl Core {
    /// What a leg agreed to and what it hears. What stays the same goes on unbroken.
    pub(super) fn set_path(&mut self, now: Now, id: LegId, plan: LegPlan, hears: Source, sink: &mut dyn Sink) {
        let Some(key) = self.key(id) else { return };
        // Who hears itself needs no other leg for it.
        let hears = if hears == Source::Leg(id) { Source::Itself } else { hears };
        let music = Arc::clone(&self.music);
        self.step(now, key, sink, |seat, _, _| seat.leg.set_plan(now.mono, plan));
        self.listen(now, key, hears, sink);
        self.step(now, key, sink, |seat, _, _| seat.leg.set_source(now.mono, hears, &music));
        self.rejoin(now, key, sink);
        if let Source::Leg(speaker) = hears {
            self.rejoin_id(now, speaker, sink);
        }
    }

    /// Makes `key` the one that hears what `hears` names. Who heard that before hears nothing.
    fn listen(&mut self, now: Now, key: LegKey, hears: Source, sink: &mut dyn Sink) {
        let Some(seat) = self.seats.get_mut(key) else { return };
        let id = seat.leg.id;
        let before = std::mem::replace(&mut seat.hears, hears);
        if let Some(speaker) = speaker_of(id, before).filter(|_| before != hears) {
            self.listeners.remove(&speaker);
            self.rejoin_id(now, speaker, sink);
        }
        let Some(speaker) = speaker_of(id, hears) else { return };
        let other = self.listeners.insert(speaker, key).filter(|other| *other != key);
        if let Some(other) = other.and_then(|other| self.seats.get_mut(other)) {
            other.hears = Source::Nothing;
        }
    }

    /// A leg is gone: who heard it hears nothing, and what it heard is heard by nobody.
    pub(super) fn part(&mut self, now: Now, id: LegId, hears: Source, sink: &mut dyn Sink) {
        if let Some(listener) = self.listeners.remove(&id).and_then(|listener| self.seats.get_mut(listener)) {
            listener.hears = Source::Nothing;
            // A key that was down is so no longer.
            listener.leg.voice.let_go(0);
        }
        if let Source::Leg(speaker) = hears {
            self.listeners.remove(&speaker);
            self.rejoin_id(now, speaker, sink);
        }
    }

    /// A leg hears nothing any more.
    pub(super) fn unhear(&mut self, now: Now, id: LegId, sink: &mut dyn Sink) {
        if let Some(key) = self.key(id) {
            self.listen(now, key, Source::Nothing, sink);
        }
    }

    fn rejoin_id(&mut self, now: Now, speaker: LegId, sink: &mut dyn Sink) {
        if let Some(speaker) = self.key(speaker) {
            self.rejoin(now, speaker, sink);
        }
    }

    /// Lays the flow from one leg to who hears it, as soon as both have agreed; leaves it alone where it fits.
    pub(super) fn rejoin(&mut self, now: Now, speaker: LegKey, sink: &mut dyn Sink) {
        let Some(id) = self.seats.get(speaker).map(|seat| seat.leg.id) else { return };
        let target = match self.listeners.get(&id) {
            None => Target::Nobody,
            Some(listener) if *listener == speaker => Target::Itself,
            Some(listener) => Target::Leg(*listener),
        };
        let Some(flow) = self.guarded(now, speaker, sink, |seats, _| new_flow(now, seats, speaker, target)).flatten() else {
            return;
        };
        self.step(now, speaker, sink, |seat, hearer, sink| seat.lay(now.mono, flow, hearer, sink));
        // The step above had who heard it before; this one has who hears it now.
        self.step(now, speaker, sink, |seat, hearer, _| {
            if let Some(hearer) = hearer {
                hearer.hear(seat.flow.is_transcoding());
            }
        });
    }
}

/// The leg that `hears` names, seen from the leg `id`.
pub(super) fn speaker_of(id: LegId, hears: Source) -> Option<LegId> {
    match hears {
        Source::Leg(speaker) => Some(speaker),
        Source::Itself => Some(id),
        Source::Nothing | Source::Tone { .. } | Source::Ringback | Source::Music => None,
    }
}

/// The flow that is to be laid; none when the one that is there fits.
fn new_flow(now: Now, seats: &Seats, speaker: LegKey, target: Target) -> Option<Flow> {
    let seat = seats.get(speaker)?;
    let hearer = seats.hearer(speaker, target);
    let plans = seat.leg.plan.zip(hearer.and_then(|hearer| hearer.plan));
    let (Some(hearer), Some((from, to))) = (hearer, plans) else {
        return (seat.flow.target() != Target::Nobody).then(Flow::default);
    };
    let out_ts = || hearer.tx.ts_next(now.mono, to.codec.clock_hz());
    (!seat.flow.fits(target, &from, &to)).then(|| Flow::new(target, &from, &to, out_ts()))
}
