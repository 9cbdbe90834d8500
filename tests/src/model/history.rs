//! History: one cluster from its first to its last step, beside the reference.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use client::cancel::Cancel;
use client::keys::MasterKey;
use client::session::Session;
use common::proto::directory::TicketRole;
use common::redundancy::Redundancy;
use tokio::time::{sleep, timeout};

use super::cluster::Cluster;
use super::contents::Contents;
use super::device::{self, Device};
use super::operation::{Command, Ending, Event, PeerView, Step, View, next};
use super::settle;
use super::tree::{Account, Content, Effect, Told, Tree};
use crate::harness::dice::Dice;

/// No command takes longer, whatever happens to the cluster meanwhile.
const COMMAND: Duration = Duration::from_secs(240);
/// A device is of the first account or of the second.
const DEVICES: [usize; 3] = [0, 0, 1];

/// What happened.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub steps: u64,
    pub commands: u64,
    /// Commands that failed, or were broken off.
    pub unknown: u64,
    pub reads: u64,
    pub events: u64,
    /// Shards made, chunks collected and shards dropped, as far as the directory's last run counted them.
    pub made: u64,
    pub collected: u64,
    pub dropped: u64,
}

/// See the module.
pub struct History {
    random: Dice,
    pub(super) cluster: Cluster,
    pub(super) devices: Vec<(usize, Device)>,
    pub(super) accounts: [Account; 2],
    pub(super) contents: Contents,
    /// What the last put began that was given up.
    given_up: Option<Content>,
    schemes: Vec<Redundancy>,
    spare: usize,
    /// All was whole after the last loss of a disk.
    may_lose: bool,
    lost: usize,
    /// The latest time that the directory's clock has shown.
    pub(super) latest: u64,
    pub(super) tally: Tally,
    begun: Instant,
    pub trace: Vec<String>,
}

impl History {
    /// Makes a cluster as the seed says.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn begin(seed: u64) -> Result<Self> {
        let mut random = Dice::new(seed);
        let scheme = |k, n| Redundancy::new(k, n);
        let mut schemes = vec![scheme(1, 2)?, scheme(1, 3)?, scheme(2, 3)?];
        let peers = 4 + random.place(2);
        let wide = random.percent(50);
        if wide {
            schemes.push(scheme(2, 4)?);
        }
        let spare = peers - if wide { 4 } else { 3 };
        // A store that compares only when it has a reason shows whether it has one whenever it needs it.
        let compare_every = if random.percent(50) { Duration::from_millis(250) } else { Duration::from_secs(3600) };
        let default = random.one_of(&schemes).copied().unwrap_or(Redundancy::DEFAULT);
        let mut cluster = Cluster::start(peers, default, compare_every, Dice::new(random.throw())).await?;
        let mut devices = Vec::new();
        for (account, name) in ["home", "office"].into_iter().enumerate() {
            let count = DEVICES.iter().filter(|of| **of == account).count();
            let ticket = cluster.ticket(TicketRole::Client, Some(name), u32::try_from(count)?).await?;
            let master = MasterKey::random();
            for number in 0..count {
                let home = cluster.root.join(format!("{name}{number}"));
                devices.push((account, Device::join(home, &ticket, &master).await?));
            }
        }
        let folder = cluster.root.join("content");
        fs::create_dir(&folder)?;
        let contents = Contents::new(seed, folder);
        let latest = cluster.directory_time();
        let trace = vec![format!("{peers} peers, {schemes:?}, compared every {compare_every:?}")];
        Ok(Self {
            random,
            cluster,
            devices,
            accounts: [Account::default(), Account::default()],
            contents,
            given_up: None,
            schemes,
            spare,
            may_lose: true,
            lost: 0,
            latest,
            tally: Tally::default(),
            begun: Instant::now(),
            trace,
        })
    }

    pub fn say(&mut self, what: impl std::fmt::Display) {
        let at = self.begun.elapsed().as_secs_f32();
        self.trace.push(format!("{at:8.3} {what}"));
    }

    /// Does so many steps, and then looks whether all is as it should be.
    ///
    /// # Errors
    /// What is not.
    pub async fn run(&mut self, steps: u64) -> Result<Tally> {
        for _ in 0..steps {
            let step = self.draw();
            self.say(&step);
            self.tally.steps += 1;
            self.step(step).await?;
        }
        self.say("the end");
        settle::settle(self).await?;
        Ok(self.tally)
    }

    /// # Errors
    /// What a node ended with.
    pub async fn end(self) -> Result<()> {
        for (_, device) in &self.devices {
            device.session.close().await;
        }
        self.cluster.end().await
    }

    fn draw(&mut self) -> Step {
        let peers = self.cluster.members.iter().map(|member| PeerView {
            up: member.node.is_some(),
            draining: member.draining,
            gone: member.gone,
        });
        let peers: Vec<_> = peers.collect();
        let devices: Vec<_> = self.devices.iter().map(|(account, _)| *account).collect();
        let [first, second] = &self.accounts;
        let view = View {
            tree: [&first.tree, &second.tree],
            devices: &devices,
            peers: &peers,
            spare: self.spare,
            may_lose: self.may_lose,
            contents: self.contents.count(),
            given_up: self.given_up,
            schemes: &self.schemes,
        };
        next(&mut self.random, &view)
    }

    fn device(&self, number: usize) -> Result<&(usize, Device)> {
        self.devices.get(number).context("no such device")
    }

    async fn step(&mut self, step: Step) -> Result<()> {
        match step {
            Step::One { device, command, ending, event } => self.one(device, command, ending, event).await,
            Step::Two { devices, commands } => self.two(devices, commands).await,
            Step::Read { device, path } => self.read(device, &path).await,
            Step::List { device } => self.list(device).await,
            Step::Event(event) => self.event(event).await,
            Step::Pause(millis) => {
                sleep(Duration::from_millis(millis)).await;
                Ok(())
            }
            Step::Converge => self.converge().await,
        }
    }

    /// Whether nothing stands in the way of any command.
    fn is_calm(&self) -> bool {
        self.accounts.iter().all(|account| account.ghost.is_none())
            && self.cluster.present().all(|(_, member)| member.node.is_some())
    }

    async fn one(
        &mut self,
        number: usize,
        command: Command,
        ending: Ending,
        event: Option<(u64, Event)>,
    ) -> Result<()> {
        let (account, device) = self.device(number)?;
        let (account, session) = (*account, device.session.clone());
        let before = self.accounts.get(account).context("no such account")?.clone();
        if before.tree.after(&command.effect()).is_none() {
            return Ok(()); // drawn for a tree that is not quite like this
        }
        let calm = self.is_calm() && event.is_none() && ending == Ending::Awaited;
        let source = self.source_of(&command)?;
        let cancel = Cancel::new();
        let doing = perform(session.clone(), command.clone(), source, cancel.clone());
        let outcome = match ending {
            Ending::Awaited => {
                let happening = async {
                    let Some((after, event)) = event else { return Ok(()) };
                    sleep(Duration::from_millis(after)).await;
                    self.event(event).await
                };
                let (outcome, happened) = tokio::join!(timeout(COMMAND, doing), happening);
                happened?;
                outcome.map_err(|_| anyhow!("the command hangs"))?
            }
            Ending::Cancelled(after) => {
                let interrupt = async {
                    sleep(Duration::from_millis(after)).await;
                    cancel.cancel();
                };
                let (outcome, ()) = tokio::join!(timeout(COMMAND, doing), interrupt);
                outcome.map_err(|_| anyhow!("the command hangs"))?
            }
            Ending::Dropped(after) => match timeout(Duration::from_millis(after), doing).await {
                Ok(outcome) => outcome,
                Err(_) => Err(anyhow!("broken off")),
            },
        };
        self.tally.commands += 1;
        self.given_up = None;
        if let Command::GiveUp { content, .. } = command {
            ensure!(outcome.is_err(), "a put succeeded whose source cannot be read to its end");
            self.given_up = Some(content);
        }
        let told = if outcome.is_ok() { Told::Done } else { Told::Unknown };
        if let Err(error) = &outcome {
            self.tally.unknown += 1;
            self.say(format!("  {error:#}"));
            // Content that lacks a shard cannot be copied until it was made anew.
            let calm = calm && !matches!(command, Command::Copy { .. } | Command::GiveUp { .. });
            ensure!(!calm, "a command failed though nothing was wrong: {error:#}");
        }
        if told == Told::Unknown && ending != Ending::Awaited {
            self.broken_off(number, account, &before, &command, ending).await?;
        }
        self.then(account, &[(command.effect(), told)]).await
    }

    /// What follows a command that was broken off. Its requests may still be under way: a put of unknown end stays in mind until the directory
    /// has ended, and at most one does; with any other command it ends at once.
    async fn broken_off(
        &mut self,
        number: usize,
        account: usize,
        before: &Account,
        command: &Command,
        ending: Ending,
    ) -> Result<()> {
        if let Ending::Dropped(_) = ending
            && let Some((_, device)) = self.devices.get(number)
        {
            device.session.close().await;
        }
        let has_ghost = self.accounts.iter().any(|account| account.ghost.is_some());
        match command {
            Command::Put { path, content, .. } if !has_ghost && self.random.percent(50) => {
                let saw = before.tree.files.get(path).copied();
                let ghost = Effect::Arrive { path: path.clone(), content: *content, saw };
                if let Some(account) = self.accounts.get_mut(account) {
                    account.ghost = Some(ghost);
                }
            }
            _ => {
                let kill = self.random.percent(50);
                self.say(format!("  the directory restarts, killed: {kill}"));
                self.restart_directory(kill).await?;
            }
        }
        if let Ending::Dropped(_) = ending
            && let Some((_, device)) = self.devices.get_mut(number)
        {
            device.restart().await?;
        }
        Ok(())
    }

    async fn restart_directory(&mut self, kill: bool) -> Result<()> {
        self.cluster.end_directory(kill).await?;
        self.cluster.serve_directory().await
    }

    async fn two(&mut self, numbers: [usize; 2], commands: [Command; 2]) -> Result<()> {
        let [first, second] = commands;
        let sources = (self.source_of(&first)?, self.source_of(&second)?);
        let [a, b] = numbers;
        let (account, one) = self.device(a)?;
        let (account, one, other) = (*account, one.session.clone(), self.device(b)?.1.session.clone());
        let doing = async {
            tokio::join!(
                perform(one, first.clone(), sources.0, Cancel::new()),
                perform(other, second.clone(), sources.1, Cancel::new())
            )
        };
        let outcomes = timeout(COMMAND, doing).await.map_err(|_| anyhow!("the commands hang"))?;
        self.tally.commands += 2;
        let mut effects = Vec::new();
        for (command, outcome) in [(first, outcomes.0), (second, outcomes.1)] {
            if let Err(error) = &outcome {
                self.tally.unknown += 1;
                self.say(format!("  {error:#}"));
            }
            effects.push((command.effect(), if outcome.is_ok() { Told::Done } else { Told::Unknown }));
        }
        self.then(account, &effects).await
    }

    fn source_of(&mut self, command: &Command) -> Result<PathBuf> {
        match command {
            Command::Put { content, .. } | Command::GiveUp { content, .. } => self.contents.file(*content),
            _ => Ok(PathBuf::new()),
        }
    }

    /// Takes commands into the reference; where several trees are possible, it is looked which it is.
    async fn then(&mut self, account: usize, effects: &[(Effect, Told)]) -> Result<()> {
        let trees = self.accounts.get(account).context("no such account")?.after(effects);
        let tree = match trees.as_slice() {
            [] => bail!("these commands cannot all have been done, and their users were told so"),
            [tree] => tree.clone(),
            several => {
                let device = self.devices.iter().rposition(|(of, _)| *of == account).unwrap_or(0);
                let found = self.look(device).await?;
                ensure!(several.contains(&found), "there is{found}\nand should be one of{}", texts(several));
                self.say(format!("  there is {found}"));
                found
            }
        };
        if let Some(account) = self.accounts.get_mut(account) {
            account.tree = tree;
        }
        Ok(())
    }

    /// The tree as a device sees it.
    pub(super) async fn look(&self, device: usize) -> Result<Tree> {
        let listed = timeout(COMMAND, device::list(&self.device(device)?.1.session)).await??;
        let mut tree = Tree::default();
        for (path, size) in listed {
            match size {
                None => drop(tree.folders.insert(path)),
                Some(size) => {
                    let content = self.contents.of_len(size).with_context(|| format!("{path} has {size} bytes"))?;
                    tree.files.insert(path, content);
                }
            }
        }
        Ok(tree)
    }

    async fn list(&mut self, number: usize) -> Result<()> {
        let account = self.device(number)?.0;
        let found = self.look(number).await?;
        let trees = self.accounts.get(account).context("no such account")?.after(&[]);
        ensure!(trees.contains(&found), "a listing shows{found}\nand should show one of{}", texts(&trees));
        if let Some(account) = self.accounts.get_mut(account) {
            account.tree = found;
        }
        Ok(())
    }

    /// Reads a file and compares it; with at most one peer away, or its disk lost, it can be read.
    async fn read(&mut self, number: usize, path: &str) -> Result<()> {
        let away = self.cluster.present().filter(|(_, member)| member.node.is_none()).count() + self.lost;
        match self.read_now(number, path).await {
            Err(error) if away > 1 && !error.is::<Differs>() => {
                self.say(format!("  {error:#}"));
                Ok(())
            }
            read => read,
        }
    }

    /// The same, and it must be possible.
    pub(super) async fn read_now(&mut self, number: usize, path: &str) -> Result<()> {
        let (account, device) = self.device(number)?;
        let trees = self.accounts.get(*account).context("no such account")?.after(&[]);
        let session = device.session.clone();
        self.tally.reads += 1;
        let read = timeout(COMMAND, device::read(&session, path)).await.context("a read hangs")?;
        let bytes = read.with_context(|| format!("{path} cannot be read"))?;
        for content in trees.iter().filter_map(|tree| tree.files.get(path)) {
            if self.contents.bytes(*content)? == bytes {
                return Ok(());
            }
        }
        Err(Differs { path: path.to_owned(), len: bytes.len() }.into())
    }

    /// One of some peers, for every fourth history.
    pub(super) fn draw_survivor(&mut self, peers: &[usize]) -> Option<usize> {
        if self.random.percent(25) { self.random.one_of(peers).copied() } else { None }
    }

    async fn event(&mut self, event: Event) -> Result<()> {
        self.tally.events += 1;
        match event {
            Event::EndPeer { peer, kill } => self.cluster.end_peer(peer, kill).await,
            Event::StartPeer { peer } => self.cluster.serve_peer(peer).await,
            Event::WipePeer { peer, kill, back } => {
                self.cluster.end_peer(peer, kill).await?;
                self.cluster.wipe_peer(peer)?;
                (self.may_lose, self.lost) = (false, self.lost + 1);
                if back { self.cluster.serve_peer(peer).await } else { Ok(()) }
            }
            Event::LosePeer { peer, told } => {
                self.cluster.end_peer(peer, true).await?;
                self.cluster.wipe_peer(peer)?;
                (self.may_lose, self.lost, self.spare) = (false, self.lost + 1, self.spare.saturating_sub(1));
                if told {
                    self.cluster.remove(peer, true).await?;
                }
                if let Some(member) = self.cluster.members.get_mut(peer) {
                    member.gone = true;
                }
                Ok(())
            }
            Event::Drain { peer, drain } => {
                self.spare = if drain { self.spare.saturating_sub(1) } else { self.spare + 1 };
                self.cluster.drain(peer, drain).await
            }
            Event::RestartDirectory { kill } => self.restart_directory(kill).await,
            Event::Jump { peer: Some(peer), by } => {
                self.cluster.turn_peer(peer, by);
                Ok(())
            }
            Event::Jump { peer: None, by } => {
                self.cluster.turn_directory(by);
                self.latest = self.latest.max(self.cluster.directory_time());
                Ok(())
            }
        }
    }

    /// All peers come back, and the directory says that all is whole.
    async fn converge(&mut self) -> Result<()> {
        settle::all_back(self).await?;
        settle::whole(self).await?;
        (self.may_lose, self.lost) = (true, 0);
        // A peer that was emptied may go.
        let emptied = self.cluster.present().find(|(_, member)| member.draining).map(|(number, _)| number);
        if let Some(number) = emptied
            && self.random.percent(50)
        {
            self.say(format!("  peer {number} is removed"));
            settle::empty(self, number).await?;
            self.cluster.remove(number, false).await?;
            self.cluster.end_peer(number, false).await?;
        }
        Ok(())
    }
}

/// A file with other bytes than were stored: never to be forgiven.
#[derive(Debug)]
struct Differs {
    path: String,
    len: usize,
}

impl std::fmt::Display for Differs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} has {} bytes that are not what was stored there", self.path, self.len)
    }
}

impl std::error::Error for Differs {}

fn texts(trees: &[Tree]) -> String {
    trees.iter().map(|tree| format!("\n    {tree}")).collect()
}

/// Does a command to its end.
async fn perform(session: Session, command: Command, source: PathBuf, cancel: Cancel) -> Result<()> {
    match command {
        Command::Put { path, redundancy, fanout, .. } => {
            device::put(&session, source, &path, redundancy, fanout, cancel).await
        }
        Command::GiveUp { redundancy, fanout, .. } => {
            device::give_up(&session, &source, redundancy, fanout, cancel).await
        }
        Command::Rename { from, to } => device::rename(&session, &from, &to).await,
        Command::Copy { from, to } => device::copy(&session, &from, &to, &cancel).await,
        Command::Remove { path } => device::remove(&session, &path).await,
        Command::MakeFolder { path } => device::make_folder(&session, &path).await,
        Command::Recode { path, redundancy } => device::recode(&session, &path, redundancy).await,
    }
}
