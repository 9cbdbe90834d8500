//! Redundancy: how many shards a chunk has and how many of them rebuild it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::SHARDS_PER_CHUNK;

/// `k/n`: any k of n shards rebuild a chunk. `1/3` is three copies; `4/6` survives any two losses at 1.5 times the space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Redundancy {
    k: u8,
    n: u8,
}

/// Text or numbers that are no redundancy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedundancyError {
    #[error("not a redundancy: {text:?}; write k/n, like 1/3 for three copies or 4/6 for any four of six shards")]
    Form { text: String },
    #[error("{k}/{n} is no redundancy: it takes 1 <= k <= n <= {SHARDS_PER_CHUNK}")]
    Range { k: u8, n: u8 },
}

impl Redundancy {
    /// Three copies.
    pub const DEFAULT: Self = Self { k: 1, n: 3 };

    /// # Errors
    /// Unless `1 <= k <= n <= 32`.
    pub fn new(k: u8, n: u8) -> Result<Self, RedundancyError> {
        if k == 0 || k > n || usize::from(n) > SHARDS_PER_CHUNK {
            return Err(RedundancyError::Range { k, n });
        }
        Ok(Self { k, n })
    }

    /// How many shards rebuild a chunk.
    #[must_use]
    pub fn k(self) -> usize {
        usize::from(self.k)
    }

    /// How many shards a chunk has.
    #[must_use]
    pub fn n(self) -> usize {
        usize::from(self.n)
    }

    /// How many shards must be durable before a put may go on: `k + ceil((n-k)/2)`.
    #[must_use]
    pub fn enough(self) -> usize {
        self.k() + (self.n() - self.k()).div_ceil(2)
    }

    /// How many losses it survives.
    #[must_use]
    pub fn losses(self) -> usize {
        self.n() - self.k()
    }

    /// Whether content kept at `self` is at least as safe as `wanted` asks.
    #[must_use]
    pub fn covers(self, wanted: Self) -> bool {
        self.losses() >= wanted.losses()
    }
}

impl fmt::Display for Redundancy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.k, self.n))
    }
}

impl FromStr for Redundancy {
    type Err = RedundancyError;
    fn from_str(text: &str) -> Result<Self, RedundancyError> {
        let form = || RedundancyError::Form { text: text.to_owned() };
        let (k, n) = text.trim().split_once('/').ok_or_else(form)?;
        let k = k.trim().parse().map_err(|_| form())?;
        let n = n.trim().parse().map_err(|_| form())?;
        Self::new(k, n)
    }
}

impl Serialize for Redundancy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.k, self.n).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Redundancy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (k, n) = <(u8, u8)>::deserialize(deserializer)?;
        Self::new(k, n).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_prints_and_knows_what_is_enough() {
        for (text, enough, losses) in [("1/1", 1, 0), ("1/3", 2, 2), ("1/2", 2, 1), ("4/6", 5, 2), ("10/16", 13, 6)] {
            let redundancy: Redundancy = text.parse().unwrap();
            assert_eq!(redundancy.to_string(), text);
            assert_eq!((redundancy.enough(), redundancy.losses()), (enough, losses), "{text}");
        }
    }

    #[test]
    fn refuses_what_cannot_be() {
        for text in ["", "3", "0/3", "4/3", "1/33", "a/b", "1/3/5", "-1/3"] {
            assert!(text.parse::<Redundancy>().is_err(), "{text}");
        }
        assert!(crate::codec::decode::<Redundancy>(&[3, 2]).is_err());
    }
}
