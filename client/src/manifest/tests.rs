//! Tests of pages, their writer and their readers.

use bytes::BytesMut;
use common::bounded::BoundedVec;
use common::id::{AccountId, VersionId};
use common::limits::{EXTENTS_PER_PAGE, SEALED_PAGE_BYTES};
use proptest::prelude::*;

use super::page::FORMAT;
use super::*;
use crate::keys::{Keys, MasterKey};
use crate::seal::{Buffer, Plain, aead};

const ACCOUNT: AccountId = AccountId([1; 16]);
const VERSION: VersionId = VersionId([2; 16]);

fn key() -> ManifestKey {
    ManifestKey([3; 32])
}

fn id(page: u32) -> PageId {
    PageId { account: ACCOUNT, version: VERSION, page }
}

fn extent(i: usize, len: u32) -> Extent {
    let byte = u8::try_from(i % 251).unwrap();
    Extent {
        chunk: ChunkId([byte; 20]),
        offset: 0,
        len,
        size: len,
        codec: 0,
        key: ExtentKey([5; 32]),
        digest: Digest([6; 32]),
    }
}

fn write(lens: &[u32]) -> (Vec<NewPage>, Totals) {
    let mut writer = Writer::new(ACCOUNT, VERSION, key());
    let mut pages: Vec<_> =
        lens.iter().enumerate().filter_map(|(i, len)| writer.push(extent(i, *len)).unwrap()).collect();
    let (last, totals) = writer.finish().unwrap();
    pages.extend(last);
    (pages, totals)
}

fn open(page: &NewPage) -> Page {
    Page::open(&key(), &id(page.page), &page.sealed).unwrap()
}

#[test]
fn the_largest_page_fits() {
    let largest = Extent { offset: u32::MAX, len: u32::MAX, size: u32::MAX, ..extent(1, 1) };
    let extents = BoundedVec::try_from(vec![largest; EXTENTS_PER_PAGE]).unwrap();
    let sealed = Page::new(u32::MAX, u64::MAX, extents).seal(&key(), &id(u32::MAX)).unwrap();
    assert!(sealed.len() <= SEALED_PAGE_BYTES);
}

#[test]
fn an_empty_file_has_no_page_and_is_whole() {
    let (pages, totals) = write(&[]);
    assert!(pages.is_empty() && totals == Totals::default());
    assert_eq!(Reader::new(totals).wanted(), None);
    Reader::new(totals).finish().unwrap();
    assert!(PageSearch::new(totals, 0).is_none());
}

#[test]
fn a_page_names_each_chunk_once() {
    let (pages, _) = write(&[7; 500]);
    assert_eq!(pages[0].chunks.len(), 251);
}

#[test]
fn pages_open_nowhere_else() {
    let (pages, _) = write(&[9; 600]);
    for other in [
        PageId { page: 1, ..id(0) },
        PageId { account: AccountId([9; 16]), ..id(0) },
        PageId { version: VersionId([9; 16]), ..id(0) },
    ] {
        assert!(matches!(Page::open(&key(), &other, &pages[0].sealed), Err(IntegrityError::Unauthentic { .. })));
    }
    assert!(Page::open(&ManifestKey([4; 32]), &id(0), &pages[0].sealed).is_err());
}

#[test]
fn a_missing_doubled_or_shortened_manifest_is_noticed() {
    let (pages, totals) = write(&[9; 1_100]);
    let opened: Vec<_> = pages.iter().map(open).collect();
    let mut reader = Reader::new(totals);
    assert!(matches!(reader.accept(&opened[1]), Err(IntegrityError::WrongPage { wanted: 0, found: 1 })));
    reader.accept(&opened[0]).unwrap();
    assert!(reader.accept(&opened[0]).is_err());
    reader.accept(&opened[1]).unwrap();
    assert!(matches!(reader.finish(), Err(IntegrityError::Total { what: "pages", wanted: 3, found: 2 })));
    for wrong in [
        Totals { size: totals.size + 1, ..totals },
        Totals { size: totals.size - 1, ..totals },
        Totals { extents: totals.extents + 1, ..totals },
        Totals { pages: 2, ..totals },
        Totals { pages: 4, ..totals },
    ] {
        let mut reader = Reader::new(wrong);
        let all = opened.iter().try_for_each(|page| reader.accept(page).map(|_| ()));
        assert!(all.and_then(|()| reader.finish()).is_err(), "{wrong:?}");
    }
}

#[test]
fn impossible_extents_are_refused_when_written_and_when_read() {
    let mut writer = Writer::new(ACCOUNT, VERSION, key());
    let lying = |codec, len, size| Extent { codec, len, size, ..extent(0, 1) };
    let offset = Extent { offset: u32::MAX, ..extent(0, 1) };
    for bad in [
        extent(0, 0),
        extent(0, u32::MAX),
        offset,
        lying(0, 1, 2),
        lying(1, 1, 0),
        lying(1, 0, 1),
        lying(1, 9, u32::MAX),
        lying(1, 9, 8 << 20 | 1),
    ] {
        assert!(matches!(bad.open(BytesMut::zeroed(1)), Err(IntegrityError::Inconsistent { .. })));
        assert!(writer.push(bad.clone()).is_err());
        let page = Page::new(0, 0, BoundedVec::try_from(vec![bad]).unwrap());
        let sealed = page.seal(&key(), &id(0)).unwrap();
        assert!(matches!(Page::open(&key(), &id(0), &sealed), Err(IntegrityError::Inconsistent { .. })));
    }
}

#[test]
fn an_extent_opens_its_bytes_and_no_others() {
    let keys: Keys = MasterKey([7; 32]).derive();
    let plain = Plain::new(Buffer::from(b"content".to_vec()));
    let digest = plain.digest();
    let (sealed, secret) = crate::seal::seal(plain, &keys);
    let extent = Extent::whole(sealed.chunk(), 7, digest, &secret);
    assert_eq!(&extent.open(BytesMut::from(&sealed.bytes()[..])).unwrap().bytes()[..], b"content");
    assert!(matches!(extent.open(BytesMut::new()), Err(IntegrityError::Length { wanted: 7, found: 0 })));
    let later = Extent { codec: 2, ..extent };
    assert!(matches!(later.open(BytesMut::from(&sealed.bytes()[..])), Err(IntegrityError::UnknownCodec { codec: 2 })));
}

#[test]
fn a_compressed_extent_is_exactly_as_long_as_it_says() {
    let keys: Keys = MasterKey([7; 32]).derive();
    let plain = Plain::new(Buffer::from(b"fish ".repeat(1_000)));
    let digest = plain.digest();
    let (sealed, secret) = crate::seal::seal(plain, &keys);
    let extent = Extent::whole(sealed.chunk(), 5_000, digest, &secret);
    assert!(extent.codec == 1 && extent.len < 100 && extent.size == 5_000);
    let open = |extent: &Extent| extent.open(BytesMut::from(&sealed.bytes()[..]));
    assert_eq!(&open(&extent).unwrap().bytes()[..], b"fish ".repeat(1_000));
    for size in [1, 4_999, 5_001, 8 << 20] {
        assert!(open(&Extent { size, ..extent.clone() }).is_err(), "{size}");
    }
    assert!(open(&Extent { codec: 0, size: extent.len, ..extent }).is_err());
}

#[test]
fn golden_bytes_of_a_page() {
    let page = Page::new(0, 0, BoundedVec::try_from(vec![Extent { offset: 300, ..extent(4, 70_000) }]).unwrap());
    let sealed = aead::tests::seal_fixed(&key().0, &id(0).place(), FORMAT, &page);
    let encoded: String = common::codec::encode(&page).unwrap().iter().map(|b| format!("{b:02x}")).collect();
    let chunk = "04".repeat(20);
    assert_eq!(encoded, format!("000001{chunk}fb2c01fc70110100fc7011010000{}{}", "05".repeat(32), "06".repeat(32)));
    assert_eq!(
        blake3::hash(&sealed).to_hex().as_str(),
        "96ad26822f45ba15020dc6e1759344b2e6a035d915bb1491f420cf2dbef5288b"
    );
    assert_eq!(Page::open(&key(), &id(0), &sealed).unwrap(), page);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn written_pages_read_back_in_order_and_by_offset(
        lens in prop::collection::vec(1_u32..10_000, 1..2_000), at in any::<prop::sample::Index>(),
    ) {
        let (pages, totals) = write(&lens);
        let mut reader = Reader::new(totals);
        let mut located = Vec::new();
        for page in &pages {
            prop_assert_eq!(reader.wanted(), Some(page.page));
            located.extend(reader.accept(&open(page)).unwrap());
        }
        reader.finish().unwrap();
        prop_assert_eq!(located.iter().map(|l| l.extent.len).collect::<Vec<_>>(), lens);

        let offset = at.index(usize::try_from(totals.size).unwrap()) as u64;
        let mut search = PageSearch::new(totals, offset).unwrap();
        let mut number = search.first();
        let page = loop {
            let page = open(&pages[number as usize]);
            match search.judge(&page).unwrap() {
                Searched::Here => break page,
                Searched::Try(next) => number = next,
            }
        };
        prop_assert!(page.first() <= offset && offset < page.end());
    }

    #[test]
    fn no_bytes_panic_the_page_decoder(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let sealed = aead::seal(&key().0, &id(0).place(), FORMAT, &()).unwrap();
        prop_assert!(Page::open(&key(), &id(0), &sealed).is_err());
        prop_assert!(Page::open(&key(), &id(0), &bytes).is_err());
        let _ = common::codec::decode::<Page>(&bytes);
    }
}
