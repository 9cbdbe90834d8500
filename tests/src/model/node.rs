//! Node: a directory or a peer in this process, on a thread and a runtime of its own, so that it can be ended like a process: asked to, or
//! in the middle of whatever it does.
//!
//! A kill drops every task where it waits. What a thread does for it at that moment (a write, a sync) is waited for: its data folder is free
//! when the kill returns. Kills between two instructions, and power cuts, are other tests' work.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long a node may take to start or to end.
const LIMIT: Duration = Duration::from_secs(120);

/// What runs.
pub enum Program {
    Directory(Box<directory::Config>),
    Peer(Box<peer::ServeConfig>),
}

/// One that runs; killed when it is dropped.
pub struct Node {
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    kill: oneshot::Sender<()>,
    ended: oneshot::Receiver<Result<()>>,
}

impl Node {
    /// Starts it, and waits until it says that it is ready.
    ///
    /// # Errors
    /// What it ended with instead.
    pub async fn start(name: String, program: Program) -> Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let (kill, killed) = oneshot::channel();
        let (ready, is_ready) = oneshot::channel();
        let (end, mut ended) = oneshot::channel();
        let running = move || {
            let outcome = run(program, stopped, killed, ready);
            end.send(outcome).ok(); // nobody may want to know any more
        };
        thread::Builder::new().name(name.clone()).spawn(running)?;
        tokio::select! {
            Ok(address) = is_ready => Ok(Self { address, stop, kill, ended }),
            outcome = &mut ended => Err(match outcome {
                Ok(Err(error)) => error.context(format!("{name} did not start")),
                Ok(Ok(())) | Err(_) => anyhow!("{name} ended at once"),
            }),
            () = tokio::time::sleep(LIMIT) => Err(anyhow!("{name} did not start within {LIMIT:?}")),
        }
    }

    /// Asks it to end, and waits.
    ///
    /// # Errors
    /// What it ended with.
    pub async fn stop(self) -> Result<()> {
        self.stop.send(()).ok(); // it may have ended by itself, with an error
        wait(self.ended).await
    }

    /// # Errors
    /// What it had ended with before.
    pub async fn kill(self) -> Result<()> {
        self.kill.send(()).ok();
        wait(self.ended).await
    }
}

async fn wait(ended: oneshot::Receiver<Result<()>>) -> Result<()> {
    timeout(LIMIT, ended).await.context("a node did not end")?.context("a node panicked")?
}

fn run(
    program: Program,
    stopped: oneshot::Receiver<()>,
    killed: oneshot::Receiver<()>,
    ready: oneshot::Sender<SocketAddr>,
) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let shutdown = async { stopped.await.unwrap_or(()) };
    let ready = |address| {
        ready.send(address).ok(); // nobody may wait any more
    };
    let outcome = runtime.block_on(async {
        let serving = async {
            match program {
                Program::Directory(config) => directory::run(*config, shutdown, ready).await.context("the directory"),
                Program::Peer(config) => peer::run(*config, shutdown, ready).await.context("a peer"),
            }
        };
        tokio::select! {
            biased;
            _ = killed => Ok(()),
            outcome = serving => outcome,
        }
    });
    runtime.shutdown_timeout(LIMIT);
    outcome
}
