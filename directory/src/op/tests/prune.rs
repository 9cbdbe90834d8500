//! Pruning against a model that remembers whole trees: whatever happened before, every kept point reads as it did, and nothing else is left.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::authorize::{Itself, Keeper};
use crate::op::expire::Release;
use crate::op::keep::Plan;
use crate::op::usage;
use crate::schema::{self, Entry, Node, key, record};
use crate::transact::Txn;

/// A tree as it is read: for each path its node and, of a file, its version.
type Tree = BTreeMap<Vec<u8>, (NodeId, Option<VersionId>)>;

/// What was read on the way: keys of records, current ones and history.
type Touched = BTreeSet<Vec<u8>>;

struct Model {
    world: World,
    who: OfAccount,
    /// The tree after each commit.
    trees: BTreeMap<u64, Tree>,
    snapshots: Vec<(u8, u64)>,
    nodes: u8,
    numbers: u64,
}

impl Model {
    async fn new(seed: u64) -> Self {
        let world = World::new();
        let who = world.account(1).await;
        let mut model =
            Self { world, who, trees: BTreeMap::new(), snapshots: Vec::new(), nodes: 1, numbers: seed * 2 + 1 };
        model.note().await;
        model
    }

    fn below(&mut self, bound: usize) -> usize {
        self.numbers = self.numbers.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.numbers >> 33).unwrap() % bound
    }

    async fn all<R: schema::Record>(&self, range: &key::Range<R>) -> Vec<(Vec<u8>, R, u64)> {
        let page = self.world.store.scan(&range.from, &range.to, usize::MAX).await.unwrap();
        assert!(!page.more);
        page.entries.into_iter().map(|e| (e.key, record::decode(&e.value).unwrap(), e.version)).collect()
    }

    /// Reads the whole tree at a sequence, by intervals alone.
    async fn read(&self, at: u64, touched: &mut Touched) -> Tree {
        let account = self.who.account();
        let mut nodes: BTreeMap<NodeId, (Vec<u8>, Node)> = BTreeMap::new();
        let mut entries: BTreeMap<NodeId, Vec<(NameToken, Vec<u8>, Entry)>> = BTreeMap::new();
        for (key, value, version) in self.all(&key::all_nodes()).await {
            if version <= at {
                nodes.insert(NodeId::from_slice(&key[17..33]).unwrap(), (key, value));
            }
        }
        for (key, value, until) in self.all(&key::node_histories(account)).await {
            let (node, since) = key::ids_of_node_history(&key).unwrap();
            if since <= at && at < until {
                assert!(nodes.insert(node, (key, value)).is_none(), "two records of a node at one time");
            }
        }
        for (key, value, version) in self.all(&key::all_entries()).await {
            let (folder, token) = key::place_of_entry(&key).unwrap();
            if version <= at {
                entries.entry(folder).or_default().push((token, key, value));
            }
        }
        for (key, value, until) in self.all(&key::entry_histories(account)).await {
            let (folder, token, since) = key::ids_of_entry_history(&key).unwrap();
            if since <= at && at < until {
                entries.entry(folder).or_default().push((token, key, value));
            }
        }
        let (mut tree, mut todo) = (Tree::new(), vec![(Vec::new(), node(1))]);
        while let Some((path, folder)) = todo.pop() {
            for (token, key, entry) in entries.get(&folder).into_iter().flatten() {
                let path = [path.as_slice(), &[token.0[0]]].concat();
                let (node_key, found) = nodes.get(&entry.node).expect("an entry leads to a node");
                touched.insert(key.clone());
                touched.insert(node_key.clone());
                let version = match found {
                    Node::File { version, parent } => {
                        assert_eq!(*parent, folder, "a file names the folder that it lies in");
                        Some(*version)
                    }
                    Node::Folder { .. } => {
                        todo.push((path.clone(), entry.node));
                        None
                    }
                };
                assert!(tree.insert(path, (entry.node, version)).is_none(), "one name, one entry");
            }
        }
        tree
    }

    async fn note(&mut self) {
        let last = self.world.store.last_sequence();
        let tree = self.read(last, &mut Touched::new()).await;
        self.trees.insert(last, tree);
    }

    /// A folder that is there, or with `gone` perhaps one that is not.
    async fn folder(&mut self, gone: bool) -> NodeId {
        let mut folders = vec![node(1)];
        let kinds = self.all(&key::all_nodes()).await;
        for (key, record, _) in kinds {
            if let Node::Folder { parent: Some(_) } = record {
                let id = NodeId::from_slice(&key[17..33]).unwrap();
                let mut txn = Txn::new(self.world.store.clone());
                if gone || crate::op::keep::is_there(&mut txn, self.who.account(), id, false).await.unwrap() {
                    folders.push(id);
                }
            }
        }
        let chosen = self.below(folders.len());
        folders[chosen]
    }

    async fn act(&mut self) {
        let (folder, name) = (self.folder(false).await, u8::try_from(1 + self.below(3)).unwrap());
        match self.below(10) {
            0 | 1 => {
                self.nodes += 1;
                self.world.folder(self.who, folder, name, self.nodes).await;
            }
            2..=5 => self.put(folder, name).await,
            6 | 7 => {
                // From anywhere, also out of a folder that was removed.
                let gone = self.below(4) == 0;
                let from = self.folder(gone).await;
                let inside = self.all(&key::entries(self.who.account(), from)).await;
                if !inside.is_empty() {
                    let chosen = self.below(inside.len());
                    let (key, entry, _) = &inside[chosen];
                    let (_, token) = key::place_of_entry(key).unwrap();
                    let there = self.world.look(self.who, folder, &[name]).await;
                    let replace = there.first().map(|there| there.node);
                    let (at, moved) = (entry.node.0[0], (folder, name));
                    self.world.rename(self.who, (from, token.0[0]), at, moved, replace).await.ok();
                }
            }
            8 => {
                if let Some(there) = self.world.look(self.who, folder, &[name]).await.first() {
                    let at = there.node.0[0];
                    self.world.remove(self.who, folder, name, at, true).await.unwrap();
                }
            }
            _ => {
                let name = u8::try_from(self.below(200)).unwrap();
                let sealed = vec![name].try_into().unwrap();
                let request = CreateSnapshot { request: RequestId::random(), token: token(name), sealed };
                if let Ok(made) = self.world.run(&request, self.who).await {
                    self.snapshots.push((name, made.sequence));
                }
            }
        }
        self.note().await;
    }

    /// A file with one chunk of its own.
    async fn put(&mut self, folder: NodeId, name: u8) {
        let there = self.world.look(self.who, folder, &[name]).await;
        let (at, expect) = match there.first() {
            None => {
                self.nodes += 1;
                (self.nodes, Expect::Nothing)
            }
            Some(there) => match &there.version {
                Some(version) => (there.node.0[0], Expect::File(there.node, version.version)),
                None => return,
            },
        };
        let (upload, content) = (VersionId::random(), VersionId::random());
        let id = ChunkId(std::array::from_fn(|at| content.0[at % 16]));
        self.world.begin(self.who, upload).await;
        let shards = (0..3).map(|index| shard(index, index + 1, 1)).collect();
        self.world.register(self.who, upload, new_chunk(id, "1/3", 1, shards)).await.unwrap();
        let inline = InlinePage { chunks: vec![id].try_into().unwrap(), sealed: vec![5; 9].try_into().unwrap() };
        let file = NewFile {
            pages: 1,
            sealed_bytes: 1_000,
            inline: Some(inline),
            ..new_file(folder, name, at, content, expect)
        };
        self.world.publish(self.who, upload, vec![file], true).await.unwrap();
        let release = Release { account: self.who.account(), upload };
        while self.world.run(&release, Itself).await.unwrap().more {}
    }

    async fn prune(&self, retention: &Retention, dry_run: bool) -> PruneCounts {
        let (mut counts, mut cursor) = (PruneCounts::default(), PruneCursor::default());
        loop {
            let step =
                Prune { request: RequestId::random(), retention: retention.clone(), dry_run, cursor: cursor.clone() };
            let done = self.world.run(&step, Keeper::from(self.who)).await.unwrap();
            counts.add(&done.counts);
            let Some(next) = done.next else { return counts };
            cursor = next;
        }
    }

    /// Keys that are there now, of the tables that pruning goes over.
    async fn left(&self) -> Touched {
        let account = self.who.account();
        let mut left = Touched::new();
        left.extend(self.all(&key::entry_histories(account)).await.into_iter().map(|(key, _, _)| key));
        left.extend(self.all(&key::node_histories(account)).await.into_iter().map(|(key, _, _)| key));
        left.extend(self.all(&key::all_entries()).await.into_iter().map(|(key, _, _)| key));
        left.extend(self.all(&key::all_nodes()).await.into_iter().map(|(key, _, _)| key));
        left
    }

    /// Records of the last so many versions of files that are there, beyond what is needed anyway.
    async fn last_versions(&self, last: usize, now: &Tree) -> Touched {
        let mut kept = Touched::new();
        for (id, version) in now.values() {
            let Some(current) = version else { continue };
            let mut versions = BTreeSet::from([*current]);
            let history = self.all(&key::node_history_of(self.who.account(), *id)).await;
            for (_, record, _) in history.iter().rev() {
                let Node::File { version, .. } = record else { continue };
                if versions.len() >= last.max(1) {
                    break;
                }
                versions.insert(*version);
            }
            kept.extend(history.into_iter().filter_map(|(key, record, _)| match record {
                Node::File { version, .. } if versions.contains(&version) => Some(key),
                _ => None,
            }));
        }
        kept
    }

    /// A name in a folder that is gone stays as long as its node's own record does.
    async fn handles(&self, needed: &Touched) -> Touched {
        let entries = self.all(&key::all_entries()).await.into_iter();
        let leads = |entry: &Entry| needed.contains(key::node(self.who.account(), entry.node).bytes());
        entries.filter(|(_, entry, _)| leads(entry)).map(|(key, _, _)| key).collect()
    }

    async fn check(&mut self, retention: &Retention) {
        let last = self.world.store.last_sequence();
        let mut points: BTreeSet<u64> = self.snapshots.iter().map(|(_, at)| *at).collect();
        points.extend(retention.points.iter().copied());
        points.extend(retention.from.min(last)..=last);
        let mut needed = Touched::from([key::node(self.who.account(), node(1)).into_bytes()]);
        for point in &points {
            self.read(*point, &mut needed).await;
        }
        let now = self.trees.values().next_back().unwrap().clone();
        let last_so_many = usize::try_from(retention.last).unwrap();
        needed.extend(self.last_versions(last_so_many, &now).await);
        needed.extend(self.handles(&needed).await);
        let before = self.left().await;

        let would = self.prune(retention, true).await;
        assert_eq!(self.world.store.last_sequence(), last, "a dry run changes nothing");
        let versions = self.world.count(&key::all_versions()).await;
        let done = self.prune(retention, false).await;
        assert_eq!(would, done, "a dry run says what happens");
        assert_eq!(versions - usize::try_from(done.versions).unwrap(), self.world.count(&key::all_versions()).await);

        let left = self.left().await;
        let expected: Touched = before.intersection(&needed).cloned().collect();
        assert_eq!(left.difference(&expected).count(), 0, "more is left than is needed");
        assert_eq!(expected.difference(&left).count(), 0, "something needed is gone");
        for (point, tree) in self.trees.range(..=last).filter(|(at, _)| points.contains(at)) {
            assert_eq!(self.read(*point, &mut Touched::new()).await, *tree, "at {point}");
        }
        self.check_versions().await;
        let again = self.prune(retention, false).await;
        assert_eq!((again.entries, again.versions), (0, 0), "nothing is left to do");
    }

    /// Versions are those that something leads to, references those of their pages, and the usage is what a recount says.
    async fn check_versions(&self) {
        let account = self.who.account();
        let nodes = self.all(&key::all_nodes()).await.into_iter();
        let all = nodes.chain(self.all(&key::node_histories(account)).await).map(|(_, record, _)| record);
        let led: BTreeSet<_> = all
            .filter_map(|node| match node {
                Node::File { version, .. } => Some(version),
                Node::Folder { .. } => None,
            })
            .collect();
        let versions = self.all(&key::all_versions()).await.into_iter();
        let versions: BTreeSet<_> = versions.map(|(key, _, _)| key::ids_of_version(&key).unwrap().1).collect();
        assert_eq!(versions, led);
        let references = self.all(&key::all_references()).await.into_iter();
        let holders: BTreeSet<_> = references.map(|(key, _, _)| key::ids_of_reference(&key).unwrap().2).collect();
        assert_eq!(holders, versions);
        let pages = self.all(&key::all_pages()).await.into_iter();
        let pages: BTreeSet<_> = pages.map(|(key, _, _)| key::ids_of_page(&key).unwrap().1).collect();
        assert_eq!(pages, versions);
        assert_eq!(self.world.count(&key::all_going()).await, 0);
        let (bytes, files) = usage::used(&Txn::new(self.world.store.clone()), account).await.unwrap();
        let chunks = self.all(&key::chunks()).await;
        let stored: i64 = chunks.iter().map(|(_, chunk, _)| chunk.stored_bytes()).sum();
        assert_eq!((i64::try_from(bytes).unwrap(), files), (stored, versions.len() as u64));
    }
}

#[tokio::test]
async fn every_kept_point_reads_as_before_and_nothing_else_is_left() {
    for seed in 0..60 {
        let mut model = Model::new(seed).await;
        // What was pruned cannot be read again: only what comes later is asked for, and snapshots.
        let mut floor = 0;
        for _ in 0..3 {
            for _ in 0..25 {
                model.act().await;
            }
            let last = usize::try_from(model.world.store.last_sequence()).unwrap();
            let from = if model.below(3) == 0 { last } else { model.below(last + 1) };
            let points: Vec<u64> = (0..model.below(3)).map(|_| model.below(last + 1) as u64).collect();
            let points: Vec<u64> = points.into_iter().map(|point| point.max(floor)).collect();
            let from = u64::try_from(from).unwrap().max(floor);
            let kept = u32::try_from(model.below(4)).unwrap();
            let retention = Retention { from, points: points.try_into().unwrap(), last: kept };
            eprintln!("seed {seed}: {retention:?}");
            model.check(&retention).await;
            floor = model.world.store.last_sequence();
            let snapshots: BTreeSet<u64> = model.snapshots.iter().map(|(_, at)| *at).collect();
            model.trees.retain(|at, _| snapshots.contains(at));
            model.note().await;
            if model.below(2) == 0
                && let Some((name, at)) = model.snapshots.pop()
            {
                let remove = RemoveSnapshot { request: RequestId::random(), token: token(name) };
                model.world.run(&remove, model.who).await.unwrap();
                model.trees.remove(&at);
            }
        }
    }
}

#[tokio::test]
async fn what_ends_after_the_plan_is_kept_by_it() {
    let mut model = Model::new(1).await;
    model.put(node(1), 1).await;
    let plan = model.world.run(&Plan { policy: Default::default() }, Keeper::from(model.who)).await.unwrap();
    let retention = plan.retention;
    // A snapshot that is made now pins what is there; the file is overwritten after it, before the prune comes to it.
    let sealed = vec![1].try_into().unwrap();
    let request = CreateSnapshot { request: RequestId::random(), token: token(1), sealed };
    let pinned = model.world.run(&request, model.who).await.unwrap().sequence;
    let before = model.read(pinned, &mut Touched::new()).await;
    model.put(node(1), 1).await;
    model.world.remove(model.who, node(1), 1, 2, false).await.unwrap();
    model.prune(&retention, false).await;
    assert_eq!(model.read(pinned, &mut Touched::new()).await, before);
}

#[tokio::test]
async fn a_fenced_store_is_not_pruned_and_says_what_would_go() {
    let model = Model::new(1).await;
    let seen = common::history::HistoryPoint { generation: 9, ..common::history::HistoryPoint::NONE };
    model.world.run(&crate::op::note::CheckHistory { seen }, Itself).await.unwrap();
    let retention = Retention { from: 1, points: Vec::new().try_into().unwrap(), last: 1 };
    let mut step = Prune { request: RequestId::random(), retention, dry_run: false, cursor: PruneCursor::default() };
    assert_eq!(model.world.run(&step, Keeper::from(model.who)).await, Err(Refusal::Fenced));
    step.dry_run = true;
    assert!(model.world.run(&step, Keeper::from(model.who)).await.is_ok());
}

#[tokio::test]
async fn a_version_whose_upload_is_open_is_released_only_after_that() {
    let world = World::new();
    let a = world.account(1).await;
    let upload = version(100);
    world.begin(a, upload).await;
    let shards = (0..3).map(|index| shard(index, index + 1, 1)).collect();
    world.register(a, upload, new_chunk(chunk(1), "1/3", 1, shards)).await.unwrap();
    let page = NewPage { page: 0, chunks: vec![chunk(1)].try_into().unwrap(), sealed: vec![6; 9].try_into().unwrap() };
    world.run(&PutPages { version: upload, pages: vec![page].try_into().unwrap() }, a).await.unwrap();
    let file = NewFile { pages: 1, ..new_file(node(1), 1, 21, upload, Expect::Nothing) };
    world.publish(a, upload, vec![file], false).await.unwrap();
    world.remove(a, node(1), 1, 21, false).await.unwrap();
    let model = Model { world, who: a, trees: BTreeMap::new(), snapshots: vec![], nodes: 30, numbers: 1 };
    let retention = Retention { from: u64::MAX, points: Vec::new().try_into().unwrap(), last: 0 };
    assert_eq!(model.prune(&retention, false).await.versions, 1);
    assert_eq!(model.world.count(&key::all_references()).await, 1, "the upload still holds it");
    // Its id is not to be had again before it is gone.
    model.world.run(&Abandon { version: upload }, a).await.unwrap();
    while model.world.run(&Release { account: a.account(), upload }, Itself).await.unwrap().more {}
    let request = RequestId::random();
    let again = Begin { request, version: upload, redundancy: Redundancy::DEFAULT, bytes: 1 };
    assert!(matches!(model.world.run(&again, a).await, Err(Refusal::Exists(_))));
    model.prune(&retention, false).await;
    assert_eq!(model.world.count(&key::all_references()).await, 0);
    assert_eq!(model.world.count(&key::all_pages()).await, 0);
}

#[tokio::test]
async fn a_plan_names_the_end_of_each_of_the_last_days_and_all_that_lies_within() {
    const HOUR: u64 = 3_600_000;
    let mut model = Model::new(1).await;
    for day in 20..25 {
        for hour in [1, 13] {
            model.world.context.now = Timestamp((day * 24 + hour) * HOUR);
            model.put(node(1), 1).await;
        }
    }
    let changes = model.all(&key::changes(model.who.account())).await;
    // Making the tree was one, too.
    let ends: Vec<u64> = changes.iter().skip(changes.len() - 10).map(|(_, _, sequence)| *sequence).collect();
    let plan = async |text: &str| {
        let policy = text.parse().unwrap();
        model.world.run(&Plan { policy }, Keeper::from(model.who)).await.unwrap().retention
    };
    let last = model.world.store.last_sequence();
    let daily = plan("daily=3").await;
    assert_eq!((daily.points.to_vec(), daily.from), (vec![ends[5], ends[7], ends[9]], last));
    // It is the 13th hour of the 24th day: 36 hours before, the change of the first hour of the 23rd was the last.
    assert_eq!(plan("within=36h").await.from, ends[6]);
    assert_eq!(plan("within=35h").await.from, ends[6]);
    assert_eq!(plan("within=1000d").await.from, 0, "nothing was before: all is kept");
    assert_eq!(plan("yearly=9,daily=1").await.points.to_vec(), [ends[9]], "one point may be the end of several");
}
