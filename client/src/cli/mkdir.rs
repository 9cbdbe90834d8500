//! `shoal mkdir`: makes a folder, with -p also those above it.

use super::Outcome;
use super::args::Mkdir;
use super::context::Context;
use super::exit::Exit;
use crate::folder;
use crate::names::RemotePath;

pub(super) async fn run(context: &mut Context, args: Mkdir) -> Outcome {
    let path = RemotePath::from_os(&args.path)?;
    let session = context.session().await?;
    folder::make(&session, &path, args.parents).await?;
    context.output.done("made", &path)?;
    Ok(Exit::Ok)
}
