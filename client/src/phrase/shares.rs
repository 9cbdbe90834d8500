//! Shares: the master key split into m shares of words, any n of which give it back, and fewer of which say nothing about it.
//!
//! Shamir's scheme over GF(256), each byte of the key for itself (crate vsss-rs). A share is 30 words of the list that the recovery
//! phrase has, too: its set, how many are needed, its number, 32 bytes, and a checksum. So a typing error, a share of another
//! set and too few of them are told apart before anything is computed. Layout: docs/FORMATS.md.
//!
//! Guarantees: with more shares than needed all must agree. Non-goals: finding out who of the keepers gave a forged share; the
//! account's [`key_check`](MasterKey::key_check) notices a wrong key, as with a wrong phrase.

use std::fmt;

use bip39::Language;
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use vsss_rs::Gf256;
use zeroize::{Zeroize, Zeroizing};

use crate::keys::{KEY_BYTES, MasterKey, random};

/// Words of a share.
pub const WORDS: usize = 30;
/// So many people can be asked to keep one.
pub const MOST: u8 = 32;
/// Fewer needed than two would be copies of the phrase.
pub const LEAST: u8 = 2;

const FORMAT: u8 = 1;
const SET_BYTES: usize = 3;
const CHECK_BYTES: usize = 3;
const BODY_BYTES: usize = 1 + SET_BYTES + 1 + 1 + KEY_BYTES;
const BYTES: usize = BODY_BYTES + CHECK_BYTES;
const WORD_BITS: usize = 11;
const CHECK_CONTEXT: &str = "shoal v1 phrase share check";
/// Longest text that is taken for shares: all of a set twice, with much around them.
pub const TEXT_BYTES: usize = 64 << 10;

/// One of a set.
#[derive(Clone, PartialEq, Eq)]
pub struct Share {
    set: [u8; SET_BYTES],
    needed: u8,
    index: u8,
    value: Zeroizing<[u8; KEY_BYTES]>,
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Share({}, needs {})", self.label(), self.needed)
    }
}

/// Why shares do not give a key. Words are secret and not repeated, apart from one that is in no list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    #[error(
        "{needed} of {shares} cannot be: from {LEAST} to {MOST} shares, and at least {LEAST} and at most all of them needed"
    )]
    Numbers { needed: u8, shares: u8 },
    #[error("there are no shares in it")]
    None,
    #[error("{which} has {found} words, and a share has {WORDS}")]
    Count { which: String, found: usize },
    #[error("{which}: word {position}, {word:?}, is not in the list of words; look for a typing error")]
    Word { which: String, position: usize, word: String },
    #[error("{which} is damaged: one of its words is wrong, or two are swapped")]
    Checksum { which: String },
    #[error("{which} is of a newer kind: use a newer program")]
    Newer { which: String },
    #[error("the words under {which} are those of share {found}")]
    Label { which: String, found: String },
    #[error("these are shares of {} different sets ({}), and only those of one set belong together", sets.len(), sets.join(", "))]
    Mixed { sets: Vec<String> },
    #[error("{needed} shares of set {set} are needed, and these are {found}")]
    TooFew { set: String, needed: u8, found: usize },
    #[error("the shares of set {set} contradict each other: one of them is forged")]
    Contradiction { set: String },
}

/// Splits a key into a new set of shares.
///
/// # Errors
/// [`ShareError::Numbers`].
///
/// # Panics
/// If the operating system has no randomness to give.
pub fn split(key: &MasterKey, needed: u8, shares: u8) -> Result<Vec<Share>, ShareError> {
    let refuse = || ShareError::Numbers { needed, shares };
    if !(LEAST..=shares).contains(&needed) || shares > MOST {
        return Err(refuse());
    }
    let set = random();
    let parts = Gf256::split_bytes(usize::from(needed), usize::from(shares), key.0, UnwrapErr(SysRng));
    let parts = Zeroizing::new(parts.map_err(|_| refuse())?);
    let share = |part: &Vec<u8>| {
        let (index, value) = part.split_first()?;
        let value = Zeroizing::new(value.try_into().ok()?);
        Some(Share { set, needed, index: *index, value })
    };
    parts.iter().map(share).collect::<Option<_>>().ok_or_else(refuse)
}

/// The key of a set.
///
/// # Errors
/// When the shares are of several sets, too few, or contradict each other.
pub fn combine(shares: &[Share]) -> Result<MasterKey, ShareError> {
    let mut sets: Vec<String> = Vec::new();
    let mut distinct: Vec<&Share> = Vec::new();
    for share in shares {
        if !sets.contains(&share.set()) {
            sets.push(share.set());
        }
        if !distinct.contains(&share) {
            distinct.push(share);
        }
    }
    let Some(first) = distinct.first() else { return Err(ShareError::None) };
    if sets.len() > 1 {
        return Err(ShareError::Mixed { sets });
    }
    let contradiction = || ShareError::Contradiction { set: first.set() };
    let same_index = |at: usize, share: &Share| distinct.iter().skip(at + 1).any(|other| other.index == share.index);
    if distinct.iter().enumerate().any(|(at, share)| share.needed != first.needed || same_index(at, share)) {
        return Err(contradiction());
    }
    let needed = usize::from(first.needed);
    let key = interpolate(distinct.get(..needed).unwrap_or_default());
    let too_few = ShareError::TooFew { set: first.set(), needed: first.needed, found: distinct.len() };
    let key = key.ok_or(too_few)?;
    // Every other share must lie on the same curve.
    for left_out in distinct.iter().skip(needed) {
        let others = distinct.iter().take(needed - 1).chain([left_out]).copied().collect::<Vec<_>>();
        if interpolate(&others).as_ref() != Some(&key) {
            return Err(contradiction());
        }
    }
    Ok(key)
}

/// `None` for fewer than two shares.
fn interpolate(shares: &[&Share]) -> Option<MasterKey> {
    let part = |share: &&Share| [&[share.index], share.value.as_slice()].concat();
    let parts: Zeroizing<Vec<Vec<u8>>> = Zeroizing::new(shares.iter().map(part).collect());
    let secret = Zeroizing::new(Gf256::combine_bytes(&*parts).ok()?);
    secret.as_slice().try_into().ok().map(MasterKey)
}

/// Reads shares as they were printed or typed: each begins with its label (`a1b2c3-4`), after an empty line, or when the one before
/// has all its words. Case and the space between words do not matter.
///
/// # Errors
/// What is wrong with the first that is no share.
pub fn read(text: &str) -> Result<Vec<Share>, ShareError> {
    let mut shares = Vec::new();
    let mut open = Draft::default();
    for line in text.lines() {
        if line.trim().is_empty() {
            open.finish_into(&mut shares)?;
        }
        for token in line.split_whitespace() {
            let label = label_of(token);
            if label.is_some() || open.words.len() == WORDS {
                open.finish_into(&mut shares)?;
            }
            match label {
                Some(_) => open.label = label,
                None => open.words.push(token.to_lowercase()),
            }
        }
    }
    open.finish_into(&mut shares)?;
    if shares.is_empty() { Err(ShareError::None) } else { Ok(shares) }
}

/// `a1b2c3-4`, with or without a colon behind it.
fn label_of(token: &str) -> Option<String> {
    let label = token.trim_end_matches(':').to_lowercase();
    let (set, index) = label.split_once('-')?;
    let numbers = |text: &str, radix| !text.is_empty() && text.chars().all(|c| c.is_digit(radix));
    (set.len() == 2 * SET_BYTES && numbers(set, 16) && numbers(index, 10)).then_some(label)
}

/// A share that is being read.
#[derive(Default)]
struct Draft {
    label: Option<String>,
    words: Zeroizing<Vec<String>>,
}

impl Draft {
    fn finish_into(&mut self, shares: &mut Vec<Share>) -> Result<(), ShareError> {
        let Self { label, words } = std::mem::take(self);
        if words.is_empty() && label.is_none() {
            return Ok(());
        }
        let which =
            label.as_ref().map_or_else(|| format!("share {}", shares.len() + 1), |label| format!("share {label}"));
        let share = Share::of_words(&words, &which)?;
        if label.is_some_and(|label| label != share.label()) {
            return Err(ShareError::Label { which, found: share.label() });
        }
        shares.push(share);
        Ok(())
    }
}

impl Share {
    /// What all shares of a set have in common.
    #[must_use]
    pub fn set(&self) -> String {
        self.set.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// For whoever keeps it: `a1b2c3-4`. It says nothing that the words do not say.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}-{}", self.set(), self.index)
    }

    /// Its words, one space between.
    #[must_use]
    pub fn words(&self) -> Zeroizing<String> {
        let mut bytes = self.body();
        let check = check(&bytes);
        bytes.extend_from_slice(&check);
        let list = Language::English.word_list();
        let word = |number: usize| {
            let bits = (0..WORD_BITS).map(|bit| bit_of(&bytes, number * WORD_BITS + bit));
            let index = bits.fold(0, |index, bit| index << 1 | usize::from(bit));
            list.get(index).copied().unwrap_or_default()
        };
        Zeroizing::new((0..WORDS).map(word).collect::<Vec<_>>().join(" "))
    }

    fn body(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(BYTES));
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.set);
        bytes.extend_from_slice(&[self.needed, self.index]);
        bytes.extend_from_slice(self.value.as_slice());
        bytes
    }

    fn of_words(words: &[String], which: &str) -> Result<Self, ShareError> {
        let which = || which.to_owned();
        if words.len() != WORDS {
            return Err(ShareError::Count { which: which(), found: words.len() });
        }
        let mut bits = Zeroizing::new(Vec::with_capacity(WORDS * WORD_BITS));
        for (at, word) in words.iter().enumerate() {
            let Some(index) = Language::English.find_word(word) else {
                let word = word.chars().take(32).collect();
                return Err(ShareError::Word { which: which(), position: at + 1, word });
            };
            bits.extend((0..WORD_BITS).rev().map(|bit| index >> bit & 1 == 1));
        }
        let byte = |bits: &[bool]| bits.iter().fold(0_u8, |byte, bit| byte << 1 | u8::from(*bit));
        let (bits, padding) = bits.split_at_checked(BYTES * 8).unwrap_or_default();
        let bytes: Zeroizing<Vec<u8>> = Zeroizing::new(bits.chunks(8).map(byte).collect());
        let (body, found) = bytes.split_at_checked(BODY_BYTES).unwrap_or_default();
        if padding.contains(&true) || check(body) != found {
            return Err(ShareError::Checksum { which: which() });
        }
        Self::of_body(body).ok_or_else(|| ShareError::Newer { which: which() })
    }

    /// `None` for what this program would not have made.
    fn of_body(bytes: &[u8]) -> Option<Self> {
        let (set, rest) = bytes.strip_prefix(&[FORMAT])?.split_first_chunk::<SET_BYTES>()?;
        let ([needed, index], value) = rest.split_first_chunk::<2>()?;
        let sound = (LEAST..=MOST).contains(needed) && (1..=MOST).contains(index);
        let value = Zeroizing::new(value.try_into().ok()?);
        sound.then_some(Self { set: *set, needed: *needed, index: *index, value })
    }
}

fn bit_of(bytes: &[u8], at: usize) -> bool {
    bytes.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1)
}

fn check(body: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hash = blake3::derive_key(CHECK_CONTEXT, body);
    let [a, b, c, ..] = hash;
    hash.zeroize();
    [a, b, c]
}

#[cfg(test)]
mod tests;
