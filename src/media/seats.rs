use slotmap::DenseSlotMap;

use super::flow::Target;
use super::leg::Leg;
use super::routes::LegKey;
use super::seat::Seat;
use super::transcode::TurnPcm;

/// All legs, each in its place.
#[derive(Debug)]
pub(super) struct Seats {
    legs: DenseSlotMap<LegKey, Seat>,
    /// Where they transcode, one packet after the other.
    pcm: Box<TurnPcm>,
}

impl Seats {
    pub(super) fn with_capacity(legs: usize) -> Self {
        Self { legs: DenseSlotMap::with_capacity(legs), pcm: Box::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.legs.len()
    }

    pub(super) fn insert(&mut self, seat: Seat) -> LegKey {
        self.legs.insert(seat)
    }

    pub(super) fn remove(&mut self, key: LegKey) -> Option<Seat> {
        self.legs.remove(key)
    }

    pub(super) fn get(&self, key: LegKey) -> Option<&Seat> {
        self.legs.get(key)
    }

    pub(super) fn get_mut(&mut self, key: LegKey) -> Option<&mut Seat> {
        self.legs.get_mut(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LegKey, &Seat)> {
        self.legs.iter()
    }

    /// A leg and, if that is another, the one that hears it.
    pub(super) fn with_hearer(&mut self, key: LegKey) -> Option<(&mut Seat, Option<&mut Leg>)> {
        self.with_hearer_and_pcm(key).map(|(seat, hearer, _)| (seat, hearer))
    }

    /// The same, with room to transcode between them.
    pub(super) fn with_hearer_and_pcm(&mut self, key: LegKey) -> Option<(&mut Seat, Option<&mut Leg>, &mut TurnPcm)> {
        let pcm = &mut *self.pcm;
        match self.legs.get(key)?.flow.target() {
            Target::Leg(hearer) if self.legs.contains_key(hearer) => {
                let [seat, hearer] = self.legs.get_disjoint_mut([key, hearer])?;
                Some((seat, Some(&mut hearer.leg), pcm))
            }
            Target::Leg(_) | Target::Itself | Target::Nobody => Some((self.legs.get_mut(key)?, None, pcm)),
        }
    }

    /// The leg that would hear `key` if it were heard by `target`.
    pub(super) fn hearer(&self, key: LegKey, target: Target) -> Option<&Leg> {
        let hearer = match target {
            Target::Nobody => return None,
            Target::Itself => key,
            Target::Leg(hearer) => hearer,
        };
        self.legs.get(hearer).map(|seat| &seat.leg)
    }
}
