//! The store against a map: any sequence of operations, restarts and lost hints gives the same answers.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Put(u64),
    Delete(u64),
    Restore(u64),
    Purge,
    Reclaim,
    Rewrite,
    Reopen { clean: bool, lose_hints: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..6u64).prop_map(Step::Put),
        2 => (0..6u64).prop_map(Step::Delete),
        1 => (0..6u64).prop_map(Step::Restore),
        1 => Just(Step::Purge),
        1 => Just(Step::Reclaim),
        1 => Just(Step::Rewrite),
        1 => any::<(bool, bool)>().prop_map(|(clean, lose_hints)| Step::Reopen { clean, lose_hints }),
    ];
    prop::collection::vec(step, 1..40)
}

async fn check(steps: Vec<Step>) {
    let disk = MemoryDisk::new();
    let mut store = open(&disk);
    let mut model: HashMap<u64, &str> = HashMap::new();
    let body_of = |seed: u64| body(seed, usize::try_from(seed).unwrap() * 2_500);
    for step in steps {
        match step {
            Step::Put(seed) => {
                let existed = put(&store, ALICE, &body_of(seed)).await.unwrap().existed;
                assert_eq!(existed, model.insert(seed, "live") == Some("live"));
            }
            Step::Delete(seed) => {
                let done = store.delete(key(ALICE, &body_of(seed))).await;
                assert_eq!(done.is_ok(), model.get_mut(&seed).map(|state| *state = "trash").is_some());
            }
            Step::Restore(seed) => {
                let done = store.restore(key(ALICE, &body_of(seed))).await;
                assert_eq!(done.is_ok(), model.get_mut(&seed).map(|state| *state = "live").is_some());
            }
            Step::Purge => {
                let trash = model.values().filter(|state| **state == "trash").count();
                assert_eq!(store.purge(common::time::Timestamp(u64::MAX), 100).await.unwrap(), trash);
                model.retain(|_, state| *state != "trash");
            }
            Step::Reclaim => {
                let before = store.usage().unwrap().used;
                let given = store.reclaim().await.unwrap();
                assert_eq!(store.usage().unwrap().used, before - given);
            }
            Step::Rewrite => {
                store.rewrite(3 * 4096).await.unwrap();
            }
            Step::Reopen { clean, lose_hints } => {
                let before = store.usage().unwrap().used;
                if clean {
                    store.close().await.unwrap();
                }
                drop(store);
                if lose_hints {
                    disk.names("hints/").iter().for_each(|name| disk.set(name, None));
                }
                store = open(&disk);
                assert_eq!(store.usage().unwrap().used, before);
            }
        }
        let count = |wanted| model.values().filter(|state| **state == wanted).count() as u64;
        let tallies = store.usage().unwrap().tallies;
        assert_eq!((tallies.live.shards, tallies.trash.shards), (count("live"), count("trash")));
    }
    for seed in 0..6 {
        let body = body_of(seed);
        assert_eq!(state(&store, ALICE, &body), model.get(&seed).copied().unwrap_or("none"));
        if model.contains_key(&seed) {
            store.verify(key(ALICE, &body)).await.unwrap();
            assert_eq!(get(&store, ALICE, &body).await.unwrap(), body);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_store_answers_like_a_map(steps in steps()) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(check(steps));
    }
}
