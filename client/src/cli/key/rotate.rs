//! `shoal key rotate`: another master key for the account, and everything sealed anew under it.
//!
//! The new key is durable in this device's home, and its phrase was shown, before the directory is told. Whoever kills this finds the old
//! key in force, or the new one beside it; the same command goes on from there.

use std::io::IsTerminal;
use std::path::PathBuf;

use serde_json::json;
use tokio::task::spawn_blocking;

use super::KeyError;
use crate::cli::Outcome;
use crate::cli::args::KeyRotate;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::passphrase;
use crate::cli::terminal::Terminal;
use crate::cli::ticker::Ticker;
use crate::keys::MasterKey;
use crate::keystore::master::{self, MasterFile};
use crate::keystore::wrap::Passphrase;
use crate::keystore::{Home, HomeError, Identity, unlocked};
use crate::phrase;
use crate::rekey;
use crate::session::{Session, SessionError, SessionOptions};

pub(super) async fn run(context: &mut Context, args: KeyRotate) -> Outcome {
    let path = context.home()?;
    let (home, passphrase) = passphrase::open_keeping_passphrase(&context.global, path.clone()).await?;
    let old = home.master.clone();
    let next = read_next(path.clone(), passphrase.clone()).await?;
    let (session, master, ended) = match (open(context, home).await, next) {
        // Of before, or of another device: it is finished, and no further one begun.
        (Ok(session), _) if !session.key_is_settled() => (session, old, 0),
        (Ok(session), next) => {
            let new = match next {
                Some(new) => new,
                None => make_next(path.clone(), passphrase).await?,
            };
            show(context, &new)?;
            confirm(&args).await?;
            let ended = rekey::begin(&session, &old, &new).await?;
            session.close().await;
            (take_next(context, path, &new).await?, new, ended)
        }
        // The directory was told, and this device's home was not changed any more.
        (Err(SessionError::OtherKey), Some(new)) => {
            show(context, &new)?;
            (take_next(context, path, &new).await?, new, 0)
        }
        (Err(error), _) => return Err(error.into()),
    };
    let mut ticker = Ticker::new(context.visible());
    let done = rekey::finish(&session, &master, |resealed| {
        ticker.tick(|| format!("{resealed} names, versions and keys sealed anew; this may be broken off and repeated"));
    });
    let done = done.await?;
    ticker.end();
    session.close().await;
    let key = session.keys().number();
    if context.output.is_json() {
        let event = json!({ "event": "rotated", "key": key, "resealed": done.resealed, "shares_ended": ended });
        context.output.object(&event)?;
    } else {
        context.note(&format!("the account has another key now; {} values were sealed anew under it", done.resealed));
        if ended > 0 {
            context.note(&format!(
                "links that ended, to folders or to whatever is current: {ended}; new ones: shoal share"
            ));
        }
        context.note("other devices of this account need the new key: shoal key import --phrase --replace");
    }
    Ok(Exit::Ok)
}

/// The account has this key: so does this device from now on.
async fn take_next(context: &Context, path: PathBuf, new: &MasterKey) -> anyhow::Result<Session> {
    let at = path.clone();
    let identity = spawn_blocking(move || Identity::open(&at)).await??;
    let session = open(context, identity.with(new.clone())).await?;
    let taken = spawn_blocking(move || {
        master::take_next(&path)?;
        Ok::<_, HomeError>(unlocked::lock(&path)?)
    });
    taken.await??;
    Ok(session)
}

async fn read_next(path: PathBuf, passphrase: Option<Passphrase>) -> anyhow::Result<Option<MasterKey>> {
    let read = spawn_blocking(move || match MasterFile::read_next(&path)? {
        None => Ok::<_, HomeError>(None),
        Some(MasterFile::Plain(master)) => Ok(Some(master)),
        Some(MasterFile::Wrapped(locked)) => match &passphrase {
            Some(passphrase) => locked.open(passphrase).map(Some),
            None => Err(HomeError::Locked { path }),
        },
    });
    Ok(read.await??)
}

async fn make_next(path: PathBuf, passphrase: Option<Passphrase>) -> anyhow::Result<MasterKey> {
    let made = spawn_blocking(move || {
        let new = MasterKey::random();
        master::keep_next(&path, &new, passphrase.as_ref()).map(|()| new)
    });
    Ok(made.await??)
}

async fn open(context: &Context, home: Home) -> Result<Session, SessionError> {
    let options = SessionOptions { directory: context.global.directory.clone(), quiet: context.is_silent() };
    Session::with_home(home, options).await
}

/// The only moment at which both keys are needed: the new phrase must not be lost with this device.
fn show(context: &mut Context, new: &MasterKey) -> std::io::Result<()> {
    let words = phrase::of_key(new);
    let output = &mut context.output;
    if output.is_json() {
        return output.object(&json!({ "event": "new_phrase", "recovery_phrase": words.as_str() }));
    }
    if !std::io::stdout().is_terminal() {
        return output.line(words.as_str());
    }
    output.line("The new recovery phrase of this account. Write it down: it takes the place of the old one.")?;
    let words: Vec<&str> = words.split(' ').collect();
    for line in words.chunks(6) {
        output.line(format_args!("    {}", line.join(" ")))?;
    }
    Ok(())
}

async fn confirm(args: &KeyRotate) -> anyhow::Result<()> {
    if args.yes {
        return Ok(());
    }
    let Some(terminal) = Terminal::open() else { return Err(KeyError::NotWritten.into()) };
    let answer = terminal.ask("Type yes when it is written down; the old one then opens nothing any more: ").await?;
    if answer.trim() == "yes" { Ok(()) } else { Err(KeyError::NotWritten.into()) }
}
