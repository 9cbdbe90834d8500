//! Line: bytes with a checksum as one line of text that people copy and paste.
//!
//! ```text
//! prefix "1" base32( bytes [crc32c u32 LE] )
//! ```
//!
//! base32 is RFC 4648's, lower case, without padding: it survives mails, consoles and telephones; blanks and line breaks inside,
//! and capitals, are forgiven. The checksum tells a mangled line from a foreign one. What is in it is a secret: it is wiped from memory.

use data_encoding::{Encoding, Specification};
use zeroize::{Zeroize, Zeroizing};

/// The format that every line has that is written today.
pub const FORMAT: u8 = 1;
const CHECKSUM_BYTES: usize = 4;

/// Text that is not one of these lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineError {
    /// It does not begin like one.
    Foreign,
    /// It begins like one, and a part is missing or changed.
    Mangled,
    Newer {
        found: u32,
    },
}

/// Writes a line.
#[must_use]
pub fn encode(prefix: &str, content: &[u8]) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(content.len() + CHECKSUM_BYTES));
    bytes.extend_from_slice(content);
    bytes.extend_from_slice(&crc32c::crc32c(content).to_le_bytes());
    let mut text = base32().encode(&bytes);
    let line = Zeroizing::new(format!("{prefix}{FORMAT}{text}"));
    text.zeroize();
    line
}

/// Reads the bytes of a line that has at most `most` characters.
///
/// # Errors
/// See [`LineError`].
pub fn decode(prefix: &str, text: &str, most: usize) -> Result<Zeroizing<Vec<u8>>, LineError> {
    if text.len() > most {
        return Err(LineError::Foreign);
    }
    let mut compact = Zeroizing::new(String::with_capacity(text.len()));
    compact.extend(text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_lowercase()));
    let rest = compact.strip_prefix(prefix).ok_or(LineError::Foreign)?;
    let encoded = match rest.strip_prefix('1') {
        Some(encoded) => encoded,
        // A later format is told by its number, which is a digit that base32 does not use for a first byte.
        None => match rest.chars().next().and_then(|c| c.to_digit(10)) {
            Some(found) => return Err(LineError::Newer { found }),
            None => return Err(LineError::Foreign),
        },
    };
    let mut bytes = Zeroizing::new(base32().decode(encoded.as_bytes()).map_err(|_| LineError::Mangled)?);
    let (content, checksum) = bytes
        .split_at_checked(bytes.len().saturating_sub(CHECKSUM_BYTES))
        .filter(|(content, _)| !content.is_empty())
        .ok_or(LineError::Mangled)?;
    if crc32c::crc32c(content).to_le_bytes() != checksum {
        return Err(LineError::Mangled);
    }
    let len = content.len();
    bytes.truncate(len);
    Ok(bytes)
}

/// Takes parts off the front of a line's bytes.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// # Errors
    /// [`LineError::Mangled`] when there is less.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], LineError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(LineError::Mangled)?;
        self.0 = rest;
        Ok(taken)
    }

    /// # Errors
    /// As [`take`](Self::take).
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], LineError> {
        self.take(N)?.try_into().map_err(|_| LineError::Mangled)
    }

    /// A length of two bytes, and so many bytes.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn counted(&mut self) -> Result<&'a [u8], LineError> {
        let len = usize::from(u16::from_le_bytes(self.array()?));
        self.take(len)
    }

    /// # Errors
    /// [`LineError::Mangled`] when something is left.
    pub fn end(&self) -> Result<(), LineError> {
        if self.0.is_empty() { Ok(()) } else { Err(LineError::Mangled) }
    }
}

/// Appends a length of two bytes and the bytes themselves; what is too long for that is cut, so callers check first.
pub fn put_counted(bytes: &mut Vec<u8>, part: &[u8]) {
    let part = part.get(..usize::from(u16::MAX)).unwrap_or(part);
    bytes.extend_from_slice(&u16::try_from(part.len()).unwrap_or(u16::MAX).to_le_bytes());
    bytes.extend_from_slice(part);
}

fn base32() -> Encoding {
    let mut specification = Specification::new();
    specification.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    #[expect(clippy::expect_used, reason = "a constant alphabet, which every test of this file proves")]
    specification.encoding().expect("32 symbols are an alphabet")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_back_and_damage_is_told_from_strangers() {
        let line = encode("thing", b"content");
        assert_eq!(*decode("thing", &line, 100).unwrap(), b"content");
        assert_eq!(*decode("thing", &format!(" {}\n", line.to_uppercase()), 100).unwrap(), b"content");
        assert_eq!(decode("thing", &line, 10).unwrap_err(), LineError::Foreign);
        assert_eq!(decode("other", &line, 100).unwrap_err(), LineError::Foreign);
        assert_eq!(decode("thing", &line[..line.len() - 1], 100).unwrap_err(), LineError::Mangled);
        assert_eq!(decode("thing", "thing2abc", 100).unwrap_err(), LineError::Newer { found: 2 });
        assert_eq!(decode("thing", "thing1", 100).unwrap_err(), LineError::Mangled);
    }

    #[test]
    fn a_reader_takes_no_more_than_there_is() {
        let mut bytes = vec![7];
        put_counted(&mut bytes, b"ab");
        let mut reader = Reader::new(&bytes);
        assert_eq!((reader.array::<1>(), reader.end()), (Ok([7]), Err(LineError::Mangled)));
        assert_eq!((reader.counted(), reader.end()), (Ok(&b"ab"[..]), Ok(())));
        assert!(reader.take(1).is_err() && Reader::new(&[5, 0, 1]).counted().is_err());
    }
}
