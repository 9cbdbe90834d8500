//! `shoal verify`: that all of it could be read now.

use std::collections::BTreeMap;
use std::sync::Arc;

use common::id::{NodeId, PeerId};
use common::size::ByteSize;
use serde_json::json;
use tokio::sync::mpsc;

use super::Outcome;
use super::args::Verify;
use super::context::Context;
use super::exit::Exit;
use super::report::{Direction, Reporter};
use crate::cancel::Interrupted;
use crate::down;
use crate::down::check::{Checker, Doubt, FILES_AT_ONCE, Health};
use crate::folder::{self, Entry, FolderError, Listing};
use crate::local::write::Durability;
use crate::names::RemotePath;
use crate::session::Session;
use crate::transfer::{GetDone, GetJob, GetOptions, GetReport, JOBS_IN_FLIGHT, Progress, Target};

/// Peers that are named; a cluster seldom has more in doubt.
const NAMED: usize = 1_024;

pub(super) async fn run(context: &mut Context, args: Verify) -> Outcome {
    let path = RemotePath::from_os(&args.path)?;
    let session = context.session().await?;
    let cancel = context.cancel.clone();
    let reporter = Arc::new(context.reporter(Direction::Check).failing_with(Exit::Integrity));
    let options = GetOptions {
        cancel: cancel.clone(),
        progress: Arc::clone(&reporter) as Arc<dyn Progress>,
        durability: Durability::Relaxed,
    };
    let start = cancel.guard(find(&session, &path)).await.ok_or(Interrupted)??;
    let (send, found) = mpsc::channel(JOBS_IN_FLIGHT);
    let walk = Walk { session: session.clone(), reporter: Arc::clone(&reporter), found: send };
    let walking = cancel.guard(walk.all(start));
    if args.deep {
        let (walked, read) = tokio::join!(walking, read_all(&session, found, &options));
        walked.ok_or(Interrupted)??;
        let report = read?;
        tell_good(&reporter, report.files, report.bytes, true);
    } else {
        let checking = cancel.guard(look_at_all(&session, found, &options, &reporter));
        let (walked, summary) = tokio::join!(walking, checking);
        walked.ok_or(Interrupted)??;
        let summary = summary.ok_or(Interrupted)??;
        summary.tell(&reporter);
        tell_good(&reporter, summary.files, summary.bytes, false);
    }
    Ok(reporter.finish_with("end", session.traffic()))
}

/// How much is good.
fn tell_good(reporter: &Reporter, files: u64, bytes: u64, deep: bool) {
    let event = json!({ "event": "verified", "files": files, "bytes": bytes, "deep": deep });
    let (size, how) = (ByteSize(bytes), if deep { "were read and are good" } else { "can be read" });
    reporter.summary(event, &format!("{files} files, {size}, {how}"));
}

/// A file, and what the user calls it.
type Found = (Entry, String);

enum Start {
    File(Box<Entry>, RemotePath),
    Folder(NodeId, RemotePath),
}

async fn find(session: &Session, path: &RemotePath) -> Result<Start, FolderError> {
    let resolved = folder::resolve(session, path).await?;
    Ok(match resolved.target(path)? {
        Some(entry) if !entry.is_folder() => Start::File(Box::new(entry.clone()), path.clone()),
        _ => Start::Folder(resolved.folder()?, path.clone()),
    })
}

/// Finds all files; memory for a page, and the folders still to enter.
struct Walk {
    session: Session,
    reporter: Arc<Reporter>,
    found: mpsc::Sender<Found>,
}

impl Walk {
    async fn all(self, start: Start) -> anyhow::Result<()> {
        let mut folders = match start {
            Start::Folder(node, path) => vec![(node, path)],
            Start::File(entry, path) => {
                self.hand_on(*entry, path.to_string()).await;
                return Ok(());
            }
        };
        while let Some((node, path)) = folders.pop() {
            let mut listing = Listing::new(&self.session, node);
            loop {
                let page = match listing.next_page().await {
                    Ok(Some(page)) => page,
                    Ok(None) => break,
                    Err(error @ FolderError::Session(_)) => return Err(error.into()),
                    Err(error) => {
                        self.reporter.fail(&path.to_string(), &error);
                        break;
                    }
                };
                for entry in page {
                    let path = path.join(&entry.name)?;
                    if entry.is_folder() {
                        folders.push((entry.node, path));
                    } else {
                        self.hand_on(entry, path.to_string()).await;
                    }
                }
            }
            if self.found.is_closed() {
                break; // whoever looks at them has given up, and says why
            }
        }
        Ok(())
    }

    async fn hand_on(&self, entry: Entry, shown: String) {
        if let Some(file) = entry.file() {
            self.reporter.announce(file.meta.size);
        }
        self.found.send((entry, shown)).await.ok();
    }
}

/// Every byte.
async fn read_all(
    session: &Session,
    mut found: mpsc::Receiver<Found>,
    options: &GetOptions,
) -> Result<GetReport, down::DownError> {
    let (send, jobs) = mpsc::channel(JOBS_IN_FLIGHT);
    let feeding = async move {
        while let Some((entry, shown)) = found.recv().await {
            let Some(file) = entry.file() else { continue };
            if send.send(GetJob::of(entry.node, file, Target::Nowhere, shown)).await.is_err() {
                break;
            }
        }
    };
    let feeding = options.cancel.guard(feeding);
    let (_, read) = tokio::join!(feeding, down::get_files(session, jobs, options));
    read
}

/// What was found beside files that cannot be read.
#[derive(Default)]
struct Summary {
    files: u64,
    bytes: u64,
    weak: u64,
    doubted: BTreeMap<PeerId, (Doubt, u64)>,
}

/// What the directory knows of them.
async fn look_at_all(
    session: &Session,
    mut found: mpsc::Receiver<Found>,
    options: &GetOptions,
    reporter: &Reporter,
) -> Result<Summary, down::DownError> {
    let checker = Checker::new(session, options);
    let mut summary = Summary::default();
    let mut batch = Vec::with_capacity(FILES_AT_ONCE);
    while found.recv_many(&mut batch, FILES_AT_ONCE).await > 0 {
        let files: Vec<_> = batch.iter().filter_map(|(entry, _)| entry.file()).collect();
        let answers = checker.check(&files).await?;
        for ((entry, shown), answer) in batch.drain(..).zip(answers) {
            let Some(file) = entry.file() else { continue };
            match answer {
                Ok(health) => {
                    summary.add(file.meta.size, health);
                    reporter.read(file.meta.size);
                    reporter.got(GetDone { shown, version: file.version, bytes: file.meta.size });
                }
                Err(error) => reporter.fail(&shown, &error),
            }
        }
    }
    Ok(summary)
}

impl Summary {
    fn add(&mut self, bytes: u64, health: Health) {
        self.files += 1;
        self.bytes += bytes;
        self.weak += u64::from(health.weak > 0);
        for (peer, doubt) in health.doubted {
            if self.doubted.len() < NAMED || self.doubted.contains_key(&peer) {
                self.doubted.entry(peer).or_insert((doubt, 0)).1 += 1;
            }
        }
    }

    fn tell(&self, reporter: &Reporter) {
        for (peer, (doubt, files)) in &self.doubted {
            let word = doubt.word();
            let event = json!({ "event": "doubted", "peer": peer.to_string(), "state": word, "files": files });
            reporter.summary(event, &format!("peer {} is {word}; {files} files can be read without it", peer.short()));
        }
        if self.weak > 0 {
            let event = json!({ "event": "weak", "files": self.weak });
            let text = format!("{} files have fewer shards online than they should: see shoal status", self.weak);
            reporter.summary(event, &text);
        }
    }
}
