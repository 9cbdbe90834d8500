//! Context: what every command works with: the global options, the way to the user, the session once it is needed.

use std::path::{Path, PathBuf};

use etcetera::{AppStrategy, AppStrategyArgs};

use super::args::Global;
use super::output::Output;
use super::passphrase;
use super::progress::Visible;
use super::report::{Direction, Reporter};
use crate::cancel::{Cancel, Interrupted};
use crate::conflict::{self, Conflict};
use crate::session::guest::Invitation;
use crate::session::{Session, SessionOptions, Through};

/// One command under way.
pub struct Context {
    pub global: Global,
    pub output: Output,
    pub cancel: Cancel,
    session: Option<Session>,
}

/// There is no place for this device's keys.
#[derive(Debug, thiserror::Error)]
#[error("this user has no home folder; name a folder for the keys with --home or SHOAL_HOME")]
pub struct NoHome;

impl Context {
    #[must_use]
    pub fn new(global: Global, cancel: Cancel) -> Self {
        let output = Output::new(global.json, global.quiet);
        Self { global, output, cancel, session: None }
    }

    /// Where this device's keys are: `--home`, `SHOAL_HOME`, or the platform's config folder.
    ///
    /// # Errors
    /// When the user has no home folder and named none.
    pub fn home(&self) -> Result<PathBuf, NoHome> {
        if let Some(home) = &self.global.home {
            return Ok(home.clone());
        }
        let names = AppStrategyArgs {
            top_level_domain: "org".to_owned(),
            author: "shoal".to_owned(),
            app_name: "shoal".to_owned(),
        };
        etcetera::choose_app_strategy(names).map(|place| place.config_dir()).map_err(|_| NoHome)
    }

    /// The session with the cluster; opened at the first call. Asks for the passphrase of a locked key, where somebody can be asked.
    ///
    /// # Errors
    /// When this device has not joined, or the directory cannot be reached.
    pub async fn session(&mut self) -> anyhow::Result<Session> {
        if let Some(session) = &self.session {
            return Ok(session.clone());
        }
        let options = SessionOptions { directory: self.global.directory.clone(), quiet: self.is_silent() };
        let path = self.home()?;
        let opening = async {
            let home = passphrase::open_home(&self.global, path.clone()).await?;
            Ok::<_, anyhow::Error>(Session::with_home(home, options).await?)
        };
        let session = self.cancel.guard(opening).await.ok_or(Interrupted)??;
        self.tell_conflicts(&session, &path);
        self.session = Some(session.clone());
        Ok(session)
    }

    /// News that nobody sees stay news.
    fn tell_conflicts(&self, session: &Session, home: &Path) {
        let Some((conflicts, last)) = session.conflicts().filter(|_| !self.is_silent()) else { return };
        for Conflict { path, at } in conflicts {
            self.note(&format!(
                "{path} was stored by two devices at the same time ({at}); the later version is current, both are kept: \
                 shoal versions {path}"
            ));
        }
        conflict::remember(home, last);
    }

    /// A session for whoever has a link and has not joined.
    ///
    /// # Errors
    /// When the directory cannot be reached, or the link is not for guests, or not any more.
    pub async fn guest(&mut self, link: Invitation<'_>, through: Through) -> anyhow::Result<Session> {
        let options = SessionOptions { directory: self.global.directory.clone(), quiet: self.is_silent() };
        let opening = Session::open_guest(link, through, &options);
        let session = self.cancel.guard(opening).await.ok_or(Interrupted)??;
        self.session = Some(session.clone());
        Ok(session)
    }

    /// Whether notes and progress are not wanted.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.global.quiet || self.global.json
    }

    #[must_use]
    pub fn visible(&self) -> Visible {
        Visible::choose(self.is_silent())
    }

    /// Who is told by a transfer, and tells the user.
    #[must_use]
    pub fn reporter(&self, direction: Direction) -> Reporter {
        let (json, quiet) = (self.global.json, self.global.quiet);
        Reporter::new(self.visible(), direction, json, quiet, self.cancel.clone())
    }

    /// A line for people on stderr.
    #[expect(clippy::print_stderr, reason = "notes for people belong on stderr")]
    pub fn note(&self, text: &str) {
        if !self.is_silent() {
            eprintln!("shoal: {text}");
        }
    }

    /// Says goodbye to the cluster.
    pub async fn close(&mut self) {
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }
}
