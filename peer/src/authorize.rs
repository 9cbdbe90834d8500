//! Authorize: who may ask what of a peer. Pure; all checks that need no bytes of a shard are made here, before any is read.
//!
//! | | client | directory | peer, admin |
//! |---|---|---|---|
//! | put | with a grant of its own device | no | no |
//! | get | its own account's | any account's | no |
//! | drop | no | yes | no |

use common::erasure::shard_len;
use common::grant::Grant;
use common::id::{AccountId, ClusterId, DeviceId};
use common::identity::{Identity, Subject};
use common::limits::SHARD_BYTES;
use common::proto::Refusal;
use common::proto::peer::{DropShards, GetShard, PeerRequest, PutShard};
use common::proto::refusal::What;
use common::time::Timestamp;

use crate::store::{ShardKey, ShardMeta};

/// A request that its caller may make.
#[derive(Debug)]
pub enum Authorized {
    /// Its grant is still to be checked, by [`check_grant`].
    Put {
        account: AccountId,
        device: DeviceId,
        request: PutShard,
    },
    Get {
        key: ShardKey,
        request: GetShard,
    },
    Drop {
        request: DropShards,
    },
}

/// # Errors
/// [`Refusal::WrongRole`], [`Refusal::Forbidden`] for another account's shards; [`Refusal::Malformed`] or
/// [`Refusal::TooLarge`] for what cannot be meant.
pub fn authorize(who: &Identity, request: PeerRequest) -> Result<Authorized, Refusal> {
    match (request, who.subject) {
        (PeerRequest::PutShard(request), Subject::Client { device, account }) => {
            check_shape(&request)?;
            Ok(Authorized::Put { account, device, request })
        }
        (PeerRequest::GetShard(request), Subject::Client { account, .. }) => {
            if request.account.is_some_and(|named| named != account) {
                return Err(Refusal::Forbidden);
            }
            Ok(Authorized::Get { key: ShardKey { account, address: request.address }, request })
        }
        (PeerRequest::GetShard(request), Subject::Directory) => {
            let account = request.account.ok_or(Refusal::Malformed)?;
            Ok(Authorized::Get { key: ShardKey { account, address: request.address }, request })
        }
        (PeerRequest::DropShards(request), Subject::Directory) => Ok(Authorized::Drop { request }),
        (PeerRequest::PutShard(_), Subject::Directory | Subject::Peer(_) | Subject::Admin(_))
        | (PeerRequest::GetShard(_), Subject::Peer(_) | Subject::Admin(_))
        | (PeerRequest::DropShards(_), Subject::Client { .. } | Subject::Peer(_) | Subject::Admin(_)) => {
            Err(Refusal::WrongRole)
        }
    }
}

/// Whether this can be a shard at all: index and lengths fit each other and the limits.
fn check_shape(request: &PutShard) -> Result<(), Refusal> {
    let len = usize::try_from(request.len).unwrap_or(usize::MAX);
    let sealed = usize::try_from(request.sealed_len).unwrap_or(usize::MAX);
    if len > SHARD_BYTES || sealed > SHARD_BYTES {
        return Err(Refusal::TooLarge(What::Shard));
    }
    let index_fits = usize::from(request.index) < request.redundancy.n();
    if len == 0 || !index_fits || shard_len(request.redundancy, sealed) != len {
        return Err(Refusal::Malformed);
    }
    Ok(())
}

/// Whether a grant with a good signature lets this device store now.
///
/// # Errors
/// [`Refusal::Grant`].
pub fn check_grant(
    grant: &Grant,
    cluster: ClusterId,
    account: AccountId,
    device: DeviceId,
    now: Timestamp,
) -> Result<(), Refusal> {
    grant.check(cluster, account, device, now).map_err(Refusal::Grant)
}

/// What the shard's record will say.
#[must_use]
pub fn meta_of(request: &PutShard, grant: &Grant) -> ShardMeta {
    ShardMeta {
        account: grant.account,
        chunk: request.chunk,
        index: request.index,
        redundancy: request.redundancy,
        sealed_len: request.sealed_len,
        generation: grant.generation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::address::ShardAddress;
    use common::bounded::BoundedVec;
    use common::id::{ChunkId, PeerId, VersionId};
    use common::identity::StatementKey;
    use common::redundancy::Redundancy;
    use common::signed::Signed;

    const OWN: AccountId = AccountId([2; 16]);
    const OTHER: AccountId = AccountId([9; 16]);
    const ADDRESS: ShardAddress = ShardAddress([5; 20]);

    fn put(redundancy: &str, index: u8, sealed_len: u32, len: u32) -> PutShard {
        let grant = Grant {
            cluster: ClusterId([1; 16]),
            generation: 1,
            account: OWN,
            device: DeviceId([3; 16]),
            upload: VersionId([4; 16]),
            bytes: 1,
            expires: Timestamp(1),
        };
        PutShard {
            grant: Signed::sign(&grant, &StatementKey::generate().unwrap()).unwrap(),
            chunk: ChunkId([1; 20]),
            index,
            redundancy: redundancy.parse::<Redundancy>().unwrap(),
            sealed_len,
            len,
            address: ADDRESS,
        }
    }

    fn get(account: Option<AccountId>) -> PeerRequest {
        PeerRequest::GetShard(GetShard { account, address: ADDRESS, offset: 0, len: 1 })
    }

    #[test]
    fn each_role_may_do_its_own_and_nothing_else() {
        let drop_them =
            || PeerRequest::DropShards(DropShards { generation: 1, account: OWN, shards: BoundedVec::empty() });
        let client = Subject::Client { device: DeviceId([3; 16]), account: OWN };
        let peer = Subject::Peer(PeerId([1; 16]));
        let admin = Subject::Admin(DeviceId([1; 16]));
        let check = |subject, request: PeerRequest, expected: Option<Refusal>| {
            let name = request.name();
            let found = authorize(&Identity { cluster: ClusterId([1; 16]), subject }, request).err();
            assert_eq!(found, expected, "{subject:?} {name}");
        };
        check(client, PeerRequest::PutShard(put("1/3", 0, 9, 9)), None);
        check(client, get(None), None);
        check(client, get(Some(OWN)), None);
        check(client, get(Some(OTHER)), Some(Refusal::Forbidden));
        check(client, drop_them(), Some(Refusal::WrongRole));
        check(Subject::Directory, PeerRequest::PutShard(put("1/3", 0, 9, 9)), Some(Refusal::WrongRole));
        check(Subject::Directory, get(Some(OTHER)), None);
        check(Subject::Directory, get(None), Some(Refusal::Malformed));
        check(Subject::Directory, drop_them(), None);
        for subject in [peer, admin] {
            check(subject, PeerRequest::PutShard(put("1/3", 0, 9, 9)), Some(Refusal::WrongRole));
            check(subject, get(Some(OWN)), Some(Refusal::WrongRole));
            check(subject, drop_them(), Some(Refusal::WrongRole));
        }
    }

    #[test]
    fn a_shard_that_cannot_be_is_refused() {
        let most = u32::try_from(SHARD_BYTES).unwrap();
        let check = |redundancy, index, sealed_len, len, expected: Option<Refusal>| {
            let found = check_shape(&put(redundancy, index, sealed_len, len)).err();
            assert_eq!(found, expected, "{redundancy} {index} {sealed_len} {len}");
        };
        check("1/3", 2, 100, 100, None);
        check("1/3", 3, 100, 100, Some(Refusal::Malformed));
        check("1/3", 0, 100, 99, Some(Refusal::Malformed));
        check("1/3", 0, 0, 0, Some(Refusal::Malformed));
        check("4/6", 5, 400_000, 100_000, None);
        check("4/6", 5, 400_000, 100_002, Some(Refusal::Malformed));
        check("1/1", 0, most, most, None);
        check("1/1", 0, most + 1, most + 1, Some(Refusal::TooLarge(What::Shard)));
        check("1/1", 0, u32::MAX, u32::MAX, Some(Refusal::TooLarge(What::Shard)));
        check("32/32", 0, u32::MAX, 134_217_728, Some(Refusal::TooLarge(What::Shard)));
    }
}
