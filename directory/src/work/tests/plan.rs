//! Plans: who repairs what, when, and where to.

use common::bounded::BoundedVec;
use common::proto::parts::Addresses;

use super::*;

const CHUNK: ChunkId = ChunkId([7; 20]);

fn peer(number: u8) -> PeerId {
    PeerId([number; 16])
}

fn address(redundancy: Redundancy, index: u8) -> ShardAddress {
    ShardAddress([if redundancy.k() == 1 { 0 } else { index }; 20])
}

/// A chunk with these indices on these peers.
fn chunk(redundancy: &str, shards: &[(u8, u8)]) -> Chunk {
    let redundancy: Redundancy = redundancy.parse().unwrap();
    let named = if redundancy.k() == 1 { 1 } else { u8::try_from(redundancy.n()).unwrap() };
    let addresses: Vec<_> = (0..named).map(|index| address(redundancy, index)).collect();
    let at = |(index, on): &(u8, u8)| ShardAt { index: *index, peer: peer(*on), address: address(redundancy, *index) };
    Chunk {
        sealed_len: 100_000,
        redundancy,
        key: vec![1].try_into().unwrap(),
        addresses: addresses.try_into().unwrap(),
        shards: BoundedVec::try_from(shards.iter().map(at).collect::<Vec<_>>()).unwrap(),
        condemned: false,
    }
}

/// Peers 1 to `count`, each in a zone of its own, online and verified.
fn view(count: u8) -> View {
    let entry = |number: u8| PeerEntry {
        peer: peer(number),
        state: PeerState::Online,
        writable: true,
        weight: 10,
        zone: format!("z{number}").try_into().unwrap(),
        addresses: Addresses::empty(),
    };
    let peers: HashMap<_, _> = (1..=count).map(|number| (peer(number), entry(number))).collect();
    View { verified: peers.keys().copied().collect(), peers, ..View::default() }
}

fn set(view: &mut View, number: u8, state: PeerState) {
    view.peers.get_mut(&peer(number)).unwrap().state = state;
    view.verified.remove(&peer(number));
}

fn made(found: Plan) -> Vec<(u8, PeerId)> {
    match found {
        Plan::Make { make, .. } => make.into_iter().map(|make| (make.index, make.target)).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_chunk_that_can_spare_a_peer_waits_for_it_and_one_that_cannot_does_not() {
    let three = chunk("1/3", &[(0, 1), (1, 2), (2, 3)]);
    let mut view = view(5);
    assert_eq!(plan(&CHUNK, &three, &view), Plan::Whole);
    set(&mut view, 1, PeerState::Suspect);
    assert_eq!(plan(&CHUNK, &three, &view), Plan::Whole, "who is suspect still has it");
    set(&mut view, 1, PeerState::Dead);
    assert_eq!(plan(&CHUNK, &three, &view), Plan::Wait);
    view.lost.insert(peer(1));
    let make = made(plan(&CHUNK, &three, &view));
    assert_eq!(make.len(), 1);
    assert!([peer(4), peer(5)].contains(&make[0].1));
    view.lost.clear();
    set(&mut view, 2, PeerState::Dead);
    assert_eq!(made(plan(&CHUNK, &three, &view)).len(), 2, "one copy is left: nobody is waited for");
    set(&mut view, 3, PeerState::Dead);
    assert_eq!(plan(&CHUNK, &three, &view), Plan::Unreadable);
}

/// As the model found it: two peers with the same two shares each, of which neither was ever the one too many.
#[test]
fn shares_that_two_peers_have_twice_are_trimmed_however_they_lie() {
    let view = view(4);
    for shards in [
        vec![(3, 1), (3, 4), (1, 4), (0, 2), (1, 1), (2, 3)],
        vec![(1, 4), (3, 4), (3, 1), (0, 2), (2, 3)],
        vec![(3, 1), (3, 4), (1, 4), (0, 2), (2, 3)],
    ] {
        for id in 0..24 {
            let mut record = chunk("2/4", &shards);
            let Plan::Trim(extra) = plan(&ChunkId([id; 20]), &record, &view) else { panic!("{shards:?} stays") };
            assert_eq!(extra.len(), shards.len() - 4);
            let left = record.shards.iter().filter(|shard| !extra.contains(shard)).copied();
            record.shards = left.collect::<Vec<_>>().try_into().unwrap();
            let peers: HashSet<_> = record.shards.iter().map(|shard| shard.peer).collect();
            let indices: HashSet<_> = record.shards.iter().map(|shard| shard.index).collect();
            assert_eq!((peers.len(), indices.len()), (4, 4), "{shards:?} without {extra:?}");
            assert_eq!(plan(&ChunkId([id; 20]), &record, &view), Plan::Whole);
        }
    }
}

#[test]
fn two_shares_on_one_peer_can_be_read_though_one_loss_takes_both() {
    let code = chunk("2/4", &[(0, 1), (1, 1), (2, 2), (3, 3)]);
    let mut view = view(5);
    for number in [2, 3] {
        set(&mut view, number, PeerState::Dead);
    }
    let Plan::Make { sources, make } = plan(&CHUNK, &code, &view) else { panic!("nothing is made") };
    assert_eq!(
        sources.iter().map(|source| (source.index, source.peer)).collect::<Vec<_>>(),
        [(0, peer(1)), (1, peer(1))]
    );
    assert_eq!(make.len(), 2, "nobody is waited for, and two peers can take one");
}

#[test]
fn of_a_code_exactly_the_missing_shares_are_made_from_those_that_live() {
    let code = chunk("2/4", &[(0, 1), (1, 2), (2, 3), (3, 4)]);
    let mut view = view(6);
    set(&mut view, 2, PeerState::Dead);
    assert_eq!(plan(&CHUNK, &code, &view), Plan::Wait);
    set(&mut view, 4, PeerState::Dead);
    let Plan::Make { sources, make } = plan(&CHUNK, &code, &view) else { panic!("nothing is made") };
    assert_eq!(sources.iter().map(|source| source.index).collect::<HashSet<_>>(), HashSet::from([0, 2]));
    let indices: HashSet<_> = make.iter().map(|make| make.index).collect();
    assert_eq!(indices, HashSet::from([1, 3]));
    for make in make {
        assert_eq!(make.address, ShardAddress([make.index; 20]), "what was registered, and nothing else");
        assert!([peer(5), peer(6)].contains(&make.target));
    }
}

#[test]
fn a_shard_that_never_was_is_made_at_once() {
    let mut view = view(4);
    assert_eq!(made(plan(&CHUNK, &chunk("1/3", &[(0, 1), (1, 2)]), &view)).len(), 1);
    assert_eq!(made(plan(&CHUNK, &chunk("1/4", &[(0, 1), (1, 2)]), &view)).len(), 2);
    set(&mut view, 3, PeerState::Dead);
    view.peers.get_mut(&peer(4)).unwrap().writable = false;
    assert_eq!(plan(&CHUNK, &chunk("1/3", &[(0, 1), (1, 2)]), &view), Plan::Nowhere);
}

#[test]
fn a_zone_without_a_shard_comes_before_one_that_has_some() {
    let mut view = view(6);
    for number in [3, 4, 5] {
        view.peers.get_mut(&peer(number)).unwrap().zone = "z1".try_into().unwrap();
    }
    let make = made(plan(&CHUNK, &chunk("1/3", &[(0, 1), (1, 2)]), &view));
    assert_eq!(make[0].1, peer(6));
}

#[test]
fn who_is_emptied_is_replaced_before_it_is_given_up() {
    let mut view = view(4);
    view.draining.insert(peer(2));
    view.peers.get_mut(&peer(2)).unwrap().writable = false;
    let three = chunk("1/3", &[(0, 1), (1, 2), (2, 3)]);
    let Plan::Make { make, .. } = plan(&CHUNK, &three, &view) else { panic!("nothing is moved") };
    assert_eq!(make.len(), 1);
    assert_eq!((make[0].target, make[0].instead_of), (peer(4), Some(peer(2))));
    set(&mut view, 4, PeerState::Dead);
    assert_eq!(plan(&CHUNK, &three, &view), Plan::Nowhere, "there is nobody to take it, so it stays");
}

#[test]
fn what_is_too_many_goes_only_when_all_that_stay_are_verified() {
    let four = chunk("1/3", &[(0, 1), (1, 2), (2, 3), (0, 4)]);
    let mut view = view(4);
    let Plan::Trim(extra) = plan(&CHUNK, &four, &view) else { panic!("nothing is trimmed") };
    assert_eq!(extra.len(), 1);
    view.verified.remove(&peer(1));
    let found = plan(&CHUNK, &four, &view);
    assert_eq!(found, Plan::Whole, "a peer that just came back may have lost its disk");
}

#[test]
fn a_new_peer_gets_what_rendezvous_gives_it_and_nothing_moves_otherwise() {
    let mut moved = 0;
    for number in 0..200_u8 {
        let id = ChunkId([number; 20]);
        let order = place::order_of(&id, view(4).peers.values());
        let on: Vec<_> = (0..).zip(&order).take(2).map(|(index, peer)| (index, peer.0[0])).collect();
        let two = chunk("1/2", &on);
        assert_eq!(rebalance(&id, &two, &view(4)), None);
        if let Some((from, to)) = rebalance(&id, &two, &view(5)) {
            assert_eq!(to, peer(5));
            assert!(order[..2].contains(&from.peer));
            moved += 1;
        }
    }
    assert!((50..110).contains(&moved), "two of five peers hold each chunk: the new one about 80 of 200, not {moved}");
}

#[test]
fn what_a_removed_peer_had_is_forgotten_once_it_was_made_anew() {
    let mut view = view(5);
    view.peers.remove(&peer(5));
    view.lost.insert(peer(5));
    let (gone, kept) = ((2, 5), [(0, 1), (1, 2)]);
    let of = |more: &[(u8, u8)]| chunk("2/3", &[&[gone], &kept[..], more].concat());
    assert_eq!(made(plan(&CHUNK, &of(&[]), &view)).len(), 1);
    let whole = of(&[(2, 3)]);
    assert_eq!(plan(&CHUNK, &whole, &view), Plan::Trim(vec![whole.shards[0]]));
}

#[test]
fn a_doubled_share_does_not_keep_its_peer_from_taking_the_one_that_is_missing() {
    let doubled = chunk("2/4", &[(0, 1), (0, 2), (2, 3), (3, 4)]);
    let make = made(plan(&CHUNK, &doubled, &view(4)));
    assert_eq!(make, [(1, peer(2))]);
    // Once it has both, the doubled one goes.
    let both = chunk("2/4", &[(1, 2), (0, 1), (0, 2), (2, 3), (3, 4)]);
    let Plan::Trim(extra) = plan(&CHUNK, &both, &view(4)) else { panic!("nothing is trimmed") };
    assert_eq!(extra.iter().map(|shard| (shard.index, shard.peer)).collect::<Vec<_>>(), [(0, peer(2))]);
}

#[test]
fn what_is_too_many_goes_from_a_peer_that_is_emptied_though_nobody_could_take_it() {
    let mut view = view(4);
    view.draining.insert(peer(4));
    let copies = chunk("1/3", &[(0, 4), (0, 3), (1, 1), (2, 2)]);
    assert_eq!(plan(&CHUNK, &copies, &view), Plan::Trim(vec![copies.shards[0]]));
    let shares = chunk("2/3", &[(0, 4), (0, 3), (1, 1), (2, 2)]);
    assert_eq!(plan(&CHUNK, &shares, &view), Plan::Trim(vec![shares.shards[0]]));
    view.verified.remove(&peer(3));
    assert_eq!(plan(&CHUNK, &copies, &view), Plan::Whole, "who stays has to be known to have it");
}
