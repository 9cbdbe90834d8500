//! `shoal stat`: all that is known of a file or folder.

use super::Outcome;
use super::args::Stat;
use super::context::Context;
use super::entry;
use super::exit::Exit;
use crate::names::RemotePath;
use crate::past::spot::{moment, spot};

pub(super) async fn run(context: &mut Context, args: Stat) -> Outcome {
    let path = RemotePath::from_os(&args.path)?;
    let session = context.session().await?;
    let spot = spot(&session, &path, moment(&session, args.time.at.as_ref()).await?, false).await?;
    if let Some(moment) = spot.moment {
        context.note(&format!("as of {moment}"));
    }
    let (path, entry) = (&spot.path, spot.target()?);
    if context.output.is_json() {
        let object = entry.map_or_else(|| entry::root_object(session.root()), |entry| entry::object(path, entry));
        context.output.object(&entry::as_of(object, spot.at))?;
        return Ok(Exit::Ok);
    }
    let facts = entry.map_or_else(|| entry::root_facts(session.root()), |entry| entry::facts(path, entry));
    for (key, value) in facts {
        context.output.line(format_args!("{key:>12}: {value}"))?;
    }
    Ok(Exit::Ok)
}
