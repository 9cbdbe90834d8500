//! Export: the account's master key in a file to keep elsewhere, under a passphrase of its own.
//!
//! Guarantees: the file is text, so that it survives mail, paper and password managers; without the passphrase it says neither
//! whose key it is nor of which cluster; opened, it says both, so that a key does not get into another account's home. What it
//! costs to open is bounded, as every [wrapping](super::wrap) is. Layout: docs/FORMATS.md.

use common::id::{AccountId, ClusterId};
use data_encoding::BASE64;
use zeroize::Zeroizing;

use super::wrap::{Cost, Kind, Passphrase, WrapError, Wrapped};
use crate::keys::{KEY_BYTES, MasterKey};

const KIND: Kind = Kind { magic: b"SHOALEX1", what: "an exported key", context: "shoal v1 exported key" };
/// The first and the last line.
const BEGIN: &str = "-----BEGIN SHOAL KEY-----";
const END: &str = "-----END SHOAL KEY-----";
const LINE_CHARS: usize = 64;
/// Longest text that is looked at.
pub const TEXT_BYTES: usize = 16 << 10;

/// A key, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    pub master: MasterKey,
    pub cluster: ClusterId,
    pub account: AccountId,
}

/// Why a text is no exported key, or does not open.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("this is no exported key: it lacks the lines {BEGIN} and {END}")]
    Foreign,
    #[error("the exported key does not open")]
    Wrap(#[from] WrapError),
}

type Content = ([u8; KEY_BYTES], [u8; 16], [u8; 16]);

impl Exported {
    /// Some tenths of a second and 64 MiB: not for an async thread.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn to_text(&self, passphrase: &Passphrase) -> Result<String, ExportError> {
        self.to_text_at(passphrase, Cost::DEFAULT)
    }

    fn to_text_at(&self, passphrase: &Passphrase, cost: Cost) -> Result<String, ExportError> {
        let content: Zeroizing<Content> = Zeroizing::new((self.master.0, self.cluster.0, self.account.0));
        let bytes = Wrapped::seal(KIND, passphrase, cost, &*content)?.to_bytes(KIND);
        let encoded = BASE64.encode(&bytes);
        let mut text = format!("{BEGIN}\n");
        for line in encoded.as_bytes().chunks(LINE_CHARS) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str(END);
        text.push('\n');
        Ok(text)
    }
}

/// An exported key that was read and not opened.
#[derive(Debug)]
pub struct Closed(Wrapped);

impl Closed {
    /// Reads a text; what stands before and behind the key does not matter.
    ///
    /// # Errors
    /// When there is none in it, or it is damaged.
    pub fn parse(text: &str) -> Result<Self, ExportError> {
        let (_, rest) = text.split_once(BEGIN).ok_or(ExportError::Foreign)?;
        let (inside, _) = rest.split_once(END).ok_or(ExportError::Foreign)?;
        let encoded: String = inside.chars().filter(|c| !c.is_whitespace()).take(TEXT_BYTES).collect();
        let bytes = BASE64.decode(encoded.as_bytes()).map_err(|_| WrapError::Damaged)?;
        let wrapped = Wrapped::from_bytes(KIND, &bytes).ok_or(WrapError::Damaged)??;
        Ok(Self(wrapped))
    }

    /// Some tenths of a second and 64 MiB: not for an async thread.
    ///
    /// # Errors
    /// [`WrapError::WrongPassphrase`], or that there is no memory.
    pub fn open(&self, passphrase: &Passphrase) -> Result<Exported, ExportError> {
        let content: Content = self.0.open(KIND, passphrase)?;
        let (key, cluster, account) = *Zeroizing::new(content);
        Ok(Exported { master: MasterKey(key), cluster: ClusterId(cluster), account: AccountId(account) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keystore::wrap::tests::{CHEAP, passphrase};

    fn exported() -> Exported {
        Exported { master: MasterKey([7; 32]), cluster: ClusterId([1; 16]), account: AccountId([2; 16]) }
    }

    #[test]
    fn an_exported_key_opens_with_its_passphrase_whatever_stands_around_it() {
        let text = exported().to_text_at(&passphrase("12345678"), CHEAP).unwrap();
        assert!(text.is_ascii() && text.lines().all(|line| line.len() <= LINE_CHARS));
        let mailed = format!("> here it is:\r\n{}\r\n-- \r\nme", text.replace('\n', "\r\n   "));
        for text in [&text, &mailed] {
            assert_eq!(Closed::parse(text).unwrap().open(&passphrase("12345678")).unwrap(), exported());
        }
        let wrong = Closed::parse(&text).unwrap().open(&passphrase("123456789"));
        assert!(matches!(wrong, Err(ExportError::Wrap(WrapError::WrongPassphrase))));
    }

    #[test]
    fn what_is_damaged_or_foreign_is_told_apart() {
        let text = exported().to_text_at(&passphrase("12345678"), CHEAP).unwrap();
        let swapped = text.replacen("AAAA", "AAAB", 1);
        assert_ne!(swapped, text);
        let cut = text.replacen(text.lines().nth(1).unwrap(), "", 1);
        let empty = format!("{BEGIN}{END}");
        for damaged in [swapped, cut, empty, text.replacen('\n', "\n=", 1)] {
            let error = Closed::parse(&damaged).unwrap_err();
            assert!(matches!(error, ExportError::Wrap(WrapError::Damaged)), "{error}");
        }
        for foreign in ["", BEGIN, "abandon ability", &text[..text.len() - 10]] {
            assert!(matches!(Closed::parse(foreign), Err(ExportError::Foreign)));
        }
    }
}
