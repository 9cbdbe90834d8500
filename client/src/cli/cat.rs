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
use crate::folder::{Entry, FolderError};
use crate::local::write::Durability;
use crate::names::RemotePath;
use crate::past::Moment;
use crate::past::spot::{moment, spot};
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
    let at = if paths.iter().any(Option::is_some) { time(context, &args).await? } else { None };
    for (word, path) in args.paths.iter().zip(paths) {
        let (session, path, found) = match (link::open(context, word, args.time.at.is_some()).await?, path) {
            (Some(Opened { session, path, entry }), _) => {
                let job = job(&path, Some(&entry), args.force);
                (session, path, job)
            }
            (None, Some(path)) => {
                let session = context.session().await?;
                session.warm_up();
                let found = cancel.guard(find(&session, &path, at, args.force)).await.ok_or(Interrupted)?;
                (session, path, found)
            }
            (None, None) => continue,
        };
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

/// The time that is asked for, told to the user.
async fn time(context: &mut Context, args: &Cat) -> anyhow::Result<Option<Moment>> {
    let session = context.session().await?;
    let finding = moment(&session, args.time.at.as_ref());
    let at = context.cancel.guard(finding).await.ok_or(Interrupted)??;
    if let Some(moment) = at {
        context.note(&format!("as of {moment}"));
    }
    Ok(at)
}

type Found = Result<GetJob, Box<dyn std::error::Error + Send + Sync>>;

async fn find(session: &crate::session::Session, path: &RemotePath, at: Option<Moment>, force: bool) -> Found {
    let spot = spot(session, path, at, true).await?;
    job(path, spot.target()?, force)
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
