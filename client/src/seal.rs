//! Seal: from plain bytes to ciphertext that may leave the machine, and back to bytes that may be handed on.
//!
//! Guarantees, by types: [`seal`] (and the pack builder, with the same function) is the only maker of [`Sealed`], which is all
//! that the sender takes; [`open`] and [`Opening`] are the only makers of [`Verified`], which is all that the writer takes, and decrypt and
//! verify in one, so nothing decrypted but unverified can be had. A key is derived from the very body it encrypts:
//! one key, one message, so the counter may begin at zero. Layout and derivations: docs/FORMATS.md.
//!
//! A body is compressed where that pays (`compress`); the id is that of the content in either case, and the digest as well.
//!
//! Sketch, one core, ns a byte: BLAKE3 0.15 for naming, AES-256-CTR 0.21 in place, no copy. The key costs no second pass where the
//! body is the content, since its digest is that of the content.
//!
//! Non-goals: hiding lengths.

pub mod aead;
mod buffer;
mod chunk_key;
mod compress;
mod integrity;
mod opening;

use std::fmt;
use std::ops::DerefMut;

use aes::Aes256;
use bytes::Bytes;
use cipher::{KeyIvInit, StreamCipher};
use common::id::ChunkId;
use common::limits::CHUNK_BYTES;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

pub(crate) use buffer::BLOCK;
pub use buffer::{Buffer, Pool};
pub(crate) use chunk_key::reseal_chunk_key;
pub use chunk_key::{open_chunk_key, seal_chunk_key};
pub use compress::LEVEL as ZSTD_LEVEL;
pub use integrity::IntegrityError;
pub use opening::Opening;

use crate::keys::{KEY_BYTES, Keys};

/// AES-256 in counter mode. The counter's 64 low bits never carry into the high ones at our lengths, where this is faster than,
/// and equal to, a counter of 128 bits.
type Ctr = ctr::Ctr64BE<Aes256>;

/// What two passes over bytes handle at a time, so that the second finds them in the core's cache. A power of two, for the tree of
/// BLAKE3, and whole blocks of the cipher.
pub(crate) const HOT_BYTES: usize = 128 << 10;

/// BLAKE3 of plain content. As good as the content to whoever guesses it, so it stays in sealed manifests.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    #[must_use]
    pub fn of(plain: &[u8]) -> Self {
        Self(*blake3::hash(plain).as_bytes())
    }

    /// The keyed name of the chunk with this content.
    #[must_use]
    pub fn chunk_id(&self, keys: &Keys) -> ChunkId {
        let hash = blake3::keyed_hash(&keys.id, &self.0);
        let mut id = [0; ChunkId::LEN];
        for (to, from) in id.iter_mut().zip(hash.as_bytes()) {
            *to = *from;
        }
        ChunkId(id)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

/// How a body was made from plain content. Numbers are append-only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Codec {
    /// The body is the content.
    Plain,
    /// The body is one zstd frame (RFC 8878) of the content.
    Zstd,
}

/// Whether bodies are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Compression {
    /// Where it pays.
    #[default]
    Auto,
    Never,
}

impl Codec {
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Plain => 0,
            Self::Zstd => 1,
        }
    }

    /// # Errors
    /// [`IntegrityError::UnknownCodec`] for what this program cannot decode.
    pub fn from_number(number: u8) -> Result<Self, IntegrityError> {
        match number {
            0 => Ok(Self::Plain),
            1 => Ok(Self::Zstd),
            codec => Err(IntegrityError::UnknownCodec { codec }),
        }
    }
}

/// The key of one sealed run: opens it and nothing else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct ExtentKey(pub [u8; KEY_BYTES]);

impl fmt::Debug for ExtentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExtentKey(..)")
    }
}

/// What it takes to open one sealed run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Secret {
    pub codec: Codec,
    pub key: ExtentKey,
    /// Bytes of the sealed run: as many as its body has.
    pub len: u32,
}

/// Plain content of one chunk, with its digest: named, not sealed yet.
pub struct Plain {
    buffer: Buffer,
    digest: Digest,
}

impl Plain {
    /// Computes the digest.
    #[must_use]
    pub fn new(buffer: Buffer) -> Self {
        let digest = Digest::of(&buffer);
        Self { buffer, digest }
    }

    /// For the cutter, which computes the digest while it reads.
    pub(crate) fn hashed(buffer: Buffer, hasher: &blake3::Hasher) -> Self {
        Self { buffer, digest: Digest(*hasher.finalize().as_bytes()) }
    }

    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    #[cfg(test)]
    pub(crate) fn content(&self) -> &[u8] {
        &self.buffer
    }

    #[must_use]
    pub fn chunk_id(&self, keys: &Keys) -> ChunkId {
        self.digest.chunk_id(keys)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plain({} bytes)", self.len())
    }
}

/// A sealed chunk: ciphertext under its id. All that may be sent.
#[derive(Clone, Debug)]
pub struct Sealed {
    chunk: ChunkId,
    bytes: Bytes,
}

impl Sealed {
    #[must_use]
    pub fn chunk(&self) -> ChunkId {
        self.chunk
    }

    /// The ciphertext; clones share it.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// For the pack builder, whose bytes all went through [`seal_run`].
    pub(crate) fn pack(chunk: ChunkId, buffer: Buffer) -> Self {
        Self { chunk, bytes: buffer.freeze() }
    }
}

/// Content that was checked against its digest. All that may be handed to the user.
#[derive(Clone)]
pub struct Verified(Bytes);

impl Verified {
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verified({} bytes)", self.0.len())
    }
}

/// Seals a chunk, compressed where that pays.
#[must_use]
pub fn seal(plain: Plain, keys: &Keys) -> (Sealed, Secret) {
    seal_as(plain, keys, Compression::Auto)
}

/// Seals a chunk: in place, unless it becomes shorter.
#[must_use]
pub fn seal_as(plain: Plain, keys: &Keys, compression: Compression) -> (Sealed, Secret) {
    let Plain { mut buffer, digest } = plain;
    let chunk = digest.chunk_id(keys);
    let mut body = Body { codec: Codec::Plain, digest };
    if compression == Compression::Auto {
        let mut shorter = buffer.sibling();
        if compress::compress(&buffer, &mut shorter).is_some() {
            body = Body::compressed(&shorter);
            buffer = shorter;
        }
    }
    let secret = seal_run(&mut buffer, body, keys);
    (Sealed { chunk, bytes: buffer.freeze() }, secret)
}

/// What a run's key is made of: the digest of the very bytes that are encrypted.
#[derive(Clone, Copy)]
struct Body {
    codec: Codec,
    digest: Digest,
}

impl Body {
    fn compressed(body: &[u8]) -> Self {
        Self { codec: Codec::Zstd, digest: Digest::of(body) }
    }
}

/// Seals content behind what is in the buffer, compressed where that pays. `None` when the buffer has no room for it.
pub(crate) fn seal_behind(
    buffer: &mut Buffer,
    content: &[u8],
    digest: Digest,
    keys: &Keys,
    compression: Compression,
) -> Option<Secret> {
    let from = buffer.len();
    let shorter = match compression {
        Compression::Auto => compress::compress(content, buffer),
        Compression::Never => None,
    };
    let codec = if shorter.is_some() { Codec::Zstd } else { Codec::Plain };
    if shorter.is_none() && buffer.append(content) < content.len() {
        return None;
    }
    let run = buffer.get_mut(from..)?;
    let digest = if codec == Codec::Plain { digest } else { Digest::of(run) };
    Some(seal_run(run, Body { codec, digest }, keys))
}

/// Seals a run in place.
fn seal_run(run: &mut [u8], body: Body, keys: &Keys) -> Secret {
    let key = blake3::keyed_hash(&keys.convergence, &body.digest.0);
    let key = ExtentKey(*key.as_bytes());
    apply(run, &key);
    Secret { codec: body.codec, key, len: u32::try_from(run.len()).unwrap_or(u32::MAX) }
}

fn apply(run: &mut [u8], key: &ExtentKey) {
    Ctr::new((&key.0).into(), &[0; 16].into()).apply_keystream(run);
}

/// Decrypts and verifies a sealed run. What a peer truncated, lengthened or changed does not pass.
///
/// # Errors
/// [`IntegrityError::Digest`] when this is not the content that the digest was made of.
pub fn open<B>(sealed: B, secret: &Secret, digest: &Digest) -> Result<Verified, IntegrityError>
where
    B: DerefMut<Target = [u8]> + Into<Bytes>,
{
    open_in(sealed, secret, digest, CHUNK_BYTES, || Buffer::with_room(CHUNK_BYTES))
}

/// The same: in place, or in `room`, where the body is shorter than its content. No more than `most` bytes of content are made.
pub(crate) fn open_in<B>(
    mut sealed: B,
    secret: &Secret,
    digest: &Digest,
    most: usize,
    room: impl FnOnce() -> Buffer,
) -> Result<Verified, IntegrityError>
where
    B: DerefMut<Target = [u8]> + Into<Bytes>,
{
    match secret.codec {
        Codec::Plain => open_in_place(&mut sealed, &secret.key, digest).map(|()| Verified(sealed.into())),
        Codec::Zstd => {
            apply(&mut sealed, &secret.key);
            decompressed(&sealed, digest, most, room)
        }
    }
}

fn decompressed(
    body: &[u8],
    digest: &Digest,
    most: usize,
    room: impl FnOnce() -> Buffer,
) -> Result<Verified, IntegrityError> {
    let mut content = room();
    compress::decompress(body, &mut content, most)?;
    if Digest::of(&content) != *digest {
        content.zeroize();
        return Err(IntegrityError::Digest);
    }
    Ok(Verified(content.into()))
}

fn open_in_place(run: &mut [u8], key: &ExtentKey, digest: &Digest) -> Result<(), IntegrityError> {
    let mut cipher = Ctr::new((&key.0).into(), &[0; 16].into());
    let mut hasher = blake3::Hasher::new();
    // What was decrypted is hashed while it is in the core's cache.
    for part in run.chunks_mut(HOT_BYTES) {
        cipher.apply_keystream(part);
        hasher.update(part);
    }
    if hasher.finalize() != blake3::Hash::from_bytes(digest.0) {
        run.zeroize();
        return Err(IntegrityError::Digest);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::MasterKey;
    use bytes::BytesMut;
    use proptest::prelude::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    fn keys() -> Keys {
        MasterKey([7; 32]).derive()
    }

    #[test]
    fn the_cipher_is_aes_256_ctr_of_nist() {
        // SP 800-38A, F.5.5.
        let key = [
            0x60, 0x3d, 0xeb, 0x10, 0x15, 0xca, 0x71, 0xbe, 0x2b, 0x73, 0xae, 0xf0, 0x85, 0x7d, 0x77, 0x81, 0x1f, 0x35,
            0x2c, 0x07, 0x3b, 0x61, 0x08, 0xd7, 0x2d, 0x98, 0x10, 0xa3, 0x09, 0x14, 0xdf, 0xf4,
        ];
        let iv: [u8; 16] = std::array::from_fn(|i| 0xf0 + u8::try_from(i).unwrap());
        let mut block =
            [0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96, 0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93, 0x17, 0x2a];
        Ctr::new(&key.into(), &iv.into()).apply_keystream(&mut block);
        assert_eq!(hex(&block), "601ec313775789a5b7a7f504bbf3d228");
    }

    #[test]
    fn a_counter_of_64_bits_equals_one_of_128_at_the_longest_chunk() {
        let mut narrow = vec![0; common::limits::CHUNK_BYTES + 5];
        let mut wide = narrow.clone();
        Ctr::new(&[9; 32].into(), &[0; 16].into()).apply_keystream(&mut narrow);
        ctr::Ctr128BE::<Aes256>::new(&[9; 32].into(), &[0; 16].into()).apply_keystream(&mut wide);
        assert!(narrow == wide);
    }

    #[test]
    fn golden_bytes_of_a_sealed_chunk() {
        let plain = Plain::new(Buffer::from(b"shoal".to_vec()));
        assert_eq!(hex(&plain.digest().0)[..16], *"86ed170f3f7aa67d");
        let (sealed, secret) = seal(plain, &keys());
        let golden = (sealed.chunk().to_string(), hex(sealed.bytes()), hex(&secret.key.0));
        assert_eq!(
            golden,
            (
                "df740bee0e1a5e43f2f89c6c742994315cda7874".to_owned(),
                "62300f4797".to_owned(),
                "fbc1d0e24ff4fa9ab9184c0286ce6398e357559f88ecf53ea161b66c91a4dcd7".to_owned()
            )
        );
    }

    #[test]
    fn another_account_names_and_seals_the_same_content_otherwise() {
        let other = MasterKey([8; 32]).derive();
        let (a, _) = seal(Plain::new(Buffer::from(vec![1; 99])), &keys());
        let (b, _) = seal(Plain::new(Buffer::from(vec![1; 99])), &other);
        assert!(a.chunk() != b.chunk() && a.bytes() != b.bytes());
    }

    #[test]
    fn nothing_secret_is_printed_and_unknown_codecs_are_named() {
        let (_, secret) = seal(Plain::new(Buffer::from(vec![1; 99])), &keys());
        assert_eq!(format!("{secret:?}"), "Secret { codec: Zstd, key: ExtentKey(..), len: 17 }");
        assert!(matches!(Codec::from_number(2), Err(IntegrityError::UnknownCodec { codec: 2 })));
    }

    proptest! {
        #[test]
        fn sealing_returns_the_content_and_every_change_is_noticed(
            content in prop::collection::vec(any::<u8>(), 1..200), times in 1_usize..9, never in any::<bool>(),
            at in any::<prop::sample::Index>(), flip in 1_u8..,
        ) {
            let content = content.repeat(times);
            let plain = Plain::new(Buffer::from(content.clone()));
            let (digest, chunk) = (plain.digest(), plain.chunk_id(&keys()));
            let compression = if never { Compression::Never } else { Compression::Auto };
            let (sealed, secret) = seal_as(plain, &keys(), compression);
            prop_assert!(sealed.chunk() == chunk && sealed.bytes().len() == secret.len as usize);
            prop_assert_eq!(secret.codec == Codec::Zstd, sealed.bytes().len() < content.len());
            let good = BytesMut::from(&sealed.bytes()[..]);
            let opened = open(good.clone(), &secret, &digest).unwrap();
            prop_assert_eq!(&opened.bytes()[..], &content[..]);
            let mut bad = good.clone();
            bad[at.index(good.len())] ^= flip;
            prop_assert!(open(bad, &secret, &digest).is_err() || secret.codec == Codec::Zstd);
            let mut short = good.clone();
            short.truncate(at.index(good.len()));
            prop_assert!(open(short, &secret, &digest).is_err());
            let mut long = good;
            long.extend_from_slice(&[flip]);
            prop_assert!(open(long, &secret, &digest).is_err());
        }

        #[test]
        fn what_arrives_in_pieces_is_opened_as_if_it_came_at_once(
            mut content in prop::collection::vec(any::<u8>(), 1..200), len in 1..3 * HOT_BYTES, never in any::<bool>(),
            pieces in prop::collection::vec(1_usize..40_000, 1..9), at in any::<prop::sample::Index>(), flip in 1_u8..,
        ) {
            content = content.repeat(len.div_ceil(content.len()));
            let plain = Plain::new(Buffer::from(content.clone()));
            let digest = plain.digest();
            let compression = if never { Compression::Never } else { Compression::Auto };
            let (sealed, secret) = seal_as(plain, &keys(), compression);
            let arrive = |sealed: &[u8]| {
                let mut opening = Opening::new(secret.clone(), digest, Buffer::with_room(secret.len as usize + 1));
                let (mut rest, mut sizes) = (sealed, pieces.iter().cycle());
                while !rest.is_empty() {
                    let (piece, later) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                    assert_eq!(opening.take(piece), piece.len());
                    rest = later;
                }
                opening.finish(content.len(), || Buffer::with_room(content.len()))
            };
            let good = sealed.bytes().to_vec();
            prop_assert!(arrive(&good).unwrap().bytes()[..] == content[..]);
            let mut bad = good.clone();
            bad[at.index(good.len())] ^= flip;
            prop_assert!(arrive(&bad).is_err() || secret.codec == Codec::Zstd);
            let found = at.index(good.len());
            let long = [&good[..], &[flip]].concat();
            for (len, wrong) in [(found, arrive(&good[..found])), (long.len(), arrive(&long))] {
                let noticed = matches!(wrong, Err(IntegrityError::Length { found, .. }) if found == len);
                prop_assert!(noticed, "{} bytes", len);
            }
        }
    }
}
