//! Govern: emptying and removing peers, checking the store, accepting a restored one.

use std::time::Duration;

use common::id::{PeerId, RequestId};
use common::plural::many;
use common::proto::directory::{
    CheckStore, DrainPeer, PeerStatus, Reconcile as ReconcileRequest, RemovePeer, StoreChecked,
};
use common::size::ByteSize;
use directory::Config;
use directory::admin::{AdminError, Desk};
use serde_json::json;

use super::arguments::{Drain, Fsck, OnePeer, PeerCommand, Reconcile, Remove};
use super::explain::Failure;
use super::print::why_stuck;
use super::say;

/// How often the emptying of a peer is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// After so many looks at which nothing was under way it is said why.
const STUCK: u32 = 8;

pub(super) async fn peer(command: PeerCommand) -> Result<(), Failure> {
    match command {
        PeerCommand::Drain(Drain { peer, no_wait }) => {
            let id = set_drain(&peer, true).await?;
            if no_wait {
                return say(&format!("peer {id} is being emptied; see: shoal-directory status --data DIR"));
            }
            follow(&peer, id).await
        }
        PeerCommand::Undrain(peer) => {
            let id = set_drain(&peer, false).await?;
            say(&format!("peer {id} takes new pieces again"))
        }
        PeerCommand::Remove(Remove { peer, lost }) => {
            let id = id_of(&peer)?;
            let desk = Desk::open(&Config::new(&peer.data)).await?;
            let done = desk.remove(&RemovePeer { request: RequestId::random(), peer: id, lost }).await;
            desk.close().await;
            done?;
            say(&format!("peer {id} is not of this cluster any more"))
        }
    }
}

fn id_of(peer: &OnePeer) -> Result<PeerId, Failure> {
    peer.id.parse().map_err(Failure::Id)
}

async fn set_drain(peer: &OnePeer, drain: bool) -> Result<PeerId, Failure> {
    let id = id_of(peer)?;
    let desk = Desk::open(&Config::new(&peer.data)).await?;
    let done = desk.drain(&DrainPeer { request: RequestId::random(), peer: id, drain }).await;
    desk.close().await;
    done?;
    Ok(id)
}

/// Says how far it is until the peer is empty.
async fn follow(peer: &OnePeer, id: PeerId) -> Result<(), Failure> {
    let (mut last, mut stuck) = (None, 0);
    loop {
        let desk = Desk::open(&Config::new(&peer.data)).await?;
        let (status, serving) = (desk.status().await, desk.is_serving());
        desk.close().await;
        let status = status?;
        let found = status.peers.iter().find(|status| status.peer == id);
        let left = found.and_then(|status| status.registered).unwrap_or_default();
        if left == 0 {
            return say(&format!("peer {id} is empty; take it out with: shoal-directory peer remove --data DIR {id}"));
        }
        if !serving {
            return say(&format!("{} to be moved once the directory serves", many(left, "piece")));
        }
        if last != Some(left) {
            let upkeep = status.upkeep.unwrap_or_default();
            let to_go =
                upkeep.to_go_s.map(|s| format!(", about {}", humantime::format_duration(Duration::from_secs(s))));
            let state = found.map(|status: &PeerStatus| status.state.to_string()).unwrap_or_default();
            let text = format!(
                "{} left, peer {state}, {}/s{}",
                many(left, "piece"),
                ByteSize(upkeep.rate),
                to_go.unwrap_or_default()
            );
            tell(&text);
            (last, stuck) = (Some(left), 0);
        }
        let why = found.and_then(|peer| why_stuck(peer, &status));
        stuck = if why.is_some() { stuck + 1 } else { 0 };
        if let Some(why) = why.filter(|_| stuck == STUCK) {
            tell(&format!("{} left: {why}", many(left, "piece")));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Progress only: nobody may be there to read it.
fn tell(text: &str) {
    std::io::Write::write_all(&mut std::io::stderr(), format!("{text}\n").as_bytes()).ok();
}

pub(super) async fn fsck(command: Fsck) -> Result<(), Failure> {
    let desk = Desk::open(&Config::new(command.data)).await?;
    let checked = desk.check(&CheckStore { repair: command.repair, deep: command.deep }).await;
    desk.close().await;
    let checked = checked?;
    say(&if command.json { json_of(&checked) } else { text_of(&checked, command.deep) })?;
    let left = checked.found - checked.repaired.min(checked.found);
    if left > 0 { Err(Failure::Found(left)) } else { Ok(()) }
}

fn text_of(checked: &StoreChecked, deep: bool) -> String {
    let mut lines: Vec<String> = checked.lines.iter().map(|line| line.to_string()).collect();
    let listed = lines.len() as u64;
    if checked.found > listed {
        lines.push(format!("and {} more", checked.found - listed));
    }
    lines.push(format!(
        "{} looked at, {} wrong, {} mended; {} unreadable now",
        many(checked.records, "record"),
        checked.found,
        checked.repaired,
        many(checked.unreadable, "chunk")
    ));
    if deep {
        lines.push(format!(
            "{} compared, {} could not be; {} missing, {} unknown",
            many(checked.peers.into(), "peer"),
            checked.absent,
            many(checked.missing, "piece"),
            checked.unknown
        ));
    }
    lines.join("\n")
}

fn json_of(checked: &StoreChecked) -> String {
    json!({
        "records": checked.records,
        "found": checked.found,
        "repaired": checked.repaired,
        "unreadable": checked.unreadable,
        "peers": checked.peers,
        "absent": checked.absent,
        "missing": checked.missing,
        "unknown": checked.unknown,
        "lines": checked.lines.iter().map(|line| line.to_string()).collect::<Vec<_>>(),
    })
    .to_string()
}

pub(super) async fn reconcile(command: Reconcile) -> Result<(), Failure> {
    let desk = Desk::open(&Config::new(command.data)).await?;
    let done = async {
        let fenced = desk.status().await?.upkeep.is_none_or(|upkeep| upkeep.fenced);
        Ok::<_, AdminError>(match fenced {
            true => Some(desk.reconcile(&ReconcileRequest { dry_run: !command.yes }).await?),
            false => None,
        })
    };
    let done = done.await;
    desk.close().await;
    let Some(done) = done? else {
        return say(
            "there is nothing to accept: no peer has seen a newer history than this store's; nothing was changed",
        );
    };
    let lead = if command.yes { "accepted" } else { "nothing was changed; with --yes this store is accepted as it is" };
    say(&format!(
        "{lead}\n{} compared, {} absent\n{} of known chunks taken back, {} missing\n{} ({}) of nothing that this store knows: to go to the \
         peers' trash, and to be kept there for its days",
        many(done.peers.into(), "peer"),
        done.absent,
        many(done.adopted, "piece"),
        done.missing,
        many(done.unknown, "piece"),
        ByteSize(done.unknown_bytes),
    ))
}
