//! Enroll: from a ticket to an identity.
//!
//! The ticket pins the authority, so what answers is the right directory or nothing is sent. The proof of the ticket's secret is
//! bound to this TLS session and this key: whoever listens can use it nowhere.

use common::boxed::Boxed;
use std::sync::Arc;
use std::time::Duration;

use common::identity::certificate::fingerprint;
use common::identity::enrolment::proof;
use common::identity::{CertificateError, PrivateKey, TrustError, trust};
use common::proto::enroll::{Enroll, Enrolled};
use common::proto::parts::{Der, Label};
use common::ticket::Ticket;
use common::time::Clock;
use common::transport::connection::Connection;
use common::transport::{BindError, CallError, Endpoint, EndpointOptions, call_while_busy, reach};
use rustls_pki_types::CertificateDer;

/// For the one request, once connected.
const ANSWER: Duration = Duration::from_secs(10);

/// Why a ticket did not become an identity.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    #[error("cannot make a key")]
    Key(#[from] CertificateError),
    #[error("TLS cannot be set up")]
    Trust(#[from] TrustError),
    #[error("no connection can be made from this machine")]
    Bind(#[from] BindError),
    #[error("no directory answers at {addresses}")]
    Unreachable {
        addresses: String,
        #[source]
        source: Option<Arc<CallError>>,
    },
    #[error("the directory did not take the ticket")]
    Refused(#[source] CallError),
    #[error("the directory did not take this device as a guest")]
    NoGuest(#[source] CallError),
    #[error("the directory's answer does not fit the ticket or link: {what}")]
    Misbehaved { what: &'static str },
}

/// A new identity: what the directory said, and what it never sees.
pub struct NewIdentity {
    pub enrolled: Enrolled,
    pub key: PrivateKey,
    /// The cluster's authority, with the fingerprint of the ticket.
    pub authority: CertificateDer<'static>,
}

/// A connection to the directory whose authority has this fingerprint, and the authority's certificate.
pub(super) async fn connect(
    endpoint: &Endpoint,
    pinned: [u8; 32],
    addresses: &[String],
    name: &str,
) -> Result<(Connection, CertificateDer<'static>), EnrollError> {
    let dialler = endpoint.dialler_to_directory(trust::joiner(pinned, Clock::System)?)?;
    let connection = match reach(endpoint, &dialler, addresses, name).await {
        Ok(connection) => connection,
        Err(CallError::Unreachable { addresses, source }) => {
            return Err(EnrollError::Unreachable { addresses, source });
        }
        Err(other) => return Err(EnrollError::Refused(other)),
    };
    let authority = connection
        .shown()
        .into_iter()
        .find(|certificate| fingerprint(certificate) == pinned)
        .ok_or(EnrollError::Misbehaved { what: "the authority's certificate is missing" })?;
    Ok((connection, authority))
}

/// Joins with a ticket, at the ticket's addresses or at others.
///
/// # Errors
/// See [`EnrollError`]. The ticket's use is spent only when this succeeds, or when the answer was lost on its way.
pub fn enroll<'a>(
    ticket: &'a Ticket,
    addresses: &'a [String],
    label: Label,
    key_check: Option<[u8; 32]>,
) -> Boxed<'a, Result<NewIdentity, EnrollError>> {
    Box::pin(async move {
        let key = PrivateKey::generate()?;
        let signing_request = key.signing_request()?;
        let endpoint = Endpoint::bind_any(EndpointOptions::client())?;
        let addresses = if addresses.is_empty() { ticket.addresses() } else { addresses };
        let (connection, authority) =
            connect(&endpoint, ticket.authority_fingerprint(), addresses, &ticket.server_name()).await?;
        let exporter = connection.enrolment_exporter().map_err(EnrollError::Refused)?;
        let request = Enroll {
            ticket: ticket.id(),
            proof: proof(&ticket.verifier(), &exporter, &signing_request),
            request: Der::try_from(signing_request)
                .map_err(|_| EnrollError::Misbehaved { what: "the signing request is too long" })?,
            label,
            key_check,
        };
        let answer = call_while_busy(&connection, &request, ANSWER).await;
        connection.close();
        endpoint.close().await;
        let (enrolled, _) = answer.map_err(EnrollError::Refused)?;
        if enrolled.cluster != ticket.cluster() {
            return Err(EnrollError::Misbehaved { what: "it is of another cluster" });
        }
        Ok(NewIdentity { enrolled, key, authority })
    })
}
