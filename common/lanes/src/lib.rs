//! Lanes: the blocks of up to four messages go through SHA-1's compression at once, on one core.
//!
//! What one message costs is how long the CPU's instructions take one after another, each waiting for the one before; those of other
//! messages fit in between. Measured on Zen 4: 0.51 ns a byte for one, 0.29 for two, 0.21 for four.
//!
//! Guarantees: the states become what compressing each message by itself gives. Where the CPU has no such instructions nothing is
//! done, and the caller is told.
//!
//! Non-goals: padding and single messages, which `common::address` does with the sha1 crate. No crate does several at once with these
//! instructions, which is why this is here.

/// The five words of a message's hash so far.
pub type State = [u32; 5];
/// What the compression takes at a time.
pub type Block = [u8; 64];

/// The most messages at once.
pub const LANES: usize = 4;

/// Compresses the blocks of each message into its state. False, and nothing is done, unless there are two to [`LANES`] of them, with
/// equally many blocks each, and the CPU has the instructions.
#[must_use]
pub fn compress_together(states: &mut [&mut State], blocks: &[&[Block]]) -> bool {
    let equal = blocks.iter().all(|of| Some(of.len()) == blocks.first().map(|first| first.len()));
    if states.len() != blocks.len() || !equal {
        return false;
    }
    supported::compress(states, blocks)
}

#[cfg(target_arch = "x86_64")]
mod supported {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x, _mm_setzero_si128,
        _mm_sha1msg1_epu32, _mm_sha1msg2_epu32, _mm_sha1nexte_epu32, _mm_sha1rnds4_epu32, _mm_shuffle_epi8,
        _mm_xor_si128,
    };

    use super::{Block, State};

    pub(super) fn compress(states: &mut [&mut State], blocks: &[&[Block]]) -> bool {
        if !(is_x86_feature_detected!("sha") && is_x86_feature_detected!("ssse3") && is_x86_feature_detected!("sse4.1"))
        {
            return false;
        }
        match (states, blocks) {
            ([a, b], [x, y]) => run([a, b], [x, y]),
            ([a, b, c], [x, y, z]) => run([a, b, c], [x, y, z]),
            ([a, b, c, d], [x, y, z, w]) => run([a, b, c, d], [x, y, z, w]),
            _ => return false,
        }
        true
    }

    #[expect(unsafe_code, reason = "functions with CPU features can be called in no other way")]
    fn run<const N: usize>(states: [&mut State; N], blocks: [&[Block]; N]) {
        // SAFETY: its only demand is that the CPU has the features that it names, and `compress` has just asked for each.
        unsafe { lanes(states, blocks) }
    }

    /// The rounds of FIPS 180-4, four at a time: `abcd` and `e` are the working variables, `words` the last sixteen words of the message
    /// schedule, four a register.
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn lanes<const N: usize>(states: [&mut State; N], blocks: [&[Block]; N]) {
        let zero = _mm_setzero_si128();
        let (mut abcd, mut e) = ([zero; N], [zero; N]);
        for ((state, abcd), e) in states.iter().zip(&mut abcd).zip(&mut e) {
            let [a, b, c, d, last] = state.map(u32::cast_signed);
            (*abcd, *e) = (_mm_set_epi32(a, b, c, d), _mm_set_epi32(last, 0, 0, 0));
        }
        let mut all = blocks.map(|of| of.iter());
        let count = blocks.iter().map(|of| of.len()).min().unwrap_or(0);
        for _ in 0..count {
            let (abcd_before, e_before) = (abcd, e);
            let mut words = [[zero; 4]; N];
            for (words, of) in words.iter_mut().zip(&mut all) {
                if let Some(block) = of.next() {
                    *words = load(block);
                }
            }
            let mut before = [zero; N];
            // Four rounds with the constant and function of their fifth of all rounds.
            macro_rules! rounds {
                ($function:literal: $($group:literal)*) => { $(
                    for lane in 0..N {
                        let w = words[lane][$group % 4];
                        let with = match $group {
                            0 => _mm_add_epi32(e[lane], w),
                            _ => _mm_sha1nexte_epu32(before[lane], w),
                        };
                        before[lane] = abcd[lane];
                        abcd[lane] = _mm_sha1rnds4_epu32::<$function>(abcd[lane], with);
                        if $group < 16 {
                            let one = _mm_sha1msg1_epu32(w, words[lane][($group + 1) % 4]);
                            let two = _mm_xor_si128(one, words[lane][($group + 2) % 4]);
                            words[lane][$group % 4] = _mm_sha1msg2_epu32(two, words[lane][($group + 3) % 4]);
                        }
                    }
                )* };
            }
            rounds!(0: 0 1 2 3 4);
            rounds!(1: 5 6 7 8 9);
            rounds!(2: 10 11 12 13 14);
            rounds!(3: 15 16 17 18 19);
            for lane in 0..N {
                e[lane] = _mm_sha1nexte_epu32(before[lane], e_before[lane]);
                abcd[lane] = _mm_add_epi32(abcd[lane], abcd_before[lane]);
            }
        }
        for ((state, abcd), e) in states.into_iter().zip(abcd).zip(e) {
            *state = [
                _mm_extract_epi32::<3>(abcd),
                _mm_extract_epi32::<2>(abcd),
                _mm_extract_epi32::<1>(abcd),
                _mm_extract_epi32::<0>(abcd),
                _mm_extract_epi32::<3>(e),
            ]
            .map(i32::cast_unsigned);
        }
    }

    /// The sixteen big-endian words of a block, the first in the highest place.
    #[target_feature(enable = "ssse3")]
    fn load(block: &Block) -> [__m128i; 4] {
        let mut words = [_mm_setzero_si128(); 4];
        let (halves, _) = block.as_chunks::<8>();
        let (quarters, _) = halves.as_chunks::<2>();
        for (word, [low, high]) in words.iter_mut().zip(quarters) {
            let turned = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
            *word = _mm_shuffle_epi8(_mm_set_epi64x(i64::from_le_bytes(*high), i64::from_le_bytes(*low)), turned);
        }
        words
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod supported {
    use super::{Block, State};

    pub(super) fn compress(_: &mut [&mut State], _: &[&[Block]]) -> bool {
        false
    }
}
