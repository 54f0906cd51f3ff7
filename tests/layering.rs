//! The house's rules, held against the source: who may import whom, what a sans-IO room forbids, where `unsafe` may stand,
//! vendors' names, the length of a file. Each failure names file, line and the rule.

use std::fs;
use std::path::{Path, PathBuf};

/// Each room and the rooms that it may import; a room may always import itself.
const MAY_IMPORT: [(&str, &[&str]); 8] = [
    ("base", &[]),
    ("wire", &["base"]),
    ("plan", &["base", "wire"]),
    // A profile names codecs, and codecs are the plan's.
    ("policy", &["base", "wire", "plan"]),
    ("signalling", &["base", "wire", "policy", "plan"]),
    ("media", &["base", "wire", "policy", "plan"]),
    ("io", &["base", "wire", "policy", "plan", "signalling", "media"]),
    ("app", &["base", "wire", "policy", "plan", "signalling", "media", "io"]),
];

/// Rooms inside a room that don't know each other.
const STRANGERS: [(&str, &str, &str); 2] = [
    ("signalling::transaction", "signalling::dialog", "the engine joins transactions and dialogs by id"),
    ("signalling::dialog", "signalling::transaction", "the engine joins transactions and dialogs by id"),
];

const SANS_IO: [&str; 6] = ["base/mod.rs", "wire/mod.rs", "policy/mod.rs", "plan.rs", "signalling/mod.rs", "media/mod.rs"];
const DENY: &str = "#![deny(clippy::disallowed_methods, clippy::disallowed_types)]";

const MAX_LINES: usize = 700;

const VENDORS: [&str; 22] = [
    "asterisk",
    "freeswitch",
    "kamailio",
    "opensips",
    "rtpengine",
    "jssip",
    "sip.js",
    "baresip",
    "linphone",
    "cisco",
    "yealink",
    "polycom",
    "grandstream",
    "snom",
    "fritz!box",
    "avaya",
    "mitel",
    "3cx",
    "twilio",
    "chrom",
    "firefox",
    "safari",
];

/// A source file, with the same text three times: as it stands, without comments, and without strings too. Line numbers
/// agree.
struct Source {
    /// Below `src/`.
    name: String,
    text: String,
    uncommented: String,
    code: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    walk(&root().join("src"), &mut files);
    files.sort();
    assert!(files.len() > 50, "src/ was not found");
    files
        .into_iter()
        .map(|file| {
            let text = fs::read_to_string(&file).expect("source is readable");
            let name = file.strip_prefix(root().join("src")).expect("below src").to_string_lossy().into_owned();
            Source { name, uncommented: blank(&text, false), code: blank(&text, true), text }
        })
        .collect()
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// Spaces in place of comments, and of what stands in strings if `strings` says so; line ends stay.
fn blank(text: &str, strings: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut hide = |from: usize, to: usize| out[from..to].iter_mut().filter(|b| **b != b'\n').for_each(|b| *b = b' ');
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let len = if rest.starts_with(b"//") {
            let len = rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
            hide(at, at + len);
            len
        } else if let Some((open, len)) = string_literal(rest) {
            if strings {
                hide(at + open, at + len - 1);
            }
            len
        } else if rest.starts_with(br"'\") || (rest[0] == b'\'' && rest.get(2) == Some(&b'\'')) {
            // A character, perhaps a quote; a lifetime has no closing quote two bytes on.
            2 + rest[2..].iter().position(|&b| b == b'\'').map_or(0, |end| end + usize::from(rest.get(2) == Some(&b'\'')) + 1)
        } else {
            1
        };
        at += len;
    }
    String::from_utf8(out).expect("only whole characters were replaced")
}

/// The length of the string literal that starts here, and of what opens it.
fn string_literal(rest: &[u8]) -> Option<(usize, usize)> {
    let raw = rest.iter().skip(1).take_while(|&&b| b == b'#').count();
    if rest[0] == b'r' && rest.get(raw + 1) == Some(&b'"') {
        let end = [&b"\""[..], &vec![b'#'; raw]].concat();
        let found = rest[raw + 2..].windows(end.len()).position(|w| w == end)?;
        return Some((raw + 2, raw + 2 + found + end.len()));
    }
    if rest[0] != b'"' {
        return None;
    }
    let mut at = 1;
    while *rest.get(at)? != b'"' {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    Some((1, at + 1))
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// `signalling/call/mod.rs` is `signalling::call`, `signalling/call/leg.rs` is `signalling::call::leg`.
fn module_of(name: &str) -> Vec<&str> {
    let name = name.strip_suffix(".rs").expect("a source file");
    name.split('/').filter(|part| *part != "mod").collect()
}

/// Every path in the code that starts with `crate::` or `super::`, from the crate's root on, with its line.
fn paths(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (start, _) in source.code.match_indices("crate::").chain(source.code.match_indices("super::")) {
        let before = source.code[..start].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | '$')) {
            continue;
        }
        let mut module = module_of(&source.name);
        let mut rest = &source.code[start..];
        if let Some(after) = rest.strip_prefix("crate::") {
            module.clear();
            rest = after;
        }
        while let Some(after) = rest.strip_prefix("super::") {
            module.pop();
            rest = after;
        }
        let mut leaves = Vec::new();
        tree(rest, &module.join("::"), &mut leaves);
        found.extend(leaves.into_iter().map(|leaf| (line_of(&source.code, start), leaf)));
    }
    found
}

/// Takes `a::{b, c::d}` apart into its leaves; gives back what follows it.
fn tree<'a>(text: &'a str, prefix: &str, leaves: &mut Vec<String>) -> &'a str {
    let text = text.trim_start();
    let join = |name: &str| if prefix.is_empty() { name.to_owned() } else { format!("{prefix}::{name}") };
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = tree(rest, prefix, leaves).trim_start();
            // An alias says nothing of where the name comes from.
            if let Some(alias) = rest.strip_prefix("as ") {
                rest = alias.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_').trim_start();
            }
            match rest.strip_prefix(',') {
                Some(more) if !more.trim_start().starts_with('}') => rest = more,
                Some(more) => return more.trim_start().strip_prefix('}').unwrap_or(more),
                None => return rest.strip_prefix('}').unwrap_or(rest),
            }
        }
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    match rest.strip_prefix("::") {
        Some(more) if !name.is_empty() => tree(more, &join(name), leaves),
        _ => {
            leaves.push(join(name));
            rest
        }
    }
}

fn is_within(path: &str, room: &str) -> bool {
    path.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn fail(rule: &str, failures: &[String]) {
    assert!(failures.is_empty(), "{rule}:\n{}", failures.join("\n"));
}

#[test]
fn no_room_imports_what_stands_above_or_beside_it() {
    let mut failures = Vec::new();
    let mut seen = 0;
    for source in sources() {
        let module = module_of(&source.name);
        let Some((room, allowed)) = MAY_IMPORT.iter().find(|(room, _)| *room == module[0]) else {
            assert!(matches!(module[0], "lib" | "main"), "src/{}: a room that the table of imports does not have", source.name);
            continue;
        };
        for (line, path) in paths(&source) {
            seen += 1;
            let target = path.split("::").next().expect("a first part");
            let is_room = MAY_IMPORT.iter().any(|(name, _)| *name == target);
            if is_room && target != *room && !allowed.contains(&target) {
                failures.push(format!("src/{}:{line}: {path}: {room} may import {allowed:?}", source.name));
            }
            for (here, there, why) in STRANGERS {
                if is_within(&module.join("::"), here) && is_within(&path, there) {
                    failures.push(format!("src/{}:{line}: {path}: {why}", source.name));
                }
            }
        }
    }
    assert!(seen > 200, "imports are no longer found: {seen}");
    fail("who may import whom (the crate page has the table)", &failures);
}

#[test]
fn the_scan_sees_through_groups_supers_comments_and_strings() {
    let text = "// crate::app::a\nuse crate::{io::{x, y as z}, app};\nlet c = '\"'; f(\"crate::app\", crate::media::F, super::dialog::G);\n";
    let source = Source {
        name: "signalling/transaction/table.rs".into(),
        text: text.into(),
        uncommented: blank(text, false),
        code: blank(text, true),
    };
    let found: Vec<_> = paths(&source).into_iter().map(|(line, path)| format!("{line} {path}")).collect();
    assert_eq!(found, ["2 io::x", "2 io::y", "2 app", "3 media::F", "3 signalling::transaction::dialog::G"], "{}", source.code);
}

#[test]
fn every_sans_io_room_denies_clocks_threads_and_sockets() {
    let denies = |name: &&str| fs::read_to_string(root().join("src").join(name)).is_ok_and(|t| t.lines().any(|l| l == DENY));
    let failures: Vec<_> = SANS_IO.iter().filter(|name| !denies(name)).map(|name| format!("src/{name}:1: no {DENY}")).collect();
    fail("protocols are values, not threads (.clippy.toml says what is denied)", &failures);
}

#[test]
fn unsafe_stands_in_sys_files_alone_and_says_why_it_is_sound() {
    let mut failures = Vec::new();
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (at, line) in source.code.lines().enumerate() {
            let word = |w: &str| w == "unsafe";
            if !line.split(|c: char| !c.is_alphanumeric() && c != '_').any(word) {
                continue;
            }
            if !source.name.ends_with("_sys.rs") {
                failures.push(format!("src/{}:{}: unsafe outside of a *_sys.rs", source.name, at + 1));
            } else if line.contains("unsafe {") && !explained(&lines[..at]) {
                failures.push(format!("src/{}:{}: no SAFETY comment above it", source.name, at + 1));
            }
        }
    }
    fail("unsafe", &failures);
}

/// Whether the comment nearest above says SAFETY: a statement may start a few lines before its `unsafe`.
fn explained(above: &[&str]) -> bool {
    let comment = |line: &&&str| line.trim_start().starts_with("//");
    let near = above.iter().rev().take(4).position(|line| comment(&line));
    near.is_some_and(|skip| above.iter().rev().skip(skip).take_while(comment).any(|line| line.contains("SAFETY")))
}

#[test]
fn no_string_names_a_vendor() {
    // What is shipped under a name may be found by it.
    let shipped: Vec<String> = ["sip-profiles", "examples"]
        .into_iter()
        .flat_map(|dir| fs::read_dir(root().join(dir)).expect("shipped files"))
        .map(|entry| entry.expect("an entry").path())
        .flat_map(|path| [path.file_name().map(ToOwned::to_owned), path.file_stem().map(ToOwned::to_owned)])
        .filter_map(|name| name.map(|n| n.to_string_lossy().into_owned()))
        .collect();
    let mut failures = Vec::new();
    for source in sources() {
        let tests_at = source.text.find("#[cfg(test)]").unwrap_or(source.text.len());
        for (line, literal) in literals(&source.uncommented[..tests_at]) {
            let name = literal.rsplit('/').next().unwrap_or(&literal);
            let lower = literal.to_ascii_lowercase();
            if !shipped.iter().any(|s| s == name) && VENDORS.iter().any(|vendor| lower.contains(vendor)) {
                failures.push(format!("src/{}:{line}: \"{literal}\"", source.name));
            }
        }
    }
    fail("what differs between peers is data (sip-profiles/, dialplan/), not code", &failures);
}

fn literals(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        match string_literal(&text.as_bytes()[at..]) {
            Some((open, len)) => {
                let inner = &text.as_bytes()[at + open..at + len - 1];
                found.push((line_of(text, at), String::from_utf8_lossy(inner).into_owned()));
                at += len;
            }
            // The quote that is a character opens no string.
            None => at += if text.as_bytes()[at..].starts_with(b"'\"'") { 3 } else { 1 },
        }
    }
    found
}

#[test]
fn a_file_has_one_purpose_and_so_is_short() {
    let long = |source: &Source| Some(source.text.lines().count()).filter(|lines| *lines > MAX_LINES);
    let failures: Vec<_> = sources().iter().filter_map(|s| Some(format!("src/{}: {} lines", s.name, long(s)?))).collect();
    fail("no file in src/ has over 700 lines: split it by purpose", &failures);
}
