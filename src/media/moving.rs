//! How legs move from one worker's core to another's, with all that they are and remember.

use std::collections::BTreeMap;

use super::core::Core;
use super::flow::{Flow, Target};
use super::routes::{Address, LegKey, Whose};
use super::seat::Seat;
use super::{PortPair, Sink, WorkerId};
use crate::base::Now;
use crate::plan::LegId;

/// What the home of a leg on a shared port is told by the core that the leg lives in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteChange {
    /// The leg is found by this, too.
    Add(LegId, Address),
    /// And by this no longer.
    Remove(LegId, Address),
    /// The leg has ended.
    Gone(LegId),
}

/// Legs on their way to another core: plain data, but for the numbers of a leg's own sockets, which whoever carries it exchanges
/// for those that they have there ([`Parcel::ports`]).
#[derive(Debug, Default)]
pub struct Parcel {
    seats: Vec<Packed>,
}

#[derive(Debug)]
struct Packed {
    seat: Seat,
    /// What led to it, as far as no other leg had taken it over.
    addresses: Vec<Address>,
    /// Who hears it, if that comes along.
    heard_by: Option<LegId>,
}

impl Parcel {
    /// Which legs.
    pub fn legs(&self) -> impl Iterator<Item = LegId> {
        self.seats.iter().map(|packed| packed.seat.leg.id)
    }

    /// The ports that its legs have for their own.
    pub fn ports(&mut self) -> impl Iterator<Item = &mut PortPair> {
        self.seats.iter_mut().filter_map(|packed| packed.seat.leg.own_ports())
    }
}

impl Core {
    /// Takes legs out, those of them that are there, to live with worker `to`. Those that hear each other ought to go together:
    /// who stays behind and heard one of them hears nothing. What comes on our port for them is handed over from now on.
    pub fn extract(&mut self, now: Now, legs: &[LegId], to: WorkerId, sink: &mut dyn Sink) -> Parcel {
        for id in legs {
            self.untie(now, *id, legs, sink);
        }
        let keys: BTreeMap<LegKey, LegId> = legs.iter().filter_map(|id| Some((self.key(*id)?, *id))).collect();
        let seats = keys.iter().filter_map(|(key, id)| self.pack(*key, *id, &keys, to)).collect();
        Parcel { seats }
    }

    /// Ends what ties a leg to others than `legs`.
    fn untie(&mut self, now: Now, id: LegId, legs: &[LegId], sink: &mut dyn Sink) {
        let Some(seat) = self.key(id).and_then(|key| self.seats.get(key)) else { return };
        let speaker = seat.speaker();
        let listener = self.listeners.get(&id).and_then(|key| self.seats.get(*key)).map(|seat| seat.leg.id);
        if speaker.is_some_and(|speaker| self.key(speaker).is_some() && !legs.contains(&speaker)) {
            self.unhear(now, id, sink);
        }
        if let Some(listener) = listener.filter(|listener| !legs.contains(listener)) {
            self.unhear(now, listener, sink);
        }
    }

    fn pack(&mut self, key: LegKey, id: LegId, legs: &BTreeMap<LegKey, LegId>, to: WorkerId) -> Option<Packed> {
        self.by_id.remove(&id);
        let mut seat = self.seats.remove(key)?;
        if let Some(speaker) = seat.speaker() {
            self.listeners.remove(&speaker);
        }
        let heard_by = match seat.flow.target() {
            Target::Leg(hearer) => legs.get(&hearer).copied(),
            Target::Itself => Some(id),
            Target::Nobody => None,
        };
        if let Some(ports) = seat.leg.own_ports() {
            self.routes.remove_ports(*ports);
        }
        let is_home = seat.leg.home() == Some(self.worker);
        let mut addresses = seat.leg.addresses();
        addresses.retain(|address| self.routes.whose(address) == Some(Whose::Here(key)));
        for address in &addresses {
            if is_home {
                self.routes.add(address.clone(), Whose::Away(id));
            } else {
                self.routes.remove(address, Whose::Here(key));
            }
        }
        if is_home {
            self.routes.set_away(id, to);
        }
        seat.armed = None;
        Some(Packed { seat, addresses, heard_by })
    }

    /// Takes legs in that another core gave out. The room for legs is a limit to [`Open`](crate::plan::MediaCommand::Open)
    /// alone: none is turned away here.
    pub fn adopt(&mut self, now: Now, parcel: Parcel, sink: &mut dyn Sink) {
        let mut flows = Vec::with_capacity(parcel.seats.len());
        for Packed { seat, addresses, heard_by } in parcel.seats {
            let (id, speaker, is_home) = (seat.leg.id, seat.speaker(), seat.leg.home() == Some(self.worker));
            let key = self.seats.insert(seat);
            self.by_id.insert(id, key);
            if let Some(speaker) = speaker {
                self.listeners.insert(speaker, key);
            }
            if let Some(ports) = self.seats.get_mut(key).and_then(|seat| seat.leg.own_ports()) {
                self.routes.add_ports(*ports, key);
            }
            for address in addresses {
                // At home another leg may have taken it over meanwhile.
                if !is_home || self.routes.whose(&address).is_none_or(|whose| whose == Whose::Away(id)) {
                    self.routes.add(address, Whose::Here(key));
                }
            }
            if is_home {
                self.routes.forget_away(id);
            }
            flows.push((key, heard_by));
        }
        for (key, heard_by) in flows {
            let hearer = heard_by.and_then(|hearer| self.key(hearer));
            if let Some(seat) = self.seats.get_mut(key) {
                match hearer {
                    Some(hearer) if hearer == key => seat.flow.retarget(Target::Itself),
                    Some(hearer) => seat.flow.retarget(Target::Leg(hearer)),
                    None => seat.flow = Flow::default(),
                }
            }
            // What came along fits and is left alone; what was waited for may be here.
            self.rejoin(now, key, sink);
            self.arm(now, key);
        }
    }

    /// A leg that was opened here has moved on to live with worker `at`.
    pub fn moved(&mut self, leg: LegId, at: WorkerId) {
        if self.routes.away(leg).is_some() {
            self.routes.set_away(leg, at);
        }
    }

    /// What the core that a leg of ours lives in says of it. About a leg that is here again, or gone, it is ignored.
    pub fn handle_route(&mut self, change: RouteChange) {
        match change {
            RouteChange::Add(leg, address) if self.routes.away(leg).is_some() => self.routes.claim(address, Whose::Away(leg)),
            RouteChange::Add(..) => {}
            RouteChange::Remove(leg, address) => self.routes.remove(&address, Whose::Away(leg)),
            RouteChange::Gone(leg) => self.routes.forget_away(leg),
        }
    }
}
