use slotmap::SlotMap;

use super::flow::Target;
use super::leg::Leg;
use super::routes::LegKey;
use super::seat::Seat;

/// All legs, each in its place.
#[derive(Debug)]
pub(super) struct Seats(SlotMap<LegKey, Seat>);

impl Seats {
    pub(super) fn with_capacity(legs: usize) -> Self {
        Self(SlotMap::with_capacity(legs))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn insert(&mut self, seat: Seat) -> LegKey {
        self.0.insert(seat)
    }

    pub(super) fn remove(&mut self, key: LegKey) -> Option<Seat> {
        self.0.remove(key)
    }

    pub(super) fn get(&self, key: LegKey) -> Option<&Seat> {
        self.0.get(key)
    }

    pub(super) fn get_mut(&mut self, key: LegKey) -> Option<&mut Seat> {
        self.0.get_mut(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LegKey, &Seat)> {
        self.0.iter()
    }

    /// A leg and, if that is another, the one that hears it.
    pub(super) fn with_hearer(&mut self, key: LegKey) -> Option<(&mut Seat, Option<&mut Leg>)> {
        match self.0.get(key)?.flow.target() {
            Target::Leg(hearer) if self.0.contains_key(hearer) => {
                let [seat, hearer] = self.0.get_disjoint_mut([key, hearer])?;
                Some((seat, Some(&mut hearer.leg)))
            }
            Target::Leg(_) | Target::Itself | Target::Nobody => Some((self.0.get_mut(key)?, None)),
        }
    }

    /// The leg that would hear `key` if it were heard by `target`.
    pub(super) fn hearer(&self, key: LegKey, target: Target) -> Option<&Leg> {
        let hearer = match target {
            Target::Nobody => return None,
            Target::Itself => key,
            Target::Leg(hearer) => hearer,
        };
        self.0.get(hearer).map(|seat| &seat.leg)
    }
}
