//! Killer: takes processes away at random moments, and starts them again at once with the same arguments. Now and then a peer stays away
//! for longer than the directory waits for it, so that what it held is made anew, and then comes back.

use std::fmt;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::harness::{Cluster, Dice, Fragile};

/// A start that is cut off gets so long at most. A server is ready sooner, most of the time.
const START: Duration = Duration::from_millis(150);

/// Of a hundred kills of one peer so many leave it away, for so many more kills.
const AWAY: u64 = 12;
const AWAY_FOR: u64 = 12;

/// How many processes were killed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kills {
    pub directory: u64,
    pub peers: u64,
    /// Of these: two servers at the same moment.
    pub at_once: u64,
    /// Of these: before they had begun to serve.
    pub starting: u64,
    /// Of these: peers that stayed away for a while.
    pub away: u64,
    /// The power of all servers was cut.
    pub cuts: u64,
    /// The slowest start that was not cut off.
    pub slowest: Duration,
}

impl Kills {
    /// All of them.
    #[must_use]
    pub fn servers(&self) -> u64 {
        self.directory + self.peers + self.cuts
    }
}

impl fmt::Display for Kills {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { directory, peers, at_once, starting, away, cuts, slowest } = self;
        if *cuts > 0 {
            return write!(f, "{cuts} power cuts; slowest start {slowest:.1?}");
        }
        let all = self.servers();
        write!(f, "{all} kills: directory {directory}, peers {peers} (")?;
        write!(f, "{at_once} in pairs, {starting} while starting, {away} stayed away)")?;
        write!(f, "; slowest start {slowest:.1?}")
    }
}

/// One server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    Directory,
    Peer(usize),
}

/// Kills; never more at once than `1/3` and `2/4` survive, which is two peers.
#[derive(Debug)]
pub struct Killer<'a> {
    dice: Dice,
    pub kills: Kills,
    /// A peer that is away, and after how many kills it comes back.
    away: Option<(usize, u64)>,
    /// What all servers have their folders on, where power is cut.
    disk: Option<&'a Fragile>,
}

impl<'a> Killer<'a> {
    #[must_use]
    pub fn new(seed: u64, disk: Option<&'a Fragile>) -> Self {
        Self { dice: Dice::new(seed), kills: Kills::default(), away: None, disk }
    }

    /// Waits a while, kills one or two servers, and starts them again.
    ///
    /// # Errors
    /// When one had ended before, or does not serve again within 30 seconds.
    pub fn kill(&mut self, cluster: &mut Cluster, pause: Duration) -> Result<()> {
        // The moment is the point: it is not waited for anything.
        thread::sleep(self.dice.time(pause));
        if let Some(disk) = self.disk {
            return self.cut(cluster, disk);
        }
        if self.away.is_some_and(|(_, until)| self.kills.servers() >= until) {
            self.bring_back(cluster)?;
        }
        let victims = self.victims(cluster.peers.len());
        for victim in &victims {
            self.end(cluster, *victim)?;
        }
        if victims.len() > 1 {
            self.kills.at_once += victims.len() as u64;
        }
        if let [Server::Peer(number)] = victims.as_slice()
            && self.away.is_none()
            && self.dice.percent(AWAY)
        {
            self.away = Some((*number, self.kills.servers() + AWAY_FOR));
            self.kills.away += 1;
            return Ok(());
        }
        for victim in victims {
            while self.dice.percent(10) {
                self.cut_off_start(cluster, victim)?;
            }
            self.start(cluster, victim)?;
        }
        Ok(())
    }

    /// Cuts the power of all servers, and starts them again; of four times once more while they start.
    fn cut(&mut self, cluster: &mut Cluster, disk: &Fragile) -> Result<()> {
        loop {
            cluster.cut_power(disk)?;
            self.kills.cuts += 1;
            let again = self.dice.percent(25);
            let started = self.dice.place(cluster.peers.len() + 1);
            self.start(cluster, Server::Directory)?;
            for number in (0..cluster.peers.len()).take(if again { started } else { usize::MAX }) {
                self.start(cluster, Server::Peer(number))?;
            }
            if !again {
                return Ok(());
            }
        }
    }

    /// Starts the peer that is away, if one is.
    ///
    /// # Errors
    /// When it does not serve within 30 seconds.
    pub fn bring_back(&mut self, cluster: &mut Cluster) -> Result<()> {
        let Some((number, _)) = self.away.take() else { return Ok(()) };
        self.start(cluster, Server::Peer(number))
    }

    fn start(&mut self, cluster: &mut Cluster, server: Server) -> Result<()> {
        let since = Instant::now();
        match server {
            Server::Directory => cluster.serve_directory()?,
            Server::Peer(number) => cluster.serve_peer(number)?,
        }
        self.kills.slowest = self.kills.slowest.max(since.elapsed());
        Ok(())
    }

    fn victims(&mut self, peers: usize) -> Vec<Server> {
        let away = self.away.map(|(number, _)| number);
        let here: Vec<_> = (0..peers).filter(|number| Some(*number) != away).map(Server::Peer).collect();
        let first = self.dice.one_of(&here).copied().unwrap_or(Server::Directory);
        let others: Vec<_> = here.iter().copied().filter(|other| *other != first).collect();
        match self.dice.below(100) {
            0..35 => vec![Server::Directory],
            // With one away, two more at once would be too many.
            80..92 if away.is_none() => std::iter::once(first).chain(self.dice.one_of(&others).copied()).collect(),
            92.. => vec![Server::Directory, first],
            _ => vec![first],
        }
    }

    fn end(&mut self, cluster: &mut Cluster, victim: Server) -> Result<()> {
        match victim {
            Server::Directory => {
                cluster.kill_directory()?;
                self.kills.directory += 1;
            }
            Server::Peer(number) => {
                cluster.kill_peer(number)?;
                self.kills.peers += 1;
            }
        }
        Ok(())
    }

    /// Starts a server, and kills it while it recovers.
    fn cut_off_start(&mut self, cluster: &Cluster, victim: Server) -> Result<()> {
        let (mut command, log) = match victim {
            Server::Directory => (cluster.directory_serve()?, cluster.directory_log()),
            Server::Peer(number) => (cluster.peer_serve(number)?, cluster.peer_log(number)),
        };
        let log = std::fs::File::options().create(true).append(true).open(log)?;
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        thread::sleep(self.dice.time(START));
        let ended = child.try_wait()?;
        child.kill()?;
        child.wait()?;
        ended
            .map_or(Ok(()), |status| Err(anyhow::anyhow!("{victim:?} ended by itself: {status}")))
            .context("a start")?;
        match victim {
            Server::Directory => self.kills.directory += 1,
            Server::Peer(_) => self.kills.peers += 1,
        }
        self.kills.starting += 1;
        Ok(())
    }
}
