//! Status: what a data folder says of its peer, whether or not a process serves it. Changes nothing there.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use common::identity::role;
use common::time::Timestamp;
use serde::Serialize;

use crate::folder::{FolderError, Joined, Layout};
use crate::known::{Durable, KnownError};
use crate::scrub::Progress;

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("what this peer knew of the directory cannot be read")]
    Known(#[from] KnownError),
    #[error("the certificate cannot be read")]
    Certificate(#[from] common::identity::IdentityError),
    #[error("cannot look into {}", path.display())]
    Io {
        path: std::path::PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// What is known without asking anybody. In bytes, times in RFC 3339; the field names are stable.
#[derive(Debug, Serialize)]
pub struct Status {
    pub cluster: String,
    pub peer: String,
    pub label: String,
    pub zone: String,
    /// The process that serves, and where it listens.
    pub serving: Option<Serving>,
    /// Where the directory is.
    pub directory: Vec<String>,
    pub listen: String,
    pub advertise: Vec<String>,
    pub capacity_bytes: Option<u64>,
    /// What the segments take on the disk.
    pub used_bytes: u64,
    /// When the newest check of all shards began, how many were checked and found damaged since, and when the last one ended; as of a
    /// minute ago at the most.
    pub scrub_since: Option<String>,
    pub scrub_shards: u64,
    pub scrub_damaged: u64,
    pub scrub_ended: Option<String>,
    /// The highest generation of the directory that was seen.
    pub generation: u64,
    pub certificate_valid_until: String,
    /// The certificate's time is over: the peer has to join again.
    pub certificate_expired: bool,
}

#[derive(Debug, Serialize)]
pub struct Serving {
    pub process: Option<u32>,
    pub address: Option<String>,
}

/// Blocks for a few reads.
///
/// # Errors
/// [`FolderError::NotJoined`] where there is no peer; else what cannot be read.
pub fn status(data: &Path, now: Timestamp) -> Result<Status, StatusError> {
    let Joined { layout, settings, certificate, .. } = Joined::load(data)?;
    let durable = Durable::load(&layout.known())?;
    let scrub = Progress::load(&layout.scrub());
    let (_, until) = role::validity(&certificate)?;
    let mut directory: Vec<String> = durable.directory.iter().map(ToString::to_string).collect();
    if directory.is_empty() {
        directory = settings.directory;
    }
    Ok(Status {
        cluster: settings.cluster.to_string(),
        peer: settings.peer.to_string(),
        label: settings.label,
        zone: settings.zone,
        serving: serving(&layout),
        directory,
        listen: settings.listen,
        advertise: settings.advertise,
        capacity_bytes: settings.capacity.map(|size| size.0),
        used_bytes: used(&layout.segments())?,
        scrub_since: scrub.since.map(|at| at.to_string()),
        scrub_shards: scrub.shards,
        scrub_damaged: scrub.damaged,
        scrub_ended: scrub.ended.map(|at| at.to_string()),
        generation: durable.generation,
        certificate_valid_until: until.to_string(),
        certificate_expired: now > until,
    })
}

/// Who holds the lock. A shared look at it holds up nobody who really wants it for longer than this call.
fn serving(layout: &Layout) -> Option<Serving> {
    let mut lock = File::open(layout.lock()).ok()?;
    match lock.try_lock_shared() {
        Err(std::fs::TryLockError::WouldBlock) => {}
        Ok(()) | Err(std::fs::TryLockError::Error(_)) => return None,
    }
    let mut process = String::new();
    (&mut lock).take(16).read_to_string(&mut process).ok()?;
    let address = std::fs::read_to_string(layout.listening()).ok().map(|text| text.trim().to_owned());
    Some(Serving { process: process.trim().parse().ok(), address })
}

fn used(segments: &Path) -> Result<u64, StatusError> {
    let io = |source| StatusError::Io { path: segments.to_owned(), source };
    let entries = match std::fs::read_dir(segments) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(io(error)),
    };
    let mut used = 0_u64;
    for entry in entries {
        let blocks = entry.and_then(|entry| entry.metadata()).map_err(io)?.blocks();
        used = used.saturating_add(blocks.saturating_mul(512));
    }
    Ok(used)
}
