//! Members: tickets, enrolment and revocation.

use super::*;
use crate::authorize::Joiner;
use crate::op::enrol::{Admitted, Enrol};
use common::identity::enrolment;
use common::proto::refusal::{TicketFault, What};

fn enrol(verifier: u8, key_check: Option<[u8; 32]>, id: u8) -> Enrol {
    let request = b"request".to_vec();
    Enrol {
        proof: enrolment::proof(&[verifier; 32], &[8; 32], &request),
        exporter: [8; 32],
        signing_request: request,
        label: "somebody".try_into().unwrap(),
        key_check,
        id: [id; 16],
    }
}

#[tokio::test]
async fn a_ticket_enrols_so_many_and_only_with_the_accounts_key() {
    let mut world = World::new();
    world.account(1).await; // its ticket has two uses
    let who = Joiner(TicketId([1; 16]));
    let fault = |fault| Err(Refusal::Ticket(fault));
    let check = |operation: Enrol, expected: Result<(), Refusal>| {
        let world = &world;
        async move { assert_eq!(world.run(&operation, who).await.map(|_| ()), expected) }
    };
    check(enrol(99, Some([5; 32]), 1), fault(TicketFault::Unknown)).await;
    check(Enrol { exporter: [9; 32], ..enrol(1, Some([5; 32]), 1) }, fault(TicketFault::Unknown)).await;
    check(enrol(1, None, 1), fault(TicketFault::OtherRole)).await;
    let Admitted::Device(_, first) = world.run(&enrol(1, Some([5; 32]), 1), who).await.unwrap() else { panic!() };
    assert!(first.first && first.root == node(1));
    check(enrol(1, Some([6; 32]), 2), Err(Refusal::OtherKey)).await;
    let Admitted::Device(_, second) = world.run(&enrol(1, Some([5; 32]), 2), who).await.unwrap() else { panic!() };
    assert!(!second.first);
    check(enrol(1, Some([5; 32]), 3), fault(TicketFault::Used)).await;
    let unknown = world.run(&enrol(1, None, 3), Joiner(TicketId([9; 16]))).await.map(|_| ());
    assert_eq!(unknown, fault(TicketFault::Unknown));
    world.account(2).await;
    let expires = world.context.now.plus(std::time::Duration::from_millis(1_000));
    world.context.now = Timestamp(expires.0 + 1);
    let late = world.run(&enrol(2, Some([5; 32]), 3), Joiner(TicketId([2; 16]))).await.map(|_| ());
    assert_eq!(late, fault(TicketFault::Expired(expires)));
}

#[tokio::test]
async fn one_use_of_a_ticket_is_one_however_many_try_at_once() {
    let world = Arc::new(World::new());
    world.account(1).await;
    let mut tries = tokio::task::JoinSet::new();
    for id in 0..8 {
        let world = world.clone();
        tries.spawn(async move { world.run(&enrol(1, Some([5; 32]), id), Joiner(TicketId([1; 16]))).await.is_ok() });
    }
    assert_eq!(tries.join_all().await.into_iter().filter(|done| *done).count(), 2);
}

#[tokio::test]
async fn only_who_is_there_can_be_revoked() {
    let world = World::new();
    world.account(1).await;
    world.run(&enrol(1, Some([5; 32]), 7), Joiner(TicketId([1; 16]))).await.unwrap();
    let revoke = |id| Revoke { request: RequestId::random(), id };
    let run = |id| {
        let world = &world;
        async move { world.run(&revoke(id), OfAdmin::local()).await }
    };
    assert_eq!(run(Revoked::Peer(peer(7))).await, Err(Refusal::NotFound(What::Peer)));
    assert_eq!(run(Revoked::Device(DeviceId([8; 16]))).await, Err(Refusal::NotFound(What::Device)));
    assert_eq!(run(Revoked::Device(DeviceId([7; 16]))).await, Ok(Done {}));
}
