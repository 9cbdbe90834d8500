//! Relay: a network between a server and everybody else. It has an address of its own, passes datagrams on both ways, and makes of
//! loopback what the [`Conditions`] say: delay, loss, a rate with a bounded queue, a largest packet, silence.
//!
//! Every dialler gets a socket of its own towards the server, as behind a home router, so the server sees as many addresses as
//! there are diallers. Conditions may change at any time and hold for packets that arrive afterwards. Loss is drawn from a seed:
//! the same packets in the same order meet the same fate.
//!
//! Sketch: a packet costs two system calls and one copy, about 4 us; so 100,000 packets/s fill a core, which is 1.2 Gbit/s at 1,452
//! bytes and 5 at 6,500. What is due is sent at most [`TICK`] late, in one go, rather than by waking up for each packet.

use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use super::dice::Dice;

/// What is due within it is sent at once.
const TICK: Duration = Duration::from_micros(200);
/// How often a waiting thread looks whether the relay has ended.
const LOOK: Duration = Duration::from_millis(100);
/// A dialler that was silent both ways for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// Diallers at once; packets of more are dropped.
const DIALLERS: usize = 256;
/// IPv4 and UDP: what the link carries beside the payload.
const HEADERS: u64 = 28;
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
const MILLION: u64 = 1_000_000;
const LARGEST_DATAGRAM: usize = 65_536;
/// What a direction may hold at most, whatever its rate and delay.
const HELD_BYTES: u64 = 256 << 20;

/// What one direction does to packets. The default passes everything on at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct Direction {
    /// On the way.
    pub delay: Duration,
    /// Of a million packets so many are lost.
    pub lost_per_million: u32,
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
    pub fn stalled(mut self) -> Self {
        self.to.stalled = true;
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
            lock(&pipe.state).direction = direction;
        }
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for (way, pipe) in self.shared.pipes.iter().enumerate() {
            let counts = lock(&pipe.state).counts;
            sum.passed += counts.passed;
            sum.lost += counts.lost;
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
            pipe.woken.notify_all();
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

/// Where a packet leaves.
#[derive(Clone)]
enum Outlet {
    Server(Arc<UdpSocket>),
    Front(Arc<Shared>, SocketAddr),
}

impl Outlet {
    /// What cannot be sent is lost, as on any network.
    fn send(&self, packet: &[u8]) {
        let _ = match self {
            Self::Server(socket) => socket.send(packet),
            Self::Front(shared, dialler) => shared.front.send_to(packet, *dialler),
        };
    }
}

struct Packet {
    due: Instant,
    bytes: Vec<u8>,
    outlet: Outlet,
}

/// One direction.
struct Pipe {
    state: Mutex<State>,
    woken: Condvar,
}

struct State {
    direction: Direction,
    dice: Dice,
    /// In the order in which they are due.
    waiting: VecDeque<Packet>,
    held: u64,
    /// Until when the link is busy with what it has taken.
    busy_until: Instant,
    last_due: Instant,
    /// Whether the sending thread waits for a first packet, and whether it is sending some.
    idle: bool,
    sending: bool,
    counts: Counts,
}

impl Pipe {
    fn new(direction: Direction, seed: u64) -> Self {
        let now = Instant::now();
        let state = State {
            direction,
            dice: Dice::new(seed),
            waiting: VecDeque::new(),
            held: 0,
            busy_until: now,
            last_due: now,
            idle: false,
            sending: false,
            counts: Counts::default(),
        };
        Self { state: Mutex::new(state), woken: Condvar::new() }
    }

    /// Decides a packet's fate, and sends it at once when nothing holds it up.
    fn take(&self, packet: &[u8], outlet: &Outlet) {
        let now = Instant::now();
        let mut state = lock(&self.state);
        let Some(due) = state.fate(now, packet.len()) else { return };
        if due <= now && state.waiting.is_empty() && !state.sending {
            drop(state);
            outlet.send(packet);
            return;
        }
        state.held += packet.len() as u64;
        state.waiting.push_back(Packet { due, bytes: packet.to_vec(), outlet: outlet.clone() });
        if state.idle {
            state.idle = false;
            drop(state);
            self.woken.notify_one();
        }
    }

    /// Sends what is due until the relay ends.
    fn deliver(&self, ended: &AtomicBool) {
        let mut due = Vec::new();
        let mut state = lock(&self.state);
        while !ended.load(Ordering::Relaxed) {
            let now = Instant::now();
            while state.waiting.front().is_some_and(|packet| packet.due <= now) {
                due.extend(state.waiting.pop_front());
            }
            if !due.is_empty() {
                state.held -= due.iter().map(|packet: &Packet| packet.bytes.len() as u64).sum::<u64>();
                state.sending = true;
                drop(state);
                for packet in due.drain(..) {
                    packet.outlet.send(&packet.bytes);
                }
                state = lock(&self.state);
                state.sending = false;
                continue;
            }
            match state.waiting.front().map(|packet| packet.due) {
                // New packets are due later than those that wait, so nobody needs to wake us.
                Some(first) => {
                    drop(state);
                    thread::sleep(first.saturating_duration_since(now).max(TICK));
                    state = lock(&self.state);
                }
                None => {
                    state.idle = true;
                    state = self.woken.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
                    state.idle = false;
                }
            }
        }
    }
}

impl State {
    /// When a packet that arrives now comes out; `None` when it does not.
    fn fate(&mut self, now: Instant, len: usize) -> Option<Instant> {
        let direction = self.direction;
        let size = len as u64 + HEADERS;
        if direction.stalled {
            self.counts.stalled += 1;
            return None;
        }
        if direction.mtu.is_some_and(|mtu| size > mtu as u64) {
            self.counts.too_large += 1;
            return None;
        }
        let mut out = now;
        if let Some(rate) = direction.rate {
            let rate = rate.max(1);
            let takes = |bytes: u64| Duration::from_nanos(bytes.saturating_mul(8_000_000_000) / rate);
            let queue = direction.queue.map_or(Duration::from_millis(100), takes);
            let start = self.busy_until.max(now);
            if start - now > queue {
                self.counts.overflowed += 1;
                return None;
            }
            out = start + takes(size);
            self.busy_until = out;
        }
        if self.dice.below(MILLION) < u64::from(direction.lost_per_million) {
            self.counts.lost += 1;
            return None;
        }
        if self.held + size > HELD_BYTES {
            self.counts.overflowed += 1;
            return None;
        }
        let due = (out + direction.delay).max(self.last_due);
        self.last_due = due;
        self.counts.passed += 1;
        if let Some(bytes) = self.counts.bytes.first_mut() {
            *bytes += size;
        }
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MBIT: u64 = 1_000_000;

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
    fn fates_follow_from_the_conditions_alone() {
        let now = Instant::now();
        let fates = |direction, count: u64, len| {
            let mut state = lock(&Pipe::new(direction, 3).state).fresh(now);
            let dues: Vec<_> = (0..count).map(|_| state.fate(now, len)).collect();
            (dues, state.counts)
        };
        let one_percent = Direction { lost_per_million: 10_000, ..Direction::default() };
        let (dues, counts) = fates(one_percent, 100_000, 1_000);
        assert!((900..1_100).contains(&counts.lost), "{counts:?}");
        assert_eq!(dues, fates(one_percent, 100_000, 1_000).0, "the same seed, the same fate");

        // 972 bytes and headers at 8 Mbit/s take a millisecond each.
        let narrow = Direction { rate: Some(8 * MBIT), queue: Some(10_000), ..Direction::default() };
        let (dues, counts) = fates(narrow, 20, 972);
        assert_eq!(counts.overflowed, 9);
        assert_eq!(dues[10], Some(now + Duration::from_millis(11)));

        let small = Direction { mtu: Some(1_500), ..Direction::default() };
        assert_eq!((fates(small, 3, 1_472).1.too_large, fates(small, 3, 1_473).1.too_large), (0, 3));
        assert_eq!(fates(Conditions::default().stalled().to, 3, 9).1.stalled, 3);
    }

    impl State {
        fn fresh(&self, now: Instant) -> Self {
            Self { waiting: VecDeque::new(), busy_until: now, last_due: now, ..*self }
        }
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
}
