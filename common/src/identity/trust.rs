//! Trust: whom TLS believes, and what it shows of itself. TLS 1.3 alone, on the ring provider, with AES-128-GCM first.
//!
//! | who | asks of the other side | shows |
//! |---|---|---|
//! | peer, serving | a certificate of the cluster's authority | its own |
//! | directory, serving | the same, or none: then the transport lets it enrol and nothing else | its own and the authority's |
//! | anybody, dialling | a certificate of the authority with exactly the name dialled | its own |
//! | a joiner with a ticket | an authority with the ticket's fingerprint, and a certificate of it with the directory's name | nothing |
//!
//! There is no resumption and no early data, so every connection proves who it is. A clock is passed in, for tests and hints.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme, version,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::identity::certificate::{PrivateKey, fingerprint};
use crate::identity::role::{self, Identity, IdentityError};
use crate::proto::{ALPN, ALPN_ENROLL};
use crate::time::{Clock, Timestamp};

/// Certificates or keys that TLS cannot work with.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error("the authority's certificate cannot be used")]
    Authority(#[source] rustls::Error),
    #[error("no verifier can be made of the authority's certificate")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
    #[error("the certificate and the private key do not fit together")]
    Credentials(#[source] rustls::Error),
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        // AES-128-GCM is a third cheaper a byte than ChaCha20 on machines with AES instructions, and QUIC's first packets need it anyway.
        cipher_suites: vec![
            ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
            ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
            ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        ..ring::default_provider()
    })
}

/// One's own certificate and key, in a cell that renewal swaps while connections go on.
#[derive(Clone)]
pub struct Credentials(Arc<RwLock<Held>>);

#[derive(Clone)]
struct Held {
    shown: Arc<CertifiedKey>,
    identity: Identity,
    until: Timestamp,
}

impl Credentials {
    /// `chain` begins with one's own certificate; the directory adds the authority's, for joiners.
    ///
    /// # Errors
    /// When key and certificate do not fit, or the certificate names no member.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: &PrivateKey) -> Result<Self, TrustError> {
        Ok(Self(Arc::new(RwLock::new(Self::hold(chain, key)?))))
    }

    fn hold(chain: Vec<CertificateDer<'static>>, key: &PrivateKey) -> Result<Held, TrustError> {
        let own = chain.first().ok_or(IdentityError::Nobody)?;
        let identity = Identity::from_certificate(own)?;
        let (_, until) = role::validity(own)?;
        let shown = CertifiedKey::from_der(chain, key.to_der(), &provider()).map_err(TrustError::Credentials)?;
        Ok(Held { shown: Arc::new(shown), identity, until })
    }

    /// Shows this from the next handshake on.
    ///
    /// # Errors
    /// As [`new`](Self::new); the old one then stays.
    pub fn replace(&self, chain: Vec<CertificateDer<'static>>, key: &PrivateKey) -> Result<(), TrustError> {
        let held = Self::hold(chain, key)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = held;
        Ok(())
    }

    fn held(&self) -> Held {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who one is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.held().identity
    }

    /// Until when the certificate is valid.
    #[must_use]
    pub fn valid_until(&self) -> Timestamp {
        self.held().until
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials of {:?}", self.identity())
    }
}

impl ResolvesServerCert for Credentials {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.held().shown)
    }
}

impl rustls::client::ResolvesClientCert for Credentials {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.held().shown)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct ClockForTls(Clock);

impl TimeProvider for ClockForTls {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_millis(self.0.now().0)))
    }
}

/// The cluster's authority as the root of all trust, and the clock to judge validity by.
#[derive(Clone, Debug)]
pub struct Trust {
    roots: Arc<RootCertStore>,
    clock: Clock,
}

impl Trust {
    /// # Errors
    /// When the certificate cannot be a root.
    pub fn new(authority: CertificateDer<'static>, clock: Clock) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        roots.add(authority).map_err(TrustError::Authority)?;
        Ok(Self { roots: Arc::new(roots), clock })
    }

    /// For a peer: nobody without a certificate gets past the handshake.
    ///
    /// # Errors
    /// When the authority's certificate is no root after all.
    pub fn peer_server(&self, own: &Credentials) -> Result<ServerConfig, TrustError> {
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider());
        self.server(own, verifier.build().map_err(TrustError::Verifier)?, vec![ALPN.to_vec()])
    }

    /// For the directory: strangers may connect, and the transport holds them to enrolment.
    ///
    /// # Errors
    /// When the authority's certificate is no root after all.
    pub fn directory_server(&self, own: &Credentials) -> Result<ServerConfig, TrustError> {
        let verifier =
            WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider()).allow_unauthenticated();
        let alpn = vec![ALPN.to_vec(), ALPN_ENROLL.to_vec()];
        self.server(own, verifier.build().map_err(TrustError::Verifier)?, alpn)
    }

    fn server(
        &self,
        own: &Credentials,
        verifier: Arc<dyn rustls::server::danger::ClientCertVerifier>,
        alpn: Vec<Vec<u8>>,
    ) -> Result<ServerConfig, TrustError> {
        let clock = Arc::new(ClockForTls(self.clock.clone()));
        let mut config = ServerConfig::builder_with_details(provider(), clock)
            .with_protocol_versions(&[&version::TLS13])
            .map_err(TrustError::Setup)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(own.clone()));
        config.alpn_protocols = alpn;
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.max_early_data_size = 0;
        Ok(config)
    }

    /// For whoever dials with a certificate.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn client(&self, own: &Credentials) -> Result<ClientConfig, TrustError> {
        let clock = Arc::new(ClockForTls(self.clock.clone()));
        let config = ClientConfig::builder_with_details(provider(), clock)
            .with_protocol_versions(&[&version::TLS13])
            .map_err(TrustError::Setup)?
            .with_root_certificates(self.roots.clone())
            .with_client_cert_resolver(Arc::new(own.clone()));
        Ok(finish_client(config, ALPN))
    }
}

/// For a joiner: believes the authority with this fingerprint, whichever certificate of the server's chain it is.
///
/// # Errors
/// When TLS cannot be set up.
pub fn joiner(authority_fingerprint: [u8; 32], clock: Clock) -> Result<ClientConfig, TrustError> {
    let provider = provider();
    let verifier = Pinned { authority_fingerprint, algorithms: provider.signature_verification_algorithms };
    let config = ClientConfig::builder_with_details(provider, Arc::new(ClockForTls(clock)))
        .with_protocol_versions(&[&version::TLS13])
        .map_err(TrustError::Setup)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(finish_client(config, ALPN_ENROLL))
}

fn finish_client(mut config: ClientConfig, alpn: &[u8]) -> ClientConfig {
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config
}

/// Finds the pinned authority in the server's chain, and leaves the judgement to webpki with it as the only root.
#[derive(Debug)]
struct Pinned {
    authority_fingerprint: [u8; 32],
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let unknown = || rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let authority =
            others.iter().find(|other| fingerprint(other) == self.authority_fingerprint).ok_or_else(unknown)?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().map_err(|_| unknown())?;
        verifier.verify_server_cert(own, others, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
