//! Heartbeat: tells the directory that this peer lives, where it is and how full, and learns from the answer.
//!
//! The connection that it keeps up is also the one on which the directory's orders come back.

use std::time::Duration;

use common::proto::directory::{Heartbeat, HeartbeatAnswer};
use common::proto::parts::{Addresses, Label};
use common::proto::refusal::Retry;
use common::telemetry::chain;
use common::transport::{CallError, Link};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::config::{
    FAREWELL, HEARTBEAT_LEAST, HEARTBEAT_MOST, HEARTBEAT_REFUSED, HEARTBEAT_RETRY, HEARTBEAT_TIME, WRITABLE_FROM,
};
use crate::scrub::Progress;
use crate::service::Service;

/// What it says that does not change while it runs.
#[derive(Debug, Clone)]
pub(crate) struct Presence {
    /// Empty: where the directory sees it, which is this very socket.
    pub advertise: Addresses,
    pub label: Label,
    pub zone: Label,
    /// Where to look for the directory, beside what the cluster map says.
    pub told: Vec<String>,
    pub fallback: Vec<String>,
}

pub(crate) struct Pulse {
    pub service: Service,
    pub link: Link,
    pub presence: Presence,
    /// Where the scrubber is, and whether there is one.
    pub scrub: watch::Receiver<Progress>,
    pub scrubs: bool,
    /// Becomes true with the first answer.
    pub answered: watch::Sender<bool>,
}

impl Presence {
    /// Where to look for the directory: where we were told to, where the map says, where it was at first.
    pub(crate) fn directory(&self, of_map: Vec<String>) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for address in self.told.iter().cloned().chain(of_map).chain(self.fallback.iter().cloned()) {
            if !all.contains(&address) {
                all.push(address);
            }
        }
        all
    }
}

impl Pulse {
    /// Until told to stop; then says good-bye.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut down = false;
        loop {
            let pause = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                pause = self.beat(&mut down) => pause,
            };
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                () = sleep(jittered(pause)) => {}
            }
        }
        if !*self.answered.borrow() {
            return; // it does not know us as online
        }
        let farewell = async { self.link.call_once(&self.message(true), Vec::new(), FAREWELL).await.map(drop) };
        match timeout(FAREWELL, farewell).await {
            Ok(Ok(())) => tracing::debug!("the directory knows that this peer ends"),
            Ok(Err(error)) => tracing::debug!(error = %chain(&error), "no good-bye to the directory"),
            Err(_) => tracing::debug!("no good-bye to the directory"),
        }
    }

    /// One heartbeat; returns the pause until the next.
    async fn beat(&self, down: &mut bool) -> Duration {
        match self.link.call(&self.message(false), Vec::new(), HEARTBEAT_TIME).await {
            Ok((answer, _)) => {
                if std::mem::take(down) {
                    tracing::info!("the directory answers again");
                }
                self.learn(&answer).await;
                self.answered.send_replace(true);
                Duration::from_millis(u64::from(answer.again_ms)).clamp(HEARTBEAT_LEAST, HEARTBEAT_MOST)
            }
            Err(error) => {
                let pause = pause_after(&error);
                if std::mem::replace(down, true) {
                    return pause;
                }
                if error.retry() == Retry::Never {
                    tracing::error!(error = %chain(&error), "the directory does not take this peer; shards are served all the same");
                } else {
                    tracing::warn!(error = %chain(&error), "the directory does not answer; shards are served all the same");
                }
                pause
            }
        }
    }

    async fn learn(&self, answer: &HeartbeatAnswer) {
        match self.service.known().learn(answer).await {
            Ok(news) => {
                if news.behind {
                    let (given, known) = (answer.history.generation, self.service.known().generation());
                    tracing::error!(
                        given,
                        known,
                        "the directory is older than what this peer has seen: it was restored from an old copy, and its \
                         orders to drop shards are refused until it is reconciled"
                    );
                }
                if news.map {
                    self.link.set_addresses(self.presence.directory(self.service.known().directory()));
                    self.service.close_revoked();
                }
            }
            Err(error) => tracing::error!(error = %chain(&error), "what the directory said cannot be kept"),
        }
    }

    fn message(&self, leaving: bool) -> Heartbeat {
        let known = self.service.known();
        let usage = self.service.store().usage();
        if let Err(error) = &usage {
            tracing::error!(error = %chain(error), "the file system does not say how full it is");
        }
        let usage = usage.ok();
        let (used, free) = usage.map_or((0, 0), |usage| (usage.used, usage.free));
        let capacity = usage.and_then(|usage| usage.capacity).unwrap_or(used.saturating_add(free));
        let scrub = *self.scrub.borrow();
        Heartbeat {
            advertise: self.presence.advertise.clone(),
            label: self.presence.label.clone(),
            zone: self.presence.zone.clone(),
            capacity,
            used,
            free,
            shards: usage.map_or(0, |usage| usage.tallies.live.shards),
            trash: usage.map_or(0, |usage| usage.tallies.trash.bytes),
            quarantined: usage.map_or(0, |usage| usage.tallies.quarantined.shards),
            scrub_since: scrub.since.filter(|_| self.scrubs),
            scrubbed: scrub.ended,
            writable: !leaving && !self.service.is_poisoned() && free >= WRITABLE_FROM,
            seen: known.seen(),
            map: known.epoch(),
            leaving,
        }
    }
}

fn pause_after(error: &CallError) -> Duration {
    match error.retry() {
        Retry::Never => HEARTBEAT_REFUSED,
        Retry::Later | Retry::Elsewhere => HEARTBEAT_RETRY,
    }
}

/// Nine to ten tenths, so that a thousand peers do not come in step.
fn jittered(pause: Duration) -> Duration {
    let mut random = [0; 1];
    getrandom::fill(&mut random).ok(); // without randomness there is no jitter, and no harm
    let [random] = random;
    pause.mul_f64(1.0 - f64::from(random) / 2_560.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_is_looked_for_where_we_were_told_first_and_each_place_once() {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let presence = Presence {
            advertise: Addresses::empty(),
            label: Label::default(),
            zone: Label::default(),
            told: texts(&["t:1"]),
            fallback: texts(&["f:1", "m:1"]),
        };
        assert_eq!(presence.directory(texts(&["m:1", "m:2"])), texts(&["t:1", "m:1", "m:2", "f:1"]));
    }

    #[test]
    fn jitter_only_shortens_and_only_a_little() {
        for _ in 0..100 {
            let pause = jittered(Duration::from_secs(10));
            assert!(pause <= Duration::from_secs(10) && pause >= Duration::from_secs(9), "{pause:?}");
        }
    }
}
