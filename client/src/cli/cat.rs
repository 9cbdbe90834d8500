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
use crate::folder::FolderError;
use crate::local::write::Durability;
use crate::names::RemotePath;
use crate::past::Moment;
use crate::past::spot::{moment, spot};
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
    let finding = moment(&session, args.time.at.as_ref());
    let at = cancel.guard(finding).await.ok_or(Interrupted)??;
    if let Some(moment) = at {
        context.note(&format!("as of {moment}"));
    }
    for path in paths {
        let found = cancel.guard(find(&session, &path, at, args.force)).await.ok_or(Interrupted)?;
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

async fn find(session: &crate::session::Session, path: &RemotePath, at: Option<Moment>, force: bool) -> Found {
    let spot = spot(session, path, at, true).await?;
    let is_a_folder = || FolderError::NotAFile { path: path.to_string() };
    let entry = spot.target()?.ok_or_else(is_a_folder)?;
    let file = entry.file().ok_or_else(is_a_folder)?;
    if file.link().is_some() {
        return Err(FolderError::IsALink { path: path.to_string() }.into());
    }
    let target = Target::Writer(stdout::open(force)?);
    Ok(GetJob::of(entry.node, file, target, path.to_string()))
}
