//! Reading TOML so that every error says where it is and what was expected there: file, line, key.
//!
//! Profiles, dialplans and the configuration all come through [`read`]; what a type alone cannot check (a number's range, a
//! pattern's letters) is checked while it is read, by the functions below, so that it gets the same error with the same line.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use serde::Deserializer;
use serde::de::{self, DeserializeOwned, Visitor};

/// What is wrong in a file that people write, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// The file as the reader would name it.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// The dotted path of the key; empty when the text is no TOML at all.
    pub key: String,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong at one place of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The text is not TOML.
    Syntax(String),
    /// A key that does not exist, with the one that was probably meant and all that exist there.
    UnknownKey {
        /// The existing key that looks most like it, if any is close.
        nearest: Option<String>,
        /// Every key that may stand there.
        known: Vec<String>,
    },
    /// A key that has no default is not there.
    Missing,
    /// A value that does not fit.
    Expected {
        /// What would fit.
        expected: String,
        /// What stands there.
        found: String,
    },
}

impl PolicyError {
    /// A value that does not fit, at a byte of `text`.
    #[must_use]
    pub fn expected(at: Place<'_>, key: &str, expected: impl Into<String>, found: impl Into<String>) -> Self {
        let problem = Problem::Expected { expected: expected.into(), found: found.into() };
        Self { file: at.file.to_owned(), line: line_of(at.text, at.span.start), key: key.to_owned(), problem }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        match &self.problem {
            Problem::Syntax(what) => write!(f, "not valid TOML: {what}"),
            Problem::UnknownKey { nearest: Some(nearest), .. } => write!(f, "no such key; did you mean {nearest}?"),
            Problem::UnknownKey { nearest: None, known } => write!(f, "no such key; expected one of {}", known.join(", ")),
            Problem::Missing => write!(f, "expected this key, found nothing (it has no default)"),
            Problem::Expected { expected, found } => write!(f, "expected {expected}, found {found}"),
        }
    }
}

impl std::error::Error for PolicyError {}

/// A place in a file: all that an error needs to name it.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    /// The file's name.
    pub file: &'a str,
    /// All of its text.
    pub text: &'a str,
    /// Bytes of `text`.
    pub span: Range<usize>,
}

/// The line that a byte of `text` is on, counted from 1.
#[must_use]
pub fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

/// Where the value of a dotted path stands (`peer.1.address`: the second `[[peer]]`); when it is not written, where the
/// innermost table that is written begins.
#[must_use]
pub fn span_of(text: &str, path: &str) -> Range<usize> {
    use toml::de::{DeTable, DeValue};
    let Ok(table) = DeTable::parse(text) else { return 0..0 };
    let mut span = 0..0;
    let mut value = DeValue::Table(table.into_inner());
    for part in path.split('.') {
        let next = match value {
            DeValue::Table(mut table) => table.remove(part),
            DeValue::Array(list) => part.parse().ok().and_then(|at: usize| list.into_iter().nth(at)),
            _ => None,
        };
        let Some(next) = next else { break };
        span = next.span();
        value = next.into_inner();
    }
    span
}

/// Reads a whole TOML text into `T`.
///
/// # Errors
/// The first thing that does not fit, with its place.
pub fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, PolicyError> {
    toml::from_str(text).map_err(|error| explain(file, text, error))
}

/// Turns the TOML crate's error into ours: the path of the key, and words for people in place of Rust's type names.
fn explain(file: &str, text: &str, mut error: toml::de::Error) -> PolicyError {
    let message = error.message().to_owned();
    let offset = error.span().map_or(0, |span| span.start);
    // Without its input the error prints the key's path, which it tells in no other way.
    error.set_input(None);
    let shown = error.to_string();
    let path = shown.trim_end().rsplit_once("\nin `").map_or("", |(_, path)| path.trim_end_matches('`'));
    let (key, problem) = problem_of(&message, path);
    let mut line = line_of(text, offset);
    if problem == Problem::Missing && path.is_empty() {
        line = 1;
    }
    PolicyError { file: file.to_owned(), line, key, problem }
}

fn problem_of(message: &str, path: &str) -> (String, Problem) {
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let (name, rest) = rest.split_once('`').unwrap_or((rest, ""));
        let known: Vec<String> = rest.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        return (join(path, name), Problem::UnknownKey { nearest: nearest(name, &known), known });
    }
    if let Some(rest) = message.strip_prefix("missing field `") {
        return (join(path, rest.trim_end_matches('`')), Problem::Missing);
    }
    if let Some(rest) = message.strip_prefix("unknown variant `")
        && let Some((found, expected)) = rest.split_once("`, expected ")
    {
        let expected = expected.replace('`', "\"");
        return (path.to_owned(), Problem::Expected { expected, found: format!("\"{found}\"") });
    }
    for prefix in ["invalid type: ", "invalid value: "] {
        if let Some(rest) = message.strip_prefix(prefix)
            && let Some((found, expected)) = rest.split_once(", expected ")
        {
            return (path.to_owned(), Problem::Expected { expected: in_words(expected), found: found_in_words(found) });
        }
    }
    (path.to_owned(), Problem::Syntax(message.replace('\n', " ")))
}

fn join(path: &str, name: &str) -> String {
    // The path of an unknown key ends with the key itself, that of a missing one with its table.
    match path.rsplit_once('.').map_or(path, |(_, last)| last) {
        "" => name.to_owned(),
        last if last == name => path.to_owned(),
        _ => format!("{path}.{name}"),
    }
}

fn in_words(expected: &str) -> String {
    match expected {
        "a string" => "a text in quotes",
        "a boolean" => "true or false",
        "a sequence" => "a list in square brackets",
        "a map" => "a table",
        other if other.starts_with("struct ") => "a table",
        other if other.len() <= 4 && other.starts_with(['u', 'i']) => "a whole number",
        other => other,
    }
    .to_owned()
}

fn found_in_words(found: &str) -> String {
    let words = ["string ", "integer ", "floating point ", "boolean "];
    let value = words.iter().find_map(|word| found.strip_prefix(word)).unwrap_or(found);
    match value {
        "sequence" => "a list".to_owned(),
        "map" => "a table".to_owned(),
        value => value.replace('`', ""),
    }
}

/// The known word that is closest to `name`, if it is close enough to have been meant.
fn nearest(name: &str, known: &[String]) -> Option<String> {
    let near =
        |other: &&String| distance(name, other) <= 1 + name.len() / 4 || other.contains(name) || name.contains(other.as_str());
    known.iter().filter(near).min_by_key(|other| distance(name, other)).cloned()
}

/// Levenshtein's distance in bytes; keys are ASCII.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Reads a whole number from `MIN` to `MAX` (`#[serde(deserialize_with = "whole::<_, _, 1, 60>")]`).
///
/// # Errors
/// Anything else.
pub fn whole<'de, D: Deserializer<'de>, T: TryFrom<u64>, const MIN: u64, const MAX: u64>(from: D) -> Result<T, D::Error> {
    struct Within<T, const MIN: u64, const MAX: u64>(PhantomData<T>);
    impl<T: TryFrom<u64>, const MIN: u64, const MAX: u64> Visitor<'_> for Within<T, MIN, MAX> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a whole number {MIN} to {MAX}")
        }

        fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
            let fits = u64::try_from(value).ok().filter(|value| (MIN..=MAX).contains(value));
            let wrong = || E::invalid_value(de::Unexpected::Signed(value), &self);
            fits.and_then(|value| T::try_from(value).ok()).ok_or_else(wrong)
        }
    }
    from.deserialize_i64(Within::<T, MIN, MAX>(PhantomData))
}

/// Reads a text by `parse`, which says what it wanted when it refuses.
///
/// # Errors
/// No text, or one that `parse` refuses.
pub fn text_as<'de, D: Deserializer<'de>, T>(
    from: D,
    expected: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, D::Error> {
    struct Text<F>(&'static str, F);
    impl<T, F: FnOnce(&str) -> Option<T>> Visitor<'_> for Text<F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: de::Error>(self, value: &str) -> Result<T, E> {
            (self.1)(value).ok_or_else(|| E::invalid_value(de::Unexpected::Str(value), &self.0))
        }
    }
    from.deserialize_str(Text(expected, parse))
}
