//! Janitor: what has to happen without being asked: liveness, expiry, release, marks of time, and the directory's own certificate.
//!
//! Every step is a small commit; a step that fails is tried again in the next round, and said.

use std::sync::Arc;
use std::time::Duration;

use common::proto::Refusal;
use common::telemetry;
use common::time::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::authorize::Itself;
use crate::op::expire::{EndExpired, ForgetDone, ForgetTicket, MarkMoment, Release, is_forgotten};
use crate::schema::{Pending, Ticket, key, record};
use crate::service::Service;
use crate::status::{CountError, each};

/// How long an answer is remembered for a repeated request.
const DONE_KEPT: Duration = Duration::from_secs(24 * 3600);
const ROUND: Duration = Duration::from_secs(1);
/// A mark of time at most so often, and only when something was committed since the last.
const MOMENT: Duration = Duration::from_secs(10);
const SWEEP: Duration = Duration::from_secs(600);
const RENEW: Duration = Duration::from_secs(24 * 3600);
/// Steps of one kind in a round, so that the others have their turn.
const STEPS: usize = 64;

/// Watches over liveness until dropped.
pub async fn watch(service: Arc<Service>) {
    let times = service.members.cluster().times;
    let mut tick = interval((times.suspect_after.min(times.heartbeat) / 4).max(Duration::from_millis(20)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        service.members.tick(service.now());
    }
}

/// Cleans up until dropped.
pub async fn clean(service: Arc<Service>) {
    let mut round = interval(ROUND);
    round.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut marked, mut moment_at) = (service.store.last_sequence(), Instant::now());
    let (mut swept, mut renewed) = (None, Instant::now());
    loop {
        round.tick().await;
        report("releasing uploads", uploads(&service).await);
        let sequence = service.store.last_sequence();
        if sequence > marked && moment_at.elapsed() >= MOMENT {
            report("marking the time", service.run(&MarkMoment {}, Itself).await.map_err(CleanError::from));
            (marked, moment_at) = (service.store.last_sequence(), Instant::now());
        }
        if swept.is_none_or(|at: Instant| at.elapsed() >= SWEEP) {
            report("forgetting answers", answers(&service).await);
            report("forgetting tickets", tickets(&service).await);
            swept = Some(Instant::now());
        }
        if renewed.elapsed() >= RENEW {
            let done = service.keys.renew_own(&service.credentials, service.certificates.now());
            report("renewing the certificate", done);
            renewed = Instant::now();
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum CleanError {
    #[error("it was refused: {0}")]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Count(#[from] CountError),
}

fn report<T, E: std::error::Error + 'static>(what: &'static str, done: Result<T, E>) {
    if let Err(error) = done {
        tracing::warn!(what, error = telemetry::chain(&error), "will be tried again");
    }
}

/// Ends uploads that expired, and releases those that ended.
async fn uploads(service: &Service) -> Result<(), CleanError> {
    let now = service.clock.now();
    let mut due = Vec::new();
    each(service.store.as_ref(), &key::all_pending(), |key, value| {
        let pending: Pending = record::decode(value)?;
        if due.len() < STEPS && (pending.ending || pending.expires < now) {
            due.push((key::ids_of_pending(key)?, pending.ending));
        }
        Ok(())
    })
    .await?;
    for ((account, upload), ending) in due {
        if !ending {
            tracing::info!(upload = upload.short(), "an upload expired");
            service.run(&EndExpired { account, upload }, Itself).await?;
        }
        for _ in 0..STEPS {
            if !service.run(&Release { account, upload }, Itself).await?.more {
                break;
            }
        }
    }
    Ok(())
}

async fn answers(service: &Service) -> Result<(), CleanError> {
    let kept = u64::try_from(DONE_KEPT.as_millis()).unwrap_or(u64::MAX);
    let before = Timestamp(service.clock.now().0.saturating_sub(kept));
    while service.run(&ForgetDone { before }, Itself).await?.more {}
    Ok(())
}

async fn tickets(service: &Service) -> Result<(), CleanError> {
    let now = service.clock.now();
    let mut old = Vec::new();
    each(service.store.as_ref(), &key::tickets(), |key, value| {
        let ticket: Ticket = record::decode(value)?;
        if old.len() < STEPS && is_forgotten(&ticket, now) {
            old.push(key::id_of_ticket(key)?);
        }
        Ok(())
    })
    .await?;
    for ticket in old {
        service.run(&ForgetTicket { ticket }, Itself).await?;
    }
    Ok(())
}
