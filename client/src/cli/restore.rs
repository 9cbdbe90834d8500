//! `shoal restore` and `shoal undelete`: make an old state current again.

use serde_json::{Map, Value};

use super::Outcome;
use super::args::{Restore, Undelete};
use super::context::Context;
use super::exit::Exit;
use super::explain;
use super::output::{ToPath, name_into};
use super::ticker::say_waiting;
use crate::cancel::Interrupted;
use crate::names::RemotePath;
use crate::past::restore::{self, Restored};
use crate::past::spot::{moment, spot};

pub(super) async fn run(context: &mut Context, args: Restore) -> Outcome {
    let path = RemotePath::from_os(&args.path)?;
    let to = args.to.as_deref().map(RemotePath::from_os).transpose()?;
    let session = context.session().await?;
    let cancel = context.cancel.clone();
    let finding = async {
        let at = moment(&session, args.time.at.as_ref()).await?;
        spot(&session, &path, at, false).await
    };
    let spot = cancel.guard(finding).await.ok_or(Interrupted)??;
    if let Some(moment) = spot.moment {
        context.note(&format!("as of {moment}"));
    }
    let restoring = restore::restore(&session, &spot, to.as_ref(), &cancel);
    let restored = say_waiting(context.visible(), "restoring", restoring).await?;
    tell(context, &restored)
}

pub(super) async fn undelete(context: &mut Context, args: Undelete) -> Outcome {
    let path = RemotePath::from_os(&args.path)?;
    let session = context.session().await?;
    let cancel = context.cancel.clone();
    let restoring = restore::undelete(&session, &path, &cancel);
    let restored = say_waiting(context.visible(), "restoring", restoring).await?;
    tell(context, &restored)
}

/// Says what was done.
fn tell(context: &mut Context, restored: &Restored) -> Outcome {
    let Restored { path, sequence, copied } = restored;
    for error in &copied.failed {
        explain::tell(error, context.global.json);
    }
    let failed = u64::try_from(copied.failed.len()).unwrap_or(u64::MAX).saturating_add(copied.failed_unlisted);
    if context.output.is_json() {
        let mut object = Map::new();
        object.insert("event".to_owned(), "restored".into());
        name_into(&mut object, "path", &path.bytes());
        object.insert("sequence".to_owned(), (*sequence).into());
        object.insert("files".to_owned(), copied.files.into());
        object.insert("folders".to_owned(), copied.folders.into());
        object.insert("unchanged".to_owned(), copied.unchanged.into());
        object.insert("failed".to_owned(), failed.into());
        context.output.object(&Value::Object(object))?;
    } else if context.output.is_chatty() {
        let mut line = format!("{path}: as of @{sequence}; restored {}", count(copied.files, "file"));
        if copied.folders > 0 {
            line.push_str(&format!(", made {}", count(copied.folders, "folder")));
        }
        if copied.unchanged > 0 {
            line.push_str(&format!("; {} so already", count(copied.unchanged, "file")));
        }
        if failed > 0 {
            line.push_str(&format!("; {failed} failed"));
        }
        context.output.line(line)?;
    }
    if context.cancel.is_cancelled() {
        return Err(Interrupted.into());
    }
    Ok(if failed == 0 { Exit::Ok } else { Exit::Partly })
}

fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
