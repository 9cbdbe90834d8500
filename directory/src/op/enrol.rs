//! Enrolment: a ticket becomes a peer, or a device of an account. Counting the use and making the member are one commit.

use common::id::{AccountId, DeviceId, PeerId};
use common::identity::enrolment;
use common::proto::Refusal;
use common::proto::enroll::EnrolledAccount;
use common::proto::parts::{Addresses, Label};
use common::proto::refusal::{TicketFault, What};
use serde::{Deserialize, Serialize};

use super::Context;
use crate::authorize::Joiner;
use crate::schema::{Device, Peer, Ticket, key, ticket::Role};
use crate::transact::{Operation, Stop, Txn};

/// What was asked, in which TLS session, and the id for whoever enrols.
#[derive(Clone, Serialize)]
pub struct Enrol {
    pub proof: [u8; 32],
    pub exporter: [u8; 32],
    /// The signing request, as it was sent.
    pub signing_request: Vec<u8>,
    pub label: Label,
    pub key_check: Option<[u8; 32]>,
    pub id: [u8; 16],
}

/// Who somebody is from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Admitted {
    Peer(PeerId, Peer),
    Device(DeviceId, EnrolledAccount),
}

impl Operation for Enrol {
    const NAME: &'static str = "Enroll";
    type Who = Joiner;
    type Answer = Admitted;

    async fn decide(&self, txn: &mut Txn, who: Joiner, context: &Context) -> Result<Admitted, Stop> {
        let key = key::ticket(who.0);
        let ticket = txn.read(&key).await?.ok_or(Refusal::Ticket(TicketFault::Unknown))?.record;
        // Without the right proof one learns nothing of a ticket, not even whether it was used.
        if !enrolment::proves(&ticket.verifier, &self.exporter, &self.signing_request, &self.proof) {
            return Err(Refusal::Ticket(TicketFault::Unknown).into());
        }
        if ticket.expires < context.now {
            return Err(Refusal::Ticket(TicketFault::Expired(ticket.expires)).into());
        }
        let uses_left = ticket.uses_left.checked_sub(1).ok_or(Refusal::Ticket(TicketFault::Used))?;
        let admitted = match (ticket.role, self.key_check) {
            (Role::Peer, None) => self.peer(txn, context)?,
            (Role::Client(account), Some(check)) => self.device(txn, account, check, context).await?,
            (Role::Peer, Some(_)) | (Role::Client(_), None) => {
                return Err(Refusal::Ticket(TicketFault::OtherRole).into());
            }
        };
        txn.put(&key, &Ticket { uses_left, ..ticket })?;
        Ok(admitted)
    }
}

impl Enrol {
    fn peer(&self, txn: &mut Txn, context: &Context) -> Result<Admitted, Stop> {
        let id = PeerId(self.id);
        let peer = Peer {
            draining: false,
            label: self.label.clone(),
            zone: Label::default(),
            capacity: 0,
            addresses: Addresses::empty(),
            writable: false,
            enrolled: context.now,
            revoked: None,
        };
        txn.put(&key::peer(id), &peer)?;
        Ok(Admitted::Peer(id, peer))
    }

    async fn device(
        &self,
        txn: &mut Txn,
        account: AccountId,
        check: [u8; 32],
        context: &Context,
    ) -> Result<Admitted, Stop> {
        let mut record = txn.read(&key::account(account)).await?.ok_or(Refusal::NotFound(What::Account))?.record;
        let first = record.key_check.is_none();
        if first {
            record.key_check = Some(check);
            txn.put(&key::account(account), &record)?;
        } else if record.key_check != Some(check) {
            return Err(Refusal::OtherKey.into());
        }
        let id = DeviceId(self.id);
        let device = Device { account, label: self.label.clone(), enrolled: context.now, revoked: None };
        txn.put(&key::device(id), &device)?;
        Ok(Admitted::Device(id, EnrolledAccount { account, name: record.name, root: record.root, first }))
    }
}
