//! `shoal share`: links to files and folders are made, listed and ended.

use common::proto::directory::{ShareTarget, ShareView};
use common::time::{Clock, Timestamp};
use serde_json::json;

use super::args::{Share, ShareCommand, ShareLs, ShareRevoke};
use super::context::Context;
use super::exit::Exit;
use super::{Outcome, output};
use crate::names::RemotePath;
use crate::share::{self, Shared, Wanted};

pub(super) async fn run(context: &mut Context, args: Share) -> Outcome {
    match &args.command {
        Some(ShareCommand::Ls(args)) => list(context, args).await,
        Some(ShareCommand::Revoke(args)) => revoke(context, args).await,
        None => make(context, &args).await,
    }
}

/// The link goes to standard output, the one time that it is shown; everything else about it to the user.
async fn make(context: &mut Context, args: &Share) -> Outcome {
    let path = RemotePath::from_os(args.path.as_deref().unwrap_or_default())?;
    let session = context.session().await?;
    let wanted = Wanted { ttl: args.expires, follow: args.follow, version: args.version, guests: args.guest };
    let (link, expires) = share::share(&session, &path, wanted).await?;
    let line = link.to_line()?;
    if context.output.is_json() {
        context.output.object(&json!({
            "share": link.id().to_string(),
            "link": line.as_str(),
            "path": path.to_string(),
            "expires": expires.map(|expires| expires.to_string()),
            "guests": args.guest,
        }))?;
        return Ok(Exit::Ok);
    }
    context.output.line(line.as_str())?;
    context.output.flush()?;
    let until = expires.map_or_else(|| "until it is revoked".to_owned(), |expires| format!("until {expires}"));
    let whom = if args.guest.is_some() { "anybody with this link" } else { "any joined device with this link" };
    context.note(&format!("{whom} reads {path} {until}; end it with: shoal share revoke {}", link.id().short()));
    Ok(Exit::Ok)
}

async fn list(context: &mut Context, args: &ShareLs) -> Outcome {
    let session = context.session().await?;
    let (shares, now) = (share::list(&session).await?, Clock::System.now());
    let shown = shares.iter().filter(|shared| args.all || state(&shared.view, now) == "open");
    if context.output.is_json() {
        for shared in shown {
            let view = &shared.view;
            context.output.object(&json!({
                "share": view.share.to_string(),
                "path": shared.path,
                "what": what(view),
                "node": node(view),
                "made": view.made.to_string(),
                "by": view.device.to_string(),
                "expires": view.expires.map(|at| at.to_string()),
                "revoked": view.revoked.map(|at| at.to_string()),
                "guests_left": view.guests,
                "state": state(view, now),
            }))?;
        }
        return Ok(Exit::Ok);
    }
    let rows: Vec<_> = shown.map(|shared| row(shared, now)).collect();
    for line in output::table(&rows, &[]) {
        context.output.line(line)?;
    }
    Ok(Exit::Ok)
}

fn row(Shared { view, path }: &Shared, now: Timestamp) -> Vec<String> {
    let end = match (view.revoked, view.expires) {
        (Some(at), _) => format!("revoked {at}"),
        (None, Some(at)) => format!("{} {at}", if at <= now { "expired" } else { "until" }),
        (None, None) => "until revoked".to_owned(),
    };
    let guests = view.guests.map_or_else(|| "members".to_owned(), |left| format!("{left} guests"));
    let path = path.clone().unwrap_or_else(|| "(unreadable)".to_owned());
    vec![view.share.short(), what(view).to_owned(), guests, end, path]
}

/// By this machine's clock; the directory's decides.
fn state(view: &ShareView, now: Timestamp) -> &'static str {
    match (view.revoked, view.expires) {
        (Some(_), _) => "revoked",
        (None, Some(at)) if at <= now => "expired",
        (None, _) => "open",
    }
}

fn what(view: &ShareView) -> &'static str {
    match view.target {
        ShareTarget::Folder(_) => "folder",
        ShareTarget::File(_) => "file",
        ShareTarget::Version(..) => "version",
    }
}

fn node(view: &ShareView) -> String {
    let (ShareTarget::Folder(node) | ShareTarget::File(node) | ShareTarget::Version(node, _)) = view.target;
    node.to_string()
}

async fn revoke(context: &mut Context, args: &ShareRevoke) -> Outcome {
    let session = context.session().await?;
    for text in &args.ids {
        let id = share::revoke(&session, text).await?;
        if context.output.is_json() {
            context.output.object(&json!({ "share": id.to_string(), "state": "revoked" }))?;
        } else {
            context.output.line(format_args!("revoked {}", id.short()))?;
        }
    }
    Ok(Exit::Ok)
}
