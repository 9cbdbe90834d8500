//! Config: how a peer is run, and every default with its reason.

use std::path::PathBuf;
use std::time::Duration;

use common::size::ByteSize;
use common::time::Clock;
use common::transport::{EndpointOptions, ServeOptions};

use crate::store::Reserve;

/// Where a peer listens that was told nothing: this machine only, any free port. Nothing is opened to a network unasked.
pub const LISTEN: &str = "127.0.0.1:0";
/// Bytes that one read takes from the disk and hands to the socket: long enough for the disk's full speed, short enough that 64
/// readers share a small budget.
pub const READ_PIECE_BYTES: usize = 1 << 20;
/// How long a put may wait for memory: longer, and the client had better go to another peer.
pub const MEMORY_WAIT: Duration = Duration::from_secs(10);
/// How long a whole body may take: 8 MiB at 70 KB/s. Who is slower would hold memory that others wait for.
pub const BODY_TIME: Duration = Duration::from_secs(120);
/// Memory of copies that are passed on, until the neighbours have them: ten chunks of 3 MiB, about what one device has under way.
pub const ONWARD_BYTES: usize = 32 << 20;
/// How long a copy waits for that memory before it is stored here alone, and the device sends the others itself. Short: peers that
/// pass on to each other in a circle would otherwise wait for each other.
pub const ONWARD_WAIT: Duration = Duration::from_secs(2);
/// How long a neighbour may take to be connected to, and how long to take the next bytes, before the one behind it is next.
pub const ONWARD_DIAL: Duration = Duration::from_secs(2);
pub const ONWARD_STALL: Duration = Duration::from_secs(5);
/// How long a neighbour may take to answer after the last byte, for itself and again for each behind it: twice as long as the bytes
/// took to arrive here, within these bounds. The least is a slow disk's time; a dead process is noticed by silence.
pub const ONWARD_ANSWER_LEAST: Duration = Duration::from_secs(2);
pub const ONWARD_ANSWER: Duration = Duration::from_secs(10);
/// A peer with less room than this takes no new shards: one shard of the greatest length, and notes about others.
pub const WRITABLE_FROM: u64 = (common::limits::SHARD_BYTES + (1 << 20)) as u64;
/// How long the start waits for the directory's first answer. A peer without a directory still serves reads.
pub const FIRST_ANSWER: Duration = Duration::from_secs(3);
/// How long the good-bye to the directory may take at the end; it notices by itself otherwise.
pub const FAREWELL: Duration = Duration::from_millis(700);
/// How long one heartbeat is tried. Longer, and what it says is old.
pub const HEARTBEAT_TIME: Duration = Duration::from_secs(5);
/// Pause after a heartbeat that failed; the link has a growing pause of its own.
pub const HEARTBEAT_RETRY: Duration = Duration::from_millis(500);
/// Pause after a heartbeat that was refused for good: a human has to act, and may do so at any time.
pub const HEARTBEAT_REFUSED: Duration = Duration::from_secs(10);
/// The directory says when to come again, within these bounds.
pub const HEARTBEAT_LEAST: Duration = Duration::from_millis(50);
pub const HEARTBEAT_MOST: Duration = Duration::from_secs(60);
/// How often the certificate's age is looked at.
pub const RENEWAL_CHECK: Duration = Duration::from_secs(24 * 3600);
/// Pause after a renewal that failed: 30 days are left when it is first due.
pub const RENEWAL_RETRY: Duration = Duration::from_secs(3600);
/// How often the directory's history is written down while it goes on: what a crash forgets of it, another peer remembers.
pub const KNOWN_PAUSE: Duration = Duration::from_secs(60);
/// Grants whose signature was checked, about 200 bytes each. One upload shows one grant thousands of times.
pub const GRANTS_REMEMBERED: usize = 1_024;
/// Uploads whose spending is counted, about 150 bytes each.
pub const UPLOADS_REMEMBERED: usize = 65_536;
/// Passes whose signature was checked, at most about 1,500 bytes each. One order to make a shard shows one pass once to each source; a
/// reader of something shared shows one for each of up to 64 chunks.
pub const PASSES_REMEMBERED: usize = 1_024;
/// Orders to make a shard that are carried out at once; more wait so long before they are refused as `Busy`.
pub const MAKES_AT_ONCE: usize = 8;
pub const MAKE_WAIT: Duration = Duration::from_secs(60);
/// Memory of shards that were fetched and of what is computed from them: two chunks of the greatest length, or eight usual ones.
pub const MAKE_BYTES: usize = 64 << 20;
/// How long a source may take to be connected to, to begin its answer, and to end it, before the next one is asked. A peer that is known
/// to be gone fails at once, one that falls silent after 7 s.
pub const FETCH_DIAL: Duration = Duration::from_secs(3);
pub const FETCH_ANSWER: Duration = Duration::from_secs(15);
pub const FETCH_TIME: Duration = Duration::from_secs(60);
/// How fast shards are checked: a terabyte in 1.5 days, and a twentieth of what a slow disk reads. Each pass begins so long after the
/// last one: what a disk loses is found within a month at the latest.
pub const SCRUB_RATE: ByteSize = ByteSize::mib(8);
pub const SCRUB_EVERY: Duration = Duration::from_secs(14 * 24 * 3600);
/// How often it is written down where the scrubber is; a crash costs a minute's work.
pub const SCRUB_SAVE: Duration = Duration::from_secs(60);
/// The least pause between two passes, whatever was asked for.
pub const SCRUB_LEAST_PAUSE: Duration = Duration::from_secs(1);
/// How long, and how often, it stands back before a shard while readers fill their memory.
pub const SCRUB_STAND_BACK: (Duration, u32) = (Duration::from_millis(200), 50);
/// How long a dropped shard is kept: a week to notice that it should not have been dropped.
pub const KEEP_TRASH: Duration = Duration::from_secs(7 * 24 * 3600);
/// How often the trash and the room are looked at: two counters and a `statvfs`.
pub const PURGE_PAUSE: Duration = Duration::from_secs(1);
/// What is copied out of mostly empty segments between two looks at the trash: as much as a scrub reads.
pub const REWRITE_AT_ONCE: ByteSize = SCRUB_RATE;
/// Below this much room the oldest trash goes before its time: a little before new shards are refused.
pub const PURGE_BELOW: u64 = 2 * WRITABLE_FROM;
/// Shards that are purged before the next look.
pub const PURGE_AT_ONCE: usize = 256;
/// Deletions of one order under way at once: enough for shared syncs.
pub const DROPS_AT_ONCE: usize = 32;
/// Threads that the disk may keep busy: the store's 64 writers, and readers.
pub const DISK_THREADS: usize = 128;

/// How to run a peer that has joined. What is `None` or empty is as it was said to `join`.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    pub data: PathBuf,
    pub listen: Option<String>,
    pub advertise: Vec<String>,
    pub reserve: Reserve,
    /// Where to look for the directory beside what the cluster map says.
    pub directory: Vec<String>,
    /// Memory of shards that arrive, and as much again of those that are read. 48 MiB: five shards of the greatest length, or 45
    /// of 1 MiB, and well below the 256 MiB that a peer may use.
    pub buffers: ByteSize,
    /// Where a segment ends; see the store.
    pub segment: Option<ByteSize>,
    /// Bytes a second at which shards are checked; `None`: they are not.
    pub scrub_rate: Option<ByteSize>,
    /// From the beginning of one pass over all shards to that of the next, at the least.
    pub scrub_every: Duration,
    /// How long a dropped shard is kept, while there is room.
    pub keep_trash: Duration,
    pub endpoint: EndpointOptions,
    pub serve: ServeOptions,
    pub clock: Clock,
    /// What certificates are judged by.
    pub certificates: Clock,
}

impl ServeConfig {
    #[must_use]
    pub fn new(data: PathBuf) -> Self {
        Self {
            data,
            listen: None,
            advertise: Vec::new(),
            reserve: Reserve::default(),
            directory: Vec::new(),
            buffers: ByteSize::mib(48),
            segment: None,
            scrub_rate: Some(SCRUB_RATE),
            scrub_every: SCRUB_EVERY,
            keep_trash: KEEP_TRASH,
            endpoint: EndpointOptions::peer(),
            // Each device keeps one connection to each peer. The grace leaves time for the good-bye within 5 s.
            serve: ServeOptions {
                connections: 4_096,
                requests: 512,
                message_bytes: 16 << 20,
                grace: Duration::from_secs(2),
                ..ServeOptions::default()
            },
            clock: Clock::System,
            certificates: Clock::System,
        }
    }
}

/// Threads for the network: half of the machine's, since on a small one fewer threads carry more bytes, and the disk and the
/// client need some too.
#[must_use]
pub fn network_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |count| (count.get() / 2).clamp(1, 8))
}
