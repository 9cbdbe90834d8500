//! Shares: making, listing and ending them, by the account whose they are; and a guest's enrolment.
//!
//! The directory learns which node is shared and until when. What opens it is in the link, which never comes here.

use std::time::Duration;

use common::id::{AccountId, RequestId, ShareId};
use common::limits::{LIST_SHARES, SHARES};
use common::proto::Refusal;
use common::proto::directory::Done;
use common::proto::parts::VersionView;
use common::proto::refusal::{ShareFault, What};
use common::proto::share::{ListShares, NewShare, RevokeShare, ShareMade, ShareTarget, ShareView, Shares, ShowVersion};
use common::share;
use common::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::look::version_view;
use super::{Context, rekey};
use crate::authorize::{GuestToBe, OfAccount, OfReader};
use crate::schema::share::Guests;
use crate::schema::{Mark, Node, Share, key};
use crate::transact::{Operation, Stop, Txn};

/// How long one share may hold at most; one without an end holds until it is revoked.
pub const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
/// How many guests one share may enrol at most.
pub const MOST_GUESTS: u32 = 100_000;
/// So long after its end a share is still told of.
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 3600);
/// Shares that ended long ago and are forgotten when a new one is made.
const FORGOTTEN_AT_ONCE: usize = 64;

impl Operation for NewShare {
    const NAME: &'static str = "NewShare";
    type Who = OfAccount;
    type Answer = ShareMade;

    fn request(&self) -> Option<RequestId> {
        Some(self.request)
    }

    async fn decide(&self, txn: &mut Txn, who: OfAccount, context: &Context) -> Result<ShareMade, Stop> {
        let account = who.account();
        let longest = u64::try_from(LONGEST.as_millis()).unwrap_or(u64::MAX);
        if self.ttl_ms.is_some_and(|ttl| ttl > longest) || self.guests.is_some_and(|guests| guests > MOST_GUESTS) {
            return Err(Refusal::TooLarge(What::Request).into());
        }
        rekey::check(txn, account, [&*self.sealed]).await?;
        check_target(txn, account, self.target).await?;
        make_room(txn, account, context.now).await?;
        if txn.read(&key::share(self.share)).await?.is_some() {
            return Err(Refusal::Exists(What::Request).into());
        }
        let expires = self.ttl_ms.map(|ttl| context.now.plus(Duration::from_millis(ttl)));
        let record = Share {
            account,
            target: self.target,
            verifier: self.verifier,
            device: who.device(),
            made: context.now,
            expires,
            revoked: None,
            guests: self.guests,
            sealed: self.sealed.clone(),
        };
        txn.put(&key::share(self.share), &record)?;
        txn.put(&key::share_of(account, self.share), &Mark {})?;
        Ok(ShareMade { expires })
    }
}

/// What is shared must be there, and of the kind that the request says.
async fn check_target(txn: &mut Txn, account: AccountId, target: ShareTarget) -> Result<(), Stop> {
    let (ShareTarget::Folder(node) | ShareTarget::File(node) | ShareTarget::Version(node, _)) = target;
    if let ShareTarget::Version(_, version) = target {
        let found = txn.peek(&key::version(account, version)).await?;
        let of_it = found.is_some_and(|found| found.record.node == node);
        return if of_it { Ok(()) } else { Err(Refusal::NotFound(What::Version).into()) };
    }
    match (target, txn.peek(&key::node(account, node)).await?.map(|found| found.record)) {
        (ShareTarget::Folder(_), Some(Node::Folder { .. })) | (ShareTarget::File(_), Some(Node::File { .. })) => Ok(()),
        (ShareTarget::Folder(_), Some(Node::File { .. })) => Err(Refusal::NotAFolder.into()),
        (_, Some(Node::Folder { .. })) => Err(Refusal::IsAFolder.into()),
        _ => Err(Refusal::NotFound(What::Node).into()),
    }
}

/// Refuses what is beyond the limit, and forgets shares that ended long ago.
async fn make_room(txn: &mut Txn, account: AccountId, now: Timestamp) -> Result<(), Stop> {
    let page = txn.scan(&key::shares_of(account), SHARES).await?;
    let ids = page.entries.iter().map(|entry| key::id_of_share(&entry.key)).collect::<Result<Vec<_>, _>>()?;
    let keys: Vec<_> = ids.iter().map(|id| key::share(*id)).collect();
    let (mut there, mut forgotten) = (ids.len(), 0);
    for (id, found) in ids.into_iter().zip(txn.peek_all(&keys).await?) {
        let ended = found.and_then(|found| ended(&found.record));
        if ended.is_some_and(|ended| ended.plus(REMEMBERED) < now) && forgotten < FORGOTTEN_AT_ONCE {
            txn.delete(&key::share(id));
            txn.delete(&key::share_of(account, id));
            txn.delete(&key::share_guests(id));
            (there, forgotten) = (there - 1, forgotten + 1);
        }
    }
    if there >= SHARES { Err(Refusal::TooLarge(What::Account).into()) } else { Ok(()) }
}

/// When a share ended or will end.
fn ended(share: &Share) -> Option<Timestamp> {
    match (share.revoked, share.expires) {
        (Some(revoked), Some(expires)) => Some(revoked.min(expires)),
        (ended, None) | (None, ended) => ended,
    }
}

impl Operation for ListShares {
    const NAME: &'static str = "ListShares";
    type Who = OfAccount;
    type Answer = Shares;

    async fn decide(&self, txn: &mut Txn, who: OfAccount, _: &Context) -> Result<Shares, Stop> {
        let account = who.account();
        let mut range = key::shares_of(account);
        if let Some(after) = self.after {
            range = range.behind(key::share_of(account, after).bytes());
        }
        let page = txn.scan(&range, LIST_SHARES).await?;
        let mut shares = Vec::with_capacity(page.entries.len());
        for entry in &page.entries {
            let id = key::id_of_share(&entry.key)?;
            let Some(found) = txn.peek(&key::share(id)).await? else { continue };
            let enrolled = txn.peek(&key::share_guests(id)).await?.map_or(0, |found| found.record.enrolled);
            let Share { target, device, made, expires, revoked, guests, sealed, .. } = found.record;
            let guests = guests.map(|most| most.saturating_sub(enrolled));
            shares.push(ShareView { share: id, target, device, made, expires, revoked, guests, sealed });
        }
        let shares = shares.try_into().map_err(|_| Refusal::TooLarge(What::Request))?;
        Ok(Shares { shares, more: page.more })
    }
}

impl Operation for RevokeShare {
    const NAME: &'static str = "RevokeShare";
    const ESSENTIAL: bool = true;
    type Who = OfAccount;
    type Answer = Done;

    fn request(&self) -> Option<RequestId> {
        Some(self.request)
    }

    async fn decide(&self, txn: &mut Txn, who: OfAccount, context: &Context) -> Result<Done, Stop> {
        let key = key::share(self.share);
        let found = txn.read(&key).await?.filter(|found| found.record.account == who.account());
        let record = found.ok_or(Refusal::Share(ShareFault::Unknown))?.record;
        if record.revoked.is_none() {
            txn.put(&key, &Share { revoked: Some(context.now), ..record })?;
        }
        Ok(Done {})
    }
}

impl Operation for ShowVersion {
    const NAME: &'static str = "ShowVersion";
    type Who = OfAccount;
    type Answer = VersionView;

    async fn decide(&self, txn: &mut Txn, who: OfAccount, _: &Context) -> Result<VersionView, Stop> {
        version_view(txn, who.account(), self.node, self.version).await
    }
}

/// The share, if it holds now and whoever asks has its link. Without the right proof one learns nothing of it, not even that it was.
///
/// # Errors
/// [`Refusal::Share`].
pub async fn held(
    txn: &mut Txn,
    share: ShareId,
    proof: &[u8; 32],
    who: OfReader,
    context: &Context,
) -> Result<Share, Stop> {
    let unknown = || Stop::from(Refusal::Share(ShareFault::Unknown));
    let record = txn.peek(&key::share(share)).await?.ok_or_else(unknown)?.record;
    let wanted = share::proof(&record.verifier, context.cluster, who.reader());
    if !share::same(&wanted, proof) || who.share().is_some_and(|own| own != share) {
        return Err(unknown());
    }
    check_holds(&record, context.now)?;
    Ok(record)
}

fn check_holds(share: &Share, now: Timestamp) -> Result<(), Refusal> {
    if let Some(revoked) = share.revoked {
        return Err(Refusal::Share(ShareFault::Revoked(revoked)));
    }
    match share.expires {
        Some(expires) if expires <= now => Err(Refusal::Share(ShareFault::Expired(expires))),
        _ => Ok(()),
    }
}

/// Somebody with a link who has no identity yet: what was asked, and in which TLS session.
#[derive(Clone, Serialize)]
pub struct AdmitGuest {
    pub share: ShareId,
    pub proof: [u8; 32],
    pub exporter: [u8; 32],
    /// The signing request, as it was sent.
    pub signing_request: Vec<u8>,
}

/// That a guest may be certified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestAdmitted {}

impl Operation for AdmitGuest {
    const NAME: &'static str = "EnrollGuest";
    type Who = GuestToBe;
    type Answer = GuestAdmitted;

    async fn decide(&self, txn: &mut Txn, _: GuestToBe, context: &Context) -> Result<GuestAdmitted, Stop> {
        let unknown = || Stop::from(Refusal::Share(ShareFault::Unknown));
        let record = txn.read(&key::share(self.share)).await?.ok_or_else(unknown)?.record;
        let wanted = share::guest_proof(&record.verifier, &self.exporter, &self.signing_request);
        if !share::same(&wanted, &self.proof) {
            return Err(unknown());
        }
        check_holds(&record, context.now)?;
        let most = record.guests.ok_or(Refusal::Share(ShareFault::NoGuests))?;
        let key = key::share_guests(self.share);
        let enrolled = txn.read(&key).await?.map_or(0, |found| found.record.enrolled);
        if enrolled >= most {
            return Err(Refusal::Share(ShareFault::GuestsUsed).into());
        }
        txn.put(&key, &Guests { enrolled: enrolled + 1 })?;
        Ok(GuestAdmitted {})
    }
}
