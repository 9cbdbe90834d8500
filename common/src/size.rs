//! Size: a number of bytes, as people write and read it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number of bytes. Prints as KiB, MiB, ... and parses `500GB`, `64MiB` or a plain number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct ByteSize(pub u64);

/// Text that is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a size: {text:?}; write it like 500GB, 64MiB or 1048576")]
pub struct SizeError {
    pub text: String,
}

impl ByteSize {
    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    #[must_use]
    pub const fn gib(count: u64) -> Self {
        Self(count << 30)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&bytesize::ByteSize(self.0).display().iec().to_string())
    }
}

impl fmt::Debug for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} B", self.0)
    }
}

impl FromStr for ByteSize {
    type Err = SizeError;
    fn from_str(text: &str) -> Result<Self, SizeError> {
        let size: bytesize::ByteSize = text.trim().parse().map_err(|_| SizeError { text: text.to_owned() })?;
        Ok(Self(size.as_u64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, bytes) in [("500GB", 500_000_000_000), ("64MiB", 64 << 20), ("17", 17), ("1 KiB", 1024)] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        assert!("many".parse::<ByteSize>().is_err());
        assert!("-5MB".parse::<ByteSize>().is_err());
        assert_eq!(ByteSize::mib(64).to_string(), "64.0 MiB");
    }
}
