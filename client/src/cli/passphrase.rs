//! Passphrase: where commands get one from: a file that was named, or whoever sits at the terminal.
//!
//! Never from the command line or from a variable's value, which others can see. On a terminal a wrong one may be tried again
//! twice; each try costs what Argon2id costs. Without a file and without a terminal a locked key is an error that says what to do.

use std::io::Read;
use std::path::{Path, PathBuf};

use common::disk::DiskError;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::args::Global;
use super::key::{KeyError, Whose};
use super::terminal::Terminal;
use crate::keystore::export::{Closed, ExportError, Exported};
use crate::keystore::master::MasterFile;
use crate::keystore::unlocked;
use crate::keystore::wrap::{Passphrase, WrapError};
use crate::keystore::{Home, HomeError, Identity};

/// On a terminal.
const TRIES: usize = 3;
/// Longest file that a passphrase is looked for in.
const FILE_BYTES: usize = 16 << 10;

/// Opens the device's home; asks for the passphrase only where the key is locked.
pub(super) async fn open_home(global: &Global, path: PathBuf) -> anyhow::Result<Home> {
    let at = path.clone();
    match spawn_blocking(move || Home::open(&at)).await? {
        Err(HomeError::Locked { .. }) => open_with_passphrase(global, path).await,
        opened => Ok(opened?),
    }
}

/// Opens the device's home for something that gives the key away or away from here: asks for the passphrase of a key that has
/// one, unlocked or not.
pub(super) async fn open_with_passphrase(global: &Global, path: PathBuf) -> anyhow::Result<Home> {
    Ok(open_keeping_passphrase(global, path).await?.0)
}

/// The same, with the passphrase of a key that has one: for who writes another key under it.
pub(super) async fn open_keeping_passphrase(
    global: &Global,
    path: PathBuf,
) -> anyhow::Result<(Home, Option<Passphrase>)> {
    let at = path.clone();
    let read = spawn_blocking(move || Ok::<_, HomeError>((Identity::open(&at)?, MasterFile::read(&at)?)));
    let (identity, file) = read.await??;
    let locked = match file {
        MasterFile::Plain(master) => return Ok((identity.with(master), None)),
        MasterFile::Wrapped(locked) => std::sync::Arc::new(locked),
    };
    let open = move |passphrase: &Passphrase| locked.open(passphrase).map(|master| (master, passphrase.clone()));
    let is_wrong = |error: &HomeError| matches!(error, HomeError::Wrap { source: WrapError::WrongPassphrase, .. });
    let file = global.passphrase_file.as_deref();
    let opened = try_passphrases(Whose::Device, file, open, is_wrong).await?;
    let (master, passphrase) = opened.ok_or(HomeError::Locked { path })?;
    Ok((identity.with(master), Some(passphrase)))
}

/// Opens an exported key.
pub(super) async fn open_exported(file: Option<&Path>, closed: Closed) -> anyhow::Result<Exported> {
    let closed = std::sync::Arc::new(closed);
    let open = move |passphrase: &Passphrase| closed.open(passphrase);
    let is_wrong = |error: &ExportError| matches!(error, ExportError::Wrap(WrapError::WrongPassphrase));
    let opened = try_passphrases(Whose::Exported, file, open, is_wrong).await?;
    opened.ok_or_else(|| KeyError::NoPassphrase.into())
}

/// `None` when there is neither a file nor anybody to ask.
async fn try_passphrases<T, E>(
    whose: Whose,
    file: Option<&Path>,
    open: impl Fn(&Passphrase) -> Result<T, E> + Clone + Send + 'static,
    is_wrong: impl Fn(&E) -> bool,
) -> anyhow::Result<Option<T>>
where
    T: Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    let try_one = async |passphrase: Passphrase| {
        let open = open.clone();
        spawn_blocking(move || open(&passphrase)).await
    };
    if let Some(file) = file {
        return Ok(Some(try_one(Passphrase::new(first_line(file).await?)?).await??));
    }
    let Some(terminal) = Terminal::open() else { return Ok(None) };
    let question = match whose {
        Whose::Device => "Passphrase of this device's key: ",
        Whose::Exported => "Passphrase of the exported key: ",
    };
    for left in (0..TRIES).rev() {
        let typed = Passphrase::new(terminal.ask_hidden(question).await?)?;
        match try_one(typed).await? {
            Err(error) if is_wrong(&error) && left > 0 => terminal.say("wrong passphrase, try again")?,
            tried => return Ok(Some(tried?)),
        }
    }
    Ok(None)
}

/// A new passphrase: from a file, or typed twice.
pub(super) async fn choose(whose: Whose, file: Option<&Path>) -> anyhow::Result<Passphrase> {
    if let Some(file) = file {
        return Ok(Passphrase::chosen(first_line(file).await?)?);
    }
    let Some(terminal) = Terminal::open() else {
        return Err(KeyError::NoNewPassphrase { whose }.into());
    };
    let question = match whose {
        Whose::Device => "New passphrase for this device's key: ",
        Whose::Exported => "New passphrase for the exported key: ",
    };
    let chosen = Passphrase::chosen(terminal.ask_hidden(question).await?)?;
    let again = Passphrase::new(terminal.ask_hidden("The same once more: ").await?)?;
    if chosen.is_same(&again) { Ok(chosen) } else { Err(KeyError::DifferentPassphrases.into()) }
}

/// The first line of a file, which others must not be able to read. It may be a pipe.
async fn first_line(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let path = path.to_owned();
    Ok(spawn_blocking(move || read_first_line(&path)).await??)
}

fn read_first_line(path: &Path) -> Result<Zeroizing<String>, DiskError> {
    use std::os::unix::fs::PermissionsExt;
    let io = |action| move |source| DiskError::Io { action, path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(io("open"))?;
    let mode = file.metadata().map_err(io("open"))?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(DiskError::TooOpen { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES));
    file.take(FILE_BYTES as u64).read_to_string(&mut text).map_err(io("read"))?;
    let line = text.split('\n').next().unwrap_or_default();
    Ok(Zeroizing::new(line.strip_suffix('\r').unwrap_or(line).to_owned()))
}

/// Forgets an unlocked key: after a change of the passphrase.
pub(super) async fn lock(path: PathBuf) -> anyhow::Result<bool> {
    Ok(spawn_blocking(move || unlocked::lock(&path)).await??)
}
