//! Keep: what of history is kept when an account is pruned.
//!
//! Written `within=30d,last=5,daily=7,weekly=4,monthly=12,yearly=3`, in any order, each at most once.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Versions, days, weeks, months or years that a policy may name, each.
pub const MOST: u32 = 1_000;

/// Which points of history stay readable. Snapshots always do, and so does the tree as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KeepPolicy {
    /// Everything that was there within this time, in milliseconds.
    pub within_ms: u64,
    /// Versions of each file that still exists, the current one counted.
    pub last: u32,
    /// The end of each of so many days (UTC) on which the account changed anything; likewise for those that follow.
    pub daily: u32,
    pub weekly: u32,
    pub monthly: u32,
    pub yearly: u32,
}

/// Text that is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeepError {
    #[error("{part:?} is no rule; write it like within=30d,last=5,daily=7,weekly=4,monthly=12,yearly=3")]
    Rule { part: String },
    #[error("{part:?} stands there twice")]
    Twice { part: String },
    #[error("{part:?} is not a number from 1 to {MOST}")]
    Number { part: String },
    #[error("{part:?} is not a time like 36h or 30d")]
    Time { part: String },
}

impl KeepPolicy {
    #[must_use]
    pub fn within(&self) -> Duration {
        Duration::from_millis(self.within_ms)
    }

    /// Whether it is within its limits.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        [self.last, self.daily, self.weekly, self.monthly, self.yearly].iter().all(|count| *count <= MOST)
    }

    /// Whether it names nothing that is to be kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn counts(&mut self) -> [(&'static str, &mut u32); 5] {
        [
            ("last", &mut self.last),
            ("daily", &mut self.daily),
            ("weekly", &mut self.weekly),
            ("monthly", &mut self.monthly),
            ("yearly", &mut self.yearly),
        ]
    }
}

impl FromStr for KeepPolicy {
    type Err = KeepError;

    fn from_str(text: &str) -> Result<Self, KeepError> {
        let mut policy = Self::default();
        for part in text.split(',').map(str::trim) {
            let whole = || part.to_owned();
            let (name, value) = part.split_once('=').ok_or_else(|| KeepError::Rule { part: whole() })?;
            if name == "within" {
                let span = humantime::parse_duration(value).map_err(|_| KeepError::Time { part: whole() })?;
                let millis = u64::try_from(span.as_millis()).map_err(|_| KeepError::Time { part: whole() })?;
                if policy.within_ms != 0 {
                    return Err(KeepError::Twice { part: whole() });
                }
                policy.within_ms = millis;
                continue;
            }
            let place = policy.counts().into_iter().find(|(rule, _)| *rule == name);
            let (_, place) = place.ok_or_else(|| KeepError::Rule { part: whole() })?;
            if *place != 0 {
                return Err(KeepError::Twice { part: whole() });
            }
            let count: u32 = value.parse().map_err(|_| KeepError::Number { part: whole() })?;
            if count == 0 || count > MOST {
                return Err(KeepError::Number { part: whole() });
            }
            *place = count;
        }
        Ok(policy)
    }
}

impl fmt::Display for KeepPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.within_ms > 0 {
            parts.push(format!("within={}", humantime::format_duration(self.within()).to_string().replace(' ', "")));
        }
        let mut copy = *self;
        parts.extend(copy.counts().iter().filter(|(_, n)| **n > 0).map(|(name, n)| format!("{name}={n}")));
        f.pad(if parts.is_empty() { "nothing but what is there now".to_owned() } else { parts.join(",") }.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_as_it_is_written_and_nonsense_is_refused() {
        let text = "within=30days,last=5,daily=7,weekly=4,monthly=12,yearly=3";
        let policy: KeepPolicy = text.parse().unwrap();
        assert_eq!((policy.within(), policy.last, policy.yearly), (Duration::from_secs(30 * 86_400), 5, 3));
        assert_eq!(policy.to_string().parse::<KeepPolicy>().unwrap(), policy);
        assert_eq!("daily=7".parse::<KeepPolicy>().unwrap().to_string(), "daily=7");
        for wrong in ["", "daily", "daily=0", "daily=1001", "hourly=2", "daily=1,daily=2", "within=soon", "last=-1"] {
            assert!(wrong.parse::<KeepPolicy>().is_err(), "{wrong}");
        }
    }
}
