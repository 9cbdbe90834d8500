//! Body: the raw bytes behind a message, read and written as `Bytes` without a copy.
//!
//! A writer that is dropped before [`BodyWriter::finish`] resets its stream, so that half a body never looks like a whole one
//! (quinn by itself would finish it). A reader that is dropped tells the sender to stop.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use quinn::{RecvStream, SendStream, VarInt, WriteError};
use tokio::time::timeout;

use crate::limits::FRAME_HEADER_BYTES;
use crate::proto::FrameHead;
use crate::transport::error::{CallError, Lost, close};

/// How long the other side may send or take nothing in the middle of a body.
pub const STALL: Duration = Duration::from_secs(15);

/// How many packets' payloads are taken from the connection at once.
const BATCH: usize = 32;

/// An answer with a body of more than this lets everything shorter pass.
const LONG_BYTES: usize = 64 << 10;

/// What arrives.
#[derive(Debug)]
pub struct BodyReader {
    stream: RecvStream,
    ready: VecDeque<Bytes>,
}

impl BodyReader {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self { stream, ready: VecDeque::new() }
    }

    /// The next piece, of any length; `None` at the end. Cancel-safe.
    ///
    /// # Errors
    /// When the sender gave up, fell silent for [`STALL`], or the connection is lost.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, CallError> {
        if let Some(bytes) = self.ready.pop_front() {
            return Ok(Some(bytes));
        }
        let mut batch: [Bytes; BATCH] = std::array::from_fn(|_| Bytes::new());
        let read = timeout(STALL, self.stream.read_chunks(&mut batch)).await;
        let stalled = |_| CallError::TimedOut { what: "waiting for a body", after: STALL };
        let Some(count) = read.map_err(stalled)?? else { return Ok(None) };
        self.ready.extend(batch.into_iter().take(count));
        Ok(self.ready.pop_front())
    }

    /// All of it, in the pieces that it came in.
    ///
    /// # Errors
    /// [`CallError::BodyTooLong`] as soon as there are more than `max` bytes, and as [`chunk`](Self::chunk).
    pub async fn collect(mut self, max: usize) -> Result<Vec<Bytes>, CallError> {
        let (mut pieces, mut len) = (Vec::new(), 0_usize);
        while let Some(bytes) = self.chunk().await? {
            len = len.saturating_add(bytes.len());
            if len > max {
                return Err(CallError::BodyTooLong { max });
            }
            pieces.push(bytes);
        }
        Ok(pieces)
    }

    /// All of it in one run; copies unless it came in one piece.
    ///
    /// # Errors
    /// As [`collect`](Self::collect).
    pub async fn bytes(self, max: usize) -> Result<Bytes, CallError> {
        let mut pieces = self.collect(max).await?;
        if pieces.len() == 1 {
            return Ok(pieces.pop().unwrap_or_default());
        }
        let mut whole = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
        pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
        Ok(whole.freeze())
    }

    /// Waits for the first byte. A stream is there as soon as a later one is, and its own bytes may still wait for their turn.
    pub(super) async fn begun(&mut self) -> Result<Begun, CallError> {
        let chunk = self.stream.read_chunk(1, true).await?;
        let first = chunk.as_ref().and_then(|chunk| chunk.bytes.first());
        first.map(|first| Begun(*first)).ok_or(CallError::Disconnected(Lost::Truncated))
    }

    /// The eight bytes in front of a message.
    pub(super) async fn head(&mut self, Begun(first): Begun) -> Result<FrameHead, CallError> {
        let mut bytes = [first; FRAME_HEADER_BYTES];
        let [_, rest @ ..] = &mut bytes;
        self.stream.read_exact(rest).await.map_err(|error| match error {
            quinn::ReadExactError::FinishedEarly(_) => CallError::Disconnected(Lost::Truncated),
            quinn::ReadExactError::ReadError(error) => error.into(),
        })?;
        FrameHead::parse(bytes).map_err(CallError::Misbehaved)
    }

    /// Exactly so many bytes. Memory grows with what arrives and not with what was announced.
    pub(super) async fn message(&mut self, len: usize) -> Result<Vec<u8>, CallError> {
        const FIRST: usize = 16 << 10;
        let mut message = Vec::with_capacity(len.min(FIRST));
        while message.len() < len {
            let chunk = self.stream.read_chunk(len - message.len(), true).await?;
            let chunk = chunk.ok_or(CallError::Disconnected(Lost::Truncated))?;
            message.extend_from_slice(&chunk.bytes);
        }
        Ok(message)
    }
}

/// The first byte of a message.
pub(super) struct Begun(u8);

/// Long answers are sent one after another, in the order in which they were asked for, also what was lost of them: one that is whole is of use,
/// and they do not end all at once with nothing to send behind them. Later is lower; 0 is before all. Requests are not: whoever has many of
/// them under way compares how long each takes.
fn turn(stream: &SendStream) -> i32 {
    const TURNS: u64 = 1 << 30; // beyond that many two of them are in the wrong order, once
    -1 - i32::try_from(stream.id().index() % TURNS).unwrap_or(0)
}

/// What goes out.
#[derive(Debug)]
pub struct BodyWriter {
    stream: Option<SendStream>,
    order: Order,
}

/// Which of several bodies is sent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// None: a part of each by turns.
    Fair,
    /// If it is long, as soon as all before it are through; that is not known yet.
    Unknown,
    Known,
}

impl BodyWriter {
    pub(super) fn new(stream: SendStream) -> Self {
        Self { stream: Some(stream), order: Order::Fair }
    }

    /// The body of an answer.
    pub(super) fn in_turn(stream: SendStream) -> Self {
        Self { stream: Some(stream), order: Order::Unknown }
    }

    /// Sends these pieces; waits while the receiver's window is full.
    ///
    /// # Errors
    /// When the receiver gave up, took nothing for [`STALL`], or the connection is lost.
    pub async fn write(&mut self, pieces: &mut [Bytes]) -> Result<(), CallError> {
        let sent = self.write_unless_stopped(pieces).await?;
        if sent { Ok(()) } else { Err(CallError::Disconnected(Lost::Cancelled)) }
    }

    /// The same, but `false` when the receiver asked to stop: its answer then says why.
    pub(super) async fn write_unless_stopped(&mut self, mut pieces: &mut [Bytes]) -> Result<bool, CallError> {
        let Some(stream) = &mut self.stream else { return Err(CallError::Disconnected(Lost::ClosedHere)) };
        if self.order == Order::Unknown && pieces.iter().map(Bytes::len).sum::<usize>() > LONG_BYTES {
            self.order = Order::Known;
            stream.set_priority(turn(stream)).ok(); // it fails only for a stream that is closed already
        }
        while !pieces.is_empty() {
            let written = timeout(STALL, stream.write_chunks(pieces)).await;
            let stalled = |_| CallError::TimedOut { what: "sending a body", after: STALL };
            match written.map_err(stalled)? {
                Ok(written) => pieces = pieces.get_mut(written.chunks..).unwrap_or_default(),
                Err(WriteError::Stopped(_)) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Says that this was all. What was written is then delivered even when this is dropped.
    pub fn finish(mut self) {
        self.take_finished();
    }

    /// Says that this was all, and gives the stream to wait on.
    pub(super) fn take_finished(&mut self) -> Option<SendStream> {
        let mut stream = self.stream.take()?;
        stream.finish().ok(); // it fails only for a stream that the receiver has stopped
        Some(stream)
    }
}

impl Drop for BodyWriter {
    fn drop(&mut self) {
        if let Some(mut stream) = self.stream.take() {
            stream.reset(VarInt::from_u32(close::CANCELLED)).ok(); // it fails only for a stream that is closed already
        }
    }
}
