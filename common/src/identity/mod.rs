//! Identity: who somebody is, proven by a certificate of the cluster's authority.
//!
//! In reading order: [`role`] (what a certificate says), [`certificate`] (keys, requests, the authority), [`trust`] (whom TLS
//! believes), [`statement`] (signatures on maps and grants), [`enrolment`] (what a ticket's secret proves).
//!
//! Guarantees: a private key is made where it is used and never leaves; of a signing request only the public key is taken;
//! nothing is resumed, so that every connection shows its certificate.

pub mod certificate;
pub mod enrolment;
pub mod role;
pub mod statement;
pub mod trust;

pub use certificate::{Authority, CertificateError, PrivateKey};
pub use role::{Identity, IdentityError, Role, Subject};
pub use statement::{StatementKey, StatementPublic};
pub use trust::{Credentials, Trust, TrustError};
