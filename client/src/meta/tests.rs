//! Tests of entries and versions.

use common::bounded::BoundedBytes;
use common::id::{AccountId, NameToken, NodeId, VersionId};
use common::limits::{LINK_TARGET_BYTES, NAME_BYTES};
use common::proto::parts::{EntryView, NodeKind};
use common::redundancy::Redundancy;
use proptest::prelude::*;

use super::*;
use crate::keys::{Keys, MasterKey};
use crate::manifest::ManifestKey;
use crate::names::Name;
use crate::seal::{IntegrityError, aead};

fn keys() -> Keys {
    MasterKey([7; 32]).derive()
}

fn entry_place(name: &Name) -> EntryPlace {
    EntryPlace::of(&keys(), AccountId([1; 16]), NodeId([2; 16]), name, NodeId([3; 16]))
}

fn version_place() -> VersionPlace {
    VersionPlace { account: AccountId([1; 16]), node: NodeId([3; 16]), version: VersionId([4; 16]) }
}

fn file() -> VersionMeta {
    VersionMeta {
        content: Content::File,
        size: 70_000,
        mtime: Mtime { seconds: -2, nanos: 5 },
        mode: 0o644,
        pages: 1,
        extents: 3,
        manifest_key: ManifestKey([9; 32]),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn the_longest_name_and_target_fit() {
    let name = Name::new(&[b'x'; NAME_BYTES]).unwrap();
    let folder = Some(FolderAttributes {
        mode: u32::MAX,
        mtime: Mtime { seconds: i64::MIN, nanos: NANOS - 1 },
        redundancy: Some(Redundancy::DEFAULT),
    });
    let entry = Entry { name: name.clone(), folder };
    let sealed = entry.seal(&keys(), &entry_place(&name)).unwrap();
    assert_eq!(Entry::open(&keys(), &entry_place(&name), &sealed).unwrap(), entry);
    let target = BoundedBytes::try_from(vec![0xff; LINK_TARGET_BYTES]).unwrap();
    let link = VersionMeta { content: Content::Link(target), size: 0, pages: 0, extents: 0, ..file() };
    let sealed = link.seal(&keys(), &version_place()).unwrap();
    assert_eq!(VersionMeta::open(&keys(), &version_place(), &sealed).unwrap(), link);
}

#[test]
fn a_swapped_entry_is_noticed() {
    let (name, other) = (Name::new(b"a").unwrap(), Name::new(b"b").unwrap());
    let place = entry_place(&name);
    let sealed = Entry { name: name.clone(), folder: None }.seal(&keys(), &place).unwrap();
    for wrong in [
        EntryPlace { account: AccountId([9; 16]), ..place },
        EntryPlace { folder: NodeId([9; 16]), ..place },
        EntryPlace { node: NodeId([9; 16]), ..place },
        EntryPlace { token: NameToken([9; 16]), ..place },
        entry_place(&other),
    ] {
        assert!(matches!(Entry::open(&keys(), &wrong, &sealed), Err(IntegrityError::Unauthentic { .. })));
    }
    // A faulty client of ours could seal a name under another one's token; that is noticed too.
    let wrong = Entry { name: other, folder: None }.seal(&keys(), &place).unwrap();
    assert!(matches!(Entry::open(&keys(), &place, &wrong), Err(IntegrityError::Inconsistent { .. })));
    let mut view = EntryView {
        folder: place.folder,
        token: place.token,
        node: place.node,
        kind: NodeKind::File,
        sealed,
        since: 0,
        version: None,
    };
    assert_eq!(Entry::open_view(&keys(), place.account, &view).unwrap().name, name);
    view.kind = NodeKind::Folder;
    assert!(Entry::open_view(&keys(), place.account, &view).is_err());
}

#[test]
fn a_swapped_or_contradictory_version_is_noticed() {
    let sealed = file().seal(&keys(), &version_place()).unwrap();
    for wrong in [
        VersionPlace { account: AccountId([9; 16]), ..version_place() },
        VersionPlace { node: NodeId([9; 16]), ..version_place() },
        VersionPlace { version: VersionId([9; 16]), ..version_place() },
    ] {
        assert!(matches!(VersionMeta::open(&keys(), &wrong, &sealed), Err(IntegrityError::Unauthentic { .. })));
    }
    for wrong in [
        VersionMeta { pages: 0, ..file() },
        VersionMeta { size: 0, ..file() },
        VersionMeta { extents: 0, ..file() },
        VersionMeta { content: Content::Link(BoundedBytes::default()), ..file() },
        VersionMeta { mtime: Mtime { seconds: 0, nanos: NANOS }, ..file() },
    ] {
        let sealed = wrong.seal(&keys(), &version_place()).unwrap();
        assert!(matches!(
            VersionMeta::open(&keys(), &version_place(), &sealed),
            Err(IntegrityError::Inconsistent { .. })
        ));
    }
}

#[test]
fn golden_bytes_of_entry_and_version() {
    let name = Name::new(b"dir").unwrap();
    let folder = Some(FolderAttributes { mode: 0o755, mtime: Mtime { seconds: 1, nanos: 2 }, redundancy: None });
    let entry = Entry { name: name.clone(), folder };
    let key = keys().node_key(NodeId([3; 16]));
    let sealing = entry::Sealing { name: &entry.name, folder: &entry.folder, key: &key };
    assert_eq!(hex(&common::codec::encode(&sealing).unwrap()), format!("0364697201fbed01020200{}", hex(&key.0)));
    let sealed = aead::tests::seal_fixed(
        &keys().node_key(NodeId([2; 16])).0,
        &entry_place(&name).place(),
        entry::FORMAT,
        &sealing,
    );
    assert_eq!(
        hex(&sealed),
        "010707070707070707070707070e5097e319bee5c5e94131781240e9c08a83c303c2724a6096e7e7544a24a0b769a525759f64f92e283c4215996ef8be13a99a93e28122713d40f816"
    );
    let encoded = hex(&common::codec::encode(&file()).unwrap());
    assert_eq!(encoded, format!("00fc701101000305fba4010103{}", "09".repeat(32)));
    let sealed = aead::tests::seal_fixed(&key.0, &version_place().place(), version::FORMAT, &file());
    assert_eq!(
        hex(&sealed),
        "01070707070707070707070707c9bd93fb01783841b18502f340740b8a1b8c9e0ad014fdc22985d61d06627f86c10f4e7b5e3fa97729a284e569dffbbedb8cf609bd0661f83d2ee4e6acae"
    );
}

#[test]
fn the_key_of_a_node_opens_what_is_below_it_and_nothing_else() {
    let keys = keys();
    let name = Name::new(b"name").unwrap();
    let place = entry_place(&name);
    let sealed = Entry { name: name.clone(), folder: None }.seal(&keys, &place).unwrap();
    let (opened, key) = Entry::open_with(&keys.node_key(place.folder), &place, &sealed).unwrap();
    assert_eq!(opened.name, name);
    let version = file().seal(&keys, &version_place()).unwrap();
    assert_eq!(VersionMeta::open_with(&key, &version_place(), &version).unwrap(), file());
    for other in [key.clone(), keys.node_key(NodeId([9; 16])), crate::keys::NodeKey(keys.layer.metadata)] {
        assert!(Entry::open_with(&other, &place, &sealed).is_err());
        if other != key {
            assert!(VersionMeta::open_with(&other, &version_place(), &version).is_err());
        }
    }
    assert!(VersionMeta::open_with(&keys.node_key(place.folder), &version_place(), &version).is_err());
}

#[test]
fn an_entry_that_carries_the_key_of_another_node_is_noticed() {
    let keys = keys();
    let name = Name::new(b"name").unwrap();
    let place = entry_place(&name);
    let entry = Entry { name, folder: None };
    assert!(entry.check_own(&keys, &place, &keys.node_key(place.node)).is_ok());
    assert!(matches!(
        entry.check_own(&keys, &place, &keys.node_key(place.folder)),
        Err(IntegrityError::Inconsistent { .. })
    ));
}

#[test]
fn times_before_1970_survive() {
    for time in [Mtime { seconds: -2, nanos: 5 }, Mtime { seconds: -1, nanos: 0 }, Mtime { seconds: 7, nanos: 9 }] {
        assert_eq!(Mtime::from_system(time.to_system().unwrap()), time);
    }
}

proptest! {
    #[test]
    fn every_changed_byte_is_noticed_and_no_bytes_panic(
        at in any::<prop::sample::Index>(), flip in 1_u8.., noise in prop::collection::vec(any::<u8>(), 0..99),
    ) {
        let name = Name::new(b"name").unwrap();
        let place = entry_place(&name);
        let mut sealed = Entry { name, folder: None }.seal(&keys(), &place).unwrap().into_inner();
        let at_entry = at.index(sealed.len());
        sealed[at_entry] ^= flip;
        prop_assert!(Entry::open(&keys(), &place, &sealed.try_into().unwrap()).is_err());
        let mut sealed = file().seal(&keys(), &version_place()).unwrap().into_inner();
        let at_meta = at.index(sealed.len());
        sealed[at_meta] ^= flip;
        prop_assert!(VersionMeta::open(&keys(), &version_place(), &sealed.try_into().unwrap()).is_err());
        prop_assert!(Entry::open(&keys(), &place, &noise.clone().try_into().unwrap()).is_err());
        let _ = common::codec::decode::<entry::Sealed>(&noise);
        let _ = common::codec::decode::<VersionMeta>(&noise);
    }
}
