//! `shoal rm`: takes a file or folder out of the tree; history keeps it.

use super::Outcome;
use super::args::Rm;
use super::context::Context;
use super::exit::Exit;
use crate::folder;
use crate::names::RemotePath;

pub(super) async fn run(context: &mut Context, args: Rm) -> Outcome {
    let path = RemotePath::from_os(&args.path)?;
    let session = context.session().await?;
    folder::remove(&session, &path, args.recursive).await?;
    context.output.done("removed", &path)?;
    Ok(Exit::Ok)
}
