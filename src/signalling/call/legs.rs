use super::leg::Leg;
use crate::plan::LegId;

/// The legs of a call, by id. Mostly two: a list is smaller than any tree, and as quick.
#[derive(Debug, Clone)]
pub(super) struct Legs(Vec<Box<Leg>>);

impl Legs {
    pub(super) fn of(leg: Leg) -> Self {
        Self(vec![Box::new(leg)])
    }

    pub(super) fn get(&self, id: LegId) -> Option<&Leg> {
        self.iter().find(|leg| leg.id == id)
    }

    pub(super) fn get_mut(&mut self, id: LegId) -> Option<&mut Leg> {
        self.0.iter_mut().find(|leg| leg.id == id).map(Box::as_mut)
    }

    pub(super) fn insert(&mut self, leg: Leg) {
        self.0.reserve_exact(1);
        self.0.push(Box::new(leg));
    }

    pub(super) fn remove(&mut self, id: LegId) -> Option<Leg> {
        let at = self.0.iter().position(|leg| leg.id == id)?;
        Some(*self.0.remove(at))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Leg> {
        self.0.iter().map(Box::as_ref)
    }
}
