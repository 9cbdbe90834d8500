//! Link: where a command takes a remote path it takes a link too. Here the link becomes a session and the entry that it is of.
//!
//! A device that has joined the link's cluster reads as itself; any other one, where the link is for guests, with an identity in memory
//! alone. Nothing is written but what the command is told to write.

use std::ffi::OsStr;

use tokio::task::spawn_blocking;

use super::context::Context;
use super::error::CommandError;
use crate::cancel::Interrupted;
use crate::folder::Entry;
use crate::keystore::{Home, HomeError};
use crate::names::RemotePath;
use crate::session::Session;
use crate::session::guest::Invitation;
use crate::share::{self, Link, ShareError};

/// What a link, and the path that may follow it, is of.
pub(super) struct Opened {
    pub(super) session: Session,
    pub(super) path: RemotePath,
    pub(super) entry: Entry,
}

/// Opens a link; `None` for what is none. It is read as it is now: not `at` another time.
pub(super) async fn open(context: &mut Context, text: &OsStr, at: bool) -> anyhow::Result<Option<Opened>> {
    if !share::link::is_link(text) {
        return Ok(None);
    }
    if at {
        return Err(CommandError::LinkAt.into());
    }
    let (link, below) = Link::parse(text)?;
    let session = session(context, &link).await?;
    let opening = share::open(&session, &link, below.as_ref());
    let (path, entry) = context.cancel.guard(opening).await.ok_or(Interrupted)??;
    Ok(Some(Opened { session, path, entry }))
}

async fn session(context: &mut Context, link: &Link) -> anyhow::Result<Session> {
    match member_of(context, link).await {
        Ok(true) => return Ok(context.session().await?.through(link.through())),
        Ok(false) if !link.guest => {
            return Err(ShareError::ForMembers { cluster: link.cluster.short() }.into());
        }
        // A home that cannot be used hinders no guest.
        Ok(false) => {}
        Err(error) if !link.guest => return Err(error),
        Err(_) => {}
    }
    let invitation = Invitation {
        cluster: link.cluster,
        authority_fingerprint: link.authority_fingerprint,
        addresses: &link.addresses,
        secret: &link.secret,
    };
    context.guest(invitation, link.through()).await
}

/// Whether this device has joined the link's cluster.
async fn member_of(context: &Context, link: &Link) -> anyhow::Result<bool> {
    let Ok(path) = context.home() else { return Ok(false) };
    let opened = spawn_blocking(move || Home::open(&path)).await?;
    match opened {
        Ok(home) => Ok(home.device.cluster == link.cluster),
        Err(HomeError::NotJoined { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
