//! Certificate: keys, signing requests, and the authority that makes certificates of them.
//!
//! Everything is Ed25519. A private key is made by its user and stays there; the authority sees a signing request and takes
//! nothing of it but the public key. Validity begins an hour back, for clocks that are a little off.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519, PublicKeyData, SanType,
};
use ring::signature::{ED25519, UnparsedPublicKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::disk::{self, DiskError};
use crate::id::ClusterId;
use crate::identity::role::Identity;
use crate::limits::CERTIFICATE_BYTES;
use crate::time::Timestamp;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long a peer's, device's or directory's certificate is valid.
pub const VALIDITY: Duration = DAY.saturating_mul(90);
/// How long an operator's certificate is valid: one command.
pub const ADMIN_VALIDITY: Duration = Duration::from_secs(3600);
/// How long a guest's certificate is valid: one download. Every request looks at its share besides.
pub const GUEST_VALIDITY: Duration = Duration::from_secs(4 * 3600);
/// A certificate is renewed when less than this is left of it.
pub const RENEW_BEFORE: Duration = DAY.saturating_mul(30);
/// The authority outlives what it certifies by far; replacing it means enrolling again.
const AUTHORITY_VALIDITY: Duration = DAY.saturating_mul(365 * 20);
/// How far back validity begins.
const BACKDATED: Duration = Duration::from_secs(3600);

/// A key, signing request or certificate that cannot be made, read or saved.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("a signing request of {len} bytes, at most {CERTIFICATE_BYTES} are taken")]
    TooLong { len: usize },
    #[error("malformed signing request")]
    Request(#[source] rcgen::Error),
    #[error("a signing request of another kind than Ed25519")]
    Algorithm,
    #[error("the certificate in {} is malformed", path.display())]
    Certificate { path: std::path::PathBuf },
    #[error("the certificate in {} is not what the key in {} signed: one of them is damaged or another's", certificate.display(), key.display())]
    NotOfTheKey { certificate: std::path::PathBuf, key: std::path::PathBuf },
    #[error("the private key in {} is malformed", path.display())]
    Key {
        path: std::path::PathBuf,
        #[source]
        source: rcgen::Error,
    },
    #[error("the certificate authority cannot be used")]
    Authority(#[source] rcgen::Error),
    #[error("no key or certificate can be made")]
    Make(#[source] rcgen::Error),
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// A private key, wiped from memory when dropped.
pub struct PrivateKey(KeyPair);

impl PrivateKey {
    /// # Errors
    /// When the system has no randomness to give.
    pub fn generate() -> Result<Self, CertificateError> {
        KeyPair::generate_for(&PKCS_ED25519).map(Self).map_err(CertificateError::Make)
    }

    /// Saves it with mode 0600, as PKCS#8 PEM.
    ///
    /// # Errors
    /// When there is such a file already, or the disk refuses.
    pub fn save(&self, path: &Path) -> Result<(), CertificateError> {
        Ok(disk::create_private(path, Zeroizing::new(self.0.serialize_pem()).as_bytes())?)
    }

    /// # Errors
    /// When the file is missing, readable by others or no Ed25519 key.
    pub fn load(path: &Path) -> Result<Self, CertificateError> {
        let key = |source| CertificateError::Key { path: path.to_owned(), source };
        let bytes = disk::read_private(path)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| key(rcgen::Error::CouldNotParseKeyPair))?;
        KeyPair::from_pkcs8_pem_and_sign_algo(text, &PKCS_ED25519).map(Self).map_err(key)
    }

    /// From what [`to_der`](Self::to_der) gave.
    ///
    /// # Errors
    /// Unless these bytes are an Ed25519 key in PKCS#8.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, CertificateError> {
        KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(der), &PKCS_ED25519)
            .map(Self)
            .map_err(CertificateError::Make)
    }

    fn has_signed(&self, certificate: &CertificateDer<'_>) -> bool {
        signed_with(self.0.public_key_raw(), certificate)
    }

    /// A signing request, DER: this public key, signed with it, and nothing else.
    ///
    /// # Errors
    /// Never in practice: the key is usable since it was made.
    pub fn signing_request(&self) -> Result<Vec<u8>, CertificateError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&self.0).map_err(CertificateError::Make)?;
        Ok(request.der().to_vec())
    }

    /// A secret that lasts as long as this key, for telling others that their connections to an earlier run are lost.
    #[must_use]
    pub fn reset_key(&self) -> [u8; 32] {
        blake3::derive_key("shoal 2026 stateless reset", &Zeroizing::new(self.0.serialize_der()))
    }

    /// In the form that TLS takes.
    #[must_use]
    pub fn to_der(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.0.serialize_der()).into()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey")
    }
}

/// BLAKE3 of a certificate's DER: what a ticket pins.
#[must_use]
pub fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    blake3::hash(certificate).into()
}

/// Saves certificates as PEM, in the place of what was there.
///
/// # Errors
/// When the disk refuses.
pub fn save_certificate(path: &Path, certificate: &CertificateDer<'_>) -> Result<(), CertificateError> {
    let text = data_encoding::BASE64.encode(certificate);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for (index, c) in text.chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            pem.push('\n');
        }
        pem.push(c);
    }
    pem.push_str("\n-----END CERTIFICATE-----\n");
    Ok(disk::replace_durably(path, pem.as_bytes())?)
}

/// # Errors
/// When the file is missing or holds no PEM certificate.
pub fn load_certificate(path: &Path) -> Result<CertificateDer<'static>, CertificateError> {
    let bytes = disk::read_small(path)?;
    CertificateDer::from_pem_slice(&bytes).map_err(|_| CertificateError::Certificate { path: path.to_owned() })
}

/// The cluster's certificate authority; the directory alone has it.
pub struct Authority {
    cluster: ClusterId,
    certificate: CertificateDer<'static>,
    key: PrivateKey,
}

impl Authority {
    /// # Errors
    /// When the system has no randomness to give.
    pub fn create(cluster: ClusterId, now: Timestamp) -> Result<Self, CertificateError> {
        let key = PrivateKey::generate()?;
        let mut params = CertificateParams::default();
        set_validity(&mut params, now, AUTHORITY_VALIDITY);
        // The id in the name tells two authorities apart: under one name the wrong one yields "bad signature" and not "unknown issuer".
        params.distinguished_name = distinguished_name(&format!("shoal cluster {cluster}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key.0).map_err(CertificateError::Make)?;
        Ok(Self { cluster, certificate: certificate.der().clone(), key })
    }

    /// # Errors
    /// When a file is missing, malformed, or the key readable by others; or the certificate is not signed with the key, to the last bit.
    pub fn load(cluster: ClusterId, certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let authority = Self { cluster, certificate: load_certificate(certificate)?, key: PrivateKey::load(key)? };
        if !authority.key.has_signed(&authority.certificate) {
            return Err(CertificateError::NotOfTheKey { certificate: certificate.to_owned(), key: key.to_owned() });
        }
        authority.issuer()?;
        Ok(authority)
    }

    /// # Errors
    /// When there is such a key already, or the disk refuses.
    pub fn save(&self, certificate: &Path, key: &Path) -> Result<(), CertificateError> {
        self.key.save(key)?;
        save_certificate(certificate, &self.certificate)
    }

    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        fingerprint(&self.certificate)
    }

    /// Certifies the public key of a signing request as this subject of the cluster. Everything else in the request is ignored.
    ///
    /// # Errors
    /// When the request is too long, malformed, not signed by its own key, or not Ed25519.
    pub fn issue(
        &self,
        signing_request: &[u8],
        identity: &Identity,
        now: Timestamp,
        validity: Duration,
    ) -> Result<CertificateDer<'static>, CertificateError> {
        if signing_request.len() > CERTIFICATE_BYTES {
            return Err(CertificateError::TooLong { len: signing_request.len() });
        }
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(signing_request))
            .map_err(CertificateError::Request)?;
        if request.public_key.algorithm() != &PKCS_ED25519 || request.public_key.der_bytes().len() != 32 {
            return Err(CertificateError::Algorithm);
        }
        self.certify(&request.public_key, identity, now, validity)
    }

    /// Certifies a key of the directory's own: its server certificate, or an operator's short-lived one.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn issue_for(
        &self,
        key: &PrivateKey,
        identity: &Identity,
        now: Timestamp,
        validity: Duration,
    ) -> Result<CertificateDer<'static>, CertificateError> {
        self.certify(&key.0, identity, now, validity)
    }

    fn certify(
        &self,
        key: &impl PublicKeyData,
        identity: &Identity,
        now: Timestamp,
        validity: Duration,
    ) -> Result<CertificateDer<'static>, CertificateError> {
        let mut params = CertificateParams::default();
        set_validity(&mut params, now, validity);
        params.distinguished_name = distinguished_name(&format!("shoal {}", identity.role()));
        for name in identity.names() {
            params.subject_alt_names.push(SanType::DnsName(Ia5String::try_from(name).map_err(CertificateError::Make)?));
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(key, &self.issuer()?).map_err(CertificateError::Make)?;
        Ok(certificate.der().clone())
    }

    fn issuer(&self) -> Result<Issuer<'static, &KeyPair>, CertificateError> {
        Issuer::from_ca_cert_der(&self.certificate, &self.key.0).map_err(CertificateError::Authority)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority of {}", self.cluster)
    }
}

fn distinguished_name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn set_validity(params: &mut CertificateParams, now: Timestamp, validity: Duration) {
    /// The end of the year 9999: X.509 knows no later time.
    const LAST: Timestamp = Timestamp(253_402_300_799_000);
    let back = u64::try_from(BACKDATED.as_millis()).unwrap_or(0);
    params.not_before = Timestamp(now.0.saturating_sub(back)).min(LAST).to_system().into();
    params.not_after = now.plus(validity).min(LAST).to_system().into();
}

fn signed_with(key: &[u8], certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else { return false };
    let key = UnparsedPublicKey::new(&ED25519, key);
    key.verify(parsed.tbs_certificate.as_ref(), &parsed.signature_value.data).is_ok()
}

/// Whether an authority's certificate is whole, to the last bit, and has signed the other.
#[must_use]
pub fn has_issued(authority: &CertificateDer<'_>, certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(authority) else { return false };
    let key = &parsed.public_key().subject_public_key.data;
    signed_with(key, authority) && signed_with(key, certificate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::PeerId;
    use crate::identity::role::{self, Subject};

    fn a_peer() -> Identity {
        Identity { cluster: ClusterId([7; 16]), subject: Subject::Peer(PeerId([1; 16])) }
    }

    #[test]
    fn an_issued_certificate_says_who_and_until_when_whatever_the_request_says() {
        let now = Timestamp(1_800_000_000_000);
        let authority = Authority::create(ClusterId([7; 16]), now).unwrap();
        let key = PrivateKey::generate().unwrap();
        let mut greedy = CertificateParams::new(vec!["directory.evil.shoal".to_owned()]).unwrap();
        greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let greedy = greedy.serialize_request(&key.0).unwrap().der().to_vec();
        for request in [key.signing_request().unwrap(), greedy] {
            let certificate = authority.issue(&request, &a_peer(), now, VALIDITY).unwrap();
            assert_eq!(Identity::from_certificate(&certificate), Ok(a_peer()));
            let (from, until) = role::validity(&certificate).unwrap();
            assert_eq!((now.since(from), until.since(now)), (BACKDATED, VALIDITY));
            let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).unwrap();
            assert!(!parsed.is_ca());
        }
    }

    #[test]
    fn the_authority_and_keys_survive_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("ca.pem"), folder.path().join("ca.key"));
        let authority = Authority::create(ClusterId([7; 16]), Timestamp(1_800_000_000_000)).unwrap();
        authority.save(&certificate, &key).unwrap();
        let loaded = Authority::load(ClusterId([7; 16]), &certificate, &key).unwrap();
        assert_eq!(loaded.fingerprint(), authority.fingerprint());
        assert!(matches!(authority.save(&certificate, &key), Err(CertificateError::Disk(DiskError::Exists { .. }))));
        disk::replace_durably(&key, b"nonsense").unwrap();
        assert!(matches!(PrivateKey::load(&key), Err(CertificateError::Key { .. })));
        disk::replace_durably(&certificate, b"nonsense").unwrap();
        assert!(matches!(load_certificate(&certificate), Err(CertificateError::Certificate { .. })));
    }

    #[test]
    fn a_mangled_or_foreign_request_is_refused() {
        let now = Timestamp(1_800_000_000_000);
        let authority = Authority::create(ClusterId([7; 16]), now).unwrap();
        let key = PrivateKey::generate().unwrap();
        let good = key.signing_request().unwrap();
        let mut taken = 0;
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x04;
            // Bits of the wrapping are not under the signature; then it is still this key, or nothing, that is certified.
            let Ok(certificate) = authority.issue(&bad, &a_peer(), now, VALIDITY) else { continue };
            let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).unwrap();
            assert_eq!(parsed.public_key().subject_public_key.data.as_ref(), key.0.public_key_raw(), "byte {at}");
            taken += 1;
        }
        assert!(taken < 8, "{taken} changes went unnoticed");
        assert!(authority.issue(&[], &a_peer(), now, VALIDITY).is_err());
        let too_long = vec![0; CERTIFICATE_BYTES + 1];
        assert!(matches!(authority.issue(&too_long, &a_peer(), now, VALIDITY), Err(CertificateError::TooLong { .. })));
        let other = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let other = CertificateParams::default().serialize_request(&other).unwrap();
        assert!(matches!(authority.issue(other.der(), &a_peer(), now, VALIDITY), Err(CertificateError::Algorithm)));
    }
}
