//! `shoal diff`: what is different between two times of a folder, or two folders.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;

use common::size::ByteSize;
use serde_json::{Map, Value, json};

use super::Outcome;
use super::args::Diff;
use super::context::Context;
use super::entry::kind_word;
use super::error::CommandError;
use super::exit::Exit;
use super::output::{Output, ToPath, name_into};
use crate::cancel::Interrupted;
use crate::folder::Entry;
use crate::names::RemotePath;
use crate::past::diff::{self, Difference, Side, Summary, Tell};
use crate::past::spot::spot;
use crate::past::{Moment, PastError, When, find};
use crate::session::Session;

/// What one of the two arguments is.
enum Named {
    Folder(RemotePath),
    Time(When),
}

pub(super) async fn run(context: &mut Context, args: Diff) -> Outcome {
    let (a, b) = (named(&args.a)?, named(&args.b)?);
    let of = match (&a, &b, args.path) {
        (Named::Time(_), Named::Time(_), path) => RemotePath::from_os(&path.unwrap_or_else(|| OsString::from("/")))?,
        (_, _, Some(_)) => return Err(CommandError::FolderTwice.into()),
        (Named::Folder(path), _, None) | (Named::Time(_), Named::Folder(path), None) => path.clone(),
    };
    let session = context.session().await?;
    let cancel = context.cancel.clone();
    let looking = async {
        // Both sides end with the same present, whatever is changed meanwhile.
        let now = find(&session, &When::Now).await?;
        let a = side(&session, a, &of, now).await?;
        let b = side(&session, b, &of, now).await?;
        anyhow::Ok((a, b))
    };
    let ((a, from), (b, to)) = cancel.guard(looking).await.ok_or(Interrupted)??;
    for (letter, moment) in [("A", from), ("B", to)] {
        if let Some(moment) = moment {
            context.note(&format!("{letter} is as of {moment}"));
        }
    }
    let mut told = Told { output: &mut context.output };
    let summary = diff::diff(&session, a, b, &mut told, &cancel).await?;
    finish(context, summary)?;
    Ok(Exit::Ok)
}

fn named(argument: &OsStr) -> anyhow::Result<Named> {
    if argument.as_bytes().starts_with(b"/") {
        return Ok(Named::Folder(RemotePath::from_os(argument)?));
    }
    let text = argument.to_str().ok_or_else(|| CommandError::NoTime { given: argument.as_bytes().to_vec() })?;
    Ok(Named::Time(text.parse()?))
}

/// A side, and the moment that was found for it where it was named by a time.
async fn side(
    session: &Session,
    named: Named,
    of: &RemotePath,
    now: Moment,
) -> Result<(Side, Option<Moment>), PastError> {
    let (path, moment) = match named {
        Named::Folder(path) => (path, None),
        Named::Time(When::Now) => (of.clone(), None),
        Named::Time(when) => (of.clone(), Some(find(session, &when).await?)),
    };
    let spot = spot(session, &path, moment, false).await?;
    let folder = match spot.target()? {
        None => session.root(),
        Some(entry) if entry.is_folder() => entry.node,
        Some(_) => return Err(PastError::NotAFolder { path: spot.path.to_string() }),
    };
    let at = spot.at.unwrap_or(now.sequence);
    Ok((Side { folder, at, path: spot.path }, moment))
}

/// Writes what is found to standard output.
struct Told<'a> {
    output: &'a mut Output,
}

impl Tell for Told<'_> {
    fn tell(&mut self, difference: Difference) -> io::Result<()> {
        if self.output.is_json() {
            self.output.object(&object(&difference))
        } else {
            self.output.line(line(&difference))
        }
    }
}

fn shown(path: &RemotePath, entry: &Entry) -> String {
    if entry.is_folder() { format!("{path}/") } else { path.to_string() }
}

fn line(difference: &Difference) -> String {
    let size = |entry: &Entry| entry.file().map(|file| format!("  ({})", ByteSize(file.meta.size))).unwrap_or_default();
    match difference {
        Difference::Added { path, entry } => format!("added    {}{}", shown(path, entry), size(entry)),
        Difference::Removed { path, entry } => format!("removed  {}{}", shown(path, entry), size(entry)),
        Difference::Changed { path, entry, content: true } => format!("changed  {path}{}", size(entry)),
        Difference::Changed { path, content: false, .. } => format!("touched  {path}"),
        Difference::Moved { from, to, entry, changed } => {
            let changed = if *changed { "  (and changed)" } else { "" };
            format!("moved    {} -> {}{changed}", shown(from, entry), shown(to, entry))
        }
    }
}

fn object(difference: &Difference) -> Value {
    let (event, entry, changed) = match difference {
        Difference::Added { entry, .. } => ("added", entry, false),
        Difference::Removed { entry, .. } => ("removed", entry, false),
        Difference::Changed { entry, content: true, .. } => ("changed", entry, true),
        Difference::Changed { entry, content: false, .. } => ("touched", entry, false),
        Difference::Moved { entry, changed, .. } => ("moved", entry, *changed),
    };
    let mut object = Map::new();
    object.insert("event".to_owned(), event.into());
    name_into(&mut object, "path", &difference.path().bytes());
    if let Difference::Moved { from, .. } = difference {
        name_into(&mut object, "from", &from.bytes());
        object.insert("changed".to_owned(), changed.into());
    }
    object.insert("kind".to_owned(), kind_word(entry).into());
    object.insert("node".to_owned(), entry.node.to_string().into());
    if let Some(file) = entry.file() {
        object.insert("size".to_owned(), file.meta.size.into());
    }
    Value::Object(object)
}

fn finish(context: &mut Context, summary: Summary) -> io::Result<()> {
    let Summary { added, removed, changed, moved, moves_untold } = summary;
    if context.output.is_json() {
        return context.output.object(&json!({
            "event": "end", "added": added, "removed": removed, "changed": changed, "moved": moved,
            "moves_untold": moves_untold,
        }));
    }
    context.note(&format!("{added} added, {removed} removed, {changed} changed, {moved} moved"));
    if moves_untold {
        context.note("there is too much to tell all that was moved: some of it is shown as removed and added");
    }
    Ok(())
}
