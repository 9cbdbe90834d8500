//! Map: the newest cluster map that the directory has signed, kept fresh.

use std::sync::Arc;

use common::id::ClusterId;
use common::identity::StatementPublic;
use common::map::{ClusterMap, SignedMap};
use common::signed::SignedError;
use tokio::sync::watch;

/// A cluster map that is not believed.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    #[error("the cluster map is not signed by this cluster's directory")]
    Signed(#[from] SignedError),
    #[error("the cluster map is of another cluster, {found}")]
    OtherCluster { found: ClusterId },
}

/// Believes only what the directory signed, and only what is newer.
pub(super) struct MapKeeper {
    cluster: ClusterId,
    statement: StatementPublic,
    map: watch::Sender<Arc<ClusterMap>>,
}

impl MapKeeper {
    pub(super) fn new(cluster: ClusterId, statement: StatementPublic, first: &SignedMap) -> Result<Self, MapError> {
        let map = verify(cluster, &statement, first)?;
        Ok(Self { cluster, statement, map: watch::Sender::new(Arc::new(map)) })
    }

    pub(super) fn current(&self) -> Arc<ClusterMap> {
        self.map.borrow().clone()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Arc<ClusterMap>> {
        self.map.subscribe()
    }

    /// Takes a map over if it is newer; says whether it was.
    pub(super) fn accept(&self, signed: &SignedMap) -> Result<bool, MapError> {
        let map = verify(self.cluster, &self.statement, signed)?;
        Ok(self.map.send_if_modified(|current| {
            let newer = map.newer_than(current);
            if newer {
                *current = Arc::new(map);
            }
            newer
        }))
    }
}

fn verify(cluster: ClusterId, statement: &StatementPublic, signed: &SignedMap) -> Result<ClusterMap, MapError> {
    let map = signed.verify(statement)?;
    if map.cluster != cluster {
        return Err(MapError::OtherCluster { found: map.cluster });
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use common::bounded::BoundedVec;
    use common::identity::StatementKey;
    use common::signed::Signed;
    use common::time::Timestamp;

    use super::*;

    fn signed(key: &StatementKey, cluster: u8, generation: u64, epoch: u64) -> SignedMap {
        let map = ClusterMap {
            cluster: ClusterId([cluster; 16]),
            epoch,
            generation,
            made: Timestamp(1),
            directory: BoundedVec::empty(),
            peers: BoundedVec::empty(),
            revoked: BoundedVec::empty(),
        };
        Signed::sign(&map, key).unwrap()
    }

    #[test]
    fn only_newer_maps_of_this_cluster_signed_by_its_directory_are_taken() {
        let (key, other) = (StatementKey::generate().unwrap(), StatementKey::generate().unwrap());
        let keeper = MapKeeper::new(ClusterId([1; 16]), key.public(), &signed(&key, 1, 2, 5)).unwrap();
        assert!(!keeper.accept(&signed(&key, 1, 2, 5)).unwrap());
        assert!(!keeper.accept(&signed(&key, 1, 1, 9)).unwrap());
        assert!(keeper.accept(&signed(&key, 1, 2, 6)).unwrap());
        assert!(matches!(keeper.accept(&signed(&other, 1, 2, 7)), Err(MapError::Signed(_))));
        assert!(matches!(keeper.accept(&signed(&key, 9, 2, 7)), Err(MapError::OtherCluster { .. })));
        assert_eq!(keeper.current().epoch, 6);
    }
}
