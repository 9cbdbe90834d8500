//! Phrase: the master key as 24 words that a person can write down (BIP-39, English list).
//!
//! The last word carries a checksum of eight bits, so one wrong word is noticed 255 times of 256; the account's
//! [`key_check`](crate::keys::MasterKey::key_check) notices the rest. Case and the space between words do not matter.

pub mod shares;

use bip39::{Error, Language, Mnemonic};
use zeroize::{Zeroize, Zeroizing};

use crate::keys::{KEY_BYTES, MasterKey};

/// Words of a phrase.
pub const WORDS: usize = 24;

/// Text that is no recovery phrase. Positions count from one; the words themselves are secret and not repeated, apart from
/// one that is in no list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PhraseError {
    #[error("a recovery phrase has {WORDS} words, and these are {found}")]
    Count { found: usize },
    #[error("word {position}, {word:?}, is not in the list of words; look for a typing error")]
    Word { position: usize, word: String },
    #[error("the words do not belong together: one of them is wrong, or two are swapped")]
    Checksum,
}

/// The words of a key, in lower case, one space between.
#[must_use]
#[expect(clippy::missing_panics_doc, reason = "32 bytes are always a phrase of 24 words")]
#[expect(clippy::expect_used, reason = "32 bytes are always a phrase of 24 words")]
pub fn of_key(key: &MasterKey) -> Zeroizing<String> {
    let phrase = Mnemonic::from_entropy_in(Language::English, &key.0).expect("32 bytes are a phrase");
    Zeroizing::new(phrase.to_string())
}

/// # Errors
/// When these are not 24 words of the list whose checksum is right.
pub fn to_key(text: &str) -> Result<MasterKey, PhraseError> {
    let words: Zeroizing<Vec<String>> =
        Zeroizing::new(text.split_whitespace().take(WORDS * 4).map(str::to_lowercase).collect());
    if words.len() != WORDS {
        return Err(PhraseError::Count { found: words.len() });
    }
    if let Some(at) = words.iter().position(|word| Language::English.find_word(word).is_none()) {
        let word = words.get(at).map(|word| word.chars().take(32).collect()).unwrap_or_default();
        return Err(PhraseError::Word { position: at + 1, word });
    }
    let joined = Zeroizing::new(words.join(" "));
    let phrase = Mnemonic::parse_in_normalized(Language::English, &joined).map_err(|error| match error {
        Error::BadWordCount(found) => PhraseError::Count { found },
        Error::UnknownWord(at) => PhraseError::Word { position: at + 1, word: String::new() },
        Error::BadEntropyBitCount(_) | Error::InvalidChecksum | Error::AmbiguousLanguages(_) => PhraseError::Checksum,
    })?;
    let (mut entropy, _) = phrase.to_entropy_array();
    let mut key = [0; KEY_BYTES];
    for (to, from) in key.iter_mut().zip(entropy) {
        *to = from;
    }
    entropy.zeroize();
    Ok(MasterKey(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// From the test vectors of BIP-39.
    const VECTORS: [(u8, &str); 3] = [
        (
            0x00,
            "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
             abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon art",
        ),
        (
            0x7f,
            "legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth useful legal \
             winner thank year wave sausage worth title",
        ),
        (0xff, "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo vote"),
    ];

    #[test]
    fn published_vectors_hold_in_any_case_and_spacing() {
        for (byte, words) in VECTORS {
            assert_eq!(*of_key(&MasterKey([byte; 32])), words);
            assert_eq!(to_key(words), Ok(MasterKey([byte; 32])));
            assert_eq!(to_key(&format!(" {}\n", words.to_uppercase().replace(' ', "\n\t"))), Ok(MasterKey([byte; 32])));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let (_, words) = VECTORS[1];
        assert_eq!(to_key(""), Err(PhraseError::Count { found: 0 }));
        assert_eq!(to_key(&words[6..]), Err(PhraseError::Count { found: 23 }));
        assert_eq!(
            to_key(&words.replacen("thank", "thanx", 1)),
            Err(PhraseError::Word { position: 3, word: "thanx".to_owned() })
        );
        assert_eq!(to_key(&words.replacen("thank", "than", 1)).unwrap_err().to_string().find("word 3"), Some(0));
        assert_eq!(to_key(&words.replace("title", "zoo")), Err(PhraseError::Checksum));
    }

    proptest! {
        #[test]
        fn every_key_returns_and_no_text_panics(key in any::<[u8; 32]>(), text in ".*") {
            prop_assert_eq!(to_key(&of_key(&MasterKey(key))), Ok(MasterKey(key)));
            let _ = to_key(&text);
        }
    }
}
