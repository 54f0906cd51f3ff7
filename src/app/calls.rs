//! `ringway calls`: the latest calls as a table or as JSON.

use std::fmt::Write as _;

use clap::Args;

use super::show;
use crate::base::civil_date;
use crate::io::store::Store;
use crate::signalling::record::CallRecord;

#[derive(Debug, Args)]
pub(super) struct CallsArgs {
    /// How many, latest first
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// As a JSON list, with all that is known of each
    #[arg(long)]
    json: bool,
}

pub(super) fn calls(store: &Store, args: &CallsArgs) -> anyhow::Result<()> {
    let calls = store.recent_calls(args.limit)?;
    if args.json {
        return show(&format!("{}\n", serde_json::to_string_pretty(&calls)?));
    }
    if calls.is_empty() {
        return show("No call yet.\n");
    }
    show(&table(&calls))
}

fn table(calls: &[CallRecord]) -> String {
    let head = ["ID", "START (UTC)", "FROM", "DIALLED", "TALKED", "STATUS", "ENDED"].map(str::to_owned);
    let row = |call: &CallRecord| {
        [
            call.id.clone(),
            utc(call.started_unix_ms),
            call.from.clone(),
            call.dialled.clone(),
            talked(call),
            call.status.to_string(),
            call.ended_by.clone(),
        ]
    };
    let rows: Vec<[String; 7]> = calls.iter().map(row).collect();
    let width = |column: usize| {
        let cells = rows.iter().chain([&head]).map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &[String; 7]| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    let mut text = line(&head);
    for (call, row) in calls.iter().zip(&rows) {
        text.push_str(&line(row));
        for (who, leg) in ["caller", "callee"].iter().zip(&call.media) {
            if !leg.verdict.is_empty() && leg.verdict != "ok" {
                let _ = writeln!(text, "{:indent$}  {who}'s audio: {}", "", leg.verdict, indent = widths[0]);
            }
        }
    }
    text
}

fn talked(call: &CallRecord) -> String {
    let Some(answered) = call.answered_unix_ms else { return "-".to_owned() };
    let seconds = call.ended_unix_ms.saturating_sub(answered) / 1000;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// `2026-11-22 15:45:54`.
pub(super) fn utc(unix_ms: u64) -> String {
    let seconds = unix_ms / 1000;
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil_date(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", time / 3600, time / 60 % 60, time % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01 00:00:00");
        assert_eq!(utc(951_782_400_000), "2000-02-29 00:00:00");
        assert_eq!(utc(1_795_362_354_999), "2026-11-22 15:45:54");
        assert_eq!(utc(4_107_542_399_000), "2100-02-28 23:59:59");
    }
}
