//! Tickets: making one, and the account that it is for when there is none of that name yet.

use std::time::Duration;

use common::id::{AccountId, NodeId, TicketId};
use common::proto::Refusal;
use common::proto::directory::TicketRole;
use common::proto::parts::Label;
use common::proto::refusal::What;
use common::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Context, tree};
use crate::authorize::OfAdmin;
use crate::schema::account::Named;
use crate::schema::{Account, Node, Ticket, key, ticket::Role};
use crate::transact::{Operation, Stop, Txn};

/// Whom a ticket for a device is for when no account was named.
pub const DEFAULT_ACCOUNT: &str = "default";
/// How often one ticket may be used.
pub const MOST_USES: u32 = 10_000;
/// How long one ticket may be valid.
pub const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// What the request asks for, and the randomness that it takes.
#[derive(Clone, Serialize)]
pub struct MakeTicket {
    pub ticket: TicketId,
    pub verifier: [u8; 32],
    pub role: TicketRole,
    pub account: Option<Label>,
    pub uses: u32,
    pub ttl_ms: u64,
    /// For an account that has to be made.
    pub new_account: AccountId,
    pub new_root: NodeId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketNoted {
    pub expires: Timestamp,
}

impl Operation for MakeTicket {
    const NAME: &'static str = "NewTicket";
    type Who = OfAdmin;
    type Answer = TicketNoted;

    async fn decide(&self, txn: &mut Txn, _: OfAdmin, context: &Context) -> Result<TicketNoted, Stop> {
        let ttl = Duration::from_millis(self.ttl_ms);
        if self.uses == 0 || self.uses > MOST_USES || ttl.is_zero() || ttl > LONGEST {
            return Err(Refusal::TooLarge(What::Request).into());
        }
        let role = match (self.role, &self.account) {
            (TicketRole::Peer, None) => Role::Peer,
            (TicketRole::Peer, Some(_)) => return Err(Refusal::Malformed.into()),
            (TicketRole::Client, name) => Role::Client(self.account(txn, name.as_deref(), context.now).await?),
        };
        let expires = context.now.plus(ttl);
        let ticket = Ticket { verifier: self.verifier, role, uses_left: self.uses, expires };
        txn.put(&key::ticket(self.ticket), &ticket)?;
        Ok(TicketNoted { expires })
    }
}

impl MakeTicket {
    async fn account(&self, txn: &mut Txn, name: Option<&str>, now: Timestamp) -> Result<AccountId, Stop> {
        let name = name.unwrap_or(DEFAULT_ACCOUNT);
        let plain = !name.is_empty() && name.trim() == name && !name.contains(char::is_control);
        let label = Label::try_from(name.to_owned()).ok().filter(|_| plain).ok_or(Refusal::Malformed)?;
        if let Some(found) = txn.read(&key::account_name(name)).await? {
            return Ok(found.record.account);
        }
        let account = Account { name: label, root: self.new_root, key_check: None, made: now };
        txn.put(&key::account_name(name), &Named { account: self.new_account })?;
        txn.put(&key::account(self.new_account), &account)?;
        txn.put(&key::node(self.new_account, self.new_root), &Node::Folder { parent: None })?;
        tree::note_change(txn, self.new_account, now)?;
        Ok(self.new_account)
    }
}
