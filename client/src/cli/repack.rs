//! `shoal repack`: how much of the packs is dead, and giving that room back.

use std::sync::Arc;

use common::size::ByteSize;
use serde_json::json;

use super::Outcome;
use super::args::Repack;
use super::context::Context;
use super::exit::Exit;
use super::report::Direction;
use crate::cancel::Interrupted;
use crate::repack::{RepackOptions, RepackReport, repack};
use crate::session::Session;

pub(super) async fn run(context: &mut Context, args: Repack) -> Outcome {
    let session = context.session().await?;
    loop {
        let report = once(context, &session, args.dry_run).await?;
        if context.output.is_json() {
            context.output.object(&object(&report, args.dry_run))?;
        } else if context.output.is_chatty() {
            for line in lines(&report, args.dry_run) {
                context.output.line(format_args!("{line}"))?;
            }
        }
        let Some(pause) = args.every else { return Ok(Exit::Ok) };
        context.cancel.guard(tokio::time::sleep(pause)).await.ok_or(Interrupted)?;
    }
}

/// One pass, with progress.
pub(super) async fn once(
    context: &Context,
    session: &Session,
    dry_run: bool,
) -> Result<RepackReport, crate::repack::RepackError> {
    let reporter = Arc::new(context.reporter(Direction::Up));
    let options = RepackOptions { dry_run, cancel: context.cancel.clone(), progress: reporter.clone() };
    let done = repack(session, &options).await;
    reporter.clear();
    done
}

pub(super) fn object(report: &RepackReport, dry_run: bool) -> serde_json::Value {
    json!({
        "event": "repacked",
        "dry_run": dry_run,
        "versions": report.versions,
        "packs": report.packs,
        "bytes": report.bytes,
        "dead_bytes": report.dead_bytes,
        "wasteful_packs": report.wasteful,
        "wasteful_bytes": report.wasteful_bytes,
        "wasteful_live_bytes": report.wasteful_live_bytes,
        "moved": report.moved,
        "changed": report.changed,
        "sent": report.sent,
    })
}

pub(super) fn lines(report: &RepackReport, dry_run: bool) -> Vec<String> {
    let RepackReport { packs, bytes, dead_bytes, wasteful, wasteful_bytes, wasteful_live_bytes, .. } = *report;
    let gain = ByteSize(wasteful_bytes.saturating_sub(wasteful_live_bytes));
    let mut lines = vec![format!(
        "{packs} packs of small files hold {}, of which nothing needs {}",
        ByteSize(bytes),
        ByteSize(dead_bytes)
    )];
    lines.push(match (wasteful, dry_run) {
        (0, _) => "none of them is less than half alive: there is nothing to do".to_owned(),
        (_, true) => format!(
            "{wasteful} of them are less than half alive: shoal repack would copy {} and give back {gain}, each copy of it",
            ByteSize(wasteful_live_bytes)
        ),
        (_, false) => format!(
            "{wasteful} were less than half alive: {} files moved, {gain} go back to the peers, each copy of it, within a week",
            report.moved
        ),
    });
    if report.changed > 0 {
        lines.push(format!("{} files changed meanwhile; run shoal repack again for them", report.changed));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_is_wasted_and_what_to_do() {
        let report = RepackReport {
            packs: 9,
            bytes: 18 << 20,
            dead_bytes: 5 << 20,
            wasteful: 2,
            wasteful_bytes: 4 << 20,
            wasteful_live_bytes: 1 << 20,
            ..RepackReport::default()
        };
        let text = lines(&report, true).join("\n");
        assert!(text.contains("9 packs") && text.contains("5.0 MiB") && text.contains("give back 3.0 MiB"), "{text}");
        assert!(lines(&RepackReport { wasteful: 0, ..report }, true)[1].contains("nothing to do"));
        assert_eq!(lines(&RepackReport { changed: 1, ..report }, false).len(), 3);
    }
}
