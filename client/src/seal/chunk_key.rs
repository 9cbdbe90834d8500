//! Chunk key: the codec, key and length of a stored chunk, sealed for its account, so that whoever stores the same content later can
//! refer to the bytes that are there already.

use common::id::{AccountId, ChunkId};
use common::proto::parts::SealedKey;
use serde::{Deserialize, Serialize};

use super::aead::{self, Place, SealError};
use super::{Codec, ExtentKey, IntegrityError, Secret};
use crate::keys::Keys;

const FORMAT: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Stored {
    codec: u8,
    key: ExtentKey,
    len: u32,
}

fn place(account: &AccountId, chunk: &ChunkId) -> Place {
    Place::new("a chunk's key", "shoal v1 chunk key").with(account.as_bytes()).with(chunk.as_bytes())
}

/// Seals a chunk's secret for the directory to keep.
///
/// # Errors
/// Never in practice: codec and key always fit.
pub fn seal_chunk_key(
    keys: &Keys,
    account: &AccountId,
    chunk: &ChunkId,
    secret: &Secret,
) -> Result<SealedKey, SealError> {
    let stored = Stored { codec: secret.codec.number(), key: secret.key.clone(), len: secret.len };
    aead::seal_bounded(keys.metadata(), &place(account, chunk), FORMAT, &stored)
}

/// Opens what the directory kept.
///
/// # Errors
/// When it is not this account's key of this chunk, or names a codec that this program cannot decode.
pub fn open_chunk_key(
    keys: &Keys,
    account: &AccountId,
    chunk: &ChunkId,
    sealed: &SealedKey,
) -> Result<Secret, IntegrityError> {
    let place = place(account, chunk);
    let stored: Stored = aead::open(keys.metadata_of(place.what(), sealed)?, &place, FORMAT, sealed)?;
    Ok(Secret { codec: Codec::from_number(stored.codec)?, key: stored.key.clone(), len: stored.len })
}

/// Seals what the directory kept anew, under the account's key of now.
///
/// # Errors
/// When it is not this account's key of this chunk.
pub(crate) fn reseal_chunk_key(
    keys: &Keys,
    account: &AccountId,
    chunk: &ChunkId,
    sealed: &[u8],
) -> Result<Vec<u8>, IntegrityError> {
    let place = place(account, chunk);
    aead::reseal(keys.metadata_of(place.what(), sealed)?, keys.metadata(), &place, sealed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::MasterKey;

    #[test]
    fn a_chunks_key_opens_for_its_account_and_chunk_alone() {
        let keys = MasterKey([7; 32]).derive();
        let (account, chunk) = (AccountId([1; 16]), ChunkId([2; 20]));
        let secret = Secret { codec: Codec::Zstd, key: ExtentKey([3; 32]), len: 9 };
        let sealed = seal_chunk_key(&keys, &account, &chunk, &secret).unwrap();
        assert_eq!(open_chunk_key(&keys, &account, &chunk, &sealed).unwrap(), secret);
        assert!(open_chunk_key(&keys, &AccountId([9; 16]), &chunk, &sealed).is_err());
        assert!(open_chunk_key(&keys, &account, &ChunkId([9; 20]), &sealed).is_err());
        assert!(open_chunk_key(&MasterKey([8; 32]).derive(), &account, &chunk, &sealed).is_err());
        let stored = Stored { codec: 2, key: ExtentKey([3; 32]), len: 9 };
        let sealed = aead::seal_bounded(keys.metadata(), &place(&account, &chunk), FORMAT, &stored).unwrap();
        assert!(matches!(
            open_chunk_key(&keys, &account, &chunk, &sealed),
            Err(IntegrityError::UnknownCodec { codec: 2 })
        ));
    }

    #[test]
    fn golden_bytes_of_a_chunks_key() {
        let keys = MasterKey([7; 32]).derive();
        let stored = Stored { codec: 0, key: ExtentKey([3; 32]), len: 70_000 };
        let place = place(&AccountId([1; 16]), &ChunkId([2; 20]));
        let sealed = aead::tests::seal_fixed(&keys.layer.metadata, &place, FORMAT, &stored);
        let hex: String = sealed.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            hex,
            "010707070707070707070707077a20afede2e4fe9dd307f185177fa67df31c9d1e03295028178a226e299c76f76e5a056d2d86e1c0ed3569fbf3631458479c2f7db81839"
        );
    }
}
