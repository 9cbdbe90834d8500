//! Transfer: what whoever names files and the data path say to each other.
//!
//! The command line turns paths into jobs and sends them through a bounded channel; [`up`](crate::up) and
//! [`down`](crate::down) take them one after another, as many at once as they like, and tell the outcome of each job to the
//! [`Progress`] as it comes. So neither side holds more than a channel's worth of a tree.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use common::id::{NameToken, NodeId, VersionId};
use common::proto::directory::{Expect, Manifests};
use common::redundancy::Redundancy;

use crate::cancel::Cancel;
use crate::folder::{Entry, FileVersion};
use crate::local::write::{Download, Planned};
use crate::meta::{Mtime, VersionMeta};
use crate::names::{Name, RemotePath};
use crate::seal::Compression;

/// Jobs on their way from whoever names files to the data path.
pub const JOBS_IN_FLIGHT: usize = 256;

/// Where the content of a put comes from.
pub enum Source {
    /// A regular file; opened with [`SourceFile`](crate::local::read::SourceFile) when its turn comes.
    Path(PathBuf),
    Stdin,
    Reader(Box<dyn Read + Send + Sync>),
    /// No content: the job is a symbolic link.
    None,
}

/// What is stored beside the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalMeta {
    /// Permission bits.
    pub mode: u32,
    pub modified: Mtime,
    pub kind: LocalKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalKind {
    File,
    /// With what it points to.
    Link(Vec<u8>),
}

/// One file (or link) to store.
pub struct PutJob {
    pub source: Source,
    /// The folder that it goes into, and its name there.
    pub folder: NodeId,
    pub within: Arc<RemotePath>,
    pub name: Name,
    pub meta: LocalMeta,
    /// What was seen under that name. The file's node stays the one that was there.
    pub expect: Expect,
    /// What the user calls it: for messages alone.
    pub shown: String,
}

impl PutJob {
    /// The node of the file: the one that is there, or a new one.
    #[must_use]
    pub fn node(&self) -> NodeId {
        match self.expect {
            Expect::File(node, _) => node,
            Expect::Nothing => NodeId::random(),
        }
    }
}

/// Who sends the copies of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fanout {
    /// This device, each to its peer.
    #[default]
    Star,
    /// This device one, and the peers to each other. Where shards differ (k > 1) it is as with a star.
    Chain,
}

/// How a put is done.
#[derive(Clone)]
pub struct PutOptions {
    pub redundancy: Redundancy,
    pub fanout: Fanout,
    pub compression: Compression,
    pub cancel: Cancel,
    pub progress: Arc<dyn Progress>,
}

/// What became of one file that was put.
#[derive(Debug, Clone)]
pub struct PutDone {
    pub shown: String,
    pub version: VersionId,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes that were sent to peers for it, shards all together; 0 for a file whose content was stored already.
    pub sent: u64,
    /// Chunks with fewer shards than the redundancy asks for.
    pub degraded: u64,
    /// Somebody else had put another version meanwhile; both are in history, this one is current.
    pub conflict: bool,
}

/// What became of a whole put. A failed file is told to the [`Progress`] and stops no other; only what makes going on senseless
/// is an error of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PutReport {
    pub files: u64,
    pub failed: u64,
    pub bytes: u64,
    pub sent: u64,
    pub degraded: u64,
    pub conflicts: u64,
}

/// Where the content of a get goes.
pub enum Target {
    /// The data path finishes it with the mode and time of the version's own metadata.
    File(Download),
    /// The same, begun when its content is there: so that many can wait without being open.
    Planned(Planned),
    /// Standard output, a pipe, a device: written in order, flushed at the end.
    Writer(Box<dyn Write + Send>),
    /// Nowhere: it is only seen that every byte can be had.
    Nowhere,
}

/// One file to fetch.
pub struct GetJob {
    pub node: NodeId,
    pub version: VersionId,
    /// Opened and checked to be of this version of this node.
    pub meta: VersionMeta,
    /// As much of the manifest as is there already.
    pub manifest: Option<Arc<Manifests>>,
    pub target: Target,
    /// What the user calls it: for messages alone.
    pub shown: String,
    /// The folder that it is in, and its name there: what is read through a link is found by that.
    pub at: Option<(NodeId, NameToken)>,
}

impl GetJob {
    /// The job of fetching a version that was looked up.
    #[must_use]
    pub fn of(node: NodeId, file: &FileVersion, target: Target, shown: String) -> Self {
        let (version, meta, manifest) = (file.version, file.meta.clone(), file.manifest.clone());
        Self { node, version, meta, manifest, target, shown, at: None }
    }

    /// The same, of the file under this entry.
    #[must_use]
    pub fn within(self, entry: &Entry) -> Self {
        Self { at: Some((entry.folder, entry.token)), ..self }
    }
}

/// How a get is done.
#[derive(Clone)]
pub struct GetOptions {
    pub cancel: Cancel,
    pub progress: Arc<dyn Progress>,
    pub durability: crate::local::write::Durability,
}

/// What became of one file that was fetched.
#[derive(Debug, Clone)]
pub struct GetDone {
    pub shown: String,
    pub version: VersionId,
    pub bytes: u64,
}

/// What became of a whole get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GetReport {
    pub files: u64,
    pub failed: u64,
    pub bytes: u64,
}

/// Why one file failed.
pub type FileError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Told how a transfer goes. Calls come from any thread and must be quick.
pub trait Progress: Send + Sync {
    /// So many more bytes are expected.
    fn expect(&self, bytes: u64);
    /// So many bytes of content were read (put) or verified and written (get).
    fn read(&self, bytes: u64);
    /// So many bytes of content are durable on peers, or were there already.
    fn stored(&self, bytes: u64);
    fn put(&self, done: PutDone);
    fn got(&self, done: GetDone);
    /// One file failed; `shown` is what the user calls it.
    fn failed(&self, shown: &str, error: FileError);
    /// Something that the user should know and that stops nothing.
    fn note(&self, text: &str);
}

/// Nobody is told.
pub(crate) struct Silent;

impl Progress for Silent {
    fn expect(&self, _: u64) {}
    fn read(&self, _: u64) {}
    fn stored(&self, _: u64) {}
    fn put(&self, _: PutDone) {}
    fn got(&self, _: GetDone) {}
    fn failed(&self, _: &str, _: FileError) {}
    fn note(&self, _: &str) {}
}
