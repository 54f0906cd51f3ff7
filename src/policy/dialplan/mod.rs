//! Where a number goes: `dialplan/*.toml`, rules from top to bottom, the first that matches decides.
//!
//! `file` reads the words that people write (patterns, targets, who calls); here the rules are put in order, asked, and run
//! against the file's own `[[test]]` blocks. One more thing to match: a field of `RawRule` in `file`, a line in
//! [`Dialplan::route`], a sentence in `dialplan/default.toml`.

mod file;

use std::fmt;

use super::profile::Prefer;
use super::source::PolicyError;
use file::{From, Member, Pattern, To};

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
    /// Where it goes next when nobody takes it.
    pub forward: Forward,
    /// How long each of its devices rings, if the rule says so.
    pub ring_secs: Option<u32>,
    /// What a browser's codec is chosen by in this call, if the rule says so.
    pub prefer: Option<Prefer>,
    /// For the log, the CDR and `ringway check`: `rule "echo", dialplan/default.toml:12`.
    pub because: String,
}

/// Where a call goes next, each once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Forward {
    /// Somebody was busy, and nobody answered.
    pub busy: Option<Target>,
    /// Nobody answered in time.
    pub no_answer: Option<Target>,
    /// No device is there to ring.
    pub unregistered: Option<Target>,
}

/// How a group rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// All at once; whoever answers first has the call.
    Together,
    /// One after the other.
    InTurn,
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
    /// Several accounts or peers; no group among them.
    Group {
        /// Who.
        members: Vec<Self>,
        /// How they ring.
        order: Order,
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

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(name) => write!(f, "account {name}"),
            Self::Peer { peer, number } => write!(f, "peer:{peer} {number}"),
            Self::Group { members, order } => {
                let members: Vec<String> = members.iter().map(ToString::to_string).collect();
                write!(f, "group of {}{}", members.join(", "), if *order == Order::InTurn { ", in turn" } else { "" })
            }
            Self::Echo => f.write_str("echo"),
            Self::Tone { hz } => write!(f, "tone:{hz}"),
            Self::Refuse { status } => write!(f, "refuse:{status}"),
        }
    }
}

/// The rules of one file, in their order, with the tests that stand beside them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialplan {
    file: String,
    rules: Vec<Rule>,
    tests: Vec<Test>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    name: String,
    line: usize,
    /// None: any number, as long as an account has it.
    dial: Option<Pattern>,
    from: From,
    to: To,
    strip: usize,
    prepend: String,
    members: Vec<Member>,
    order: Order,
    ring_secs: Option<u32>,
    prefer: Option<Prefer>,
    busy: Option<Member>,
    no_answer: Option<Member>,
    unregistered: Option<Member>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Test {
    line: usize,
    dial: String,
    from: TestCaller,
    account: Option<String>,
    /// None: any group.
    expect: Option<Target>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum TestCaller {
    Account(String),
    Peer(String),
}

/// What one `[[test]]` of a dialplan came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestOutcome {
    /// Where it stands: `dialplan/default.toml:31`.
    pub place: String,
    /// What it dials.
    pub dial: String,
    /// What it expects; none: any group.
    pub expected: Option<Target>,
    /// What the rules say.
    pub found: Decision,
}

impl TestOutcome {
    /// Whether the rules do what the test expects.
    #[must_use]
    pub fn passed(&self) -> bool {
        match &self.expected {
            Some(expected) => *expected == self.found.target,
            None => matches!(self.found.target, Target::Group { .. }),
        }
    }
}

impl fmt::Display for TestOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, dial, expected, found } = self;
        let expected = expected.as_ref().map_or_else(|| "group".to_owned(), Target::to_string);
        if self.passed() {
            write!(f, "{place}: {dial} -> {expected}, by {}", found.because)
        } else {
            write!(f, "{place}: {dial}: expected {expected}, found {}, by {}", found.target, found.because)
        }
    }
}

/// The dialplan that the binary brings along: its file's name and its text.
pub const DEFAULT: (&str, &str) = ("dialplan/default.toml", include_str!("../../../dialplan/default.toml"));

impl Dialplan {
    /// Reads a dialplan's file.
    ///
    /// # Errors
    /// The first key that does not fit, with its line.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, PolicyError> {
        file::parse(file_name, text)
    }

    /// Where a call goes: the first rule that matches decides; when none does, 404.
    #[must_use]
    pub fn route(&self, intent: &Intent<'_>) -> Decision {
        let decide = |rule: &Rule| {
            Some(Decision {
                target: rule.target(intent)?,
                forward: rule.forward(intent.dialled),
                ring_secs: rule.ring_secs,
                prefer: rule.prefer,
                because: rule.because(&self.file),
            })
        };
        self.rules.iter().find_map(decide).unwrap_or_else(|| Decision {
            target: Target::Refuse { status: 404 },
            forward: Forward::default(),
            ring_secs: None,
            prefer: None,
            because: format!("no rule of {} matches", self.file),
        })
    }

    /// Whether it matters for a route which account has the number: some rule that looks at that comes before the first that
    /// matches anyway.
    #[must_use]
    pub fn asks_for_account(&self, dialled: &str, from: Caller<'_>) -> bool {
        let mut rules = self.rules.iter().filter(|rule| rule.from.matches(from));
        let first = rules.find(|rule| rule.dial.as_ref().is_none_or(|pattern| pattern.matches(dialled)));
        first.is_some_and(|rule| rule.dial.is_none() || rule.to == To::Account)
    }

    /// Runs the file's own tests.
    #[must_use]
    pub fn run_tests(&self) -> Vec<TestOutcome> {
        let run = |test: &Test| {
            let from = match &test.from {
                TestCaller::Account(name) => Caller::Account(name),
                TestCaller::Peer(name) => Caller::Peer(name),
            };
            let found = self.route(&Intent { dialled: &test.dial, account: test.account.as_deref(), from });
            let place = format!("{}:{}", self.file, test.line);
            TestOutcome { place, dial: test.dial.clone(), expected: test.expect.clone(), found }
        };
        self.tests.iter().map(run).collect()
    }

    /// The single numbers that rules name, with where a person with an account gets by them: for a page that offers them.
    #[must_use]
    pub fn fixed_numbers(&self) -> Vec<(String, Target)> {
        let numbers = self.rules.iter().filter_map(|rule| rule.dial.as_ref()?.only());
        let decided = |number: String| {
            let target = self.route(&Intent { dialled: &number, account: None, from: Caller::Account("") }).target;
            (number, target)
        };
        numbers.map(decided).collect()
    }

    /// How many rules there are.
    #[must_use]
    pub fn rules_count(&self) -> usize {
        self.rules.len()
    }

    /// The peers that rules name, each with the rule's place, so that a name that the configuration lacks is found at once.
    pub fn peers_named(&self) -> impl Iterator<Item = (&str, String)> {
        self.rules.iter().flat_map(|rule| {
            let to = if let To::Peer(name) = &rule.to { Some(name) } else { None };
            let from = if let From::Peer(name) = &rule.from { Some(name) } else { None };
            let members = rule.members.iter().chain(&rule.busy).chain(&rule.no_answer).chain(&rule.unregistered);
            let members = members.filter_map(|member| if let Member::Peer(name, _) = member { Some(name) } else { None });
            to.into_iter().chain(from).chain(members).map(|name| (name.as_str(), rule.because(&self.file)))
        })
    }
}

impl Rule {
    fn target(&self, intent: &Intent<'_>) -> Option<Target> {
        let dialled = match &self.dial {
            Some(pattern) => pattern.matches(intent.dialled),
            None => intent.account.is_some(),
        };
        if !dialled || !self.from.matches(intent.from) {
            return None;
        }
        Some(match &self.to {
            To::Echo => Target::Echo,
            To::Tone(hz) => Target::Tone { hz: *hz },
            To::Refuse(status) => Target::Refuse { status: *status },
            // A number that no account has is for the rules below.
            To::Account => Target::Account(intent.account?.to_owned()),
            To::Named(name) => Target::Account(name.clone()),
            To::Peer(peer) => Target::Peer { peer: peer.clone(), number: self.number(intent.dialled) },
            To::Group => Target::Group {
                members: self.members.iter().map(|member| member.target(intent.dialled)).collect(),
                order: self.order,
            },
        })
    }

    fn forward(&self, dialled: &str) -> Forward {
        let target = |member: &Option<Member>| member.as_ref().map(|member| member.target(dialled));
        Forward { busy: target(&self.busy), no_answer: target(&self.no_answer), unregistered: target(&self.unregistered) }
    }

    fn number(&self, dialled: &str) -> String {
        let kept = dialled.char_indices().nth(self.strip).map_or("", |(at, _)| &dialled[at..]);
        format!("{}{kept}", self.prepend)
    }

    fn because(&self, file: &str) -> String {
        format!("rule \"{}\", {file}:{}", self.name, self.line)
    }
}
