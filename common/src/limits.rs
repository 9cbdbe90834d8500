//! Limits: every bound of the wire and of the disk, in one place, unit in the name, related to each other by assertions.

/// A structured message or record header; large enough for the cluster map of a full cluster.
pub const MESSAGE_BYTES: usize = 2 << 20;
/// The frame in front of a message: tag and length.
pub const FRAME_HEADER_BYTES: usize = 8;

/// Plain bytes of one chunk. The cutter never exceeds it; sealing does not lengthen.
pub const CHUNK_BYTES: usize = 8 << 20;
/// One shard: a whole sealed chunk (k = 1), or a share of it, which is at most as long plus the padding of Reed-Solomon.
pub const SHARD_BYTES: usize = CHUNK_BYTES + 64;
/// n of a redundancy.
pub const SHARDS_PER_CHUNK: usize = 32;
/// Peers that a copy is passed on to behind the first.
pub const ONWARD: usize = SHARDS_PER_CHUNK - 1;

/// Peers in a cluster map.
pub const PEERS: usize = 1_000;
/// Addresses under which one process can be reached.
pub const ADDRESSES: usize = 4;
/// `host:port`: a DNS name has at most 253 characters.
pub const ADDRESS_BYTES: usize = 260;
/// A zone, label or account's name.
pub const LABEL_BYTES: usize = 64;
/// Revoked identities carried by a cluster map.
pub const REVOKED: usize = 4_096;

/// A name in a folder, in bytes; longer ones are refused with a clear error (Linux itself takes 255).
pub const NAME_BYTES: usize = 1_024;
/// Folders on the way to a file.
pub const PATH_DEPTH: usize = 128;
/// What a symbolic link points to.
pub const LINK_TARGET_BYTES: usize = 4_096;
/// A sealed entry: name, kind, mode, times and the overhead of the AEAD.
pub const SEALED_ENTRY_BYTES: usize = 1_536;
/// Sealed metadata of a version; a link's target is the longest part.
pub const SEALED_META_BYTES: usize = 4_608;
/// A chunk's sealed key: codec, key and the overhead of the AEAD.
pub const SEALED_KEY_BYTES: usize = 128;

/// A small content's place in its pack: three numbers, codec, key and the overhead of the AEAD.
pub const SEALED_EXTENT_BYTES: usize = 128;

/// Extents in one page of a manifest.
pub const EXTENTS_PER_PAGE: usize = 512;
/// One sealed page: 512 extents of at most 100 bytes, and the overhead of the AEAD.
pub const SEALED_PAGE_BYTES: usize = 51_300;
/// Pages of one manifest: 2^20 pages of 512 extents of 1 MiB are 512 TiB.
pub const PAGES_PER_VERSION: u32 = 1 << 20;
/// Pages in one request.
pub const PAGES_PER_REQUEST: usize = 16;
/// A small file's only page, carried inside the request that publishes it.
pub const INLINE_PAGE_BYTES: usize = 2_048;
/// Chunks that an inline page may refer to.
pub const INLINE_CHUNKS: usize = 16;

/// Ids in one question "which of these are there already?".
pub const ASK_CHUNKS: usize = 1_024;
/// Small contents in the same question.
pub const ASK_CONTENTS: usize = 512;
/// Versions in one page of all that an account has.
pub const LIST_VERSIONS: usize = 256;
/// Pages that are swapped in one request.
pub const SWAP_PAGES: usize = 256;
/// What an account keeps of its first key, sealed under its key of now: eight keys at most.
pub const SEALED_RING_BYTES: usize = 512;
/// Sealed values that are listed or replaced in one request.
pub const RESEAL_VALUES: usize = 256;
/// Chunks registered in one request; with n = 32 that is 64 * 34 writes.
pub const REGISTER_CHUNKS: usize = 64;
/// Files made visible in one request.
pub const PUBLISH_FILES: usize = 256;
/// Folders made in one request.
pub const MAKE_FOLDERS: usize = 128;
/// Entries in one page of a listing.
pub const LIST_ENTRIES: usize = 256;
/// States in one page of a name's history.
pub const HISTORY_STATES: usize = 128;
/// Versions whose manifests are read in one request.
pub const READ_MANIFESTS: usize = 256;
/// Chunk placements in one answer.
pub const PLACEMENTS: usize = 2_048;
/// The sum of what a paged answer carries before it stops and says that there is more.
pub const ANSWER_BYTES: usize = 1 << 20;
/// Shards named in one order to a peer.
pub const ORDER_SHARDS: usize = 4_096;
/// Shards in one page of a peer's inventory.
pub const INVENTORY_SHARDS: usize = 4_096;
/// Parts in which inventories are compared: one for each first byte of an address.
pub const INVENTORY_PARTS: usize = 256;
/// Chunks that one pass is for.
pub const PASS_CHUNKS: usize = 64;
/// A signed pass.
pub const PASS_BYTES: usize = 2_048;
/// Passes in one answer to whoever reads something shared: for as many chunks as it places.
pub const SHARED_PASSES: usize = PLACEMENTS / PASS_CHUNKS;
/// Shares of one account, with those that ended lately.
pub const SHARES: usize = 4_096;
/// Shares in one page of their list.
pub const LIST_SHARES: usize = 256;
/// A link's text: as long as a ticket, and a name.
pub const LINK_BYTES: usize = 6_144;
/// Findings of a check that are listed, and the length of each.
pub const FINDINGS: usize = 1_000;
pub const FINDING_BYTES: usize = 256;
/// Versions whose redundancy is changed in one request.
pub const RECODE_VERSIONS: usize = 256;
/// Points of history that a policy keeps: a thousand days, weeks, months and years each.
pub const KEPT_POINTS: usize = 4_000;
/// Snapshots of one account: who prunes reads all of them in each step.
pub const SNAPSHOTS: usize = 1_000;
/// Conflicts of an account that its devices are told of: all of them come with a [`Welcome`](crate::proto::directory::Welcome).
pub const CONFLICTS: usize = 16;

/// A certificate signing request or a certificate, DER.
pub const CERTIFICATE_BYTES: usize = 4_096;
/// A ticket's text.
pub const TICKET_BYTES: usize = 4_096;
/// A signed grant.
pub const GRANT_BYTES: usize = 512;

/// A key of the key-value store.
pub const KEY_BYTES: usize = 128;
/// A value of the key-value store.
pub const VALUE_BYTES: usize = 64 << 10;
/// Writes in one transaction.
pub const TRANSACTION_WRITES: usize = 8_192;
/// Keys and values of one transaction, together.
pub const TRANSACTION_BYTES: usize = 4 << 20;

const _: () = {
    let peer = 16 + 2 + 10 + 10 + 3 + LABEL_BYTES + ADDRESSES * (ADDRESS_BYTES + 3);
    assert!(PEERS * peer + REVOKED * 16 + 4_096 < MESSAGE_BYTES, "a full cluster map fits in a message");
    assert!(EXTENTS_PER_PAGE * 100 + 64 <= SEALED_PAGE_BYTES, "a full page can be sealed");
    assert!(SEALED_PAGE_BYTES + EXTENTS_PER_PAGE * 20 + 64 <= VALUE_BYTES, "a page and its chunk ids are one value");
    assert!(PAGES_PER_REQUEST * VALUE_BYTES <= MESSAGE_BYTES, "the pages of a request fit in a message");
    assert!(REGISTER_CHUNKS * (SHARDS_PER_CHUNK + 2) < TRANSACTION_WRITES, "a registration is one transaction");
    assert!(PUBLISH_FILES * (INLINE_CHUNKS + 14) < TRANSACTION_WRITES, "a publication is one transaction");
    assert!(PATH_DEPTH * (SEALED_ENTRY_BYTES + SEALED_META_BYTES + 256) < MESSAGE_BYTES, "a looked-up path fits");
    assert!(
        PATH_DEPTH * (SEALED_ENTRY_BYTES + SEALED_META_BYTES + 256)
            + SEALED_PAGE_BYTES
            + EXTENTS_PER_PAGE * (20 + 8 + SHARDS_PER_CHUNK * 40)
            < MESSAGE_BYTES,
        "so does a looked-up path with a page of a manifest"
    );
    assert!(LIST_ENTRIES <= SNAPSHOTS);
    assert!(LIST_ENTRIES * (SEALED_ENTRY_BYTES + SEALED_META_BYTES + 256) < MESSAGE_BYTES, "a listing fits");
    assert!(HISTORY_STATES * (SEALED_ENTRY_BYTES + SEALED_META_BYTES + 320) < MESSAGE_BYTES, "so does a history");
    assert!(NAME_BYTES + 256 <= SEALED_ENTRY_BYTES && LINK_TARGET_BYTES + 256 <= SEALED_META_BYTES);
    assert!(
        PUBLISH_FILES * (SEALED_ENTRY_BYTES + SEALED_META_BYTES + INLINE_PAGE_BYTES + INLINE_CHUNKS * 20 + 256)
            <= MESSAGE_BYTES * 2,
        "clients split a publication by bytes as well; see the request"
    );
    assert!(LIST_SHARES * (SEALED_ENTRY_BYTES + 128) < MESSAGE_BYTES, "a page of shares fits in a message");
    assert!(LIST_VERSIONS * (SEALED_META_BYTES + 128) < MESSAGE_BYTES, "so does a page of all versions");
    assert!(
        SWAP_PAGES * (INLINE_PAGE_BYTES + INLINE_CHUNKS * 20 + SEALED_EXTENT_BYTES + 128) < MESSAGE_BYTES,
        "and pages that are swapped"
    );
    assert!(SWAP_PAGES * 8 < TRANSACTION_WRITES, "which are one transaction");
    assert!(RESEAL_VALUES * (SEALED_META_BYTES + 128) < MESSAGE_BYTES, "a page of sealed values fits");
    assert!(INVENTORY_SHARDS * 128 < MESSAGE_BYTES, "a page of an inventory fits in a message");
    assert!(PASS_CHUNKS * 20 + 256 <= PASS_BYTES && PLACEMENTS.is_multiple_of(PASS_CHUNKS));
    assert!(
        SHARED_PASSES * PASS_BYTES + ANSWER_BYTES + VALUE_BYTES * 2 < MESSAGE_BYTES,
        "a shared manifest with its passes fits"
    );
    assert!((64 + ADDRESSES * (ADDRESS_BYTES + 2) + NAME_BYTES + 256) * 8 / 5 < LINK_BYTES);
    assert!(PLACEMENTS * (20 + 8 + SHARDS_PER_CHUNK * 40) < MESSAGE_BYTES * 2);
};
