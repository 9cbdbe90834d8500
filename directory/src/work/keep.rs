//! Keep: releases what pruned versions referred to, and prunes by the cluster's own policy, slowly, where there is one.
//!
//! Nothing is remembered but when it was done last: a pass that was broken off is made anew. While the store is fenced nothing is done.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use common::id::{AccountId, RequestId};
use common::keep::KeepPolicy;
use common::proto::Refusal;
use common::proto::directory::{Prune, PruneCounts, PruneCursor};
use common::telemetry;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::authorize::{Itself, Keeper};
use crate::op::keep::Plan;
use crate::op::let_go::LetGo;
use crate::schema::key;
use crate::service::Service;
use crate::status::{CountError, each};

/// Between two steps of a pass: it is in no hurry.
const PAUSE: Duration = Duration::from_millis(20);
/// Steps of releasing for one account in a round.
const STEPS: usize = 64;
/// Accounts whose releases are looked at in one round.
const ACCOUNTS: usize = 1_024;

#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error("it was refused: {0}")]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Read(#[from] CountError),
}

/// Releases and prunes until dropped.
pub async fn run(service: Arc<Service>) {
    let mut round = interval(service.work.settings.round);
    round.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pruned = Instant::now();
    loop {
        round.tick().await;
        if service.work.is_fenced() {
            continue;
        }
        if let Err(error) = release(&service).await {
            tracing::warn!(error = telemetry::chain(&error), "nothing was released; tried again");
        }
        let due = pruned.elapsed() >= service.work.settings.prune_every;
        if let Some(policy) = service.work.settings.keep.filter(|_| due) {
            if let Err(error) = prune_all(&service, policy).await {
                tracing::warn!(error = telemetry::chain(&error), "history was not pruned to its end; tried again");
            }
            pruned = Instant::now();
        }
    }
}

async fn release(service: &Service) -> Result<(), KeepError> {
    let mut accounts = BTreeSet::new();
    each(service.store.as_ref(), &key::all_going(), |key, _| {
        let (account, _) = key::ids_of_version(key)?;
        if accounts.len() < ACCOUNTS {
            accounts.insert(account);
        }
        Ok(())
    })
    .await?;
    for account in accounts {
        for _ in 0..STEPS {
            if !service.run(&LetGo {}, Keeper::itself(Itself, account)).await?.more {
                break;
            }
        }
    }
    Ok(())
}

async fn prune_all(service: &Service, policy: KeepPolicy) -> Result<(), KeepError> {
    let mut accounts = Vec::new();
    each(service.store.as_ref(), &key::accounts(), |key, _| {
        accounts.extend(key.get(1..).and_then(AccountId::from_slice));
        Ok(())
    })
    .await?;
    for account in accounts {
        let who = Keeper::itself(Itself, account);
        let retention = service.run(&Plan { policy }, who).await?.retention;
        let (mut cursor, mut counts) = (PruneCursor::default(), PruneCounts::default());
        loop {
            let step = Prune { request: RequestId::random(), retention: retention.clone(), dry_run: false, cursor };
            let done = service.run(&step, who).await?;
            counts.add(&done.counts);
            let Some(next) = done.next else { break };
            cursor = next;
            sleep(PAUSE).await;
        }
        if counts.versions + counts.entries > 0 {
            let PruneCounts { entries, versions, sealed_bytes, .. } = counts;
            tracing::info!(account = account.short(), entries, versions, sealed_bytes, "history was pruned by policy");
        }
    }
    Ok(())
}
