//! Who is online, suspect, dead or revoked, and what the map says of it.

use common::history::HistoryPoint;

use super::*;

const TIMES: Times = Times {
    heartbeat: Duration::from_secs(2),
    suspect_after: Duration::from_secs(8),
    dead_after: Duration::from_secs(60),
    lost_after: Duration::from_secs(660),
};

fn record(writable: bool) -> Peer {
    Peer {
        label: "p".try_into().unwrap(),
        zone: "z".try_into().unwrap(),
        capacity: 5 << 30,
        addresses: vec!["h:1".try_into().unwrap()].try_into().unwrap(),
        writable,
        draining: false,
        enrolled: Timestamp(0),
        revoked: None,
    }
}

fn members(generation: u64, start: Instant) -> (Members, Arc<StatementKey>) {
    let key = Arc::new(StatementKey::generate().unwrap());
    let cluster = Cluster { cluster: ClusterId([1; 16]), generation, directory: Addresses::empty(), times: TIMES };
    let peers = vec![(PeerId([1; 16]), record(true)), (PeerId([2; 16]), record(true))];
    (Members::new(cluster, key.clone(), peers, BTreeSet::new(), (start, Timestamp(0))).unwrap(), key)
}

fn beat(leaving: bool) -> Heartbeat {
    Heartbeat {
        advertise: Addresses::empty(),
        label: "p".try_into().unwrap(),
        zone: "z".try_into().unwrap(),
        capacity: 5 << 30,
        used: 1,
        free: 2,
        shards: 3,
        trash: 0,
        quarantined: 0,
        scrub_since: None,
        scrubbed: None,
        writable: true,
        seen: HistoryPoint::NONE,
        map: 0,
        leaving,
    }
}

fn state(members: &Members, key: &StatementKey, peer: u8) -> PeerState {
    members.published().map.verify(&key.public()).unwrap().peer(PeerId([peer; 16])).unwrap().state
}

#[test]
fn peers_go_from_online_to_suspect_to_dead_and_come_back_and_the_epoch_rises() {
    let start = Instant::now();
    let (members, key) = members(3, start);
    let at = |seconds| (start + Duration::from_secs(seconds), Timestamp(seconds * 1000));
    let first = members.published().epoch;
    assert_eq!(first >> 32, 3);
    assert_eq!(state(&members, &key, 1), PeerState::Online, "a known peer has its grace after a restart");
    members.heard(PeerId([1; 16]), &beat(false), None, at(7));
    members.tick(at(8));
    assert_eq!(state(&members, &key, 1), PeerState::Online);
    assert_eq!(state(&members, &key, 2), PeerState::Suspect);
    let second = members.published().epoch;
    members.tick(at(9));
    assert_eq!(members.published().epoch, second, "nothing has changed");
    members.tick(at(60));
    assert_eq!(state(&members, &key, 1), PeerState::Suspect);
    assert_eq!(state(&members, &key, 2), PeerState::Dead);
    assert!(!members.roster().is_alive(PeerId([2; 16])) && members.roster().is_known(PeerId([2; 16])));
    members.heard(PeerId([2; 16]), &beat(false), None, at(61));
    assert_eq!(state(&members, &key, 2), PeerState::Online);
    members.heard(PeerId([2; 16]), &beat(true), None, at(62));
    assert_eq!(state(&members, &key, 2), PeerState::Suspect, "it is leaving");
    assert!(members.published().epoch > second && second > first);
}

#[test]
fn whoever_is_revoked_is_out_of_the_map_at_once() {
    let start = Instant::now();
    let (members, key) = members(1, start);
    members.revoke([2; 16], (start, Timestamp(1)));
    let map = members.published().map.verify(&key.public()).unwrap();
    assert!(map.peer(PeerId([2; 16])).is_none() && map.is_revoked(&[2; 16]));
    assert!(!members.roster().is_known(PeerId([2; 16])));
    members.heard(PeerId([2; 16]), &beat(false), Some(record(true)), (start, Timestamp(2)));
    assert!(!members.roster().is_alive(PeerId([2; 16])), "a heartbeat does not bring it back");
}

#[test]
fn a_heartbeat_tells_what_changed_and_the_address_is_the_one_seen_unless_told() {
    let (members, _) = members(1, Instant::now());
    let peer = PeerId([1; 16]);
    let seen: Addresses = vec!["h:1".try_into().unwrap()].try_into().unwrap();
    assert_eq!(members.changed(peer, &beat(false), &seen).unwrap(), None);
    let moved: Addresses = vec!["h:2".try_into().unwrap()].try_into().unwrap();
    assert_eq!(members.changed(peer, &beat(false), &moved).unwrap().unwrap().addresses, moved);
    let told = Heartbeat { advertise: seen, ..beat(false) };
    assert_eq!(members.changed(peer, &told, &moved).unwrap(), None);
    assert!(members.changed(PeerId([9; 16]), &beat(false), &moved).is_err());
}
