use std::time::{Duration, Instant};

use crate::plan::LegPlan;

/// How long a far side may send neither RTP nor RTCP before its leg has failed; none is for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    /// While audio should come.
    pub(super) flowing: Option<Duration>,
    /// On hold, either way.
    pub(super) held: Option<Duration>,
}

/// The watch over one leg's far side: started with its plan, set back by each packet that is believed, over once.
#[derive(Debug)]
pub(super) struct Silence {
    patience: Patience,
    allowed: Option<Duration>,
    /// Since when nothing came; none before the first plan, and after it has been told.
    since: Option<Instant>,
}

impl Silence {
    /// A watch that does not run yet.
    #[must_use]
    pub(super) fn new(patience: Patience) -> Self {
        Self { patience, allowed: None, since: None }
    }

    /// Something else has been agreed: the clock starts anew.
    pub(super) fn start(&mut self, now: Instant, plan: &LegPlan) {
        self.allowed = if plan.rx && plan.tx { self.patience.flowing } else { self.patience.held };
        self.since = Some(now);
    }

    /// A believed packet came.
    pub(super) fn heard(&mut self, now: Instant) {
        if let Some(since) = &mut self.since {
            *since = now;
        }
    }

    /// When it will be over if nothing comes until then.
    #[must_use]
    pub(super) fn due(&self) -> Option<Instant> {
        Some(self.since? + self.allowed?)
    }

    /// Whether it is over at `now`, for the first time.
    pub(super) fn is_over(&mut self, now: Instant) -> bool {
        let over = self.due().is_some_and(|at| at <= now);
        if over {
            self.since = None;
        }
        over
    }
}
