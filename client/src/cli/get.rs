//! `shoal get`: files come to this machine. Here sources and DEST become jobs; [`get_tree`](super::get_tree) does folders.

use std::fs::OpenOptions;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::args::Get;
use super::context::Context;
use super::error::CommandError;
use super::get_tree::{self, Tree};
use super::report::{Direction, Reporter};
use super::{Outcome, link, stdout};
use crate::cancel::Interrupted;
use crate::down;
use crate::folder::destination::{Brings, Goes, Stands, decide};
use crate::folder::{Entry, FolderError, What};
use crate::local::LocalError;
use crate::local::place::place_link;
use crate::local::walk::{ItemKind, Links, look};
use crate::local::write::{Durability, Planned};
use crate::names::RemotePath;
use crate::past::spot::{moment, spot};
use crate::past::{Moment, PastError};
use crate::session::Session;
use crate::share::link::is_link;
use crate::transfer::{GetJob, GetOptions, Progress, Target};

/// Jobs that wait: each holds an open file.
const JOBS_WAITING: usize = 32;

/// A source that was found, with the sequence at which it is read; `None` is the root.
type Source = (RemotePath, Option<Entry>, Option<u64>);

pub(super) async fn run(context: &mut Context, args: Get) -> Outcome {
    if is_link(&args.dest) {
        return Err(CommandError::LinkAmongOthers.into());
    }
    let opened = match args.sources.as_slice() {
        [only] => link::open(context, only, args.time.at.is_some()).await?,
        several if several.iter().any(|source| is_link(source)) => return Err(CommandError::LinkAmongOthers.into()),
        _ => None,
    };
    let paths = match &opened {
        Some(_) => Vec::new(),
        None => args.sources.iter().map(|path| RemotePath::from_os(path)).collect::<Result<Vec<_>, _>>()?,
    };
    let session = match &opened {
        Some(opened) => opened.session.clone(),
        None => context.session().await?,
    };
    session.warm_up();
    let cancel = context.cancel.clone();
    let to_stdout = args.dest == "-";
    let mut reporter = context.reporter(Direction::Down);
    if to_stdout {
        reporter = reporter.keep_stdout_clean();
    }
    let reporter = Arc::new(reporter);
    let finding = async {
        let at = moment(&session, args.time.at.as_ref()).await?;
        anyhow::Ok((at, find(&session, paths, at, args.recursive, &reporter).await?))
    };
    let (at, sources) = match opened {
        // A folder that somebody has shared is meant with all that is in it.
        Some(opened) => (None, vec![(opened.path, Some(opened.entry), None)]),
        None => cancel.guard(finding).await.ok_or(Interrupted)??,
    };
    if let Some(moment) = at {
        context.note(&format!("as of {moment}"));
    }
    if sources.is_empty() {
        return Ok(reporter.finish("end"));
    }
    let durability = if args.sync { Durability::Synced } else { Durability::Relaxed };
    let progress = Arc::clone(&reporter) as Arc<dyn Progress>;
    let options = GetOptions { cancel: cancel.clone(), progress, durability };
    let (send, jobs) = mpsc::channel(JOBS_WAITING);
    let work = Work { session: session.clone(), reporter: Arc::clone(&reporter), jobs: send };
    let producing = async {
        if to_stdout {
            to_output(work, sources, args.force).await
        } else {
            to_files(work, sources, args.dest.into()).await
        }
    };
    let producing = cancel.guard(producing);
    let (produced, fetched) = tokio::join!(producing, down::get_files(&session, jobs, &options));
    produced.ok_or(Interrupted)??;
    fetched?;
    Ok(reporter.finish_with("end", session.traffic()))
}

/// What it takes to turn entries into jobs.
pub(super) struct Work {
    pub(super) session: Session,
    pub(super) reporter: Arc<Reporter>,
    pub(super) jobs: mpsc::Sender<GetJob>,
}

async fn find(
    session: &Session,
    paths: Vec<RemotePath>,
    at: Option<Moment>,
    recursive: bool,
    reporter: &Reporter,
) -> anyhow::Result<Vec<Source>> {
    let mut found = Vec::with_capacity(paths.len());
    for path in paths {
        let spot = match spot(session, &path, at, true).await {
            Ok(spot) => spot,
            Err(error @ PastError::NoVersion { .. }) => {
                reporter.fail(&path.to_string(), &error);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        match spot.target() {
            Ok(entry) if entry.is_none_or(Entry::is_folder) && !recursive => {
                reporter.fail(&path.to_string(), &CommandError::NeedsRecursive { path: path.to_string() });
            }
            Ok(entry) => found.push((path, entry.cloned(), spot.at)),
            Err(error) => reporter.fail(&path.to_string(), &error),
        }
    }
    Ok(found)
}

async fn to_output(work: Work, sources: Vec<Source>, force: bool) -> anyhow::Result<()> {
    for (path, entry, _) in sources {
        let Some((entry, file)) = entry.as_ref().and_then(|entry| entry.file().map(|file| (entry, file))) else {
            return Err(CommandError::FolderToStdout.into());
        };
        if file.link().is_some() {
            work.reporter.fail(&path.to_string(), &FolderError::IsALink { path: path.to_string() });
            continue;
        }
        let target = Target::Writer(stdout::open(force)?);
        work.send(entry, target, path.to_string()).await;
    }
    Ok(())
}

async fn to_files(work: Work, sources: Vec<Source>, dest: PathBuf) -> anyhow::Result<()> {
    let brings = match sources.as_slice() {
        [(_, None, _)] => Brings::NamelessFolder,
        [(_, Some(entry), _)] if entry.is_folder() => Brings::Folder,
        [_] => Brings::File,
        _ => Brings::Several,
    };
    let slash = dest.as_os_str().as_bytes().ends_with(b"/");
    let looked = dest.clone();
    let stands = spawn_blocking(move || stands(&looked)).await?;
    let refuse = |why| CommandError::LocalDestination { path: dest.clone(), why };
    let goes = decide(stands, slash, brings).map_err(refuse)?;
    for (path, entry, at) in sources {
        let target = match (&entry, goes) {
            (_, Goes::As | Goes::Merged) | (None, Goes::Into) => dest.clone(),
            (Some(entry), Goes::Into) => dest.join(entry.name.as_os()),
        };
        let folder = match &entry {
            None => Some((work.session.root(), None)),
            Some(entry) => match &entry.what {
                What::Folder(attributes) => Some((entry.node, Some(*attributes))),
                What::File(_) => None,
            },
        };
        match (folder, entry) {
            (Some((node, attributes)), _) => get_tree::get(&work, Tree { node, at, path, attributes, target }).await?,
            (None, Some(entry)) => one_file(&work, &entry, target, path.to_string()).await?,
            (None, None) => {}
        }
    }
    Ok(())
}

/// What is at a local path, seen through links.
fn stands(dest: &Path) -> Stands {
    match look(dest, Links::Follow) {
        Ok(item) if item.kind == ItemKind::Folder => Stands::Folder,
        Ok(_) => Stands::File,
        Err(LocalError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotADirectory => {
            Stands::FileInTheWay
        }
        Err(_) => {
            let parent = dest.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            match look(parent, Links::Follow) {
                Ok(item) if item.kind == ItemKind::Folder => Stands::Nothing,
                Ok(_) => Stands::FileInTheWay,
                Err(_) => Stands::NoParent,
            }
        }
    }
}

/// A file that was named itself: a link at its destination stays, a device or pipe is written to.
async fn one_file(work: &Work, entry: &Entry, target: PathBuf, shown: String) -> anyhow::Result<()> {
    let Some(file) = entry.file() else { return Ok(()) };
    if let Some(link) = file.link() {
        let (link, modified) = (link.to_vec(), file.meta.mtime);
        work.settle(&shown, spawn_blocking(move || place_link(&link, &target, modified)).await?, entry);
        return Ok(());
    }
    let planned = Planned::new(target.clone(), Links::Follow, None, file);
    let opened = spawn_blocking(move || match planned.begin() {
        Ok(download) => Ok(Target::File(download)),
        Err(LocalError::Special { .. }) => OpenOptions::new()
            .write(true)
            .open(&target)
            .map(|file| Target::Writer(Box::new(file)))
            .map_err(|source| LocalError::Io { action: "open", path: target, source }),
        Err(error) => Err(error),
    });
    match opened.await? {
        Ok(target) => work.send(entry, target, shown).await,
        Err(error) => work.reporter.fail(&shown, &error),
    }
    Ok(())
}

impl Work {
    /// Hands a file on; when nobody takes it any more its target is dropped, and with it the temporary file.
    pub(super) async fn send(&self, entry: &Entry, target: Target, shown: String) {
        let Some(file) = entry.file() else { return };
        self.reporter.announce(file.meta.size);
        self.jobs.send(GetJob::of(entry.node, file, target, shown).within(entry)).await.ok();
    }

    /// Tells what became of a link, which is done at once.
    pub(super) fn settle(&self, shown: &str, placed: Result<(), LocalError>, entry: &Entry) {
        match (placed, entry.file()) {
            (Ok(()), Some(file)) => {
                let shown = shown.to_owned();
                self.reporter.got(crate::transfer::GetDone { shown, version: file.version, bytes: 0 });
            }
            (Ok(()), None) => {}
            (Err(error), _) => self.reporter.fail(shown, &error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_destinations_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "").unwrap();
        std::os::unix::fs::symlink(".", at("link")).unwrap();
        for (path, expected) in [
            (at(""), Stands::Folder),
            (at("link"), Stands::Folder),
            (at("file"), Stands::File),
            (at("new"), Stands::Nothing),
            (at("new/"), Stands::Nothing),
            (at("no/new"), Stands::NoParent),
            (at("file/new"), Stands::FileInTheWay),
            (PathBuf::from("surely-not-here"), Stands::Nothing),
        ] {
            assert_eq!(stands(&path), expected, "{}", path.display());
        }
    }
}
