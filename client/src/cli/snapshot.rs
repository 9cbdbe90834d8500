//! `shoal snapshot`: pin the tree as it is now, show what is pinned, and let it go.

use serde_json::{Map, Value};

use super::Outcome;
use super::args::{Snapshot, SnapshotCommand};
use super::context::Context;
use super::exit::Exit;
use super::output::{name_into, table};
use crate::folder::snapshot;
use crate::names::Name;

pub(super) async fn run(context: &mut Context, args: Snapshot) -> Outcome {
    match args.what {
        SnapshotCommand::Create { name } => {
            let name = name_of(&name)?;
            let session = context.session().await?;
            let made = snapshot::create(&session, &name).await?;
            if context.output.is_json() {
                let pinned = snapshot::Snapshot { name, sequence: made.sequence, made: made.made };
                context.output.object(&object(&pinned))?;
            }
        }
        SnapshotCommand::List => list(context).await?,
        SnapshotCommand::Rm { name } => {
            let name = name_of(&name)?;
            let session = context.session().await?;
            snapshot::remove(&session, &name).await?;
        }
    }
    Ok(Exit::Ok)
}

fn name_of(text: &std::ffi::OsStr) -> Result<Name, super::error::CommandError> {
    Name::from_os(text).map_err(|source| super::error::CommandError::SnapshotName { source })
}

async fn list(context: &mut Context) -> anyhow::Result<()> {
    let session = context.session().await?;
    let snapshots = snapshot::list(&session).await?;
    if context.output.is_json() {
        for pinned in &snapshots {
            context.output.object(&object(pinned))?;
        }
        return Ok(());
    }
    if snapshots.is_empty() {
        if context.output.is_chatty() {
            context.output.line("no snapshots; make one with: shoal snapshot create NAME")?;
        }
        return Ok(());
    }
    let head = ["MADE", "SEQUENCE", "NAME"].map(str::to_owned).to_vec();
    let row = |pinned: &snapshot::Snapshot| {
        vec![pinned.made.to_string(), pinned.sequence.to_string(), pinned.name.to_string()]
    };
    let rows: Vec<_> = std::iter::once(head).chain(snapshots.iter().map(row)).collect();
    for line in table(&rows, &[1]) {
        context.output.line(line)?;
    }
    Ok(())
}

fn object(pinned: &snapshot::Snapshot) -> Value {
    let mut object = Map::new();
    name_into(&mut object, "name", pinned.name.as_bytes());
    object.insert("sequence".to_owned(), pinned.sequence.into());
    object.insert("made".to_owned(), pinned.made.to_string().into());
    object.into()
}
