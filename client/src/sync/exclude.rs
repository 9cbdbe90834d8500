//! Exclude: globs of what a sync leaves alone on both sides, read as in a `.gitignore` beside SRC.
//!
//! A glob without a slash, or with one at its end only, is a name at any depth; one with a slash elsewhere is a path from SRC on. With a
//! slash at its end it means folders alone. `*` and `?` stop at a slash, `**` does not, `[a-z]` is one of these, `\` takes the next
//! character as it is. What is in an excluded folder is excluded.
//!
//! Non-goals: `!`, which takes back what another line has excluded. It is refused.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::{Below, SyncError};

/// Compiled globs; none exclude nothing.
#[derive(Debug, Clone, Default)]
pub struct Excludes {
    any: GlobSet,
    folders: GlobSet,
    empty: bool,
}

impl Excludes {
    /// # Errors
    /// [`SyncError::Glob`] for one that cannot be read.
    pub fn new(globs: &[String]) -> Result<Self, SyncError> {
        let (mut any, mut folders) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for glob in globs {
            let failed = |why: String| SyncError::Glob { glob: glob.clone(), why };
            if glob.starts_with('!') {
                return Err(failed(
                    "`!` takes nothing back here; for a name that begins with it write `\\!`".to_owned(),
                ));
            }
            let (pattern, folder) = glob.strip_suffix('/').map_or((glob.as_str(), false), |cut| (cut, true));
            let pattern = match pattern.strip_prefix('/') {
                Some(anchored) => anchored.to_owned(),
                None if pattern.contains('/') => pattern.to_owned(),
                None => format!("**/{pattern}"),
            };
            if pattern.is_empty() || pattern == "**/" {
                return Err(failed("it is empty".to_owned()));
            }
            let built = GlobBuilder::new(&pattern).literal_separator(true).backslash_escape(true).build();
            let built = built.map_err(|error| failed(error.kind().to_string()))?;
            if folder {
                folders.add(built)
            } else {
                any.add(built)
            };
        }
        let built = |builder: GlobSetBuilder| {
            builder.build().map_err(|error| SyncError::Glob { glob: globs.join(" "), why: error.kind().to_string() })
        };
        Ok(Self { any: built(any)?, folders: built(folders)?, empty: globs.is_empty() })
    }

    /// Whether nothing is excluded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.empty || (self.any.is_empty() && self.folders.is_empty())
    }

    /// Whether this very path is excluded; what is in an excluded folder is never asked for.
    #[must_use]
    pub fn has(&self, path: &Below, folder: bool) -> bool {
        !self.is_empty() && (self.any.is_match(path.path()) || folder && self.folders.is_match(path.path()))
    }

    /// Whether this path, or a folder above it, is excluded.
    #[must_use]
    pub fn covers(&self, path: &Below) -> bool {
        let mut above = Below::default();
        let mut names = path.bytes().split(|byte| *byte == b'/').peekable();
        while let Some(name) = names.next() {
            above = above.join(name);
            if self.has(&above, names.peek().is_some()) {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Below {
        text.split('/').fold(Below::default(), |below, name| below.join(name.as_bytes()))
    }

    #[test]
    fn globs_are_read_as_in_a_gitignore() {
        for (glob, taken, left) in [
            ("*.o", vec!["a.o", "x/y/b.o"], vec!["a.oo", "o"]),
            ("/a", vec!["a"], vec!["x/a", "ab"]),
            ("x/*.c", vec!["x/a.c"], vec!["y/x/a.c", "x/y/a.c"]),
            ("x/**/z", vec!["x/z", "x/a/b/z"], vec!["z", "y/x/z"]),
            ("[ab]?", vec!["a1", "q/b2"], vec!["c1", "a"]),
            ("\\!x", vec!["!x"], vec!["x"]),
            ("\\*", vec!["*"], vec!["a"]),
        ] {
            let excludes = Excludes::new(&[glob.to_owned()]).unwrap();
            for name in taken {
                assert!(excludes.has(&path(name), false), "{glob} {name}");
            }
            for name in left {
                assert!(!excludes.has(&path(name), true), "{glob} {name}");
            }
        }
    }

    #[test]
    fn a_slash_at_the_end_means_folders_and_what_is_in_them() {
        let excludes = Excludes::new(&["target/".to_owned()]).unwrap();
        assert!(excludes.has(&path("a/target"), true) && !excludes.has(&path("a/target"), false));
        assert!(excludes.covers(&path("a/target/x")) && !excludes.covers(&path("a/target")));
        assert!(!Excludes::default().covers(&path("a")) && Excludes::new(&[]).unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for glob in ["!x", "", "/", "[a"] {
            assert!(matches!(Excludes::new(&[glob.to_owned()]), Err(SyncError::Glob { .. })), "{glob}");
        }
    }
}
