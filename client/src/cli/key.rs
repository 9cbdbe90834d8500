//! `shoal key`: what a device can do with the account's key. One file a command below; here is what they share.

mod carry;
mod passphrase;
mod rotate;
mod split;
mod verify;

use std::io::Read;

use common::id::{AccountId, ClusterId};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::Outcome;
use super::args::{Key, KeyCommand};
use super::context::Context;
use crate::keystore::export::{self, Closed};

pub(super) use carry::read_phrase;

/// What a passphrase is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    Device,
    Exported,
}

/// What can be wrong with a command about keys, beside what is wrong with the key's files.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyError {
    #[error("there is no terminal to ask for the passphrase of the exported key")]
    NoPassphrase,
    #[error("there is no terminal to ask for a new passphrase")]
    NoNewPassphrase { whose: Whose },
    #[error("the two are not the same; nothing was changed")]
    DifferentPassphrases,
    #[error("the key of this device has no passphrase: it is open all the time")]
    NotProtected,
    #[error("the key of this device has a passphrase already")]
    Protected,
    #[error("these are not the words of this account's recovery phrase")]
    WrongPhrase,
    #[error("the exported key is of cluster {found}, and this is {wanted}")]
    OtherCluster { found: ClusterId, wanted: ClusterId },
    #[error("the exported key is of account {found}, and this device is of {wanted}")]
    OtherAccount { found: AccountId, wanted: AccountId },
    #[error("this is not the key of this device's account")]
    OtherKey,
    #[error("this device has a key, and it is not damaged")]
    HasKey,
    #[error("the recovery phrase opens everything of this account, and is not shown unasked")]
    NotConfirmed,
    #[error("the account's key was not rotated: whether its new phrase was written down was not answered with yes")]
    NotWritten,
    #[error("a rotation of the key was begun on this device, and is not finished")]
    Rotating,
}

pub(super) async fn run(context: &mut Context, args: Key) -> Outcome {
    match args.command {
        KeyCommand::Verify(args) => verify::verify(context, args).await,
        KeyCommand::Phrase(args) => verify::show(context, args).await,
        KeyCommand::Export(args) => carry::export(context, args).await,
        KeyCommand::Import(args) => carry::import(context, args).await,
        KeyCommand::Passphrase(args) => passphrase::run(context, args).await,
        KeyCommand::Split(args) => split::split(context, args).await,
        KeyCommand::Combine(args) => split::combine(context, args).await,
        KeyCommand::Rotate(args) => rotate::run(context, args).await,
    }
}

/// All of standard input, up to a bound.
pub(super) async fn read_stdin(bytes: usize) -> anyhow::Result<Zeroizing<String>> {
    let read = spawn_blocking(move || {
        let mut text = Zeroizing::new(String::with_capacity(bytes)); // it grows nowhere, so it leaves no copies
        std::io::stdin().take(bytes as u64).read_to_string(&mut text).map(|_| text)
    });
    Ok(read.await??)
}

/// Reads an exported key; `-` is standard input.
pub(super) async fn read_exported(path: std::path::PathBuf) -> anyhow::Result<Closed> {
    let text = if path.as_os_str() == "-" {
        read_stdin(export::TEXT_BYTES).await?
    } else {
        Zeroizing::new(spawn_blocking(move || read_text(&path)).await??)
    };
    Ok(Closed::parse(&text)?)
}

fn read_text(path: &std::path::Path) -> Result<String, common::disk::DiskError> {
    let mut bytes = common::disk::read_small(path)?;
    bytes.truncate(export::TEXT_BYTES);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
