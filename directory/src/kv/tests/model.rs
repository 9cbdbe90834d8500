//! Random operations, closings and kills, against a map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Commit {
        checks: Vec<(u8, Guess)>,
        writes: Vec<(u8, Option<u8>)>,
    },
    /// Remembers what is there, as a decision does that has read everything.
    Look,
    /// Checks what the last look saw.
    Late {
        checked: Vec<u8>,
        writes: Vec<(u8, Option<u8>)>,
    },
    Scan {
        from: u8,
        to: u8,
        limit: usize,
    },
    Close,
    Kill,
    LoseIndex,
}

#[derive(Clone, Copy, Debug)]
enum Guess {
    Right,
    Absent,
    Old,
}

fn step() -> impl Strategy<Value = Step> {
    let guess = prop_oneof![6 => Just(Guess::Right), 1 => Just(Guess::Absent), 1 => Just(Guess::Old)];
    let checks = prop::collection::vec((0_u8..20, guess), 0..3);
    let writes = || prop::collection::vec((0_u8..20, any::<Option<u8>>()), 0..6);
    let checked = prop::collection::vec(0_u8..20, 0..3);
    prop_oneof![
        20 => (checks, writes()).prop_map(|(checks, writes)| Step::Commit { checks, writes }),
        3 => Just(Step::Look),
        9 => (checked, writes()).prop_map(|(checked, writes)| Step::Late { checked, writes }),
        6 => (0_u8..22, 0_u8..22, 0_usize..9).prop_map(|(from, to, limit)| Step::Scan { from, to, limit }),
        1 => Just(Step::Close),
        1 => Just(Step::Kill),
        1 => Just(Step::LoseIndex),
    ]
}

#[derive(Default)]
struct Model {
    map: BTreeMap<u8, (u64, Vec<u8>)>,
    sequence: u64,
    /// What the last look saw, and the sequence before it.
    seen: BTreeMap<u8, u64>,
    seen_at: u64,
}

impl Model {
    fn look(&mut self) {
        self.seen = self.map.iter().map(|(key, (version, _))| (*key, *version)).collect();
        self.seen_at = self.sequence;
    }

    fn entries(&self, from: u8, to: u8) -> Vec<Entry> {
        let range = if from < to { from..to } else { 0..0 };
        let entry = |(key, (version, value)): (&u8, &(u64, Vec<u8>))| Entry {
            key: vec![*key],
            value: value.clone(),
            version: *version,
        };
        self.map.range(range).map(entry).collect()
    }

    async fn commit(&mut self, store: &dyn Store, checks: &[(u8, Guess)], writes: &[(u8, Option<u8>)]) {
        let version = |key: &u8| self.map.get(key).map(|(version, _)| *version);
        let guessed = |(key, guess): &(u8, Guess)| match guess {
            Guess::Right => version(key),
            Guess::Absent => None,
            Guess::Old => Some(version(key).unwrap_or(1).saturating_sub(1)),
        };
        let sent = checks.iter().map(|pair| (pair.0, guessed(pair))).collect();
        self.send(store, sent, writes, None).await;
    }

    async fn late(&mut self, store: &dyn Store, checked: &[u8], writes: &[(u8, Option<u8>)]) {
        let checks = checked.iter().map(|key| (*key, self.seen.get(key).copied())).collect();
        self.send(store, checks, writes, Some(self.seen_at)).await;
    }

    async fn send(
        &mut self,
        store: &dyn Store,
        checks: Vec<(u8, Option<u64>)>,
        writes: &[(u8, Option<u8>)],
        read_at: Option<u64>,
    ) {
        let version = |key: &u8| self.map.get(key).map(|(version, _)| *version);
        let conflict = checks.iter().position(|(key, wanted)| *wanted != version(key));
        let sent = checks.iter().map(|(key, wanted)| check(&[*key], *wanted)).collect();
        let changes = writes
            .iter()
            .map(|(key, value)| value.map_or(delete(&[*key]), |value| put(&[*key], &vec![value; value.into()])))
            .collect();
        match store.commit(sent, changes, Meta { read_at, ..Meta::default() }).await {
            Err(CommitError::Conflict { check }) => assert_eq!(Some(check), conflict),
            Ok(sequence) => {
                assert_eq!((sequence, conflict), (self.sequence + 1, None));
                self.sequence = sequence;
                for (key, value) in writes {
                    match value {
                        Some(value) => drop(self.map.insert(*key, (sequence, vec![*value; (*value).into()]))),
                        None => drop(self.map.remove(key)),
                    }
                }
            }
            Err(other) => panic!("{other}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_does_what_a_map_does_whatever_ends_it(steps in prop::collection::vec(step(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let mut model = Model::default();
        let mut store = Some(open(dir.path()).unwrap());
        for step in steps {
            let now = store.as_ref().unwrap();
            match step {
                Step::Commit { checks, writes } => run(model.commit(now, &checks, &writes)),
                Step::Look => model.look(),
                Step::Late { checked, writes } => run(model.late(now, &checked, &writes)),
                Step::Scan { from, to, limit } => {
                    let page = run(now.scan(&[from], &[to], limit)).unwrap();
                    let expected = model.entries(from, to);
                    prop_assert_eq!(page.more, expected.len() > limit);
                    prop_assert_eq!(&page.entries[..], &expected[..limit.min(expected.len())]);
                    continue;
                }
                Step::Close => {
                    run(now.close()).unwrap();
                    store = None;
                }
                Step::Kill => store = None,
                Step::LoseIndex => {
                    store = None;
                    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
                }
            }
            if store.is_none() {
                store = Some(open(dir.path()).unwrap());
            }
            prop_assert_eq!(store.as_ref().unwrap().last_sequence(), model.sequence);
        }
        prop_assert_eq!(run(all(store.as_ref().unwrap())), model.entries(0, 255));
    }
}
