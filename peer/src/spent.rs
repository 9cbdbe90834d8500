//! Spent: how many bytes were stored here under each upload's grant.
//!
//! Counted in memory, for as many uploads as were used last: a restart forgets, and then a grant buys its bytes at most once
//! more. What an account may store in all is the directory's to say.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::grant::Grant;
use common::id::{AccountId, VersionId};
use common::proto::refusal::GrantFault;

use crate::recent::Recent;

type Key = (AccountId, VersionId);

/// Cheap to clone; all clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Spent(Arc<Mutex<Recent<Key, u64>>>);

/// Bytes set aside; given back when dropped, unless they were really stored.
#[derive(Debug)]
pub(crate) struct Spending {
    spent: Spent,
    key: Key,
    bytes: u64,
}

impl Spent {
    pub(crate) fn new(uploads: usize) -> Self {
        Self(Arc::new(Mutex::new(Recent::new(uploads))))
    }

    fn lock(&self) -> MutexGuard<'_, Recent<Key, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets bytes of a grant aside.
    pub(crate) fn spend(&self, grant: &Grant, bytes: u64) -> Result<Spending, GrantFault> {
        let key = (grant.account, grant.upload);
        let mut spent = self.lock();
        let before = spent.get(&key).map_or(0, |spent| *spent);
        let after = before.checked_add(bytes).filter(|after| *after <= grant.bytes).ok_or(GrantFault::Spent)?;
        spent.insert(key, after);
        drop(spent);
        Ok(Spending { spent: self.clone(), key, bytes })
    }
}

impl Spending {
    /// They were stored.
    pub(crate) fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Spending {
    fn drop(&mut self) {
        if self.bytes > 0
            && let Some(spent) = self.spent.lock().get(&self.key)
        {
            *spent = spent.saturating_sub(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::id::{ClusterId, DeviceId};
    use common::time::Timestamp;

    fn grant(upload: u8, bytes: u64) -> Grant {
        Grant {
            cluster: ClusterId([1; 16]),
            generation: 1,
            account: AccountId([2; 16]),
            device: DeviceId([3; 16]),
            upload: VersionId([upload; 16]),
            bytes,
            expires: Timestamp(100),
        }
    }

    #[test]
    fn a_grant_is_spent_once_and_what_was_not_stored_is_given_back() {
        let spent = Spent::new(8);
        spent.spend(&grant(1, 10), 6).unwrap().keep();
        assert_eq!(spent.spend(&grant(1, 10), 5).unwrap_err(), GrantFault::Spent);
        let failed = spent.spend(&grant(1, 10), 4).unwrap();
        assert_eq!(spent.spend(&grant(1, 10), 1).unwrap_err(), GrantFault::Spent);
        drop(failed);
        spent.spend(&grant(1, 10), 4).unwrap().keep();
        spent.spend(&grant(1, 11), 1).unwrap().keep(); // the same upload, extended
        spent.spend(&grant(2, 1), 1).unwrap().keep();
        assert_eq!(spent.spend(&grant(2, u64::MAX), u64::MAX).unwrap_err(), GrantFault::Spent);
    }
}
