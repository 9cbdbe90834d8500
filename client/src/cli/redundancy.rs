//! `shoal redundancy`: how safely something is kept, and asking for another redundancy.

use common::plural::many;
use serde_json::{Map, json};

use super::Outcome;
use super::args::SetRedundancy;
use super::context::Context;
use super::exit::Exit;
use super::output::{ToPath, name_into};
use crate::folder::redundancy;
use crate::names::RemotePath;

pub(super) async fn run(context: &mut Context, args: SetRedundancy) -> Outcome {
    let path = RemotePath::from_os(&args.path)?;
    let session = context.session().await?;
    let mut object = Map::new();
    name_into(&mut object, "path", &path.bytes());
    if let Some(wanted) = args.redundancy {
        let files = redundancy::set(&session, &path, wanted).await?;
        object.insert("redundancy".to_owned(), wanted.to_string().into());
        object.insert("files".to_owned(), files.into());
        if context.output.is_json() {
            context.output.object(&object.into())?;
        } else if context.output.is_chatty() {
            context
                .output
                .line(format_args!("{} will be kept at {wanted}; the peers are at it", many(files, "file")))?;
        }
        return Ok(Exit::Ok);
    }
    let kept = redundancy::look(&session, &path).await?;
    let asked = kept.asked.unwrap_or_else(|| session.redundancy());
    if context.output.is_json() {
        let files: Map<_, _> =
            kept.files.iter().map(|(redundancy, files)| (redundancy.to_string(), json!(files))).collect();
        object.insert("files".to_owned(), files.into());
        object.insert("default".to_owned(), asked.to_string().into());
        context.output.object(&object.into())?;
        return Ok(Exit::Ok);
    }
    for (redundancy, files) in &kept.files {
        let losses = redundancy.losses();
        let (files, losses) = (many(*files, "file"), many(losses as u64, "lost peer"));
        context.output.line(format_args!("{redundancy:<6}{files}, each survives {losses}"))?;
    }
    context.output.line(format_args!("{asked:<6}what is put here uses, unless it says otherwise"))?;
    Ok(Exit::Ok)
}
