//! Sharing: what is beside the decisions: passes are signed, guests certified at a bounded pace, and what happens is told to the log.
//!
//! The log has ids of shares and of who asks; no name, no secret and no proof.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::id::{AccountId, DeviceId, ShareId};
use common::identity::Subject;
use common::limits::PASS_CHUNKS;
use common::pass::{Pass, Reader, SignedPass};
use common::proto::Refusal;
use common::proto::directory::{
    Done, Manifests, NewShare, OpenShare, ReadShared, RevokeShare, ShareMade, ShareOpened, SharedManifests,
};
use common::proto::enroll::{EnrollGuest, GuestEnrolled};
use common::proto::refusal::What;

use super::Service;
use crate::authorize::{GuestToBe, OfAccount, OfReader};
use crate::op::share::AdmitGuest;
use crate::transact::Operation;

/// How long a pass for a reader holds: so long may somebody read on, whose share was revoked, of chunks that he asked for before.
const PASS_TIME: Duration = Duration::from_secs(180);

/// Guests that may enrol at once, and within a second later on: a certificate costs half a millisecond.
const GUESTS_AT_ONCE: u32 = 64;
const GUESTS_A_SECOND: f64 = 32.0;

/// How many guests may enrol now; fills up with time.
#[derive(Debug)]
pub(crate) struct Pace(Mutex<(f64, Option<Instant>)>);

impl Default for Pace {
    fn default() -> Self {
        Self(Mutex::new((f64::from(GUESTS_AT_ONCE), None)))
    }
}

impl Pace {
    fn take(&self, now: Instant) -> Result<(), Refusal> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, last) = *state;
        let since = last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        let left = (left + since.as_secs_f64() * GUESTS_A_SECOND).min(f64::from(GUESTS_AT_ONCE));
        let taken = left >= 1.0;
        *state = (if taken { left - 1.0 } else { left }, Some(now));
        if taken { Ok(()) } else { Err(Refusal::Busy) }
    }
}

impl Service {
    pub(super) async fn new_share(&self, request: &NewShare, who: OfAccount) -> Result<ShareMade, Refusal> {
        let made = self.run(request, who).await?;
        let until = made.expires.map(|expires| expires.to_string());
        let guests = request.guests.unwrap_or(0);
        tracing::info!(share = request.share.short(), device = who.device().short(), until, guests, "share made");
        Ok(made)
    }

    pub(super) async fn revoke_share(&self, request: &RevokeShare, who: OfAccount) -> Result<Done, Refusal> {
        let done = self.run(request, who).await?;
        tracing::info!(share = request.share.short(), device = who.device().short(), "share revoked");
        Ok(done)
    }

    pub(super) async fn open_share(&self, request: &OpenShare, who: OfReader) -> Result<ShareOpened, Refusal> {
        let opened = self.of_share(request, request.share, who).await?;
        let guest = who.share().is_some();
        tracing::info!(share = request.share.short(), reader = who.reader().short(), guest, "share opened");
        Ok(opened)
    }

    /// A request of somebody with a link; who is refused is told to the log.
    pub(super) async fn of_share<O: Operation<Who = OfReader>>(
        &self,
        operation: &O,
        share: ShareId,
        who: OfReader,
    ) -> Result<O::Answer, Refusal> {
        let answer = self.run(operation, who).await;
        if let Err(refusal @ (Refusal::Share(_) | Refusal::NotFound(_) | Refusal::Forbidden)) = &answer {
            tracing::info!(share = share.short(), reader = who.reader().short(), %refusal, "share refused");
        }
        answer
    }

    pub(super) async fn read_shared(&self, request: &ReadShared, who: OfReader) -> Result<SharedManifests, Refusal> {
        let (account, manifests) = self.of_share(request, request.share, who).await?;
        let passes = self.passes(account, &manifests, who.reader())?;
        let passes = passes.try_into().map_err(|_| Refusal::TooLarge(What::Chunk))?;
        let hold_ms = u32::try_from(PASS_TIME.as_millis()).unwrap_or(u32::MAX);
        Ok(SharedManifests { manifests, passes, hold_ms })
    }

    fn passes(&self, account: AccountId, read: &Manifests, reader: DeviceId) -> Result<Vec<SignedPass>, Refusal> {
        let expires = self.clock.now().plus(PASS_TIME);
        let of = |placed: &[common::proto::parts::PlacedChunk]| {
            let chunks: Vec<_> = placed.iter().map(|placed| placed.chunk).collect();
            let chunks = chunks.try_into().map_err(|_| Refusal::TooLarge(What::Chunk))?;
            let reader = Reader::Device(reader);
            self.keys.pass(&Pass { cluster: self.settings.cluster, reader, account, chunks, expires })
        };
        read.placements.chunks(PASS_CHUNKS).map(of).collect()
    }

    pub(super) async fn enroll_guest(
        &self,
        request: EnrollGuest,
        exporter: [u8; 32],
    ) -> Result<GuestEnrolled, Refusal> {
        self.guests.take(Instant::now())?;
        let (guest, share) = (DeviceId::random(), request.share);
        // A request that cannot be certified must not count.
        let certificate =
            self.keys.certify(&request.request, Subject::Guest { guest, share }, self.certificates.now())?;
        let (proof, signing_request) = (request.proof, request.request.to_vec());
        let admitted = self.run(&AdmitGuest { share, proof, exporter, signing_request }, GuestToBe(share)).await;
        if let Err(refusal) = admitted {
            tracing::info!(share = share.short(), %refusal, "guest refused");
            return Err(refusal);
        }
        tracing::info!(share = share.short(), guest = guest.short(), "guest enrolled");
        Ok(GuestEnrolled {
            cluster: self.settings.cluster,
            guest,
            certificate,
            statement_key: self.keys.statement().public().0,
            directory: self.members.cluster().directory.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_enrol_at_a_bounded_pace() {
        let (pace, begun) = (Pace::default(), Instant::now());
        let taken = (0..GUESTS_AT_ONCE * 2).filter(|_| pace.take(begun).is_ok()).count();
        assert_eq!(taken, GUESTS_AT_ONCE as usize);
        let later = begun + Duration::from_secs(1);
        let taken = (0..GUESTS_AT_ONCE * 2).filter(|_| pace.take(later).is_ok()).count();
        assert_eq!(taken, 32);
    }
}
