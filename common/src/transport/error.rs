//! Error: what can go wrong between two programs, by whose fault, and whether to try again.
//!
//! TLS tells the reason of a refused handshake as an alert number; here it becomes a cause and a next step. A server judges a
//! client's certificate only after `connect` returned, so these errors also arrive at the first request.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use quinn::{ConnectionError, ReadError, WriteError};

use crate::codec::CodecError;
use crate::proto::refusal::Retry;
use crate::proto::{FrameError, Refusal};
use crate::time::Timestamp;

/// Application close codes of `shoal/1`; append-only.
pub(super) mod close {
    /// Nothing more to say.
    pub(in crate::transport) const DONE: u32 = 0;
    /// A connection on `shoal/1` without a valid identity.
    pub(in crate::transport) const NO_IDENTITY: u32 = 1;
    /// The identity has been revoked.
    pub(in crate::transport) const REVOKED: u32 = 2;
    /// The program ends.
    pub(in crate::transport) const SHUTTING_DOWN: u32 = 3;
    /// The identity is not one for this server.
    pub(in crate::transport) const REFUSED: u32 = 4;
    /// Stream code: whoever sends or receives gave up in the middle.
    pub(in crate::transport) const CANCELLED: u32 = 5;
}

/// Why the two sides do not trust each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    #[error("the other side asks for a certificate of its cluster, and none was shown; join the cluster first")]
    NoCertificate,
    #[error(
        "the other side does not take our certificate: it is of another cluster, or the cluster was made anew; check the \
         address, or join again with a ticket of this cluster"
    )]
    OurAuthorityUnknown,
    #[error(
        "the server's certificate is not of this cluster: at this address is another cluster, or somebody in between; check the address"
    )]
    TheirAuthorityUnknown,
    #[error(
        "the other side finds our certificate expired or not valid yet; check the clocks of both machines, and join again if they are right"
    )]
    OurCertificateExpired,
    #[error("the server's certificate has expired{}; check the clocks of both machines", validity(*now, "was valid until", *until))]
    TheirCertificateExpired { now: Option<Timestamp>, until: Option<Timestamp> },
    #[error("the server's certificate is not valid yet{}; check the clocks of both machines", validity(*now, "is valid from", *from))]
    TheirCertificateNotYetValid { now: Option<Timestamp>, from: Option<Timestamp> },
    #[error(
        "the server is of this cluster, and not the one that was called; its address may have passed to another machine"
    )]
    OtherServer,
    #[error("the other side speaks another version of the protocol than shoal/1; use programs of one version")]
    OtherVersion,
    #[error("the other side refuses this identity")]
    IdentityRefused,
    #[error("TLS failed with alert {alert} ({})", side(*remote))]
    Other { alert: u8, remote: bool },
}

fn validity(now: Option<Timestamp>, word: &str, limit: Option<Timestamp>) -> String {
    match (now, limit) {
        (Some(now), Some(limit)) => format!(": it {word} {limit}, and the clock here says {now}"),
        _ => String::new(),
    }
}

fn side(remote: bool) -> &'static str {
    if remote { "found by the other side" } else { "found by this side" }
}

/// How a connection ended, where trust is not the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    #[error("the other side fell silent")]
    Silent,
    #[error("the other side is ending")]
    ShuttingDown,
    #[error("the other side closed the connection")]
    Closed,
    #[error("the other side takes no more connections")]
    Busy,
    #[error("this side closed the connection")]
    ClosedHere,
    #[error("the other side broke off in the middle of a message")]
    Cancelled,
    #[error("the other side's message ended early")]
    Truncated,
    #[error("QUIC failed with code {code:#x}")]
    Quic { code: u64 },
}

/// A request that has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("refused: {0}")]
    Refused(Refusal),
    #[error("cannot reach {addresses}")]
    Unreachable {
        addresses: String,
        #[source]
        source: Option<Arc<CallError>>,
    },
    #[error("the name {host} cannot be resolved")]
    Unresolved {
        host: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the address {address} cannot be dialled from here")]
    Undiallable { address: String },
    #[error("the connection was lost")]
    Disconnected(#[source] Lost),
    #[error("{what} took longer than {after:?}")]
    TimedOut { what: &'static str, after: Duration },
    #[error("no trust between the two sides")]
    Handshake(#[source] HandshakeError),
    #[error("the other side broke the protocol")]
    Misbehaved(#[source] FrameError),
    #[error("the other side sent more than {max} bytes of body")]
    BodyTooLong { max: usize },
    #[error("a {name} message cannot be sent")]
    Unsendable {
        name: &'static str,
        #[source]
        source: CodecError,
    },
}

impl CallError {
    /// Whether, and where, trying again can help.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Refused(refusal) => refusal.retry(),
            Self::Unreachable { source, .. } => source.as_ref().map_or(Retry::Later, |source| source.retry()),
            Self::Unresolved { .. } | Self::Disconnected(_) | Self::TimedOut { .. } => Retry::Later,
            Self::Misbehaved(_) | Self::BodyTooLong { .. } | Self::Undiallable { .. } => Retry::Elsewhere,
            Self::Handshake(HandshakeError::OtherServer | HandshakeError::TheirAuthorityUnknown) => Retry::Elsewhere,
            Self::Handshake(_) | Self::Unsendable { .. } => Retry::Never,
        }
    }

    /// The reason, when it is one of trust.
    #[must_use]
    pub fn handshake(&self) -> Option<&HandshakeError> {
        match self {
            Self::Handshake(error) => Some(error),
            Self::Unreachable { source, .. } => source.as_ref()?.handshake(),
            _ => None,
        }
    }
}

impl From<ConnectionError> for CallError {
    fn from(error: ConnectionError) -> Self {
        let lost = |lost| Self::Disconnected(lost);
        match error {
            ConnectionError::VersionMismatch => Self::Handshake(HandshakeError::OtherVersion),
            ConnectionError::TransportError(error) => match alert(error.code.into()) {
                Some(alert) => Self::Handshake(found_here(alert, &error.reason)),
                None => lost(Lost::Quic { code: error.code.into() }),
            },
            ConnectionError::ConnectionClosed(closed) => match alert(closed.error_code.into()) {
                Some(alert) => Self::Handshake(found_there(alert)),
                None if closed.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED => lost(Lost::Busy),
                None => lost(Lost::Quic { code: closed.error_code.into() }),
            },
            ConnectionError::ApplicationClosed(closed) => match u32::try_from(closed.error_code.into_inner()) {
                Ok(close::NO_IDENTITY) => Self::Handshake(HandshakeError::NoCertificate),
                Ok(close::REVOKED) => Self::Refused(Refusal::Revoked),
                Ok(close::REFUSED) => Self::Handshake(HandshakeError::IdentityRefused),
                Ok(close::SHUTTING_DOWN) => lost(Lost::ShuttingDown),
                _ => lost(Lost::Closed),
            },
            ConnectionError::Reset | ConnectionError::TimedOut => lost(Lost::Silent),
            ConnectionError::LocallyClosed | ConnectionError::CidsExhausted => lost(Lost::ClosedHere),
        }
    }
}

impl From<ReadError> for CallError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::ConnectionLost(error) => error.into(),
            ReadError::Reset(_) => Self::Disconnected(Lost::Cancelled),
            ReadError::ClosedStream | ReadError::IllegalOrderedRead | ReadError::ZeroRttRejected => {
                Self::Disconnected(Lost::ClosedHere)
            }
        }
    }
}

impl From<WriteError> for CallError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::ConnectionLost(error) => error.into(),
            WriteError::Stopped(_) => Self::Disconnected(Lost::Cancelled),
            WriteError::ClosedStream | WriteError::ZeroRttRejected => Self::Disconnected(Lost::ClosedHere),
        }
    }
}

/// The TLS alert in a QUIC error code (RFC 9001, 4.8).
fn alert(code: u64) -> Option<u8> {
    let alert = code.checked_sub(0x100)?;
    u8::try_from(alert).ok()
}

/// TLS alert numbers (RFC 8446, 6).
mod alerts {
    pub(super) const BAD_CERTIFICATE: u8 = 42;
    pub(super) const CERTIFICATE_EXPIRED: u8 = 45;
    pub(super) const UNKNOWN_CA: u8 = 48;
    pub(super) const DECRYPT_ERROR: u8 = 51;
    pub(super) const CERTIFICATE_REQUIRED: u8 = 116;
    pub(super) const NO_APPLICATION_PROTOCOL: u8 = 120;
}

fn found_there(alert: u8) -> HandshakeError {
    match alert {
        alerts::CERTIFICATE_REQUIRED => HandshakeError::NoCertificate,
        alerts::UNKNOWN_CA | alerts::DECRYPT_ERROR | alerts::BAD_CERTIFICATE => HandshakeError::OurAuthorityUnknown,
        alerts::CERTIFICATE_EXPIRED => HandshakeError::OurCertificateExpired,
        alerts::NO_APPLICATION_PROTOCOL => HandshakeError::OtherVersion,
        alert => HandshakeError::Other { alert, remote: true },
    }
}

/// quinn hands on what rustls found only as text, so details that the alert does not tell come from there. Not finding them costs
/// a hint, never the right class.
fn found_here(alert: u8, reason: &str) -> HandshakeError {
    match alert {
        alerts::UNKNOWN_CA | alerts::DECRYPT_ERROR => HandshakeError::TheirAuthorityUnknown,
        alerts::BAD_CERTIFICATE if reason.contains("not valid for") => HandshakeError::OtherServer,
        alerts::NO_APPLICATION_PROTOCOL => HandshakeError::OtherVersion,
        alerts::CERTIFICATE_EXPIRED => {
            let now = seconds_after(reason, "verification time ");
            match seconds_after(reason, "not valid before ") {
                None => {
                    HandshakeError::TheirCertificateExpired { now, until: seconds_after(reason, "not valid after ") }
                }
                from => HandshakeError::TheirCertificateNotYetValid { now, from },
            }
        }
        alert => HandshakeError::Other { alert, remote: false },
    }
}

fn seconds_after(text: &str, words: &str) -> Option<Timestamp> {
    let (_, rest) = text.split_once(words)?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    let seconds: u64 = digits.parse().ok()?;
    seconds.checked_mul(1000).map(Timestamp)
}

/// Addresses for a message.
pub(super) struct Listed<'a>(pub(super) &'a [String]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("it: no address is known");
        }
        f.write_str(&self.0.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_in_the_text_of_rustls() {
        let reason = "invalid peer certificate: certificate expired: verification time 20 (UNIX), but certificate is not valid after 10 (10 seconds ago)";
        let expected =
            HandshakeError::TheirCertificateExpired { now: Some(Timestamp(20_000)), until: Some(Timestamp(10_000)) };
        assert_eq!(found_here(45, reason), expected);
        let shown = expected.to_string();
        assert!(shown.contains("1970-01-01T00:00:10Z") && shown.contains("1970-01-01T00:00:20Z"), "{shown}");
        assert_eq!(found_here(45, "?"), HandshakeError::TheirCertificateExpired { now: None, until: None });
    }
}
