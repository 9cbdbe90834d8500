//! `shoal versions`: all that a path has led to, the newest first.

use common::proto::directory::HowEnded;
use common::size::ByteSize;
use serde_json::{Map, Value};

use super::Outcome;
use super::args::Versions;
use super::context::Context;
use super::exit::Exit;
use super::output::{name_into, table};
use crate::folder::FolderError;
use crate::names::RemotePath;
use crate::past::PastError;
use crate::past::versions::{self, PathState};

/// Lines that are aligned with each other.
const ALIGNED_ROWS: usize = 256;

pub(super) async fn run(context: &mut Context, args: Versions) -> Outcome {
    let path = RemotePath::from_os(&args.path)?;
    if path.is_root() {
        return Err(FolderError::Root { what: "listed like this: it has no versions, only what is in it" }.into());
    }
    let session = context.session().await?;
    let mut states = versions::Versions::new(&session, &path);
    let mut left = args.number.unwrap_or(u64::MAX);
    let (mut rows, mut any) = (Vec::new(), false);
    while left > 0
        && let Some(state) = states.next().await?
    {
        (any, left) = (true, left - 1);
        if context.output.is_json() {
            context.output.object(&object(&path, &state))?;
            continue;
        }
        rows.push(row(&state));
        if rows.len() == ALIGNED_ROWS {
            show(context, &mut rows)?;
        }
    }
    show(context, &mut rows)?;
    if !any && args.number != Some(0) {
        return Err(PastError::NeverWas { path: path.to_string() }.into());
    }
    Ok(Exit::Ok)
}

fn show(context: &mut Context, rows: &mut Vec<Vec<String>>) -> std::io::Result<()> {
    for line in table(rows, &[2]) {
        context.output.line(line)?;
    }
    rows.clear();
    Ok(())
}

fn end(how: HowEnded) -> &'static str {
    match how {
        HowEnded::Replaced => "replaced",
        HowEnded::Moved => "moved",
        HowEnded::Removed => "removed",
    }
}

fn row(state: &PathState) -> Vec<String> {
    let size = match (&state.entry.file(), state.entry.file().and_then(|file| file.link())) {
        (None, _) => "folder".to_owned(),
        (Some(_), Some(_)) => "link".to_owned(),
        (Some(file), None) => ByteSize(file.meta.size).to_string(),
    };
    let until = match state.until {
        None => "current".to_owned(),
        Some(ended) => format!("{} {}", end(ended.how), ended.moment.at),
    };
    vec![format!("@{}", state.since), state.at.to_string(), size, until]
}

fn object(path: &RemotePath, state: &PathState) -> Value {
    let mut object = Map::new();
    name_into(&mut object, "path", &super::output::ToPath::bytes(path));
    object.insert("version".to_owned(), state.since.into());
    object.insert("at".to_owned(), state.at.to_string().into());
    object.insert("kind".to_owned(), super::entry::kind_word(&state.entry).into());
    object.insert("node".to_owned(), state.entry.node.to_string().into());
    if let Some(file) = state.entry.file() {
        object.insert("size".to_owned(), file.meta.size.into());
        object.insert("version_id".to_owned(), file.version.to_string().into());
        object.insert("committed".to_owned(), file.committed.to_string().into());
    }
    object.insert("current".to_owned(), state.until.is_none().into());
    if let Some(ended) = state.until {
        object.insert("until".to_owned(), ended.moment.at.to_string().into());
        object.insert("until_sequence".to_owned(), ended.moment.sequence.into());
        object.insert("ended".to_owned(), end(ended.how).into());
    }
    Value::Object(object)
}
