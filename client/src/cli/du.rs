//! `shoal du`: who holds the space.

use common::proto::directory::{GetUsage, Space};
use common::proto::quota::Held;
use common::redundancy::Redundancy;
use common::size::ByteSize;
use serde_json::{Map, Value, json};

use super::Outcome;
use super::args::Du;
use super::context::Context;
use super::exit::Exit;
use super::output::{ToPath, name_into, table};
use super::repack;
use super::ticker::Ticker;
use crate::folder::{Entry, FolderError, Listing, NodeId, prune};
use crate::names::RemotePath;
use crate::past::When;
use crate::past::spot::{moment, spot};
use crate::session::Session;

pub(super) async fn run(context: &mut Context, args: Du) -> Outcome {
    match (args.path, args.time.at) {
        (None, None) => all(context).await,
        (path, at) => {
            let path = path.map_or_else(|| Ok(RemotePath::root()), |path| RemotePath::from_os(&path))?;
            below(context, &path, at).await
        }
    }
}

async fn all(context: &mut Context) -> Outcome {
    let session = context.session().await?;
    let mut ticker = Ticker::new(context.visible());
    let mut chunks = 0_u64;
    let space = prune::measure(&session, |space| {
        chunks = rows(space).iter().map(|(_, held)| held.chunks).sum();
        ticker.tick(|| format!("{chunks} chunks looked at"));
    })
    .await?;
    ticker.end();
    let usage = session.call_directory(&GetUsage {}).await?;
    let packs = repack::once(context, &session, true).await?;
    if context.output.is_json() {
        let held = |held: &Held| json!({"chunks": held.chunks, "sealed": held.sealed, "stored": held.stored});
        let mut object: Map<String, Value> =
            rows(&space).iter().map(|(name, of)| ((*name).to_owned(), held(of))).collect();
        object.insert("used".to_owned(), usage.bytes.into());
        object.insert("files".to_owned(), usage.files.into());
        let packs = json!({"packs": packs.packs, "bytes": packs.bytes, "dead_bytes": packs.dead_bytes});
        object.insert("packs".to_owned(), packs);
        context.output.object(&object.into())?;
        return Ok(Exit::Ok);
    }
    let head = ["HELD BY", "CHUNKS", "SEALED", "ON PEERS"].map(str::to_owned).to_vec();
    let row = |name: &str, held: &Held| {
        vec![
            name.to_owned(),
            held.chunks.to_string(),
            ByteSize(held.sealed).to_string(),
            ByteSize(held.stored).to_string(),
        ]
    };
    let mut lines = vec![head];
    lines.extend(rows(&space).iter().map(|(name, held)| row(name, held)));
    for line in table(&lines, &[1, 2, 3]) {
        context.output.line(line)?;
    }
    if packs.dead_bytes > 0 {
        let (of, dead) = (ByteSize(packs.bytes), ByteSize(packs.dead_bytes));
        let hint = if packs.wasteful > 0 { ": shoal repack gives most of it back" } else { "" };
        context.output.line(format_args!(
            "of it, in packs of small files: {of} sealed, {dead} of that needed by nothing{hint}"
        ))?;
    }
    Ok(Exit::Ok)
}

fn rows(space: &Space) -> [(&'static str, Held); 5] {
    [
        ("current", space.current),
        ("uploads", space.uploads),
        ("snapshots", space.snapshots),
        ("history", space.history),
        ("nobody", space.nobody),
    ]
}

/// What is there below a path, each file as if it shared nothing.
#[derive(Default)]
struct Below {
    files: u64,
    bytes: u64,
    sealed: u64,
    stored: u64,
}

impl Below {
    fn count(&mut self, entry: &Entry) {
        let Some(file) = entry.file() else { return };
        self.files += 1;
        self.bytes = self.bytes.saturating_add(file.meta.size);
        self.sealed = self.sealed.saturating_add(file.sealed_bytes);
        self.stored = self.stored.saturating_add(stored(file.sealed_bytes, file.redundancy));
    }
}

fn stored(sealed: u64, redundancy: Redundancy) -> u64 {
    let (k, n) = (redundancy.k() as u64, redundancy.n() as u64);
    sealed.div_ceil(k).saturating_mul(n)
}

async fn below(context: &mut Context, path: &RemotePath, at: Option<When>) -> Outcome {
    let session = context.session().await?;
    let spot = spot(&session, path, moment(&session, at.as_ref()).await?, false).await?;
    if let Some(moment) = spot.moment {
        context.note(&format!("as of {moment}"));
    }
    let mut below = Below::default();
    match spot.target()? {
        Some(entry) if !entry.is_folder() => below.count(entry),
        Some(entry) => walk(&session, entry.node, spot.at, &mut below).await?,
        None => walk(&session, session.root(), spot.at, &mut below).await?,
    }
    let Below { files, bytes, sealed, stored } = below;
    if context.output.is_json() {
        let mut object = Map::new();
        name_into(&mut object, "path", &path.bytes());
        for (key, value) in [("files", files), ("bytes", bytes), ("sealed", sealed), ("stored", stored)] {
            object.insert(key.to_owned(), value.into());
        }
        context.output.object(&object.into())?;
        return Ok(Exit::Ok);
    }
    context.output.line(format_args!(
        "{files} files, {} of content, {} sealed, {} on peers if nothing is shared",
        ByteSize(bytes),
        ByteSize(sealed),
        ByteSize(stored),
    ))?;
    Ok(Exit::Ok)
}

/// Folder by folder; memory for a page, and for the folders that are still to be looked at.
async fn walk(session: &Session, folder: NodeId, at: Option<u64>, below: &mut Below) -> Result<(), FolderError> {
    let mut todo = vec![folder];
    while let Some(folder) = todo.pop() {
        let mut listing = Listing::at(session, folder, at);
        while let Some(page) = listing.next_page().await? {
            for entry in &page {
                below.count(entry);
                if entry.is_folder() {
                    todo.push(entry.node);
                }
            }
        }
    }
    Ok(())
}
