//! Erasure: from a sealed chunk to its shards and back. Copies are the case k = 1, on the same path.
//!
//! For k > 1 the first k shards are the chunk itself in k runs, the last one padded with zeros to an even length, and the others are
//! Reed-Solomon shares of them. So a reader that has the first k shards decodes nothing.
//!
//! Cost: k = 1 shares one buffer; encode 0.06 to 0.09 ns a byte, decode with losses about 0.4.

use bytes::{Bytes, BytesMut};
use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

use crate::redundancy::Redundancy;

/// A sealed chunk shorter than this is not worth splitting: it is kept as copies that survive as many losses.
pub const SPLIT_FROM_BYTES: usize = 64 << 10;

/// Shards that do not make a chunk.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ErasureError {
    #[error("{have} shards are there, {need} are needed")]
    TooFew { have: usize, need: usize },
    #[error("shard {index} has {len} bytes instead of {expected}")]
    Length { index: u8, len: usize, expected: usize },
    #[error("shard {index} is outside of {redundancy}")]
    Index { index: u8, redundancy: Redundancy },
    #[error("the code refused: {0}")]
    Code(#[from] reed_solomon_simd::Error),
}

/// The redundancy at which a sealed chunk of this length is really kept.
#[must_use]
pub fn effective(wanted: Redundancy, sealed_len: usize) -> Redundancy {
    if wanted.k() == 1 || sealed_len >= SPLIT_FROM_BYTES {
        return wanted;
    }
    let copies = u8::try_from(wanted.losses() + 1).unwrap_or(u8::MAX);
    Redundancy::new(1, copies).unwrap_or(wanted)
}

/// Length of each shard of a sealed chunk.
#[must_use]
pub fn shard_len(redundancy: Redundancy, sealed_len: usize) -> usize {
    match redundancy.k() {
        1 => sealed_len,
        k => sealed_len.div_ceil(k).next_multiple_of(2).max(2),
    }
}

/// All n shards, in the order of their index. Copies share the buffer.
///
/// # Errors
/// [`ErasureError::Code`] never for a valid redundancy.
pub fn split(sealed: &Bytes, redundancy: Redundancy) -> Result<Vec<Bytes>, ErasureError> {
    let (k, n) = (redundancy.k(), redundancy.n());
    if k == 1 {
        return Ok(vec![sealed.clone(); n]);
    }
    let len = shard_len(redundancy, sealed.len());
    let mut shards = Vec::with_capacity(n);
    for i in 0..k {
        let from = (i * len).min(sealed.len());
        let to = ((i + 1) * len).min(sealed.len());
        let run = sealed.slice(from..to);
        shards.push(if run.len() == len { run } else { padded(&run, len) });
    }
    if n > k {
        let mut encoder = ReedSolomonEncoder::new(k, n - k, len)?;
        for shard in &shards {
            encoder.add_original_shard(shard)?;
        }
        let encoded = encoder.encode()?;
        shards.extend(encoded.recovery_iter().map(Bytes::copy_from_slice));
    }
    Ok(shards)
}

fn padded(run: &Bytes, len: usize) -> Bytes {
    let mut shard = BytesMut::zeroed(len);
    for (to, from) in shard.iter_mut().zip(run) {
        *to = *from;
    }
    shard.freeze()
}

/// The sealed chunk from any k of its shards.
///
/// Whether the shards are the right ones is not known here: what comes out is opened against a digest.
///
/// # Errors
/// When fewer than k different shards are given, or one has not the length that it must have.
pub fn join(shards: &[(u8, Bytes)], redundancy: Redundancy, sealed_len: usize) -> Result<Bytes, ErasureError> {
    let (k, n) = (redundancy.k(), redundancy.n());
    let len = shard_len(redundancy, sealed_len);
    let mut by_index: Vec<Option<&Bytes>> = vec![None; n];
    for (index, shard) in shards {
        let Some(slot) = by_index.get_mut(usize::from(*index)) else {
            return Err(ErasureError::Index { index: *index, redundancy });
        };
        if shard.len() != len {
            return Err(ErasureError::Length { index: *index, len: shard.len(), expected: len });
        }
        *slot = Some(shard);
    }
    let have = by_index.iter().flatten().count();
    if have < k {
        return Err(ErasureError::TooFew { have, need: k });
    }
    if k == 1 {
        return Ok(by_index.into_iter().flatten().next().cloned().unwrap_or_default());
    }
    let (originals, recovery) = by_index.split_at(k);
    let mut whole = BytesMut::with_capacity(k * len);
    if originals.iter().all(Option::is_some) {
        for shard in originals.iter().flatten() {
            whole.extend_from_slice(shard);
        }
    } else {
        let mut decoder = ReedSolomonDecoder::new(k, n - k, len)?;
        for (i, shard) in originals.iter().enumerate() {
            if let Some(shard) = shard {
                decoder.add_original_shard(i, shard)?;
            }
        }
        for (i, shard) in recovery.iter().enumerate() {
            if let Some(shard) = shard {
                decoder.add_recovery_shard(i, shard)?;
            }
        }
        let restored = decoder.decode()?;
        for (i, shard) in originals.iter().enumerate() {
            match shard {
                Some(shard) => whole.extend_from_slice(shard),
                None => whole.extend_from_slice(
                    restored.restored_original(i).ok_or(ErasureError::TooFew { have: k - 1, need: k })?,
                ),
            }
        }
    }
    whole.truncate(sealed_len);
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(len: usize) -> Bytes {
        (0..len).map(|i| u8::try_from(i * 31 % 251).unwrap()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_k_shards_make_the_chunk(k in 1_u8..8, extra in 0_u8..5, len in 1_usize..5_000, order in any::<u64>()) {
            let redundancy = Redundancy::new(k, k + extra).unwrap();
            let sealed = bytes(len);
            let mut shards: Vec<_> = (0_u8..).zip(split(&sealed, redundancy).unwrap()).collect();
            prop_assert_eq!(shards.len(), redundancy.n());
            shards.sort_by_key(|(i, _)| u64::from(*i).wrapping_mul(order | 1).rotate_left(17));
            shards.truncate(redundancy.k());
            prop_assert_eq!(join(&shards, redundancy, len).unwrap(), sealed);
            shards.pop();
            prop_assert!(join(&shards, redundancy, len).is_err());
        }
    }

    #[test]
    fn wrong_lengths_and_indices_are_refused() {
        let redundancy = Redundancy::new(2, 3).unwrap();
        let shards = split(&bytes(100), redundancy).unwrap();
        assert!(matches!(
            join(&[(0, shards[0].slice(1..)), (1, shards[1].clone())], redundancy, 100),
            Err(ErasureError::Length { index: 0, .. })
        ));
        assert!(matches!(join(&[(3, shards[0].clone())], redundancy, 100), Err(ErasureError::Index { .. })));
        let twice = [(1, shards[1].clone()), (1, shards[1].clone())];
        assert!(matches!(join(&twice, redundancy, 100), Err(ErasureError::TooFew { have: 1, need: 2 })));
    }

    #[test]
    fn small_chunks_are_copied_instead_of_split() {
        let wanted = Redundancy::new(4, 6).unwrap();
        assert_eq!(effective(wanted, 1_000), Redundancy::new(1, 3).unwrap());
        assert_eq!(effective(wanted, SPLIT_FROM_BYTES), wanted);
        assert_eq!(effective(Redundancy::DEFAULT, 10), Redundancy::DEFAULT);
    }
}
