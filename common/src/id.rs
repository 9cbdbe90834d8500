//! Ids: every thing in a cluster that has one, each as a type of its own.
//!
//! Ids are plain bytes without structure. They print as lower-case hex; logs use [`short`](ChunkId::short) forms.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::{Deserialize, Serialize};

/// A string that is not the hex form of an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind}: expected {expected} hex digits")]
pub struct IdError {
    pub kind: &'static str,
    pub expected: usize,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $len:literal, $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// How many bytes it has.
            pub const LEN: usize = $len;

            /// A fresh one from the system's randomness.
            ///
            /// # Panics
            /// If the operating system has no randomness to give; nothing secure can go on then.
            #[must_use]
            pub fn random() -> Self {
                let mut bytes = [0; $len];
                getrandom::fill(&mut bytes).expect("the operating system gives no randomness");
                Self(bytes)
            }

            /// From exactly as many bytes as it has.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }

            /// The first eight hex digits, for logs.
            #[must_use]
            pub fn short(&self) -> String {
                self.to_string().chars().take(8).collect()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&HEXLOWER_PERMISSIVE.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let refuse = IdError { kind: $kind, expected: $len * 2 };
                let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| refuse.clone())?;
                Self::from_slice(&bytes).ok_or(refuse)
            }
        }
    )*};
}

ids! {
    /// One cluster: one directory service, its peers and its users, under one certificate authority.
    ClusterId = 16, "cluster id";
    /// A storage node.
    PeerId = 16, "peer id";
    /// One enrolled client installation.
    DeviceId = 16, "device id";
    /// Whom a device acts for: the unit of authorisation and quota.
    AccountId = 16, "account id";
    /// A folder or a file, independent of its name.
    NodeId = 16, "node id";
    /// One immutable content of a file's node, or an upload under way.
    VersionId = 16, "version id";
    /// A keyed name of a chunk's plaintext: says nothing to whoever lacks the key.
    ChunkId = 20, "chunk id";
    /// A keyed name of what one small file holds.
    ContentId = 20, "content id";
    /// A keyed hash of a name in a folder.
    NameToken = 16, "name token";
    /// Makes a mutating request idempotent.
    RequestId = 16, "request id";
    /// Names a ticket without giving away its secret.
    TicketId = 16, "ticket id";
    /// Names a share without giving away the secret of its link.
    ShareId = 16, "share id";
    /// One start of a directory on its store: random, so that two histories that part have different ones.
    StartId = 16, "start id";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips_and_refuses_other_lengths() {
        let id = ChunkId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("abcd".parse::<ChunkId>().is_err());
        assert!("zz".repeat(20).parse::<ChunkId>().is_err());
        assert_eq!(id.short().len(), 8);
    }
}
