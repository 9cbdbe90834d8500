//! Chain: a copy arrives and goes on to the next peer meanwhile, who passes it on in turn.
//!
//! Guarantees: what can be refused is refused before a byte is read or passed on; what becomes of the others neither fails nor holds
//! up the storing here, since arriving bytes are kept for them within the neighbours' budget; a peer that cannot be reached, refuses,
//! or falls silent is left out, and the one behind it gets the bytes from here. The list only gets shorter, so it ends.
//!
//! Non-goals: checking what is passed on. Each peer checks for itself what it stores.
//!
//! Sketch: passing on costs what sending costs, 0.5 CPU s a GiB, and no copy: the pieces are those of the socket.

use std::time::Duration;

use bytes::Bytes;
use common::proto::Refusal;
use common::proto::peer::{ChainOutcome, Chained, Onward, PutChain, PutShard, Stored};
use common::transport::{BodyReader, CallError, Lost, Responder, Streamed};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::authorize::Bringer;
use crate::config::{ONWARD_ANSWER, ONWARD_ANSWER_LEAST, ONWARD_DIAL, ONWARD_STALL, ONWARD_WAIT};
use crate::put::{Failure, Room, arrive, make_room};
use crate::service::Service;
use crate::store::ShardKey;

/// Pieces that are given to the transport at once.
const BATCH: usize = 64;

/// What has arrived so far.
#[derive(Default)]
struct Arrived {
    pieces: Vec<Bytes>,
    whole: bool,
    /// How long it took to arrive.
    took: Duration,
}

/// Answers when every peer of the chain has answered or was given up.
pub(crate) async fn put_chain(
    service: &Service,
    by: Bringer,
    request: &PutChain,
    body: BodyReader,
    responder: Responder,
) -> Result<(), CallError> {
    let shard = request.put.address;
    match store(service, by, request, body).await {
        Ok(outcomes) => match outcomes.try_into() {
            Ok(outcomes) => responder.answer::<PutChain>(&Chained { outcomes }, Vec::new()).await,
            Err(_) => responder.refuse(&Refusal::Malformed).await, // a list that long is not decoded
        },
        Err(Failure::Refused(refusal)) => {
            tracing::debug!(shard = shard.short(), %refusal, "put refused");
            responder.refuse(&refusal).await
        }
        Err(Failure::Body(error)) => Err(error),
    }
}

async fn store(
    service: &Service,
    by: Bringer,
    request: &PutChain,
    body: BodyReader,
) -> Result<Vec<ChainOutcome>, Failure> {
    let room = make_room(service, by, &request.put).await?;
    // Before a byte is read: what is kept for neighbours is within their budget from its first piece.
    let memory = match request.onward.is_empty() {
        true => None,
        false => timeout(ONWARD_WAIT, service.neighbours().room(request.put.len)).await.ok().flatten(),
    };
    let (arrived, arriving) = watch::channel(Arrived::default());
    let arriving = memory.as_ref().map(|_| arriving);
    let mut others = vec![ChainOutcome::Refused(Refusal::Busy); request.onward.len()];
    let passing = async {
        let Some(arriving) = arriving else { return };
        others.fill(ChainOutcome::Unreachable);
        pass_on(service, request, &arriving, &mut others).await;
    };
    let (own, ()) = tokio::join!(keep(service, &request.put, room, body, arrived), passing);
    drop(memory);
    let own = match own? {
        Ok(stored) => ChainOutcome::Stored(stored),
        Err(refusal) => ChainOutcome::Refused(refusal),
    };
    others.insert(0, own);
    Ok(others)
}

/// Takes the body in, shows it to who passes it on, and stores it. A failure means that the body did not arrive.
async fn keep(
    service: &Service,
    put: &PutShard,
    mut room: Option<Room>,
    body: BodyReader,
    arrived: watch::Sender<Arrived>,
) -> Result<Result<Stored, Refusal>, Failure> {
    if arrived.is_closed() && room.is_none() {
        return Ok(Ok(Stored { existed: true })); // nobody wants the body; dropping it stops it
    }
    let take = |piece: Bytes| {
        if let Some(room) = &mut room {
            room.take(&piece)?;
        }
        if !arrived.is_closed() {
            arrived.send_modify(|arrived| arrived.pieces.push(piece));
        }
        Ok(())
    };
    let since = Instant::now();
    arrive(body, put.len, take).await?;
    arrived.send_modify(|arrived| (arrived.whole, arrived.took) = (true, since.elapsed()));
    drop(arrived);
    Ok(match room {
        Some(room) => room.keep(service, put.address).await,
        // It took a while to arrive: only now is it said that the shard is here.
        None => match service.verified(&put.grant) {
            Ok(grant) if service.store().touch(&ShardKey { account: grant.account, address: put.address }) => {
                Ok(Stored { existed: true })
            }
            Ok(_) | Err(_) => Err(Refusal::Busy),
        },
    })
}

/// Offers it to the next, with the rest of the list; and where that fails to the one behind.
async fn pass_on(
    service: &Service,
    request: &PutChain,
    arriving: &watch::Receiver<Arrived>,
    outcomes: &mut [ChainOutcome],
) {
    let mut left = request.onward.iter().as_slice();
    let mut outcomes = outcomes.iter_mut();
    while let Some((next, behind)) = left.split_first() {
        left = behind;
        let error = match offer(service, &request.put, *next, behind, arriving.clone()).await {
            Ok(chained) => return outcomes.zip(chained).for_each(|(outcome, became)| *outcome = became),
            Err(error) => error,
        };
        tracing::debug!(peer = %next.peer.short(), error = %common::telemetry::chain(&error), "a copy was not passed on");
        if let (Some(outcome), CallError::Refused(refusal)) = (outcomes.next(), error) {
            *outcome = ChainOutcome::Refused(refusal);
        }
        if arriving.has_changed().is_err() && !arriving.borrow().whole {
            return; // it broke off
        }
    }
}

/// What became of it at `next` and at all who are behind.
async fn offer(
    service: &Service,
    put: &PutShard,
    next: Onward,
    behind: &[Onward],
    mut arriving: watch::Receiver<Arrived>,
) -> Result<Vec<ChainOutcome>, CallError> {
    let link = service.neighbours().link(next.peer)?;
    let connection = link.connection_within(ONWARD_DIAL).await?;
    let onward = behind.to_vec().try_into().unwrap_or_default(); // it is shorter than one that fitted
    let request = PutChain { put: PutShard { index: next.index, ..put.clone() }, onward };
    let within = |after: Duration| move |_| CallError::TimedOut { what: "passing a copy on", after };
    let begin = timeout(ONWARD_STALL, Streamed::begin(&connection, &request));
    let mut streamed = begin.await.map_err(within(ONWARD_STALL))??;
    let mut sent = 0;
    loop {
        let more = |arrived: &Arrived| arrived.whole || arrived.pieces.len() > sent;
        let mut pieces: Vec<Bytes> = match arriving.wait_for(more).await {
            Ok(arrived) => arrived.pieces.iter().skip(sent).take(BATCH).cloned().collect(),
            Err(_) => return Err(CallError::Disconnected(Lost::Cancelled)),
        };
        if pieces.is_empty() {
            break;
        }
        sent += pieces.len();
        let written = timeout(ONWARD_STALL, streamed.write(&mut pieces)).await;
        let wanted = written.map_err(within(ONWARD_STALL))??;
        if !wanted {
            break; // its answer says why
        }
    }
    // Who is much slower than the line that it came on is no help. Each who is behind takes its own time.
    let line = arriving.borrow().took.saturating_mul(2);
    let patience = line
        .clamp(ONWARD_ANSWER_LEAST, ONWARD_ANSWER)
        .saturating_mul(u32::try_from(behind.len() + 1).unwrap_or(u32::MAX));
    let answer = timeout(patience, streamed.answer::<PutChain>()).await.map_err(within(patience))??;
    let outcomes = answer.outcomes.into_inner();
    if outcomes.len() == behind.len() + 1 { Ok(outcomes) } else { Err(CallError::Disconnected(Lost::Truncated)) }
}
