//! Congestion: how much may be under way, from how fast it arrives and how long that takes.
//!
//! A window of what the path carries in its shortest round trip, and a little more, in the manner of BBR: rates are measured over at
//! least a round trip, so that acknowledgements that arrive in a bunch do not look like a fast line (quinn's own BBR compares
//! neighbours, overestimates several times over, and keeps every queue full). Loss alone does not slow it; much loss while probing
//! lowers the window for some rounds. Every eighth round trip sends a quarter more, the next a twentieth less: the one finds out
//! whether the path has become faster, the other empties the queue and shows the path's true round trip.
//!
//! Where word of what arrived comes in bunches, from a wireless line or from processes that wait for a core, the window is larger by a bunch.
//!
//! On a short path it begins with little under way until quinn has found how large packets may be ([`Model::searching`]).
//!
//! The default, since it was as fast as quinn's BBR or faster wherever both were measured, and has a hundredth of the packets dropped
//! by a slow line's queue (docs/PERFORMANCE.md). It is young: `SHOAL_CONGESTION` takes the others.
//!
//! quinn paces at a little above a window a round trip, so the window is all that is decided here.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::congestion::{Controller, ControllerFactory};
use quinn_proto::RttEstimator;

/// Before anything is known of the path; quinn spreads it over the first round trip.
const INITIAL_BYTES: u64 = 96 << 10;
/// What may wait in the path's queue, as time: hides the jitter of timers and of the processes at both ends.
const SLACK: Duration = Duration::from_millis(5);
/// The same on a path that is shorter than a millisecond.
const SLACK_NEARBY: Duration = Duration::from_millis(10);
/// There the other end may be late by so much, when processes wait for a core: with a window of less the rate would follow how long they
/// wait, and the window the rate, downwards.
const LATE: Duration = Duration::from_millis(40);
/// As much as that is worth: three senders at once fit into a socket's buffer.
const LATE_BYTES: u64 = 2 << 20;
/// The longest that acknowledgements may keep each other waiting without slowing us.
const BUNCH: Duration = Duration::from_millis(20);
/// Rounds over which the highest rate counts.
const ROUNDS: usize = 10;
/// For how long the shortest round trip counts, at least, and at most twice as long.
const SHORTEST: Duration = Duration::from_secs(10);
/// While quinn looks for the largest packet on a path whose round trip is shorter than this, no more than [`INITIAL_BYTES`] are under
/// way: it looks only when it has nothing else to send or may not, and a size that does not fit takes three round trips.
const SEARCH_WITHIN: Duration = Duration::from_millis(5);
/// The search has found what a tunnel over an Ethernet carries, or more: what is left of it gains little.
const SEARCH_FOUND: u64 = 1_350;
/// It is given up after so many bytes, some ten times what it takes to come from 16,370 down to 1,466.
const SEARCH_BYTES: u64 = 8 << 20;
/// Parts of a round trip that are told apart when rates are measured.
const PARTS: u32 = 64;
/// A round lasts as long as the path's round trip, and at least so long: on a short path the processes at both ends set the pace.
const ROUND: Duration = Duration::from_millis(10);
/// Moments that are remembered at once: what keeps a connection small, should a round trip take very long.
const MOMENTS: usize = 512;
/// Percent of a round's bytes whose loss means that the path's queue is full ...
const MUCH_LOSS: u64 = 10;
/// ... if they are at least so many packets.
const MUCH_PACKETS: u64 = 16;
/// Percent of the path's window in each round of a cycle.
const CYCLE: [u64; 8] = [125, 95, 100, 100, 100, 100, 100, 100];

/// What is known of the path.
#[derive(Debug, Clone)]
struct Model {
    packet: u64,
    window: u64,
    /// Bytes acknowledged so far; and the same at earlier moments.
    delivered: u64,
    history: VecDeque<(Instant, u64)>,
    /// When the newest of the packets just acknowledged was sent.
    newest_sent: Option<Instant>,
    /// The highest rate of each of the last rounds, in bytes a second.
    rates: [u64; ROUNDS],
    /// How much more than the rate's share was acknowledged at once in each of the last rounds; since when that is counted, and what came.
    bunches: [u64; ROUNDS],
    bunch_since: Option<Instant>,
    bunch_acked: u64,
    /// The shortest round trip of this time and of the one before, and when this one began.
    shortest: [Option<Duration>; 2],
    shortest_since: Option<Instant>,
    round: u64,
    round_since: Option<Instant>,
    round_ends_with: u64,
    last_sent: u64,
    just_acked: u64,
    round_acked: u64,
    round_lost: u64,
    round_limited_by_us: bool,
    /// Still looking for the path's rate: what it was, and for how many rounds it has not grown by a quarter.
    starting: bool,
    rate_then: u64,
    rounds_without_growth: u32,
    /// After much loss: no more than this.
    ceiling: Option<u64>,
    cycle: usize,
}

impl Model {
    fn new(packet: u64) -> Self {
        Self {
            packet,
            window: INITIAL_BYTES,
            delivered: 0,
            history: VecDeque::new(),
            newest_sent: None,
            rates: [0; ROUNDS],
            bunches: [0; ROUNDS],
            bunch_since: None,
            bunch_acked: 0,
            shortest: [None; 2],
            shortest_since: None,
            round: 0,
            round_since: None,
            round_ends_with: 0,
            last_sent: 0,
            just_acked: 0,
            round_acked: 0,
            round_lost: 0,
            round_limited_by_us: false,
            starting: true,
            rate_then: 0,
            rounds_without_growth: 0,
            ceiling: None,
            cycle: 2,
        }
    }

    /// Nothing arrived for long: what was known is no more.
    fn forget(&mut self) {
        let packet = self.packet;
        let (round_ends_with, last_sent) = (self.round_ends_with, self.last_sent);
        *self = Self { round_ends_with, last_sent, ..Self::new(packet) };
        self.window = self.least();
    }

    /// One packet of those that one acknowledgement names.
    fn acked(&mut self, sent: Instant, bytes: u64) {
        self.delivered += bytes;
        self.round_acked += bytes;
        self.just_acked += bytes;
        self.newest_sent = self.newest_sent.max(Some(sent));
    }

    /// The end of one acknowledgement. `idle`: we had less to send than we might have.
    fn acked_all(&mut self, now: Instant, largest: Option<u64>, idle: bool) {
        let Some(sent) = self.newest_sent.take() else { return };
        let took = now.saturating_duration_since(sent);
        self.note_round_trip(now, took);
        let searching = self.searching();
        self.round_limited_by_us |= idle || searching;
        let rate = self.measure(now, sent);
        let counts = !idle || rate > self.rate();
        let place = usize::try_from(self.round % ROUNDS as u64).unwrap_or(0);
        if let Some(highest) = self.rates.get_mut(place).filter(|_| counts) {
            *highest = (*highest).max(rate);
        }
        let acked = std::mem::take(&mut self.just_acked);
        self.note_bunch(now, acked, place);
        if self.starting && searching {
            self.window = INITIAL_BYTES;
        } else if self.starting && !idle {
            // It doubles in a round trip, but not beyond what twice the known rate needs; more would only wait, and be dropped, in the queue.
            let enough = self.carried(250).saturating_add(share(self.rate(), SLACK)).max(2 * INITIAL_BYTES);
            self.window = self.window.saturating_add(acked).min(enough);
        }
        let since = *self.round_since.get_or_insert(now);
        let over = now.saturating_duration_since(since) >= ROUND;
        if over && largest.is_some_and(|largest| largest > self.round_ends_with) {
            self.round_since = Some(now);
            self.end_round();
        }
        self.decide();
    }

    /// Whether larger packets are still being looked for on a short path. Were more under way, its queue would fill, each attempt
    /// would wait in it, and a file would be through before the search is.
    fn searching(&self) -> bool {
        let small = self.packet < SEARCH_FOUND && self.delivered < SEARCH_BYTES;
        small && self.shortest().is_some_and(|shortest| shortest < SEARCH_WITHIN)
    }

    fn rate(&self) -> u64 {
        self.rates.iter().copied().max().unwrap_or(0)
    }

    fn shortest(&self) -> Option<Duration> {
        self.shortest.iter().flatten().min().copied()
    }

    fn least(&self) -> u64 {
        4 * self.packet
    }

    fn note_round_trip(&mut self, now: Instant, took: Duration) {
        let since = *self.shortest_since.get_or_insert(now);
        let [current, before] = &mut self.shortest;
        if now.saturating_duration_since(since) > SHORTEST {
            *before = *current;
            *current = None;
            self.shortest_since = Some(now);
        }
        *current = Some(current.map_or(took, |known| known.min(took)));
    }

    /// Bytes a second since what was the newest acknowledgement when the packet was sent: over a round trip, then.
    fn measure(&mut self, now: Instant, sent: Instant) -> u64 {
        while self.history.get(1).is_some_and(|(at, _)| *at <= sent) {
            self.history.pop_front();
        }
        let rate = match self.history.front() {
            Some((at, delivered)) if *at <= sent => {
                let nanos = now.saturating_duration_since(*at).as_nanos().max(1);
                u64::try_from(u128::from(self.delivered - delivered) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
            }
            _ => 0,
        };
        let pause = self.shortest().unwrap_or_default() / PARTS;
        let due = self.history.back().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= pause);
        if due && self.history.len() < MOMENTS {
            self.history.push_back((now, self.delivered));
        }
        rate
    }

    /// Acknowledgements that come in bunches leave nothing to be sent in between, unless the window is larger by a bunch.
    fn note_bunch(&mut self, now: Instant, acked: u64, place: usize) {
        let since = *self.bunch_since.get_or_insert(now);
        let share = share(self.rate(), now.saturating_duration_since(since));
        if self.bunch_acked <= share {
            (self.bunch_since, self.bunch_acked) = (Some(now), acked);
        } else {
            self.bunch_acked += acked;
        }
        let more = self.bunch_acked.saturating_sub(share);
        if let Some(most) = self.bunches.get_mut(place) {
            *most = (*most).max(more);
        }
    }

    fn end_round(&mut self) {
        let much = self.round_lost >= MUCH_PACKETS * self.packet
            && self.round_lost * 100 > (self.round_lost + self.round_acked) * MUCH_LOSS;
        if much {
            self.ceiling = Some(self.carried(100).max(self.window / 100 * 85));
        } else if let Some(ceiling) = self.ceiling {
            self.ceiling = Some(ceiling + ceiling / 20).filter(|ceiling| *ceiling < 4 * self.window);
        }
        let limited = std::mem::take(&mut self.round_limited_by_us);
        if self.starting && !limited {
            if self.rate() >= self.rate_then + self.rate_then / 4 {
                self.rate_then = self.rate();
                self.rounds_without_growth = 0;
            } else {
                self.rounds_without_growth += 1;
            }
            if self.rounds_without_growth >= 3 || much {
                self.starting = false;
                self.cycle = 1; // what has gathered in the queue goes first
            }
        } else if !self.starting {
            self.cycle = (self.cycle + 1) % CYCLE.len();
        }
        self.round_ends_with = self.last_sent;
        (self.round_acked, self.round_lost) = (0, 0);
        if !limited {
            self.round += 1;
            let place = usize::try_from(self.round % ROUNDS as u64).unwrap_or(0);
            if let (Some(highest), Some(bunch)) = (self.rates.get_mut(place), self.bunches.get_mut(place)) {
                (*highest, *bunch) = (0, 0);
            }
        }
    }

    /// What the path carries in a round trip, in percent of it.
    fn carried(&self, percent: u64) -> u64 {
        share(self.rate(), self.shortest().unwrap_or_default()) / 100 * percent
    }

    fn decide(&mut self) {
        if self.starting {
            return;
        }
        let percent = CYCLE.get(self.cycle).copied().unwrap_or(100);
        let nearby = self.shortest().is_some_and(|shortest| shortest < Duration::from_millis(1));
        let slack = match nearby {
            true => share(self.rate(), SLACK_NEARBY).max(share(self.rate(), LATE).min(LATE_BYTES)),
            false if percent < 100 => 0,
            false => share(self.rate(), SLACK),
        };
        let bunch = if nearby { 0 } else { self.bunches.iter().copied().max().unwrap_or(0) };
        let bunch = bunch.min(share(self.rate(), BUNCH));
        let wanted = self.carried(percent) + slack.max(bunch) + 3 * self.packet;
        self.window = wanted.min(self.ceiling.unwrap_or(u64::MAX)).max(self.least());
    }
}

/// What a rate in bytes a second comes to in a time.
fn share(rate: u64, time: Duration) -> u64 {
    u64::try_from(u128::from(rate) * time.as_nanos() / 1_000_000_000).unwrap_or(u64::MAX)
}

/// Makes the controller of each connection.
#[derive(Debug)]
pub(super) struct ByArrival;

impl ControllerFactory for ByArrival {
    fn build(self: Arc<Self>, _now: Instant, packet: u16) -> Box<dyn Controller> {
        Box::new(Model::new(u64::from(packet)))
    }
}

impl Controller for Model {
    fn on_sent(&mut self, _now: Instant, _bytes: u64, last_packet_number: u64) {
        self.last_sent = last_packet_number;
    }

    fn on_ack(&mut self, _now: Instant, sent: Instant, bytes: u64, _app_limited: bool, _rtt: &RttEstimator) {
        self.acked(sent, bytes);
    }

    fn on_end_acks(&mut self, now: Instant, _in_flight: u64, app_limited: bool, largest: Option<u64>) {
        self.acked_all(now, largest, app_limited);
    }

    fn on_congestion_event(&mut self, _now: Instant, _sent: Instant, is_persistent: bool, lost_bytes: u64) {
        self.round_lost += lost_bytes;
        if is_persistent {
            self.forget();
        }
    }

    fn on_mtu_update(&mut self, packet: u16) {
        self.packet = u64::from(packet);
    }

    fn window(&self) -> u64 {
        self.window
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        INITIAL_BYTES
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "a simulation")]
mod tests {
    use super::*;

    const PACKET: u64 = 1_450;
    const SECONDS: u64 = 30;

    /// A line with a queue that drops what is too much, and loses some at random.
    struct Line {
        mbit: u64,
        round_trip: Duration,
        queue: Duration,
        lost_per_mille: u64,
        /// Word of what arrived comes at multiples of this.
        bunched: Duration,
        begin: Instant,
        busy_until: Instant,
        dice: u64,
    }

    impl Line {
        /// When the fate of a packet is known at the sender; whether it arrived, and whether the queue was full.
        fn send(&mut self, now: Instant) -> (Instant, bool, bool) {
            let start = self.busy_until.max(now);
            if start - now > self.queue {
                return (start + self.round_trip, false, true);
            }
            self.busy_until = start + Duration::from_nanos(PACKET * 8_000 / self.mbit);
            self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let known = (self.busy_until + self.round_trip - self.begin).as_nanos();
            let bunched = self.bunched.as_nanos().max(1);
            let known = self.begin + Duration::from_nanos(u64::try_from(known.next_multiple_of(bunched)).unwrap());
            (known, (self.dice >> 33) % 1_000 >= self.lost_per_mille, false)
        }
    }

    /// Sends as much as the model lets it, paced like quinn. Percent of the line that arrived, and of packets that found its queue full.
    fn simulate(mut line: Line, begin: Instant) -> (u64, u64) {
        let mut model = Model::new(PACKET);
        let mut under_way: VecDeque<(Instant, u64, Instant, bool)> = VecDeque::new();
        let (mut number, mut arrived, mut dropped) = (0, 0, 0);
        let (mut tokens, mut smoothed) = (0.0, 0.333);
        let tick = Duration::from_micros(100);
        let mut now = begin;
        while now < begin + Duration::from_secs(SECONDS) {
            now += tick;
            let mut largest = None;
            while let Some((_, packet, sent, ok)) = under_way.pop_front_if(|(known, ..)| *known <= now) {
                if ok {
                    arrived += PACKET;
                    model.acked(sent, PACKET);
                    largest = Some(packet);
                    smoothed = smoothed * 0.875 + (now - sent).as_secs_f64() * 0.125;
                } else {
                    model.round_lost += PACKET;
                }
            }
            if largest.is_some() {
                model.acked_all(now, largest, false);
            }
            let burst = (model.window as f64 * 0.002 / smoothed).clamp(10.0 * PACKET as f64, 256.0 * PACKET as f64);
            tokens = (tokens + model.window as f64 * 1.25 * tick.as_secs_f64() / smoothed).min(burst);
            while (under_way.len() as u64 + 1) * PACKET <= model.window && tokens >= PACKET as f64 {
                tokens -= PACKET as f64;
                number += 1;
                model.last_sent = number;
                let (known, ok, full) = line.send(now);
                dropped += u64::from(full);
                under_way.push_back((known, number, now, ok));
            }
        }
        (arrived * 8 / (line.mbit * 1_000_000 * SECONDS / 100), dropped * 100 / number)
    }

    #[test]
    fn a_line_is_filled_and_its_queue_is_not_whatever_it_loses() {
        let ms = Duration::from_millis;
        let begin = Instant::now();
        for (mbit, round_trip, queue, lost_per_mille, bunched, least_share, most_dropped) in [
            (100, ms(50), ms(100), 0, ms(0), 95, 1),
            (100, ms(50), ms(100), 10, ms(0), 94, 1),
            (100, ms(50), ms(100), 50, ms(0), 90, 1),
            (1_000, ms(50), ms(100), 10, ms(0), 94, 1),
            // Wireless, or processes that wait for a core.
            (100, ms(50), ms(100), 0, ms(10), 95, 1),
            (1_000, ms(50), ms(100), 10, ms(15), 93, 1),
            (1_000, ms(2), ms(10), 0, ms(0), 90, 1),
            // Shallow: the queue holds less than what we would like to see there.
            (100, ms(50), ms(10), 10, ms(0), 85, 5),
            (2, ms(50), ms(200), 0, ms(0), 90, 10),
            (20, ms(200), ms(300), 10, ms(0), 80, 5),
        ] {
            let line = Line { mbit, round_trip, queue, lost_per_mille, bunched, begin, busy_until: begin, dice: 1 };
            let (share, dropped) = simulate(line, begin);
            let what = format!("{mbit} Mbit/s, {round_trip:?}, {lost_per_mille} lost of 1000, {bunched:?}");
            assert!(share >= least_share, "{what}: {share} % arrived");
            assert!(dropped <= most_dropped, "{what}: {dropped} % found the queue full");
        }
    }

    /// The window after so many packets, one acknowledged each millisecond, with this round trip.
    fn window_after(packets: u32, packet: u64, round_trip: Duration) -> u64 {
        let (mut model, begin) = (Model::new(packet), Instant::now());
        for number in 1..=packets {
            let sent = begin + Duration::from_millis(1) * number;
            model.acked(sent, packet);
            model.acked_all(sent + round_trip, Some(u64::from(number)), false);
        }
        model.window
    }

    #[test]
    fn little_is_under_way_on_a_short_path_while_larger_packets_are_looked_for() {
        let ms = Duration::from_millis;
        for (packets, packet, round_trip, little) in [
            (500, 1_200, ms(1), true),
            (500, 1_466, ms(1), false),
            (500, 1_200, ms(50), false),
            (9_000, 1_200, ms(1), false),
        ] {
            let window = window_after(packets, packet, round_trip);
            assert_eq!(window == INITIAL_BYTES, little, "{packets} of {packet} bytes, {round_trip:?}: {window}");
        }
    }
}
