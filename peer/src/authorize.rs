//! Authorize: who may ask what of a peer. Pure; all checks that need no bytes of a shard are made here, before any is read.
//!
//! | | client | directory | peer | admin |
//! |---|---|---|---|---|
//! | put, put in a chain | with a grant of its own device | no | with the grant of the device whose bytes it passes on | no |
//! | get | its own account's | any account's | no | no |
//! | fetch | no | no | with a pass of its own, for one chunk | no |
//! | make, condemn, drop, digest, list | no | yes | no | no |
//!
//! A peer has seen the grants of all devices that store with it, and could show them elsewhere for other bytes. That buys it no
//! more than room: until the grant expires, as many bytes on each peer as the device may store, of an account that it cannot read
//! for and under addresses that nobody registers.

use std::collections::HashSet;

use common::erasure::shard_len;
use common::grant::Grant;
use common::id::{AccountId, ClusterId, DeviceId, PeerId};
use common::identity::{Identity, Subject};
use common::limits::SHARD_BYTES;
use common::proto::Refusal;
use common::proto::peer::{
    CondemnShards, DropShards, FetchShard, GetShard, ListShards, MakeShard, Onward, PeerRequest, PutChain, PutShard,
    ReadShard,
};
use common::proto::refusal::What;
use common::time::Timestamp;

use crate::store::{ShardKey, ShardMeta};

/// A request that its caller may make.
#[derive(Debug)]
pub enum Authorized {
    /// Its grant is still to be checked, by [`check_grant`].
    Put {
        by: Bringer,
        request: PutShard,
    },
    /// Likewise.
    Chain {
        by: Bringer,
        request: PutChain,
    },
    Get {
        key: ShardKey,
        request: GetShard,
    },
    /// Its pass is still to be checked.
    Fetch {
        peer: PeerId,
        request: FetchShard,
    },
    /// Likewise.
    Read {
        reader: DeviceId,
        request: ReadShard,
    },
    Make {
        request: Box<MakeShard>,
    },
    Condemn {
        request: CondemnShards,
    },
    Drop {
        request: DropShards,
    },
    Digest,
    List {
        request: ListShards,
    },
}

/// Who brings a shard, and so whose grants it may show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bringer {
    /// Its own.
    Device { account: AccountId, device: DeviceId },
    /// Any device's: a peer passes on what a device has sent.
    Peer,
}

/// `own` is the peer that is asked.
///
/// # Errors
/// [`Refusal::WrongRole`], [`Refusal::Forbidden`] for another account's shards; [`Refusal::Malformed`] or
/// [`Refusal::TooLarge`] for what cannot be meant.
pub fn authorize(who: &Identity, own: PeerId, request: PeerRequest) -> Result<Authorized, Refusal> {
    match (request, who.subject) {
        (PeerRequest::PutShard(request), subject) => {
            let by = bringer(subject)?;
            check_shape(&request)?;
            Ok(Authorized::Put { by, request })
        }
        (PeerRequest::PutChain(request), subject) => {
            let by = bringer(subject)?;
            check_shape(&request.put)?;
            check_onward(own, &request)?;
            Ok(Authorized::Chain { by, request })
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
        (PeerRequest::FetchShard(request), Subject::Peer(peer)) => Ok(Authorized::Fetch { peer, request }),
        (
            PeerRequest::ReadShard(request),
            Subject::Client { device: reader, .. } | Subject::Guest { guest: reader, .. },
        ) => Ok(Authorized::Read { reader, request }),
        (PeerRequest::MakeShard(request), Subject::Directory) => {
            check_make(&request)?;
            Ok(Authorized::Make { request: Box::new(request) })
        }
        (PeerRequest::CondemnShards(request), Subject::Directory) => Ok(Authorized::Condemn { request }),
        (PeerRequest::DropShards(request), Subject::Directory) => Ok(Authorized::Drop { request }),
        (PeerRequest::Digest(_), Subject::Directory) => Ok(Authorized::Digest),
        (PeerRequest::ListShards(request), Subject::Directory) => Ok(Authorized::List { request }),
        (
            PeerRequest::GetShard(_)
            | PeerRequest::FetchShard(_)
            | PeerRequest::ReadShard(_)
            | PeerRequest::MakeShard(_)
            | PeerRequest::CondemnShards(_)
            | PeerRequest::DropShards(_)
            | PeerRequest::Digest(_)
            | PeerRequest::ListShards(_),
            _,
        ) => Err(Refusal::WrongRole),
    }
}

fn bringer(subject: Subject) -> Result<Bringer, Refusal> {
    match subject {
        Subject::Client { device, account } => Ok(Bringer::Device { account, device }),
        Subject::Peer(_) => Ok(Bringer::Peer),
        Subject::Directory | Subject::Admin(_) | Subject::Guest { .. } => Err(Refusal::WrongRole),
    }
}

/// Whether a copy can be passed on like this: all shards are alike, and no peer and no index comes twice.
fn check_onward(own: PeerId, request: &PutChain) -> Result<(), Refusal> {
    if request.onward.is_empty() {
        return Ok(());
    }
    let mut peers = HashSet::from([own]);
    let mut indices = HashSet::from([request.put.index]);
    let fits = |onward: &Onward| usize::from(onward.index) < request.put.redundancy.n();
    let alike = request.put.redundancy.k() == 1;
    let once = request.onward.iter().all(|onward| peers.insert(onward.peer) && indices.insert(onward.index));
    if alike && once && request.onward.iter().all(fits) { Ok(()) } else { Err(Refusal::Malformed) }
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

/// Whether such a shard can be made at all, if there are sources.
fn check_make(request: &MakeShard) -> Result<(), Refusal> {
    let sealed = usize::try_from(request.sealed_len).unwrap_or(usize::MAX);
    let longest = shard_len(request.from, sealed.min(SHARD_BYTES)).max(shard_len(request.to, sealed.min(SHARD_BYTES)));
    if sealed > SHARD_BYTES || longest > SHARD_BYTES {
        return Err(Refusal::TooLarge(What::Shard));
    }
    let fits = request.sources.iter().all(|source| usize::from(source.index) < request.from.n());
    if sealed == 0 || !fits || usize::from(request.index) >= request.to.n() {
        return Err(Refusal::Malformed);
    }
    Ok(())
}

/// Whether a grant with a good signature lets this bringer store now. Who brings for a device that is revoked is refused like
/// the device itself.
///
/// # Errors
/// [`Refusal::Grant`], [`Refusal::Revoked`].
pub fn check_grant(
    grant: &Grant,
    cluster: ClusterId,
    by: Bringer,
    revoked: &HashSet<[u8; 16]>,
    now: Timestamp,
) -> Result<(), Refusal> {
    let (account, device) = match by {
        Bringer::Device { account, device } => (account, device),
        Bringer::Peer => (grant.account, grant.device),
    };
    grant.check(cluster, account, device, now).map_err(Refusal::Grant)?;
    if revoked.contains(&device.0) { Err(Refusal::Revoked) } else { Ok(()) }
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
    use common::id::{ChunkId, ShareId, VersionId};
    use common::identity::StatementKey;
    use common::pass::{Pass, Reader, SignedPass};
    use common::proto::parts::ShardAt;
    use common::proto::peer::Digest;
    use common::proto::refusal::GrantFault;
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

    fn pass() -> SignedPass {
        let pass = Pass {
            cluster: ClusterId([1; 16]),
            reader: Reader::Peer(SELF),
            account: OWN,
            chunks: vec![ChunkId([1; 20])].try_into().unwrap(),
            expires: Timestamp(1),
        };
        Signed::sign(&pass, &StatementKey::generate().unwrap()).unwrap()
    }

    fn make(from: &str, to: &str, index: u8, sealed_len: u32) -> MakeShard {
        let source = ShardAt { index: 3, peer: SELF, address: ADDRESS };
        MakeShard {
            generation: 1,
            pass: pass(),
            account: OWN,
            chunk: ChunkId([1; 20]),
            sealed_len,
            from: from.parse().unwrap(),
            sources: vec![source].try_into().unwrap(),
            to: to.parse().unwrap(),
            index,
            address: None,
        }
    }

    #[test]
    fn what_cannot_be_made_is_refused() {
        let most = u32::try_from(SHARD_BYTES).unwrap();
        let check = |from: &str, to: &str, index, sealed_len, expected: Result<(), Refusal>| {
            assert_eq!(check_make(&make(from, to, index, sealed_len)), expected, "{from} {to} {index} {sealed_len}");
        };
        check("4/6", "1/3", 2, 100, Ok(()));
        check("4/6", "1/3", 3, 100, Err(Refusal::Malformed));
        check("1/3", "4/6", 0, 100, Err(Refusal::Malformed)); // a source of index 3
        check("4/6", "1/3", 0, 0, Err(Refusal::Malformed));
        check("4/6", "1/1", 0, most, Ok(()));
        check("4/6", "1/1", 0, most + 1, Err(Refusal::TooLarge(What::Shard)));
        check("4/6", "1/1", 0, u32::MAX, Err(Refusal::TooLarge(What::Shard)));
    }

    const SELF: PeerId = PeerId([8; 16]);

    fn chain(redundancy: &str, onward: &[(u8, u8)]) -> PeerRequest {
        let onward: Vec<_> =
            onward.iter().map(|(index, peer)| Onward { index: *index, peer: PeerId([*peer; 16]) }).collect();
        PeerRequest::PutChain(PutChain { put: put(redundancy, 0, 9, 9), onward: onward.try_into().unwrap() })
    }

    #[test]
    fn each_role_may_do_its_own_and_nothing_else() {
        let orders = || {
            [
                PeerRequest::DropShards(DropShards { generation: 1, shards: BoundedVec::empty() }),
                PeerRequest::CondemnShards(CondemnShards { generation: 1, shards: BoundedVec::empty() }),
                PeerRequest::MakeShard(make("4/6", "1/3", 2, 100_000)),
                PeerRequest::Digest(Digest {}),
                PeerRequest::ListShards(ListShards { part: 0, after: None }),
            ]
        };
        let read = || PeerRequest::ReadShard(ReadShard { pass: pass(), address: ADDRESS, offset: 0, len: 1 });
        let fetch = || PeerRequest::FetchShard(FetchShard { pass: pass(), address: ADDRESS });
        let stores = || [PeerRequest::PutShard(put("1/3", 0, 9, 9)), chain("1/3", &[(1, 1), (2, 2)])];
        let client = Subject::Client { device: DeviceId([3; 16]), account: OWN };
        let peer = Subject::Peer(PeerId([1; 16]));
        let admin = Subject::Admin(DeviceId([1; 16]));
        let guest = Subject::Guest { guest: DeviceId([1; 16]), share: ShareId([1; 16]) };
        let check = |subject, request: PeerRequest, expected: Option<Refusal>| {
            let name = request.name();
            let found = authorize(&Identity { cluster: ClusterId([1; 16]), subject }, SELF, request).err();
            assert_eq!(found, expected, "{subject:?} {name}");
        };
        for subject in [client, peer] {
            stores().into_iter().for_each(|store| check(subject, store, None));
        }
        for subject in [Subject::Directory, admin, guest] {
            stores().into_iter().for_each(|store| check(subject, store, Some(Refusal::WrongRole)));
        }
        check(client, get(None), None);
        check(client, get(Some(OWN)), None);
        check(client, get(Some(OTHER)), Some(Refusal::Forbidden));
        check(Subject::Directory, get(Some(OTHER)), None);
        check(Subject::Directory, get(None), Some(Refusal::Malformed));
        orders().into_iter().for_each(|order| check(Subject::Directory, order, None));
        for subject in [client, peer, admin, guest] {
            orders().into_iter().for_each(|order| check(subject, order, Some(Refusal::WrongRole)));
        }
        check(peer, fetch(), None);
        for subject in [client, Subject::Directory, admin, guest] {
            check(subject, fetch(), Some(Refusal::WrongRole));
        }
        for subject in [client, guest] {
            check(subject, read(), None);
        }
        for subject in [peer, Subject::Directory, admin] {
            check(subject, read(), Some(Refusal::WrongRole));
        }
        for subject in [peer, admin, guest] {
            check(subject, get(None), Some(Refusal::WrongRole));
            check(subject, get(Some(OWN)), Some(Refusal::WrongRole));
        }
    }

    #[test]
    fn a_chain_names_copies_only_and_nobody_twice_and_not_who_is_asked() {
        let who = Identity { cluster: ClusterId([1; 16]), subject: Subject::Peer(PeerId([1; 16])) };
        let check = |redundancy: &str, onward: &[(u8, u8)], expected: Option<Refusal>| {
            let found = authorize(&who, SELF, chain(redundancy, onward)).err();
            assert_eq!(found, expected, "{redundancy} {onward:?}");
        };
        check("1/3", &[], None);
        check("1/3", &[(2, 2), (1, 1)], None);
        check("1/3", &[(1, 1), (2, 8)], Some(Refusal::Malformed));
        check("1/3", &[(1, 1), (2, 1)], Some(Refusal::Malformed));
        check("1/3", &[(1, 1), (1, 2)], Some(Refusal::Malformed));
        check("1/3", &[(0, 1)], Some(Refusal::Malformed));
        check("1/3", &[(3, 1)], Some(Refusal::Malformed));
        check("1/3", &[(1, 1), (2, 2), (2, 3)], Some(Refusal::Malformed));
        let mut coded = chain("4/6", &[(1, 1)]);
        if let PeerRequest::PutChain(request) = &mut coded {
            (request.put.sealed_len, request.put.len) = (400_000, 100_000);
        }
        assert_eq!(authorize(&who, SELF, coded).err(), Some(Refusal::Malformed));
    }

    #[test]
    fn a_peer_shows_the_grant_of_any_device_that_is_not_revoked() {
        let grant = Grant {
            cluster: ClusterId([1; 16]),
            generation: 1,
            account: OWN,
            device: DeviceId([3; 16]),
            upload: VersionId([4; 16]),
            bytes: 1,
            expires: Timestamp(10),
        };
        let own = Bringer::Device { account: OWN, device: DeviceId([3; 16]) };
        let other = Bringer::Device { account: OTHER, device: DeviceId([3; 16]) };
        let (nobody, revoked) = (HashSet::new(), HashSet::from([[3; 16]]));
        let check = |by, cluster, revoked, now, expected: Result<(), Refusal>| {
            assert_eq!(check_grant(&grant, ClusterId([cluster; 16]), by, revoked, Timestamp(now)), expected, "{by:?}");
        };
        check(other, 1, &nobody, 10, Err(Refusal::Grant(GrantFault::NotYours)));
        for by in [own, Bringer::Peer] {
            check(by, 1, &nobody, 10, Ok(()));
            check(by, 2, &nobody, 10, Err(Refusal::Grant(GrantFault::OtherCluster)));
            check(by, 1, &nobody, 11, Err(Refusal::Grant(GrantFault::Expired(Timestamp(10)))));
            check(by, 1, &revoked, 10, Err(Refusal::Revoked));
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
