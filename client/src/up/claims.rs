//! Claims: who of the groups under way stores a small content, so that equal files of one put share an extent.
//!
//! A group claims all its contents at once, before it asks the directory. What another group has claimed it takes from there, once that one
//! has settled its own claims; and it settles its own before it waits for any, so no two groups wait for each other. A claim ends after its
//! files were published: whoever comes later finds the content at the directory. So no more is remembered than is under way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::UpError;
use crate::manifest::Extent;
use crate::seal::Digest;

type Settled = Option<Result<Extent, UpError>>;

/// The contents that groups under way store.
#[derive(Default)]
pub(super) struct Claims(Mutex<HashMap<Digest, watch::Receiver<Settled>>>);

/// One content, as this group has it.
pub(super) enum Claim {
    Mine(Mine),
    Theirs(watch::Receiver<Settled>),
}

/// To be settled; given up when dropped, and gone then.
pub(super) struct Mine {
    claims: Arc<Claims>,
    digest: Digest,
    settle: watch::Sender<Settled>,
}

impl Claims {
    /// Claims these contents, each of which is named once.
    pub(super) fn claim(self: &Arc<Self>, digests: impl Iterator<Item = Digest>) -> Vec<Claim> {
        let mut claimed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let claim = |digest| match claimed.get(&digest) {
            Some(theirs) => Claim::Theirs(theirs.clone()),
            None => {
                let (settle, settled) = watch::channel(None);
                claimed.insert(digest, settled);
                Claim::Mine(Mine { claims: Arc::clone(self), digest, settle })
            }
        };
        digests.map(claim).collect()
    }
}

impl Mine {
    /// Tells whoever waits for this content where it is, or why it is nowhere. What was said first stays.
    pub(super) fn settle(&self, result: Result<Extent, UpError>) {
        self.settle.send_if_modified(|settled| {
            let first = settled.is_none();
            settled.get_or_insert(result);
            first
        });
    }
}

impl Drop for Mine {
    fn drop(&mut self) {
        self.claims.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.digest);
    }
}

/// Waits for what another group stores.
pub(super) async fn theirs(mut claim: watch::Receiver<Settled>) -> Result<Extent, UpError> {
    match claim.wait_for(Option::is_some).await {
        Ok(settled) => settled.clone().unwrap_or(Err(UpError::Interrupted)),
        Err(_) => Err(UpError::Interrupted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::ExtentKey;
    use common::id::ChunkId;

    fn extent() -> Extent {
        let (chunk, key) = (ChunkId([1; 20]), ExtentKey([2; 32]));
        Extent { chunk, offset: 0, len: 9, size: 9, codec: 0, key, digest: Digest([3; 32]) }
    }

    #[tokio::test]
    async fn who_comes_second_gets_what_the_first_has_stored_and_whoever_comes_after_stores_anew() {
        let claims = Arc::new(Claims::default());
        let digests = [Digest([3; 32]), Digest([4; 32])];
        let mut first = claims.claim(digests.into_iter());
        let mut second = claims.claim(digests.into_iter().rev());
        let (Some(Claim::Mine(b)), Some(Claim::Mine(a))) = (first.pop(), first.pop()) else { panic!("they were free") };
        let (Some(Claim::Theirs(wants_a)), Some(Claim::Theirs(wants_b))) = (second.pop(), second.pop()) else {
            panic!("they were claimed");
        };
        a.settle(Ok(extent()));
        a.settle(Err(UpError::Contended));
        assert_eq!(theirs(wants_a).await.unwrap(), extent());
        // A claim that is dropped without a word was interrupted.
        drop(b);
        assert!(matches!(theirs(wants_b).await, Err(UpError::Interrupted)));
        drop(a);
        assert!(matches!(claims.claim(digests.into_iter())[..], [Claim::Mine(_), Claim::Mine(_)]));
    }
}
