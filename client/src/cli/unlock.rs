//! `shoal unlock` and `shoal lock`: the passphrase once for a chosen time.

use common::time::{Clock, Timestamp};
use serde_json::json;
use tokio::task::spawn_blocking;

use super::Outcome;
use super::args::{Lock, Unlock};
use super::context::Context;
use super::exit::Exit;
use super::key::KeyError;
use super::passphrase;
use crate::keystore::Identity;
use crate::keystore::master::MasterFile;
use crate::keystore::unlocked::{self, Keeper};

pub(super) async fn unlock(context: &mut Context, args: Unlock) -> Outcome {
    let path = context.home()?;
    check_protected(path.clone()).await?;
    let home = passphrase::open_with_passphrase(&context.global, path).await?;
    let (now, span) = (Clock::System.now(), args.span);
    let wanted = args.keeper.map(Keeper::from);
    let device = home.device.device;
    let kept = spawn_blocking(move || unlocked::unlock(&home.path, device, &home.master, now, span, wanted)).await??;
    report(context, kept, now.plus(span))?;
    Ok(Exit::Ok)
}

fn report(context: &mut Context, kept: Keeper, until: Timestamp) -> std::io::Result<()> {
    let output = &mut context.output;
    if output.is_json() {
        let keeper = match kept {
            Keeper::Kernel => "kernel",
            Keeper::File => "file",
        };
        return output.object(&json!({ "event": "unlocked", "until": until.to_string(), "keeper": keeper }));
    }
    output.line(format_args!("unlocked until {until}, or until shoal lock"))?;
    if kept == Keeper::File {
        context
            .note("there is no keyring in this kernel, so a file in memory keeps it, which may be swapped out to disk");
    }
    Ok(())
}

pub(super) async fn lock(context: &mut Context, Lock {}: Lock) -> Outcome {
    let path = context.home()?;
    check_protected(path.clone()).await?;
    let was = passphrase::lock(path).await?;
    if context.output.is_json() {
        context.output.object(&json!({ "event": "locked", "was_unlocked": was }))?;
    } else {
        context.output.line(if was { "locked" } else { "it was locked already" })?;
    }
    Ok(Exit::Ok)
}

/// A key in the open is never locked, whatever its owner believes: that must not look like a success.
async fn check_protected(path: std::path::PathBuf) -> anyhow::Result<()> {
    let read = spawn_blocking(move || Identity::open(&path).and_then(|_| MasterFile::read(&path)));
    match read.await? {
        Ok(MasterFile::Wrapped(_)) => Ok(()),
        Ok(MasterFile::Plain(_)) => Err(KeyError::NotProtected.into()),
        Err(error) => Err(error.into()),
    }
}
