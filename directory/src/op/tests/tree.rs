//! The tree against a model: any sequence of operations leaves exactly the tree that a map of paths says.

use std::collections::BTreeMap;

use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Folder { inside: u8, name: u8, made: u8 },
    File { inside: u8, name: u8, made: u8 },
    Move { from: u8, name: u8, to: u8, new: u8, replace: bool },
    Remove { inside: u8, name: u8, recursive: bool },
}

/// Node 1 is the root; few nodes and names, so that they meet.
fn step() -> impl Strategy<Value = Step> {
    let (node, name) = (1..8_u8, 1..4_u8);
    prop_oneof![
        (node.clone(), name.clone(), 2..8_u8).prop_map(|(inside, name, made)| Step::Folder { inside, name, made }),
        (node.clone(), name.clone(), 2..8_u8).prop_map(|(inside, name, made)| Step::File { inside, name, made }),
        (node.clone(), name.clone(), node.clone(), name.clone(), any::<bool>())
            .prop_map(|(from, name, to, new, replace)| Step::Move { from, name, to, new, replace }),
        (node, name, any::<bool>()).prop_map(|(inside, name, recursive)| Step::Remove { inside, name, recursive }),
    ]
}

/// The tree as names in folders.
#[derive(Default)]
struct Model {
    entries: BTreeMap<(u8, u8), (u8, bool)>,
}

impl Model {
    fn parent(&self, node: u8) -> Option<u8> {
        self.entries.iter().find(|(_, (at, _))| *at == node).map(|((folder, _), _)| *folder)
    }

    /// Whether a node hangs on the root.
    fn lives(&self, node: u8) -> bool {
        node == 1 || self.parent(node).is_some_and(|parent| self.lives(parent))
    }

    fn is_folder(&self, node: u8) -> bool {
        node == 1 || self.entries.values().any(|(at, folder)| *at == node && *folder)
    }

    fn is_below(&self, node: u8, above: u8) -> bool {
        node == above || self.parent(node).is_some_and(|parent| self.is_below(parent, above))
    }

    fn takes(&self, folder: u8) -> bool {
        self.is_folder(folder) && self.lives(folder)
    }

    fn make(&mut self, inside: u8, name: u8, made: u8, folder: bool) -> bool {
        let used = self.entries.values().any(|(at, _)| *at == made);
        let free = self.takes(inside) && !used && !self.entries.contains_key(&(inside, name));
        if free {
            self.entries.insert((inside, name), (made, folder));
        }
        free
    }

    fn rename(&mut self, from: (u8, u8), to: (u8, u8), replace: Option<u8>) -> bool {
        let Some((node, folder)) = self.entries.get(&from).copied() else { return false };
        if !self.takes(to.0) || (folder && from != to && self.is_below(to.0, node)) {
            return false;
        }
        if from == to {
            return true;
        }
        let fits = match (self.entries.get(&to), replace) {
            (None, None) => true,
            (Some((there, false)), Some(expected)) => *there == expected && !folder,
            _ => false,
        };
        if fits {
            self.entries.remove(&from);
            self.entries.insert(to, (node, folder));
        }
        fits
    }

    fn remove(&mut self, inside: u8, name: u8, recursive: bool) -> bool {
        let Some((node, _)) = self.entries.get(&(inside, name)).copied() else { return false };
        if !recursive && self.entries.keys().any(|(folder, _)| *folder == node) {
            return false;
        }
        self.entries.remove(&(inside, name));
        true
    }
}

async fn apply(world: &World, who: OfAccount, model: &mut Model, step: &Step) {
    let at = |place: (u8, u8)| model.entries.get(&place).map_or(99, |(node, _)| *node);
    let (done, expected) = match *step {
        Step::Folder { inside, name, made } => {
            let result = world.folder(who, node(inside), name, made).await;
            (result == FolderMade::Made, model.make(inside, name, made, true))
        }
        Step::File { inside, name, made } => {
            let result = world.file(who, node(inside), name, made).await;
            (matches!(result, FilePublished::Visible(_)), model.make(inside, name, made, false))
        }
        Step::Move { from, name, to, new, replace } => {
            let replace = replace.then(|| at((to, new)));
            let moved = at((from, name));
            let result = world.rename(who, (node(from), name), moved, (node(to), new), replace.map(node)).await;
            (result.is_ok(), model.rename((from, name), (to, new), replace))
        }
        Step::Remove { inside, name, recursive } => {
            let result = world.remove(who, node(inside), name, at((inside, name)), recursive).await;
            (result.is_ok(), model.remove(inside, name, recursive))
        }
    };
    assert_eq!(done, expected, "{step:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_operations_leaves_the_tree_of_the_model(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let world = World::new();
            let who = world.account(1).await;
            let mut model = Model::default();
            for step in &steps {
                apply(&world, who, &mut model, step).await;
                // Node ids are never used again once they were removed with what was above them: take new worlds for that.
                if model.entries.values().any(|(at, _)| !model.lives(*at)) {
                    return;
                }
            }
            for folder in (1..8).filter(|folder| model.takes(*folder)) {
                let expected = model.entries.iter().filter(|((inside, _), _)| *inside == folder);
                let expected: Vec<_> = expected.map(|((_, name), (at, _))| (token(*name), node(*at))).collect();
                assert_eq!(world.list(who, node(folder)).await.unwrap(), expected);
            }
        });
    }
}
