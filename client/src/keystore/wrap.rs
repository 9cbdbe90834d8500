//! Wrap: a small secret under a passphrase: Argon2id makes a key of it, and the AEAD seals under that key.
//!
//! Guarantees: every wrapping has its own salt and says itself what it costs to open; what it says is bounded before memory is
//! taken, so that a hostile file costs at most [`Cost::DEAREST`]; a damaged file is told from a wrong passphrase; key, passphrase
//! and Argon2id's memory are wiped. Layout: docs/FORMATS.md.
//!
//! Non-goals: slowing down guesses beyond Argon2id; whoever has the file can guess elsewhere anyway.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::{Zeroize, Zeroizing};

use crate::keys::{KEY_BYTES, random};
use crate::seal::IntegrityError;
use crate::seal::aead::{self, Place, SealError};

pub(super) const MAGIC_BYTES: usize = 8;
const SALT_BYTES: usize = 16;
const CHECK_BYTES: usize = 8;
/// The only key derivation so far: Argon2id, version 1.3.
const ARGON2ID: u8 = 1;
/// Format of what is sealed.
const FORMAT: u8 = 1;
const HEADER_BYTES: usize = MAGIC_BYTES + 1 + 3 * 4 + SALT_BYTES;
/// Fewer characters can be guessed from a list, whatever Argon2id costs.
pub const SHORTEST: usize = 8;
const LONGEST: usize = 1024;

/// What somebody typed to protect a key. Bytes as they came: nothing is trimmed or normalised.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

/// Why a text cannot be a passphrase.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PassphraseError {
    #[error("the passphrase is empty")]
    Empty,
    #[error("the passphrase is longer than {LONGEST} bytes")]
    TooLong,
    #[error(
        "a new passphrase needs {SHORTEST} characters or more: a few words that only you would put together are best"
    )]
    TooShort,
}

impl Passphrase {
    /// One that is to open something.
    ///
    /// # Errors
    /// When it is empty or too long to be one.
    pub fn new(text: Zeroizing<String>) -> Result<Self, PassphraseError> {
        match text.len() {
            0 => Err(PassphraseError::Empty),
            1..=LONGEST => Ok(Self(text)),
            _ => Err(PassphraseError::TooLong),
        }
    }

    /// One that is to protect something from now on.
    ///
    /// # Errors
    /// As [`new`](Self::new), and when it is too short.
    pub fn chosen(text: Zeroizing<String>) -> Result<Self, PassphraseError> {
        let chosen = Self::new(text)?;
        if chosen.0.chars().count() < SHORTEST { Err(PassphraseError::TooShort) } else { Ok(chosen) }
    }

    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        blake3::hash(self.0.as_bytes()) == blake3::hash(other.0.as_bytes()) // compared in constant time
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// What opening costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    pub memory_kib: u32,
    pub passes: u32,
    pub lanes: u32,
}

impl Cost {
    /// RFC 9106, section 4, the second recommended option: 64 MiB, which every machine that runs this has.
    pub const DEFAULT: Self = Self { memory_kib: 64 << 10, passes: 3, lanes: 4 };
    /// The most that a file may ask for: a minute or less, and a quarter of a GiB.
    pub const DEAREST: Self = Self { memory_kib: 256 << 10, passes: 16, lanes: 16 };

    fn is_bounded(self) -> bool {
        let most = Self::DEAREST;
        (1..=most.lanes).contains(&self.lanes)
            && (1..=most.passes).contains(&self.passes)
            && (8 * self.lanes..=most.memory_kib).contains(&self.memory_kib)
    }
}

/// Why something wrapped does not open.
#[derive(Debug, thiserror::Error)]
pub enum WrapError {
    #[error("wrong passphrase")]
    WrongPassphrase,
    #[error("it is damaged")]
    Damaged,
    #[error("it is of a newer format: use a newer program")]
    Newer,
    #[error(
        "it asks for {} MiB, {} passes and {} lanes to be opened, and no more than {} MiB, {} passes and {} lanes are given to a \
         file; it was not made by this program",
        .0.memory_kib >> 10, .0.passes, .0.lanes,
        Cost::DEAREST.memory_kib >> 10, Cost::DEAREST.passes, Cost::DEAREST.lanes
    )]
    TooDear(Cost),
    #[error("there is no memory for it: {} MiB are needed", memory_kib >> 10)]
    NoMemory { memory_kib: u32 },
    #[error("it cannot be sealed")]
    Seal(#[from] SealError),
}

/// What a kind of wrapping is: no two open each other's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub(super) magic: &'static [u8; MAGIC_BYTES],
    pub(super) what: &'static str,
    pub(super) context: &'static str,
}

/// Something wrapped, as it was read: sound, but not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped {
    cost: Cost,
    salt: [u8; SALT_BYTES],
    sealed: Vec<u8>,
}

impl Wrapped {
    /// Wraps a value. Takes as long as opening it: twice 0.1 to 0.5 seconds, since it is opened once to be sure.
    pub(super) fn seal<T: Serialize>(
        kind: Kind,
        passphrase: &Passphrase,
        cost: Cost,
        value: &T,
    ) -> Result<Self, WrapError> {
        let salt = random();
        let key = stretch(passphrase, cost, &salt)?;
        let sealed = aead::seal(&*key, &place(kind, cost, &salt), FORMAT, value)?;
        Ok(Self { cost, salt, sealed })
    }

    /// # Errors
    /// [`WrapError::WrongPassphrase`], or that there is no memory.
    pub(super) fn open<T: DeserializeOwned>(&self, kind: Kind, passphrase: &Passphrase) -> Result<T, WrapError> {
        let key = stretch(passphrase, self.cost, &self.salt)?;
        let place = place(kind, self.cost, &self.salt);
        aead::open(&key, &place, FORMAT, &self.sealed).map_err(|error| match error {
            IntegrityError::NewerFormat { .. } => WrapError::Newer,
            IntegrityError::Unauthentic { .. } => WrapError::WrongPassphrase,
            _ => WrapError::Damaged,
        })
    }

    pub(super) fn to_bytes(&self, kind: Kind) -> Vec<u8> {
        let mut bytes = header(kind, self.cost, &self.salt);
        bytes.extend_from_slice(&self.sealed);
        let check = check(&bytes);
        bytes.extend_from_slice(&check);
        bytes
    }

    /// `None` for bytes of another kind.
    pub(super) fn from_bytes(kind: Kind, bytes: &[u8]) -> Option<Result<Self, WrapError>> {
        bytes.starts_with(kind.magic).then(|| Self::parse(bytes))
    }

    fn parse(bytes: &[u8]) -> Result<Self, WrapError> {
        let (kdf, _) = bytes.get(MAGIC_BYTES..).and_then(<[u8]>::split_first).ok_or(WrapError::Damaged)?;
        let (body, found) = bytes.split_last_chunk::<CHECK_BYTES>().ok_or(WrapError::Damaged)?;
        if check(body) != *found {
            return Err(WrapError::Damaged);
        }
        if *kdf != ARGON2ID {
            return Err(WrapError::Newer);
        }
        let (head, sealed) = body.split_at_checked(HEADER_BYTES).ok_or(WrapError::Damaged)?;
        let (numbers, salt) = head.split_last_chunk::<SALT_BYTES>().ok_or(WrapError::Damaged)?;
        let numbers = numbers.get(MAGIC_BYTES + 1..).unwrap_or_default();
        let mut numbers = numbers.as_chunks::<4>().0.iter().map(|number| u32::from_le_bytes(*number));
        let mut next = || numbers.next().ok_or(WrapError::Damaged);
        let cost = Cost { memory_kib: next()?, passes: next()?, lanes: next()? };
        if !cost.is_bounded() {
            return Err(WrapError::TooDear(cost));
        }
        Ok(Self { cost, salt: *salt, sealed: sealed.to_vec() })
    }
}

fn header(kind: Kind, cost: Cost, salt: &[u8; SALT_BYTES]) -> Vec<u8> {
    let mut bytes = kind.magic.to_vec();
    bytes.push(ARGON2ID);
    for number in [cost.memory_kib, cost.passes, cost.lanes] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(salt);
    bytes
}

fn place(kind: Kind, cost: Cost, salt: &[u8; SALT_BYTES]) -> Place {
    Place::new(kind.what, kind.context).with(&header(kind, cost, salt))
}

/// Against typing errors and bad disks, not against forgers: those meet the AEAD.
fn check(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(bytes).as_bytes();
    [a, b, c, d, e, f, g, h]
}

fn stretch(
    passphrase: &Passphrase,
    cost: Cost,
    salt: &[u8; SALT_BYTES],
) -> Result<Zeroizing<[u8; KEY_BYTES]>, WrapError> {
    let Ok(params) = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(KEY_BYTES)) else {
        return Err(WrapError::TooDear(cost));
    };
    let no_memory = || WrapError::NoMemory { memory_kib: cost.memory_kib };
    let mut blocks: Vec<Block> = Vec::new();
    blocks.try_reserve_exact(params.block_count()).map_err(|_| no_memory())?;
    blocks.resize(params.block_count(), Block::new());
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let made = argon2.hash_password_into_with_memory(passphrase.0.as_bytes(), salt, &mut *key, &mut blocks);
    blocks.iter_mut().for_each(Zeroize::zeroize);
    made.map_err(|_| no_memory())?;
    Ok(key)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The least that Argon2id takes: tests are about the file.
    pub(in crate::keystore) const CHEAP: Cost = Cost { memory_kib: 32, passes: 1, lanes: 4 };
    const KIND: Kind = Kind { magic: b"TESTWRAP", what: "thing", context: "shoal test" };

    pub(in crate::keystore) fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.to_owned())).unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Wrapped, WrapError> {
        Wrapped::from_bytes(KIND, bytes).unwrap_or(Err(WrapError::Damaged))
    }

    /// The same bytes with others in the place of some, and the checksum right again.
    fn altered(bytes: &[u8], at: usize, by: &[u8]) -> Vec<u8> {
        let mut body = bytes[..bytes.len() - CHECK_BYTES].to_vec();
        body[at..at + by.len()].copy_from_slice(by);
        let check = check(&body);
        [body, check.to_vec()].concat()
    }

    #[test]
    fn the_derivation_is_argon2id_of_rfc_9106_with_its_second_recommended_cost() {
        assert_eq!(Cost::DEFAULT, Cost { memory_kib: 65_536, passes: 3, lanes: 4 });
        let key = stretch(&passphrase("correct horse"), CHEAP, &[7; SALT_BYTES]).unwrap();
        // As another implementation gives it: Argon2id of OpenSSL 4.0, 32 KiB, 1 pass, 4 lanes.
        assert_eq!(
            blake3::Hash::from_bytes(*key).to_hex().as_str(),
            "5f9a22f7744ab07a80ddfefbb4c53e706e7eeff39d1a742e8114bdd657b70009"
        );
    }

    #[test]
    fn golden_bytes_of_something_wrapped() {
        // Made outside of this program, from docs/FORMATS.md, with salt and nonce of sevens; it must open for ever.
        let hex = "54455354575241500120000000010000000400000007070707070707070707070707070707010707070707070707070707\
                   07ad176e6bdb1c528eaf5ec2fde35868e5972f893e2b1e47be9d86a9c4d8bd30ca749e601c60b9240256e07158117c5cb9\
                   0a2e0abb3c3a216dcc";
        let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
        assert_eq!(read(&bytes).unwrap().open::<[u8; 32]>(KIND, &passphrase("correct horse")).unwrap(), [5; 32]);
        assert_eq!(read(&bytes).unwrap().to_bytes(KIND), bytes);
    }

    #[test]
    fn what_was_wrapped_opens_with_its_passphrase_and_as_its_kind_alone() {
        let wrapped = Wrapped::seal(KIND, &passphrase("correct horse"), CHEAP, &[5_u8; 32]).unwrap();
        let read = read(&wrapped.to_bytes(KIND)).unwrap();
        assert_eq!(read, wrapped);
        assert_eq!(read.open::<[u8; 32]>(KIND, &passphrase("correct horse")).unwrap(), [5; 32]);
        let wrong = read.open::<[u8; 32]>(KIND, &passphrase("correct Horse"));
        assert!(matches!(wrong, Err(WrapError::WrongPassphrase)));
        let other = Kind { context: "shoal test 2", ..KIND };
        assert!(read.open::<[u8; 32]>(other, &passphrase("correct horse")).is_err());
        assert!(Wrapped::from_bytes(Kind { magic: b"OTHERONE", ..KIND }, &wrapped.to_bytes(KIND)).is_none());
    }

    #[test]
    fn a_file_that_asks_for_too_much_is_refused_before_memory_is_taken() {
        let bytes = Wrapped::seal(KIND, &passphrase("correct horse"), CHEAP, &1_u8).unwrap().to_bytes(KIND);
        for (at, number) in [(9, u32::MAX), (9, (256 << 10) + 1), (9, 31), (13, 0), (13, 17), (17, 0), (17, 17)] {
            let read = read(&altered(&bytes, at, &number.to_le_bytes()));
            assert!(matches!(read, Err(WrapError::TooDear(_))), "{at} {number}");
        }
        assert!(matches!(read(&altered(&bytes, 8, &[2])), Err(WrapError::Newer)));
        // Within the bounds, what it costs belongs to what is sealed.
        let cheaper = read(&altered(&bytes, 9, &33_u32.to_le_bytes())).unwrap();
        assert!(matches!(cheaper.open::<u8>(KIND, &passphrase("correct horse")), Err(WrapError::WrongPassphrase)));
    }

    #[test]
    fn passphrases_have_bounds_and_are_not_printed() {
        let text = |text: &str| Zeroizing::new(text.to_owned());
        assert_eq!(Passphrase::new(text("")).unwrap_err(), PassphraseError::Empty);
        assert_eq!(Passphrase::new(text(&"x".repeat(LONGEST + 1))).unwrap_err(), PassphraseError::TooLong);
        assert_eq!(Passphrase::chosen(text("1234567")).unwrap_err(), PassphraseError::TooShort);
        assert_eq!(Passphrase::chosen(text("grüßäöü")).unwrap_err(), PassphraseError::TooShort);
        assert_eq!(format!("{:?}", Passphrase::chosen(text("12345678")).unwrap()), "Passphrase(..)");
    }

    proptest! {
        #[test]
        fn every_changed_byte_is_damage_and_no_bytes_panic(
            at in any::<prop::sample::Index>(), flip in 1_u8.., noise in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let bytes = Wrapped { cost: CHEAP, salt: [1; 16], sealed: vec![2; 62] }.to_bytes(KIND);
            let at = at.index(bytes.len());
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            prop_assert!(matches!(read(&changed), Err(WrapError::Damaged)));
            prop_assert!(read(&bytes[..at]).is_err());
            let _ = read(&[KIND.magic.as_slice(), &noise].concat());
        }
    }
}
