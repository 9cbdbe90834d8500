//! Relay: a network between a server and everybody else. It has an address of its own, passes datagrams on both ways, and makes of
//! loopback what the [`Conditions`] say: delay, loss, packets that come twice or after later ones, a rate with a bounded queue, a
//! largest packet, silence both ways or one way.
//!
//! Every dialler gets a socket of its own towards the server, as behind a home router, so the server sees as many addresses as
//! there are diallers. Conditions may change at any time and hold for packets that arrive afterwards. Chance is drawn from a seed:
//! the same packets in the same order meet the same fate.
//!
//! Sketch: a packet costs two system calls and one copy, about 4 us; so 100,000 packets/s fill a core, which is 1.2 Gbit/s at 1,452
//! bytes and 5 at 6,500. What is due is sent at most 0.2 ms late, in one go, rather than by waking up for each packet.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

mod pipe;

use pipe::{Outlet, Pipe};

/// How long packets are held up that are to come late.
pub const HELD_UP: Duration = Duration::from_millis(4);
/// How often a waiting thread looks whether the relay has ended.
const LOOK: Duration = Duration::from_millis(100);
/// A dialler that was silent both ways for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// Diallers at once; packets of more are dropped.
const DIALLERS: usize = 256;
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
const LARGEST_DATAGRAM: usize = 65_536;
/// What one direction does to packets. The default passes everything on at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct Direction {
    /// On the way.
    pub delay: Duration,
    /// Of a million packets so many are lost.
    pub lost_per_million: u32,
    /// Of a million packets so many come twice.
    pub doubled_per_million: u32,
    /// Of a million packets so many are held up for [`HELD_UP`], so that later ones come before them.
    pub reordered_per_million: u32,
    /// Bits a second of IP packets; no limit otherwise.
    pub rate: Option<u64>,
    /// Bytes that may wait for the rate; what comes beyond is dropped. Without a number: what the rate carries in 100 ms.
    pub queue: Option<u64>,
    /// The largest IP packet, as an interface's MTU; larger ones are dropped without a word.
    pub mtu: Option<usize>,
    /// Nothing passes.
    pub stalled: bool,
}

/// What the relay does to packets, each way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conditions {
    /// To the server.
    pub to: Direction,
    /// From the server.
    pub from: Direction,
}

impl Conditions {
    /// The same both ways.
    #[must_use]
    pub fn both(direction: Direction) -> Self {
        Self { to: direction, from: direction }
    }

    /// Silence both ways.
    #[must_use]
    pub fn stalled(self) -> Self {
        self.deaf().mute()
    }

    /// Nothing reaches the server any more; what it sends arrives.
    #[must_use]
    pub fn deaf(mut self) -> Self {
        self.to.stalled = true;
        self
    }

    /// Nothing that the server sends arrives any more; it hears everything.
    #[must_use]
    pub fn mute(mut self) -> Self {
        self.from.stalled = true;
        self
    }
}

/// What became of packets so far, both ways together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: u64,
    /// Bytes of IP packets that passed to the server, and from it.
    pub bytes: [u64; 2],
    /// By the dice.
    pub lost: u64,
    pub doubled: u64,
    pub reordered: u64,
    /// Because the queue was full.
    pub overflowed: u64,
    /// Larger than the MTU.
    pub too_large: u64,
    pub stalled: u64,
}

/// Ends with its last handle dropped.
pub struct Relay {
    shared: Arc<Shared>,
    address: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    front: UdpSocket,
    target: Mutex<Option<SocketAddr>>,
    /// To the server, from the server.
    pipes: [Pipe; 2],
    ended: AtomicBool,
}

impl Relay {
    /// Takes a port on loopback. It leads nowhere until it is told where.
    ///
    /// # Errors
    /// When there is no socket to be had.
    pub fn start(conditions: Conditions, seed: u64) -> Result<Self> {
        let front = socket()?;
        let address = front.local_addr()?;
        let pipes = [Pipe::new(conditions.to, seed), Pipe::new(conditions.from, !seed)];
        let shared = Arc::new(Shared { front, target: Mutex::new(None), pipes, ended: AtomicBool::new(false) });
        let mut threads = Vec::new();
        for way in 0..2 {
            let shared = Arc::clone(&shared);
            threads.push(thread::Builder::new().name("relay".to_owned()).spawn(move || {
                if let Some(pipe) = shared.pipes.get(way) {
                    pipe.deliver(&shared.ended);
                }
            })?);
        }
        let reader = Arc::clone(&shared);
        threads.push(thread::Builder::new().name("relay".to_owned()).spawn(move || receive_all(&reader))?);
        Ok(Self { shared, address, threads })
    }

    /// Where to dial in place of the server.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the server is; known diallers keep talking to where it was when they came.
    pub fn lead_to(&self, server: SocketAddr) {
        *lock(&self.shared.target) = Some(server);
    }

    /// From now on.
    pub fn set(&self, conditions: Conditions) {
        for (pipe, direction) in self.shared.pipes.iter().zip([conditions.to, conditions.from]) {
            pipe.set(direction);
        }
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for (way, pipe) in self.shared.pipes.iter().enumerate() {
            let counts = pipe.counts();
            sum.passed += counts.passed;
            sum.lost += counts.lost;
            sum.doubled += counts.doubled;
            sum.reordered += counts.reordered;
            sum.overflowed += counts.overflowed;
            sum.too_large += counts.too_large;
            sum.stalled += counts.stalled;
            if let (Some(all), Some(bytes)) = (sum.bytes.get_mut(way), counts.bytes.first()) {
                *all = *bytes;
            }
        }
        sum
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        for pipe in &self.shared.pipes {
            pipe.wake();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn socket() -> Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).context("no port on loopback")?;
    let socket: UdpSocket = socket.into();
    socket.set_read_timeout(Some(LOOK))?;
    Ok(socket)
}

/// Whether a read failed because nothing came; on loopback a server that is gone shows as refused, which is nothing either.
fn nothing_came(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted | ErrorKind::ConnectionRefused)
}

/// One dialler's socket towards the server.
struct Dialler {
    socket: Arc<UdpSocket>,
    last: Arc<AtomicU64>,
}

/// Takes what diallers send.
fn receive_all(shared: &Arc<Shared>) {
    let begun = Instant::now();
    let mut buffer = vec![0; LARGEST_DATAGRAM];
    let mut diallers: HashMap<SocketAddr, Dialler> = HashMap::new();
    let mut readers = Vec::new();
    let [to, _] = &shared.pipes;
    while !shared.ended.load(Ordering::Relaxed) {
        let (len, from) = match shared.front.recv_from(&mut buffer) {
            Ok(received) => received,
            Err(error) if nothing_came(error.kind()) => {
                let now = begun.elapsed().as_secs();
                let idle = |dialler: &Dialler| now.saturating_sub(dialler.last.load(Ordering::Relaxed));
                diallers.retain(|_, dialler| idle(dialler) < FORGOTTEN.as_secs());
                readers.retain(|reader: &JoinHandle<()>| !reader.is_finished());
                continue;
            }
            Err(_) => break,
        };
        if !diallers.contains_key(&from) && diallers.len() < DIALLERS {
            let Some(server) = *lock(&shared.target) else { continue };
            let Ok(socket) = socket() else { continue };
            if socket.connect(server).is_err() {
                continue;
            }
            let dialler = Dialler { socket: Arc::new(socket), last: Arc::default() };
            let (shared, back) = (Arc::clone(shared), Arc::downgrade(&dialler.socket));
            let last = Arc::clone(&dialler.last);
            let read = move || {
                let mut buffer = vec![0; LARGEST_DATAGRAM];
                let [_, pipe] = &shared.pipes;
                while !shared.ended.load(Ordering::Relaxed) {
                    let Some(socket) = back.upgrade() else { return };
                    match socket.recv(&mut buffer) {
                        Ok(len) => {
                            last.store(begun.elapsed().as_secs(), Ordering::Relaxed);
                            let packet = buffer.get(..len).unwrap_or_default();
                            pipe.take(packet, &Outlet::Front(Arc::clone(&shared), from));
                        }
                        Err(error) if nothing_came(error.kind()) => {}
                        Err(_) => return,
                    }
                }
            };
            if let Ok(reader) = thread::Builder::new().name("relay".to_owned()).spawn(read) {
                readers.push(reader);
                diallers.insert(from, dialler);
            }
        }
        let Some(dialler) = diallers.get(&from) else { continue };
        dialler.last.store(begun.elapsed().as_secs(), Ordering::Relaxed);
        to.take(buffer.get(..len).unwrap_or_default(), &Outlet::Server(Arc::clone(&dialler.socket)));
    }
    drop(diallers);
    for reader in readers {
        let _ = reader.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        relay: Relay,
        server: UdpSocket,
        client: UdpSocket,
    }

    fn fixture(direction: Direction) -> Fixture {
        let relay = Relay::start(Conditions::both(direction), 7).unwrap();
        let (server, client) = (socket().unwrap(), socket().unwrap());
        relay.lead_to(server.local_addr().unwrap());
        client.connect(relay.address()).unwrap();
        Fixture { relay, server, client }
    }

    #[test]
    fn packets_pass_both_ways_no_sooner_than_the_delay_says() {
        let delay = Duration::from_millis(20);
        let Fixture { relay, server, client } = fixture(Direction { delay, ..Direction::default() });
        let mut buffer = [0; 9_000];
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        for len in [1, 1_452, 6_500] {
            let since = Instant::now();
            client.send(&vec![7; len]).unwrap();
            let (got, from) = server.recv_from(&mut buffer).unwrap();
            assert_eq!((got, since.elapsed() >= delay), (len, true));
            server.send_to(&buffer[..got], from).unwrap();
            assert_eq!((client.recv(&mut buffer).unwrap(), since.elapsed() >= 2 * delay), (len, true));
        }
        assert_eq!(relay.counts().passed, 6);
    }

    #[test]
    fn what_is_stalled_is_lost_and_what_comes_later_passes() {
        let Fixture { relay, server, client } = fixture(Direction::default());
        let mut buffer = [0; 10];
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        relay.set(Conditions::default().stalled());
        client.send(b"lost").unwrap();
        crate::harness::process::eventually("it stalls", Duration::from_secs(5), || relay.counts().stalled == 1)
            .unwrap();
        relay.set(Conditions::default());
        client.send(b"here").unwrap();
        assert_eq!(server.recv(&mut buffer).unwrap(), 4);
        assert_eq!(&buffer[..4], b"here");
    }

    #[test]
    fn silence_one_way_leaves_the_other() {
        let Fixture { relay, server, client } = fixture(Direction::default());
        let mut buffer = [0; 10];
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let stalls = |count| {
            crate::harness::process::eventually("it stalls", Duration::from_secs(5), || {
                relay.counts().stalled == count
            })
            .unwrap();
        };
        client.send(b"hello").unwrap();
        let (_, back) = server.recv_from(&mut buffer).unwrap();

        relay.set(Conditions::default().mute());
        client.send(b"heard").unwrap();
        assert_eq!(server.recv(&mut buffer).unwrap(), 5, "who is mute hears");
        server.send_to(b"lost", back).unwrap();
        stalls(1);

        relay.set(Conditions::default().deaf());
        client.send(b"lost").unwrap();
        stalls(2);
        server.send_to(b"said", back).unwrap();
        assert_eq!(client.recv(&mut buffer).unwrap(), 4, "who is deaf speaks");
        assert_eq!(&buffer[..4], b"said");
    }

    #[test]
    fn packets_come_twice_and_after_later_ones_and_none_is_missing() {
        const COUNT: u8 = 200;
        let direction = Direction {
            doubled_per_million: 300_000,
            reordered_per_million: 200_000,
            delay: Duration::from_millis(1),
            ..Direction::default()
        };
        let Fixture { relay, server, client } = fixture(direction);
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        for number in 0..COUNT {
            client.send(&[number]).unwrap();
        }
        // The last could be among those held up, so it is counted and not waited for.
        let (mut seen, mut order, mut buffer) = (std::collections::BTreeMap::new(), Vec::new(), [0; 10]);
        let mut got = 0;
        while seen.len() < usize::from(COUNT) || got < u64::from(COUNT) + relay.counts().doubled {
            server.recv(&mut buffer).unwrap();
            *seen.entry(buffer[0]).or_insert(0) += 1;
            order.push(buffer[0]);
            got += 1;
        }
        let counts = relay.counts();
        assert_eq!((counts.lost, got), (0, u64::from(COUNT) + counts.doubled));
        assert!(counts.doubled > 20 && counts.reordered > 10, "{counts:?}");
        assert!(seen.values().all(|times| (1..=2).contains(times)), "{seen:?}");
        order.dedup();
        assert!(!order.is_sorted(), "all came in order");
    }
}
