//! A directory, peers and devices, enrolled with real tickets, in a folder of their own; on loopback, each behind a [`Relay`], or
//! servers and devices in network namespaces of their own.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use tempfile::TempDir;

use super::fragile::Fragile;
use super::process::{Answer, Running, command, eventually, run};
use super::relay::{Conditions, Relay};
use super::turns::Turn;

const LOOPBACK: &str = "127.0.0.1";

/// How a cluster is made.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    pub peers: usize,
    /// The cluster's default redundancy.
    pub redundancy: String,
    /// More arguments for `shoal-directory serve`.
    pub serve: Vec<String>,
    /// More arguments for `shoal-peer join`.
    pub join: Vec<String>,
    /// Where its folder is made; the system's folder for temporary files otherwise.
    pub below: Option<PathBuf>,
    /// Where the data folders of directory and peers are made; in the cluster's folder otherwise.
    pub servers: Option<PathBuf>,
    /// Puts a relay before the directory and before each peer, so that nobody reaches them but through it.
    pub relays: Option<Conditions>,
    /// The address that servers listen on.
    pub host: String,
    /// The network namespace of servers, and that of devices.
    pub namespaces: [Option<String>; 2],
    /// Environment variables of all programs.
    pub environment: Vec<(String, String)>,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            peers: 3,
            redundancy: "1/3".to_owned(),
            serve: ["--heartbeat", "200ms", "--suspect-after", "1s", "--dead-after", "4s"].map(str::to_owned).to_vec(),
            join: Vec::new(),
            below: None,
            servers: None,
            relays: None,
            host: LOOPBACK.to_owned(),
            namespaces: [None, None],
            environment: Vec::new(),
        }
    }
}

/// A running cluster with one device of the account `home`.
pub struct Cluster {
    pub directory: Option<Running>,
    /// A peer that was killed leaves an empty place.
    pub peers: Vec<Option<Running>>,
    /// Before the directory, then before each peer; empty without relays.
    pub relays: Vec<Relay>,
    options: ClusterOptions,
    /// Where the directory serves, or served last.
    address: Option<String>,
    root: PathBuf,
    /// Deletes the folder, unless the cluster is kept.
    temporary: Option<TempDir>,
    /// A cluster on lines of its own is looked at with a clock: nothing that computes much runs meanwhile.
    _turn: Turn,
}

impl Cluster {
    /// Makes a cluster of as many peers, serves it, and enrols a device.
    ///
    /// # Errors
    /// With what the program said that failed.
    pub fn start(options: ClusterOptions) -> Result<Self> {
        let turn = Turn::take(options.relays.is_some() || options.namespaces.iter().any(Option::is_some));
        let temporary = match &options.below {
            Some(below) => TempDir::with_prefix_in("shoal-", below)?,
            None => TempDir::with_prefix("shoal-")?,
        };
        let root = temporary.path().to_owned();
        let mut cluster = Self {
            directory: None,
            peers: Vec::new(),
            relays: Vec::new(),
            options,
            address: None,
            root,
            temporary: Some(temporary),
            _turn: turn,
        };
        cluster.init()?;
        cluster.serve_directory()?;
        for _ in 0..cluster.options.peers {
            cluster.add_peer(&[])?;
        }
        cluster.join_device("device", "home")?;
        cluster.wait_online(cluster.options.peers)?;
        Ok(cluster)
    }

    fn init(&mut self) -> Result<()> {
        let mut init = self.directory_command("init")?;
        init.args(["--listen", &format!("{}:0", self.options.host), "--redundancy", &self.options.redundancy]);
        if let Some(relay) = self.add_relay()? {
            init.args(["--advertise", &relay]);
        }
        run(init, None)?.expect(0)?;
        Ok(())
    }

    /// The next server's relay, if servers have some: its address.
    fn add_relay(&mut self) -> Result<Option<String>> {
        let Some(conditions) = self.options.relays else { return Ok(None) };
        let relay = Relay::start(conditions, u64::try_from(self.relays.len())? + 1)?;
        let address = relay.address().to_string();
        self.relays.push(relay);
        Ok(Some(address))
    }

    /// Tells a server's relay where that is now.
    fn lead(&self, number: usize, address: &str) -> Result<()> {
        let Some(relay) = self.relays.get(number) else { return Ok(()) };
        relay.lead_to(address.parse().context("a server says where it listens")?);
        Ok(())
    }

    /// A program with this cluster's environment, in a namespace where it has some.
    fn program<S: AsRef<OsStr>>(
        &self,
        program: &str,
        of_device: bool,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Command> {
        let plain = command(program, arguments)?;
        let namespace = self.options.namespaces.get(usize::from(of_device)).and_then(Option::as_ref);
        let mut command = match namespace {
            None => plain,
            Some(name) => {
                let mut inside = Command::new("ip");
                inside.args(["netns", "exec", name]).arg(plain.get_program()).args(plain.get_args());
                inside.env_remove("RUST_LOG").env("NO_COLOR", "1");
                inside
            }
        };
        command.envs(self.options.environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    #[must_use]
    pub fn directory_data(&self) -> PathBuf {
        self.servers().join("directory")
    }

    fn servers(&self) -> &Path {
        self.options.servers.as_ref().unwrap_or(&self.root)
    }

    #[must_use]
    pub fn peer_data(&self, number: usize) -> PathBuf {
        self.servers().join(format!("peer{number}"))
    }

    #[must_use]
    pub fn directory_log(&self) -> PathBuf {
        self.root.join("directory.log")
    }

    #[must_use]
    pub fn peer_log(&self, number: usize) -> PathBuf {
        self.root.join(format!("peer{number}.log"))
    }

    #[must_use]
    pub fn home(&self, device: &str) -> PathBuf {
        self.root.join(device)
    }

    /// Starts the directory, again where it served before: its data folder remembers nothing of the port `:0`.
    ///
    /// # Errors
    /// With its log.
    pub fn serve_directory(&mut self) -> Result<()> {
        let serve = self.directory_serve()?;
        self.directory = None;
        let running = Running::start("directory", serve, self.directory_log())?;
        self.lead(0, &running.address)?;
        self.address = Some(running.address.clone());
        self.directory = Some(running);
        Ok(())
    }

    /// `shoal-directory serve ...`, where it served before.
    ///
    /// # Errors
    /// When the programs can't be built.
    pub fn directory_serve(&self) -> Result<Command> {
        let mut serve = self.directory_command("serve")?;
        serve.args(&self.options.serve);
        if let Some(address) = &self.address {
            serve.arg("--listen").arg(address);
        }
        Ok(serve)
    }

    /// `shoal-directory VERB --data ...`
    ///
    /// # Errors
    /// When the programs can't be built.
    pub fn directory_command(&self, verb: &str) -> Result<Command> {
        let mut command = self.program("shoal-directory", false, [verb, "--data"])?;
        command.arg(self.directory_data());
        Ok(command)
    }

    /// `shoal-directory ARGUMENTS`: a command beside the serving directory that says itself where its data is.
    ///
    /// # Errors
    /// When the programs can't be built.
    pub fn directory_program<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Command> {
        self.program("shoal-directory", false, arguments)
    }

    /// A ticket's line.
    ///
    /// # Errors
    /// With what the program said.
    pub fn ticket(&self, more: &[&str]) -> Result<String> {
        let mut ticket = self.directory_command("ticket")?;
        ticket.args(more);
        Ok(run(ticket, None)?.expect(0)?.text().trim().to_owned())
    }

    /// Joins and serves one more peer; its number.
    ///
    /// # Errors
    /// With what the program said.
    pub fn add_peer(&mut self, more: &[&str]) -> Result<usize> {
        let number = self.peers.len();
        let ticket = self.ticket(&["--role", "peer"])?;
        let mut join = self.program("shoal-peer", false, ["join", &ticket, "--data"])?;
        join.arg(self.peer_data(number)).args(&self.options.join).args(more);
        if let Some(relay) = self.add_relay()? {
            join.args(["--advertise", &relay]);
        }
        if self.options.host != LOOPBACK {
            join.args(["--listen", &format!("{}:0", self.options.host)]);
        }
        run(join, None)?.expect(0)?;
        self.peers.push(None);
        self.serve_peer(number)?;
        Ok(number)
    }

    /// Starts a peer that has joined.
    ///
    /// # Errors
    /// With its log.
    pub fn serve_peer(&mut self, number: usize) -> Result<()> {
        let running = Running::start(&format!("peer{number}"), self.peer_serve(number)?, self.peer_log(number))?;
        self.lead(number + 1, &running.address)?;
        *self.peers.get_mut(number).context("a peer that has joined")? = Some(running);
        Ok(())
    }

    /// `shoal-peer serve ...`
    ///
    /// # Errors
    /// When the programs can't be built.
    pub fn peer_serve(&self, number: usize) -> Result<Command> {
        let mut serve = self.program("shoal-peer", false, ["serve", "--data"])?;
        serve.arg(self.peer_data(number));
        Ok(serve)
    }

    /// SIGKILL to the directory.
    ///
    /// # Errors
    /// When it was not running.
    pub fn kill_directory(&mut self) -> Result<()> {
        self.directory.take().context("it does not run")?.kill()
    }

    /// SIGKILL to a peer.
    ///
    /// # Errors
    /// When it was not running.
    pub fn kill_peer(&mut self, number: usize) -> Result<()> {
        let place = self.peers.get_mut(number).context("a peer that has joined")?;
        place.take().context("it does not run")?.kill()
    }

    /// Enrols a device with an account.
    ///
    /// # Errors
    /// With what the program said.
    pub fn join_device(&self, device: &str, account: &str) -> Result<Answer> {
        let ticket = self.ticket(&["--role", "client", "--account", account])?;
        self.shoal_as(device, ["join", &ticket])?.expect(0)
    }

    /// Runs `shoal` as the first device.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn shoal<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Answer> {
        self.shoal_as("device", arguments)
    }

    /// Runs `shoal` as a device.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn shoal_as<S: AsRef<OsStr>>(&self, device: &str, arguments: impl IntoIterator<Item = S>) -> Result<Answer> {
        run(self.shoal_command(device, arguments)?, None)
    }

    /// `shoal ARGUMENTS` as a device, to be started.
    ///
    /// # Errors
    /// When the programs can't be built.
    pub fn shoal_command<S: AsRef<OsStr>>(
        &self,
        device: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Command> {
        let mut command = self.program("shoal", true, arguments)?;
        command.env("SHOAL_HOME", self.home(device));
        Ok(command)
    }

    /// `shoal-directory status --json`.
    ///
    /// # Errors
    /// With what the program said.
    pub fn status(&self) -> Result<serde_json::Value> {
        let mut status = self.directory_command("status")?;
        status.arg("--json");
        Ok(serde_json::from_slice(&run(status, None)?.expect(0)?.stdout)?)
    }

    /// How many peers are in a state.
    #[must_use]
    pub fn count_peers(&self, state: &str) -> usize {
        let Ok(status) = self.status() else { return 0 };
        let peers = status.get("peers").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
        peers.iter().filter(|peer| peer.get("state").and_then(serde_json::Value::as_str) == Some(state)).count()
    }

    /// Waits until so many peers are online.
    ///
    /// # Errors
    /// When they are not within 20 seconds.
    pub fn wait_online(&self, count: usize) -> Result<()> {
        eventually(&format!("{count} peers online"), Duration::from_secs(20), || self.count_peers("online") == count)
    }

    /// Everything that runs, with the directory first.
    pub fn processes(&self) -> impl Iterator<Item = &Running> {
        self.directory.iter().chain(self.peers.iter().flatten())
    }

    /// Everything that directory and peers have stored and logged.
    #[must_use]
    pub fn server_side(&self) -> Vec<PathBuf> {
        let mut paths = vec![self.directory_data(), self.directory_log()];
        for number in 0..self.peers.len() {
            paths.push(self.peer_data(number));
            paths.push(self.peer_log(number));
        }
        paths
    }

    /// Ends all processes in good order.
    ///
    /// # Errors
    /// When one does not end within 5 seconds.
    pub fn stop(&mut self) -> Result<()> {
        for running in self.peers.iter_mut().flatten().chain(self.directory.iter_mut()) {
            running.stop(Signal::TERM, Duration::from_secs(5))?;
        }
        self.peers.iter_mut().for_each(|peer| *peer = None);
        self.directory = None;
        Ok(())
    }

    /// The power of all servers fails at the same moment, and comes back: they do not run then. Stopped first, none of them sees an error of
    /// its disk, and nothing that they were about to acknowledge is.
    ///
    /// # Errors
    /// When the disk is not to be cut or mounted.
    pub fn cut_power(&mut self, disk: &Fragile) -> Result<()> {
        for running in self.processes() {
            running.signal(Signal::STOP)?;
        }
        disk.cut()?;
        self.peers.iter_mut().for_each(|peer| *peer = None);
        self.directory = None;
        disk.back()
    }

    /// Ends all processes at once, and leaves the folder for whoever looks what went wrong.
    pub fn end_and_keep(&mut self) {
        self.peers.iter_mut().for_each(|peer| *peer = None);
        self.directory = None;
        if let Some(temporary) = self.temporary.take() {
            let _ = temporary.keep();
        }
    }

    /// Leaves everything running and its folder in place; the process ids.
    #[must_use]
    pub fn leave(mut self) -> Vec<u32> {
        if let Some(temporary) = self.temporary.take() {
            let _ = temporary.keep();
        }
        self.directory.take().into_iter().chain(self.peers.drain(..).flatten()).map(Running::leave).collect()
    }

    /// The names of what lies in a folder, for "nothing is left behind".
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn names_in(folder: &Path) -> Result<Vec<String>> {
        let mut names: Vec<_> = fs::read_dir(folder)?
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect::<Result<_, _>>()?;
        names.sort();
        Ok(names)
    }
}
