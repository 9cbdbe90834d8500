//! Tree: the reference. What an account's files are, and what each command makes of them; and since nobody knows what became of a command
//! that was broken off, a set of trees of which one must be the real one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A content, by number; its length is its own, so a listing tells which it is.
pub type Content = u32;

/// All folders and files, by their whole paths.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Tree {
    pub folders: BTreeSet<String>,
    pub files: BTreeMap<String, Content>,
}

/// What a command does to a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Nothing,
    Put {
        path: String,
        content: Content,
    },
    /// A put that was broken off arrives after all: while what is there is what it saw.
    Arrive {
        path: String,
        content: Content,
        saw: Option<Content>,
    },
    /// A file, or a folder with all that is in it.
    Rename {
        from: String,
        to: String,
    },
    Copy {
        from: String,
        to: String,
    },
    Remove {
        path: String,
    },
    MakeFolder {
        path: String,
    },
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

impl Tree {
    #[must_use]
    pub fn has_folder(&self, path: &str) -> bool {
        path.is_empty() || self.folders.contains(path)
    }

    /// The tree after it; `None` where it cannot be done.
    #[must_use]
    pub fn after(&self, effect: &Effect) -> Option<Self> {
        let mut tree = self.clone();
        let fits = |tree: &Self, path: &str| tree.has_folder(parent(path)) && !tree.folders.contains(path);
        match effect {
            Effect::Nothing => {}
            Effect::Put { path, content } => {
                fits(&tree, path).then_some(())?;
                tree.files.insert(path.clone(), *content);
            }
            Effect::Arrive { path, content, saw } => {
                (fits(&tree, path) && tree.files.get(path) == saw.as_ref()).then_some(())?;
                tree.files.insert(path.clone(), *content);
            }
            Effect::Copy { from, to } => {
                let content = *tree.files.get(from)?;
                fits(&tree, to).then_some(())?;
                tree.files.insert(to.clone(), content);
            }
            Effect::Rename { from, to } => {
                fits(&tree, to).then_some(())?;
                if let Some(content) = tree.files.remove(from) {
                    tree.files.insert(to.clone(), content);
                } else {
                    (tree.folders.contains(from) && !tree.files.contains_key(to)).then_some(())?;
                    let moved = |path: &String| match path == from || is_below(path, from) {
                        true => format!("{to}{}", path.strip_prefix(from.as_str()).unwrap_or_default()),
                        false => path.clone(),
                    };
                    tree.folders = tree.folders.iter().map(moved).collect();
                    tree.files = tree.files.iter().map(|(path, content)| (moved(path), *content)).collect();
                }
            }
            Effect::Remove { path } => {
                let file = tree.files.remove(path).is_some();
                (file || tree.folders.contains(path)).then_some(())?;
                tree.folders.retain(|other| other != path && !is_below(other, path));
                tree.files.retain(|other, _| !is_below(other, path));
            }
            Effect::MakeFolder { path } => {
                (fits(&tree, path) && !tree.files.contains_key(path)).then_some(())?;
                tree.folders.insert(path.clone());
            }
        }
        Some(tree)
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folders: Vec<_> = self.folders.iter().map(|path| format!("{path}/")).collect();
        let files: Vec<_> = self.files.iter().map(|(path, content)| format!("{path}=c{content}")).collect();
        write!(f, "{} {}", folders.join(" "), files.join(" "))
    }
}

/// How a command ended, as its user was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Done,
    /// It failed, or was broken off.
    Unknown,
}

/// What one account's tree may be.
#[derive(Debug, Clone, Default)]
pub struct Account {
    pub tree: Tree,
    /// A put that was broken off and may yet arrive.
    pub ghost: Option<Effect>,
}

impl Account {
    /// Every tree that there may be after commands that ran at once: each in every order, and those of unknown end done or not.
    #[must_use]
    pub fn after(&self, effects: &[(Effect, Told)]) -> Vec<Tree> {
        let mut all = effects.to_vec();
        all.extend(self.ghost.iter().map(|ghost| (ghost.clone(), Told::Unknown)));
        let mut trees = Vec::new();
        orders(&self.tree, &all, &mut trees);
        trees.sort();
        trees.dedup();
        trees
    }
}

fn orders(tree: &Tree, effects: &[(Effect, Told)], trees: &mut Vec<Tree>) {
    if effects.is_empty() {
        trees.push(tree.clone());
        return;
    }
    for (place, (effect, told)) in effects.iter().enumerate() {
        let rest: Vec<_> =
            effects.iter().enumerate().filter(|(other, _)| *other != place).map(|(_, e)| e.clone()).collect();
        if let Some(after) = tree.after(effect) {
            orders(&after, &rest, trees);
        }
        if *told == Told::Unknown {
            orders(tree, &rest, trees);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(path: &str, content: Content) -> Effect {
        Effect::Put { path: path.into(), content }
    }

    #[test]
    fn commands_do_to_a_tree_what_they_say() {
        let tree = |effects: &[Effect]| effects.iter().try_fold(Tree::default(), |tree, effect| tree.after(effect));
        let folder = || Effect::MakeFolder { path: "/a".into() };
        let rename = |from: &str, to: &str| Effect::Rename { from: from.into(), to: to.into() };
        let moved = tree(&[folder(), put("/a/x", 1), rename("/a", "/b"), put("/a", 2)]);
        assert_eq!(moved.unwrap().to_string(), "/b/ /a=c2 /b/x=c1");
        assert_eq!(tree(&[folder(), put("/a", 1)]), None);
        assert_eq!(tree(&[put("/a/x", 1)]), None);
        let removed = tree(&[folder(), put("/a/x", 1), put("/ab", 2), Effect::Remove { path: "/a".into() }]);
        assert_eq!(removed.unwrap().to_string(), " /ab=c2");
        let over = tree(&[put("/x", 1), put("/y", 2), rename("/x", "/y")]);
        assert_eq!(over.unwrap().to_string(), " /y=c1");
    }

    #[test]
    fn of_two_commands_at_once_either_may_be_first_and_an_unknown_one_may_be_none() {
        let account = Account::default();
        let texts = |effects: &[(Effect, Told)]| -> Vec<String> {
            account.after(effects).iter().map(ToString::to_string).collect()
        };
        assert_eq!(texts(&[(put("/x", 1), Told::Done), (put("/x", 2), Told::Done)]), [" /x=c1", " /x=c2"]);
        assert_eq!(texts(&[(put("/x", 1), Told::Unknown)]), [" ", " /x=c1"]);
        let remove = Effect::Remove { path: "/x".into() };
        assert_eq!(texts(&[(put("/x", 1), Told::Done), (remove, Told::Done)]), [" "]);
    }
}
