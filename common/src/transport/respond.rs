//! Respond: the one answer to a request, in one go or with a body written piece by piece.
//!
//! The stream stays where the server sees it: a handler that panics or forgets to answer leaves it there, and the server refuses in
//! its stead; after an answer the server waits on it for delivery.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use quinn::SendStream;

use crate::proto::frame::{encode_refusal, encode_response};
use crate::proto::{Refusal, Request};
use crate::transport::body::BodyWriter;
use crate::transport::error::CallError;

/// Where a request's sending half is.
pub(super) enum Slot {
    Unanswered(SendStream),
    /// The handler is writing.
    Taken,
    /// Finished; to wait on until it was delivered.
    Answered(SendStream),
}

/// Sends the one answer to a request. Dropped without one, the caller is told of an internal failure.
pub struct Responder(pub(super) Arc<Mutex<Slot>>);

/// Puts a state in the place of another.
pub(super) fn swap(slot: &Mutex<Slot>, new: Slot) -> Slot {
    std::mem::replace(&mut *slot.lock().unwrap_or_else(PoisonError::into_inner), new)
}

impl Responder {
    fn writer(&self) -> Option<BodyWriter> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *slot, Slot::Taken) {
            Slot::Unanswered(stream) => Some(BodyWriter::in_turn(stream)),
            answered => {
                *slot = answered;
                None
            }
        }
    }

    async fn send(self, mut pieces: Vec<Bytes>) -> Result<(), CallError> {
        let Some(mut writer) = self.writer() else { return Ok(()) };
        writer.write(&mut pieces).await?;
        if let Some(stream) = writer.take_finished() {
            swap(&self.0, Slot::Answered(stream));
        }
        Ok(())
    }

    /// Answers with a message and a body (none: an empty list).
    ///
    /// # Errors
    /// When it does not reach the caller any more.
    pub async fn answer<R: Request>(self, response: &R::Response, body: Vec<Bytes>) -> Result<(), CallError> {
        let message = encode_response(response).map_err(|source| CallError::Unsendable { name: R::NAME, source })?;
        let mut pieces = Vec::with_capacity(body.len() + 1);
        pieces.push(Bytes::from(message));
        pieces.extend(body);
        self.send(pieces).await
    }

    /// Answers with a message, and leaves the body to be written piece by piece. Unless the writer is finished, the caller sees
    /// the body as broken off.
    ///
    /// # Errors
    /// When it does not reach the caller any more.
    pub async fn begin<R: Request>(self, response: &R::Response) -> Result<AnswerWriter, CallError> {
        let message = encode_response(response).map_err(|source| CallError::Unsendable { name: R::NAME, source })?;
        let mut writer = self.writer();
        if let Some(writer) = &mut writer {
            writer.write(&mut [Bytes::from(message)]).await?;
        }
        Ok(AnswerWriter { writer, slot: self.0 })
    }

    /// Answers that it is not done, and why.
    ///
    /// # Errors
    /// When it does not reach the caller any more.
    pub async fn refuse(self, refusal: &Refusal) -> Result<(), CallError> {
        let name = "Refusal";
        let message = encode_refusal(refusal).map_err(|source| CallError::Unsendable { name, source })?;
        self.send(vec![Bytes::from(message)]).await
    }
}

/// The body of an answer, written piece by piece.
pub struct AnswerWriter {
    writer: Option<BodyWriter>,
    slot: Arc<Mutex<Slot>>,
}

impl AnswerWriter {
    /// # Errors
    /// When the caller takes no more.
    pub async fn write(&mut self, pieces: &mut [Bytes]) -> Result<(), CallError> {
        match &mut self.writer {
            Some(writer) => writer.write(pieces).await,
            None => Ok(()),
        }
    }

    /// Says that this was all.
    pub fn finish(mut self) {
        if let Some(stream) = self.writer.as_mut().and_then(BodyWriter::take_finished) {
            swap(&self.slot, Slot::Answered(stream));
        }
    }
}
