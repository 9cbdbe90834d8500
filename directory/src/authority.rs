//! Authority: the cluster's keys in the data folder, and what is certified and signed with them.
//!
//! ```text
//! ca.key, ca.pem                 the certificate authority
//! statement.key                  signs cluster maps and grants
//! directory.key, directory.pem   what the directory shows; certified anew at every start, and daily
//! ```
//!
//! All keys are mode 0600, and refused when others can read them.

use std::path::Path;
use std::sync::Arc;

use common::grant::{Grant, SignedGrant};
use common::id::{ClusterId, DeviceId};
use common::identity::certificate::{ADMIN_VALIDITY, GUEST_VALIDITY, VALIDITY, save_certificate};
use common::identity::statement::StatementKeyError;
use common::identity::{
    Authority, CertificateError, Credentials, Identity, PrivateKey, StatementKey, Subject, Trust, TrustError,
};
use common::pass::{Pass, SignedPass};
use common::proto::Refusal;
use common::proto::parts::Der;
use common::proto::refusal::What;
use common::signed::Signed;
use common::telemetry;
use common::time::{Clock, Timestamp};
use rustls_pki_types::CertificateDer;

/// Keys that cannot be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Statement(#[from] StatementKeyError),
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// See the module.
pub struct Keys {
    authority: Authority,
    statement: Arc<StatementKey>,
    own: PrivateKey,
}

impl Keys {
    /// What lets a restarted directory tell the other ends of its lost connections that they are lost.
    ///
    /// # Errors
    /// When there is no key, or others can read it.
    pub fn reset_key(folder: &Path) -> Result<[u8; 32], KeyError> {
        Ok(PrivateKey::load(&folder.join("directory.key"))?.reset_key())
    }

    /// Makes new keys in a folder that has none.
    ///
    /// # Errors
    /// When there are keys already, or the disk refuses.
    pub fn create(folder: &Path, cluster: ClusterId, now: Timestamp) -> Result<Self, KeyError> {
        let authority = Authority::create(cluster, now)?;
        authority.save(&folder.join("ca.pem"), &folder.join("ca.key"))?;
        let statement = StatementKey::generate()?;
        statement.save(&folder.join("statement.key"))?;
        let own = PrivateKey::generate()?;
        own.save(&folder.join("directory.key"))?;
        Ok(Self { authority, statement: Arc::new(statement), own })
    }

    /// # Errors
    /// When a file is missing, malformed, or readable by others.
    pub fn load(folder: &Path, cluster: ClusterId) -> Result<Self, KeyError> {
        let authority = Authority::load(cluster, &folder.join("ca.pem"), &folder.join("ca.key"))?;
        let statement = Arc::new(StatementKey::load(&folder.join("statement.key"))?);
        let own = PrivateKey::load(&folder.join("directory.key"))?;
        Ok(Self { authority, statement, own })
    }

    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.authority.cluster()
    }

    #[must_use]
    pub fn statement(&self) -> &Arc<StatementKey> {
        &self.statement
    }

    /// What a ticket pins.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        self.authority.fingerprint()
    }

    /// # Errors
    /// When the authority's certificate cannot be a root.
    pub fn trust(&self, clock: Clock) -> Result<Trust, KeyError> {
        Ok(Trust::new(self.authority.certificate().clone(), clock)?)
    }

    /// A fresh certificate for the directory itself, kept in the folder for people to look at.
    ///
    /// # Errors
    /// When it cannot be made or saved.
    pub fn credentials(&self, folder: &Path, now: Timestamp) -> Result<Credentials, KeyError> {
        let chain = self.chain(now)?;
        if let Some(own) = chain.first() {
            save_certificate(&folder.join("directory.pem"), own)?;
        }
        Ok(Credentials::new(chain, &self.own)?)
    }

    /// Certifies the directory anew while it serves.
    ///
    /// # Errors
    /// When it cannot be made; the old one then stays.
    pub fn renew_own(&self, credentials: &Credentials, now: Timestamp) -> Result<(), KeyError> {
        Ok(credentials.replace(self.chain(now)?, &self.own)?)
    }

    fn chain(&self, now: Timestamp) -> Result<Vec<CertificateDer<'static>>, KeyError> {
        let identity = Identity { cluster: self.cluster(), subject: Subject::Directory };
        let own = self.authority.issue_for(&self.own, &identity, now, VALIDITY)?;
        Ok(vec![own, self.authority.certificate().clone()])
    }

    /// An operator's session: valid for one command.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn operator(&self, now: Timestamp) -> Result<Credentials, KeyError> {
        let key = PrivateKey::generate()?;
        let identity = Identity { cluster: self.cluster(), subject: Subject::Admin(DeviceId::random()) };
        let certificate = self.authority.issue_for(&key, &identity, now, ADMIN_VALIDITY)?;
        Ok(Credentials::new(vec![certificate], &key)?)
    }

    /// Certifies the key of a signing request as this member.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] for a request that is none.
    pub fn certify(&self, request: &[u8], subject: Subject, now: Timestamp) -> Result<Der, Refusal> {
        let identity = Identity { cluster: self.cluster(), subject };
        let validity = if matches!(subject, Subject::Guest { .. }) { GUEST_VALIDITY } else { VALIDITY };
        let certificate = self.authority.issue(request, &identity, now, validity).map_err(|error| {
            tracing::warn!(error = telemetry::chain(&error), "a signing request was refused");
            Refusal::Malformed
        })?;
        Der::try_from(certificate.to_vec()).map_err(|_| Refusal::TooLarge(What::Request))
    }

    /// # Errors
    /// Never in practice: grants are small.
    pub fn pass(&self, pass: &Pass) -> Result<SignedPass, Refusal> {
        Signed::sign(pass, &*self.statement).map_err(|_| Refusal::Internal)
    }

    /// # Errors
    /// Never in practice: grants are small.
    pub fn grant(&self, grant: &Grant) -> Result<SignedGrant, Refusal> {
        Signed::sign(grant, &*self.statement).map_err(|_| Refusal::Internal)
    }
}
