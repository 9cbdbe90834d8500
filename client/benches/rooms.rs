//! What the client's rooms cost by themselves: `cargo bench -p client`.
//!
//! Sketches to compare with stand in the module docs: cut 0.3 ns a byte, name 0.15, seal 0.21, open 0.4. Bytes are plain bytes.
#![allow(clippy::unwrap_used, reason = "a bench that cannot make its input has failed")]

use bytes::BytesMut;
use client::cut::{Cutter, Gear};
use client::keys::{Keys, MasterKey};
use client::manifest::{Extent, ManifestKey, Page, PageId, Writer};
use client::meta::{Entry, EntryPlace};
use client::names::Name;
use client::pack::{PackBuilder, open_extent};
use client::seal::{Buffer, Digest, Opening, Plain, Pool, Secret, open, open_chunk_key, seal, seal_chunk_key};
use common::id::{AccountId, ChunkId, NodeId, VersionId};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};

/// About what a chunk has.
const CHUNK: usize = 2 << 20;

fn main() {
    divan::main();
}

fn keys() -> Keys {
    MasterKey([7; 32]).derive()
}

fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(b"rooms").finalize_xof().fill(&mut bytes);
    bytes
}

/// A buffer that was used before, as the buffers of a long upload were.
fn buffer(pool: &Pool, content: &[u8]) -> Buffer {
    let mut buffer = pool.take();
    buffer.append(content);
    buffer
}

/// A reader that costs nothing but the copy.
#[divan::bench(args = [16 << 20])]
fn cut(bencher: Bencher, len: usize) {
    let (content, gear, pool) = (noise(len), Gear::new(&keys()), Pool::new(4));
    bencher.counter(BytesCount::new(len)).bench(|| {
        Cutter::new(black_box(&content[..]), &gear, pool.clone()).map(|chunk| chunk.unwrap().len()).sum::<usize>()
    });
}

#[divan::bench(args = [4 << 10, CHUNK])]
fn name(bencher: Bencher, len: usize) {
    let (content, keys) = (noise(len), keys());
    bencher.counter(BytesCount::new(len)).bench(|| Digest::of(black_box(&content)).chunk_id(&keys));
}

mod sealing {
    use super::*;

    /// In place, named already.
    #[divan::bench(args = [4 << 10, CHUNK])]
    fn seal_a_chunk(bencher: Bencher, len: usize) {
        let (content, keys, pool) = (noise(len), keys(), Pool::new(4));
        bencher
            .counter(BytesCount::new(len))
            .with_inputs(|| Plain::new(buffer(&pool, &content)))
            .bench_values(|plain| seal(plain, &keys));
    }

    /// Decrypts and verifies, in place.
    #[divan::bench(args = [4 << 10, CHUNK])]
    fn open_a_chunk(bencher: Bencher, len: usize) {
        let (content, keys) = (noise(len), keys());
        let digest = Digest::of(&content);
        let (sealed, secret) = seal(Plain::new(Buffer::from(content)), &keys);
        bencher
            .counter(BytesCount::new(len))
            .with_inputs(|| BytesMut::from(&sealed.bytes()[..]))
            .bench_values(|received| open(received, &secret, &digest).unwrap());
    }

    /// The same while it arrives, in packets.
    #[divan::bench]
    fn open_a_chunk_in_packets(bencher: Bencher) {
        let (content, pool) = (noise(CHUNK), Pool::new(4));
        let digest = Digest::of(&content);
        let (sealed, secret) = seal(Plain::new(Buffer::from(content)), &keys());
        bencher.counter(BytesCount::new(CHUNK)).with_inputs(|| pool.take()).bench_values(|room| {
            let mut opening = Opening::new(secret.clone(), digest, room);
            for packet in sealed.bytes().chunks(16_300) {
                opening.take(packet);
            }
            opening.finish(CHUNK, || pool.take()).unwrap()
        });
    }

    fn secret() -> Secret {
        seal(Plain::new(Buffer::from(vec![1; 100])), &keys()).1
    }

    #[divan::bench]
    fn seal_a_chunks_key(bencher: Bencher) {
        let (keys, secret) = (keys(), secret());
        bencher.bench(|| seal_chunk_key(&keys, &AccountId([1; 16]), black_box(&ChunkId([2; 20])), &secret));
    }

    #[divan::bench]
    fn open_a_chunks_key(bencher: Bencher) {
        let (keys, account, chunk) = (keys(), AccountId([1; 16]), ChunkId([2; 20]));
        let sealed = seal_chunk_key(&keys, &account, &chunk, &secret()).unwrap();
        bencher.bench(|| open_chunk_key(&keys, &account, &chunk, black_box(&sealed)).unwrap());
    }
}

mod packing {
    use super::*;

    const FILES: usize = 256;
    const LEN: usize = 4 << 10;

    /// Many small files in one chunk. Items are files.
    #[divan::bench]
    fn pack_256_files_of_4_kib(bencher: Bencher) {
        let (content, keys, pool) = (noise(FILES * LEN), keys(), Pool::new(4));
        bencher.counter(ItemsCount::new(FILES)).counter(BytesCount::new(FILES * LEN)).bench(|| {
            let mut pack = PackBuilder::new(&pool);
            black_box(&content).chunks(LEN).for_each(|file| pack.push(file, &keys).unwrap());
            pack.finish(&keys)
        });
    }

    #[divan::bench]
    fn open_one_file_of_4_kib(bencher: Bencher) {
        let (keys, pool) = (keys(), Pool::new(4));
        let mut pack = PackBuilder::new(&pool);
        pack.push(&noise(LEN), &keys).unwrap();
        let pack = pack.finish(&keys).unwrap();
        let extent = pack.extents.first().unwrap();
        bencher
            .counter(BytesCount::new(LEN))
            .with_inputs(|| BytesMut::from(&pack.sealed.bytes()[..]))
            .bench_values(|sealed| open_extent(sealed, extent).unwrap());
    }
}

mod manifest {
    use super::*;

    const PLACE: PageId = PageId { account: AccountId([1; 16]), version: VersionId([2; 16]), page: 0 };

    fn extents() -> Vec<Extent> {
        let secret = seal(Plain::new(Buffer::from(vec![1; 100])), &keys()).1;
        let chunk = |number: u16| {
            let mut id = [3; 20];
            id[..2].copy_from_slice(&number.to_le_bytes());
            ChunkId(id)
        };
        (0..512).map(|number| Extent::whole(chunk(number), 2_000_000, Digest([4; 32]), &secret)).collect()
    }

    fn write(extents: &[Extent], key: &ManifestKey) -> client::manifest::NewPage {
        let mut writer = Writer::new(PLACE.account, PLACE.version, key.clone());
        extents.iter().for_each(|extent| assert!(writer.push(extent.clone()).unwrap().is_none()));
        writer.finish().unwrap().0.unwrap()
    }

    /// Items are extents.
    #[divan::bench]
    fn write_a_page_of_512(bencher: Bencher) {
        let (extents, key) = (extents(), ManifestKey([5; 32]));
        bencher.counter(ItemsCount::new(512_u32)).bench(|| write(black_box(&extents), &key));
    }

    #[divan::bench]
    fn open_a_page_of_512(bencher: Bencher) {
        let key = ManifestKey([5; 32]);
        let page = write(&extents(), &key);
        bencher.counter(ItemsCount::new(512_u32)).bench(|| Page::open(&key, &PLACE, black_box(&page.sealed)).unwrap());
    }
}

mod names {
    use super::*;

    #[divan::bench]
    fn token_of_a_name(bencher: Bencher) {
        let (keys, name) = (keys(), Name::new(b"holiday in the mountains.jpeg").unwrap());
        bencher.bench(|| black_box(&name).token(&keys));
    }

    #[divan::bench]
    fn seal_an_entry(bencher: Bencher) {
        let keys = keys();
        let name = Name::new(b"holiday in the mountains.jpeg").unwrap();
        let place = EntryPlace::of(&keys, AccountId([1; 16]), NodeId([2; 16]), &name, NodeId([3; 16]));
        let entry = Entry { name, folder: None };
        bencher.bench(|| black_box(&entry).seal(&keys, &place).unwrap());
    }

    #[divan::bench]
    fn open_an_entry(bencher: Bencher) {
        let keys = keys();
        let name = Name::new(b"holiday in the mountains.jpeg").unwrap();
        let place = EntryPlace::of(&keys, AccountId([1; 16]), NodeId([2; 16]), &name, NodeId([3; 16]));
        let sealed = Entry { name, folder: None }.seal(&keys, &place).unwrap();
        bencher.bench(|| Entry::open(&keys, &place, black_box(&sealed)).unwrap());
    }
}
