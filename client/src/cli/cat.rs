//! `shoal cat`: a file's content on standard output.

use std::ffi::OsString;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::Outcome;
use super::args::Cat;
use super::context::Context;
use super::link::{self, Opened};
use super::report::Direction;
use super::stdout;
use crate::cancel::Interrupted;
use crate::down;
use crate::folder::{self, Entry, FolderError};
use crate::local::write::Durability;
use crate::names::RemotePath;
use crate::share::link::is_link;
use crate::transfer::{GetJob, GetOptions, Progress, Target};

pub(super) async fn run(context: &mut Context, args: Cat) -> Outcome {
    let read = |word: &OsString| if is_link(word) { Ok(None) } else { RemotePath::from_os(word).map(Some) };
    let paths = args.paths.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let cancel = context.cancel.clone();
    let reporter = Arc::new(context.reporter(Direction::Down).keep_stdout_clean());
    let options = GetOptions {
        cancel: cancel.clone(),
        progress: Arc::clone(&reporter) as Arc<dyn Progress>,
        durability: Durability::Relaxed,
    };
    // One after another: what comes out is all of the first, then all of the second.
    for (word, path) in args.paths.iter().zip(paths) {
        let (session, shown, found) = match (link::open(context, word).await?, path) {
            (Some(Opened { session, path, entry }), _) => {
                let job = job(&path, Some(&entry), args.force);
                (session, path.to_string(), job)
            }
            (None, Some(path)) => {
                let session = context.session().await?;
                let found = cancel.guard(find(&session, &path, args.force)).await.ok_or(Interrupted)?;
                (session, path.to_string(), found)
            }
            (None, None) => continue,
        };
        let job = match found {
            Ok(job) => job,
            Err(error) => {
                reporter.fail(&shown, &*error);
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
    job(path, resolved.target(path)?, force)
}

fn job(path: &RemotePath, entry: Option<&Entry>, force: bool) -> Found {
    let is_a_folder = || FolderError::NotAFile { path: path.to_string() };
    let entry = entry.ok_or_else(is_a_folder)?;
    let file = entry.file().ok_or_else(is_a_folder)?;
    if file.link().is_some() {
        return Err(FolderError::IsALink { path: path.to_string() }.into());
    }
    let target = Target::Writer(stdout::open(force)?);
    Ok(GetJob::of(entry.node, file, target, path.to_string()).within(entry))
}
