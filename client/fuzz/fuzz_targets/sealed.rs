//! Everything that the client opens: `[what u8][seal u8][bytes]`. With an even `seal` the bytes come as a lying directory would send
//! them; with an odd one they are the plaintext, sealed with the right key for the right place, as another device of the account
//! (a later or broken program) could have done, so that what is behind the AEAD is reached.

#![no_main]

use std::sync::LazyLock;

use client::keys::{Keys, MasterKey, NodeKey};
use client::manifest::{ManifestKey, Page, PageId, Reader, Totals};
use client::meta::{Entry, EntryPlace, FolderAttributes, VersionMeta, VersionPlace};
use client::names::Name;
use client::seal::aead::{self, Place};
use client::seal::{Codec, ExtentKey, IntegrityError, Secret, open_chunk_key, seal_chunk_key};
use common::bounded::BoundedBytes;
use common::id::{AccountId, ChunkId, NodeId, VersionId};
use libfuzzer_sys::fuzz_target;
use serde::{Serialize, Serializer, ser::SerializeTuple};

const ACCOUNT: AccountId = AccountId([1; 16]);
const FOLDER: NodeId = NodeId([2; 16]);
const NODE: NodeId = NodeId([3; 16]);
const VERSION: VersionId = VersionId([4; 16]);
const CHUNK: ChunkId = ChunkId([5; 20]);
const MANIFEST: ManifestKey = ManifestKey([6; 32]);
const PAGE: PageId = PageId { account: ACCOUNT, version: VERSION, page: 0 };

static KEYS: LazyLock<Keys> = LazyLock::new(|| MasterKey([7; 32]).derive());
/// What seals what: an entry its folder's key, a version its file's.
fn key(what: u8) -> [u8; 32] {
    match what {
        0 => KEYS.node_key(FOLDER).0,
        1 => KEYS.node_key(NODE).0,
        2 => MANIFEST.0,
        _ => *METADATA,
    }
}

/// The client keeps this key to itself; [`check_places`] proves that it is the one.
static METADATA: LazyLock<[u8; 32]> = LazyLock::new(|| blake3::derive_key("shoal v1 metadata key", &[7; 32]));

/// Bytes that the codec writes as they are.
struct Raw<'a>(&'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}

fn entry_place(name: &[u8]) -> EntryPlace {
    let name = Name::new(name).unwrap_or_else(|_| Name::new(b"a").unwrap());
    EntryPlace::of(&KEYS, ACCOUNT, FOLDER, &name, NODE)
}

fn place(what: u8, name: &[u8]) -> Place {
    match what {
        0 => Place::new("", "shoal v1 entry")
            .with(ACCOUNT.as_bytes())
            .with(FOLDER.as_bytes())
            .with(entry_place(name).token.as_bytes())
            .with(NODE.as_bytes()),
        1 => Place::new("", "shoal v1 version metadata")
            .with(ACCOUNT.as_bytes())
            .with(NODE.as_bytes())
            .with(VERSION.as_bytes()),
        2 => Place::new("", "shoal v1 manifest page")
            .with(ACCOUNT.as_bytes())
            .with(VERSION.as_bytes())
            .with(&0_u32.to_le_bytes()),
        _ => Place::new("", "shoal v1 chunk key").with(ACCOUNT.as_bytes()).with(CHUNK.as_bytes()),
    }
}

/// Proves that the places above are the ones that the client uses; otherwise nothing behind the AEAD would be fuzzed.
fn check_places() {
    let name = b"a";
    let entry = Entry { name: Name::new(name).unwrap(), folder: None };
    let sealed = entry.seal(&KEYS, &entry_place(name)).unwrap();
    aead::open::<(Name, Option<FolderAttributes>, NodeKey)>(&key(0), &place(0, name), 1, &sealed).expect("the place of an entry");
    let place_of_version = VersionPlace { account: ACCOUNT, node: NODE, version: VERSION };
    let meta = aead::seal_bounded(&key(1), &place(1, name), 1, &Raw(&[])).unwrap();
    let refused = VersionMeta::open(&KEYS, &place_of_version, &meta);
    assert!(matches!(refused, Err(IntegrityError::Malformed { .. })), "the place of a version: {refused:?}");
    let page = aead::seal(&MANIFEST.0, &place(2, name), 1, &Raw(&[])).unwrap();
    let refused = Page::open(&MANIFEST, &PAGE, &page);
    assert!(matches!(refused, Err(IntegrityError::Malformed { .. })), "the place of a page: {refused:?}");
    let secret = Secret { codec: Codec::Plain, key: ExtentKey([9; 32]), len: 1 };
    let sealed = seal_chunk_key(&KEYS, &ACCOUNT, &CHUNK, &secret).unwrap();
    aead::open::<(u8, ExtentKey, u32)>(&METADATA, &place(3, name), 1, &sealed).expect("the place of a chunk's key");
}

fuzz_target!(init: check_places(), |bytes: &[u8]| {
    let Some(([what, seal], rest)) = bytes.split_first_chunk::<2>() else { return };
    let what = what % 4;
    // The name that an entry's bytes would decode to: a length and so many bytes.
    let name = rest.split_first().and_then(|(len, name)| name.get(..usize::from(*len))).unwrap_or_default();
    let sealed = if seal % 2 == 0 {
        rest.to_vec()
    } else {
        match aead::seal(&key(what), &place(what, name), 1, &Raw(rest)) {
            Ok(sealed) => sealed,
            Err(_) => return,
        }
    };
    match what {
        0 => {
            let Ok(sealed) = BoundedBytes::try_from(sealed) else { return };
            let _ = Entry::open_with(&KEYS.node_key(FOLDER), &entry_place(name), &sealed);
            if let Ok(entry) = Entry::open(&KEYS, &entry_place(name), &sealed) {
                let again = entry.seal(&KEYS, &entry_place(name)).unwrap();
                assert_eq!(Entry::open(&KEYS, &entry_place(name), &again).unwrap(), entry);
            }
        }
        1 => {
            let place = VersionPlace { account: ACCOUNT, node: NODE, version: VERSION };
            let Ok(sealed) = BoundedBytes::try_from(sealed) else { return };
            if let Ok(meta) = VersionMeta::open(&KEYS, &place, &sealed) {
                let again = meta.seal(&KEYS, &place).unwrap();
                assert_eq!(VersionMeta::open(&KEYS, &place, &again).unwrap(), meta);
                let _ = (meta.mtime.to_system(), Reader::new(meta.totals()).wanted());
            }
        }
        2 => {
            if let Ok(page) = Page::open(&MANIFEST, &PAGE, &sealed) {
                assert!(page.end() >= page.first());
                assert_eq!(page.located().count(), page.extents().len());
                let totals = Totals { size: page.end(), extents: page.extents().len() as u64, pages: 1 };
                let mut reader = Reader::new(totals);
                let located = reader.accept(&page).expect("a page that fits its totals");
                assert_eq!(located.len(), page.extents().len());
                reader.finish().expect("the only page");
            }
        }
        _ => {
            let Ok(sealed) = BoundedBytes::try_from(sealed) else { return };
            if let Ok(secret) = open_chunk_key(&KEYS, &ACCOUNT, &CHUNK, &sealed) {
                assert!(matches!(secret.codec, Codec::Plain | Codec::Zstd));
            }
        }
    }
});
