//! Compare: whether files on this machine have the content of versions, by the digests in their manifests. Nothing is fetched but
//! pages of manifests; the local file is read up to its first difference.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use common::id::VersionId;
use tokio::task::spawn_blocking;

use super::manifest::{FirstPages, Run, Walk, first_of, first_pages};
use super::{Down, DownError};
use crate::local::LocalError;
use crate::local::read::SourceFile;
use crate::meta::VersionMeta;
use crate::seal::Digest;
use crate::session::Session;
use crate::transfer::GetOptions;

/// Versions whose pages are asked for in one request.
const VERSIONS_AT_ONCE: usize = 128;
/// Runs that are compared before the next page is asked for.
const RUNS_AT_ONCE: usize = 64;

/// A file on this machine, and the version that it may be.
#[derive(Debug, Clone)]
pub struct Asked {
    pub path: PathBuf,
    pub version: VersionId,
    pub meta: VersionMeta,
}

/// Lengths and digests of runs, in the order of the file.
type Runs = Vec<(u32, Digest)>;

/// Compares; cheap to keep.
#[derive(Clone)]
pub struct Comparer(Arc<Down>);

impl std::fmt::Debug for Comparer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Comparer")
    }
}

impl Comparer {
    #[must_use]
    pub fn new(session: &Session, options: &GetOptions) -> Self {
        Self(Down::new(session, options))
    }

    /// For each file, in order, whether it has that very content.
    ///
    /// # Errors
    /// Only what makes going on senseless; a file that cannot be read, or a manifest, is its own answer.
    pub async fn alike(&self, asked: Vec<Asked>) -> Result<Vec<Result<bool, DownError>>, DownError> {
        let mut answers = Vec::with_capacity(asked.len());
        let mut asked = asked.into_iter().peekable();
        while asked.peek().is_some() {
            let part: Vec<Asked> = asked.by_ref().take(VERSIONS_AT_ONCE).collect();
            let short: Vec<_> = part.iter().filter(|one| one.meta.pages == 1).map(|one| one.version).collect();
            let pages = self.pages(short).await?;
            let (mut looked, mut here) = (Vec::with_capacity(part.len()), Vec::new());
            for one in part {
                let known = match pages.get(&one.version) {
                    Some(first) => self.runs(&one, first).await.map(Some),
                    None => Ok(None),
                };
                looked.push(match known {
                    Ok(Some(runs)) => {
                        here.push((one.path, runs));
                        None
                    }
                    Ok(None) => Some(self.long(one).await),
                    Err(error) => Some(Err(error)),
                });
            }
            // Small files share a thread's turn.
            let compared = spawn_blocking(move || here.into_iter().map(compare_one).collect::<Vec<_>>()).await;
            let mut compared = compared.map_err(|panic| DownError::Bug(panic.to_string()))?.into_iter();
            for answer in looked {
                match answer.or_else(|| compared.next().map(|answer| answer.map_err(DownError::from))) {
                    Some(Err(error)) if !error.is_of_one_file() => return Err(error),
                    Some(answer) => answers.push(answer),
                    None => return Err(DownError::Bug("a file was not compared".to_owned())),
                }
            }
        }
        Ok(answers)
    }

    /// The first page of each of these versions, as far as there is one.
    async fn pages(&self, mut versions: Vec<VersionId>) -> Result<HashMap<VersionId, Arc<FirstPages>>, DownError> {
        let mut pages = HashMap::new();
        while !versions.is_empty() {
            let first = Arc::new(first_pages(&self.0, first_of(versions.iter().copied())).await?);
            let before = versions.len();
            versions.retain(|version| !first.missing.contains(version) && !first.pages.contains_key(version));
            pages.extend(first.pages.keys().map(|version| (*version, Arc::clone(&first))));
            if versions.len() == before {
                return Err(DownError::Bug("the directory answered for no version".to_owned()));
            }
        }
        Ok(pages)
    }

    /// The runs of a file of one page.
    async fn runs(&self, asked: &Asked, first: &FirstPages) -> Result<Runs, DownError> {
        let mut walk = Walk::new(&self.0, asked.version, &asked.meta);
        let sealed = first.pages.get(&asked.version).map(Vec::as_slice).unwrap_or_default();
        walk.accept(0, sealed, &first.placements)?;
        let mut runs = Runs::new();
        while let Some(run) = walk.next().await? {
            runs.push((plain_len(&run), run.located.extent.digest));
        }
        Ok(runs)
    }

    async fn long(&self, asked: Asked) -> Result<bool, DownError> {
        whole_is_there(Walk::new(&self.0, asked.version, &asked.meta), asked.path.clone()).await
    }
}

/// Whether a file is these runs, and nothing more. Blocking.
fn compare_one((path, runs): (PathBuf, Runs)) -> Result<bool, LocalError> {
    let mut held = Held::open(path)?;
    Ok(held.compare(&runs)? && held.source.finish().is_ok())
}

/// Whether a file has the content of a whole manifest.
pub(super) async fn whole_is_there(mut walk: Walk<'_>, path: PathBuf) -> Result<bool, DownError> {
    let opened = spawn_blocking(move || Held::open(path)).await.map_err(|panic| DownError::Bug(panic.to_string()))?;
    let mut held = opened?;
    loop {
        let mut runs = Runs::with_capacity(RUNS_AT_ONCE);
        while runs.len() < RUNS_AT_ONCE {
            let Some(run) = walk.next().await? else { break };
            runs.push((plain_len(&run), run.located.extent.digest));
        }
        let last = runs.is_empty();
        let compared = spawn_blocking(move || held.compare(&runs).map(|same| (same, held)));
        let (same, back) = compared.await.map_err(|panic| DownError::Bug(panic.to_string()))??;
        if !same {
            return Ok(false);
        }
        held = back;
        if last {
            // It ends where the version does, and has held still.
            return Ok(held.source.finish().is_ok());
        }
    }
}

/// Whether a run lies in a file where it belongs. Blocking.
pub(super) fn run_is_there(file: &File, from: u64, len: u32, digest: &Digest) -> bool {
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, from).is_ok() && Digest::of(&bytes) == *digest
}

/// How many bytes of the file a run is.
pub(super) fn plain_len(run: &Run) -> u32 {
    run.located.extent.size
}

/// A local file under comparison.
struct Held {
    source: SourceFile,
    buffer: Vec<u8>,
}

impl Held {
    fn open(path: PathBuf) -> Result<Self, LocalError> {
        Ok(Self { source: SourceFile::open(&path)?, buffer: Vec::new() })
    }

    /// Whether the next bytes are these runs. Blocking.
    fn compare(&mut self, runs: &Runs) -> Result<bool, LocalError> {
        for (len, digest) in runs {
            self.buffer.clear();
            let read = (&mut self.source).take(u64::from(*len)).read_to_end(&mut self.buffer);
            read.map_err(LocalError::io("read", self.source.path()))?;
            if self.buffer.len() != *len as usize || Digest::of(&self.buffer) != *digest {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
