//! `shoal sync`: one folder becomes like another. Here SRC and DEST are told apart, passes are run, and what they did is told.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::Outcome;
use super::args::Sync;
use super::context::Context;
use super::exit::Exit;
use super::explain;
use super::output::name_into;
use super::report::{Direction, Reporter};
use crate::cancel::Interrupted;
use crate::down::compare::Comparer;
use crate::local::write::Durability;
use crate::names::{RemotePath, Shown};
use crate::seal::Compression;
use crate::session::Session;
use crate::sync::push::Scope;
use crate::sync::watch::Watcher;
use crate::sync::{Action, Counts, Excludes, SyncError, SyncOptions, Told, Tools, pull, push};
use crate::transfer::{Fanout, GetOptions, JOBS_IN_FLIGHT, Progress, PutOptions};
use crate::{down, folder, up};

/// What a path in the cluster begins with.
const REMOTE: &[u8] = b"shoal:";
/// How often everything is looked at again: SRC here, and in the cluster.
const EVERY: (u64, u64) = (300, 30);
/// After a pass that failed as a whole.
const PAUSE: Duration = Duration::from_secs(5);

/// Which way it goes.
enum Sides {
    Up { src: PathBuf, dest: RemotePath },
    Down { src: RemotePath, dest: PathBuf },
}

impl Sides {
    fn of(src: &OsStr, dest: &OsStr) -> Result<Self, SyncError> {
        match (remote(src)?, remote(dest)?) {
            (None, Some(dest)) => Ok(Self::Up { src: src.into(), dest }),
            (Some(src), None) => Ok(Self::Down { src, dest: dest.into() }),
            (None, None) => Err(SyncError::BothLocal),
            (Some(_), Some(_)) => Err(SyncError::BothRemote),
        }
    }

    fn direction(&self) -> Direction {
        match self {
            Self::Up { .. } => Direction::Up,
            Self::Down { .. } => Direction::Down,
        }
    }
}

/// The path in the cluster that is meant, if one is.
fn remote(path: &OsStr) -> Result<Option<RemotePath>, SyncError> {
    let Some(inner) = path.as_bytes().strip_prefix(REMOTE) else { return Ok(None) };
    let failed = |source| SyncError::Side { path: Shown(path.as_bytes()).to_string(), source };
    RemotePath::parse(inner).map(Some).map_err(failed)
}

pub(super) async fn run(context: &mut Context, args: Sync) -> Outcome {
    let mut sides = Sides::of(&args.src, &args.dest)?;
    let options = SyncOptions {
        delete: args.delete,
        dry_run: args.dry_run,
        checksum: args.checksum,
        excludes: Excludes::new(&args.exclude)?,
    };
    if let (Sides::Up { src, .. }, true) = (&mut sides, args.watch) {
        let path = src.clone();
        *src = spawn_blocking(move || std::fs::canonicalize(&path).unwrap_or(path)).await?;
    }
    let session = context.session().await?;
    let reporter = Arc::new(context.reporter(sides.direction()));
    let wanted = args.dry_run || context.global.verbose > 0;
    let told = Arc::new(Teller { reporter: Arc::clone(&reporter), wanted });
    let getting = GetOptions {
        cancel: context.cancel.clone(),
        progress: Arc::clone(&reporter) as Arc<dyn Progress>,
        durability: Durability::Relaxed,
    };
    let tools = Tools {
        session: session.clone(),
        options: Arc::new(options),
        told,
        counts: Arc::new(Counts::default()),
        comparer: Comparer::new(&session, &getting),
        cancel: context.cancel.clone(),
    };
    let work = Work { session, reporter, tools, getting, args, sides };
    if work.args.watch { work.watch().await } else { work.once().await }
}

struct Work {
    session: Session,
    reporter: Arc<Reporter>,
    tools: Tools,
    getting: GetOptions,
    args: Sync,
    sides: Sides,
}

impl Work {
    async fn once(&self) -> Outcome {
        while self.pass(Scope::All).await? {}
        self.summary();
        Ok(self.reporter.finish_with("end", self.session.traffic()))
    }

    /// Goes on until it is stopped; what cannot be reached is waited for.
    async fn watch(&self) -> Outcome {
        let cancel = &self.tools.cancel;
        let mut watcher = self.watcher().await?;
        let mut scope = Scope::All;
        loop {
            match self.pass(scope).await {
                Ok(true) => {
                    scope = Scope::All;
                    continue;
                }
                Ok(false) => self.summary(),
                Err(error) => {
                    let verdict = explain::judge(error.as_ref());
                    if !matches!(verdict.exit, Exit::Unreachable | Exit::Failure | Exit::Conflict) {
                        return Err(error);
                    }
                    self.reporter.note(&format!("{}; trying again", explain::text(error.as_ref(), None)));
                    if cancel.guard(tokio::time::sleep(PAUSE)).await.is_none() {
                        break;
                    }
                    watcher = self.watcher().await?; // SRC itself may be another folder now
                    scope = Scope::All;
                    continue;
                }
            }
            let (here, there) = EVERY;
            let every = match self.sides {
                Sides::Up { .. } => here,
                Sides::Down { .. } => there,
            };
            let every = Duration::from_secs(self.args.every.unwrap_or(every));
            match cancel.guard(watcher.next(every)).await {
                Some(next) => scope = next,
                None => break,
            }
        }
        Ok(self.reporter.finish_with("end", self.session.traffic()))
    }

    async fn watcher(&self) -> anyhow::Result<Watcher> {
        let Sides::Up { src, .. } = &self.sides else { return Ok(Watcher::blind()) };
        let (root, excludes) = (src.clone(), self.tools.options.excludes.clone());
        let (watcher, error) = spawn_blocking(move || Watcher::new(root, excludes)).await?;
        if let Some(error) = error {
            let text = explain::text(&error, None);
            self.reporter.note(&format!("{text}; it is looked at from time to time alone"));
        }
        Ok(watcher)
    }

    /// One walk with all that follows from it. Whether another one is needed to remove the rest.
    async fn pass(&self, scope: Scope) -> anyhow::Result<bool> {
        let (cancel, tools) = (&self.tools.cancel, &self.tools);
        let dry = self.args.dry_run;
        match &self.sides {
            Sides::Up { src, dest } => {
                let (src, dest) = (src.clone(), dest.clone());
                if dry {
                    let leftover =
                        cancel.guard(push::walk(tools, src, dest, scope, None)).await.ok_or(Interrupted)??;
                    return Ok(leftover.remove(0).await?);
                }
                let options = self.putting(&dest).await?;
                let (send, jobs) = mpsc::channel(JOBS_IN_FLIGHT);
                let walking = cancel.guard(push::walk(tools, src, dest, scope, Some(send)));
                let (walked, stored) = tokio::join!(walking, up::put_files(&self.session, jobs, &options));
                let (leftover, report) = (walked.ok_or(Interrupted)??, stored?);
                Ok(cancel.guard(leftover.remove(report.failed)).await.ok_or(Interrupted)??)
            }
            Sides::Down { src, dest } => {
                let (src, dest) = (src.clone(), dest.clone());
                if dry {
                    let leftover = cancel.guard(pull::walk(tools, src, dest, None)).await.ok_or(Interrupted)??;
                    return Ok(leftover.remove(0).await?);
                }
                let (send, jobs) = mpsc::channel(JOBS_IN_FLIGHT);
                let walking = cancel.guard(pull::walk(tools, src, dest, Some(send)));
                let (walked, fetched) = tokio::join!(walking, down::get_files(&self.session, jobs, &self.getting));
                let (leftover, report) = (walked.ok_or(Interrupted)??, fetched?);
                Ok(cancel.guard(leftover.remove(report.failed)).await.ok_or(Interrupted)??)
            }
        }
    }

    async fn putting(&self, dest: &RemotePath) -> anyhow::Result<PutOptions> {
        let cancel = self.tools.cancel.clone();
        let redundancy = match self.args.redundancy {
            Some(redundancy) => redundancy,
            // What a folder on the way there asks for, or else the cluster.
            None => {
                let resolved = cancel.guard(folder::resolve(&self.session, dest)).await.ok_or(Interrupted)??;
                resolved.redundancy().unwrap_or_else(|| self.session.redundancy())
            }
        };
        let progress = Arc::clone(&self.reporter) as Arc<dyn Progress>;
        Ok(PutOptions { redundancy, fanout: Fanout::default(), compression: Compression::Auto, cancel, progress })
    }

    /// What was done since the last one.
    fn summary(&self) {
        let counts = &self.tools.counts;
        let of = |counter: &std::sync::atomic::AtomicU64| counter.swap(0, Ordering::Relaxed);
        let (files, folders, moved) = (of(&counts.files), of(&counts.folders), of(&counts.moved));
        let (attributes, deleted, unchanged) = (of(&counts.attributes), of(&counts.deleted), of(&counts.unchanged));
        let object = json!({
            "event": "synced", "dry_run": self.args.dry_run, "files": files, "folders": folders, "moved": moved,
            "attributes": attributes, "deleted": deleted, "unchanged": unchanged,
        });
        let verb = if self.args.dry_run { "would be " } else { "" };
        let text = format!(
            "{files} files {verb}brought, {folders} folders made, {moved} moved, {attributes} with other attributes, \
             {deleted} removed; {unchanged} files were alike"
        );
        self.reporter.summary(object, &text);
    }
}

/// Tells the user of steps.
struct Teller {
    reporter: Arc<Reporter>,
    /// Whether people want to see each step.
    wanted: bool,
}

impl Told for Teller {
    fn action(&self, action: &Action) {
        let mut event = Map::new();
        event.insert("event".to_owned(), "step".into());
        let (word, path) = match action {
            Action::Folder(path) => ("folder", path),
            Action::File(path) => ("file", path),
            Action::Link(path) => ("link", path),
            Action::Attributes(path) => ("attributes", path),
            Action::Delete(path) => ("delete", path),
            Action::Move { from, to } => {
                name_into(&mut event, "from", from.bytes());
                ("move", to)
            }
        };
        event.insert("step".to_owned(), word.into());
        name_into(&mut event, "path", path.bytes());
        let text = match action {
            Action::Move { from, to } => format!("{word:<10}  {from} -> {to}"),
            _ => format!("{word:<10}  {path}"),
        };
        self.reporter.step(Value::Object(event), &text, self.wanted);
    }

    fn failed(&self, shown: &str, error: &(dyn std::error::Error + 'static)) {
        self.reporter.fail(shown, error);
    }

    fn note(&self, text: &str) {
        self.reporter.note(text);
    }

    fn expect(&self, bytes: u64) {
        self.reporter.announce(bytes);
    }

    fn placed(&self, _: &str) {
        self.reporter.placed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_side_is_remote_and_says_so() {
        let sides = |src: &str, dest: &str| Sides::of(OsStr::new(src), OsStr::new(dest));
        assert!(matches!(sides("a", "shoal:/b"), Ok(Sides::Up { .. })));
        assert!(matches!(sides("shoal:/", "./shoal:"), Ok(Sides::Down { .. })));
        assert!(matches!(sides("a", "/b"), Err(SyncError::BothLocal)));
        assert!(matches!(sides("shoal:/a", "shoal:/b"), Err(SyncError::BothRemote)));
        for wrong in ["shoal:", "shoal:a", "shoal:/../x", "shoal:/a//b"] {
            assert!(matches!(sides("a", wrong), Err(SyncError::Side { .. })), "{wrong}");
        }
    }
}
