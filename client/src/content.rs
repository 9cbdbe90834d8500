//! Content: what one small file holds, under a name by which it is found again in this account, and where it was found.
//!
//! Guarantees: the name is keyed, so it says nothing to whoever lacks the key, and differs from that of a chunk of the same bytes; the place
//! opens for this account, content and pack alone. What is read there is verified against the content's own digest, as always.
//!
//! Layout: docs/FORMATS.md.

use common::id::{AccountId, ChunkId, ContentId};
use common::proto::directory::{KnownContent, NewContent};
use serde::{Deserialize, Serialize};

use crate::keys::Keys;
use crate::manifest::Extent;
use crate::seal::aead::{self, Place, SealError};
use crate::seal::{Digest, ExtentKey, IntegrityError};

const FORMAT: u8 = 1;
const CONTEXT: &[u8] = b"small";

/// An extent but for what whoever asks knows already: its pack and its digest.
#[derive(Serialize, Deserialize)]
struct Stored {
    offset: u32,
    len: u32,
    size: u32,
    codec: u8,
    key: ExtentKey,
}

/// The keyed name of small content.
#[must_use]
pub fn id(digest: &Digest, keys: &Keys) -> ContentId {
    let mut hasher = blake3::Hasher::new_keyed(&keys.id);
    hasher.update(CONTEXT).update(&digest.0);
    let mut id = [0; ContentId::LEN];
    for (to, from) in id.iter_mut().zip(hasher.finalize().as_bytes()) {
        *to = *from;
    }
    ContentId(id)
}

fn place(account: &AccountId, content: &ContentId, pack: &ChunkId) -> Place {
    let place = Place::new("a small content's place", "shoal v1 content");
    place.with(account.as_bytes()).with(content.as_bytes()).with(pack.as_bytes())
}

/// What is published with the first file of this content.
///
/// # Errors
/// Never in practice: an extent always fits.
pub fn seal(keys: &Keys, account: &AccountId, extent: &Extent) -> Result<NewContent, SealError> {
    let content = id(&extent.digest, keys);
    let Extent { chunk, offset, len, size, codec, key, .. } = extent.clone();
    let stored = Stored { offset, len, size, codec, key };
    let sealed = aead::seal_bounded(keys.metadata(), &place(account, &content, &chunk), FORMAT, &stored)?;
    Ok(NewContent { content, sealed })
}

/// The extent that was published with this content.
///
/// # Errors
/// When it is not this account's place of this content.
pub fn open(keys: &Keys, account: &AccountId, digest: Digest, known: &KnownContent) -> Result<Extent, IntegrityError> {
    let place = place(account, &id(&digest, keys), &known.pack);
    let opening = keys.metadata_of(place.what(), &known.sealed)?;
    let Stored { offset, len, size, codec, key } = aead::open(opening, &place, FORMAT, &known.sealed)?;
    Ok(Extent { chunk: known.pack, offset, len, size, codec, key, digest })
}

/// Seals a place anew, under the account's key of now.
///
/// # Errors
/// When it is not this account's place of this content.
pub(crate) fn reseal(
    keys: &Keys,
    account: &AccountId,
    content: &ContentId,
    pack: &ChunkId,
    sealed: &[u8],
) -> Result<Vec<u8>, IntegrityError> {
    let place = place(account, content, pack);
    aead::reseal(keys.metadata_of(place.what(), sealed)?, keys.metadata(), &place, sealed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::MasterKey;

    const ACCOUNT: AccountId = AccountId([1; 16]);

    fn extent() -> Extent {
        let key = ExtentKey([5; 32]);
        Extent {
            chunk: ChunkId([2; 20]),
            offset: 300,
            len: 70_000,
            size: 99_000,
            codec: 1,
            key,
            digest: Digest([6; 32]),
        }
    }

    #[test]
    fn a_place_opens_for_its_account_content_and_pack_alone() {
        let keys = MasterKey([7; 32]).derive();
        let NewContent { content, sealed } = seal(&keys, &ACCOUNT, &extent()).unwrap();
        assert_eq!(content, id(&extent().digest, &keys));
        let known = KnownContent { pack: extent().chunk, sealed };
        assert_eq!(open(&keys, &ACCOUNT, extent().digest, &known).unwrap(), extent());
        assert!(open(&keys, &AccountId([9; 16]), extent().digest, &known).is_err());
        assert!(open(&keys, &ACCOUNT, Digest([9; 32]), &known).is_err());
        assert!(
            open(&keys, &ACCOUNT, extent().digest, &KnownContent { pack: ChunkId([9; 20]), ..known.clone() }).is_err()
        );
        assert!(open(&MasterKey([8; 32]).derive(), &ACCOUNT, extent().digest, &known).is_err());
    }

    #[test]
    fn golden_bytes_of_a_name_and_a_place() {
        let keys = MasterKey([7; 32]).derive();
        let content = id(&extent().digest, &keys);
        assert_ne!(content.0, extent().digest.chunk_id(&keys).0);
        let Extent { chunk, offset, len, size, codec, key, .. } = extent();
        let stored = Stored { offset, len, size, codec, key };
        let sealed = aead::tests::seal_fixed(&keys.layer.metadata, &place(&ACCOUNT, &content, &chunk), FORMAT, &stored);
        let hash = blake3::hash(&sealed).to_hex();
        assert_eq!(content.to_string(), "ec1705396ff4b8b1b5b731d4e7c8aefac8dfa177");
        assert_eq!(sealed.len(), 76);
        assert_eq!(hash.as_str(), "ee2c5cbb88145c0e5bf502450e7cbcf0f83037e3ce2ab8759c171d121e137c1b");
    }
}
