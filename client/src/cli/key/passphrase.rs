//! `shoal key passphrase`: from a key in the open to one under a passphrase, to another, and back.
//!
//! Each change locks: what was unlocked with the old passphrase must be unlocked with the new one.

use serde_json::json;
use tokio::task::spawn_blocking;

use super::{KeyError, Whose};
use crate::cli::Outcome;
use crate::cli::args::KeyPassphrase;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::passphrase;
use crate::keystore::Identity;
use crate::keystore::master::{self, MasterFile};
use crate::keystore::unlocked;

pub(super) async fn run(context: &mut Context, args: KeyPassphrase) -> Outcome {
    let path = context.home()?;
    let at = path.clone();
    let file = spawn_blocking(move || MasterFile::read(&at)).await?;
    let protected = match file {
        Ok(file) => matches!(file, MasterFile::Wrapped(_)),
        // Without a home, not having joined is what to say.
        Err(error) => {
            let at = path.clone();
            spawn_blocking(move || Identity::open(&at)).await??;
            return Err(error.into());
        }
    };
    if !(args.set || args.change || args.remove) {
        return say(context, protected, false);
    }
    match (args.set, protected) {
        (true, true) => return Err(KeyError::Protected.into()),
        (false, false) => return Err(KeyError::NotProtected.into()),
        _ => {}
    }
    let at = path.clone();
    if spawn_blocking(move || MasterFile::read_next(&at)).await??.is_some() {
        return Err(KeyError::Rotating.into()); // it lies under the passphrase of now
    }
    let home = passphrase::open_with_passphrase(&context.global, path.clone()).await?;
    let chosen = match args.remove {
        true => None,
        false => Some(passphrase::choose(Whose::Device, args.new_passphrase_file.as_deref()).await?),
    };
    let protected = chosen.is_some();
    let at = path.clone();
    // Whoever stops this finds the old file or the new one, and the key locked.
    spawn_blocking(move || {
        unlocked::lock(&at)?;
        master::replace(&at, &home.master, chosen.as_ref())
    })
    .await??;
    say(context, protected, true)
}

fn say(context: &mut Context, protected: bool, changed: bool) -> Outcome {
    let output = &mut context.output;
    if output.is_json() {
        output.object(&json!({ "passphrase": protected, "changed": changed }))?;
    } else {
        output.line(match (protected, changed) {
            (true, true) => "the key has the new passphrase; write that down too, or keep the recovery phrase safe",
            (true, false) => "the key has a passphrase",
            (false, _) => "the key has no passphrase: whoever can read this device's home has it",
        })?;
    }
    Ok(Exit::Ok)
}
