//! The words of a dialplan's file: what a pattern, a target and a caller look like in TOML.

use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::{Caller, Dialplan, Order, Rule, Target, Test, TestCaller};
use crate::policy::profile::Prefer;
use crate::policy::source::{self, Place, PolicyError, line_of};

/// Which numbers a rule is for: each sign stands for itself, `X` for a digit, a `.` at the end for one or more of anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    signs: Vec<char>,
    open_end: bool,
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let (signs, open_end) = text.strip_suffix('.').map_or((text, false), |signs| (signs, true));
        let fits = |sign: char| sign.is_ascii_alphanumeric() || "+*#-_.".contains(sign);
        let empty = signs.is_empty() && !open_end;
        (!empty && signs.chars().all(fits)).then(|| Self { signs: signs.chars().collect(), open_end })
    }

    /// The one number that it matches, if it matches just one.
    pub(super) fn only(&self) -> Option<String> {
        (!self.open_end && !self.signs.contains(&'X')).then(|| self.signs.iter().collect())
    }

    pub(super) fn matches(&self, dialled: &str) -> bool {
        let mut rest = dialled.chars();
        let fits =
            |sign: &char| rest.next().is_some_and(|found| if *sign == 'X' { found.is_ascii_digit() } else { *sign == found });
        self.signs.iter().all(fits) && rest.next().is_some() == self.open_end
    }
}

/// Who may call by a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum From {
    Any,
    Account,
    Peer(String),
}

impl From {
    fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None if text == "any" => Some(Self::Any),
            None if text == "account" => Some(Self::Account),
            Some(("peer", name)) if !name.is_empty() => Some(Self::Peer(name.to_owned())),
            _ => None,
        }
    }

    pub(super) fn matches(&self, caller: Caller<'_>) -> bool {
        match (self, caller) {
            (Self::Any, _) | (Self::Account, Caller::Account(_)) => true,
            (Self::Peer(name), Caller::Peer(peer)) => name == peer,
            (Self::Account, Caller::Peer(_)) | (Self::Peer(_), Caller::Account(_)) => false,
        }
    }
}

/// Where a rule sends a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum To {
    Echo,
    Tone(u16),
    /// Whoever has the dialled number.
    Account,
    /// This one, whatever was dialled.
    Named(String),
    Peer(String),
    /// Those that the rule's `members` name.
    Group,
    Refuse(u16),
}

impl To {
    fn parse(text: &str) -> Option<Self> {
        match text.split_once(':').map_or((text, None), |(word, value)| (word, Some(value))) {
            ("echo", None) => Some(Self::Echo),
            ("account", None) => Some(Self::Account),
            ("account", Some(name)) if !name.is_empty() => Some(Self::Named(name.to_lowercase())),
            ("group", None) => Some(Self::Group),
            // Half of G.711's 8,000 samples a second is the highest pitch that can be heard at the other end.
            ("tone", Some(hz)) => hz.parse().ok().filter(|hz| (50..4000).contains(hz)).map(Self::Tone),
            ("refuse", Some(status)) => status.parse().ok().filter(|status| (400..700).contains(status)).map(Self::Refuse),
            ("peer", Some(name)) if !name.is_empty() => Some(Self::Peer(name.to_owned())),
            _ => None,
        }
    }
}

/// One of a group, or where a call is forwarded: an account, or a peer with the number that it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Member {
    Account(String),
    /// Without a number, the one that was dialled.
    Peer(String, Option<String>),
}

impl Member {
    fn parse(text: &str) -> Option<Self> {
        let (word, number) = text.split_once(' ').map_or((text, None), |(word, number)| (word, Some(number.trim())));
        match (To::parse(word)?, number) {
            (To::Named(name), None) => Some(Self::Account(name)),
            (To::Peer(peer), number) => Some(Self::Peer(peer, number.map(str::to_owned))),
            _ => None,
        }
    }

    pub(super) fn target(&self, dialled: &str) -> Target {
        match self {
            Self::Account(name) => Target::Account(name.clone()),
            Self::Peer(peer, number) => {
                Target::Peer { peer: peer.clone(), number: number.clone().unwrap_or_else(|| dialled.to_owned()) }
            }
        }
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        source::text_as(value, MEMBER, Self::parse)
    }
}

const DIAL: &str = "a number such as \"600\", \"06X\" (X is a digit) or \"0.\" (a dot at the end is one or more of anything)";
const FROM: &str = "\"any\", \"account\" or \"peer:NAME\"";
const TO: &str = "\"echo\", \"tone:440\" (50 to 3999 Hz), \"account\", \"account:NAME\", \"peer:NAME\", \"group\" or \"refuse:403\" (400 to 699)";
const MEMBER: &str = "\"account:NAME\", \"peer:NAME\" or \"peer:NAME NUMBER\"";
const TEST_FROM: &str = "\"account\", \"account:NAME\" or \"peer:NAME\"";
const EXPECT: &str = "what `to` may be; for a peer with the number it is sent, as \"peer:pbx 0123\"";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    rule: Vec<Spanned<RawRule>>,
    #[serde(default)]
    test: Vec<Spanned<RawTest>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    name: String,
    #[serde(default, deserialize_with = "dial")]
    dial: Option<Pattern>,
    #[serde(default)]
    account: bool,
    #[serde(default = "any", deserialize_with = "from")]
    from: From,
    #[serde(deserialize_with = "to")]
    to: To,
    #[serde(default)]
    strip: Option<Spanned<u8>>,
    #[serde(default)]
    prepend: Option<Spanned<String>>,
    #[serde(default)]
    members: Vec<Member>,
    #[serde(default, deserialize_with = "order")]
    ring: Option<Order>,
    #[serde(default, deserialize_with = "ring_secs")]
    ring_secs: Option<u32>,
    prefer: Option<Prefer>,
    busy: Option<Member>,
    no_answer: Option<Member>,
    unregistered: Option<Member>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTest {
    dial: String,
    #[serde(default = "somebody", deserialize_with = "test_from")]
    from: TestCaller,
    account: Option<String>,
    expect: Spanned<String>,
}

fn any() -> From {
    From::Any
}

fn somebody() -> TestCaller {
    TestCaller::Account("somebody".to_owned())
}

fn dial<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Pattern>, D::Error> {
    source::text_as(value, DIAL, Pattern::parse).map(Some)
}

fn from<'de, D: Deserializer<'de>>(value: D) -> Result<From, D::Error> {
    source::text_as(value, FROM, From::parse)
}

fn to<'de, D: Deserializer<'de>>(value: D) -> Result<To, D::Error> {
    source::text_as(value, TO, To::parse)
}

fn order<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Order>, D::Error> {
    source::text_as(value, "\"together\" or \"in turn\"", |text| match text {
        "together" => Some(Order::Together),
        "in turn" => Some(Order::InTurn),
        _ => None,
    })
    .map(Some)
}

fn ring_secs<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u32>, D::Error> {
    source::whole::<_, _, 5, 600>(value).map(Some)
}

fn test_from<'de, D: Deserializer<'de>>(value: D) -> Result<TestCaller, D::Error> {
    source::text_as(value, TEST_FROM, |text| match text.split_once(':') {
        None if text == "account" => Some(somebody()),
        Some(("account", name)) if !name.is_empty() => Some(TestCaller::Account(name.to_owned())),
        Some(("peer", name)) if !name.is_empty() => Some(TestCaller::Peer(name.to_owned())),
        _ => None,
    })
}

pub(super) fn parse(file: &str, text: &str) -> Result<Dialplan, PolicyError> {
    let raw: RawFile = source::read(file, text)?;
    let place = |span| Place { file, text, span };
    let mut rules: Vec<Rule> = Vec::with_capacity(raw.rule.len());
    for spanned in raw.rule {
        let span = spanned.span();
        let line = line_of(text, span.start);
        let raw = spanned.into_inner();
        let RawRule { name, dial, account, from, to, strip, prepend, members, ring, .. } = raw;
        if dial.is_some() == account {
            let found = if account { "both" } else { "neither" };
            return Err(PolicyError::expected(place(span), "rule", "either `dial` or `account = true`", found));
        }
        if let Some(other) = rules.iter().find(|rule| rule.name == name) {
            let found = format!("\"{name}\", which line {} has too", other.line);
            return Err(PolicyError::expected(place(span), "rule.name", "a name that no other rule has", found));
        }
        let renumbered = strip.as_ref().map(|strip| ("rule.strip", strip.span()));
        let renumbered = renumbered.or_else(|| prepend.as_ref().map(|prepend| ("rule.prepend", prepend.span())));
        if let (Some((key, span)), false) = (renumbered, matches!(to, To::Peer(_))) {
            return Err(PolicyError::expected(place(span), key, "it only beside `to = \"peer:NAME\"`", "another target"));
        }
        if (to == To::Group) == members.is_empty() || (ring.is_some() && to != To::Group) {
            let found = if to == To::Group { "no members" } else { "another target" };
            return Err(PolicyError::expected(place(span), "rule", "`members` (and `ring`) just beside `to = \"group\"`", found));
        }
        let rings = matches!(to, To::Account | To::Named(_) | To::Peer(_) | To::Group);
        let forwards = [&raw.busy, &raw.no_answer, &raw.unregistered].into_iter().any(Option::is_some);
        if !rings && (forwards || raw.ring_secs.is_some() || raw.prefer.is_some()) {
            let expected = "`ring_secs`, `prefer`, `busy`, `no_answer` and `unregistered` only where somebody is rung";
            return Err(PolicyError::expected(place(span), "rule", expected, "another target"));
        }
        let strip = strip.map_or(0, |strip| usize::from(strip.into_inner()));
        rules.push(Rule {
            name,
            line,
            dial,
            from,
            to,
            strip,
            prepend: prepend.map(Spanned::into_inner).unwrap_or_default(),
            members,
            order: ring.unwrap_or(Order::Together),
            ring_secs: raw.ring_secs,
            prefer: raw.prefer,
            busy: raw.busy,
            no_answer: raw.no_answer,
            unregistered: raw.unregistered,
        });
    }
    let mut tests = Vec::with_capacity(raw.test.len());
    for spanned in raw.test {
        let line = line_of(text, spanned.span().start);
        let RawTest { dial, from, account, expect } = spanned.into_inner();
        let wrong = |expected: &str| {
            PolicyError::expected(place(expect.span()), "test.expect", expected, format!("\"{}\"", expect.as_ref()))
        };
        let expect = match expected(expect.as_ref(), &dial).ok_or_else(|| wrong(EXPECT))? {
            Expected::Target(target) => Some(target),
            Expected::Group => None,
            Expected::Account => {
                let name = account.clone();
                let name = name.ok_or_else(|| wrong("`account = \"NAME\"` beside it: the account that has the number"))?;
                Some(Target::Account(name))
            }
        };
        tests.push(Test { line, dial, from, account, expect });
    }
    Ok(Dialplan { file: file.to_owned(), rules, tests })
}

enum Expected {
    Target(Target),
    /// Whatever account the test says has the number.
    Account,
    /// Any group.
    Group,
}

fn expected(text: &str, dial: &str) -> Option<Expected> {
    let (word, number) = text.split_once(' ').map_or((text, None), |(word, number)| (word, Some(number.trim())));
    Some(match (To::parse(word)?, number) {
        (To::Account, None) => Expected::Account,
        (To::Account, Some(name)) => Expected::Target(Target::Account(name.to_owned())),
        (To::Named(name), None) => Expected::Target(Target::Account(name)),
        (To::Group, None) => Expected::Group,
        (To::Peer(peer), number) => Expected::Target(Target::Peer { peer, number: number.unwrap_or(dial).to_owned() }),
        (_, Some(_)) => return None,
        (To::Echo, None) => Expected::Target(Target::Echo),
        (To::Tone(hz), None) => Expected::Target(Target::Tone { hz }),
        (To::Refuse(status), None) => Expected::Target(Target::Refuse { status }),
    })
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn patterns_match_what_they_say() {
        let matches = |pattern: &str, dialled: &str| Pattern::parse(pattern).expect(pattern).matches(dialled);
        assert!(matches("600", "600") && !matches("600", "6000") && !matches("600", "60"));
        assert!(matches("06X", "061") && !matches("06X", "06a") && !matches("06X", "06"));
        assert!(matches("0.", "01") && matches("0.", "0123abc") && !matches("0.", "0") && !matches("0.", "10"));
        assert!(matches(".", "x") && !matches(".", ""));
        assert!(matches("*98#", "*98#"));
        assert!(["", "6 0", "ä", "6?"].iter().all(|pattern| Pattern::parse(pattern).is_none()));
    }
}
