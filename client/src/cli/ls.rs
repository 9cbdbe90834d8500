//! `shoal ls`: what is in a folder, or the file itself.

use super::args::Ls;
use super::context::Context;
use super::entry::{self, Row};
use super::exit::Exit;
use super::link::{self, Opened};
use super::{Outcome, output};
use crate::folder::{Entry, Listing};
use crate::names::RemotePath;
use crate::past::spot::{moment, spot};
use crate::session::Session;

/// Lines of a long listing that are aligned with each other: a page of a folder.
const ALIGNED_ROWS: usize = 256;

pub(super) async fn run(context: &mut Context, args: Ls) -> Outcome {
    let (session, at, path, entry) = match link::open(context, &args.path, args.time.at.is_some()).await? {
        Some(Opened { session, path, entry }) => (session, None, path, Some(entry)),
        None => {
            let path = RemotePath::from_os(&args.path)?;
            let session = context.session().await?;
            let spot = spot(&session, &path, moment(&session, args.time.at.as_ref()).await?, false).await?;
            if let Some(moment) = spot.moment {
                context.note(&format!("as of {moment}"));
            }
            let entry = spot.target()?.cloned();
            let path = if entry.is_some() { spot.path.clone() } else { path };
            (session, spot.at, path, entry)
        }
    };
    let start = match entry {
        None => (session.root(), path),
        Some(entry) if entry.is_folder() => (entry.node, path),
        Some(entry) => {
            show(context, &[(path, entry)], args.long)?;
            return Ok(Exit::Ok);
        }
    };
    let mut folders = vec![start];
    while let Some((node, path)) = folders.pop() {
        let below = list(context, &session, &args, (node, at), &path).await?;
        if args.recursive {
            folders.extend(below.into_iter().rev());
        }
    }
    Ok(Exit::Ok)
}

/// Shows one folder, page by page, and gives the folders in it.
async fn list(
    context: &mut Context,
    session: &Session,
    args: &Ls,
    (node, at): (crate::folder::NodeId, Option<u64>),
    path: &RemotePath,
) -> anyhow::Result<Vec<(crate::folder::NodeId, RemotePath)>> {
    let mut below = Vec::new();
    let mut listing = Listing::at(session, node, at);
    // People get one folder sorted by name, as long as it fits in memory easily; programs get it as it comes.
    let mut rows: Vec<(RemotePath, Entry)> = Vec::new();
    while let Some(page) = listing.next_page().await? {
        for entry in page {
            let path = path.join(&entry.name)?;
            if entry.is_folder() && args.recursive {
                below.push((entry.node, path.clone()));
            }
            rows.push((path, entry));
        }
        if context.output.is_json() || rows.len() >= entry::SORTED_ROWS {
            show_sorted(context, &mut rows, args)?;
        }
    }
    show_sorted(context, &mut rows, args)?;
    below.sort_by(|(_, a), (_, b)| a.names().cmp(b.names()));
    Ok(below)
}

fn show_sorted(context: &mut Context, rows: &mut Vec<(RemotePath, Entry)>, args: &Ls) -> anyhow::Result<()> {
    rows.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
    for rows in rows.chunks(ALIGNED_ROWS) {
        if args.recursive { show(context, rows, args.long)? } else { show_names(context, rows, args.long)? }
    }
    rows.clear();
    Ok(())
}

/// With the whole path of each.
fn show(context: &mut Context, rows: &[(RemotePath, Entry)], long: bool) -> anyhow::Result<()> {
    print(context, rows, long, |path, entry| Row::of(entry, path.to_string()))
}

/// With the name alone.
fn show_names(context: &mut Context, rows: &[(RemotePath, Entry)], long: bool) -> anyhow::Result<()> {
    print(context, rows, long, |_, entry| Row::of(entry, entry.name.to_string()))
}

fn print(
    context: &mut Context,
    rows: &[(RemotePath, Entry)],
    long: bool,
    row: impl Fn(&RemotePath, &Entry) -> Row,
) -> anyhow::Result<()> {
    if context.output.is_json() {
        for (path, entry) in rows {
            context.output.object(&entry::object(path, entry))?;
        }
        return Ok(());
    }
    let rows = rows.iter().map(|(path, entry)| row(path, entry));
    if !long {
        for row in rows {
            context.output.line(row.short())?;
        }
        return Ok(());
    }
    let rows: Vec<_> = rows.map(Row::long).collect();
    for line in output::table(&rows, &[1]) {
        context.output.line(line)?;
    }
    Ok(())
}
