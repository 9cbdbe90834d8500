//! Compress: a body that is shorter than its content, where that pays; and back.
//!
//! Guarantees: what does not become a sixteenth shorter stays as it is; what most likely does not is found out from a sample of it, so
//! random or already compressed content costs about nothing. Going back writes into the room that was given, and never beyond: a frame
//! that claims to be longer than that is refused, and nothing is allocated on its word.
//!
//! One zstd frame a run, level 1: level 3 takes 1.4 to 1.7 times as long for an eighth less. The C library: the one in Rust takes 4 to 6
//! times as long in both directions. Figures: docs/CHUNKS.md.
//!
//! Sketch, ns a byte: a look at random content 0.01, at 4 KiB of it 0.2; compressing text or programs 1.9 to 2.3, and back 0.6 to 0.8.
//!
//! Non-goals: hiding how well something compresses. Lengths show that; who minds puts with `--no-compress`.

use std::sync::{Mutex, PoisonError};

use zstd::bulk::{Compressor, Decompressor};

use super::IntegrityError;
use super::buffer::Buffer;

/// See above.
pub const LEVEL: i32 = 1;

/// Content below this length has nothing to give.
const LEAST_BYTES: usize = 64;
/// Of content up to this length bytes are counted, since trying a part of it would not cost much less than trying it.
const COUNTED_BYTES: usize = 64 << 10;
/// How many bytes are counted.
const COUNTED: u32 = 1_024;
/// Of longer content so many pieces are tried, evenly spread.
const PIECES: usize = 8;
const PIECE_BYTES: usize = 4 << 10;
/// Contexts that wait for their next use, of about 1 MiB each: as many as cores seal at once, on most machines.
const KEPT: usize = 8;

static COMPRESSORS: Idle<Compressor<'static>> = Idle::new();
static DECOMPRESSORS: Idle<Decompressor<'static>> = Idle::new();

/// Contexts that nobody uses right now: making one costs more than a small file does.
struct Idle<T>(Mutex<Vec<T>>);

impl<T> Idle<T> {
    const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    fn with<R>(&self, make: impl FnOnce() -> std::io::Result<T>, work: impl FnOnce(&mut T) -> R) -> Option<R> {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut context = match idle {
            Some(context) => context,
            None => make().ok()?,
        };
        let result = work(&mut context);
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push(context);
        }
        Some(result)
    }
}

/// What a body of so much content must not exceed.
const fn most(len: usize) -> usize {
    len - len / 16
}

/// Writes the compressed body behind what is in the buffer; its length, or `None` when it does not pay and nothing was written.
pub(crate) fn compress(content: &[u8], to: &mut Buffer) -> Option<usize> {
    if content.len() < LEAST_BYTES || !is_promising(content) {
        return None;
    }
    let room = to.room();
    let end = room.len().min(most(content.len()));
    let body = try_into(content, room.get_mut(..end)?)?;
    to.fill(body);
    Some(body)
}

/// The length of the frame, if it fits.
fn try_into(content: &[u8], room: &mut [u8]) -> Option<usize> {
    COMPRESSORS.with(|| Compressor::new(LEVEL), |context| context.compress_to_buffer(content, room).ok()).flatten()
}

/// Whether a sample speaks for trying.
fn is_promising(content: &[u8]) -> bool {
    if content.len() <= COUNTED_BYTES { !looks_random(content) } else { pieces_compress(content) }
}

/// Whether bytes are as evenly distributed as chance would have them: pairs of equal ones are no more than a quarter too many, which for
/// 1,024 random bytes would be a deviation of more than ten sigma.
fn looks_random(content: &[u8]) -> bool {
    let mut counts = [0_u32; 256];
    // An odd stride, so that no column of a table is counted alone.
    for byte in content.iter().step_by((content.len() / COUNTED as usize) | 1) {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let counted: u32 = counts.iter().sum();
    let pairs: u32 = counts.iter().map(|count| count * count.saturating_sub(1)).sum();
    // Of few bytes nothing can be said.
    counted >= COUNTED / 4 && pairs < counted * (counted - 1) / 256 * 5 / 4
}

/// Whether pieces of long content compress.
fn pieces_compress(content: &[u8]) -> bool {
    let mut sample = Vec::with_capacity(PIECES * PIECE_BYTES);
    let stride = content.len() / PIECES;
    for piece in content.chunks(stride.max(PIECE_BYTES)).take(PIECES) {
        sample.extend_from_slice(piece.get(..PIECE_BYTES).unwrap_or(piece));
    }
    let mut room = vec![0; most(sample.len())];
    try_into(&sample, &mut room).is_some()
}

/// Decompresses one frame behind what is in the buffer, at most `most` bytes of it.
///
/// # Errors
/// When it is no frame, or longer than that.
pub(crate) fn decompress(body: &[u8], to: &mut Buffer, most: usize) -> Result<(), IntegrityError> {
    let room = to.room();
    let end = room.len().min(most);
    let room = room.get_mut(..end).unwrap_or_default();
    let done = DECOMPRESSORS.with(Decompressor::new, |context| context.decompress_to_buffer(body, room).ok());
    to.fill(done.flatten().ok_or(IntegrityError::Frame)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::Pool;
    use proptest::prelude::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut bytes);
        bytes
    }

    fn compressed(content: &[u8]) -> Option<Vec<u8>> {
        let mut to = Pool::new(0).take();
        let len = compress(content, &mut to);
        assert_eq!(len.unwrap_or(0), to.len());
        len.map(|_| to.to_vec())
    }

    #[test]
    fn what_does_not_become_shorter_is_left_as_it_is() {
        for len in [0, 1, 63, 64, 300, 4_096, COUNTED_BYTES, COUNTED_BYTES + 1, 2 << 20] {
            assert!(compressed(&noise(len)).is_none(), "{len} random bytes");
        }
        for text in [&include_bytes!("compress.rs")[..], &include_bytes!("compress.rs")[..999]] {
            assert!(!looks_random(text) && compressed(text).unwrap().len() < text.len() * 3 / 4);
        }
        assert!(looks_random(&noise(300)) && looks_random(&noise(4_096)));
        let once = compressed(include_bytes!("compress.rs")).unwrap();
        assert!(compressed(&once).is_none(), "what is compressed is not compressed again");
    }

    #[test]
    fn content_that_is_half_noise_is_compressed_wherever_the_noise_lies() {
        let (noise, quiet) = (noise(1 << 20), vec![7; 1 << 20]);
        for content in [[noise.clone(), quiet.clone()].concat(), [quiet, noise].concat()] {
            let body = compressed(&content).unwrap();
            assert!((1 << 20..(1 << 20) + 9_999).contains(&body.len()), "{}", body.len());
        }
    }

    #[test]
    fn a_frame_that_is_longer_than_it_should_be_is_refused_whatever_it_claims() {
        let body = compressed(&vec![0; 8 << 20]).unwrap();
        assert!(body.len() < 1_000);
        let mut small = Buffer::with_room(100);
        assert!(matches!(decompress(&body, &mut small, 8 << 20), Err(IntegrityError::Frame)));
        let mut to = Pool::new(0).take();
        assert!(decompress(&body, &mut to, (8 << 20) - 1).is_err() && to.is_empty());
        decompress(&body, &mut to, 8 << 20).unwrap();
        assert!(to.len() == 8 << 20 && to.iter().all(|byte| *byte == 0));
        // Nor is there room for another one behind it.
        let twice = [body.clone(), body].concat();
        assert!(decompress(&twice, &mut Pool::new(0).take(), 8 << 20).is_err());
    }

    proptest! {
        #[test]
        fn bytes_that_are_no_frame_are_refused_and_nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut to = Buffer::with_room(1_000);
            if decompress(&bytes, &mut to, 1_000).is_ok() {
                prop_assert!(to.len() <= 1_000);
            }
            let framed = [&[0x28, 0xb5, 0x2f, 0xfd][..], &bytes].concat();
            let _ = decompress(&framed, &mut to, 1_000);
            prop_assert!(to.len() <= 1_000);
        }

        #[test]
        fn whatever_is_compressed_comes_back(
            words in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 1..30),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..2_000),
        ) {
            let content: Vec<u8> = order.iter().flat_map(|at| at.get(&words).clone()).collect();
            if let Some(body) = compressed(&content) {
                prop_assert!(body.len() <= most(content.len()));
                let mut to = Buffer::with_room(content.len());
                decompress(&body, &mut to, content.len()).unwrap();
                prop_assert_eq!(&to[..], &content[..]);
            }
        }
    }
}
