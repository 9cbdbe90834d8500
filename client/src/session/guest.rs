//! Guest: a session for whoever has a link and has not joined: an identity in memory alone, for hours, that reads through one share.
//!
//! The link pins the authority, so what answers is the right directory or nothing is sent. Nothing of this is written down; when the
//! program ends, nobody has the key any more.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::id::{ClusterId, NodeId};
use common::identity::role::directory_name;
use common::identity::{Credentials, PrivateKey, StatementPublic};
use common::proto::directory::Conflicts;
use common::proto::enroll::EnrollGuest;
use common::proto::parts::Der;
use common::share;
use common::transport::{Endpoint, EndpointOptions, call_while_busy};

use super::directory::{self, Directory};
use super::enroll::{EnrollError, connect};
use super::map::MapKeeper;
use super::{Inner, Session, SessionError, SessionOptions, Through, warn_of_skew};
use crate::keys::MasterKey;

/// For the one request, once connected.
const ANSWER: Duration = Duration::from_secs(10);

/// What a link says of the way to its cluster.
#[derive(Debug, Clone, Copy)]
pub struct Invitation<'a> {
    pub cluster: ClusterId,
    pub authority_fingerprint: [u8; 32],
    pub addresses: &'a [String],
    pub secret: &'a [u8; 32],
}

/// Why somebody is no guest.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    #[error(transparent)]
    Enroll(#[from] EnrollError),
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl Session {
    /// Becomes a guest of the cluster that the link is of, and greets the directory.
    ///
    /// # Errors
    /// When nobody answers, who answers is not to be believed, or the link is not for guests, or not any more.
    pub async fn open_guest(
        link: Invitation<'_>,
        through: Through,
        options: &SessionOptions,
    ) -> Result<Self, GuestError> {
        let key = PrivateKey::generate().map_err(EnrollError::Key)?;
        let request = key.signing_request().map_err(EnrollError::Key)?;
        let endpoint = Endpoint::bind_any(EndpointOptions::client()).map_err(EnrollError::Bind)?;
        let addresses = if options.directory.is_empty() { link.addresses } else { &options.directory };
        let name = directory_name(link.cluster);
        let (connection, authority) = connect(&endpoint, link.authority_fingerprint, addresses, &name).await?;
        let exporter = connection.enrolment_exporter().map_err(EnrollError::NoGuest)?;
        let too_long = |_| EnrollError::Misbehaved { what: "the signing request is too long" };
        let request = EnrollGuest {
            share: share::share_id(link.secret),
            proof: share::guest_proof(&share::verifier(link.secret), &exporter, &request),
            request: Der::try_from(request).map_err(too_long)?,
        };
        let answer = call_while_busy(&connection, &request, ANSWER).await;
        connection.close();
        let (enrolled, _) = answer.map_err(EnrollError::NoGuest)?;
        if enrolled.cluster != link.cluster {
            return Err(EnrollError::Misbehaved { what: "it is of another cluster" }.into());
        }
        let own = Credentials::new(vec![enrolled.certificate.to_vec().into()], &key).map_err(SessionError::Trust)?;
        let (to_directory, to_peers) = directory::diallers(&endpoint, authority, &own)?;
        let reached = Directory::new(endpoint.clone(), to_directory, link.cluster, addresses, options);
        let welcome = reached.greet(0, 0).await?;
        if welcome.cluster != link.cluster {
            return Err(SessionError::OtherCluster { expected: link.cluster, found: welcome.cluster }.into());
        }
        let statement = StatementPublic(enrolled.statement_key);
        let maps = MapKeeper::new(link.cluster, statement, &welcome.map).map_err(SessionError::Map)?;
        warn_of_skew(&welcome);
        let inner = Inner {
            cluster: link.cluster,
            account: through.account,
            account_name: String::new(),
            device: enrolled.guest,
            root: NodeId([0; 16]),
            authority_fingerprint: link.authority_fingerprint,
            redundancy: welcome.redundancy,
            // A guest has no tree of its own: these keys open nothing.
            keys: Arc::new(MasterKey::random().derive()),
            settled: true,
            conflicts: Conflicts::default(),
            endpoint,
            to_peers,
            directory: reached,
            maps,
            look_for_map: tokio::sync::Notify::new(),
            peers: Mutex::default(),
            tasks: Mutex::default(),
        };
        let session = Self(Arc::new(inner), Some(Arc::new(through)));
        session.follow_directory();
        session.keep_map();
        Ok(session)
    }
}
