//! Grant: the directory's signed word that a device may store so many bytes for one upload until a certain time.
//!
//! Peers check it offline. It is bound to the device that asked for it: another account, or another device, cannot spend it.

use serde::{Deserialize, Serialize};

use crate::id::{AccountId, ClusterId, DeviceId, VersionId};
use crate::proto::refusal::GrantFault;
use crate::signed::{Signed, Statement};
use crate::time::Timestamp;

/// What a peer is shown with every shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    pub cluster: ClusterId,
    /// The directory's generation when it was given: goes into the records of the shards.
    pub generation: u64,
    pub account: AccountId,
    pub device: DeviceId,
    /// The pending version that it is for.
    pub upload: VersionId,
    /// Bytes that may be stored under it on one peer.
    pub bytes: u64,
    /// In the directory's time.
    pub expires: Timestamp,
}

pub type SignedGrant = Signed<Grant>;

impl Statement for Grant {
    const CONTEXT: &'static str = "shoal grant v1";
}

impl Grant {
    /// Whether `device` of `account` may use it now. `now` is the directory's time as the peer knows it from heartbeats.
    ///
    /// # Errors
    /// The first fault found.
    pub fn check(
        &self,
        cluster: ClusterId,
        account: AccountId,
        device: DeviceId,
        now: Timestamp,
    ) -> Result<(), GrantFault> {
        if self.cluster != cluster {
            return Err(GrantFault::OtherCluster);
        }
        if self.account != account || self.device != device {
            return Err(GrantFault::NotYours);
        }
        if now > self.expires {
            return Err(GrantFault::Expired(self.expires));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_for_one_device_of_one_account_of_one_cluster_until_it_expires() {
        let grant = Grant {
            cluster: ClusterId([1; 16]),
            generation: 1,
            account: AccountId([2; 16]),
            device: DeviceId([3; 16]),
            upload: VersionId([4; 16]),
            bytes: 10,
            expires: Timestamp(100),
        };
        let check = |cluster, account, device, now| {
            grant.check(ClusterId([cluster; 16]), AccountId([account; 16]), DeviceId([device; 16]), Timestamp(now))
        };
        assert_eq!(check(1, 2, 3, 100), Ok(()));
        assert_eq!(check(9, 2, 3, 100), Err(GrantFault::OtherCluster));
        assert_eq!(check(1, 9, 3, 100), Err(GrantFault::NotYours));
        assert_eq!(check(1, 2, 9, 100), Err(GrantFault::NotYours));
        assert_eq!(check(1, 2, 3, 101), Err(GrantFault::Expired(Timestamp(100))));
    }
}
