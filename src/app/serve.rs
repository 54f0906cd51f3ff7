//! `ringway serve`.

use super::config::Config;

/// Runs the gateway until it is told to stop.
///
/// # Errors
/// Always, as yet: the gateway's own rooms come with the next commits.
pub fn serve(_config: Config) -> anyhow::Result<()> {
    anyhow::bail!("not here yet")
}
