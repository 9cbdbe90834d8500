//! `shoal key export` and `shoal key import`: the key on its way to another device or back to this one.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use common::disk::{self, DiskError};
use serde_json::json;
use tokio::task::spawn_blocking;

use super::{KeyError, Whose, read_exported, read_stdin};
use crate::cli::Outcome;
use crate::cli::args::{KeyExport, KeyImport};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::passphrase;
use crate::keys::MasterKey;
use crate::keystore::export::{Closed, Exported};
use crate::keystore::master::{self, MasterFile};
use crate::keystore::{Device, Home, HomeError, Identity};
use crate::phrase;
use crate::session::{Session, SessionError, SessionOptions};

/// Longest text that is taken for a phrase.
const PHRASE_BYTES: usize = 16 << 10;

pub(super) async fn export(context: &mut Context, args: KeyExport) -> Outcome {
    if let Some(out) = args.out.clone().filter(|out| out.symlink_metadata().is_ok()) {
        return Err(DiskError::Exists { path: out }.into()); // before anybody types a passphrase for it
    }
    let home = passphrase::open_with_passphrase(&context.global, context.home()?).await?;
    let chosen = passphrase::choose(Whose::Exported, args.passphrase.export_passphrase_file.as_deref()).await?;
    let exported = Exported { master: home.master, cluster: home.device.cluster, account: home.device.account };
    let text = spawn_blocking(move || exported.to_text(&chosen)).await??;
    let Some(out) = args.out else {
        if context.output.is_json() {
            context.output.object(&json!({ "exported_key": text }))?;
        } else {
            context.output.line(text.trim_end())?;
        }
        return Ok(Exit::Ok);
    };
    let path = out.clone();
    spawn_blocking(move || disk::create_private(&path, text.as_bytes())).await??;
    if context.output.is_json() {
        context.output.object(&json!({ "event": "exported", "file": out.to_string_lossy() }))?;
    } else {
        context.note(
            "keep the file and its passphrase in different places: together they open everything of this account",
        );
    }
    Ok(Exit::Ok)
}

pub(super) async fn import(context: &mut Context, args: KeyImport) -> Outcome {
    let path = context.home()?;
    let at = path.clone();
    let (identity, found) = spawn_blocking(move || Ok::<_, HomeError>((Identity::open(&at)?, look(&at)?))).await??;
    let passphrase_file = args.passphrase.export_passphrase_file.as_deref();
    let given = given_key(context, &identity.device, args.file, passphrase_file).await?;
    match found {
        Some(MasterFile::Plain(master)) if master == given => {
            // Unless it was rotated away: that is known only where the directory answers.
            if let Err(SessionError::OtherKey) = is_of_account(context, identity.with(given)).await {
                return Err(KeyError::OtherKey.into());
            }
            report(context, "unchanged", "this device has this very key already, and it is not damaged")?;
            return Ok(Exit::Ok);
        }
        Some(_) if !args.replace => return Err(KeyError::HasKey.into()),
        _ => {}
    }
    let home = identity.with(given);
    let master = home.master.clone();
    match is_of_account(context, home).await {
        Ok(()) => {}
        Err(SessionError::OtherKey) => return Err(KeyError::OtherKey.into()),
        Err(error) => return Err(error.into()),
    }
    let at = path.clone();
    spawn_blocking(move || {
        master::replace(&at, &master, None)?;
        master::drop_next(&at) // the account has this one, whatever was to be
    })
    .await??;
    passphrase::lock(path).await?;
    report(context, "imported", "the key is back, in the open; give it a passphrase with shoal key passphrase --set")?;
    Ok(Exit::Ok)
}

/// The directory knows a tag of the account's key, and refuses nobody for asking.
async fn is_of_account(context: &Context, home: Home) -> Result<(), SessionError> {
    let options = SessionOptions { directory: context.global.directory.clone(), quiet: context.is_silent() };
    Session::with_home(home, options).await?.close().await;
    Ok(())
}

/// What the home has in the place of its key; `None` for nothing that could be used.
fn look(home: &Path) -> Result<Option<MasterFile>, HomeError> {
    match MasterFile::read(home) {
        Ok(file) => Ok(Some(file)),
        Err(HomeError::NoKey { .. } | HomeError::KeyDamaged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// From a file, or without one from the phrase on standard input.
async fn given_key(
    context: &Context,
    device: &Device,
    file: Option<PathBuf>,
    passphrase_file: Option<&Path>,
) -> anyhow::Result<MasterKey> {
    let Some(file) = file else { return read_phrase(context).await };
    let closed: Closed = read_exported(file).await?;
    let exported = passphrase::open_exported(passphrase_file, closed).await?;
    if exported.cluster != device.cluster {
        return Err(KeyError::OtherCluster { found: exported.cluster, wanted: device.cluster }.into());
    }
    if exported.account != device.account {
        return Err(KeyError::OtherAccount { found: exported.account, wanted: device.account }.into());
    }
    Ok(exported.master)
}

/// The recovery phrase from standard input.
pub(in crate::cli) async fn read_phrase(context: &Context) -> anyhow::Result<MasterKey> {
    if std::io::stdin().is_terminal() {
        context.note("type the 24 words of the recovery phrase, then Enter and Ctrl-D");
    }
    Ok(phrase::to_key(&read_stdin(PHRASE_BYTES).await?)?)
}

fn report(context: &mut Context, event: &str, text: &str) -> std::io::Result<()> {
    if context.output.is_json() {
        return context.output.object(&json!({ "event": event }));
    }
    context.output.line(text)
}
