//! What may be asked of the directory, by role.
//!
//! | who | requests |
//! |---|---|
//! | everybody enrolled, and guests | [`Hello`], [`GetMap`] |
//! | everybody enrolled | [`Renew`], [`GetStatus`] |
//! | client, guest | what is shared: [`OpenShare`], [`ListShared`], [`ReadShared`]; see [`share`](super::share) |
//! | client | the namespace ([`LookUp`], [`List`], [`MakeFolders`], [`Rename`], [`Remove`], [`ReadManifests`]), its past ([`FindMoment`], [`ReadHistory`]), snapshots ([`CreateSnapshot`], [`ListSnapshots`], [`GetSnapshot`], [`RemoveSnapshot`]), pruning ([`PlanPrune`], [`Prune`]), usage ([`MeasureSpace`], [`GetUsage`]) and uploads ([`Begin`], [`Extend`], [`Ask`], [`AskContents`], [`Register`], [`PutPages`], [`Publish`], [`Abandon`], [`SetRedundancy`], [`ListVersions`], [`SwapPages`]), what its devices are told ([`NoteConflict`]), its key ([`RotateKey`], [`ListStale`], [`Reseal`], [`SettleKey`]), its shares ([`NewShare`], [`ListShares`], [`RevokeShare`], [`ShowVersion`]), each inside its own account |
//! | peer | [`Heartbeat`] |
//! | admin | [`NewTicket`], [`Revoke`], [`DrainPeer`], [`RemovePeer`], [`Reconcile`], [`CheckStore`], [`ListAccounts`], [`SetQuota`] |
//!
//! An upload: `Begin`, then `Ask` and `Register` while chunks go to peers, `PutPages` for long manifests, last `Publish`,
//! which alone makes anything visible. What is asked of or registered with a pending version is held by it.
//!
//! A request with a [`RequestId`] changes something; repeated with the same id it is done once and answered alike.

use serde::{Deserialize, Serialize};

use crate::address::ShardAddress;
use crate::bounded::{BoundedBytes, BoundedVec};
use crate::grant::SignedGrant;
use crate::history::HistoryPoint;
use crate::id::{AccountId, ChunkId, ClusterId, DeviceId, NameToken, NodeId, PeerId, RequestId, VersionId};
use crate::limits;
use crate::map::SignedMap;
use crate::proto::frame::requests;
use crate::proto::parts::{
    Addresses, Der, EntryView, Label, NodeKind, PlacedChunk, SealedEntry, SealedKey, SealedMeta, SealedPage, ShardAt,
    VersionView,
};
use crate::proto::refusal::Refusal;
use crate::redundancy::Redundancy;
use crate::time::Timestamp;

pub use crate::proto::past::{Ended, FindMoment, History, HowEnded, Moment, MomentFound, NameState, ReadHistory, When};

pub use crate::proto::conflict::{ConflictView, Conflicts, NoteConflict};
pub use crate::proto::content::{AskContents, ContentsAnswered, KnownContent, NewContent};
pub use crate::proto::govern::{
    CheckStore, ClusterStatus, DrainPeer, GetStatus, PeerStatus, Reconcile, Reconciled, RemovePeer, StoreChecked,
    Upkeep,
};
pub use crate::proto::prune::{PlanPrune, Prune, PruneCounts, PruneCursor, PrunePlan, Pruned, Retention};
pub use crate::proto::quota::{
    AccountLine, AccountUsage, Accounts, GetUsage, ListAccounts, MeasureSpace, Quota, SetQuota, Space, SpaceMeasured,
};
pub use crate::proto::rekey::{
    KeyRotated, ListStale, Reseal, Resealed, ResealedValue, Ring, RotateKey, SealedAt, SealedRing, SettleKey,
    StaleListed, StaleValue,
};
pub use crate::proto::repack::{ListVersions, PagesSwapped, SwapPages, SwappedPage, VersionOfNode, VersionsListed};
pub use crate::proto::snapshot::{
    CreateSnapshot, GetSnapshot, ListSnapshots, RemoveSnapshot, SnapshotFound, SnapshotMade, SnapshotView, Snapshots,
};

pub use crate::proto::share::{
    ListShared, ListShares, NewShare, OpenShare, ReadShared, RevokeShare, ShareMade, ShareOpened, ShareTarget,
    ShareView, SharedManifests, SharedWant, Shares, ShowVersion,
};

/// The first thing that is said on a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Name and version of the program, for the other side's log.
    pub program: Label,
    /// The highest generation that the caller has seen; a directory that is behind it says so and is not believed.
    pub generation: u64,
    /// The last conflict that this device was told of, by its sequence.
    pub conflicts: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    pub cluster: ClusterId,
    pub generation: u64,
    /// The directory's clock.
    pub now: Timestamp,
    /// What a put uses that names no redundancy.
    pub redundancy: Redundancy,
    pub map: SignedMap,
    /// The caller's own account; `None` unless it is a client.
    pub account: Option<AccountView>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    pub account: AccountId,
    pub name: Label,
    pub root: NodeId,
    pub key_check: Option<[u8; 32]>,
    /// `None` until the key is rotated for the first time.
    pub ring: Option<Ring>,
    pub conflicts: Conflicts,
}

/// Asks for the cluster map if it is newer than the caller's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetMap {
    /// Epoch of the caller's map; 0 for none.
    pub have: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapAnswer {
    pub map: Option<SignedMap>,
}

/// Asks for a new certificate for the same identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renew {
    /// A certificate signing request; only its public key is taken.
    pub request: Der,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewed {
    pub certificate: Der,
}

/// Walks down from `start`, one name after another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookUp {
    pub start: NodeId,
    pub path: BoundedVec<NameToken, { limits::PATH_DEPTH }>,
    /// Who is going to read the file at the end wants its manifest in the same answer.
    pub manifest: bool,
    /// As it was at this sequence; `None` for now.
    pub at: Option<u64>,
}

/// The entries found on the way; fewer than asked for when a name is missing or a file stands in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    pub entries: BoundedVec<EntryView, { limits::PATH_DEPTH }>,
    /// Where it was asked for and the whole path leads to a file: the pages of its current version from the first on, as far as the
    /// answer has room. Nothing otherwise.
    pub manifest: Manifests,
}

/// One page of a folder's entries, in the order of their tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    pub folder: NodeId,
    pub after: Option<NameToken>,
    /// As it was at this sequence; `None` for now.
    pub at: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    pub entries: BoundedVec<EntryView, { limits::LIST_ENTRIES }>,
    /// There may be more behind this token. Of the past a page may be empty and have one behind it all the same.
    pub next: Option<NameToken>,
}

/// Makes folders, in order, so that a later one may lie in an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MakeFolders {
    pub request: RequestId,
    pub folders: BoundedVec<NewFolder, { limits::MAKE_FOLDERS }>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewFolder {
    pub folder: NodeId,
    pub token: NameToken,
    pub node: NodeId,
    pub sealed: SealedEntry,
}

/// For each folder: made, or what stands there already, or why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoldersMade {
    pub results: BoundedVec<FolderMade, { limits::MAKE_FOLDERS }>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FolderMade {
    Made,
    /// The node under that name, folder or not; the caller decides whether that will do.
    Exists(NodeId, NodeKind),
    Refused(Refusal),
}

/// Moves an entry to another name or folder: one write, whatever lies below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rename {
    pub request: RequestId,
    pub from_folder: NodeId,
    pub from_token: NameToken,
    /// What the caller saw under the old name.
    pub node: NodeId,
    pub to_folder: NodeId,
    pub to_token: NameToken,
    /// The entry sealed for its new place.
    pub sealed: SealedEntry,
    /// A file that the caller saw under the new name and means to replace; it goes into history.
    pub replace: Option<NodeId>,
}

/// Takes an entry, and with it all below, out of the current tree. History keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remove {
    pub request: RequestId,
    pub folder: NodeId,
    pub token: NameToken,
    /// What the caller saw under the name.
    pub node: NodeId,
    /// Whether a folder may have entries.
    pub recursive: bool,
}

/// Nothing to say beyond that it is done and durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

/// Reads manifests, page by page, with the placements of the chunks they name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadManifests {
    pub wants: BoundedVec<ManifestWant, { limits::READ_MANIFESTS }>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestWant {
    pub version: VersionId,
    /// The first page wanted; the rest of the version follows as far as the answer has room.
    pub from: u32,
}

/// Pages in the order in which they were wanted. It stops when the answer is full, after at least one page: the caller asks again
/// for what is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifests {
    pub pages: BoundedVec<PageView, { limits::READ_MANIFESTS }>,
    /// Each chunk of these pages once.
    pub placements: BoundedVec<PlacedChunk, { limits::PLACEMENTS }>,
    /// Wanted versions that do not exist.
    pub missing: BoundedVec<VersionId, { limits::READ_MANIFESTS }>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageView {
    pub version: VersionId,
    pub page: u32,
    pub sealed: SealedPage,
}

/// Opens a pending version: from here on it holds what is asked of and registered with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    pub request: RequestId,
    pub version: VersionId,
    pub redundancy: Redundancy,
    /// Bytes that the upload may store on peers, all shards together.
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    pub grant: SignedGrant,
    pub expires: Timestamp,
}

/// Keeps a pending version alive and, where `bytes` is more, enlarges its grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extend {
    pub version: VersionId,
    pub bytes: u64,
}

/// "Of these, which are stored already, at this redundancy or better?" The pending version holds those from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    pub version: VersionId,
    pub redundancy: Redundancy,
    pub chunks: BoundedVec<ChunkId, { limits::ASK_CHUNKS }>,
}

/// For each id the sealed key of the stored chunk, or `None` when it has to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    pub known: BoundedVec<Option<SealedKey>, { limits::ASK_CHUNKS }>,
}

/// Registers chunks that are durable on peers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    pub version: VersionId,
    pub chunks: BoundedVec<NewChunk, { limits::REGISTER_CHUNKS }>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewChunk {
    pub chunk: ChunkId,
    pub sealed_len: u32,
    pub redundancy: Redundancy,
    pub key: SealedKey,
    /// Those of all n shards by their index, also of those that could not be stored; of copies the one that all have.
    pub addresses: BoundedVec<ShardAddress, { limits::SHARDS_PER_CHUNK }>,
    /// At least [`Redundancy::enough`] of them, each on another peer.
    pub shards: BoundedVec<ShardAt, { limits::SHARDS_PER_CHUNK }>,
}

/// For each chunk `None` when it was registered as given, or the sealed key of whoever was first: the caller takes that over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    pub winners: BoundedVec<Option<SealedKey>, { limits::REGISTER_CHUNKS }>,
}

/// Stores pages of the manifest of the pending version itself. A page is written again with the same number until it is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutPages {
    pub version: VersionId,
    pub pages: BoundedVec<NewPage, { limits::PAGES_PER_REQUEST }>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPage {
    pub page: u32,
    /// Every chunk that the page refers to, once; each must be held by the pending version.
    pub chunks: BoundedVec<ChunkId, { limits::EXTENTS_PER_PAGE }>,
    pub sealed: SealedPage,
}

/// Makes files visible. Each file is atomic for itself; one that is refused stops no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    pub request: RequestId,
    pub upload: VersionId,
    pub files: BoundedVec<NewFile, { limits::PUBLISH_FILES }>,
    /// Whether the upload ends with this; what it alone still holds is let go.
    pub done: bool,
}

/// One file to publish. `version` is the upload's own id when its pages were sent by [`PutPages`], and another one when the file
/// brings its only page (or none) along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewFile {
    pub folder: NodeId,
    pub token: NameToken,
    /// The node that the caller saw under the name, or a new random one.
    pub node: NodeId,
    pub version: VersionId,
    pub sealed: SealedEntry,
    pub meta: SealedMeta,
    pub redundancy: Redundancy,
    pub pages: u32,
    pub sealed_bytes: u64,
    pub inline: Option<InlinePage>,
    /// What the caller saw there: the compare of the compare-and-set.
    pub expect: Expect,
    /// For a small file whose content was not stored yet: how it is found again. Its page names one chunk then.
    pub content: Option<NewContent>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InlinePage {
    pub chunks: BoundedVec<ChunkId, { limits::INLINE_CHUNKS }>,
    pub sealed: BoundedBytes<{ limits::INLINE_PAGE_BYTES }>,
}

/// What is believed to be under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expect {
    Nothing,
    /// This node at this version.
    File(NodeId, VersionId),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    pub results: BoundedVec<FilePublished, { limits::PUBLISH_FILES }>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FilePublished {
    /// Visible and durable; the sequence number is its place in history.
    Visible(u64),
    /// Something else is there than expected. The version stays pending; the caller looks and publishes again.
    Changed(Option<(NodeId, NodeKind, Option<VersionId>)>),
    Refused(Refusal),
}

/// Gives up an upload: what it alone holds is let go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abandon {
    pub version: VersionId,
}

/// A peer says that it lives, where, and how full it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Where it says it can be reached; empty: where the directory sees it.
    pub advertise: Addresses,
    pub label: Label,
    pub zone: Label,
    pub capacity: u64,
    pub used: u64,
    pub free: u64,
    pub shards: u64,
    /// Bytes of dropped shards that it still keeps.
    pub trash: u64,
    /// Shards that it found damaged, and keeps aside.
    pub quarantined: u64,
    /// Since when the pass of its scrubber is under way that is the newest; `None` when it does not scrub.
    pub scrub_since: Option<Timestamp>,
    /// When the last whole pass of its scrubber ended.
    pub scrubbed: Option<Timestamp>,
    /// Whether it takes new shards.
    pub writable: bool,
    /// The furthest point of a directory's history that it has heard of.
    pub seen: HistoryPoint,
    /// Epoch of the cluster map that it has.
    pub map: u64,
    /// It is stopping in good order: suspect at once.
    pub leaving: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatAnswer {
    /// Where the directory's history is; the peer remembers it.
    pub history: HistoryPoint,
    pub now: Timestamp,
    /// When to say so again, in milliseconds.
    pub again_ms: u32,
    /// The cluster map, when the peer's is old.
    pub map: Option<SignedMap>,
}

/// Makes a ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTicket {
    pub role: TicketRole,
    /// The account that a device will act for, by name; made when there is none of that name.
    pub account: Option<Label>,
    pub uses: u32,
    pub ttl_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TicketRole {
    Peer,
    Client,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketMade {
    /// The ticket's one line; the only time that its secret is seen.
    pub ticket: crate::bounded::BoundedText<{ limits::TICKET_BYTES }>,
    pub expires: Timestamp,
}

/// Takes an identity's right to connect away, from the next cluster map on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoke {
    pub request: RequestId,
    pub id: Revoked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Revoked {
    Device(DeviceId),
    Peer(PeerId),
}

/// Changes the redundancy of committed versions. Their chunks are made anew in the background, from peer to peer; a chunk that other versions
/// need as well gets the redundancy that survives most losses of all of theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetRedundancy {
    pub request: RequestId,
    pub versions: BoundedVec<VersionId, { limits::RECODE_VERSIONS }>,
    pub redundancy: Redundancy,
}

requests! {
    /// What may be asked of the directory on [`ALPN`](super::ALPN).
    DirectoryRequest {
        1 Hello -> Welcome;
        2 GetMap -> MapAnswer;
        3 Renew -> Renewed;
        4 GetStatus -> ClusterStatus;
        10 LookUp -> Found;
        11 List -> Listing;
        12 MakeFolders -> FoldersMade;
        13 Rename -> Done;
        14 Remove -> Done;
        15 ReadManifests -> Manifests;
        20 Begin -> Begun;
        21 Extend -> Begun;
        22 Ask -> Answered;
        23 Register -> Registered;
        24 PutPages -> Done;
        25 Publish -> Published;
        26 Abandon -> Done;
        27 SetRedundancy -> Done;
        40 Heartbeat -> HeartbeatAnswer;
        50 NewTicket -> TicketMade;
        51 Revoke -> Done;
        52 DrainPeer -> Done;
        53 RemovePeer -> Done;
        54 Reconcile -> Reconciled;
        55 CheckStore -> StoreChecked;
        60 FindMoment -> MomentFound;
        61 ReadHistory -> History;
        65 CreateSnapshot -> SnapshotMade;
        66 ListSnapshots -> Snapshots;
        67 GetSnapshot -> SnapshotFound;
        68 RemoveSnapshot -> Done;
        69 PlanPrune -> PrunePlan;
        70 Prune -> Pruned;
        71 MeasureSpace -> SpaceMeasured;
        72 GetUsage -> AccountUsage;
        73 ListAccounts -> Accounts;
        74 SetQuota -> Done;
        80 NewShare -> ShareMade;
        81 ListShares -> Shares;
        82 RevokeShare -> Done;
        83 ShowVersion -> VersionView;
        84 OpenShare -> ShareOpened;
        85 ListShared -> Listing;
        86 ReadShared -> SharedManifests;
        93 AskContents -> ContentsAnswered;
        94 ListVersions -> VersionsListed;
        95 SwapPages -> PagesSwapped;
        96 RotateKey -> KeyRotated;
        97 ListStale -> StaleListed;
        98 Reseal -> Resealed;
        99 SettleKey -> Done;
        100 NoteConflict -> Done;
    }
}
