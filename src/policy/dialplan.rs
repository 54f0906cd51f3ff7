//! Where a number goes: `dialplan/*.toml`, rules from top to bottom, the first that matches decides.

/// What a caller wants, with all that a rule may look at. The account behind `dialled` has been looked up already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intent<'a> {
    /// The user part of the Request-URI, percent-decoded: a number or a name.
    pub dialled: &'a str,
    /// The name of the account that has this name or number, if there is one.
    pub account: Option<&'a str>,
    /// Who calls: an account's name, or a peer's.
    pub from: Caller<'a>,
}

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller<'a> {
    /// Someone with an account, who proved it.
    Account(&'a str),
    /// A peer by address, by its name in the configuration.
    Peer(&'a str),
}

/// What the dialplan decided, and by which rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Where the call goes.
    pub target: Target,
    /// For the log, the CDR and `ringway check`: `rule "echo", dialplan/default.toml:12`.
    pub because: String,
}

/// Where a call goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The bindings of this account.
    Account(String),
    /// A peer by its name in the configuration, with the number that it is sent.
    Peer {
        /// The peer's name.
        peer: String,
        /// The user part of the Request-URI toward it.
        number: String,
    },
    /// The gateway answers and sends back what it hears.
    Echo,
    /// The gateway answers and plays a sine.
    Tone {
        /// Its pitch.
        hz: u16,
    },
    /// Refused with this SIP status.
    Refuse {
        /// 4xx to 6xx.
        status: u16,
    },
}
