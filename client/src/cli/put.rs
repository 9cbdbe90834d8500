//! `shoal put`: files go up. Here sources and DEST become jobs; [`put_tree`](super::put_tree) does folders.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::id::NodeId;
use common::proto::directory::Expect;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::Outcome;
use super::args::Put;
use super::context::Context;
use super::error::CommandError;
use super::put_tree::{self, Tree};
use super::report::{Direction, Reporter};
use crate::cancel::Interrupted;
use crate::folder::change::{FolderWanted, make_folders};
use crate::folder::destination::{Brings, Goes, decide};
use crate::folder::{self, FolderError, Resolved};
use crate::local::LocalError;
use crate::local::walk::{Item, ItemKind, Links, look};
use crate::meta::{FolderAttributes, Mtime};
use crate::names::{Name, RemotePath, Shown};
use crate::session::Session;
use crate::transfer::{JOBS_IN_FLIGHT, LocalKind, LocalMeta, Progress, PutJob, PutOptions, Source};
use crate::up;

/// What was named on the command line, and found.
enum Named {
    Stdin,
    Item(Item),
}

pub(super) async fn run(context: &mut Context, args: Put) -> Outcome {
    let dest = RemotePath::from_os(&args.dest)?;
    let reporter = Arc::new(context.reporter(Direction::Up));
    let compression = args.compression();
    let sources = find(args.sources, args.recursive, &reporter).await?;
    if sources.is_empty() {
        return Ok(reporter.finish("end"));
    }
    let session = context.session().await?;
    session.warm_up();
    let cancel = context.cancel.clone();
    let resolved = cancel.guard(folder::resolve(&session, &dest)).await.ok_or(Interrupted)??;
    // What a folder on the way there asks for, or else the cluster.
    let redundancy = args.redundancy.or_else(|| resolved.redundancy()).unwrap_or_else(|| session.redundancy());
    let progress = Arc::clone(&reporter) as Arc<dyn Progress>;
    let fanout = args.fanout.into();
    let options = PutOptions { redundancy, fanout, compression, cancel: cancel.clone(), progress };
    let (send, jobs) = mpsc::channel(JOBS_IN_FLIGHT);
    let work = Work { session: session.clone(), reporter: Arc::clone(&reporter), jobs: send };
    let producing = cancel.guard(produce(work, sources, dest, resolved));
    let (produced, stored) = tokio::join!(producing, up::put_files(&session, jobs, &options));
    produced.ok_or(Interrupted)??;
    stored?;
    Ok(reporter.finish_with("end", session.traffic()))
}

/// What it takes to turn items into jobs.
pub(super) struct Work {
    pub(super) session: Session,
    pub(super) reporter: Arc<Reporter>,
    pub(super) jobs: mpsc::Sender<PutJob>,
}

/// Where one item goes.
pub(super) struct Place {
    pub(super) folder: NodeId,
    pub(super) within: Arc<RemotePath>,
    pub(super) name: Name,
    pub(super) expect: Expect,
}

/// Looks at what was named; what cannot be stored is told, and the rest goes on.
async fn find(sources: Vec<OsString>, recursive: bool, reporter: &Reporter) -> anyhow::Result<Vec<Named>> {
    let mut found = Vec::with_capacity(sources.len());
    let mut stdin = false;
    for source in sources {
        if source == "-" {
            if std::mem::replace(&mut stdin, true) {
                return Err(CommandError::StdinTwice.into());
            }
            found.push(Named::Stdin);
            continue;
        }
        let path = PathBuf::from(source);
        let shown = show(&path);
        // With -r a tree is stored as it is; a file that was named is what the link leads to.
        let links = if recursive { Links::Keep } else { Links::Follow };
        match spawn_blocking(move || look(&path, links)).await? {
            Ok(item) if item.kind == ItemKind::Folder && !recursive => {
                reporter.fail(&shown, &CommandError::NeedsRecursive { path: shown.clone() });
            }
            Ok(item) => match item.kind {
                ItemKind::Special("socket") => {
                    reporter.fail(&shown, &LocalError::Special { path: item.path.clone(), kind: "socket" });
                }
                _ => found.push(Named::Item(item)),
            },
            Err(error) => reporter.fail(&shown, &error),
        }
    }
    Ok(found)
}

pub(super) fn show(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    Shown(path.as_os_str().as_bytes()).to_string()
}

impl Named {
    fn own_name(&self) -> Option<Result<Name, crate::names::NameError>> {
        match self {
            Self::Stdin => None,
            // `.` and `dir/..` have no name of their own.
            Self::Item(item) => item.path.file_name().map(Name::from_os),
        }
    }

    fn brings(&self) -> Brings {
        match self {
            Self::Stdin => Brings::NamelessFile,
            Self::Item(item) => match (&item.kind, item.path.file_name()) {
                (ItemKind::Folder, Some(_)) => Brings::Folder,
                (ItemKind::Folder, None) => Brings::NamelessFolder,
                (_, _) => Brings::File,
            },
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Stdin => "-".to_owned(),
            Self::Item(item) => show(&item.path),
        }
    }
}

async fn produce(work: Work, sources: Vec<Named>, dest: RemotePath, resolved: Resolved) -> anyhow::Result<()> {
    let brings = match sources.as_slice() {
        [one] => one.brings(),
        _ => Brings::Several,
    };
    let slash = dest.must_be_folder() && !dest.is_root();
    let refuse = |why| FolderError::Destination { path: dest.to_string(), why };
    let goes = decide(resolved.stands(), slash, brings).map_err(refuse)?;
    let mut taken = HashSet::new();
    for source in sources {
        let shown = source.shown();
        let (path, inside) = match (goes, source.own_name()) {
            (Goes::As, _) => (dest.clone(), None),
            (Goes::Merged, _) => {
                let target = resolved.folder()?;
                merge(&work, source, Tree { node: target, occupied: true, path: Arc::new(dest.clone()) }).await?;
                continue;
            }
            (Goes::Into, Some(name)) => {
                let name = name?;
                if !taken.insert(name.clone()) {
                    return Err(CommandError::SameName { name: name.as_bytes().to_vec() }.into());
                }
                let path = dest.join(&name)?;
                (path.clone(), Some(folder::resolve(&work.session, &path).await?))
            }
            (Goes::Into, None) => return Err(CommandError::NoName { path: shown }.into()),
        };
        if let Err(error) = one(&work, source, path, inside.as_ref().unwrap_or(&resolved)).await {
            match error.downcast::<FolderError>() {
                Ok(error @ FolderError::Session(_)) => return Err(error.into()),
                Ok(error) => work.reporter.fail(&shown, &error),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// The content of a folder without a name goes into one that is there.
async fn merge(work: &Work, source: Named, tree: Tree) -> anyhow::Result<()> {
    let Named::Item(item) = source else { return Ok(()) };
    put_tree::put(work, item.path, tree).await
}

async fn one(work: &Work, source: Named, path: RemotePath, there: &Resolved) -> anyhow::Result<()> {
    let folder = there.parent().ok_or_else(|| FolderError::Changed { path: path.to_string() })?;
    let (within, name) = path.split().ok_or(FolderError::Root { what: "replaced" })?;
    let name = name.clone();
    if let Named::Item(Item { kind: ItemKind::Folder, mode, modified, path: local }) = source {
        let attributes = FolderAttributes { mode, mtime: modified, redundancy: None };
        let wanted = FolderWanted { within: folder, name, attributes, shown: path.to_string() };
        let made = make_folders(&work.session, vec![wanted]).await?.pop();
        let made = made.ok_or(FolderError::Misbehaved { what: "no answer for a folder" })??;
        return put_tree::put(work, local, Tree { node: made.node, occupied: !made.fresh, path: Arc::new(path) }).await;
    }
    let expect = match there.last() {
        None => Expect::Nothing,
        Some(entry) => entry.expect().ok_or_else(|| FolderError::IsAFolder { path: path.to_string() })?,
    };
    let place = Place { folder, within: Arc::new(within), name, expect };
    match source {
        Named::Stdin => {
            work.send_stream(Source::Stdin, place, Mtime::from_system(std::time::SystemTime::now()), "-".to_owned())
                .await
        }
        Named::Item(item) => work.send(item, place).await,
    }
    Ok(())
}

impl Work {
    /// Hands an item that is no folder on.
    pub(super) async fn send(&self, item: Item, place: Place) {
        let shown = show(&item.path);
        let Item { path, kind, mode, modified } = item;
        let (source, kind) = match kind {
            ItemKind::File { len } => {
                self.reporter.announce(len);
                (Source::Path(path), LocalKind::File)
            }
            ItemKind::Link { target } => (Source::None, LocalKind::Link(target)),
            // A pipe or device that was named itself is read to its end, like standard input.
            ItemKind::Special(_) => return self.send_special(path, place, modified, shown).await,
            ItemKind::Folder => return,
        };
        let meta = LocalMeta { mode, modified, kind };
        self.hand_on(source, place, meta, shown).await;
    }

    async fn send_special(&self, path: PathBuf, place: Place, modified: Mtime, shown: String) {
        let opening = path.clone();
        let opened = spawn_blocking(move || OpenOptions::new().read(true).open(&opening)).await;
        match opened {
            Ok(Ok(file)) => self.send_stream(Source::Reader(Box::new(file)), place, modified, shown).await,
            Ok(Err(source)) => self.reporter.fail(&shown, &LocalError::Io { action: "open", path, source }),
            Err(panic) => self.reporter.fail(&shown, &panic),
        }
    }

    async fn send_stream(&self, source: Source, place: Place, modified: Mtime, shown: String) {
        let meta = LocalMeta { mode: 0o644, modified, kind: LocalKind::File };
        self.hand_on(source, place, meta, shown).await;
    }

    async fn hand_on(&self, source: Source, place: Place, meta: LocalMeta, shown: String) {
        let Place { folder, within, name, expect } = place;
        // When nobody takes it any more, the data path itself says why.
        self.jobs.send(PutJob { source, folder, within, name, meta, expect, shown }).await.ok();
    }
}

/// What a writer says that it saw.
pub(super) fn expectation(there: Option<&Option<Expect>>) -> Option<Expect> {
    match there {
        None => Some(Expect::Nothing),
        Some(seen) => *seen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::Cancel;
    use crate::cli::exit::Exit;
    use crate::cli::progress::Visible;

    fn brings(path: &str) -> Brings {
        Named::Item(look(Path::new(path), Links::Follow).unwrap()).brings()
    }

    #[tokio::test]
    async fn missing_sources_are_told_and_the_rest_goes_on() {
        let reporter = Reporter::new(Visible::Hidden, Direction::Up, false, true, Cancel::new());
        let sources = ["/dev/null", "/surely/not/here", "/", "-"].map(OsString::from).to_vec();
        let found = find(sources, false, &reporter).await.unwrap();
        assert_eq!(found.len(), 2, "the device and standard input");
        assert_eq!(reporter.finish("end"), Exit::Failure);
        let twice = find(vec!["-".into(), "-".into()], false, &reporter).await;
        assert!(twice.is_err());
    }

    #[test]
    fn a_folder_without_a_name_of_its_own_is_merged() {
        assert_eq!(brings("/tmp"), Brings::Folder);
        assert_eq!(brings("/"), Brings::NamelessFolder);
        assert_eq!(brings("."), Brings::NamelessFolder);
        assert_eq!(brings("/dev/null"), Brings::File);
        assert_eq!(Named::Stdin.brings(), Brings::NamelessFile);
    }
}
