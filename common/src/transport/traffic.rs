//! Traffic: what goes through one UDP socket, counted where it leaves and arrives: payloads of datagrams of all connections, also
//! closed and failed ones, handshakes, acknowledgements and what was sent again.
//!
//! Segmentation offload takes 64 KiB at once. quinn makes batches of ten packets whatever they hold, so those of large ones are split here.
//!
//! A batch is counted with two additions, however many datagrams it holds. Headers of UDP and IP are not in the bytes: they are
//! 28 (IPv4) or 48 (IPv6) a datagram.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

/// What the kernel takes at once: an IPv4 packet of the greatest length less the headers of IP and UDP, and 20 bytes to spare.
const LARGEST_BATCH_BYTES: usize = 65_487;

/// Bytes and datagrams since the socket was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    pub sent_bytes: u64,
    pub received_bytes: u64,
    pub sent_datagrams: u64,
    pub received_datagrams: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    sent_datagrams: AtomicU64,
    received_datagrams: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> Traffic {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            sent_bytes: read(&self.sent_bytes),
            received_bytes: read(&self.received_bytes),
            sent_datagrams: read(&self.sent_datagrams),
            received_datagrams: read(&self.received_datagrams),
        }
    }

    fn sent(&self, len: usize, segment: usize) {
        self.sent_bytes.fetch_add(len as u64, Ordering::Relaxed);
        self.sent_datagrams.fetch_add(datagrams(len, segment), Ordering::Relaxed);
    }

    fn received(&self, len: usize, stride: usize) {
        self.received_bytes.fetch_add(len as u64, Ordering::Relaxed);
        self.received_datagrams.fetch_add(datagrams(len, stride), Ordering::Relaxed);
    }
}

/// How many datagrams a batch holds, the last of which may be shorter.
fn datagrams(len: usize, each: usize) -> u64 {
    len.div_ceil(each.max(1)).max(1) as u64
}

/// As many bytes as the kernel takes at once in whole segments.
fn batch_bytes(segment: usize) -> usize {
    (LARGEST_BATCH_BYTES / segment).max(1) * segment
}

/// A socket that counts what goes through it, and hands quinn's batches of up to ten packets to the kernel in as many parts as it needs.
pub(super) struct Counted {
    inner: Arc<dyn AsyncUdpSocket>,
    /// The largest packet that is taken.
    packet_bytes: u16,
    counters: Arc<Counters>,
}

impl Counted {
    pub(super) fn new(inner: Arc<dyn AsyncUdpSocket>, packet_bytes: u16) -> (Self, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        (Self { inner, packet_bytes, counters: counters.clone() }, counters)
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl AsyncUdpSocket for Counted {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit) -> io::Result<()> {
        let len = transmit.contents.len();
        let segment = transmit.segment_size.unwrap_or(len).max(1);
        // When the socket is full in the middle, all of it is sent again: the other end passes over what it has.
        for contents in transmit.contents.chunks(batch_bytes(segment)) {
            let segment_size = transmit.segment_size.filter(|size| *size < contents.len());
            self.inner.try_send(&Transmit { contents, segment_size, ..*transmit })?;
            self.counters.sent(contents.len(), segment);
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let polled = self.inner.poll_recv(cx, bufs, meta);
        if let Poll::Ready(Ok(count)) = polled {
            for batch in meta.iter().take(count) {
                self.counters.received(batch.len, batch.stride);
            }
        }
        polled
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    /// The kernel joins no more than one IP packet may hold. quinn makes room for so many of the largest, 32 times: with 64 of 16 KB that was
    /// 33 MB for each endpoint, and devices joined at a third of the rate.
    fn max_receive_segments(&self) -> usize {
        let most = usize::from(u16::MAX).div_ceil(self.packet_bytes.max(1).into());
        self.inner.max_receive_segments().min(most)
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_whole_segments_that_the_kernel_takes() {
        for (segment, segments) in
            [(1, 65_487), (1_200, 54), (1_452, 45), (6_500, 10), (16_370, 4), (65_487, 1), (65_527, 1)]
        {
            assert_eq!(batch_bytes(segment), segments * segment);
        }
    }

    #[test]
    fn a_batch_counts_as_its_datagrams() {
        for (len, each, expected) in [(1_200, 1_200, 1), (12_000, 1_200, 10), (12_001, 1_200, 11), (7, 0, 7), (0, 9, 1)]
        {
            assert_eq!(datagrams(len, each), expected, "{len} in pieces of {each}");
        }
    }
}
