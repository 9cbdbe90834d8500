//! Rekey: another master key for the account. Everything that is sealed for the account alone is sealed anew; what lies on peers stays as it is.
//!
//! Guarantees: from [`begin`]'s answer on the directory takes nothing under the old key. [`finish`] may be broken off anywhere and begun again
//! by any device that has the new key: it goes by what the directory still has under the old one, and keeps no place of its own. The old key
//! is given up only after a whole pass that found nothing.
//!
//! Non-goals: making unseen what somebody has seen, or could copy, before: the directory's journal has the old sealed values for as long as it
//! is kept, and manifests, whose keys are their versions' own, are not sealed again. Whoever had the old key keeps the keys that name things:
//! with the directory's records he can tell whether a name or a content that he knows occurs.

use common::bounded::BoundedVec;
use common::id::RequestId;
use common::limits::RESEAL_VALUES;
use common::proto::directory::{ListStale, Reseal, ResealedValue, RotateKey, SealedAt, SettleKey, StaleValue};
use common::proto::parts::SealedEntry;

use crate::content;
use crate::keys::MasterKey;
use crate::meta::{Entry, EntryPlace, SnapshotName, VersionMeta, VersionPlace};
use crate::seal::aead::SealError;
use crate::seal::{IntegrityError, reseal_chunk_key};
use crate::session::{Session, SessionError};
use crate::share;

/// After so many passes that each found something new somebody writes under the old key, which the directory should refuse.
const PASSES: usize = 64;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum RekeyError {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("the account's key ring cannot be sealed")]
    Seal(#[from] SealError),
    #[error("{count} sealed values do not open with the old key, so it is kept for them")]
    Unreadable {
        count: u64,
        #[source]
        source: IntegrityError,
    },
    #[error("the directory goes on listing what was sealed anew")]
    NoEnd,
    #[error("this account's key was rotated as often as can be")]
    TooOften,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rekeyed {
    /// Values that were sealed anew.
    pub resealed: u64,
}

/// Makes `new` the account's master key, in the place of the session's own. Answers how many shares ended with that.
///
/// Repeated with the same new key it changes nothing more. `new` must be durable somewhere before: from the answer on it alone opens the
/// account.
///
/// # Errors
/// When the directory cannot be asked, or a rotation of before was not finished.
pub async fn begin(session: &Session, old: &MasterKey, new: &MasterKey) -> Result<u32, RekeyError> {
    let rotated = session.keys().rotated(new).ok_or(RekeyError::TooOften)?;
    let request = RotateKey {
        request: RequestId::random(),
        was: old.key_check(),
        key_check: new.key_check(),
        key: rotated.number(),
        ring: rotated.seal_ring(new, session.account(), false)?,
    };
    Ok(session.call_directory(&request).await?.ended)
}

/// Seals anew what is still sealed under the key before, and gives that up. `done` is told how many values were, after each page.
///
/// Cancel-safe: begun again, it goes on.
///
/// # Errors
/// When the directory cannot be asked, or something does not open.
pub async fn finish(session: &Session, master: &MasterKey, mut done: impl FnMut(u64)) -> Result<Rekeyed, RekeyError> {
    let mut rekeyed = Rekeyed::default();
    for _ in 0..PASSES {
        match pass(session, &mut rekeyed, &mut done).await? {
            Pass { found: 0, .. } => {
                let ring = session.keys().seal_ring(master, session.account(), true)?;
                let request = SettleKey { request: RequestId::random(), key: session.keys().number(), ring };
                session.call_directory(&request).await?;
                return Ok(rekeyed);
            }
            Pass { found, closed, unreadable: Some(source) } if found == closed => {
                return Err(RekeyError::Unreadable { count: found, source });
            }
            Pass { .. } => {}
        }
    }
    Err(RekeyError::NoEnd)
}

/// One way through everything.
#[derive(Default)]
struct Pass {
    /// Values under the old key.
    found: u64,
    /// Of these, how many do not open.
    closed: u64,
    unreadable: Option<IntegrityError>,
}

async fn pass(session: &Session, rekeyed: &mut Rekeyed, done: &mut impl FnMut(u64)) -> Result<Pass, RekeyError> {
    let (mut pass, mut after) = (Pass::default(), None);
    loop {
        let page = session.call_directory(&ListStale { after }).await?;
        let mut values = Vec::with_capacity(page.values.len().min(RESEAL_VALUES));
        for value in page.values {
            pass.found += 1;
            match reseal(session, &value) {
                Ok(resealed) => values.push(resealed),
                Err(error) => {
                    pass.closed += 1;
                    pass.unreadable.get_or_insert(error);
                }
            }
        }
        for values in values.chunks(RESEAL_VALUES).map(<[_]>::to_vec) {
            let values = BoundedVec::try_from(values).unwrap_or_else(|_| BoundedVec::empty()); // they fit
            let request = Reseal { request: RequestId::random(), values };
            rekeyed.resealed += u64::from(session.call_directory(&request).await?.replaced);
        }
        done(rekeyed.resealed);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(pass),
        }
    }
}

/// One value under the key of now.
fn reseal(session: &Session, value: &StaleValue) -> Result<ResealedValue, IntegrityError> {
    let (keys, account) = (session.keys(), session.account());
    let missing =
        || IntegrityError::Inconsistent { what: "a sealed value", field: "the directory does not say of what" };
    let node = value.node.ok_or_else(missing);
    let sealed = match value.at {
        SealedAt::Entry { folder, token } | SealedAt::FormerEntry { folder, token, .. } => {
            let place = EntryPlace { account, folder, token, node: node? };
            let entry = SealedEntry::try_from(value.sealed.to_vec()).map_err(|_| missing())?;
            Entry::reseal(keys, &place, &entry)?.to_vec()
        }
        SealedAt::Version { version } => {
            VersionMeta::reseal(keys, &VersionPlace { account, node: node?, version }, &value.sealed)?
        }
        SealedAt::Chunk { chunk } | SealedAt::FormerChunk { chunk, .. } => {
            reseal_chunk_key(keys, &account, &chunk, &value.sealed)?
        }
        SealedAt::Snapshot { token } => SnapshotName::reseal(keys, account, token, &value.sealed)?,
        SealedAt::Share { share } => share::reseal_path(keys, account, share, &value.sealed)?,
        SealedAt::Content { content } => {
            content::reseal(keys, &account, &content, &value.pack.ok_or_else(missing)?, &value.sealed)?
        }
    };
    let too_long =
        |_| IntegrityError::Inconsistent { what: "a sealed value", field: "it is too long to be sealed again" };
    let sealed = sealed.try_into().map_err(too_long)?;
    Ok(ResealedValue { at: value.at, was: *blake3::hash(&value.sealed).as_bytes(), sealed })
}
