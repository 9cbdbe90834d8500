//! `shoal mv`: another name or folder for what is there; one write.

use super::Outcome;
use super::args::Mv;
use super::context::Context;
use super::exit::Exit;
use crate::folder;
use crate::names::RemotePath;

pub(super) async fn run(context: &mut Context, args: Mv) -> Outcome {
    let (from, to) = (RemotePath::from_os(&args.from)?, RemotePath::from_os(&args.to)?);
    let session = context.session().await?;
    let landed = folder::rename(&session, &from, &to).await?;
    context.output.done("moved", &landed)?;
    Ok(Exit::Ok)
}
