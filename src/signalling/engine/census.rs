use super::Engine;

/// How much state an engine holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Census {
    /// Calls.
    pub calls: usize,
    /// Legs with a dialog or one in the making.
    pub dialogs: usize,
    /// Transactions, client and server.
    pub transactions: usize,
    /// Requests that wait for the directory.
    pub waiting: usize,
    /// Bindings.
    pub bindings: usize,
    /// Armed timers of calls.
    pub call_timers: usize,
    /// Watchers of accounts.
    pub subscriptions: usize,
    /// What accounts have published of themselves.
    pub publications: usize,
    /// Messages under way, their senders that wait, and questions to the store.
    pub messages: usize,
}

impl Engine {
    /// What there is: for operators, and for tests that nothing is left behind.
    #[must_use]
    pub fn census(&self) -> Census {
        Census {
            calls: self.calls.len(),
            dialogs: self.by_leg.len(),
            transactions: self.transactions.len(),
            waiting: self.waiting.len(),
            bindings: self.registrar.len(),
            call_timers: self.deadlines.len(),
            subscriptions: self.beside.notifier.len().0,
            publications: self.beside.notifier.len().1,
            messages: self.beside.messages(),
        }
    }
}
