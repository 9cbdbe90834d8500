//! Service: one directory at work: finds out what is asked by whom, has it decided, and answers.
//!
//! Requests are answered on the threads of the network: a read seldom waits for the disk, and there are more threads than cores.

mod dispatch;
mod history;
mod share;

use std::sync::atomic::Ordering as AtomicOrdering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use common::history::HistoryPoint;
use common::id::{AccountId, DeviceId, PeerId, RequestId, StartId, TicketId};
use common::identity::{Credentials, Role, Subject};
use common::map::{PeerEntry, PeerState};
use common::proto::directory::*;
use common::proto::enroll::{Enroll, EnrollGuest, EnrollRequest, Enrolled};
use common::proto::parts::Addresses;
use common::proto::refusal::What;
use common::proto::{FrameError, Refusal, Request};
use common::telemetry;
use common::ticket::Ticket;
use common::time::{Clock, Timestamp};
use common::transport::connection::Protocol;
use common::transport::{Call, CallError, Caller, Handler, Responder};

use crate::authority::Keys;
use crate::authorize::{self, Itself, Joiner, OfAccount, OfAdmin, OfPeer};
use crate::config::Settings;
use crate::kv::Store;
use crate::members::{Gone, Members, Published};
use crate::op::enrol::{Admitted, Enrol};
use crate::op::note::{CheckHistory, NextGeneration, NotePeer};
use crate::op::recode::Want;
use crate::op::ticket::MakeTicket;
use crate::op::upload::Granted;
use crate::op::{Context, conflict, page};
use crate::schema::{self, key};
use crate::status::{Counter, each};
use crate::transact::{self, Operation, Stop, Txn};
use crate::work::Work;
use crate::work::plan::View;

/// Everything that requests work on.
pub struct Service {
    pub store: Arc<dyn Store>,
    pub members: Members,
    pub keys: Keys,
    pub credentials: Credentials,
    pub settings: Settings,
    pub clock: Clock,
    pub certificates: Clock,
    pub counter: Counter,
    pub work: Work,
    /// How many guests may still enrol at this moment.
    pub(crate) guests: share::Pace,
    /// This start, as peers remember it.
    pub start: Mutex<StartId>,
}

/// Answers with what was decided.
async fn reply<R: Request>(responder: Responder, result: Result<R::Response, Refusal>) -> Result<(), CallError> {
    match result {
        Ok(answer) => responder.answer::<R>(&answer, Vec::new()).await,
        Err(refusal) => {
            tracing::debug!(request = R::NAME, %refusal, "refused");
            responder.refuse(&refusal).await
        }
    }
}

impl Service {
    #[must_use]
    pub fn now(&self) -> (Instant, Timestamp) {
        (Instant::now(), self.clock.now())
    }

    #[must_use]
    pub fn context(&self) -> Context {
        Context {
            now: self.clock.now(),
            cluster: self.settings.cluster,
            generation: self.members.generation(),
            redundancy: self.settings.redundancy,
            roster: self.members.roster(),
        }
    }

    /// Has an operation decided and committed.
    ///
    /// # Errors
    /// Why it was not done.
    pub async fn run<O: Operation>(&self, operation: &O, who: O::Who) -> Result<O::Answer, Refusal> {
        transact::run(&self.store, operation, who, &self.context()).await
    }

    async fn hello(&self, subject: &Subject, hello: &Hello) -> Result<Welcome, Refusal> {
        self.not_behind(hello.generation)?;
        let Published { map, .. } = self.members.published();
        let account = match subject {
            Subject::Client { account, device } => Some(self.account(*account, *device, hello.conflicts).await?),
            Subject::Directory | Subject::Peer(_) | Subject::Admin(_) | Subject::Guest { .. } => None,
        };
        tracing::debug!(program = &*hello.program, "hello");
        Ok(Welcome {
            cluster: self.settings.cluster,
            generation: self.members.generation(),
            now: self.clock.now(),
            redundancy: self.settings.redundancy,
            map,
            account,
        })
    }

    /// A directory that was restored from an old copy is told so by those who have seen a later one.
    fn not_behind(&self, known: u64) -> Result<(), Refusal> {
        let given = self.members.generation();
        if known > given {
            tracing::error!(given, known, "somebody has seen a later generation: this data folder is an old copy");
            return Err(Refusal::OldGeneration { given, known });
        }
        Ok(())
    }

    async fn account(&self, account: AccountId, device: DeviceId, told: u64) -> Result<AccountView, Refusal> {
        let unreadable = |error: Stop| {
            tracing::error!(error = telemetry::chain(&error), "cannot read an account");
            Refusal::Internal
        };
        let mut txn = Txn::new(self.store.clone());
        let found = txn.peek(&key::account(account)).await.map_err(unreadable)?;
        let record = found.ok_or(Refusal::NotFound(What::Account))?.record;
        let ring = txn.peek(&key::ring(account)).await.map_err(unreadable)?.map(|found| found.record);
        let ring = ring.map(|schema::Ring { key, settled, sealed }| Ring { key, settled, sealed });
        let conflicts = conflict::news(&mut txn, account, device, told).await.map_err(unreadable)?;
        let schema::Account { name, root, key_check, .. } = record;
        Ok(AccountView { account, name, root, key_check, ring, conflicts })
    }

    fn map(&self, have: u64) -> Option<common::map::SignedMap> {
        let Published { epoch, map, .. } = self.members.published();
        (epoch != have).then_some(map)
    }

    /// How the whole cluster is.
    ///
    /// # Errors
    /// When the store cannot be counted.
    pub async fn cluster_status(&self) -> Result<ClusterStatus, Refusal> {
        self.status(&Subject::Directory).await
    }

    async fn status(&self, subject: &Subject) -> Result<ClusterStatus, Refusal> {
        let counts = self.counter.counts(&self.store, &self.members.roster()).await.map_err(|error| {
            tracing::error!(error = telemetry::chain(&error), "cannot count");
            Refusal::Internal
        })?;
        let (figures, accounts) = match subject {
            Subject::Client { account, .. } => (counts.of(*account), 1),
            Subject::Directory | Subject::Peer(_) | Subject::Admin(_) | Subject::Guest { .. } => {
                (counts.all, counts.total_accounts)
            }
        };
        Ok(ClusterStatus {
            cluster: self.settings.cluster,
            generation: self.members.generation(),
            sequence: self.store.last_sequence(),
            now: self.clock.now(),
            redundancy: self.settings.redundancy,
            peers: self.peer_status().await?.try_into().map_err(|_| Refusal::TooLarge(What::Peer))?,
            chunks: figures.chunks,
            sealed_bytes: figures.sealed_bytes,
            degraded: figures.degraded,
            unreadable: figures.unreadable,
            pending: figures.pending,
            accounts,
            devices: figures.devices,
            upkeep: match subject {
                Subject::Client { .. } | Subject::Guest { .. } => None,
                Subject::Directory | Subject::Peer(_) | Subject::Admin(_) => Some(self.upkeep()),
            },
        })
    }

    fn upkeep(&self) -> Upkeep {
        let roster = self.members.roster();
        let online = roster.peers().iter().filter(|entry| entry.state == PeerState::Online);
        let online: Vec<_> = online.map(|entry| entry.peer).collect();
        self.work.upkeep(&online, Instant::now())
    }

    /// The peers for people: what they say themselves, and what was found out about them.
    async fn peer_status(&self) -> Result<Vec<PeerStatus>, Refusal> {
        let mut peers = self.members.status();
        for status in &mut peers {
            let finding = self.work.finding(status.peer);
            (status.compared, status.missing, status.unknown) = (finding.compared, finding.missing, finding.unknown);
            (status.audited, status.audits) = (finding.audited, finding.audits);
            (status.audits_failed, status.registered) = (finding.audits_failed, finding.registered);
            if status.draining {
                status.registered = Some(self.count_held(status.peer).await?);
            }
        }
        Ok(peers)
    }

    async fn count_held(&self, peer: PeerId) -> Result<u64, Refusal> {
        let (range, mut count) = (key::held_by(peer), 0);
        let counted = each(self.store.as_ref(), &range, |_, _| {
            count += 1;
            Ok(())
        });
        counted.await.map_err(|error| {
            tracing::error!(error = telemetry::chain(&error), "cannot count");
            Refusal::Internal
        })?;
        Ok(count)
    }

    /// How the peers are, for planning.
    #[must_use]
    pub fn view(&self) -> View {
        let roster = self.members.roster();
        let gone = self.members.gone(Instant::now());
        let of = |is: fn(&Gone) -> bool| gone.iter().filter(|(_, gone)| is(gone)).map(|(peer, _)| *peer).collect();
        let verified = |entry: &&PeerEntry| entry.state == PeerState::Online && self.work.finding(entry.peer).verified;
        View {
            lost: of(|gone| gone.lost),
            draining: of(|gone| gone.draining),
            verified: roster.peers().iter().filter(verified).map(|entry| entry.peer).collect(),
            peers: roster.peers().iter().map(|entry| (entry.peer, entry.clone())).collect(),
        }
    }

    /// Where this store's history is.
    #[must_use]
    pub fn history(&self) -> HistoryPoint {
        let start = *self.start.lock().unwrap_or_else(PoisonError::into_inner);
        HistoryPoint { generation: self.members.generation(), start, sequence: self.store.last_sequence() }
    }

    /// After a reconciliation: a generation beyond all that was seen, so that peers obey again.
    ///
    /// # Errors
    /// When it cannot be noted.
    pub async fn accept_history(&self) -> Result<(), Refusal> {
        let mut txn = Txn::new(self.store.clone());
        let fence = txn.peek(&key::fence()).await.map_err(|error| {
            tracing::error!(error = telemetry::chain(&error), "the fence cannot be read");
            Refusal::Internal
        })?;
        let least = fence.map_or(0, |fence| fence.record.seen.generation + 1);
        let start = StartId::random();
        let next = self.run(&NextGeneration { start, least }, Itself).await?;
        *self.start.lock().unwrap_or_else(PoisonError::into_inner) = start;
        self.members.raise_generation(next.generation, self.now());
        self.work.fenced.store(false, AtomicOrdering::Relaxed);
        self.members.roster().peers().iter().for_each(|entry| self.work.ask_to_compare(entry.peer));
        tracing::warn!(generation = next.generation, "this store's history was accepted");
        Ok(())
    }

    fn begun(&self, granted: Granted) -> Result<Begun, Refusal> {
        Ok(Begun { expires: granted.0.expires, grant: self.keys.grant(&granted.0)? })
    }

    async fn put_pages(&self, request: PutPages, who: OfAccount) -> Result<Done, Refusal> {
        for part in page::split(request) {
            self.run(&part, who).await?;
        }
        Ok(Done {})
    }

    /// Puts up the fence when a peer has seen a history of which this store is no part.
    async fn compare_history(&self, beat: &Heartbeat) -> Result<(), Refusal> {
        let ours = self.history();
        let usual = beat.seen.start == ours.start && beat.seen.sequence <= ours.sequence;
        if usual || beat.seen == HistoryPoint::NONE {
            return Ok(());
        }
        let fenced = self.run(&CheckHistory { seen: beat.seen }, Itself).await?.fenced;
        if fenced && !self.work.fenced.swap(true, AtomicOrdering::Relaxed) {
            tracing::error!(
                given = ours.generation,
                known = beat.seen.generation,
                "a peer has seen commits that this store does not have: it was restored from an old copy. Nothing is deleted until \
                 `shoal-directory reconcile` was run"
            );
        }
        Ok(())
    }

    async fn heartbeat(&self, who: OfPeer, beat: &Heartbeat, seen_at: &str) -> Result<HeartbeatAnswer, Refusal> {
        self.compare_history(beat).await?;
        let seen_at = seen_at.to_owned().try_into().ok().and_then(|address| Addresses::try_from(vec![address]).ok());
        let changed = self.members.changed(who.peer(), beat, &seen_at.unwrap_or_default())?;
        // That it lives counts at once, however long the disk takes for the rest.
        self.members.heard(who.peer(), beat, None, self.now());
        if let Some(record) = changed {
            self.run(&NotePeer { peer: who.peer(), record: record.clone() }, Itself).await?;
            self.members.heard(who.peer(), beat, Some(record), self.now());
        }
        let again = self.members.cluster().times.heartbeat.as_millis();
        Ok(HeartbeatAnswer {
            history: self.history(),
            now: self.clock.now(),
            again_ms: u32::try_from(again).unwrap_or(u32::MAX),
            map: self.map(beat.map),
        })
    }

    /// Makes a ticket.
    ///
    /// # Errors
    /// When it asks for too much.
    pub async fn new_ticket(&self, request: NewTicket, who: OfAdmin) -> Result<TicketMade, Refusal> {
        let role = match request.role {
            TicketRole::Peer => Role::Peer,
            TicketRole::Client => Role::Client,
        };
        let addresses = self.members.cluster().directory.iter().map(ToString::to_string).collect();
        let ticket = Ticket::new(self.settings.cluster, role, self.keys.fingerprint(), addresses)
            .map_err(|_| Refusal::NotFound(What::Address))?;
        let operation = MakeTicket {
            ticket: ticket.id(),
            verifier: *ticket.verifier(),
            role: request.role,
            account: request.account,
            uses: request.uses,
            ttl_ms: request.ttl_ms,
            new_account: common::id::AccountId::random(),
            new_root: common::id::NodeId::random(),
        };
        let noted = self.run(&operation, who).await?;
        let line = ticket.to_line().to_string();
        let ticket = line.try_into().map_err(|_| Refusal::TooLarge(What::Request))?;
        Ok(TicketMade { ticket, expires: noted.expires })
    }

    /// Revokes, in the store, in the map and on open connections.
    ///
    /// # Errors
    /// When there is nobody of this id.
    pub async fn revoke(&self, request: &Revoke, who: OfAdmin) -> Result<Done, Refusal> {
        let done = self.run(request, who).await?;
        let id = match request.id {
            Revoked::Device(device) => device.0,
            Revoked::Peer(peer) => peer.0,
        };
        self.members.revoke(id, self.now());
        Ok(done)
    }

    async fn set_redundancy(&self, request: &SetRedundancy, who: OfAccount) -> Result<Done, Refusal> {
        for version in &request.versions {
            let mut first = Some(0);
            while let Some(page) = first {
                let want = Want { version: *version, redundancy: request.redundancy, first: page };
                first = self.run(&want, who).await?.next;
            }
        }
        Ok(Done {})
    }

    /// Begins or ends the emptying of a peer.
    ///
    /// # Errors
    /// When there is no such peer.
    pub async fn drain(&self, request: &DrainPeer, who: OfAdmin) -> Result<Done, Refusal> {
        let done = self.run(request, who).await?;
        self.members.drain(request.peer, request.drain, self.now());
        Ok(done)
    }

    /// Takes a peer out of the cluster, in the store, in the map and on open connections.
    ///
    /// # Errors
    /// [`Refusal::StillHolds`].
    pub async fn remove(&self, request: &RemovePeer, who: OfAdmin) -> Result<Done, Refusal> {
        let done = self.run(request, who).await?;
        self.members.revoke(request.peer.0, self.now());
        Ok(done)
    }

    async fn enroll(&self, request: Enroll, exporter: [u8; 32]) -> Result<Enrolled, Refusal> {
        let id = RequestId::random().0;
        // A request that cannot be certified must not use up a ticket.
        self.keys.certify(&request.request, Subject::Peer(common::id::PeerId(id)), self.certificates.now())?;
        let operation = Enrol {
            proof: request.proof,
            exporter,
            signing_request: request.request.to_vec(),
            label: request.label,
            key_check: request.key_check,
            id,
        };
        let ticket: TicketId = request.ticket;
        let admitted = self.run(&operation, Joiner(ticket)).await?;
        let (subject, account) = match admitted {
            Admitted::Peer(peer, record) => {
                self.members.add(peer, record, self.now());
                (Subject::Peer(peer), None)
            }
            Admitted::Device(device, account) => (Subject::Client { device, account: account.account }, Some(account)),
        };
        tracing::info!(ticket = ticket.short(), id = RequestId(id).short(), "enrolled");
        Ok(Enrolled {
            cluster: self.settings.cluster,
            id,
            certificate: self.keys.certify(&request.request, subject, self.certificates.now())?,
            statement_key: self.keys.statement().public().0,
            directory: self.members.cluster().directory.clone(),
            account,
        })
    }

    async fn answer_enroll(&self, caller: &Caller, call: &Call, responder: Responder) -> Result<(), CallError> {
        let request = match EnrollRequest::decode(call.tag, &call.message) {
            Ok(EnrollRequest::Enroll(request)) => request,
            Ok(EnrollRequest::EnrollGuest(request)) => {
                let exporter = caller.connection.enrolment_exporter()?;
                return reply::<EnrollGuest>(responder, self.enroll_guest(request, exporter).await).await;
            }
            Err(error) => return refuse_malformed(responder, &error).await,
        };
        let exporter = caller.connection.enrolment_exporter()?;
        reply::<Enroll>(responder, self.enroll(request, exporter).await).await
    }

    async fn answer(self: &Arc<Self>, caller: &Caller, call: &Call, responder: Responder) -> Result<(), CallError> {
        let request = match DirectoryRequest::decode(call.tag, &call.message) {
            Ok(request) => request,
            Err(error) => return refuse_malformed(responder, &error).await,
        };
        let Some(identity) = caller.identity else { return responder.refuse(&Refusal::WrongRole).await };
        let subject = &identity.subject;
        if identity.cluster != self.settings.cluster {
            return responder.refuse(&Refusal::OtherCluster).await;
        }
        if let Err(refusal) = authorize::check(subject, identity.role(), &request, &self.members.roster()) {
            tracing::debug!(request = request.name(), %refusal, "refused");
            return responder.refuse(&refusal).await;
        }
        tracing::debug!(request = request.name(), "asked");
        self.dispatch(subject, request, caller, responder).await
    }
}

async fn refuse_malformed(responder: Responder, error: &FrameError) -> Result<(), CallError> {
    tracing::debug!(error = telemetry::chain(error), "malformed request");
    responder.refuse(&Refusal::Malformed).await
}

/// The service as connections see it.
#[derive(Clone)]
pub struct Door(pub Arc<Service>);

impl Handler for Door {
    fn admit(&self, caller: &Caller) -> Result<(), Refusal> {
        let Some(identity) = caller.identity else { return Ok(()) };
        if identity.cluster != self.0.settings.cluster {
            return Err(Refusal::OtherCluster);
        }
        authorize::standing(&identity.subject, &self.0.members.roster())
    }

    fn connected(&self, caller: &Arc<Caller>) {
        let Some(id) = caller.identity.and_then(|identity| id_of(&identity.subject)) else { return };
        if self.0.members.connected(id, &caller.connection).is_err() {
            caller.connection.close();
        }
        // It may have been started anew meanwhile, without what it had.
        if let Some(Subject::Peer(peer)) = caller.identity.map(|identity| identity.subject) {
            self.0.work.note(peer, |finding| finding.verified = false);
        }
    }

    fn disconnected(&self, caller: &Arc<Caller>) {
        if let Some(id) = caller.identity.and_then(|identity| id_of(&identity.subject)) {
            self.0.members.disconnected(id, &caller.connection);
        }
    }

    async fn handle(&self, caller: Arc<Caller>, call: Call, responder: Responder) -> Result<(), CallError> {
        match caller.protocol {
            Protocol::Enroll => self.0.answer_enroll(&caller, &call, responder).await,
            Protocol::Main => self.0.answer(&caller, &call, responder).await,
        }
    }
}

fn id_of(subject: &Subject) -> Option<[u8; 16]> {
    match subject {
        Subject::Peer(peer) => Some(peer.0),
        Subject::Client { device, .. } => Some(device.0),
        Subject::Directory | Subject::Admin(_) | Subject::Guest { .. } => None,
    }
}
