//! Versions: all that a path has led to, the newest first; also a path that was removed, or whose folders were other ones over time.
//!
//! One level of the path after another is walked back in time, each only as long as the one above it led there. Memory for one page
//! a level. Every folder on the way is opened and checked, so what is shown did hang on the root by these very names.

use std::collections::VecDeque;

use common::id::{NameToken, NodeId};
use common::proto::directory::{Ended, ReadHistory};
use common::time::Timestamp;

use crate::folder::{Entry, FolderError};
use crate::names::RemotePath;
use crate::session::Session;

/// What a path led to for a time.
#[derive(Debug, Clone)]
pub struct PathState {
    pub entry: Entry,
    /// The sequence since when: the version's name.
    pub since: u64,
    pub at: Timestamp,
    /// `None`: it does now.
    pub until: Option<Ended>,
}

/// A walk back in time.
pub struct Versions<'a> {
    session: &'a Session,
    tokens: Vec<NameToken>,
    levels: Vec<Level>,
}

/// One name in one folder, for the time in which the path above led to that folder.
struct Level {
    folder: NodeId,
    token: NameToken,
    /// Since when, and until when, the folder was at its path.
    floor: (u64, Timestamp),
    ceiling: Option<Ended>,
    waiting: VecDeque<PathState>,
    before: Option<u64>,
    done: bool,
}

impl<'a> Versions<'a> {
    /// Begins with what is there now. The root has no versions.
    #[must_use]
    pub fn new(session: &'a Session, path: &RemotePath) -> Self {
        let tokens: Vec<_> = path.names().iter().map(|name| name.token(session.keys())).collect();
        let mut versions = Self { session, tokens, levels: Vec::new() };
        versions.descend(session.root(), (0, Timestamp(0)), None);
        versions
    }

    fn descend(&mut self, folder: NodeId, floor: (u64, Timestamp), ceiling: Option<Ended>) {
        let Some(token) = self.tokens.get(self.levels.len()).copied() else { return };
        let before = ceiling.map(|ended| ended.moment.sequence);
        self.levels.push(Level { folder, token, floor, ceiling, waiting: VecDeque::new(), before, done: false });
    }

    /// The state before the last one that was given; `None` when there is no more.
    ///
    /// # Errors
    /// When the directory cannot be asked, or what it says does not belong there.
    pub async fn next(&mut self) -> Result<Option<PathState>, FolderError> {
        loop {
            let depth = self.levels.len();
            let Some(level) = self.levels.last_mut() else { return Ok(None) };
            let Some(state) = level.next(self.session).await? else {
                self.levels.pop();
                continue;
            };
            if depth == self.tokens.len() {
                return Ok(Some(state));
            }
            if state.entry.is_folder() {
                self.descend(state.entry.node, (state.since, state.at), state.until);
            }
        }
    }
}

impl Level {
    async fn next(&mut self, session: &Session) -> Result<Option<PathState>, FolderError> {
        while self.waiting.is_empty() && !self.done {
            self.read(session).await?;
        }
        let Some(mut state) = self.waiting.pop_front() else { return Ok(None) };
        if state.until.is_some_and(|ended| ended.moment.sequence <= self.floor.0) {
            (self.done, self.waiting) = (true, VecDeque::new());
            return Ok(None);
        }
        if state.since < self.floor.0 {
            (state.since, state.at) = self.floor;
        }
        let earlier = |ceiling: &Ended| state.until.is_none_or(|until| ceiling.moment.sequence < until.moment.sequence);
        if let Some(ceiling) = self.ceiling.filter(earlier) {
            state.until = Some(ceiling);
        }
        Ok(Some(state))
    }

    async fn read(&mut self, session: &Session) -> Result<(), FolderError> {
        let request = ReadHistory { folder: self.folder, token: self.token, before: self.before };
        let history = session.call_directory(&request).await?;
        self.done = !history.more;
        for state in history.states {
            let since = state.entry.since;
            if state.entry.folder != self.folder || state.entry.token != self.token {
                return Err(FolderError::Misbehaved { what: "the history of another name" });
            }
            if self.before.is_some_and(|before| since >= before) {
                return Err(FolderError::Misbehaved { what: "a history out of order" });
            }
            self.before = Some(since);
            let entry = Entry::open(session, state.entry)?;
            self.waiting.push_back(PathState { entry, since, at: state.at, until: state.until });
        }
        if self.waiting.is_empty() && !self.done {
            return Err(FolderError::Misbehaved { what: "an empty page of a history that goes on" });
        }
        Ok(())
    }
}
