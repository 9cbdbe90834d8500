//! Renew: a new certificate for the same key, long before the old one ends.
//!
//! Due when a third of its time has passed, so that a peer may be away for two thirds and still come back by itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::disk::DiskError;
use common::identity::{
    CertificateError, Credentials, Identity, IdentityError, PrivateKey, TrustError, certificate, role,
};
use common::proto::directory::Renew;
use common::proto::parts::Der;
use common::telemetry::chain;
use common::time::Timestamp;
use common::transport::{CallError, Link};
use rustls_pki_types::CertificateDer;
use tokio::time::sleep;

use crate::config::{HEARTBEAT_TIME, RENEWAL_CHECK, RENEWAL_RETRY};
use crate::known::Known;

#[derive(Debug, thiserror::Error)]
enum RenewError {
    #[error("no signing request can be made")]
    Request(#[from] CertificateError),
    #[error("the directory gave none")]
    Call(#[from] CallError),
    #[error("the new certificate cannot be read")]
    Unreadable(#[from] IdentityError),
    #[error("the new certificate is of somebody else")]
    OtherIdentity,
    #[error("the new certificate cannot be used")]
    Unusable(#[from] TrustError),
    #[error("the new certificate cannot be saved")]
    Disk(#[from] DiskError),
    #[error("the program is ending")]
    Ending,
}

pub(crate) struct Renewal {
    pub link: Link,
    pub known: Known,
    pub credentials: Credentials,
    pub key: Arc<PrivateKey>,
    pub certificate: CertificateDer<'static>,
    pub path: PathBuf,
}

/// When a certificate is to be renewed.
fn due(certificate: &CertificateDer<'_>) -> Result<Timestamp, IdentityError> {
    let (from, until) = role::validity(certificate)?;
    Ok(from.plus(until.since(from) / 3))
}

impl Renewal {
    /// Looks at start and daily; ends only by being dropped.
    pub(crate) async fn run(mut self) {
        loop {
            sleep(self.look().await).await;
        }
    }

    async fn look(&mut self) -> Duration {
        let now = self.known.directory_time();
        match due(&self.certificate) {
            Ok(due) if now < due => due.since(now).min(RENEWAL_CHECK),
            Ok(_) | Err(_) => match self.renew().await {
                Ok(()) => {
                    tracing::info!(until = %self.credentials.valid_until(), "the certificate was renewed");
                    RENEWAL_CHECK
                }
                Err(error) => {
                    let until = self.credentials.valid_until();
                    tracing::warn!(error = %chain(&error), %until, "the certificate was not renewed; it is tried again");
                    RENEWAL_RETRY
                }
            },
        }
    }

    async fn renew(&mut self) -> Result<(), RenewError> {
        let request = self.key.signing_request()?;
        let request = Renew { request: Der::try_from(request).map_err(|e| CertificateError::TooLong { len: e.len })? };
        let (answer, _) = self.link.call(&request, Vec::new(), HEARTBEAT_TIME).await?;
        let new = CertificateDer::from(answer.certificate.into_inner());
        if Identity::from_certificate(&new)? != self.credentials.identity() {
            return Err(RenewError::OtherIdentity);
        }
        // It is checked against the key before it replaces anything.
        Credentials::new(vec![new.clone()], &self.key)?;
        let (path, saved) = (self.path.clone(), new.clone());
        let job = tokio::task::spawn_blocking(move || certificate::save_certificate(&path, &saved));
        job.await.map_err(|_| RenewError::Ending)??;
        self.credentials.replace(vec![new.clone()], &self.key)?;
        self.certificate = new;
        Ok(())
    }
}
