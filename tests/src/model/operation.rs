//! Operation: what can happen in a history, and how the next step is drawn from what is there.

use std::fmt;

use client::transfer::Fanout;
use common::redundancy::Redundancy;

use super::contents::cut_from;
use super::tree::{Content, Effect, Tree};
use crate::harness::dice::Dice;

/// What a user asks for.
#[derive(Debug, Clone)]
pub enum Command {
    Put {
        path: String,
        content: Content,
        redundancy: Redundancy,
        fanout: Fanout,
    },
    /// Stores a stream that begins with this content and then cannot be read on.
    GiveUp {
        content: Content,
        redundancy: Redundancy,
        fanout: Fanout,
    },
    Rename {
        from: String,
        to: String,
    },
    Copy {
        from: String,
        to: String,
    },
    Remove {
        path: String,
    },
    MakeFolder {
        path: String,
    },
    Recode {
        path: String,
        redundancy: Redundancy,
    },
}

impl Command {
    #[must_use]
    pub fn effect(&self) -> Effect {
        match self.clone() {
            Self::Put { path, content, .. } => Effect::Put { path, content },
            Self::Rename { from, to } => Effect::Rename { from, to },
            Self::Copy { from, to } => Effect::Copy { from, to },
            Self::Remove { path } => Effect::Remove { path },
            Self::MakeFolder { path } => Effect::MakeFolder { path },
            Self::Recode { .. } | Self::GiveUp { .. } => Effect::Nothing,
        }
    }
}

/// How long its user waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Awaited,
    /// Interrupted after so many milliseconds, as with Ctrl-C.
    Cancelled(u64),
    /// The program ends in the middle of it.
    Dropped(u64),
}

/// What happens to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    EndPeer {
        peer: usize,
        kill: bool,
    },
    StartPeer {
        peer: usize,
    },
    /// It loses its disk, and is back at once or later.
    WipePeer {
        peer: usize,
        kill: bool,
        back: bool,
    },
    /// It never comes back; an operator may say so.
    LosePeer {
        peer: usize,
        told: bool,
    },
    Drain {
        peer: usize,
        drain: bool,
    },
    RestartDirectory {
        kill: bool,
    },
    /// A clock moves by so many milliseconds: the directory's, or a peer's.
    Jump {
        peer: Option<usize>,
        by: i64,
    },
}

/// One step of a history.
#[derive(Debug, Clone)]
pub enum Step {
    /// A command of a device, and an event after so many milliseconds of it.
    One {
        device: usize,
        command: Command,
        ending: Ending,
        event: Option<(u64, Event)>,
    },
    /// Two commands of two devices of one account at once.
    Two {
        devices: [usize; 2],
        commands: [Command; 2],
    },
    Read {
        device: usize,
        path: String,
    },
    List {
        device: usize,
    },
    Event(Event),
    /// Nothing is asked for so many milliseconds.
    Pause(u64),
    /// All peers come back, and all is waited for until it is whole.
    Converge,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// What the choice depends on.
pub struct View<'a> {
    pub tree: [&'a Tree; 2],
    /// Each device's account.
    pub devices: &'a [usize],
    pub peers: &'a [PeerView],
    /// Peers that can be given up.
    pub spare: usize,
    /// Whether a disk may be lost: all was whole since the last.
    pub may_lose: bool,
    pub contents: Content,
    /// What was given up a moment ago.
    pub given_up: Option<Content>,
    pub schemes: &'a [Redundancy],
}

#[derive(Debug, Clone, Copy)]
pub struct PeerView {
    pub up: bool,
    pub draining: bool,
    pub gone: bool,
}

/// Peers that take shards, at least, whatever is ended: any redundancy in use can be stored with so many.
const WRITABLE: usize = 3;
const FOLDERS: [&str; 3] = ["/a", "/b", "/c"];
const NAMES: u64 = 5;
const YEAR: i64 = 365 * 24 * 3_600_000;

#[derive(Clone, Copy)]
enum Kind {
    Put,
    Cancelled,
    Dropped,
    WithEvent,
    Change,
    Two,
    GiveUp,
    Pause,
    Read,
    List,
    Event,
    Converge,
}

/// Draws the next step.
pub fn next(random: &mut Dice, view: &View<'_>) -> Step {
    let kinds = [
        (22, Kind::Put),
        (5, Kind::Cancelled),
        (8, Kind::Dropped),
        (12, Kind::WithEvent),
        (16, Kind::Change),
        (10, Kind::Two),
        (4, Kind::GiveUp),
        (3, Kind::Pause),
        (8, Kind::Read),
        (3, Kind::List),
        (13, Kind::Event),
        (3, Kind::Converge),
    ];
    let device = random.place(view.devices.len());
    let account = view.devices.get(device).copied().unwrap_or(0);
    let tree = view.tree.get(account).copied().unwrap_or(view.tree[0]);
    let one = |command, ending, event| Step::One { device, command, ending, event };
    match random.weighted(&kinds).unwrap_or(Kind::List) {
        Kind::Put => one(put(random, tree, view), Ending::Awaited, None),
        Kind::Cancelled => {
            let ending = Ending::Cancelled(moment(random));
            one(put(random, tree, view), ending, None)
        }
        Kind::Dropped => {
            let command = if random.percent(70) { put(random, tree, view) } else { change(random, tree, view) };
            one(command, Ending::Dropped(moment(random)), None)
        }
        Kind::WithEvent => {
            let command = if random.percent(80) { put(random, tree, view) } else { change(random, tree, view) };
            let event = event(random, view).map(|event| (moment(random), event));
            one(command, Ending::Awaited, event)
        }
        Kind::Change => one(change(random, tree, view), Ending::Awaited, None),
        Kind::Two => two(random, view),
        Kind::GiveUp => {
            let fanout = if random.percent(20) { Fanout::Chain } else { Fanout::Star };
            // One that was cut, or was given up before; or the next.
            let known = cut_from(Content::try_from(random.below(u64::from(view.contents) + 1)).unwrap_or(0));
            let content = if random.percent(50) { known } else { cut_from(view.contents) };
            one(Command::GiveUp { content, redundancy: scheme(random, view), fanout }, Ending::Awaited, None)
        }
        Kind::Pause => Step::Pause(random.below(300)),
        Kind::Read => match random.one_of(&paths(tree)) {
            Some(path) => Step::Read { device, path: path.clone() },
            None => Step::List { device },
        },
        Kind::List => Step::List { device },
        Kind::Event => event(random, view).map_or(Step::List { device }, Step::Event),
        Kind::Converge => Step::Converge,
    }
}

/// Milliseconds after which something is broken off: most often while shards are sent.
fn moment(random: &mut Dice) -> u64 {
    if random.percent(80) { random.below(25) } else { random.below(120) }
}

fn paths(tree: &Tree) -> Vec<String> {
    tree.files.keys().cloned().collect()
}

/// A path where a file can be, mostly one where there is none.
fn place(random: &mut Dice, tree: &Tree) -> String {
    let folders: Vec<_> = std::iter::once("").chain(tree.folders.iter().map(String::as_str)).collect();
    let folder = random.one_of(&folders).copied().unwrap_or_default();
    format!("{folder}/f{}", random.below(NAMES))
}

fn put(random: &mut Dice, tree: &Tree, view: &View<'_>) -> Command {
    // Every third content is one that was used before.
    let known = view.contents > 0 && random.percent(33);
    let revived = view.given_up.filter(|_| random.percent(50));
    let content = if let Some(content) = revived {
        content
    } else if known {
        Content::try_from(random.below(view.contents.into())).unwrap_or(0)
    } else {
        view.contents
    };
    let fanout = if random.percent(20) { Fanout::Chain } else { Fanout::Star };
    Command::Put { path: place(random, tree), content, redundancy: scheme(random, view), fanout }
}

fn scheme(random: &mut Dice, view: &View<'_>) -> Redundancy {
    random.one_of(view.schemes).copied().unwrap_or(Redundancy::DEFAULT)
}

fn change(random: &mut Dice, tree: &Tree, view: &View<'_>) -> Command {
    let folder = |random: &mut Dice| random.one_of(&FOLDERS).copied().unwrap_or("/a").to_owned();
    let kind = random.below(20);
    if kind < 3 || (kind < 17 && tree.files.is_empty()) {
        let path = folder(random);
        return match (tree.has_folder(&path), random.below(3)) {
            (false, _) => Command::MakeFolder { path },
            (true, 0) => Command::Remove { path },
            (true, _) => {
                let to = FOLDERS.iter().find(|to| !tree.has_folder(to)).copied().unwrap_or("/d");
                if tree.has_folder(to) {
                    Command::Remove { path }
                } else {
                    Command::Rename { from: path, to: to.into() }
                }
            }
        };
    }
    let Some(from) = random.one_of(&paths(tree)).cloned() else { return put(random, tree, view) };
    let to = place(random, tree);
    match kind {
        3..8 if from != to => Command::Rename { from, to },
        8..11 if from != to => Command::Copy { from, to },
        11..14 => Command::Recode { path: from, redundancy: scheme(random, view) },
        _ => Command::Remove { path: from },
    }
}

/// Two commands about files, of two devices of the first account, every other time about the same path.
fn two(random: &mut Dice, view: &View<'_>) -> Step {
    let tree = view.tree[0];
    let mut commands = [(); 2].map(|()| {
        loop {
            let command = if random.percent(70) { put(random, tree, view) } else { change(random, tree, view) };
            let of_files = match &command {
                Command::MakeFolder { .. } => false,
                Command::Remove { path } | Command::Rename { from: path, .. } => !tree.has_folder(path),
                _ => true,
            };
            if of_files {
                break command;
            }
        }
    });
    if let [Command::Put { path, .. }, second] = &mut commands
        && random.percent(60)
    {
        let both_put = matches!(second, Command::Put { .. });
        if both_put || tree.files.contains_key(path) {
            match second {
                Command::Put { path: other, .. }
                | Command::Remove { path: other }
                | Command::Rename { to: other, .. } => path.clone_from(other),
                _ => {}
            }
        }
    }
    // A new content is new once.
    if let [Command::Put { content: first, .. }, Command::Put { content: second, .. }] = &mut commands
        && first == second
        && *first == view.contents
        && random.percent(70)
    {
        *second += 1;
    }
    Step::Two { devices: [0, 1], commands }
}

fn event(random: &mut Dice, view: &View<'_>) -> Option<Event> {
    let kind = random.below(100);
    let peer = random.place(view.peers.len());
    let it = *view.peers.get(peer)?;
    let down: Vec<_> = (0..view.peers.len()).filter(|n| view.peers.get(*n).is_some_and(|p| !p.up && !p.gone)).collect();
    let others = view.peers.iter().enumerate().filter(|(n, p)| *n != peer && p.up && !p.draining && !p.gone).count();
    let may_end = it.up && !it.gone && others >= WRITABLE;
    let (kill, back) = (random.percent(40), random.percent(60));
    if kind < 25
        && let Some(peer) = random.one_of(&down)
    {
        return Some(Event::StartPeer { peer: *peer });
    }
    let event = match kind {
        0..42 if may_end => Event::EndPeer { peer, kill },
        42..54 if may_end && view.may_lose && down.is_empty() => Event::WipePeer { peer, kill, back },
        54..59 if may_end && view.may_lose && view.spare > 0 && down.is_empty() => {
            Event::LosePeer { peer, told: random.percent(50) }
        }
        59..67 if it.draining && !it.gone => Event::Drain { peer, drain: false },
        59..67 if may_end && view.spare > 0 => Event::Drain { peer, drain: true },
        67..82 => Event::RestartDirectory { kill },
        82..95 => {
            let far = random.percent(50);
            let by = if far { 10 * YEAR } else { 26 * 3_600_000 };
            let by = if random.percent(50) { by } else { -by };
            Event::Jump { peer: random.percent(30).then_some(peer), by }
        }
        _ => match random.one_of(&down) {
            Some(peer) => Event::StartPeer { peer: *peer },
            None => Event::RestartDirectory { kill },
        },
    };
    Some(event)
}
