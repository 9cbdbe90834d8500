//! Error: what is wrong with a command as a whole, before or beside what its parts say.

use std::path::PathBuf;

use crate::folder::destination::Nowhere;
use crate::names::Shown;

#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("{path} is a folder")]
    NeedsRecursive { path: String },
    #[error("cannot write to {}: {why}", path.display())]
    LocalDestination { path: PathBuf, why: Nowhere },
    #[error("binary content is not written to a terminal")]
    Terminal,
    #[error("two of the sources are named {}, and only one can have that name in the destination", Shown(name))]
    SameName { name: Vec<u8> },
    #[error("{path} has no name of its own")]
    NoName { path: String },
    #[error("standard input can be stored once, and not twice")]
    StdinTwice,
    #[error("a link is fetched by itself, and not with other sources")]
    LinkAmongOthers,
    #[error("what somebody shares is read as it is now; leave --at away")]
    LinkAt,
    #[error("a folder is compared with itself at two times, or with another folder: not both")]
    FolderTwice,
    #[error("{} is no time and no snapshot", Shown(given))]
    NoTime { given: Vec<u8> },
    #[error("a folder cannot be written to standard output")]
    FolderToStdout,
    #[error("this account has a master key already, which this device does not have")]
    NeedsPhrase,
    #[error("this cannot be a snapshot's name")]
    SnapshotName {
        #[source]
        source: crate::names::NameError,
    },
    #[error("this is a ticket for a {role}, not for a client")]
    OtherRole { role: common::identity::Role },
}
