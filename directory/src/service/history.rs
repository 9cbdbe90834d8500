//! History: what the service adds to pruning, snapshots, quotas and other keys: the cluster's own policy, and the events.

use common::proto::Refusal;
use common::proto::directory::*;

use super::Service;
use crate::authorize::{OfAccount, OfAdmin};
use crate::op::keep::Plan;

impl Service {
    pub(super) async fn plan_prune(&self, request: &PlanPrune, who: OfAccount) -> Result<PrunePlan, Refusal> {
        let plan = Plan::of(request, self.work.settings.keep)?;
        let (account, policy) = (who.account(), plan.policy);
        tracing::info!(account = account.short(), %policy, "pruning was planned");
        self.run(&plan, who.into()).await
    }

    pub(super) async fn prune(&self, request: &Prune, who: OfAccount) -> Result<Pruned, Refusal> {
        if self.work.is_fenced() && !request.dry_run {
            return Err(Refusal::Fenced);
        }
        let pruned = self.run(request, who.into()).await?;
        let PruneCounts { entries, versions, sealed_bytes, .. } = pruned.counts;
        if !request.dry_run && entries + versions > 0 {
            tracing::info!(account = who.account().short(), entries, versions, sealed_bytes, "history was pruned");
        }
        Ok(pruned)
    }

    pub(super) async fn usage(&self, request: &GetUsage, who: OfAccount) -> Result<AccountUsage, Refusal> {
        Ok(AccountUsage { keep: self.work.settings.keep, ..self.run(request, who).await? })
    }

    pub(super) async fn create_snapshot(
        &self,
        request: &CreateSnapshot,
        who: OfAccount,
    ) -> Result<SnapshotMade, Refusal> {
        let made = self.run(request, who).await?;
        let (account, device) = (who.account(), who.device());
        tracing::info!(account = account.short(), device = device.short(), made.sequence, "snapshot made");
        Ok(made)
    }

    pub(super) async fn remove_snapshot(&self, request: &RemoveSnapshot, who: OfAccount) -> Result<Done, Refusal> {
        let done = self.run(request, who).await?;
        tracing::info!(account = who.account().short(), device = who.device().short(), "snapshot removed");
        Ok(done)
    }

    pub(super) async fn rotate_key(&self, request: &RotateKey, who: OfAccount) -> Result<KeyRotated, Refusal> {
        let rotated = self.run(request, who).await?;
        let (account, device, key) = (who.account(), who.device(), request.key);
        tracing::info!(
            account = account.short(),
            device = device.short(),
            key,
            shares_ended = rotated.ended,
            "key rotated"
        );
        Ok(rotated)
    }

    pub(super) async fn settle_key(&self, request: &SettleKey, who: OfAccount) -> Result<Done, Refusal> {
        let done = self.run(request, who).await?;
        tracing::info!(account = who.account().short(), key = request.key, "nothing is left under the key before");
        Ok(done)
    }

    /// Changes what an account may use.
    ///
    /// # Errors
    /// When there is no account of this name.
    pub async fn set_quota(&self, request: &SetQuota, who: OfAdmin) -> Result<Done, Refusal> {
        self.run(request, who).await
    }
}
