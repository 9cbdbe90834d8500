//! Sealed: what the directory can tell of a sealed value without a key: which of its account's keys it is sealed under.
//!
//! A value's first byte is its format. Format 1 is of the account's first key; in format 2 the number of the key follows (u32,
//! little-endian). Layout of the rest: docs/FORMATS.md.

/// Of the account's first key.
pub const FIRST: u8 = 1;
/// With the number of its key.
pub const NUMBERED: u8 = 2;

/// What stands in front of a value that is sealed under the key of this number.
#[must_use]
pub fn head(key: u32) -> Vec<u8> {
    match key {
        0 => vec![FIRST],
        key => [&[NUMBERED][..], &key.to_le_bytes()].concat(),
    }
}

/// The number of the key that a value is sealed under, 0 for the account's first; `None` where no value begins like this.
#[must_use]
pub fn key_of(sealed: &[u8]) -> Option<u32> {
    match sealed.split_first()? {
        (&FIRST, _) => Some(0),
        (&NUMBERED, rest) => rest.first_chunk().map(|key| u32::from_le_bytes(*key)).filter(|key| *key > 0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_tells_its_key_and_nothing_else_does() {
        for key in [0, 1, 7, u32::MAX] {
            assert_eq!(key_of(&[head(key), vec![9; 40]].concat()), Some(key));
        }
        assert_eq!(head(0), [1]);
        assert_eq!(head(258), [2, 2, 1, 0, 0]);
        for bad in [&[][..], &[0, 1, 2], &[2], &[2, 1, 0, 0], &[2, 0, 0, 0, 0], &[3, 1, 0, 0, 0]] {
            assert_eq!(key_of(bad), None, "{bad:?}");
        }
    }
}
