//! Make: sharing what is at a path, and the account's list of what it shares.

use std::time::Duration;

use common::id::{AccountId, RequestId, ShareId, VersionId};
use common::proto::directory::{ListShares, NewShare, RevokeShare, ShareTarget, ShareView, ShowVersion};
use common::proto::parts::SealedEntry;
use common::share;
use common::time::Timestamp;
use zeroize::Zeroizing;

use super::{Link, Reads, ShareError};
use crate::folder::{Entry, FileVersion, FolderError, What, resolve};
use crate::keys::{Keys, random};
use crate::meta::{VersionMeta, VersionPlace, path};
use crate::names::RemotePath;
use crate::seal::IntegrityError;
use crate::seal::aead::{self, Place};
use crate::session::Session;

const WHAT: &str = "a share's path";

/// How something is shared.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// For how long; without it until it is revoked.
    pub ttl: Option<Duration>,
    /// Of a file: whatever version is current when it is read, in place of one for ever.
    pub follow: bool,
    /// Of a file: this version, in place of the current one.
    pub version: Option<VersionId>,
    /// How many devices that have not joined may read it.
    pub guests: Option<u32>,
}

/// A share as its account sees it.
#[derive(Debug, Clone)]
pub struct Shared {
    pub view: ShareView,
    /// The path under which it was shared; `None` when what the directory has of it does not open.
    pub path: Option<String>,
}

/// Shares what is at the path.
///
/// # Errors
/// When there is nothing, or it cannot be shared like this.
pub async fn share(
    session: &Session,
    path: &RemotePath,
    wanted: Wanted,
) -> Result<(Link, Option<Timestamp>), ShareError> {
    let resolved = resolve(session, path).await?;
    let entry = resolved.target(path)?.ok_or(FolderError::Root { what: "shared" })?;
    let reads = reads_of(session, path, entry, wanted).await?;
    let secret = Zeroizing::new(random());
    let id = share::share_id(&secret);
    let request = NewShare {
        request: RequestId::random(),
        share: id,
        verifier: *share::verifier(&secret),
        target: match &reads {
            Reads::Folder { node, .. } => ShareTarget::Folder(*node),
            Reads::File { node, .. } => ShareTarget::File(*node),
            Reads::Version { node, version, .. } => ShareTarget::Version(*node, *version),
        },
        ttl_ms: wanted.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
        guests: wanted.guests,
        sealed: seal_path(session, id, path)?,
    };
    let made = session.call_directory(&request).await?;
    let link = Link {
        cluster: session.cluster(),
        authority_fingerprint: session.authority_fingerprint(),
        secret,
        account: session.account(),
        guest: wanted.guests.is_some(),
        reads,
        addresses: session.directory_addresses(),
        name: entry.name.clone(),
    };
    Ok((link, made.expires))
}

async fn reads_of(session: &Session, path: &RemotePath, entry: &Entry, wanted: Wanted) -> Result<Reads, ShareError> {
    let node = entry.node;
    let key = session.keys().node_key(node);
    let file = match &entry.what {
        What::Folder(_) if wanted.version.is_some() => return Err(ShareError::FolderVersion),
        What::Folder(own) => return Ok(Reads::Folder { node, key, mode: own.mode, mtime: own.mtime }),
        What::File(file) => file,
    };
    if file.link().is_some() {
        return Err(FolderError::IsALink { path: path.to_string() }.into());
    }
    if wanted.follow {
        return Ok(Reads::File { node, key });
    }
    match wanted.version.filter(|version| *version != file.version) {
        None => Ok(Reads::Version { node, version: file.version, meta: file.meta.clone() }),
        Some(version) => {
            let view = session.call_directory(&ShowVersion { node, version }).await?;
            let place = VersionPlace { account: session.account(), node, version };
            let integrity = |source| FolderError::Integrity { what: "a version", source };
            let meta = VersionMeta::open(session.keys(), &place, &view.meta).map_err(integrity)?;
            let file = FileVersion::of(view, meta)?;
            if file.link().is_some() {
                return Err(FolderError::IsALink { path: path.to_string() }.into());
            }
            Ok(Reads::Version { node, version, meta: file.meta })
        }
    }
}

fn place_of(account: AccountId, id: ShareId) -> Place {
    Place::new(WHAT, "shoal v1 share path").with(account.as_bytes()).with(id.as_bytes())
}

/// Seals a share's path anew, under the account's key of now.
///
/// # Errors
/// When it was not sealed by this account for this share.
pub(crate) fn reseal_path(
    keys: &Keys,
    account: AccountId,
    id: ShareId,
    sealed: &[u8],
) -> Result<Vec<u8>, IntegrityError> {
    aead::reseal(keys.metadata_of(WHAT, sealed)?, keys.metadata(), &place_of(account, id), sealed)
}

fn seal_path(session: &Session, id: ShareId, path: &RemotePath) -> Result<SealedEntry, FolderError> {
    Ok(path::seal(session.keys(), &place_of(session.account(), id), path)?)
}

/// All that the account shares, also what ended lately.
///
/// # Errors
/// When the directory cannot be asked.
pub async fn list(session: &Session) -> Result<Vec<Shared>, ShareError> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = session.call_directory(&ListShares { after }).await?;
        after = page.shares.last().map(|view| view.share);
        for view in page.shares {
            let place = place_of(session.account(), view.share);
            let path = path::open(session.keys(), &place, &view.sealed).ok();
            found.push(Shared { view, path });
        }
        if !page.more || after.is_none() {
            found.sort_by_key(|shared| (shared.view.made, shared.view.share));
            return Ok(found);
        }
    }
}

/// Ends the share whose id is, or begins with, this text.
///
/// # Errors
/// When there is none, or several begin like that.
pub async fn revoke(session: &Session, text: &str) -> Result<ShareId, ShareError> {
    let all = list(session).await?;
    let wanted = text.to_ascii_lowercase();
    let found: Vec<_> =
        all.iter().map(|shared| shared.view.share).filter(|id| id.to_string().starts_with(&wanted)).collect();
    let id = match found.as_slice() {
        [id] if !wanted.is_empty() => *id,
        [] | [_] => return Err(ShareError::NoSuchShare { text: text.to_owned() }),
        several => return Err(ShareError::Ambiguous { text: text.to_owned(), count: several.len() }),
    };
    session.call_directory(&RevokeShare { request: RequestId::random(), share: id }).await?;
    Ok(id)
}
