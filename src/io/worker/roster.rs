use std::collections::{BTreeMap, BTreeSet};

use crate::media::WorkerId;
use crate::plan::{LegId, Source};

/// Which worker each live leg is with, and who hears whom: legs that hear each other, a *party*, are always with one worker.
#[derive(Debug)]
pub(super) struct Roster {
    legs: BTreeMap<LegId, Place>,
    /// Who hears a leg, by the leg that is heard.
    listeners: BTreeMap<LegId, LegId>,
    /// How many legs each worker has.
    load: Vec<usize>,
}

#[derive(Debug)]
struct Place {
    at: WorkerId,
    /// On whose port it arrives, if that may be a shared one.
    home: Option<WorkerId>,
    hears: Option<LegId>,
}

impl Roster {
    /// Nobody is anywhere.
    pub(super) fn new(workers: usize) -> Self {
        Self { legs: BTreeMap::new(), listeners: BTreeMap::new(), load: vec![0; workers] }
    }

    /// With which worker a leg is.
    pub(super) fn at(&self, leg: LegId) -> Option<WorkerId> {
        self.legs.get(&leg).map(|place| place.at)
    }

    /// Where a leg is to be opened: with whoever waits to hear it, else beside the leg that it belongs with, else with the worker
    /// that has fewest.
    pub(super) fn choose(&self, leg: LegId, beside: Option<LegId>) -> WorkerId {
        let partner = self.listeners.get(&leg).copied().into_iter().chain(beside);
        let fewest = || (0..self.load.len()).min_by_key(|worker| self.load[*worker]).unwrap_or(0);
        partner.filter_map(|partner| self.at(partner)).next().unwrap_or_else(|| WorkerId(fewest() as u16))
    }

    /// A leg is opened.
    pub(super) fn open(&mut self, leg: LegId, at: WorkerId, on_shared_port: bool) {
        // Said again, the old one is gone.
        self.forget(leg);
        self.load[usize::from(at.0)] += 1;
        self.legs.insert(leg, Place { at, home: on_shared_port.then_some(at), hears: None });
    }

    /// Another worker to which a leg's party must move so that it can hear what `hears` names.
    pub(super) fn calls_away(&self, leg: LegId, hears: Source) -> Option<WorkerId> {
        let Source::Leg(speaker) = hears else { return None };
        let (here, there) = (self.at(leg)?, self.at(speaker)?);
        (here != there).then_some(there)
    }

    /// What a leg hears from now on.
    pub(super) fn hear(&mut self, leg: LegId, hears: Source) {
        let Some(place) = self.legs.get_mut(&leg) else { return };
        let speaker = match hears {
            Source::Leg(speaker) if speaker != leg => Some(speaker),
            _ => None,
        };
        if let Some(before) = std::mem::replace(&mut place.hears, speaker) {
            self.listeners.remove(&before);
        }
        let Some(speaker) = speaker else { return };
        let other = self.listeners.insert(speaker, leg);
        // Who listened before hears nothing.
        if let Some(other) = other.and_then(|other| self.legs.get_mut(&other)) {
            other.hears = None;
        }
    }

    /// A leg and all that it is tied to.
    pub(super) fn party(&self, leg: LegId) -> Vec<LegId> {
        let (mut found, mut ahead) = (BTreeSet::new(), vec![leg]);
        while let Some(leg) = ahead.pop() {
            let Some(place) = self.legs.get(&leg).filter(|_| found.insert(leg)) else { continue };
            ahead.extend(place.hears.into_iter().chain(self.listeners.get(&leg).copied()));
        }
        found.into_iter().collect()
    }

    /// On whose shared ports any of `legs` arrive, each once.
    pub(super) fn homes(&self, legs: &[LegId]) -> BTreeSet<WorkerId> {
        legs.iter().filter_map(|leg| self.legs.get(leg)?.home).collect()
    }

    /// Legs are with another worker from now on.
    pub(super) fn relocate(&mut self, legs: &[LegId], to: WorkerId) {
        for leg in legs {
            let Some(place) = self.legs.get_mut(leg) else { continue };
            let from = std::mem::replace(&mut place.at, to);
            self.load[usize::from(from.0)] -= 1;
            self.load[usize::from(to.0)] += 1;
        }
    }

    /// A leg has ended.
    pub(super) fn forget(&mut self, leg: LegId) {
        let Some(place) = self.legs.remove(&leg) else { return };
        self.load[usize::from(place.at.0)] -= 1;
        if let Some(speaker) = place.hears {
            self.listeners.remove(&speaker);
        }
        let listener = self.listeners.remove(&leg);
        if let Some(listener) = listener.and_then(|listener| self.legs.get_mut(&listener)) {
            listener.hears = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEGS: [LegId; 5] = [LegId(1), LegId(2), LegId(3), LegId(4), LegId(5)];

    fn opened() -> Roster {
        let mut roster = Roster::new(2);
        let [a, b, c, d, _] = LEGS;
        for (leg, beside) in [(a, None), (b, Some(a)), (c, None), (d, Some(c))] {
            let at = roster.choose(leg, beside);
            roster.open(leg, at, leg == a);
        }
        roster
    }

    #[test]
    fn a_call_is_with_one_worker_and_the_next_with_the_other() {
        let mut roster = opened();
        let [a, b, c, d, e] = LEGS;
        assert_eq!([a, b, c, d].map(|leg| roster.at(leg).unwrap().0), [0, 0, 1, 1]);
        roster.forget(a);
        assert_eq!((roster.at(a), roster.choose(e, None)), (None, WorkerId(0)));
        assert_eq!(roster.choose(e, Some(d)), WorkerId(1));
        assert_eq!(roster.choose(e, Some(a)), WorkerId(0), "who is gone draws nobody");
        roster.hear(c, Source::Leg(e));
        assert_eq!(roster.choose(e, Some(b)), WorkerId(1), "who waits for it comes first");
    }

    #[test]
    fn a_party_is_all_that_is_tied() {
        let mut roster = opened();
        let [a, b, c, d, _] = LEGS;
        for (leg, hears) in [(a, b), (b, a), (c, d), (d, c)] {
            assert_eq!(roster.calls_away(leg, Source::Leg(hears)), None);
            roster.hear(leg, Source::Leg(hears));
        }
        assert_eq!(roster.party(b), [a, b]);
        // B is to hear C: its call moves there, and C, which D heard until now, is heard by it.
        assert_eq!(roster.calls_away(b, Source::Leg(c)), Some(WorkerId(1)));
        let party = roster.party(b);
        assert_eq!(roster.homes(&party), BTreeSet::from([WorkerId(0)]));
        roster.relocate(&party, WorkerId(1));
        roster.hear(b, Source::Leg(c));
        assert_eq!(roster.load, [0, 4]);
        assert_eq!(roster.party(a), [a, b, c, d], "A hears B, which hears C, which hears D");
        roster.hear(c, Source::Leg(b));
        assert_eq!((roster.party(d), roster.party(a)), (vec![d], vec![a]), "B is heard by C and no longer by A");
        roster.hear(c, Source::Music);
        roster.forget(c);
        assert_eq!((roster.party(b), roster.party(c)), (vec![b], vec![]));
        roster.hear(b, Source::Leg(b));
        assert_eq!(roster.party(b), [b], "who hears itself needs nobody");
    }
}
