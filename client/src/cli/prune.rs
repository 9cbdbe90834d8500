//! `shoal prune`: ends history by a policy.

use common::proto::directory::PruneCounts;
use common::size::ByteSize;
use serde_json::json;

use super::Outcome;
use super::args::Prune;
use super::context::Context;
use super::exit::Exit;
use super::repack;
use super::ticker::Ticker;
use crate::folder::prune;

pub(super) async fn run(context: &mut Context, args: Prune) -> Outcome {
    let session = context.session().await?;
    let plan = prune::plan(&session, args.policy()).await?;
    let mut ticker = Ticker::new(context.visible());
    let counts = prune::prune(&session, &plan, args.dry_run, |counts| {
        ticker.tick(|| format!("{} records looked at, {} versions to go", counts.looked_at, counts.versions));
    })
    .await?;
    ticker.end();
    // Which packs are mostly dead shows once it is done.
    let repacked = match args.no_repack || args.dry_run {
        true => None,
        false => Some(repack::once(context, &session, false).await?),
    };
    let PruneCounts { looked_at, entries, versions, sealed_bytes } = counts;
    if context.output.is_json() {
        let mut object = json!({
            "policy": plan.policy.to_string(),
            "dry_run": args.dry_run,
            "looked_at": looked_at,
            "entries": entries,
            "versions": versions,
            "sealed_bytes": sealed_bytes,
        });
        if let (Some(report), Some(object)) = (&repacked, object.as_object_mut()) {
            object.insert("repacked".to_owned(), repack::object(report, false));
        }
        context.output.object(&object)?;
        return Ok(Exit::Ok);
    }
    if context.output.is_chatty() {
        let verb = if args.dry_run { "would go" } else { "gone" };
        context.output.line(format_args!("kept      {}; snapshots; what is there now", plan.policy))?;
        context.output.line(format_args!("{verb:<10}{versions} versions of files, {entries} names and folders"))?;
        let size = ByteSize(sealed_bytes);
        context.output.line(format_args!("bytes     up to {size} times redundancy; what others share stays"))?;
        if let Some(report) = repacked.filter(|report| report.wasteful > 0) {
            for line in repack::lines(&report, false) {
                context.output.line(format_args!("packs     {line}"))?;
            }
        }
    }
    Ok(Exit::Ok)
}
