//! Dispatch: which part of the service answers which request.

use std::sync::Arc;

use common::identity::Subject;
use common::proto::directory::*;
use common::proto::{Refusal, Request};
use common::transport::{CallError, Caller, Responder};

use super::{Service, reply};
use crate::authorize::{self, OfAccount};
use crate::transact::Operation;
use crate::work::{check, reconcile};

impl Service {
    pub(super) async fn dispatch(
        self: &Arc<Self>,
        subject: &Subject,
        request: DirectoryRequest,
        caller: &Caller,
        responder: Responder,
    ) -> Result<(), CallError> {
        type Asked = DirectoryRequest;
        match request {
            Asked::Hello(r) => reply::<Hello>(responder, self.hello(subject, &r).await).await,
            Asked::GetMap(r) => reply::<GetMap>(responder, Ok(MapAnswer { map: self.map(r.have) })).await,
            Asked::Renew(r) => {
                let renewed = self.keys.certify(&r.request, *subject, self.certificates.now());
                reply::<Renew>(responder, renewed.map(|certificate| Renewed { certificate })).await
            }
            Asked::GetStatus(_) => reply::<GetStatus>(responder, self.status(subject).await).await,
            Asked::LookUp(r) => self.plain(responder, subject, r).await,
            Asked::List(r) => self.plain(responder, subject, r).await,
            Asked::MakeFolders(r) => self.plain(responder, subject, r).await,
            Asked::Rename(r) => self.plain(responder, subject, r).await,
            Asked::Remove(r) => self.plain(responder, subject, r).await,
            Asked::ReadManifests(r) => self.plain(responder, subject, r).await,
            Asked::FindMoment(r) => self.plain(responder, subject, r).await,
            Asked::ReadHistory(r) => self.plain(responder, subject, r).await,
            Asked::Begin(r) => {
                let begun = self.for_account(subject, &r).await.and_then(|granted| self.begun(granted));
                reply::<Begin>(responder, begun).await
            }
            Asked::Extend(r) => {
                let begun = self.for_account(subject, &r).await.and_then(|granted| self.begun(granted));
                reply::<Extend>(responder, begun).await
            }
            Asked::Ask(r) => self.plain(responder, subject, r).await,
            Asked::AskContents(r) => self.plain(responder, subject, r).await,
            Asked::ListVersions(r) => self.plain(responder, subject, r).await,
            Asked::SwapPages(r) => self.plain(responder, subject, r).await,
            Asked::RotateKey(r) => {
                let done = async { self.rotate_key(&r, authorize::of_account(subject)?).await };
                reply::<RotateKey>(responder, done.await).await
            }
            Asked::ListStale(r) => self.plain(responder, subject, r).await,
            Asked::Reseal(r) => self.plain(responder, subject, r).await,
            Asked::SettleKey(r) => {
                let done = async { self.settle_key(&r, authorize::of_account(subject)?).await };
                reply::<SettleKey>(responder, done.await).await
            }
            Asked::NoteConflict(r) => self.plain(responder, subject, r).await,
            Asked::Register(r) => self.plain(responder, subject, r).await,
            Asked::PutPages(r) => {
                let done = match authorize::of_account(subject) {
                    Ok(who) => self.put_pages(r, who).await,
                    Err(refusal) => Err(refusal),
                };
                reply::<PutPages>(responder, done).await
            }
            Asked::Publish(r) => self.plain(responder, subject, r).await,
            Asked::Abandon(r) => self.plain(responder, subject, r).await,
            Asked::CreateSnapshot(r) => {
                let done = async { self.create_snapshot(&r, authorize::of_account(subject)?).await };
                reply::<CreateSnapshot>(responder, done.await).await
            }
            Asked::ListSnapshots(r) => self.plain(responder, subject, r).await,
            Asked::GetSnapshot(r) => self.plain(responder, subject, r).await,
            Asked::RemoveSnapshot(r) => {
                let done = async { self.remove_snapshot(&r, authorize::of_account(subject)?).await };
                reply::<RemoveSnapshot>(responder, done.await).await
            }
            Asked::PlanPrune(r) => {
                let plan = async { self.plan_prune(&r, authorize::of_account(subject)?).await };
                reply::<PlanPrune>(responder, plan.await).await
            }
            Asked::Prune(r) => {
                let pruned = async { self.prune(&r, authorize::of_account(subject)?).await };
                reply::<Prune>(responder, pruned.await).await
            }
            Asked::MeasureSpace(r) => self.plain(responder, subject, r).await,
            Asked::GetUsage(r) => {
                let usage = async { self.usage(&r, authorize::of_account(subject)?).await };
                reply::<GetUsage>(responder, usage.await).await
            }
            Asked::ListAccounts(r) => {
                let accounts = async { self.run(&r, authorize::of_admin(subject)?).await };
                reply::<ListAccounts>(responder, accounts.await).await
            }
            Asked::SetQuota(r) => {
                let done = async { self.set_quota(&r, authorize::of_admin(subject)?).await };
                reply::<SetQuota>(responder, done.await).await
            }
            Asked::Heartbeat(r) => {
                let seen_at = caller.connection.remote().to_string();
                let answer = match authorize::of_peer(subject) {
                    Ok(who) => self.heartbeat(who, &r, &seen_at).await,
                    Err(refusal) => Err(refusal),
                };
                reply::<Heartbeat>(responder, answer).await
            }
            Asked::NewTicket(r) => {
                let made = match authorize::of_admin(subject) {
                    Ok(who) => self.new_ticket(r, who).await,
                    Err(refusal) => Err(refusal),
                };
                reply::<NewTicket>(responder, made).await
            }
            Asked::SetRedundancy(r) => {
                let done = match authorize::of_account(subject) {
                    Ok(who) => self.set_redundancy(&r, who).await,
                    Err(refusal) => Err(refusal),
                };
                reply::<SetRedundancy>(responder, done).await
            }
            Asked::Revoke(r) => {
                let done = async { self.revoke(&r, authorize::of_admin(subject)?).await };
                reply::<Revoke>(responder, done.await).await
            }
            Asked::DrainPeer(r) => {
                let done = async { self.drain(&r, authorize::of_admin(subject)?).await };
                reply::<DrainPeer>(responder, done.await).await
            }
            Asked::RemovePeer(r) => {
                let done = async { self.remove(&r, authorize::of_admin(subject)?).await };
                reply::<RemovePeer>(responder, done.await).await
            }
            Asked::Reconcile(r) => {
                let done = async { reconcile::reconcile(self, authorize::of_admin(subject)?, r.dry_run).await };
                reply::<Reconcile>(responder, done.await).await
            }
            Asked::CheckStore(r) => {
                let checked = async {
                    authorize::of_admin(subject)?;
                    check::check(self, r.repair, r.deep).await
                };
                reply::<CheckStore>(responder, checked.await).await
            }
            Asked::NewShare(r) => {
                let made = async { self.new_share(&r, authorize::of_account(subject)?).await };
                reply::<NewShare>(responder, made.await).await
            }
            Asked::ListShares(r) => self.plain(responder, subject, r).await,
            Asked::RevokeShare(r) => {
                let done = async { self.revoke_share(&r, authorize::of_account(subject)?).await };
                reply::<RevokeShare>(responder, done.await).await
            }
            Asked::ShowVersion(r) => self.plain(responder, subject, r).await,
            Asked::OpenShare(r) => {
                let opened = async { self.open_share(&r, authorize::of_reader(subject)?).await };
                reply::<OpenShare>(responder, opened.await).await
            }
            Asked::ListShared(r) => {
                let listed = async { self.of_share(&r, r.share, authorize::of_reader(subject)?).await };
                reply::<ListShared>(responder, listed.await).await
            }
            Asked::ReadShared(r) => {
                let read = async { self.read_shared(&r, authorize::of_reader(subject)?).await };
                reply::<ReadShared>(responder, read.await).await
            }
        }
    }

    async fn for_account<O: Operation<Who = OfAccount>>(
        &self,
        subject: &Subject,
        operation: &O,
    ) -> Result<O::Answer, Refusal> {
        self.run(operation, authorize::of_account(subject)?).await
    }

    /// A request that is an operation of an account, and answered with what that decides.
    async fn plain<R>(&self, responder: Responder, subject: &Subject, request: R) -> Result<(), CallError>
    where
        R: Request + Operation<Who = OfAccount, Answer = <R as Request>::Response>,
    {
        reply::<R>(responder, self.for_account(subject, &request).await).await
    }
}
