//! `shoal cp`: new versions of content that is there already.

use super::Outcome;
use super::args::Cp;
use super::context::Context;
use super::exit::Exit;
use super::explain;
use super::ticker::say_waiting;
use crate::cancel::Interrupted;
use crate::folder;
use crate::names::RemotePath;

pub(super) async fn run(context: &mut Context, args: Cp) -> Outcome {
    let (from, to) = (RemotePath::from_os(&args.from)?, RemotePath::from_os(&args.to)?);
    let session = context.session().await?;
    let cancel = context.cancel.clone();
    let copying = folder::copy(&session, &from, &to, args.recursive, &cancel);
    let copied = say_waiting(context.visible(), "copying", copying).await?;
    if cancel.is_cancelled() {
        return Err(Interrupted.into());
    }
    context.output.done("copied", &to)?;
    for error in copied.failed.iter() {
        explain::tell(error, context.global.json);
    }
    if copied.failed_unlisted > 0 {
        context.note(&format!("and {} more", copied.failed_unlisted));
    }
    Ok(if copied.failed.is_empty() { Exit::Ok } else { Exit::Partly })
}
