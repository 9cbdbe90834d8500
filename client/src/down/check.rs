//! Check: whether files could be read now, by what the directory knows: every page of their manifests is there and opens, and enough
//! different shards of every chunk are with peers that are online. No content is fetched; whether a peer really has what it should is not
//! seen.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use common::id::{PeerId, VersionId};
use common::map::{ClusterMap, PeerState};
use common::proto::parts::Placement;

use super::manifest::{Run, Walk, first_of, first_pages};
use super::{Down, DownError};
use crate::folder::FileVersion;
use crate::session::Session;
use crate::transfer::GetOptions;

/// Files whose pages are asked for in one request.
pub const FILES_AT_ONCE: usize = 128;

/// What is known of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Its chunks that have fewer shards online than they should.
    pub weak: u64,
    /// Peers that it counts on and that are not online, or not in the cluster.
    pub doubted: BTreeMap<PeerId, Doubt>,
}

/// What is wrong with a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    Suspect,
    Dead,
    Unknown,
}

impl Doubt {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Suspect => "suspect",
            Self::Dead => "dead",
            Self::Unknown => "not in the cluster any more",
        }
    }
}

/// Checks files; cheap to keep.
pub struct Checker(Arc<Down>);

impl Checker {
    #[must_use]
    pub fn new(session: &Session, options: &GetOptions) -> Self {
        Self(Down::new(session, options))
    }

    /// Up to [`FILES_AT_ONCE`] files, each with its own answer, in order.
    ///
    /// # Errors
    /// Only what makes going on senseless.
    pub async fn check(&self, files: &[&FileVersion]) -> Result<Vec<Result<Health, DownError>>, DownError> {
        let short: Vec<VersionId> = files.iter().filter(|file| file.meta.pages == 1).map(|file| file.version).collect();
        let first = if short.is_empty() { None } else { Some(first_pages(&self.0, first_of(short)).await?) };
        let map = self.0.session.map();
        let mut answers = Vec::with_capacity(files.len());
        for file in files {
            let mut walk = Walk::new(&self.0, file.version, &file.meta);
            let ahead = first.as_ref().and_then(|first| Some((first.pages.get(&file.version)?, &first.placements)));
            let begun = match ahead {
                Some((sealed, placements)) => walk.accept(0, sealed, placements),
                None => Ok(()),
            };
            let answer = match begun {
                Ok(()) => examine(walk, &map).await,
                Err(error) => Err(error),
            };
            match answer {
                Err(error) if !error.is_of_one_file() => return Err(error),
                answer => answers.push(answer),
            }
        }
        Ok(answers)
    }
}

async fn examine(mut walk: Walk<'_>, map: &ClusterMap) -> Result<Health, DownError> {
    let mut health = Health::default();
    while let Some(run) = walk.next().await? {
        judge(&run, map, &mut health)?;
    }
    Ok(health)
}

fn judge(run: &Run, map: &ClusterMap, health: &mut Health) -> Result<(), DownError> {
    let placement: &Placement = &run.placement;
    let (k, n) = (placement.redundancy.k(), placement.redundancy.n());
    let (mut online, mut why) = (HashSet::new(), Vec::new());
    for shard in &placement.shards {
        let doubt = match map.peer(shard.peer).map(|peer| peer.state) {
            Some(PeerState::Online) => {
                online.insert(shard.index);
                continue;
            }
            Some(PeerState::Suspect) => Doubt::Suspect,
            Some(PeerState::Dead) => Doubt::Dead,
            None => Doubt::Unknown,
        };
        why.push(format!("peer {} is {}", shard.peer.short(), doubt.word()));
        health.doubted.insert(shard.peer, doubt);
    }
    if online.len() < k {
        return Err(DownError::TooFewShards { chunk: run.located.extent.chunk, have: online.len(), need: k, why });
    }
    health.weak += u64::from(online.len() < n);
    Ok(())
}
