//! The rooms at work, each with a fixed amount of it. What they need is made outside of what is counted.
//!
//! The inputs are the benches' own, smaller where valgrind would take long.

use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use client::cut::{Cutter, Gear};
use client::keys::{Keys, MasterKey};
use client::manifest::{Extent, ManifestKey, Page, PageId, Writer};
use client::meta::{Content, Entry, EntryPlace, Mtime, VersionMeta, VersionPlace};
use client::names::Name;
use client::pack::{PackBuilder, open_extent};
use client::seal::{Buffer, Digest, Opening, Plain, Pool, open, open_chunk_key, seal, seal_chunk_key};
use common::address::{Addresser, ShardAddress};
use common::erasure::{join, split};
use common::grant::SignedGrant;
use common::id::{AccountId, ChunkId, ClusterId, NodeId, PeerId, RequestId, VersionId};
use common::identity::StatementKey;
use common::map::SignedMap;
use common::place::order;
use common::proto::directory::{Expect, InlinePage, NewFile, Publish, ReadManifests};
use common::proto::frame::{FrameHead, decode_response, encode_request, encode_response};
use common::redundancy::Redundancy;
use directory::kv::memory::Memory;
use peer::store::{Store, StoreOptions};

use crate::counted;
use crate::inputs::{self, noise};
use crate::world::{self, World};

const MIB: usize = 1 << 20;
const ACCOUNT: AccountId = AccountId([1; 16]);

/// All of them. The names are those of the baseline.
pub(crate) fn all() {
    data();
    small_files();
    shards();
    frames();
    statements();
    decisions();
    store();
    arriving(); // last: what it allocates moves what later rooms would find free
}

fn keys() -> Keys {
    MasterKey([7; 32]).derive()
}

/// Runs what never has to wait.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("what is counted must not wait"),
    }
}

/// A large file's bytes: cut, named, sealed, opened.
fn data() {
    let (keys, pool) = (keys(), Pool::new(4));
    let (gear, content) = (Gear::new(&keys), noise(6 * MIB));
    drop((pool.take(), pool.take()));
    counted("cut_6_mib", || {
        Cutter::new(&content[..], &gear, pool.clone()).map(|chunk| chunk.unwrap().len()).sum::<usize>()
    });
    let content = noise(MIB);
    let digest = Digest::of(&content);
    counted("name_1_mib", || Digest::of(black_box(&content)).chunk_id(&keys));
    let plain = Plain::new(Buffer::from(content));
    let (sealed, secret) = counted("seal_1_mib", || seal(plain, &keys));
    let received = BytesMut::from(&sealed.bytes()[..]);
    counted("open_1_mib", || open(received, &secret, &digest).unwrap());
    counted("chunk_keys_64", || {
        for number in 0..64 {
            let chunk = ChunkId([number; 20]);
            let sealed = seal_chunk_key(&keys, &ACCOUNT, &chunk, &secret).unwrap();
            black_box(open_chunk_key(&keys, &ACCOUNT, &chunk, &sealed).unwrap());
        }
    });
    let extent = |number| Extent::whole(ChunkId(inputs::id(number)), 1 << 20, digest, &secret);
    let (extents, key) = ((0..512).map(extent).collect::<Vec<_>>(), ManifestKey([5; 32]));
    let id = PageId { account: ACCOUNT, version: VersionId([2; 16]), page: 0 };
    let page = counted("manifest_write_512", || {
        let mut writer = Writer::new(id.account, id.version, key.clone());
        extents.iter().for_each(|extent| drop(writer.push(extent.clone()).unwrap()));
        writer.finish().unwrap().0.unwrap()
    });
    counted("manifest_open_512", || Page::open(&key, &id, black_box(&page.sealed)).unwrap());
}

/// Everything that 64 small files cost the client's processor, from their bytes to the request that publishes them; and the way back.
fn small_files() {
    const LEN: usize = 4 << 10;
    let (keys, pool, content) = (keys(), Pool::new(4), noise(64 * LEN));
    let names: Vec<Name> = (0..64).map(|n| Name::new(format!("holiday {n}.jpeg").as_bytes()).unwrap()).collect();
    drop(pool.take());
    let pack = counted("pack_64_of_4_kib", || {
        let mut pack = PackBuilder::new(&pool);
        content.chunks(LEN).for_each(|file| pack.push(file, &keys).unwrap());
        pack.finish(&keys).unwrap()
    });
    let publication = counted("publication_of_64", || publication(&keys, &names, &pack.extents));
    counted("publication_encode_64", || encode_request(black_box(&publication)).unwrap());
    let places =
        |file: &NewFile| EntryPlace { account: ACCOUNT, folder: file.folder, token: file.token, node: file.node };
    counted("entries_open_64", || {
        for file in publication.files.iter() {
            black_box(Entry::open(&keys, &places(file), &file.sealed).unwrap());
            let place = VersionPlace { account: ACCOUNT, node: file.node, version: file.version };
            black_box(VersionMeta::open(&keys, &place, &file.meta).unwrap());
        }
    });
    let bytes = pack.sealed.bytes();
    let received: Vec<_> = bytes.chunks(LEN).map(BytesMut::from).collect();
    counted("pack_open_64_of_4_kib", || {
        for (file, extent) in received.into_iter().zip(&pack.extents) {
            black_box(open_extent(file, extent).unwrap());
        }
    });
}

fn publication(keys: &Keys, names: &[Name], extents: &[Extent]) -> Publish {
    let folder = NodeId([2; 16]);
    let file = |(number, (name, extent)): (usize, (&Name, &Extent))| {
        let (node, version) = (NodeId(inputs::id(number)), VersionId(inputs::id(number)));
        let manifest_key = ManifestKey(inputs::id(number));
        let mut writer = Writer::new(ACCOUNT, version, manifest_key.clone());
        writer.push(extent.clone()).unwrap();
        let (page, totals) = writer.finish().unwrap();
        let page = page.unwrap();
        let inline = InlinePage {
            chunks: page.chunks.into_inner().try_into().unwrap(),
            sealed: page.sealed.into_inner().try_into().unwrap(),
        };
        let meta = VersionMeta {
            content: Content::File,
            size: totals.size,
            mtime: Mtime { seconds: 1_700_000_000, nanos: 1 },
            mode: 0o644,
            pages: totals.pages,
            extents: totals.extents,
            manifest_key,
        };
        let place = EntryPlace::of(keys, ACCOUNT, folder, name, node);
        NewFile {
            folder,
            token: place.token,
            node,
            version,
            sealed: Entry { name: name.clone(), folder: None }.seal(keys, &place).unwrap(),
            meta: meta.seal(keys, &VersionPlace { account: ACCOUNT, node, version }).unwrap(),
            redundancy: Redundancy::DEFAULT,
            pages: totals.pages,
            sealed_bytes: totals.size,
            inline: Some(inline),
            expect: Expect::Nothing,
            content: None,
        }
    };
    let files: Vec<_> = names.iter().zip(extents).enumerate().map(file).collect();
    Publish { request: RequestId([1; 16]), upload: VersionId([3; 16]), files: files.try_into().unwrap(), done: true }
}

/// A sealed chunk becomes shards and is joined again.
fn shards() {
    let sealed: Bytes = noise(MIB).into();
    let part = sealed.slice(..256 << 10);
    let code: Redundancy = "4/6".parse().unwrap();
    // The code makes tables when it is first used.
    drop(split(&sealed, code).unwrap());
    counted("split_4_6_1_mib", || split(&sealed, code).unwrap());
    let (whole, broken) = (inputs::without(code, 0, MIB), inputs::without(code, 2, MIB));
    counted("join_4_6_whole_1_mib", || join(&whole, code, MIB).unwrap());
    counted("join_4_6_lost_2_1_mib", || join(&broken, code, MIB).unwrap());
    counted("address_256_kib", || ShardAddress::of(black_box(&part)));
    counted("address_packets_256_kib", || {
        let mut addresser = Addresser::new();
        part.chunks(1_452).for_each(|packet| addresser.update(packet));
        addresser.finish()
    });
    let map = inputs::map(100);
    let chunks: Vec<_> = (0..16).map(|number| ChunkId(inputs::id(number))).collect();
    counted("place_16_among_100", || chunks.iter().map(|chunk| order(chunk, &map).len()).sum::<usize>());
}

fn frames() {
    let (register, page, placements) = (inputs::register(), inputs::page(), inputs::placements());
    let bytes = counted("registration_encode_64", || encode_request(&register).unwrap());
    counted("registration_decode_64", || inputs::decode(&bytes));
    let bytes = counted("page_encode_512", || encode_request(&page).unwrap());
    counted("page_decode_512", || inputs::decode(&bytes));
    let bytes = counted("placements_encode_512", || encode_response(&placements).unwrap());
    let (head, message) = bytes.split_first_chunk().unwrap();
    let head = FrameHead::parse(*head).unwrap();
    counted("placements_decode_512", || decode_response::<ReadManifests>(head, message).unwrap().unwrap());
}

/// Under a fixed key (RFC 8032, 7.1, test 1), since how long a check takes depends a little on the key.
fn statements() {
    const KEY: &str = concat!(
        "3051020101300506032b657004220420", // PKCS#8, Ed25519
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "812100",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    );
    let der: Vec<u8> = (0..KEY.len()).step_by(2).map(|at| u8::from_str_radix(&KEY[at..at + 2], 16).unwrap()).collect();
    let key = StatementKey::from_pkcs8(&der).unwrap();
    let (grant, map) = (SignedGrant::sign(&inputs::grant(), &key).unwrap(), inputs::map(100));
    let map = SignedMap::sign(&map, &key).unwrap();
    let public = key.public();
    counted("grant_verify", || grant.verify(&public).unwrap());
    counted("map_verify_100", || map.verify(&public).unwrap());
}

/// What a directory decides, over the store in memory: reads, checks, encodes, commits.
fn decisions() {
    let world = now(World::new(Arc::new(Memory::new())));
    let (who, path, question, manifest) = (world.who, world::path(), world::question(), world::manifest());
    let (registration, publication) = (world::registration(10_000), world::publication(64));
    counted("look_up_7", || now(world.run(&path, who)));
    counted("ask_1024", || now(world.run(&question, who)));
    counted("read_manifest_64", || now(world.run(&manifest, who)));
    counted("register_64", || now(world.run(&registration, who)));
    counted("publish_64", || now(world.run(&publication, who)));
}

/// A shard's way from the socket's pieces to memory that can go to disk.
fn store() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let options = StoreOptions::new(ClusterId([1; 16]), PeerId([2; 16]));
    let store = runtime.block_on(Store::open(folder.path().join("store"), options)).unwrap();
    let body = noise(256 << 10);
    let address = ShardAddress::of(&body);
    let take_in = || {
        let mut buffer = now(store.reserve(body.len())).unwrap();
        body.chunks(1_452).for_each(|packet| buffer.extend_from_slice(packet).unwrap());
        buffer.finish(address).unwrap()
    };
    drop(take_in());
    counted("take_in_256_kib", take_in);
}

/// A run that is opened while it arrives.
fn arriving() {
    let (content, pool) = (noise(MIB), Pool::new(1));
    let digest = Digest::of(&content);
    let (sealed, secret) = seal(Plain::new(Buffer::from(content)), &keys());
    let room = pool.take();
    counted("open_packets_1_mib", || {
        let mut opening = Opening::new(secret.clone(), digest, room);
        for packet in sealed.bytes().chunks(16_300) {
            opening.take(packet);
        }
        opening.finish(MIB, || pool.take()).unwrap()
    });
}
