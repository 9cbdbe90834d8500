//! `shoal cat`: a file's content on standard output.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::Outcome;
use super::args::Cat;
use super::context::Context;
use super::report::Direction;
use super::stdout;
use crate::cancel::Interrupted;
use crate::down;
use crate::folder::{self, FolderError};
use crate::local::write::Durability;
use crate::names::RemotePath;
use crate::transfer::{GetJob, GetOptions, Progress, Target};

pub(super) async fn run(context: &mut Context, args: Cat) -> Outcome {
    let paths = args.paths.iter().map(|path| RemotePath::from_os(path)).collect::<Result<Vec<_>, _>>()?;
    let session = context.session().await?;
    let cancel = context.cancel.clone();
    let reporter = Arc::new(context.reporter(Direction::Down).keep_stdout_clean());
    let options = GetOptions {
        cancel: cancel.clone(),
        progress: Arc::clone(&reporter) as Arc<dyn Progress>,
        durability: Durability::Relaxed,
    };
    // One after another: what comes out is all of the first, then all of the second.
    for path in paths {
        let found = cancel.guard(find(&session, &path, args.force)).await.ok_or(Interrupted)?;
        let job = match found {
            Ok(job) => job,
            Err(error) => {
                reporter.fail(&path.to_string(), &*error);
                continue;
            }
        };
        reporter.announce(job.meta.size);
        let (send, jobs) = mpsc::channel(1);
        send.try_send(job).ok(); // there is room for one
        drop(send);
        down::get_files(&session, jobs, &options).await?;
    }
    Ok(reporter.finish("end"))
}

type Found = Result<GetJob, Box<dyn std::error::Error + Send + Sync>>;

async fn find(session: &crate::session::Session, path: &RemotePath, force: bool) -> Found {
    let resolved = folder::resolve_to_read(session, path).await?;
    let is_a_folder = || FolderError::NotAFile { path: path.to_string() };
    let entry = resolved.target(path)?.ok_or_else(is_a_folder)?;
    let file = entry.file().ok_or_else(is_a_folder)?;
    if file.link().is_some() {
        return Err(FolderError::IsALink { path: path.to_string() }.into());
    }
    let target = Target::Writer(stdout::open(force)?);
    Ok(GetJob::of(entry.node, file, target, path.to_string()))
}
