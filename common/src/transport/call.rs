//! Call: ask one thing of the other end of a connection, on a stream of its own.
//!
//! What is done for a request is the same whatever its type: [`Outgoing`] and [`Incoming`] are the typed ends of it, so that the rest is
//! compiled once and not for each request.

use crate::boxed::Boxed;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use crate::codec;
use crate::proto::frame::{FrameHead, STATUS_REFUSED, decode_response, encode_request};
use crate::proto::refusal::Retry;
use crate::proto::{FrameError, Request};
use crate::transport::body::{BodyReader, BodyWriter};
use crate::transport::connection::Connection;
use crate::transport::error::CallError;

/// How often a busy server is asked again.
const BUSY_TRIES: u32 = 20;

/// A request as it goes out: encoded once, however often it is sent.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub(super) name: &'static str,
    message: Bytes,
}

impl Outgoing {
    /// # Errors
    /// [`CallError::Unsendable`] for a message over the limit.
    pub fn new<R: Request>(request: &R) -> Result<Self, CallError> {
        let message = encode_request(request).map_err(|source| CallError::Unsendable { name: R::NAME, source })?;
        Ok(Self { name: R::NAME, message: message.into() })
    }
}

/// A granted answer as it came: its message, and the way to its body.
#[derive(Debug)]
pub struct Incoming {
    head: FrameHead,
    message: Vec<u8>,
    body: BodyReader,
}

impl Incoming {
    /// # Errors
    /// [`CallError::Misbehaved`] when it is no answer to this request.
    pub fn decode<R: Request>(self) -> Result<(R::Response, BodyReader), CallError> {
        let answer = decode_response::<R>(self.head, &self.message).map_err(CallError::Misbehaved)?;
        Ok((answer.map_err(CallError::Refused)?, self.body))
    }
}

/// Sends a request with its body (none: an empty list) and waits for the answer; the answer's body is read afterwards, at the
/// caller's pace. Whether the request was carried out is unknown after any error but a refusal. Dropping it resets the stream.
///
/// # Errors
/// See [`CallError`]; [`CallError::TimedOut`] when the answer's message is not there within `limit`.
pub async fn call<R: Request>(
    connection: &Connection,
    request: &R,
    body: Vec<Bytes>,
    limit: Duration,
) -> Result<(R::Response, BodyReader), CallError> {
    send(connection, &Outgoing::new(request)?, body, limit).await?.decode::<R>()
}

/// The same for a request that is encoded already.
///
/// # Errors
/// As [`call`].
pub(super) fn send<'a>(
    connection: &'a Connection,
    request: &'a Outgoing,
    body: Vec<Bytes>,
    limit: Duration,
) -> Boxed<'a, Result<Incoming, CallError>> {
    Box::pin(async move {
        let timed_out = |_| CallError::TimedOut { what: request.name, after: limit };
        timeout(limit, exchange(connection, request, body)).await.map_err(timed_out)?
    })
}

/// The same without a body, asked again on the same connection while the other end says that it is too busy: for what cannot move
/// to another connection, like an enrolment.
///
/// # Errors
/// As [`call`]; its last refusal when it stays busy.
pub async fn call_while_busy<R: Request>(
    connection: &Connection,
    request: &R,
    limit: Duration,
) -> Result<(R::Response, BodyReader), CallError> {
    let request = Outgoing::new(request)?;
    for _ in 0..BUSY_TRIES {
        match send(connection, &request, Vec::new(), limit).await {
            Err(CallError::Refused(refusal)) if refusal.retry() == Retry::Later => sleep(refusal.pause()).await,
            answer => return answer?.decode::<R>(),
        }
    }
    send(connection, &request, Vec::new(), limit).await?.decode::<R>()
}

async fn exchange(connection: &Connection, request: &Outgoing, mut body: Vec<Bytes>) -> Result<Incoming, CallError> {
    let (send, receive) = connection.0.open_bi().await?;
    let (mut writer, mut reader) = (BodyWriter::new(send), BodyReader::new(receive));
    body.insert(0, request.message.clone());
    // A server that has seen enough stops the body and answers: the answer is what counts then.
    if writer.write_unless_stopped(&mut body).await? {
        writer.finish();
    }
    let begun = reader.begun().await?;
    let head = reader.head(begun).await?;
    let message = reader.message(head.len).await?;
    if head.tag == STATUS_REFUSED {
        let malformed = |source| CallError::Misbehaved(FrameError::Malformed { name: request.name, source });
        return Err(CallError::Refused(codec::decode(&message).map_err(malformed)?));
    }
    Ok(Incoming { head, message, body: reader })
}

/// A request whose body is written piece by piece, while it comes in from elsewhere. Dropped before [`answer`](Self::answer) it resets
/// the stream, and the other end sees a body that was broken off.
#[derive(Debug)]
pub struct Streamed {
    writer: BodyWriter,
    reader: BodyReader,
}

impl Streamed {
    /// Sends the message.
    ///
    /// # Errors
    /// See [`CallError`]; it does not show yet whether the request is refused.
    pub async fn begin<R: Request>(connection: &Connection, request: &R) -> Result<Self, CallError> {
        let message = encode_request(request).map_err(|source| CallError::Unsendable { name: R::NAME, source })?;
        let (send, receive) = connection.0.open_bi().await?;
        let mut streamed = Self { writer: BodyWriter::new(send), reader: BodyReader::new(receive) };
        streamed.write(&mut [Bytes::from(message)]).await?;
        Ok(streamed)
    }

    /// Sends these pieces; `false` when the other end wants no more: its answer then says why.
    ///
    /// # Errors
    /// As [`BodyWriter::write`].
    pub async fn write(&mut self, pieces: &mut [Bytes]) -> Result<bool, CallError> {
        self.writer.write_unless_stopped(pieces).await
    }

    /// Ends the body and waits for the answer to this request, as long as the caller does.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn answer<R: Request>(self) -> Result<R::Response, CallError> {
        let Self { writer, mut reader } = self;
        writer.finish();
        let begun = reader.begun().await?;
        let head = reader.head(begun).await?;
        let message = reader.message(head.len).await?;
        decode_response::<R>(head, &message).map_err(CallError::Misbehaved)?.map_err(CallError::Refused)
    }
}
