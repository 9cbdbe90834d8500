//! Device: a user's device in this process: joined with a ticket, and with the client's library in place of its commands.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use client::cancel::Cancel;
use client::folder::{self, Entry, Listing};
use client::keys::MasterKey;
use client::keystore::{self, Home};
use client::local::write::Durability;
use client::meta::Mtime;
use client::names::{Name, RemotePath};
use client::seal::Compression;
use client::session::enroll::enroll;
use client::session::{Session, SessionOptions};
use client::transfer::{
    Fanout, FileError, GetDone, GetJob, GetOptions, LocalKind, LocalMeta, Progress, PutDone, PutJob, PutOptions,
    Source, Target,
};
use client::{down, up};
use common::bounded::BoundedVec;
use common::id::{DeviceId, NodeId, RequestId};
use common::identity::certificate::fingerprint;
use common::proto::directory::{Expect, SetRedundancy};
use common::proto::parts::Label;
use common::redundancy::Redundancy;
use common::ticket::Ticket;
use tokio::sync::mpsc;

/// See the module.
pub struct Device {
    home: PathBuf,
    pub session: Session,
}

impl Device {
    /// Joins; devices with the same key are of the same account.
    ///
    /// # Errors
    /// When the directory does not take it.
    pub async fn join(home: PathBuf, ticket: &Ticket, master: &MasterKey) -> Result<Self> {
        let new = enroll(ticket, &[], Label::try_from("model")?, Some(master.key_check())).await?;
        let enrolled = &new.enrolled;
        let account = enrolled.account.as_ref().context("no account")?;
        let device = keystore::Device {
            cluster: enrolled.cluster,
            account: account.account,
            account_name: account.name.to_string(),
            root: NodeId(account.root.0),
            device: DeviceId(enrolled.id),
            directory: enrolled.directory.iter().map(ToString::to_string).collect(),
            statement_key: enrolled.statement_key,
            ca_fingerprint: fingerprint(&new.authority),
        };
        let credentials = keystore::Credentials {
            authority: new.authority.to_vec(),
            certificate: enrolled.certificate.to_vec(),
            private_key: new.key.to_der().secret_der().to_vec().into(),
        };
        Home::create(&home, device, credentials, master.clone())?;
        let session = open(&home).await?;
        Ok(Self { home, session })
    }

    /// Ends the session and begins a new one, like a program that was killed and is started again.
    ///
    /// # Errors
    /// When the directory does not answer.
    pub async fn restart(&mut self) -> Result<()> {
        self.session.close().await;
        self.session = open(&self.home).await?;
        Ok(())
    }
}

async fn open(home: &Path) -> Result<Session> {
    Ok(Session::open(home.to_owned(), SessionOptions { directory: Vec::new(), quiet: true }).await?)
}

/// What a transfer told.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Told {
    fn errors(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).join("; ")
    }
}

impl Progress for Told {
    fn expect(&self, _: u64) {}
    fn read(&self, _: u64) {}
    fn stored(&self, _: u64) {}
    fn put(&self, _: PutDone) {}
    fn got(&self, _: GetDone) {}
    fn failed(&self, shown: &str, error: FileError) {
        let error = common::telemetry::chain(&*error).to_string();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{shown}: {error}"));
    }
    fn note(&self, _: &str) {}
}

fn remote(path: &str) -> Result<RemotePath> {
    Ok(RemotePath::parse(path.as_bytes())?)
}

/// Stores a file.
///
/// # Errors
/// Why its user was not told that it is stored.
pub async fn put(
    session: &Session,
    source: PathBuf,
    path: &str,
    redundancy: Redundancy,
    fanout: Fanout,
    cancel: Cancel,
) -> Result<()> {
    let remote = remote(path)?;
    let there = folder::resolve(session, &remote).await?;
    let (_, name) = remote.split().context("the root is no file")?;
    let folder = there.parent().context("its folder is not there")?;
    let expect = match there.last() {
        None => Expect::Nothing,
        Some(entry) => entry.expect().context("a folder is there")?,
    };
    let job = put_job(Source::Path(source), folder, name.clone(), expect, path);
    send(session, job, redundancy, fanout, cancel).await
}

/// Begins to store a stream that is this file's content and then fails, so that what was cut until then was stored for nothing.
///
/// # Errors
/// Always.
pub async fn give_up(
    session: &Session,
    source: &Path,
    redundancy: Redundancy,
    fanout: Fanout,
    cancel: Cancel,
) -> Result<()> {
    let path = "/given up";
    let remote = remote(path)?;
    let (_, name) = remote.split().context("the root is no file")?;
    let stream = std::fs::File::open(source)?.chain(Broken);
    let job = put_job(Source::Reader(Box::new(stream)), session.root(), name.clone(), Expect::Nothing, path);
    send(session, job, redundancy, fanout, cancel).await
}

/// Cannot be read.
struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("the stream breaks off here"))
    }
}

fn put_job(source: Source, folder: NodeId, name: Name, expect: Expect, path: &str) -> PutJob {
    let modified = Mtime::from_system(std::time::SystemTime::now());
    let meta = LocalMeta { mode: 0o644, modified, kind: LocalKind::File };
    PutJob { source, folder, within: Arc::new(RemotePath::root()), name, meta, expect, shown: path.to_owned() }
}

async fn send(session: &Session, job: PutJob, redundancy: Redundancy, fanout: Fanout, cancel: Cancel) -> Result<()> {
    let told = Arc::new(Told::default());
    let options = PutOptions { redundancy, fanout, compression: Compression::Auto, cancel, progress: told.clone() };
    let (queue, jobs) = mpsc::channel(1);
    queue.send(job).await?;
    drop(queue);
    let report = up::put_files(session, jobs, &options).await?;
    ensure!(report.failed == 0 && report.files == 1, "{}", told.errors());
    Ok(())
}

/// Takes what is read.
struct Into(Arc<Mutex<Vec<u8>>>);

impl Write for Into {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Reads a file.
///
/// # Errors
/// Why it cannot be read.
pub async fn read(session: &Session, path: &str) -> Result<Vec<u8>> {
    let remote = remote(path)?;
    let there = folder::resolve_to_read(session, &remote, None).await?;
    let entry = there.target(&remote)?.context("the root is no file")?;
    let file = entry.file().context("it is a folder")?;
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let target = Target::Writer(Box::new(Into(bytes.clone())));
    let job = GetJob::of(entry.node, file, target, path.to_owned());
    let told = Arc::new(Told::default());
    let options = GetOptions { cancel: Cancel::new(), progress: told.clone(), durability: Durability::Relaxed };
    let (send, jobs) = mpsc::channel(1);
    send.send(job).await.ok(); // there is room
    drop(send);
    let report = down::get_files(session, jobs, &options).await?;
    ensure!(report.failed == 0 && report.files == 1, "{}", told.errors());
    let bytes = std::mem::take(&mut *bytes.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(bytes)
}

/// Moves a file or folder to exactly this path.
///
/// # Errors
/// Why it was not moved.
pub async fn rename(session: &Session, from: &str, to: &str) -> Result<()> {
    folder::rename(session, &remote(from)?, &remote(to)?).await?;
    Ok(())
}

/// # Errors
/// Why it was not copied.
pub async fn copy(session: &Session, from: &str, to: &str, cancel: &Cancel) -> Result<()> {
    let copied = folder::copy(session, &remote(from)?, &remote(to)?, false, cancel).await?;
    ensure!(copied.files == 1, "{copied:?}");
    Ok(())
}

/// # Errors
/// Why it is still there.
pub async fn remove(session: &Session, path: &str) -> Result<()> {
    Ok(folder::remove(session, &remote(path)?, true).await?)
}

/// # Errors
/// Why there is none.
pub async fn make_folder(session: &Session, path: &str) -> Result<()> {
    Ok(folder::make(session, &remote(path)?, false).await?)
}

/// Has the chunks of a file made anew at another redundancy.
///
/// # Errors
/// Why that was not noted.
pub async fn recode(session: &Session, path: &str, redundancy: Redundancy) -> Result<()> {
    let remote = remote(path)?;
    let there = folder::resolve(session, &remote).await?;
    let version = there.last().and_then(Entry::file).context("it is no file")?.version;
    let versions = BoundedVec::try_from(vec![version]).context("one is too many")?;
    session.call_directory(&SetRedundancy { request: RequestId::random(), versions, redundancy }).await?;
    Ok(())
}

/// All there is: each path, with its size where it is a file.
///
/// # Errors
/// When the directory cannot be asked.
pub async fn list(session: &Session) -> Result<BTreeMap<String, Option<u64>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![(String::new(), session.root())];
    while let Some((path, node)) = folders.pop() {
        let mut listing = Listing::new(session, node);
        while let Some(page) = listing.next_page().await? {
            for entry in page {
                let path = format!("{path}/{}", entry.name);
                if entry.is_folder() {
                    folders.push((path.clone(), entry.node));
                }
                let size = entry.file().map(|file| file.meta.size);
                if found.insert(path.clone(), size).is_some() {
                    bail!("{path} is listed twice");
                }
            }
        }
    }
    Ok(found)
}
