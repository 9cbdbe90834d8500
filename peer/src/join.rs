//! Join: a ticket becomes a data folder.
//!
//! The folder is written where nobody looks and put in its place when it is whole: see `draft`. The key is made here and never leaves. What can be found wrong without the directory is found before the
//! ticket is shown to anybody, since it can be used only once.

use common::boxed::Boxed;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::bounded::TooMany;
use common::disk::{self, DiskError};
use common::id::{ClusterId, PeerId};
use common::identity::certificate::{fingerprint, save_certificate};
use common::identity::enrolment::proof;
use common::identity::{
    CertificateError, Identity, IdentityError, PrivateKey, Role, StatementPublic, Subject, TrustError, trust,
};
use common::proto::enroll::{Enroll, Enrolled};
use common::proto::parts::{Der, Label};
use common::size::ByteSize;
use common::ticket::{Ticket, TicketError};
use common::time::Clock;
use common::transport::endpoint::listen_address;
use common::transport::{BindError, CallError, Endpoint, EndpointOptions, call_while_busy, reach};
use rustls_pki_types::CertificateDer;

use crate::draft::{Draft, DraftError};
use crate::folder::{FORMAT, FORMAT_NAME, FolderError, Layout, Settings, check_addresses, check_label};
use crate::known::{Durable, KnownError};

/// For the one request, once connected.
const ANSWER: Duration = Duration::from_secs(10);

/// How the new peer is to be.
#[derive(Debug, Clone)]
pub struct JoinConfig {
    pub data: PathBuf,
    pub listen: String,
    pub advertise: Vec<String>,
    pub label: String,
    pub zone: String,
    pub capacity: Option<ByteSize>,
}

/// Why there is no new peer.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error(transparent)]
    Ticket(#[from] TicketError),
    #[error("this ticket is for a {role}, and not for a peer; ask for one with: shoal-directory ticket --role peer")]
    OtherRole { role: Role },
    #[error("{what}")]
    Setting { what: String },
    #[error(
        "a peer that listens on {listen} is seen by this machine alone, and the directory is at {directory}; join with \
         --listen 0.0.0.0:0, or with an address of this machine"
    )]
    LoopbackOnly { listen: SocketAddr, directory: SocketAddr },
    #[error(transparent)]
    Draft(#[from] DraftError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("no directory answers at {addresses}; check that it runs and that UDP gets through to it")]
    Unreachable {
        addresses: String,
        #[source]
        source: Option<Arc<CallError>>,
    },
    #[error("the directory did not take the ticket; ask for a new one with: shoal-directory ticket --role peer")]
    Refused(#[source] CallError),
    #[error("the directory broke off; the ticket may be used up, then ask for a new one")]
    BrokenOff(#[source] CallError),
    #[error("the directory's answer does not fit the ticket: {what}")]
    Misbehaved { what: &'static str },
    #[error("the new certificate is not usable")]
    Identity(#[from] IdentityError),
    #[error("no key can be made")]
    Key(#[from] CertificateError),
    #[error("TLS cannot be set up")]
    Trust(#[from] TrustError),
    #[error("the data folder cannot be written")]
    Folder(#[from] FolderError),
    #[error("the data folder cannot be written")]
    Known(#[from] KnownError),
    #[error("the data folder cannot be written")]
    Disk(#[from] DiskError),
    #[error("the program is ending")]
    Ending,
}

/// Who the new peer is.
#[derive(Debug, Clone, Copy)]
pub struct NewPeer {
    pub cluster: ClusterId,
    pub peer: PeerId,
}

/// Reads a ticket for a peer.
///
/// # Errors
/// [`JoinError::Ticket`], [`JoinError::OtherRole`].
pub fn read_ticket(text: &str) -> Result<Ticket, JoinError> {
    let ticket: Ticket = text.parse()?;
    if ticket.role() != Role::Peer {
        return Err(JoinError::OtherRole { role: ticket.role() });
    }
    Ok(ticket)
}

/// Enrols and makes the data folder. Dropped in the middle, it leaves nothing behind.
///
/// # Errors
/// See [`JoinError`]. The ticket's use is spent only when this succeeds, or fails after the directory's answer.
pub fn join<'a>(ticket: &'a Ticket, config: JoinConfig) -> Boxed<'a, Result<NewPeer, JoinError>> {
    Box::pin(async move {
        check_addresses(&config.advertise).map_err(|what| JoinError::Setting { what })?;
        check_label(&config.zone)
            .and_then(|()| check_label(&config.label))
            .map_err(|what| JoinError::Setting { what })?;
        let label = Label::try_from(config.label.as_str())
            .map_err(|TooMany { .. }| JoinError::Setting { what: "the label is too long".to_owned() })?;
        let listen = listen_address(&config.listen).await?;
        let data = config.data.clone();
        let draft = blocking(move || Draft::begin(&data)).await??;
        let key = PrivateKey::generate()?;
        let (enrolled, authority) = enroll(ticket, &key, label, listen).await?;
        blocking(move || finish(draft, config, enrolled, &key, &authority)).await?
    })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| JoinError::Ending)
}

async fn enroll(
    ticket: &Ticket,
    key: &PrivateKey,
    label: Label,
    listen: SocketAddr,
) -> Result<(Enrolled, CertificateDer<'static>), JoinError> {
    let signing_request = key.signing_request()?;
    let endpoint = Endpoint::bind_any(EndpointOptions::client())?;
    let dialler = endpoint.dialler_to_directory(trust::joiner(ticket.authority_fingerprint(), Clock::System)?)?;
    let connection = match reach(&endpoint, &dialler, ticket.addresses(), &ticket.server_name()).await {
        Ok(connection) => connection,
        Err(CallError::Unreachable { addresses, source }) => return Err(JoinError::Unreachable { addresses, source }),
        Err(other) => return Err(JoinError::BrokenOff(other)),
    };
    let directory = connection.remote();
    if listen.ip().is_loopback() && !directory.ip().to_canonical().is_loopback() {
        return Err(JoinError::LoopbackOnly { listen, directory });
    }
    let authority = connection
        .shown()
        .into_iter()
        .find(|certificate| fingerprint(certificate) == ticket.authority_fingerprint())
        .ok_or(JoinError::Misbehaved { what: "the authority's certificate is missing" })?;
    let exporter = connection.enrolment_exporter().map_err(JoinError::BrokenOff)?;
    let request = Enroll {
        ticket: ticket.id(),
        proof: proof(&ticket.verifier(), &exporter, &signing_request),
        request: Der::try_from(signing_request).map_err(|e| CertificateError::TooLong { len: e.len })?,
        label,
        key_check: None,
    };
    let answer = call_while_busy(&connection, &request, ANSWER).await;
    connection.close();
    endpoint.close().await;
    match answer {
        Ok((enrolled, _)) if enrolled.cluster != ticket.cluster() => {
            Err(JoinError::Misbehaved { what: "it is of another cluster" })
        }
        Ok((enrolled, _)) => Ok((enrolled, authority)),
        Err(error @ CallError::Refused(_)) => Err(JoinError::Refused(error)),
        Err(error) => Err(JoinError::BrokenOff(error)),
    }
}

fn finish(
    draft: Draft,
    config: JoinConfig,
    enrolled: Enrolled,
    key: &PrivateKey,
    authority: &CertificateDer<'static>,
) -> Result<NewPeer, JoinError> {
    let certificate = CertificateDer::from(enrolled.certificate.into_inner());
    let identity = Identity::from_certificate(&certificate)?;
    let Subject::Peer(peer) = identity.subject else {
        return Err(JoinError::Misbehaved { what: "the certificate is not a peer's" });
    };
    if peer.0 != enrolled.id || identity.cluster != enrolled.cluster {
        return Err(JoinError::Misbehaved { what: "the certificate is somebody else's" });
    }
    let settings = Settings {
        cluster: enrolled.cluster,
        peer,
        statement_key: StatementPublic(enrolled.statement_key),
        directory: enrolled.directory.iter().map(ToString::to_string).collect(),
        listen: config.listen,
        advertise: config.advertise,
        label: config.label,
        zone: config.zone,
        capacity: config.capacity,
    };
    let layout = Layout::new(draft.path());
    key.save(&layout.key())?;
    save_certificate(&layout.authority(), authority)?;
    save_certificate(&layout.certificate(), &certificate)?;
    settings.save(&layout.settings())?;
    Durable::default().save(&layout.known())?;
    disk::mark_format(draft.path(), FORMAT_NAME, FORMAT)?;
    draft.publish()?;
    Ok(NewPeer { cluster: enrolled.cluster, peer })
}
