//! Worlds: what a folder may hold, after commands of which some were cut off.
//!
//! A command that exited with 0 has happened. One that was killed or failed has happened or not, file by file, and nobody knows. So
//! there is a set of trees that are possible; each such command may double it, and whoever looks makes it one again. When what
//! is seen is in no possible world, something acknowledged was lost, something half done is visible, or bytes are wrong.
//!
//! Rests on one writer a folder that does one thing after the other.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::{Dice, content};

/// A file's bytes, by what makes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content {
    pub seed: u64,
    pub len: usize,
}

impl Content {
    /// Most are small, some a few chunks long.
    pub(super) fn random(dice: &mut Dice) -> Self {
        let len = match dice.below(100) {
            0..60 => dice.below(20_000),
            60..85 => dice.between(20_000, 300_000),
            _ => dice.between(300_000, 4_000_000),
        };
        Self { seed: dice.throw(), len: usize::try_from(len).unwrap_or(0) }
    }

    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        content::bytes(self.seed, self.len)
    }
}

/// Names and what is in them.
pub type Tree = BTreeMap<String, Content>;

/// What a command does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Each file for itself is stored whole or not at all.
    Put(Vec<(String, Content)>),
    Remove(String),
    /// The file is at one place or at the other, never at both or none. What was at the other is replaced.
    Move {
        from: String,
        to: String,
    },
}

/// What is seen is impossible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {possible} trees were possible, among them {example:?}")]
pub struct Impossible {
    pub what: String,
    pub possible: usize,
    pub example: Tree,
}

/// The trees that are possible.
#[derive(Debug, Clone)]
pub struct Worlds {
    possible: BTreeSet<Tree>,
}

impl Default for Worlds {
    /// An empty folder.
    fn default() -> Self {
        Self { possible: BTreeSet::from([Tree::new()]) }
    }
}

impl Worlds {
    /// How many trees are possible.
    #[must_use]
    pub fn count(&self) -> usize {
        self.possible.len()
    }

    /// Whether a name is there in every world.
    #[must_use]
    pub fn surely_has(&self, name: &str) -> bool {
        self.possible.iter().all(|tree| tree.contains_key(name))
    }

    /// Whether a name is there in none.
    #[must_use]
    pub fn surely_lacks(&self, name: &str) -> bool {
        !self.possible.iter().any(|tree| tree.contains_key(name))
    }

    /// The command exited with 0.
    ///
    /// # Errors
    /// When it could not have, in any world.
    pub fn acknowledged(&mut self, step: &Step) -> Result<(), Impossible> {
        let after: BTreeSet<_> = self.possible.iter().filter_map(|tree| done(tree, step)).collect();
        if after.is_empty() {
            return Err(self.impossible(format!("{step:?} succeeded")));
        }
        self.possible = after;
        Ok(())
    }

    /// Nobody knows what became of the command.
    pub fn unknown(&mut self, step: &Step) {
        let parts: Vec<Step> = match step {
            Step::Put(files) => files.iter().map(|file| Step::Put(vec![file.clone()])).collect(),
            whole => vec![whole.clone()],
        };
        for part in &parts {
            let after: Vec<_> = self.possible.iter().filter_map(|tree| done(tree, part)).collect();
            self.possible.extend(after);
        }
    }

    /// Somebody read the whole folder: only the worlds that look like it stay.
    ///
    /// # Errors
    /// When none does.
    pub fn saw(&mut self, seen: &BTreeMap<String, Vec<u8>>) -> Result<(), Impossible> {
        let mut alike: BTreeMap<(&str, Content), bool> = BTreeMap::new();
        for (name, content) in self.possible.iter().flatten() {
            alike
                .entry((name, *content))
                .or_insert_with(|| seen.get(name).is_some_and(|bytes| *bytes == content.bytes()));
        }
        let fits = |tree: &Tree| {
            tree.len() == seen.len()
                && tree.iter().all(|(name, content)| alike.get(&(name.as_str(), *content)) == Some(&true))
        };
        let left: BTreeSet<_> = self.possible.iter().filter(|tree| fits(tree)).cloned().collect();
        if left.is_empty() {
            let mut wrong = Vec::new();
            for (name, bytes) in seen {
                let right = alike.iter().any(|((of, _), same)| of == name && *same);
                if !right {
                    wrong.push(format!("{name} has {} bytes that nobody stored there", bytes.len()));
                }
            }
            for tree in self.possible.iter().take(1) {
                wrong
                    .extend(tree.keys().filter(|name| !seen.contains_key(*name)).map(|name| format!("{name} is gone")));
            }
            let names: Vec<_> = seen.keys().collect();
            return Err(self.impossible(format!("seen are {names:?}; {}", wrong.join(", "))));
        }
        self.possible = left;
        Ok(())
    }

    fn impossible(&self, what: String) -> Impossible {
        Impossible { what, possible: self.count(), example: self.possible.first().cloned().unwrap_or_default() }
    }
}

/// The tree after a step; `None` where it cannot be done.
fn done(tree: &Tree, step: &Step) -> Option<Tree> {
    let mut tree = tree.clone();
    match step {
        Step::Put(files) => tree.extend(files.iter().cloned()),
        Step::Remove(name) => drop(tree.remove(name)?),
        Step::Move { from, to } => {
            let content = tree.remove(from)?;
            tree.insert(to.clone(), content);
        }
    }
    Some(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(seed: u64) -> Content {
        Content { seed, len: 10 }
    }

    fn put(names: &[(&str, u64)]) -> Step {
        Step::Put(names.iter().map(|(name, seed)| ((*name).to_owned(), content(*seed))).collect())
    }

    fn seen(names: &[(&str, u64)]) -> BTreeMap<String, Vec<u8>> {
        names.iter().map(|(name, seed)| ((*name).to_owned(), content(*seed).bytes())).collect()
    }

    fn moved(from: &str, to: &str) -> Step {
        Step::Move { from: from.to_owned(), to: to.to_owned() }
    }

    /// Folder `a: 1, b: 2` for sure, then a command of unknown outcome: these may be seen, and those may not.
    fn check(unknown: &Step, possible: &[&[(&str, u64)]], impossible: &[&[(&str, u64)]]) {
        let mut worlds = Worlds::default();
        worlds.acknowledged(&put(&[("a", 1), ("b", 2)])).unwrap();
        worlds.unknown(unknown);
        for tree in possible {
            let mut after = worlds.clone();
            after.saw(&seen(tree)).unwrap_or_else(|error| panic!("{unknown:?}: {tree:?}: {error}"));
            assert_eq!(after.count(), 1, "who looked knows");
        }
        for tree in impossible {
            assert!(worlds.clone().saw(&seen(tree)).is_err(), "{unknown:?}: {tree:?} passed");
        }
    }

    #[test]
    fn what_was_cut_off_is_there_wholly_or_not_at_all() {
        check(&put(&[("a", 3)]), &[&[("a", 1), ("b", 2)], &[("a", 3), ("b", 2)]], &[&[("b", 2)], &[("a", 3)]]);
        check(
            &put(&[("a", 3), ("c", 4)]),
            &[&[("a", 1), ("b", 2), ("c", 4)], &[("a", 3), ("b", 2)], &[("a", 3), ("b", 2), ("c", 4)]],
            &[&[("a", 4), ("b", 2)], &[("a", 1), ("b", 2), ("c", 3)]],
        );
        check(&Step::Remove("a".to_owned()), &[&[("b", 2)], &[("a", 1), ("b", 2)]], &[&[], &[("a", 1)]]);
        check(&moved("a", "b"), &[&[("b", 1)], &[("a", 1), ("b", 2)]], &[&[("a", 1), ("b", 1)], &[("b", 2)]]);
        check(&Step::Remove("c".to_owned()), &[&[("a", 1), ("b", 2)]], &[&[("a", 1)]]);
    }

    #[test]
    fn what_was_acknowledged_after_it_counts() {
        let mut worlds = Worlds::default();
        worlds.unknown(&put(&[("a", 1)]));
        assert!(!worlds.surely_has("a") && !worlds.surely_lacks("a"));
        worlds.acknowledged(&put(&[("a", 2)])).unwrap();
        assert!(worlds.surely_has("a"));
        assert!(worlds.clone().saw(&seen(&[("a", 1)])).is_err());
        assert!(worlds.clone().saw(&seen(&[])).is_err());
        worlds.saw(&seen(&[("a", 2)])).unwrap();

        // A removal that succeeded says that something had been there.
        let mut worlds = Worlds::default();
        worlds.unknown(&put(&[("a", 1)]));
        worlds.acknowledged(&Step::Remove("a".to_owned())).unwrap();
        assert!(worlds.surely_lacks("a"));
        assert!(worlds.acknowledged(&Step::Remove("a".to_owned())).is_err());
    }
}
