//! Every key has its golden bytes, and its ids come out again.

use common::id::ShareId;

use super::*;

const A: AccountId = AccountId([0xaa; 16]);

#[test]
fn keys_are_golden() {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (a, n, v, c, p) = ("aa".repeat(16), "bb".repeat(16), "cc".repeat(16), "dd".repeat(20), "ee".repeat(16));
    let (node_id, token) = (NodeId([0xbb; 16]), NameToken([0xbb; 16]));
    let (version_id, chunk_id, peer_id) = (VersionId([0xcc; 16]), ChunkId([0xdd; 20]), PeerId([0xee; 16]));
    let at = Timestamp(0x0102);
    let cases = [
        (cluster().into_bytes(), "0101".to_owned()),
        (generation().into_bytes(), "0102".to_owned()),
        (account(A).into_bytes(), format!("02{a}")),
        (account_name("ann").into_bytes(), "03616e6e".to_owned()),
        (device(DeviceId([0xbb; 16])).into_bytes(), format!("04{n}")),
        (peer(peer_id).into_bytes(), format!("05{p}")),
        (ticket(TicketId([0xbb; 16])).into_bytes(), format!("06{n}")),
        (moment(at).into_bytes(), "070000000000000102".to_owned()),
        (done([0xbb; 16], RequestId([0xcc; 16])).into_bytes(), format!("08{n}{v}")),
        (done_at(at, [0xbb; 16], RequestId([0xcc; 16])).into_bytes(), format!("090000000000000102{n}{v}")),
        (entry(A, node_id, token).into_bytes(), format!("10{a}{n}{n}")),
        (entry_history(A, node_id, token, 0x0102).into_bytes(), format!("11{a}{n}{n}0000000000000102")),
        (node(A, node_id).into_bytes(), format!("12{a}{n}")),
        (node_history(A, node_id, 0x0102).into_bytes(), format!("13{a}{n}0000000000000102")),
        (guard(A, node_id).into_bytes(), format!("14{a}{n}")),
        (version(A, version_id).into_bytes(), format!("20{a}{v}")),
        (page(A, version_id, 0x0102).into_bytes(), format!("21{a}{v}00000102")),
        (pending(A, version_id).into_bytes(), format!("22{a}{v}")),
        (hold(A, version_id, chunk_id).into_bytes(), format!("23{a}{v}{c}")),
        (chunk(A, chunk_id).into_bytes(), format!("28{a}{c}")),
        (chunk_history(A, chunk_id, 0x0102).into_bytes(), format!("29{a}{c}0000000000000102")),
        (reference(A, chunk_id, version_id).into_bytes(), format!("2a{a}{c}{v}")),
        (held(peer_id, A, ShardAddress([0xdd; 20])).into_bytes(), format!("2b{p}{a}{c}")),
        (collect(A, chunk_id).into_bytes(), format!("2d{a}{c}")),
        (recode(A, chunk_id).into_bytes(), format!("2e{a}{c}")),
        (going(A, version_id).into_bytes(), format!("33{a}{v}")),
        (usage(A, 7).into_bytes(), format!("34{a}07")),
        (quota(A).into_bytes(), format!("35{a}")),
        (ring(A).into_bytes(), format!("36{a}")),
        (conflict(A, version_id).into_bytes(), format!("37{a}{v}")),
        (snapshot(A, token).into_bytes(), format!("32{a}{n}")),
        (start(0x0102).into_bytes(), "01030000000000000102".to_owned()),
        (fence().into_bytes(), "0104".to_owned()),
        (share(ShareId([0xbb; 16])).into_bytes(), format!("38{n}")),
        (share_of(A, ShareId([0xbb; 16])).into_bytes(), format!("39{a}{n}")),
        (share_guests(ShareId([0xbb; 16])).into_bytes(), format!("3a{n}")),
        (repair(A, chunk_id).into_bytes(), format!("2c{a}{c}")),
        (content(A, common::id::ContentId([0xdd; 20])).into_bytes(), format!("3e{a}{c}")),
        (packed(A, chunk_id, version_id).into_bytes(), format!("3f{a}{c}{v}")),
    ];
    for (key, expected) in cases {
        assert_eq!(hex(&key), expected);
        assert!(key.len() <= common::limits::KEY_BYTES);
    }
}

#[test]
fn ranges_hold_their_keys_and_no_others() {
    let folder = NodeId([0xff; 16]);
    let range = entries(AccountId([0xff; 16]), folder);
    let key = entry(AccountId([0xff; 16]), folder, NameToken([0xff; 16])).into_bytes();
    assert!(range.from <= key && key < range.to);
    assert_eq!(range.to, [0x11]);
    let range = entries(A, NodeId([1; 16]));
    let next = entry(A, NodeId([2; 16]), NameToken([0; 16])).into_bytes();
    assert!(next >= range.to);
    let behind = pages(A, VersionId([1; 16]), 7);
    assert!(page(A, VersionId([1; 16]), 6).into_bytes() < behind.from);
}

#[test]
fn ids_come_back_out_of_keys() {
    let (upload, chunk_id) = (VersionId([7; 16]), ChunkId([8; 20]));
    assert_eq!(ids_of_pending(pending(A, upload).bytes()).unwrap(), (A, upload));
    assert_eq!(ids_of_chunk(chunk(A, chunk_id).bytes()).unwrap(), (A, chunk_id));
    assert_eq!(chunk_of_hold(hold(A, upload, chunk_id).bytes()).unwrap(), chunk_id);
    let id = ShareId([6; 16]);
    assert_eq!(id_of_share(share(id).bytes()).unwrap(), id_of_share(share_of(A, id).bytes()).unwrap());
    let request = RequestId([5; 16]);
    assert_eq!(
        ids_of_done_at(done_at(Timestamp(1), [4; 16], request).bytes()).unwrap(),
        (Timestamp(1), [4; 16], request)
    );
    assert!(ids_of_chunk(&[0x28; 5]).is_err());
    let (folder, token) = (NodeId([1; 16]), NameToken([2; 16]));
    assert_eq!(place_of_entry(entry(A, folder, token).bytes()).unwrap(), (folder, token));
    assert_eq!(ids_of_entry_history(entry_history(A, folder, token, 9).bytes()).unwrap(), (folder, token, 9));
    assert_eq!(ids_of_node_history(node_history(A, folder, 9).bytes()).unwrap(), (folder, 9));
}
