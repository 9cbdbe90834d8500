//! Share: what an account has handed on a link to, and until when. The link's secret is not kept, nor what it opens; what is kept
//! can check a proof and nothing else.

use common::id::{AccountId, DeviceId};
use common::proto::parts::SealedEntry;
use common::proto::share::ShareTarget;
use common::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Record;

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    pub account: AccountId,
    pub target: ShareTarget,
    pub verifier: [u8; 32],
    /// The device that made it.
    pub device: DeviceId,
    pub made: Timestamp,
    pub expires: Option<Timestamp>,
    pub revoked: Option<Timestamp>,
    /// How many guests may read through it; `None`: it is for enrolled devices alone. How many did is a record of its own.
    pub guests: Option<u32>,
    /// What the account calls it, sealed for itself.
    pub sealed: SealedEntry,
}

impl Record for Share {
    const NAME: &'static str = "share";
}

/// Shown without its verifier.
impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Share({:?} of {}, until {:?}, revoked {:?})", self.target, self.account, self.expires, self.revoked)
    }
}

/// How many guests a share has enrolled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Guests {
    pub enrolled: u32,
}

impl Record for Guests {
    const NAME: &'static str = "guests of a share";
}

#[cfg(test)]
mod tests {
    use common::id::{NodeId, VersionId};

    use super::*;
    use crate::schema::record::golden;

    #[test]
    fn is_golden_and_does_not_print_its_verifier() {
        let record = Share {
            account: AccountId([1; 16]),
            target: ShareTarget::Version(NodeId([2; 16]), VersionId([3; 16])),
            verifier: [4; 32],
            device: DeviceId([5; 16]),
            made: Timestamp(6),
            expires: Some(Timestamp(7)),
            revoked: None,
            guests: Some(8),
            sealed: vec![9; 2].try_into().unwrap(),
        };
        let ids = ["01", "02", "03", "04", "05"].map(|byte| byte.repeat(16));
        let [account, node, version, verifier, device] = &ids;
        golden(&record, &format!("01{account}02{node}{version}{verifier}{verifier}{device}060107000108020909"));
        assert!(!format!("{record:?}").contains("4, 4"));
        golden(&Guests { enrolled: 3 }, "0103");
    }
}
