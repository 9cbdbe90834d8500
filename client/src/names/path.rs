//! Path: where something is in the account's tree, `/like/this`.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use common::limits::PATH_DEPTH;

use super::{Name, NameError, Shown};

/// A list of names from the account's root; none for the root itself.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RemotePath {
    names: Vec<Name>,
    folder: bool,
}

/// Text that is no remote path. The position of a part counts from one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("a remote path begins with a slash; write /{} for {}", Shown(path), Shown(path))]
    NotAbsolute { path: Vec<u8> },
    #[error("a remote path cannot be empty; write / for the root")]
    Empty,
    #[error("part {position} of {} is empty; write one slash only", Shown(path))]
    EmptyPart { path: Vec<u8>, position: usize },
    #[error("part {position} of {} cannot be used: remote paths are written out in full", Shown(path))]
    Part {
        path: Vec<u8>,
        position: usize,
        #[source]
        source: NameError,
    },
    #[error("the path has {depth} parts, and at most {PATH_DEPTH} are possible; use fewer folders in each other")]
    TooDeep { depth: usize },
}

impl RemotePath {
    #[must_use]
    pub fn root() -> Self {
        Self { names: Vec::new(), folder: true }
    }

    /// Reads `/like/this`, or `/like/this/` to say that it [must be a folder](Self::must_be_folder).
    ///
    /// # Errors
    /// When it does not begin with a slash, or a part cannot be a name, or there are too many of them.
    pub fn parse(path: &[u8]) -> Result<Self, PathError> {
        if path.is_empty() {
            return Err(PathError::Empty);
        }
        let Some(inner) = path.strip_prefix(b"/") else {
            return Err(PathError::NotAbsolute { path: path.to_owned() });
        };
        if inner.is_empty() {
            return Ok(Self::root());
        }
        let (inner, folder) = inner.strip_suffix(b"/").map_or((inner, false), |inner| (inner, true));
        let depth = inner.split(|b| *b == b'/').count();
        if depth > PATH_DEPTH {
            return Err(PathError::TooDeep { depth });
        }
        let name = |(i, part)| {
            Name::new(part).map_err(|error| match error {
                NameError::Empty => PathError::EmptyPart { path: path.to_owned(), position: i + 1 },
                source => PathError::Part { path: path.to_owned(), position: i + 1, source },
            })
        };
        let names = inner.split(|b| *b == b'/').enumerate().map(name).collect::<Result<_, _>>()?;
        Ok(Self { names, folder })
    }

    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn from_os(path: &OsStr) -> Result<Self, PathError> {
        Self::parse(path.as_bytes())
    }

    #[must_use]
    pub fn names(&self) -> &[Name] {
        &self.names
    }

    #[must_use]
    pub fn is_root(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether it was written with a slash at its end, or is the root: then a file there is not what is meant.
    #[must_use]
    pub fn must_be_folder(&self) -> bool {
        self.folder
    }

    /// The folder that it is in, and its name there; `None` for the root.
    #[must_use]
    pub fn split(&self) -> Option<(Self, &Name)> {
        let (last, names) = self.names.split_last()?;
        Some((Self { names: names.to_vec(), folder: true }, last))
    }

    /// What the name leads to below this.
    ///
    /// # Errors
    /// [`PathError::TooDeep`] when there are too many names already.
    pub fn join(&self, name: &Name) -> Result<Self, PathError> {
        if self.names.len() >= PATH_DEPTH {
            return Err(PathError::TooDeep { depth: self.names.len() + 1 });
        }
        let mut names = self.names.clone();
        names.push(name.clone());
        Ok(Self { names, folder: false })
    }

    /// Whether `other` is this, or lies below it.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.names.starts_with(&self.names)
    }
}

impl fmt::Display for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str("/");
        }
        for name in &self.names {
            write!(f, "/{name}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemotePath({} names)", self.names.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_read_and_shown() {
        for (text, depth, folder, shown) in
            [("/", 0, true, "/"), ("/a", 1, false, "/a"), ("/a/b/", 2, true, "/a/b"), ("/ /...", 2, false, "/ /...")]
        {
            let path = RemotePath::parse(text.as_bytes()).unwrap();
            assert_eq!((path.names().len(), path.must_be_folder(), path.to_string().as_str()), (depth, folder, shown));
        }
        let path = RemotePath::parse(b"/a/b\xff").unwrap();
        let (folder, name) = path.split().unwrap();
        assert_eq!((folder.to_string().as_str(), name.to_string().as_str()), ("/a", "b\\xff"));
        assert_eq!(folder.join(name).unwrap(), path);
        assert!(folder.contains(&path) && !path.contains(&folder) && RemotePath::root().contains(&path));
        assert!(!RemotePath::parse(b"/ab").unwrap().contains(&RemotePath::parse(b"/abc").unwrap()));
        assert!(RemotePath::root().split().is_none());
    }

    #[test]
    fn a_bad_path_names_the_part() {
        let deep = "/x".repeat(PATH_DEPTH + 1);
        let long = format!("/a/{}", "x".repeat(4096));
        for (text, error) in [
            ("", "a remote path cannot be empty; write / for the root"),
            ("a/b", "a remote path begins with a slash; write /a/b for a/b"),
            ("//", "part 1 of // is empty; write one slash only"),
            ("/a//b", "part 2 of /a//b is empty; write one slash only"),
            ("/a//", "part 2 of /a// is empty; write one slash only"),
            ("/a/../b", "part 2 of /a/../b cannot be used: remote paths are written out in full"),
            (&deep, "the path has 129 parts, and at most 128 are possible; use fewer folders in each other"),
        ] {
            assert_eq!(RemotePath::parse(text.as_bytes()).unwrap_err().to_string(), error);
        }
        let Err(PathError::Part { position: 2, source: NameError::TooLong { len: 4096 }, .. }) =
            RemotePath::parse(long.as_bytes())
        else {
            panic!("a name of 4 KiB");
        };
        assert!(
            RemotePath::parse("/x".repeat(PATH_DEPTH).as_bytes()).unwrap().join(&Name::new(b"y").unwrap()).is_err()
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_path_or_an_error(bytes in prop::collection::vec(prop_oneof![Just(b'/'), any::<u8>()], 0..64)) {
            if let Ok(path) = RemotePath::parse(&bytes) {
                let mut again: Vec<u8> = path.names().iter().flat_map(|n| [b"/", n.as_bytes()].concat()).collect();
                if path.must_be_folder() { again.push(b'/'); }
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
