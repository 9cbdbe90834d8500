//! Requests and bodies, whole, halved, oversized and random.

use bytes::Bytes;
use proptest::prelude::*;

use super::{Cluster, Echo, Half, LIMIT, Panic, Refuse, Running, Wait, dial};
use crate::address::ShardAddress;
use crate::limits::MESSAGE_BYTES;
use crate::proto::Refusal;
use crate::proto::frame::{FrameError, STATUS_REFUSED};
use crate::proto::refusal::{Retry, What};
use crate::transport::error::Lost;
use crate::transport::{CallError, Connection, Endpoint, call};

async fn served() -> (Running, Endpoint, Connection) {
    let cluster = Cluster::new(7);
    let server = Running::start(cluster.peer_tls());
    let (endpoint, connection) = dial(cluster.client_tls(), server.address, &cluster.peer_name()).await.unwrap();
    (server, endpoint, connection)
}

fn noise(len: usize) -> Bytes {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes.into()
}

#[tokio::test]
async fn a_body_of_8_mib_goes_both_ways_unchanged() {
    let (server, _endpoint, connection) = served().await;
    let body = noise(8 << 20);
    let pieces = vec![body.slice(..1), body.slice(1..4_000_000), body.slice(4_000_000..)];
    let (number, echoed) = call(&connection, &Echo(1), pieces, LIMIT).await.unwrap();
    let echoed = echoed.bytes(body.len()).await.unwrap();
    assert_eq!((number, ShardAddress::of(&echoed)), (1, ShardAddress::of(&body)));
    let (_, echoed) = call(&connection, &Echo(1), vec![body], LIMIT).await.unwrap();
    assert!(matches!(echoed.bytes((8 << 20) - 1).await, Err(CallError::BodyTooLong { .. })));
    server.stop().await;
}

/// Several long answers at once: the first is there long before the last, and a short one overtakes them.
#[tokio::test]
async fn long_answers_come_one_after_another_and_short_ones_between_them() {
    const BODIES: u64 = 8;
    const LEN: usize = 3 << 20; // all together fit into the window
    let (server, _endpoint, connection) = served().await;
    let (body, (tell, mut told)) = (noise(LEN), tokio::sync::mpsc::unbounded_channel());
    let received = |connection: &Connection| connection.0.stats().udp_rx.bytes;
    for number in 0..BODIES {
        let (connection, tell, body) = (connection.clone(), tell.clone(), body.clone());
        tokio::spawn(async move {
            let (_, echoed) = call(&connection, &Echo(number), vec![body], LIMIT).await.unwrap();
            let begun = received(&connection);
            let short = call(&connection, &Echo(BODIES), Vec::new(), LIMIT).await.unwrap().0;
            let overtaken = received(&connection) - begun;
            assert_eq!((short, echoed.bytes(LEN).await.unwrap().len()), (BODIES, LEN));
            tell.send((received(&connection), overtaken)).unwrap();
        });
    }
    let all = BODIES * LEN as u64;
    let (first, overtaken) = told.recv().await.unwrap();
    assert!(first < all / 2, "{first} bytes were there before one body was whole");
    assert!(overtaken < all / 4, "{overtaken} bytes were there before a short answer");
    server.stop().await;
}

#[tokio::test]
async fn a_refusal_arrives_although_the_body_was_not_read() {
    let (server, _endpoint, connection) = served().await;
    for len in [0, 1, 32 << 20] {
        let error = call(&connection, &Refuse, vec![noise(len)], LIMIT).await.unwrap_err();
        assert!(matches!(error, CallError::Refused(Refusal::Full { free: 7 })), "{error:?}");
        assert_eq!(error.retry(), Retry::Elsewhere);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_panic_is_refused_as_internal_and_the_connection_goes_on() {
    let (server, _endpoint, connection) = served().await;
    let error = call(&connection, &Panic, Vec::new(), LIMIT).await.unwrap_err();
    assert!(matches!(error, CallError::Refused(Refusal::Internal)), "{error:?}");
    assert_eq!(call(&connection, &Echo(2), Vec::new(), LIMIT).await.unwrap().0, 2);
    server.stop().await;
}

#[tokio::test]
async fn half_a_body_never_looks_whole() {
    let (server, _endpoint, connection) = served().await;
    // The break may overtake the answer's message: then the call itself fails.
    let outcome = match call(&connection, &Half, Vec::new(), LIMIT).await {
        Ok(((), body)) => body.bytes(100).await,
        Err(error) => Err(error),
    };
    let error = outcome.unwrap_err();
    assert!(matches!(error, CallError::Disconnected(Lost::Cancelled)), "{error:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_request_without_an_answer_times_out_and_leaves_the_connection_usable() {
    let (mut server, _endpoint, connection) = served().await;
    let limit = std::time::Duration::from_millis(50);
    let error = call(&connection, &Wait, Vec::new(), limit).await.unwrap_err();
    assert!(matches!(error, CallError::TimedOut { what: "Wait", .. }), "{error:?}");
    server.started.recv().await.unwrap();
    server.go_on.notify_one();
    assert_eq!(call(&connection, &Echo(2), Vec::new(), LIMIT).await.unwrap().0, 2);
    server.stop().await;
}

/// Sends raw bytes as a request, and returns the status and the refusal that come back, if any.
async fn send_raw(connection: &Connection, bytes: &[u8]) -> Option<(u16, Refusal)> {
    let (mut send, mut receive) = connection.0.open_bi().await.unwrap();
    send.write_all(bytes).await.ok();
    send.finish().ok();
    let answer = receive.read_to_end(1 << 20).await.ok()?;
    let status = u16::from_le_bytes(answer.get(..2)?.try_into().ok()?);
    Some((status, crate::codec::decode(answer.get(8..)?).ok()?))
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_an_oversized_one_before_it_is_read() {
    let (server, _endpoint, connection) = served().await;
    let head = |tag: u16, flags: u16, len: usize| {
        let len = u32::try_from(len).unwrap().to_le_bytes();
        [tag.to_le_bytes().as_slice(), &flags.to_le_bytes(), &len].concat()
    };
    let cases = [
        (head(1, 0, MESSAGE_BYTES + 1), Refusal::TooLarge(What::Request)),
        (head(1, 0, u32::MAX as usize), Refusal::TooLarge(What::Request)),
        (head(1, 7, 1), Refusal::Malformed),
        (head(999, 0, 0), Refusal::Malformed),
        (head(1, 0, 0), Refusal::Malformed),
        (head(1, 0, 100), Refusal::Malformed), // and then ends
        (vec![], Refusal::Malformed),
        (vec![1, 0, 0], Refusal::Malformed),
    ];
    for (bytes, refusal) in cases {
        assert_eq!(send_raw(&connection, &bytes).await, Some((STATUS_REFUSED, refusal)), "{bytes:?}");
    }
    assert_eq!(call(&connection, &Echo(2), Vec::new(), LIMIT).await.unwrap().0, 2);
    server.stop().await;
}

#[tokio::test]
async fn an_answer_that_breaks_the_protocol_is_an_error_of_its_own() {
    let (server, _endpoint, connection) = served().await;
    // A request whose tag is Echo's but whose answer type is another: what comes back does not decode.
    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    struct Odd(u64);
    impl crate::proto::Request for Odd {
        const TAG: u16 = 1;
        const NAME: &'static str = "Odd";
        type Response = String;
    }
    let error = call(&connection, &Odd(1 << 40), Vec::new(), LIMIT).await.unwrap_err();
    assert!(matches!(error, CallError::Misbehaved(FrameError::Malformed { name: "Odd", .. })), "{error:?}");
    server.stop().await;
}

#[test]
fn random_bytes_on_streams_do_no_harm() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (server, endpoint, connection) = runtime.block_on(served());
    proptest!(ProptestConfig::with_cases(200), |(bytes in proptest::collection::vec(any::<u8>(), 0..300))| {
        // Tag 4 waits for the test; nothing else does.
        prop_assume!(!bytes.starts_with(&[4, 0]));
        runtime.block_on(send_raw(&connection, &bytes));
    });
    runtime.block_on(async {
        assert_eq!(call(&connection, &Echo(2), Vec::new(), LIMIT).await.unwrap().0, 2);
        server.stop().await;
        endpoint.close().await;
    });
}
