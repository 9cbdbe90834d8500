//! Connection: one QUIC connection, and who is at its other end.

use std::net::SocketAddr;
use std::time::Duration;

use quinn::VarInt;
use rustls_pki_types::CertificateDer;

use crate::identity::enrolment::EXPORTER_LABEL;
use crate::identity::role::{Identity, IdentityError};
use crate::proto::{ALPN, ALPN_ENROLL};
use crate::transport::error::{CallError, Lost, close};

/// What was agreed on in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `shoal/1`: both sides have an identity.
    Main,
    /// `shoal-enroll/1`: the dialler has none yet.
    Enroll,
}

/// One connection; a handle that is cheap to clone. It closes when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Connection(pub(super) quinn::Connection);

impl Connection {
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.0.remote_address()
    }

    /// How long a packet and its acknowledgement take now, smoothed; with what the other end computes in between.
    #[must_use]
    pub fn round_trip(&self) -> Duration {
        self.0.rtt()
    }

    /// `None` only for a protocol that no configuration of ours agrees on.
    #[must_use]
    pub fn protocol(&self) -> Option<Protocol> {
        let data = self.0.handshake_data()?.downcast::<quinn::crypto::rustls::HandshakeData>().ok()?;
        match data.protocol.as_deref() {
            Some(ALPN) => Some(Protocol::Main),
            Some(ALPN_ENROLL) => Some(Protocol::Enroll),
            _ => None,
        }
    }

    /// Who is at the other end; `None` for a stranger. TLS has verified it.
    ///
    /// # Errors
    /// When the certificate is the authority's and yet not one of a member.
    pub fn identity(&self) -> Result<Option<Identity>, IdentityError> {
        let Some(shown) = self.0.peer_identity() else { return Ok(None) };
        let chain = shown.downcast::<Vec<CertificateDer<'static>>>().map_err(|_| IdentityError::Malformed)?;
        chain.first().map(Identity::from_certificate).transpose()
    }

    /// The certificates that the other end showed, its own first: where a joiner finds the authority that its ticket pins.
    #[must_use]
    pub fn shown(&self) -> Vec<CertificateDer<'static>> {
        let shown = self.0.peer_identity().and_then(|shown| shown.downcast::<Vec<CertificateDer<'static>>>().ok());
        shown.map(|chain| *chain).unwrap_or_default()
    }

    /// 32 bytes that both ends of this TLS session know and nobody else: what an enrolment's proof is bound to.
    ///
    /// # Errors
    /// When the handshake is not complete.
    pub fn enrolment_exporter(&self) -> Result<[u8; 32], CallError> {
        let mut bytes = [0; 32];
        let exported = self.0.export_keying_material(&mut bytes, EXPORTER_LABEL, &[]);
        exported.map_err(|_| CallError::Disconnected(Lost::ClosedHere))?;
        Ok(bytes)
    }

    /// Whether requests can still be made on it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.close_reason().is_none()
    }

    /// Returns when it is lost or closed, with the reason.
    pub async fn closed(&self) -> CallError {
        self.0.closed().await.into()
    }

    /// Ends it now; what is under way on it fails.
    pub fn close(&self) {
        self.close_with(close::DONE);
    }

    pub(super) fn close_with(&self, code: u32) {
        self.0.close(VarInt::from_u32(code), b"");
    }

    /// Numbers it within this process, for telling two connections apart.
    #[must_use]
    pub fn number(&self) -> usize {
        self.0.stable_id()
    }
}
