//! One suite over both engines: what a caller can rely on whichever is below.

use std::sync::Arc;

use common::limits::{KEY_BYTES, TRANSACTION_BYTES, TRANSACTION_WRITES, VALUE_BYTES};

use super::*;
use crate::kv::memory::Memory;
use crate::kv::{SCAN_BYTES, StoreError};

fn on_both(test: impl AsyncFn(Arc<dyn Store>)) {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        test(Arc::new(Memory::new())).await;
        test(Arc::new(open(dir.path()).unwrap())).await;
    });
}

#[test]
fn a_commit_is_seen_by_the_next_read_with_its_sequence_as_version() {
    on_both(async |store| {
        assert_eq!(store.last_sequence(), 0);
        assert_eq!(commit(&*store, vec![put(b"a", b"1"), put(b"b", b"")]).await.unwrap(), 1);
        assert_eq!(commit(&*store, vec![put(b"c", b"3"), delete(b"a")]).await.unwrap(), 2);
        assert_eq!(store.last_sequence(), 2);
        let found = store.get(&[b"c", b"a", b"b", b"c"]).await.unwrap();
        let entry = |key: &[u8], value: &[u8], version| Entry { key: key.to_vec(), value: value.to_vec(), version };
        let c = entry(b"c", b"3", 2);
        assert_eq!(found, [Some(c.clone()), None, Some(entry(b"b", b"", 1)), Some(c)]);
    });
}

#[test]
fn checks_decide_and_a_failed_one_changes_nothing() {
    on_both(async |store| {
        commit(&*store, vec![put(b"a", b"1")]).await.unwrap();
        commit(&*store, vec![put(b"b", b"2")]).await.unwrap();
        // Each: the checks, and which of them fails.
        let cases = [
            (vec![], None),
            (vec![check(b"a", Some(1)), check(b"b", Some(2)), check(b"c", None)], None),
            (vec![check(b"a", None)], Some(0)),
            (vec![check(b"a", Some(2))], Some(0)),
            (vec![check(b"a", Some(1)), check(b"c", Some(1)), check(b"b", None)], Some(1)),
        ];
        for (checks, conflict) in cases {
            let before = store.last_sequence();
            let outcome = store.commit(checks.clone(), vec![put(b"x", b"y")], Meta::default()).await;
            match (outcome, conflict) {
                (Ok(sequence), None) => assert_eq!(sequence, before + 1),
                (Err(CommitError::Conflict { check }), Some(expected)) => {
                    assert_eq!((check, store.last_sequence()), (expected, before));
                }
                (outcome, _) => panic!("{checks:?}: {outcome:?}"),
            }
        }
    });
}

#[test]
fn of_many_that_check_one_version_at_once_exactly_one_wins() {
    on_both(async |store| {
        for round in 0..20 {
            let read_at = store.last_sequence();
            let version = store.get(&[b"k"]).await.unwrap()[0].as_ref().map(|entry| entry.version);
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..16 {
                let store = store.clone();
                tasks.spawn(async move {
                    let checks = vec![check(b"k", version)];
                    match store
                        .commit(checks, vec![put(b"k", b"v")], Meta { read_at: Some(read_at), ..Meta::default() })
                        .await
                    {
                        Ok(_) => 1,
                        Err(CommitError::Conflict { check: 0 }) => 0,
                        Err(other) => panic!("{other}"),
                    }
                });
            }
            assert_eq!(tasks.join_all().await.iter().sum::<u32>(), 1, "round {round}");
        }
        assert_eq!(store.last_sequence(), 20);
    });
}

#[test]
fn an_amended_value_is_as_old_as_what_it_replaces() {
    on_both(async |store| {
        commit(&*store, vec![put(b"a", b"1")]).await.unwrap();
        commit(&*store, vec![put(b"b", b"2")]).await.unwrap();
        let amended = |value: &'static [u8], checked, version| {
            store.commit(vec![check(b"a", Some(checked))], vec![amend(b"a", value, version)], Meta::default())
        };
        assert_eq!(amended(b"another", 1, 1).await.unwrap(), 3);
        let entry = |value: &[u8]| Entry { key: b"a".to_vec(), value: value.to_vec(), version: 1 };
        assert_eq!(store.get(&[b"a"]).await.unwrap(), [Some(entry(b"another"))]);
        // Twice at once: neither sees the other, and both are of the same version.
        let (x, y) = tokio::join!(amended(b"x", 1, 1), amended(b"y", 1, 1));
        assert!(x.is_ok() && y.is_ok());
        assert!(matches!(amended(b"z", 2, 2).await, Err(CommitError::Conflict { .. })));
        assert!(matches!(amended(b"z", 1, 7).await, Err(CommitError::Limit(_))), "of a version that was not checked");
        assert!(matches!(commit(&*store, vec![amend(b"a", b"z", 1)]).await, Err(CommitError::Limit(_))));
    });
}

#[test]
fn the_last_of_several_writes_to_a_key_counts() {
    on_both(async |store| {
        commit(&*store, vec![put(b"a", b"1"), put(b"a", b"2"), put(b"b", b"1"), delete(b"b")]).await.unwrap();
        assert_eq!(all(&*store).await, [Entry { key: b"a".to_vec(), value: b"2".to_vec(), version: 1 }]);
        assert_eq!(commit(&*store, vec![]).await.unwrap(), 2);
    });
}

#[test]
fn a_scan_is_ordered_and_keeps_to_its_range_and_limit() {
    on_both(async |store| {
        let keys: [&[u8]; 6] = [b"\0", b"a", b"a\0", b"ab", b"b", b"\xff\xff"];
        commit(&*store, keys.iter().rev().map(|key| put(key, b"v")).collect()).await.unwrap();
        type Case<'a> = (&'a [u8], &'a [u8], usize, &'a [&'a [u8]], bool);
        let cases: [Case<'_>; 9] = [
            (b"", b"\xff\xff\xff", 100, &keys, false),
            (b"", b"\xff\xff\xff", 6, &keys, false),
            (b"", b"\xff\xff\xff", 5, &keys[..5], true),
            (b"a", b"b", 100, &keys[1..4], false),
            (b"a\0", b"ab", 100, &keys[2..3], false),
            (b"a", b"b", 0, &[], true),
            (b"b", b"a", 100, &[], false),
            (b"a", b"a", 100, &[], false),
            (b"c", b"d", 0, &[], false),
        ];
        for (from, to, limit, expected, more) in cases {
            let page = store.scan(from, to, limit).await.unwrap();
            let found: Vec<&[u8]> = page.entries.iter().map(|entry| entry.key.as_slice()).collect();
            assert_eq!((found.as_slice(), page.more), (expected, more), "{from:?} {to:?} {limit}");
            // The same backwards: the last ones first.
            let back = store.scan_back(from, to, limit).await.unwrap();
            let all = store.scan(from, to, 100).await.unwrap().entries;
            let expected: Vec<_> = all.into_iter().rev().take(limit).collect();
            assert_eq!((back.entries, back.more), (expected, more), "{from:?} {to:?} {limit} backwards");
        }
    });
}

#[test]
fn a_page_stops_at_its_bytes_and_the_next_goes_on() {
    on_both(async |store| {
        let value = vec![1; VALUE_BYTES];
        for half in 0..2_u8 {
            commit(&*store, (0..50).map(|n| put(&[half, n], &value)).collect()).await.unwrap();
        }
        let page = store.scan(&[0], &[9], 1_000).await.unwrap();
        assert!(page.more && page.entries.len() < SCAN_BYTES / VALUE_BYTES + 1);
        assert_eq!(all(&*store).await.len(), 100);
    });
}

#[test]
fn limits_hold_and_the_largest_commit_fits() {
    on_both(async |store| {
        let key = vec![1; KEY_BYTES];
        let long_key = vec![1; KEY_BYTES + 1];
        let many = |count: usize| (0..count).map(|n| put(&n.to_be_bytes(), b"")).collect::<Vec<_>>();
        let bytes = |total: usize| {
            let whole =
                (0..total / VALUE_BYTES).map(|n| put(&[1, u8::try_from(n).unwrap()], &vec![0; VALUE_BYTES - 2]));
            whole.collect::<Vec<_>>()
        };
        let over = [bytes(TRANSACTION_BYTES), vec![put(b"x", b"")]].concat();
        let cases = [
            (vec![], vec![put(&key, &vec![0; VALUE_BYTES])], true),
            (vec![], vec![put(&key, &vec![0; VALUE_BYTES + 1])], false),
            (vec![], vec![put(&long_key, b"")], false),
            (vec![], vec![put(b"", b"")], false),
            (vec![], vec![delete(b"")], false),
            (vec![check(&long_key, None)], vec![], false),
            (vec![check(b"", None)], vec![], false),
            (vec![], many(TRANSACTION_WRITES), true),
            (vec![], many(TRANSACTION_WRITES + 1), false),
            (vec![check(b"q", None); TRANSACTION_WRITES + 1], vec![], false),
            (vec![], bytes(TRANSACTION_BYTES), true),
            (vec![], over, false),
        ];
        for (place, (checks, writes, fits)) in cases.into_iter().enumerate() {
            let outcome = store.commit(checks, writes, Meta::default()).await;
            match outcome {
                Ok(_) => assert!(fits, "case {place}"),
                Err(CommitError::Limit(_)) => assert!(!fits, "case {place}"),
                Err(other) => panic!("case {place}: {other}"),
            }
        }
        let keys = vec![b"a".as_slice(); TRANSACTION_WRITES + 1];
        assert!(matches!(store.get(&keys).await, Err(StoreError::Limit(_))));
        assert_eq!(store.get(&[b"", &long_key]).await.unwrap(), [None, None]);
    });
}

#[test]
fn whoever_reads_during_commits_sees_each_of_them_whole_or_not_at_all() {
    const KEYS: u8 = 60;
    const ROUNDS: u8 = 200;
    on_both(async |store| {
        // Round n writes n to every key of n's third and deletes those of the next one; the keys in between are always there.
        let third = |n: u8, key: u8| key % 3 == n % 3;
        let round = move |n: u8| {
            let keys = (0..KEYS).filter(|key| key % 3 != (n + 2) % 3);
            keys.map(move |key| if third(n, key) { put(&[key], &[n]) } else { delete(&[key]) }).collect::<Vec<_>>()
        };
        let kept: Vec<Write> = (0..KEYS).map(|key| put(&[key, 0], b"kept")).collect();
        commit(&*store, kept).await.unwrap();
        commit(&*store, round(1)).await.unwrap();
        let writer = tokio::spawn({
            let store = store.clone();
            async move {
                for n in 2..ROUNDS {
                    commit(&*store, round(n)).await.unwrap();
                }
            }
        });
        let mut reads = 0;
        while !writer.is_finished() || reads < 10 {
            reads += 1;
            let whole = |entries: Vec<(u8, u8)>, how: &str| {
                let newest = entries.iter().map(|(_, n)| *n).max().unwrap();
                // What round n-1 wrote is still there: only the next one's third was deleted by n, and that is the one of n-2.
                let expected = (0..KEYS).filter_map(|key| {
                    let last = (newest.saturating_sub(1)..=newest).rev().find(|n| *n > 0 && third(*n, key))?;
                    Some((key, last))
                });
                assert_eq!(entries, expected.collect::<Vec<_>>(), "{how}");
            };
            let names: Vec<[u8; 1]> = (0..KEYS).map(|key| [key]).collect();
            let names: Vec<&[u8]> = names.iter().map(|key| &key[..]).collect();
            let got = store.get(&names).await.unwrap();
            whole(got.into_iter().flatten().map(|entry| (entry.key[0], entry.value[0])).collect(), "get");
            for back in [false, true] {
                let (from, to): (&[u8], &[u8]) = (&[0], &[KEYS]);
                let scanned =
                    if back { store.scan_back(from, to, 1_000).await } else { store.scan(from, to, 1_000).await };
                let mut entries = scanned.unwrap().entries;
                if back {
                    entries.reverse();
                }
                assert!(entries.windows(2).all(|pair| pair[0].key < pair[1].key));
                let (changing, kept): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.key.len() == 1);
                assert_eq!(kept.len(), usize::from(KEYS));
                whole(changing.iter().map(|entry| (entry.key[0], entry.value[0])).collect(), "scan");
            }
        }
        writer.await.unwrap();
    });
}
