//! Role: what a certificate says about its holder, as DNS names.
//!
//! ```text
//! directory   directory.<cluster>.shoal                                 any directory of the cluster
//! peer        <peer id>.peer.<cluster>.shoal
//! client      <device id>.client.<cluster>.shoal  and  <account id>.account.<cluster>.shoal
//! guest       <guest id>.guest.<cluster>.shoal  and  <share id>.share.<cluster>.shoal        for hours, to read what was shared
//! admin       <session id>.admin.<cluster>.shoal                        short-lived, issued by the directory to its own operator
//! ```
//!
//! All ids in lower-case hex. The first name is what a dialler asks for, so that ordinary server-name verification proves that
//! one talks to exactly this peer of this cluster. Whatever is not exactly one of these forms is refused.

use std::fmt;
use std::str::FromStr;

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::id::{AccountId, ClusterId, DeviceId, PeerId, ShareId};
use crate::limits::CERTIFICATE_BYTES;
use crate::time::Timestamp;

const ROOT: &str = "shoal";

/// What kind of member somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    Directory,
    Peer,
    Client,
    Admin,
    Guest,
}

/// Text that names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no role {text:?}; there are directory, peer, client, admin and guest")]
pub struct RoleError {
    pub text: String,
}

impl Role {
    pub const ALL: [Self; 5] = [Self::Directory, Self::Peer, Self::Client, Self::Admin, Self::Guest];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Peer => "peer",
            Self::Client => "client",
            Self::Admin => "admin",
            Self::Guest => "guest",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Role {
    type Err = RoleError;
    fn from_str(text: &str) -> Result<Self, RoleError> {
        Self::ALL
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| RoleError { text: text.chars().take(64).collect() })
    }
}

/// Somebody in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    Directory,
    Peer(PeerId),
    Client {
        device: DeviceId,
        account: AccountId,
    },
    /// An operator's session; the id tells sessions apart in the journal.
    Admin(DeviceId),
    /// Somebody with a link to this share, and nothing else. The id tells guests apart, and is no device of an account.
    Guest {
        guest: DeviceId,
        share: ShareId,
    },
}

/// Somebody in this cluster: what a certificate proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    pub cluster: ClusterId,
    pub subject: Subject,
}

/// A certificate that does not name exactly one member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error("a certificate of {len} bytes, at most {CERTIFICATE_BYTES} are taken")]
    TooLong { len: usize },
    #[error("the certificate cannot be read")]
    Malformed,
    #[error("the certificate names nobody of a cluster")]
    Nobody,
    #[error("the certificate's name {name:?} is no member's")]
    Name { name: String },
    #[error("the certificate names more than one member")]
    Ambiguous,
    #[error("the certificate of a client lacks its account, or another's has one; likewise a guest's and its share")]
    Account,
}

/// The name under which every directory of the cluster is dialled.
#[must_use]
pub fn directory_name(cluster: ClusterId) -> String {
    format!("directory.{cluster}.{ROOT}")
}

/// The name under which this peer is dialled.
#[must_use]
pub fn peer_name(cluster: ClusterId, peer: PeerId) -> String {
    format!("{peer}.peer.{cluster}.{ROOT}")
}

enum Name {
    Member(Member),
    Account(AccountId),
    Share(ShareId),
}

#[derive(Clone, Copy)]
enum Member {
    Directory,
    Peer(PeerId),
    Client(DeviceId),
    Admin(DeviceId),
    Guest(DeviceId),
}

fn parse_name(text: &str) -> Option<(ClusterId, Name)> {
    let labels: Vec<&str> = text.split('.').take(5).collect();
    let (cluster, name) = match *labels.as_slice() {
        ["directory", cluster, ROOT] => (cluster, Name::Member(Member::Directory)),
        [id, "peer", cluster, ROOT] => (cluster, Name::Member(Member::Peer(id.parse().ok()?))),
        [id, "client", cluster, ROOT] => (cluster, Name::Member(Member::Client(id.parse().ok()?))),
        [id, "admin", cluster, ROOT] => (cluster, Name::Member(Member::Admin(id.parse().ok()?))),
        [id, "guest", cluster, ROOT] => (cluster, Name::Member(Member::Guest(id.parse().ok()?))),
        [id, "share", cluster, ROOT] => (cluster, Name::Share(id.parse().ok()?)),
        [id, "account", cluster, ROOT] => (cluster, Name::Account(id.parse().ok()?)),
        _ => return None,
    };
    Some((cluster.parse().ok()?, name))
}

impl Identity {
    #[must_use]
    pub fn role(&self) -> Role {
        match self.subject {
            Subject::Directory => Role::Directory,
            Subject::Peer(_) => Role::Peer,
            Subject::Client { .. } => Role::Client,
            Subject::Admin(_) => Role::Admin,
            Subject::Guest { .. } => Role::Guest,
        }
    }

    /// The name to dial it by, and the first name of its certificate.
    #[must_use]
    pub fn server_name(&self) -> String {
        let cluster = self.cluster;
        match self.subject {
            Subject::Directory => directory_name(cluster),
            Subject::Peer(peer) => peer_name(cluster, peer),
            Subject::Client { device, .. } => format!("{device}.client.{cluster}.{ROOT}"),
            Subject::Admin(session) => format!("{session}.admin.{cluster}.{ROOT}"),
            Subject::Guest { guest, .. } => format!("{guest}.guest.{cluster}.{ROOT}"),
        }
    }

    /// All names of its certificate.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names = vec![self.server_name()];
        match self.subject {
            Subject::Client { account, .. } => names.push(format!("{account}.account.{}.{ROOT}", self.cluster)),
            Subject::Guest { share, .. } => names.push(format!("{share}.share.{}.{ROOT}", self.cluster)),
            Subject::Directory | Subject::Peer(_) | Subject::Admin(_) => {}
        }
        names
    }

    /// Reads it from names as [`names`](Self::names) makes them, in any order.
    ///
    /// # Errors
    /// On anything but the names of exactly one member of one cluster.
    pub fn from_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<Self, IdentityError> {
        let (mut cluster, mut member, mut account, mut share) = (None, None, None, None);
        for text in names {
            let shown = || text.chars().take(128).collect();
            let (of, name) = parse_name(text).ok_or_else(|| IdentityError::Name { name: shown() })?;
            let taken = match name {
                Name::Member(found) => member.replace(found).is_some(),
                Name::Account(found) => account.replace(found).is_some(),
                Name::Share(found) => share.replace(found).is_some(),
            };
            if taken || cluster.replace(of).is_some_and(|before| before != of) {
                return Err(IdentityError::Ambiguous);
            }
        }
        let (Some(cluster), Some(member)) = (cluster, member) else { return Err(IdentityError::Nobody) };
        let subject = match (member, account, share) {
            (Member::Client(device), Some(account), None) => Subject::Client { device, account },
            (Member::Guest(guest), None, Some(share)) => Subject::Guest { guest, share },
            (Member::Directory, None, None) => Subject::Directory,
            (Member::Peer(peer), None, None) => Subject::Peer(peer),
            (Member::Admin(session), None, None) => Subject::Admin(session),
            _ => return Err(IdentityError::Account),
        };
        Ok(Self { cluster, subject })
    }

    /// Reads it from a certificate whose signature TLS has checked already.
    ///
    /// # Errors
    /// When the certificate is not one of a member.
    pub fn from_certificate(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let parsed = parse(certificate)?;
        let extension = parsed.subject_alternative_name().map_err(|_| IdentityError::Malformed)?;
        let names = &extension.ok_or(IdentityError::Nobody)?.value.general_names;
        if !names.iter().all(|name| matches!(name, GeneralName::DNSName(_))) {
            return Err(IdentityError::Malformed);
        }
        Self::from_names(names.iter().filter_map(|name| match name {
            GeneralName::DNSName(text) => Some(*text),
            _ => None,
        }))
    }

    /// The id's first hex digits, or the role where there is one of it, for logs.
    #[must_use]
    pub fn short(&self) -> String {
        match self.subject {
            Subject::Directory => "directory".to_owned(),
            Subject::Peer(peer) => peer.short(),
            Subject::Client { device, .. } => device.short(),
            Subject::Admin(session) => session.short(),
            Subject::Guest { guest, .. } => guest.short(),
        }
    }
}

/// When a certificate begins and ends to be valid; renewal goes by it.
///
/// # Errors
/// When the certificate cannot be read.
pub fn validity(certificate: &CertificateDer<'_>) -> Result<(Timestamp, Timestamp), IdentityError> {
    let parsed = parse(certificate)?;
    let at = |seconds: i64| Timestamp(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000));
    Ok((at(parsed.validity().not_before.timestamp()), at(parsed.validity().not_after.timestamp())))
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, IdentityError> {
    if certificate.len() > CERTIFICATE_BYTES {
        return Err(IdentityError::TooLong { len: certificate.len() });
    }
    match X509Certificate::from_der(certificate) {
        Ok(([], parsed)) => Ok(parsed),
        _ => Err(IdentityError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn somebody() -> [Identity; 5] {
        let cluster = ClusterId([7; 16]);
        let subjects = [
            Subject::Directory,
            Subject::Peer(PeerId([1; 16])),
            Subject::Client { device: DeviceId([2; 16]), account: AccountId([3; 16]) },
            Subject::Admin(DeviceId([4; 16])),
            Subject::Guest { guest: DeviceId([5; 16]), share: ShareId([6; 16]) },
        ];
        subjects.map(|subject| Identity { cluster, subject })
    }

    #[test]
    fn names_round_trip_and_are_golden() {
        for identity in somebody() {
            let names = identity.names();
            assert_eq!(Identity::from_names(names.iter().map(String::as_str)), Ok(identity));
            assert_eq!(identity.role().name().parse(), Ok(identity.role()));
        }
        let golden = "01010101010101010101010101010101.peer.07070707070707070707070707070707.shoal";
        assert_eq!(somebody()[1].server_name(), golden);
    }

    #[test]
    fn anything_but_exactly_one_member_is_refused() {
        let c = "07".repeat(16);
        let (peer, client) = (format!("{c}.peer.{c}.shoal"), format!("{c}.client.{c}.shoal"));
        let (account, other) = (format!("{c}.account.{c}.shoal"), format!("directory.{}.shoal", "08".repeat(16)));
        let check = |names: &[&str], expected: IdentityError| {
            assert_eq!(Identity::from_names(names.iter().copied()), Err(expected), "{names:?}");
        };
        check(&[], IdentityError::Nobody);
        check(&[&account], IdentityError::Nobody);
        check(&[&client], IdentityError::Account);
        check(&[&peer, &account], IdentityError::Account);
        check(&[&peer, &client], IdentityError::Ambiguous);
        let (guest, share) = (format!("{c}.guest.{c}.shoal"), format!("{c}.share.{c}.shoal"));
        check(&[&guest], IdentityError::Account);
        check(&[&guest, &account], IdentityError::Account);
        check(&[&client, &account, &share], IdentityError::Account);
        check(&[&share], IdentityError::Nobody);
        check(&[&client, &account, &account], IdentityError::Ambiguous);
        check(&[&account, &other], IdentityError::Ambiguous);
        for name in ["", "shoal", "localhost", "x.peer.y.shoal", &format!("{peer}.evil"), &format!("x.{peer}")] {
            check(&[name], IdentityError::Name { name: name.to_owned() });
        }
    }

    #[test]
    fn bytes_that_are_no_certificate_are_refused() {
        for len in [0, 1, 400, CERTIFICATE_BYTES + 1] {
            assert!(Identity::from_certificate(&vec![0x30; len].into()).is_err());
        }
    }
}
