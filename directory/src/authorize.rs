//! Authorize: who may ask what. The only maker of the types that operations take as the one who asks.
//!
//! A role is a certificate's; what is revoked is refused whatever its certificate says. An account is never taken from a request.

use common::id::{AccountId, DeviceId, PeerId, ShareId};
use common::identity::{Role, Subject};
use common::proto::Refusal;
use common::proto::directory::DirectoryRequest;

use crate::kv::Actor;
use crate::members::Roster;

/// Somebody who was found to be allowed.
pub trait Authorized: Copy + Send + Sync + 'static {
    /// As the journal names him.
    fn actor(self) -> Actor;
}

/// The kinds of actors in the journal. Append-only.
mod kind {
    pub(super) const DIRECTORY: u8 = 1;
    pub(super) const PEER: u8 = 2;
    pub(super) const DEVICE: u8 = 3;
    pub(super) const ADMIN: u8 = 4;
    pub(super) const JOINER: u8 = 5;
    pub(super) const GUEST: u8 = 6;
}

/// A device, acting for its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfAccount {
    account: AccountId,
    device: DeviceId,
}

impl OfAccount {
    #[must_use]
    pub fn account(self) -> AccountId {
        self.account
    }

    #[must_use]
    pub fn device(self) -> DeviceId {
        self.device
    }

    #[cfg(test)]
    pub(crate) fn test(account: AccountId, device: DeviceId) -> Self {
        Self { account, device }
    }
}

impl Authorized for OfAccount {
    fn actor(self) -> Actor {
        Actor { kind: kind::DEVICE, id: self.device.0 }
    }
}

/// A peer, for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfPeer(PeerId);

impl OfPeer {
    #[must_use]
    pub fn peer(self) -> PeerId {
        self.0
    }
}

impl Authorized for OfPeer {
    fn actor(self) -> Actor {
        Actor { kind: kind::PEER, id: self.0.0 }
    }
}

/// An operator's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfAdmin(DeviceId);

impl OfAdmin {
    /// Whoever holds the data folder's lock is the operator.
    #[must_use]
    pub fn local() -> Self {
        Self(DeviceId([0; 16]))
    }
}

impl Authorized for OfAdmin {
    fn actor(self) -> Actor {
        Actor { kind: kind::ADMIN, id: self.0.0 }
    }
}

/// Somebody with a ticket, whose proof is checked by the operation itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joiner(pub common::id::TicketId);

impl Authorized for Joiner {
    fn actor(self) -> Actor {
        Actor { kind: kind::JOINER, id: self.0.0 }
    }
}

/// Whoever reads what was shared: a device of any account, or a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfReader {
    reader: DeviceId,
    share: Option<ShareId>,
}

impl OfReader {
    #[must_use]
    pub fn reader(self) -> DeviceId {
        self.reader
    }

    /// The only share that a guest may read through.
    #[must_use]
    pub fn share(self) -> Option<ShareId> {
        self.share
    }

    #[cfg(test)]
    pub(crate) fn test(reader: DeviceId, share: Option<ShareId>) -> Self {
        Self { reader, share }
    }
}

impl Authorized for OfReader {
    fn actor(self) -> Actor {
        let kind = if self.share.is_some() { kind::GUEST } else { kind::DEVICE };
        Actor { kind, id: self.reader.0 }
    }
}

/// Somebody with a link, whose proof is checked by the operation itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestToBe(pub ShareId);

impl Authorized for GuestToBe {
    fn actor(self) -> Actor {
        Actor { kind: kind::GUEST, id: self.0.0 }
    }
}

/// The directory itself: janitor and liveness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Itself;

impl Authorized for Itself {
    fn actor(self) -> Actor {
        Actor { kind: kind::DIRECTORY, id: [0; 16] }
    }
}

/// Who may end history of an account: its devices, and the directory itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeper {
    account: AccountId,
    actor: Actor,
}

impl Keeper {
    #[must_use]
    pub fn account(self) -> AccountId {
        self.account
    }

    /// The directory, for one account after the other.
    #[must_use]
    pub fn itself(_: Itself, account: AccountId) -> Self {
        Self { account, actor: Itself.actor() }
    }
}

impl From<OfAccount> for Keeper {
    fn from(who: OfAccount) -> Self {
        Self { account: who.account, actor: who.actor() }
    }
}

impl Authorized for Keeper {
    fn actor(self) -> Actor {
        self.actor
    }
}

/// Whether a role may make a request at all: the table.
#[must_use]
pub fn may(role: Role, request: &DirectoryRequest) -> bool {
    match request {
        DirectoryRequest::Hello(_) | DirectoryRequest::GetMap(_) => {
            matches!(role, Role::Peer | Role::Client | Role::Admin | Role::Guest)
        }
        DirectoryRequest::Renew(_) => matches!(role, Role::Peer | Role::Client),
        DirectoryRequest::GetStatus(_) => matches!(role, Role::Client | Role::Admin),
        DirectoryRequest::LookUp(_)
        | DirectoryRequest::List(_)
        | DirectoryRequest::MakeFolders(_)
        | DirectoryRequest::Rename(_)
        | DirectoryRequest::Remove(_)
        | DirectoryRequest::ReadManifests(_)
        | DirectoryRequest::FindMoment(_)
        | DirectoryRequest::ReadHistory(_)
        | DirectoryRequest::Begin(_)
        | DirectoryRequest::Extend(_)
        | DirectoryRequest::Ask(_)
        | DirectoryRequest::AskContents(_)
        | DirectoryRequest::ListVersions(_)
        | DirectoryRequest::SwapPages(_)
        | DirectoryRequest::RotateKey(_)
        | DirectoryRequest::ListStale(_)
        | DirectoryRequest::Reseal(_)
        | DirectoryRequest::SettleKey(_)
        | DirectoryRequest::NoteConflict(_)
        | DirectoryRequest::Register(_)
        | DirectoryRequest::PutPages(_)
        | DirectoryRequest::Publish(_)
        | DirectoryRequest::Abandon(_)
        | DirectoryRequest::SetRedundancy(_)
        | DirectoryRequest::CreateSnapshot(_)
        | DirectoryRequest::ListSnapshots(_)
        | DirectoryRequest::GetSnapshot(_)
        | DirectoryRequest::RemoveSnapshot(_)
        | DirectoryRequest::PlanPrune(_)
        | DirectoryRequest::Prune(_)
        | DirectoryRequest::MeasureSpace(_)
        | DirectoryRequest::GetUsage(_)
        | DirectoryRequest::NewShare(_)
        | DirectoryRequest::ListShares(_)
        | DirectoryRequest::RevokeShare(_)
        | DirectoryRequest::ShowVersion(_) => role == Role::Client,
        DirectoryRequest::OpenShare(_) | DirectoryRequest::ListShared(_) | DirectoryRequest::ReadShared(_) => {
            matches!(role, Role::Client | Role::Guest)
        }
        DirectoryRequest::Heartbeat(_) => role == Role::Peer,
        DirectoryRequest::NewTicket(_)
        | DirectoryRequest::Revoke(_)
        | DirectoryRequest::DrainPeer(_)
        | DirectoryRequest::RemovePeer(_)
        | DirectoryRequest::Reconcile(_)
        | DirectoryRequest::CheckStore(_)
        | DirectoryRequest::ListAccounts(_)
        | DirectoryRequest::SetQuota(_) => role == Role::Admin,
    }
}

/// Checks a request against the table and the revoked.
///
/// # Errors
/// [`Refusal::Revoked`], or [`Refusal::WrongRole`].
pub fn check(subject: &Subject, role: Role, request: &DirectoryRequest, roster: &Roster) -> Result<(), Refusal> {
    standing(subject, roster)?;
    if may(role, request) { Ok(()) } else { Err(Refusal::WrongRole) }
}

/// Whether somebody is known and not revoked.
///
/// # Errors
/// [`Refusal::Revoked`].
pub fn standing(subject: &Subject, roster: &Roster) -> Result<(), Refusal> {
    let id = match subject {
        Subject::Peer(peer) => peer.0,
        Subject::Client { device, .. } => device.0,
        // A guest is held to its share with every request.
        Subject::Directory | Subject::Admin(_) | Subject::Guest { .. } => return Ok(()),
    };
    if roster.is_revoked(&id) { Err(Refusal::Revoked) } else { Ok(()) }
}

/// # Errors
/// [`Refusal::WrongRole`] unless it is a device; likewise for those that follow.
pub fn of_account(subject: &Subject) -> Result<OfAccount, Refusal> {
    match *subject {
        Subject::Client { device, account } => Ok(OfAccount { account, device }),
        Subject::Directory | Subject::Peer(_) | Subject::Admin(_) | Subject::Guest { .. } => Err(Refusal::WrongRole),
    }
}

/// # Errors
/// [`Refusal::WrongRole`] unless it is a device or a guest.
pub fn of_reader(subject: &Subject) -> Result<OfReader, Refusal> {
    match *subject {
        Subject::Client { device, .. } => Ok(OfReader { reader: device, share: None }),
        Subject::Guest { guest, share } => Ok(OfReader { reader: guest, share: Some(share) }),
        Subject::Directory | Subject::Peer(_) | Subject::Admin(_) => Err(Refusal::WrongRole),
    }
}

/// # Errors
/// As above.
pub fn of_peer(subject: &Subject) -> Result<OfPeer, Refusal> {
    match *subject {
        Subject::Peer(peer) => Ok(OfPeer(peer)),
        Subject::Directory | Subject::Client { .. } | Subject::Admin(_) | Subject::Guest { .. } => {
            Err(Refusal::WrongRole)
        }
    }
}

/// # Errors
/// As above.
pub fn of_admin(subject: &Subject) -> Result<OfAdmin, Refusal> {
    match *subject {
        Subject::Admin(session) => Ok(OfAdmin(session)),
        Subject::Directory | Subject::Client { .. } | Subject::Peer(_) | Subject::Guest { .. } => {
            Err(Refusal::WrongRole)
        }
    }
}

#[cfg(test)]
mod tests;
