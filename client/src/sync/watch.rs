//! Watch: what has changed below a folder of this machine since the last look, as the kernel tells it.
//!
//! Changes are collected until it is quiet for a moment, by the folder in which they happened. When more was told than could be kept, by
//! the kernel or here, everything is looked at again; so it is from time to time in any case, since a watch may miss what happens
//! while it is set up. Where nothing can be watched (too few watches, a network's file system) only that is left.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use super::push::Scope;
use super::{Below, Excludes, SyncError};

/// So long nothing may happen before changes are looked at; a file that is being written is better seen when it is whole.
const QUIET: Duration = Duration::from_millis(300);
/// And so long they wait at most.
const PATIENCE: Duration = Duration::from_secs(5);
/// Folders that are remembered one by one.
const FOLDERS: usize = 4_096;

/// What has changed.
#[derive(Default)]
struct Seen {
    folders: BTreeSet<Below>,
    all: bool,
}

struct Shared {
    root: PathBuf,
    excludes: Excludes,
    seen: Mutex<Seen>,
    came: Notify,
}

/// Watches one folder and all below it.
pub struct Watcher {
    shared: Arc<Shared>,
    _watching: Option<RecommendedWatcher>,
}

impl Watcher {
    /// Begins to watch; with the reason when that is not possible, and only looking from time to time is left.
    #[must_use]
    pub fn new(root: PathBuf, excludes: Excludes) -> (Self, Option<SyncError>) {
        let shared = Arc::new(Shared { root, excludes, seen: Mutex::default(), came: Notify::new() });
        let told = Arc::clone(&shared);
        let begun = notify::recommended_watcher(move |event| told.take(event)).and_then(|mut watching| {
            watching.watch(&shared.root, RecursiveMode::Recursive)?;
            Ok(watching)
        });
        match begun {
            Ok(watching) => (Self { shared, _watching: Some(watching) }, None),
            Err(source) => {
                let path = shared.root.display().to_string();
                (Self { shared, _watching: None }, Some(SyncError::Watch { path, source }))
            }
        }
    }

    /// Only looks from time to time.
    #[must_use]
    pub fn blind() -> Self {
        let (root, excludes) = (PathBuf::new(), Excludes::default());
        let shared = Arc::new(Shared { root, excludes, seen: Mutex::default(), came: Notify::new() });
        Self { shared, _watching: None }
    }

    /// Waits for changes, or until everything has to be looked at again. Cancel-safe.
    pub async fn next(&self, every: Duration) -> Scope {
        let until = Instant::now() + every;
        tokio::select! {
            () = self.shared.came.notified() => {}
            () = sleep_until(until) => {
                self.shared.drain();
                return Scope::All;
            }
        }
        let latest = Instant::now() + PATIENCE;
        while Instant::now() < latest && timeout(QUIET, self.shared.came.notified()).await.is_ok() {}
        self.shared.drain()
    }
}

impl Shared {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drain(&self) -> Scope {
        let seen = std::mem::take(&mut *self.seen());
        if seen.all { Scope::All } else { Scope::Folders(seen.folders) }
    }

    /// Called by the watcher's own thread.
    fn take(&self, event: notify::Result<Event>) {
        let mut seen = self.seen();
        match event {
            Ok(event) if event.need_rescan() => seen.all = true,
            Ok(Event { kind: EventKind::Access(_), .. }) => return, // whoever reads changes nothing
            Ok(event) => {
                let changed = event.paths.iter().filter_map(|path| below(&self.root, path));
                let changed: Vec<_> = changed.filter(|path| !self.excludes.covers(path)).collect();
                if changed.is_empty() {
                    return;
                }
                for path in changed {
                    // The folder in which it happened, and the one that knows that folder's own time.
                    let folder = above(&path);
                    seen.folders.insert(above(&folder));
                    seen.folders.insert(folder);
                }
            }
            Err(_) => seen.all = true,
        }
        if seen.folders.len() > FOLDERS {
            seen.all = true;
        }
        if seen.all {
            seen.folders.clear();
        }
        drop(seen);
        self.came.notify_one();
    }
}

/// A path below the root; `None` for one that is elsewhere.
fn below(root: &Path, path: &Path) -> Option<Below> {
    let inner = path.strip_prefix(root).ok()?;
    let mut below = Below::default();
    for component in inner.components() {
        let Component::Normal(name) = component else { return None };
        below = below.join(name.as_bytes());
    }
    Some(below)
}

fn above(path: &Below) -> Below {
    let bytes = path.bytes();
    let cut = bytes.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    Below(bytes.get(..cut).unwrap_or_default().to_vec())
}

#[cfg(test)]
mod tests {
    use notify::event::{AccessKind, CreateKind, Flag};

    use super::*;

    fn shared(globs: &[&str]) -> Shared {
        let globs: Vec<_> = globs.iter().map(|glob| (*glob).to_owned()).collect();
        let excludes = Excludes::new(&globs).unwrap();
        Shared { root: PathBuf::from("/r"), excludes, seen: Mutex::default(), came: Notify::new() }
    }

    fn event(kind: EventKind, path: &str) -> notify::Result<Event> {
        Ok(Event::new(kind).add_path(PathBuf::from(path)))
    }

    fn folders(names: &[&str]) -> Scope {
        let below = |name: &&str| below(Path::new("/r"), &Path::new("/r").join(name)).unwrap();
        Scope::Folders(names.iter().map(below).collect())
    }

    #[test]
    fn a_change_is_remembered_by_its_folder_and_reading_is_none() {
        let shared = shared(&["*.tmp"]);
        let made = EventKind::Create(CreateKind::File);
        for path in ["/r/a/b/file", "/r/top", "/elsewhere/x", "/r/q/x.tmp", "/r"] {
            shared.take(event(made, path));
        }
        shared.take(event(EventKind::Access(AccessKind::Any), "/r/read/file"));
        assert_eq!(shared.drain(), folders(&["", "a", "a/b"]));
        assert_eq!(shared.drain(), folders(&[]));
    }

    #[test]
    fn when_too_much_or_nothing_certain_was_told_everything_is_looked_at() {
        let made = EventKind::Create(CreateKind::File);
        let many = shared(&[]);
        (0..=FOLDERS).for_each(|i| many.take(event(made, &format!("/r/{i}/x/y"))));
        assert_eq!(many.drain(), Scope::All);
        let overflow = shared(&[]);
        overflow.take(event(made, "/r/a/b"));
        overflow.take(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));
        assert_eq!(overflow.drain(), Scope::All);
        let failed = shared(&[]);
        failed.take(Err(notify::Error::generic("x")));
        assert_eq!(failed.drain(), Scope::All);
    }

    #[tokio::test]
    async fn a_real_change_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let (watcher, error) = Watcher::new(root.clone(), Excludes::default());
        assert!(error.is_none(), "{error:?}");
        std::fs::write(root.join("file"), "x").unwrap();
        let scope = watcher.next(Duration::from_secs(60)).await;
        assert_eq!(scope, folders(&[""]));
    }
}
