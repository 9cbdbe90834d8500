//! Frame: the eight bytes in front of every message, and the table from tags to request types.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{self, CodecError};
use crate::limits::{FRAME_HEADER_BYTES, MESSAGE_BYTES};
use crate::proto::refusal::Refusal;

/// A request that knows its number, its name in logs and its answer.
pub trait Request: Serialize + DeserializeOwned + Send + Sync + 'static {
    const TAG: u16;
    const NAME: &'static str;
    type Response: Serialize + DeserializeOwned + Send + 'static;
}

/// Status of a response that carries its response type.
pub const STATUS_OK: u16 = 0;
/// Status of a response that carries a [`Refusal`].
pub const STATUS_REFUSED: u16 = 1;

/// Bytes that are no frame of this protocol.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("message of {len} bytes announced, at most {MESSAGE_BYTES} are taken")]
    Oversized { len: u32 },
    #[error("unknown frame flags {flags:#06x}")]
    Flags { flags: u16 },
    #[error("no request has the number {tag}")]
    UnknownTag { tag: u16 },
    #[error("unknown response status {status}")]
    UnknownStatus { status: u16 },
    #[error("malformed {name} message")]
    Malformed {
        name: &'static str,
        #[source]
        source: CodecError,
    },
}

/// The decoded eight bytes: a tag (or status) and the length of the message behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    pub tag: u16,
    pub len: usize,
}

impl FrameHead {
    /// # Errors
    /// When the announced length is over the limit (before anything is allocated for it) or flags are set.
    pub fn parse(bytes: [u8; FRAME_HEADER_BYTES]) -> Result<Self, FrameError> {
        let [t0, t1, f0, f1, l0, l1, l2, l3] = bytes;
        let flags = u16::from_le_bytes([f0, f1]);
        if flags != 0 {
            return Err(FrameError::Flags { flags });
        }
        let announced = u32::from_le_bytes([l0, l1, l2, l3]);
        let len = usize::try_from(announced).unwrap_or(usize::MAX);
        if len > MESSAGE_BYTES {
            return Err(FrameError::Oversized { len: announced });
        }
        Ok(Self { tag: u16::from_le_bytes([t0, t1]), len })
    }
}

fn frame<T: Serialize>(tag: u16, message: &T) -> Result<Vec<u8>, CodecError> {
    let message = codec::encode(message)?;
    let len = u32::try_from(message.len()).map_err(|_| CodecError::TooLong { len: message.len() })?;
    let mut bytes = Vec::with_capacity(FRAME_HEADER_BYTES + message.len());
    bytes.extend_from_slice(&tag.to_le_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&message);
    Ok(bytes)
}

/// A request as it goes out: head and message.
///
/// # Errors
/// When the message is over the limit.
pub fn encode_request<R: Request>(request: &R) -> Result<Vec<u8>, CodecError> {
    frame(R::TAG, request)
}

/// A granted answer as it goes out.
///
/// # Errors
/// When the message is over the limit.
pub fn encode_response<T: Serialize>(response: &T) -> Result<Vec<u8>, CodecError> {
    frame(STATUS_OK, response)
}

/// A refusal as it goes out.
///
/// # Errors
/// Never in practice: refusals are small.
pub fn encode_refusal(refusal: &Refusal) -> Result<Vec<u8>, CodecError> {
    frame(STATUS_REFUSED, refusal)
}

/// Reads the message behind a response head.
///
/// # Errors
/// On an unknown status or a malformed message.
pub fn decode_response<R: Request>(
    head: FrameHead,
    message: &[u8],
) -> Result<Result<R::Response, Refusal>, FrameError> {
    let malformed = |source| FrameError::Malformed { name: R::NAME, source };
    match head.tag {
        STATUS_OK => codec::decode(message).map(Ok).map_err(malformed),
        STATUS_REFUSED => codec::decode(message).map(Err).map_err(malformed),
        status => Err(FrameError::UnknownStatus { status }),
    }
}

/// Declares the requests of one service: implements [`Request`] for each and makes the enum that dispatch matches on.
macro_rules! requests {
    ($(#[$doc:meta])* $service:ident { $($tag:literal $request:ident -> $response:ty;)* }) => {
        $(impl $crate::proto::Request for $request {
            const TAG: u16 = $tag;
            const NAME: &'static str = stringify!($request);
            type Response = $response;
        })*

        $(#[$doc])*
        #[derive(Debug)]
        pub enum $service { $($request($request),)* }

        impl $service {
            /// Every tag with its request's name, in order.
            pub const TAGS: &'static [(u16, &'static str)] = &[$(($tag, stringify!($request)),)*];

            /// Reads the message behind a request head.
            ///
            /// # Errors
            /// On an unknown tag or a malformed message.
            pub fn decode(tag: u16, message: &[u8]) -> Result<Self, $crate::proto::FrameError> {
                match tag {
                    $($tag => $crate::codec::decode(message).map(Self::$request).map_err(|source| {
                        $crate::proto::FrameError::Malformed { name: stringify!($request), source }
                    }),)*
                    tag => Err($crate::proto::FrameError::UnknownTag { tag }),
                }
            }

            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$request(_) => stringify!($request),)* }
            }
        }
    };
}
pub(crate) use requests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_bounded_before_anything_is_read() {
        assert_eq!(FrameHead::parse([7, 0, 0, 0, 9, 0, 0, 0]).unwrap(), FrameHead { tag: 7, len: 9 });
        assert!(matches!(FrameHead::parse([7, 0, 0, 0, 0, 0, 0, 0xff]), Err(FrameError::Oversized { .. })));
        assert!(matches!(FrameHead::parse([7, 0, 1, 0, 0, 0, 0, 0]), Err(FrameError::Flags { flags: 1 })));
    }
}
