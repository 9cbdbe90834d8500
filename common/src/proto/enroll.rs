//! Enrolment: the one request that a stranger with a ticket, or with a link to something shared, may make, on an ALPN of its own.
//!
//! The joiner has pinned the authority's fingerprint from the ticket before it sends anything, and proves the ticket's secret
//! bound to this very TLS session, so that whatever a man in the middle hears he can use nowhere.

use serde::{Deserialize, Serialize};

use crate::id::{AccountId, ClusterId, NodeId, TicketId};
use crate::proto::frame::requests;
use crate::proto::parts::{Addresses, Der, Label};

/// Asks for a certificate. The role and the account are the ticket's; the id is the directory's choice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enroll {
    pub ticket: TicketId,
    /// BLAKE3 keyed with the ticket's verifier over the TLS exporter's 32 bytes and the signing request.
    pub proof: [u8; 32],
    /// A certificate signing request, DER; only its public key is taken.
    pub request: Der,
    /// What the joiner calls itself, for people: a host's name.
    pub label: Label,
    /// A tag of the master key that a device will use; `None` for peers. The first one of an account stays its own.
    pub key_check: Option<[u8; 32]>,
}

/// Everything that an enrolled identity needs from then on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    pub cluster: ClusterId,
    /// The new identity's id: a peer's or a device's.
    pub id: [u8; 16],
    pub certificate: Der,
    /// The public key that maps and grants are signed with (Ed25519).
    pub statement_key: [u8; 32],
    /// Where the directory can be reached.
    pub directory: Addresses,
    /// A device's account.
    pub account: Option<EnrolledAccount>,
}

/// Whom a device acts for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolledAccount {
    pub account: AccountId,
    pub name: Label,
    pub root: NodeId,
    /// Whether this device's master key became the account's.
    pub first: bool,
}

pub use crate::proto::share::{EnrollGuest, GuestEnrolled};

requests! {
    /// What may be asked on [`ALPN_ENROLL`](super::ALPN_ENROLL).
    EnrollRequest {
        1 Enroll -> Enrolled;
        80 EnrollGuest -> GuestEnrolled;
    }
}
