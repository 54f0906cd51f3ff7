//! What the configuration names, read from disk and put together: profiles and the dialplan.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use super::config::Config;
use crate::policy::dialplan::{self, Dialplan};
use crate::policy::profile::{self, Profile};

/// The built-in profiles with the organisation's own over them, and every name in the configuration found among them.
///
/// # Errors
/// A file cannot be read or a key in it does not fit, or the configuration names a profile that does not exist.
pub fn profiles(config: &Config) -> anyhow::Result<BTreeMap<String, Arc<Profile>>> {
    let mut all = profile::built_in();
    if let Some(dir) = &config.profiles.dir {
        let own =
            read_dir(dir).map_err(|error| config.wrong("profiles.dir", "a directory that can be read", quoted(dir, &error)))?;
        for (name, path, text) in own {
            let profile = Profile::parse(&name, &path, &text)?;
            all.insert(name, Arc::new(profile));
        }
    }
    let named =
        [("profiles.browser".to_owned(), &config.profiles.browser), ("profiles.phone".to_owned(), &config.profiles.phone)];
    let peers = config.peers.iter().enumerate().map(|(i, peer)| (format!("peer.{i}.profile"), &peer.profile));
    for (key, name) in named.into_iter().chain(peers) {
        if !all.contains_key(name) {
            let names: Vec<&str> = all.keys().map(String::as_str).collect();
            let expected = format!("a profile: one of {}", names.join(", "));
            return Err(config.wrong(&key, &expected, format!("\"{name}\"")).into());
        }
    }
    Ok(all)
}

/// The organisation's dialplan or the built-in one, every peer in it found in the configuration. Its tests are not run.
///
/// # Errors
/// The file cannot be read or a key in it does not fit, or it names a peer that the configuration lacks.
pub fn dialplan(config: &Config) -> anyhow::Result<Dialplan> {
    let plan = match &config.dialplan.file {
        Some(path) => {
            let read = std::fs::read_to_string(path);
            let text = read.map_err(|error| config.wrong("dialplan.file", "a file that can be read", quoted(path, &error)))?;
            Dialplan::parse(&path.display().to_string(), &text)?
        }
        None => Dialplan::parse(dialplan::DEFAULT.0, dialplan::DEFAULT.1).context("the built-in dialplan")?,
    };
    for (name, place) in plan.peers_named() {
        if config.peers.iter().all(|peer| peer.name != name) {
            let path = config.source.path.display();
            anyhow::bail!("{place}: expected a peer of {path}, found \"{name}\": add a [[peer]] with that name");
        }
    }
    Ok(plan)
}

fn quoted(path: &Path, error: &std::io::Error) -> String {
    format!("\"{}\" ({error})", path.display())
}

/// The `*.toml` of a directory as (name, path, text), in the order of their names.
fn read_dir(dir: &Path) -> std::io::Result<Vec<(String, String, String)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let is_toml = path.extension().is_some_and(|extension| extension == "toml");
        if let (true, Some(name)) = (is_toml, path.file_stem().and_then(|name| name.to_str())) {
            found.push((name.to_owned(), path.display().to_string(), std::fs::read_to_string(&path)?));
        }
    }
    found.sort();
    Ok(found)
}
