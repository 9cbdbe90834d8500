//! The past against a model that keeps a whole tree after every commit: what is looked up, listed and told of any sequence is what the
//! tree was then, whatever was done afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use proptest::prelude::*;

/// What a name leads to: the node, and a file's version.
type Leads = (NodeId, Option<VersionId>);

/// A tree: names in folders. Only what hangs on the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Tree {
    entries: BTreeMap<(NodeId, u8), Leads>,
}

const ROOT: NodeId = NodeId([1; 16]);

impl Tree {
    fn folders(&self) -> Vec<NodeId> {
        let below = self.entries.values().filter(|(_, version)| version.is_none()).map(|(node, _)| *node);
        std::iter::once(ROOT).chain(below).collect()
    }

    fn children(&self, folder: NodeId) -> Vec<(NameToken, Leads)> {
        let inside = self.entries.range((folder, 0)..=(folder, u8::MAX));
        inside.map(|((_, name), leads)| (token(*name), *leads)).collect()
    }

    fn is_below(&self, node: NodeId, above: NodeId) -> bool {
        let parent = self.entries.iter().find(|(_, (at, _))| *at == node).map(|((folder, _), _)| *folder);
        node == above || parent.is_some_and(|parent| self.is_below(parent, above))
    }

    /// Takes a node with all below it away.
    fn cut(&mut self, node: NodeId) {
        let inside: Vec<_> =
            self.entries.range((node, 0)..=(node, u8::MAX)).map(|(at, leads)| (*at, leads.0)).collect();
        for (at, child) in inside {
            self.entries.remove(&at);
            self.cut(child);
        }
    }

    fn look(&self, path: &[u8]) -> Vec<Leads> {
        let (mut folder, mut found) = (ROOT, Vec::new());
        for name in path {
            let Some(leads) = self.entries.get(&(folder, *name)) else { break };
            found.push(*leads);
            if leads.1.is_some() {
                break;
            }
            folder = leads.0;
        }
        found
    }
}

/// Picks are numbers that are taken modulo what there is to pick from.
#[derive(Debug, Clone)]
enum Step {
    Folder {
        inside: usize,
        name: u8,
    },
    Put {
        inside: usize,
        name: u8,
    },
    Move {
        which: usize,
        to: usize,
        name: u8,
    },
    Remove {
        which: usize,
    },
    /// Makes a file of an earlier tree current again at its name.
    Restore {
        then: usize,
        which: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (pick, name) = (any::<usize>(), 1..5_u8);
    prop_oneof![
        2 => (pick, name.clone()).prop_map(|(inside, name)| Step::Folder { inside, name }),
        4 => (pick, name.clone()).prop_map(|(inside, name)| Step::Put { inside, name }),
        3 => (pick, pick, name).prop_map(|(which, to, name)| Step::Move { which, to, name }),
        2 => pick.prop_map(|which| Step::Remove { which }),
        2 => (pick, pick).prop_map(|(then, which)| Step::Restore { then, which }),
    ]
}

fn picked<T: Clone>(from: &[T], pick: usize) -> Option<T> {
    if from.is_empty() { None } else { from.get(pick % from.len()).cloned() }
}

/// The store, the tree as it is, and as it was after each sequence.
struct Run {
    world: World,
    who: OfAccount,
    tree: Tree,
    /// By the sequence from which it was so, with the time of the commit.
    trees: BTreeMap<u64, (Timestamp, Tree)>,
}

impl Run {
    async fn new() -> Self {
        let world = World::new();
        let who = world.account(1).await;
        let mut run = Self { world, who, tree: Tree::default(), trees: BTreeMap::new() };
        run.note();
        run
    }

    /// Remembers the tree as it is from here on.
    fn note(&mut self) {
        let now = self.world.context.now;
        let tree = (now, self.tree.clone());
        self.trees.entry(self.world.store.last_sequence()).or_insert(tree);
        self.world.context.now = now.plus(Duration::from_secs(10));
    }

    async fn put(&mut self, folder: NodeId, name: u8) {
        let there = self.tree.entries.get(&(folder, name)).copied();
        let (at, expect) = match there {
            None => (NodeId::random(), Expect::Nothing),
            Some((node, Some(version))) => (node, Expect::File(node, version)),
            Some((_, None)) => return,
        };
        let (upload, content) = (VersionId::random(), VersionId::random());
        self.world.begin(self.who, upload).await;
        let mut file = new_file(folder, name, 0, content, expect);
        file.node = at;
        let done = self.world.publish(self.who, upload, vec![file], true).await.unwrap();
        assert!(matches!(done.as_slice(), [FilePublished::Visible(_)]), "{done:?}");
        self.tree.entries.insert((folder, name), (at, Some(content)));
    }

    async fn folder(&mut self, folder: NodeId, name: u8) {
        if self.tree.entries.contains_key(&(folder, name)) {
            return;
        }
        let made = NodeId::random();
        let new = NewFolder { folder, token: token(name), node: made, sealed: vec![name].try_into().unwrap() };
        let request = MakeFolders { request: RequestId::random(), folders: vec![new].try_into().unwrap() };
        assert_eq!(self.world.run(&request, self.who).await.unwrap().results[0], FolderMade::Made);
        self.tree.entries.insert((folder, name), (made, None));
    }

    async fn rename(&mut self, from: (NodeId, u8), to: (NodeId, u8)) {
        let Some((node, version)) = self.tree.entries.get(&from).copied() else { return };
        let replaced = self.tree.entries.get(&to).copied();
        let fits = match replaced {
            None => version.is_some() || !self.tree.is_below(to.0, node),
            Some((there, other)) => there != node && version.is_some() && other.is_some(),
        };
        if from == to || !fits {
            return;
        }
        let request = Rename {
            request: RequestId::random(),
            from_folder: from.0,
            from_token: token(from.1),
            node,
            to_folder: to.0,
            to_token: token(to.1),
            sealed: vec![to.1].try_into().unwrap(),
            replace: replaced.map(|(there, _)| there),
        };
        self.world.run(&request, self.who).await.unwrap();
        self.tree.entries.remove(&from);
        self.tree.entries.insert(to, (node, version));
    }

    async fn remove(&mut self, at: (NodeId, u8)) {
        let Some((node, _)) = self.tree.entries.get(&at).copied() else { return };
        let (folder, token) = (at.0, token(at.1));
        let request = Remove { request: RequestId::random(), folder, token, node, recursive: true };
        self.world.run(&request, self.who).await.unwrap();
        self.tree.entries.remove(&at);
        self.tree.cut(node);
    }

    async fn apply(&mut self, step: &Step) {
        let places: Vec<_> = self.tree.entries.keys().copied().collect();
        let folders = self.tree.folders();
        match *step {
            Step::Folder { inside, name } => {
                self.folder(picked(&folders, inside).unwrap(), name).await;
            }
            Step::Put { inside, name } => self.put(picked(&folders, inside).unwrap(), name).await,
            Step::Move { which, to, name } => {
                if let Some(from) = picked(&places, which) {
                    self.rename(from, (picked(&folders, to).unwrap(), name)).await;
                }
            }
            Step::Remove { which } => {
                if let Some(at) = picked(&places, which) {
                    self.remove(at).await;
                }
            }
            Step::Restore { then, which } => {
                let trees: Vec<_> = self.trees.values().map(|(_, tree)| tree.clone()).collect();
                let tree = picked(&trees, then).unwrap();
                let files: Vec<_> =
                    tree.entries.iter().filter(|(_, (_, v))| v.is_some()).map(|(place, _)| *place).collect();
                if let Some((folder, name)) = picked(&files, which)
                    && folders.contains(&folder)
                {
                    self.put(folder, name).await;
                }
            }
        }
        self.note();
    }

    /// The tree as it was at a sequence.
    fn then(&self, at: u64) -> &Tree {
        self.trees.range(..=at).next_back().map(|(_, (_, tree))| tree).expect("it had begun")
    }

    async fn list(&self, folder: NodeId, at: u64) -> Vec<(NameToken, Leads)> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self.world.run(&List { folder, after, at: Some(at) }, self.who).await.unwrap();
            found.extend(page.entries.iter().map(leads));
            after = page.next;
            if after.is_none() {
                return found;
            }
        }
    }

    /// Every sequence: every folder is listed, and every path looked up.
    async fn check(&self) {
        let first = *self.trees.keys().next().unwrap();
        let paths: BTreeSet<Vec<u8>> = (1..5).flat_map(|a| (1..5).map(move |b| vec![a, b, b % 4 + 1])).collect();
        for at in first..=self.world.store.last_sequence() {
            let tree = self.then(at);
            for folder in tree.folders() {
                assert_eq!(self.list(folder, at).await, tree.children(folder), "{folder:?} at {at}");
            }
            for path in &paths {
                let tokens: Vec<_> = path.iter().map(|name| token(*name)).collect();
                let request = LookUp { start: ROOT, path: tokens.try_into().unwrap(), manifest: false, at: Some(at) };
                let found = self.world.run(&request, self.who).await.unwrap();
                let found: Vec<_> = found.entries.iter().map(|entry| leads(entry).1).collect();
                assert_eq!(found, tree.look(path), "{path:?} at {at}");
            }
        }
    }

    /// Every name in the root: its history is that of the trees, and every time leads to the tree of that time.
    async fn check_history(&self) {
        for name in 1..5 {
            let request = ReadHistory { folder: ROOT, token: token(name), before: None };
            let history = self.world.run(&request, self.who).await.unwrap();
            let mut expected: Vec<(u64, Option<u64>, Leads)> = Vec::new();
            for (sequence, (_, tree)) in &self.trees {
                let now = tree.entries.get(&(ROOT, name)).copied();
                match (expected.last_mut().filter(|(_, until, _)| until.is_none()), now) {
                    (Some((_, _, leads)), Some(now)) if *leads == now => {}
                    (before, now) => {
                        if let Some((_, until, _)) = before {
                            *until = Some(*sequence);
                        }
                        expected.extend(now.map(|leads| (*sequence, None, leads)));
                    }
                }
            }
            expected.reverse();
            let state = |state: &NameState| {
                let until = state.until.map(|ended| ended.moment.sequence);
                (state.entry.since, until, leads(&state.entry).1)
            };
            assert_eq!(history.states.iter().map(state).collect::<Vec<_>>(), expected, "name {name}");
            for state in history.states {
                assert_eq!(self.trees.get(&state.entry.since).unwrap().0, state.at);
                if let Some(ended) = state.until {
                    let (at, tree) = self.trees.get(&ended.moment.sequence).unwrap();
                    assert_eq!(*at, ended.moment.at);
                    let how = match tree.entries.get(&(ROOT, name)) {
                        Some(_) => HowEnded::Replaced,
                        None if tree.entries.values().any(|(node, _)| *node == state.entry.node) => HowEnded::Moved,
                        None => HowEnded::Removed,
                    };
                    assert_eq!(ended.how, how);
                }
            }
        }
        for (at, tree) in self.trees.values() {
            for later in [0, 4_000] {
                let when = When::At(at.plus(Duration::from_millis(later)));
                let found = self.world.run(&FindMoment { when }, self.who).await.unwrap().moment.unwrap();
                assert_eq!(self.then(found.sequence), tree);
                assert!(found.at <= *at);
            }
        }
    }
}

fn leads(entry: &EntryView) -> (NameToken, Leads) {
    (entry.token, (entry.node, entry.version.as_ref().map(|version| version.version)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_sequence_shows_the_tree_that_was_then(steps in prop::collection::vec(step(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::new().await;
            for step in &steps {
                run.apply(step).await;
            }
            run.check().await;
            run.check_history().await;
            // Sealed anew, all of it is as old as it was.
            super::rekey::rekey_all(&run.world, run.who).await;
            run.check().await;
            run.check_history().await;
        });
    }
}

#[tokio::test]
async fn a_long_history_is_passed_over_and_not_read() {
    let mut run = Run::new().await;
    for name in [1, 2, 3] {
        run.put(ROOT, name).await;
        run.note();
    }
    let early = run.world.store.last_sequence();
    for _ in 0..1_000 {
        run.put(ROOT, 2).await;
    }
    run.note();
    let middle = run.world.store.last_sequence();
    run.remove((ROOT, 1)).await;
    run.put(ROOT, 2).await;
    run.note();
    for at in [early, middle, run.world.store.last_sequence()] {
        assert_eq!(run.list(ROOT, at).await, run.then(at).children(ROOT));
    }
    // The history of the name itself comes page by page, without a gap and without a double.
    let (mut before, mut since) = (None, Vec::new());
    loop {
        let request = ReadHistory { folder: ROOT, token: token(2), before };
        let page = run.world.run(&request, run.who).await.unwrap();
        since.extend(page.states.iter().map(|state| state.entry.since));
        before = since.last().copied();
        if !page.more {
            break;
        }
    }
    assert_eq!(since.len(), 1_002);
    assert!(since.is_sorted_by(|a, b| a > b));
}

#[tokio::test]
async fn many_names_that_are_gone_make_pages_that_may_be_empty_and_go_on() {
    let mut run = Run::new().await;
    let many = |number: u16| NameToken([number.to_be_bytes().as_slice(), &[0; 14]].concat().try_into().unwrap());
    for batch in 0..20_u16 {
        let upload = VersionId::random();
        run.world.begin(run.who, upload).await;
        let files = (0..250).map(|i| {
            let mut file = new_file(ROOT, 1, 0, VersionId::random(), Expect::Nothing);
            (file.node, file.token) = (NodeId::random(), many(batch * 250 + i));
            file
        });
        let files: Vec<_> = files.collect();
        let removed: Vec<_> = files.iter().map(|file| (file.token, file.node)).collect();
        run.world.publish(run.who, upload, files, true).await.unwrap();
        for (token, node) in removed {
            let request = Remove { request: RequestId::random(), folder: ROOT, token, node, recursive: false };
            run.world.run(&request, run.who).await.unwrap();
        }
    }
    run.put(ROOT, 255).await;
    let full = run.world.store.last_sequence();
    let (mut pages, mut found, mut after) = (0, Vec::new(), None);
    loop {
        let page = run.world.run(&List { folder: ROOT, after, at: Some(full) }, run.who).await.unwrap();
        pages += 1;
        found.extend(page.entries.iter().map(|entry| entry.token));
        assert!(page.next.is_none() || page.next > after, "it goes on");
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, [token(255)]);
    assert!((2..20).contains(&pages), "{pages} pages");
}

#[tokio::test]
async fn no_account_sees_into_the_past_of_another() {
    let mut run = Run::new().await;
    run.put(ROOT, 1).await;
    let other = run.world.account(2).await;
    let last = run.world.store.last_sequence();
    let list = run.world.run(&List { folder: ROOT, after: None, at: Some(last) }, other).await;
    assert_eq!(list.unwrap_err(), Refusal::NotFound(common::proto::refusal::What::Folder));
    let history = ReadHistory { folder: ROOT, token: token(1), before: None };
    assert!(run.world.run(&history, other).await.unwrap().states.is_empty());
    let own = run.world.run(&FindMoment { when: When::Now }, other).await.unwrap().first.unwrap();
    assert_eq!(own.sequence, last, "its own beginning, and not the other's");
}

#[tokio::test]
async fn times_outside_of_history_are_told_apart() {
    let mut run = Run::new().await;
    run.put(ROOT, 1).await;
    run.note();
    let (last, now) = (run.world.store.last_sequence(), run.world.context.now);
    let find = async |when| run.world.run(&FindMoment { when }, run.who).await.unwrap();
    let first = find(When::Now).await.first.unwrap();
    assert_eq!(find(When::Now).await.moment, Some(Moment { sequence: last, at: now }));
    assert_eq!(find(When::At(now.plus(Duration::from_millis(1)))).await.moment, None);
    assert_eq!(find(When::At(Timestamp(first.at.0 - 1))).await.moment, None);
    assert_eq!(find(When::At(first.at)).await.moment.unwrap().at, first.at);
    assert_eq!(find(When::Ago(u64::MAX)).await.moment, None);
    assert_eq!(find(When::Ago(0)).await.moment.unwrap().sequence, last);
    assert_eq!(find(When::Sequence(last + 1)).await.moment, None);
    assert_eq!(find(When::Sequence(0)).await.moment, None);
    assert_eq!(find(When::Sequence(last)).await.moment.unwrap().sequence, last);
}
