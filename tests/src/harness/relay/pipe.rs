//! Pipe: one direction of a relay. Decides what becomes of a packet, and sends it when it is due.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Counts, Direction, HELD_UP, LOOK, Shared, lock};
use crate::harness::Dice;

/// What is due within it is sent at once.
const TICK: Duration = Duration::from_micros(200);
/// IPv4 and UDP: what the link carries beside the payload.
const HEADERS: u64 = 28;
/// What a direction may hold at most, whatever its rate and delay.
const HELD_BYTES: u64 = 256 << 20;
const MILLION: u64 = 1_000_000;

/// Where a packet leaves.
#[derive(Clone)]
pub(super) enum Outlet {
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
pub(super) struct Pipe {
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
    /// Whether the sending thread is sending some.
    sending: bool,
    counts: Counts,
}

impl Pipe {
    pub(super) fn new(direction: Direction, seed: u64) -> Self {
        let now = Instant::now();
        let state = State {
            direction,
            dice: Dice::new(seed),
            waiting: VecDeque::new(),
            held: 0,
            busy_until: now,
            last_due: now,
            sending: false,
            counts: Counts::default(),
        };
        Self { state: Mutex::new(state), woken: Condvar::new() }
    }

    /// From now on.
    pub(super) fn set(&self, direction: Direction) {
        lock(&self.state).direction = direction;
    }

    pub(super) fn counts(&self) -> Counts {
        lock(&self.state).counts
    }

    pub(super) fn wake(&self) {
        self.woken.notify_all();
    }

    /// Decides a packet's fate, and sends it at once when nothing holds it up.
    pub(super) fn take(&self, packet: &[u8], outlet: &Outlet) {
        let now = Instant::now();
        let mut state = lock(&self.state);
        let Some(Fate { due, copies }) = state.fate(now, packet.len()) else { return };
        let overtakes = state.waiting.front().is_none_or(|first| due < first.due);
        if due <= now && overtakes && !state.sending {
            drop(state);
            (0..copies).for_each(|_| outlet.send(packet));
            return;
        }
        for _ in 0..copies {
            state.held += packet.len() as u64;
            let place = state.waiting.partition_point(|other| other.due <= due);
            state.waiting.insert(place, Packet { due, bytes: packet.to_vec(), outlet: outlet.clone() });
        }
        if overtakes {
            drop(state);
            self.woken.notify_one();
        }
    }

    /// Sends what is due until the relay ends.
    pub(super) fn deliver(&self, ended: &AtomicBool) {
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
                // Who is due sooner than all that wait wakes us.
                Some(first) => {
                    let wait = first.saturating_duration_since(now).max(TICK);
                    state = self.woken.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
                }
                None => state = self.woken.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0,
            }
        }
    }
}

impl State {
    /// What becomes of a packet that arrives now; `None` when it does not come out.
    fn fate(&mut self, now: Instant, len: usize) -> Option<Fate> {
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
        if self.chance(direction.lost_per_million) {
            self.counts.lost += 1;
            return None;
        }
        if self.held + size > HELD_BYTES {
            self.counts.overflowed += 1;
            return None;
        }
        let mut due = (out + direction.delay).max(self.last_due);
        self.last_due = due;
        if self.chance(direction.reordered_per_million) {
            self.counts.reordered += 1;
            due += HELD_UP;
        }
        let doubled = self.chance(direction.doubled_per_million);
        self.counts.doubled += u64::from(doubled);
        self.counts.passed += 1;
        if let Some(bytes) = self.counts.bytes.first_mut() {
            *bytes += size;
        }
        Some(Fate { due, copies: 1 + usize::from(doubled) })
    }

    /// Throws only where there is something to decide, so that one chance does not shift another.
    fn chance(&mut self, per_million: u32) -> bool {
        per_million > 0 && self.dice.below(MILLION) < u64::from(per_million)
    }
}

/// A packet comes out so often at this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fate {
    due: Instant,
    copies: usize,
}

#[cfg(test)]
mod tests {
    use super::super::Conditions;
    use super::*;

    const MBIT: u64 = 1_000_000;

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

        let restless =
            Direction { doubled_per_million: 50_000, reordered_per_million: 100_000, ..Direction::default() };
        let (dues, counts) = fates(restless, 100_000, 1_000);
        assert!((4_500..5_500).contains(&counts.doubled) && (9_500..10_500).contains(&counts.reordered), "{counts:?}");
        let late = dues.iter().flatten().filter(|fate| fate.due == now + HELD_UP).count();
        let twice = dues.iter().flatten().filter(|fate| fate.copies == 2).count();
        assert_eq!((late as u64, twice as u64, counts.passed), (counts.reordered, counts.doubled, 100_000));

        // 972 bytes and headers at 8 Mbit/s take a millisecond each.
        let narrow = Direction { rate: Some(8 * MBIT), queue: Some(10_000), ..Direction::default() };
        let (dues, counts) = fates(narrow, 20, 972);
        assert_eq!(counts.overflowed, 9);
        assert_eq!(dues[10].unwrap().due, now + Duration::from_millis(11));

        let small = Direction { mtu: Some(1_500), ..Direction::default() };
        assert_eq!((fates(small, 3, 1_472).1.too_large, fates(small, 3, 1_473).1.too_large), (0, 3));
        assert_eq!(fates(Conditions::default().stalled().to, 3, 9).1.stalled, 3);
    }

    impl State {
        fn fresh(&self, now: Instant) -> Self {
            Self { waiting: VecDeque::new(), busy_until: now, last_due: now, ..*self }
        }
    }
}
