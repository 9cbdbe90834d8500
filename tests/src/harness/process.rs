//! One program running: its address, its log, its CPU time, its memory, and ways to end it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

const READY: Duration = Duration::from_secs(30);
const TICKS_PER_SECOND: f64 = 100.0; // USER_HZ, which is 100 on every Linux that Rust runs on

/// A serving program. Killed when dropped.
pub struct Running {
    child: Child,
    /// What it said after `listening on`.
    pub address: String,
    /// Everything it wrote to stderr.
    pub log: PathBuf,
    pub name: String,
}

impl Running {
    /// Starts a program that serves, and waits until it says that it is ready.
    ///
    /// # Errors
    /// When it ends, or says nothing for 30 seconds; with what it wrote.
    pub fn start(name: &str, mut command: Command, log: PathBuf) -> Result<Self> {
        let sink = File::options().create(true).append(true).open(&log)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(sink);
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let stdout = child.stdout.take().context("its stdout is a pipe")?;
        let (said, hears) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if said.send(line).is_err() {
                    break;
                }
            }
        });
        let Ok(line) = hears.recv_timeout(READY) else {
            let _ = child.kill();
            let _ = child.wait();
            bail!("{name} did not become ready; its log:\n{}", fs::read_to_string(&log).unwrap_or_default());
        };
        let Some(address) = line.strip_prefix("listening on ") else { bail!("{name} said {line:?}") };
        Ok(Self { child, address: address.trim().to_owned(), log, name: name.to_owned() })
    }

    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: it has no chance to do anything.
    ///
    /// # Errors
    /// When it has ended by itself before.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("{} was gone already", self.name))?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends a signal and waits for its end.
    ///
    /// # Errors
    /// When it has not ended within the given time.
    pub fn stop(&mut self, signal: Signal, within: Duration) -> Result<ExitStatus> {
        self.signal(signal)?;
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if since.elapsed() > within {
                bail!("{} did not end within {within:?}; its log:\n{}", self.name, self.read_log());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// # Errors
    /// When there is no such process.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        signal_to(self.child.id(), signal)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// User and system seconds so far.
    #[must_use]
    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds(&format!("/proc/{}/stat", self.child.id()), 13)
    }

    /// The most memory that it ever had resident, in bytes.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        status_bytes(self.child.id(), "VmHWM:")
    }

    /// What it has resident now, in bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        status_bytes(self.child.id(), "VmRSS:")
    }

    #[must_use]
    pub fn read_log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Leaves it running when this value is dropped.
    #[must_use]
    pub fn leave(mut self) -> u32 {
        let id = self.child.id();
        let (Ok(parked), true) = (Command::new("true").spawn(), true) else { return id };
        self.child = parked;
        id
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// # Errors
/// When there is no such process.
pub fn signal_to(id: u32, signal: Signal) -> Result<()> {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw).context("a process id")?;
    Ok(kill_process(id, signal)?)
}

/// CPU seconds in two neighbouring fields of a stat file, counted from zero.
fn cpu_seconds(path: &str, field: usize) -> f64 {
    let Ok(stat) = fs::read_to_string(path) else { return 0.0 };
    // The name in parentheses may hold anything; the fields behind it are plain. The first of them is number 2.
    let Some((_, rest)) = stat.rsplit_once(')') else { return 0.0 };
    rest.split_whitespace().skip(field - 2).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>()
        / TICKS_PER_SECOND
}

fn status_bytes(id: u32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// What a program that ended has answered and cost.
pub struct Answer {
    pub status: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
    pub seconds: f64,
    pub cpu_seconds: f64,
    pub peak_memory: u64,
}

impl Answer {
    /// Its stdout as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// # Errors
    /// With all that it printed, unless it exited with the code.
    pub fn expect(self, code: i32) -> Result<Self> {
        if self.status == Some(code) {
            return Ok(self);
        }
        bail!("exit code {:?} instead of {code}\nstdout: {}\nstderr: {}", self.status, self.text(), self.stderr);
    }
}

/// Runs a program to its end. Measures it, if nothing else is run by this process meanwhile.
///
/// # Errors
/// When it cannot be started.
pub fn run(mut command: Command, input: Option<Vec<u8>>) -> Result<Answer> {
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let before = cpu_seconds("/proc/self/stat", 15);
    let since = Instant::now();
    let mut child = command.spawn().context("cannot start it")?;
    let feeder = input.and_then(|input| {
        let mut stdin = child.stdin.take()?;
        Some(thread::spawn(move || drop(stdin.write_all(&input))))
    });
    let (peak, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let watcher = {
        let (peak, done, id) = (peak.clone(), done.clone(), child.id());
        thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(status_bytes(id, "VmHWM:"), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(10));
            }
        })
    };
    let Output { status, stdout, stderr } = child.wait_with_output()?;
    let seconds = since.elapsed().as_secs_f64();
    done.store(true, Ordering::Relaxed);
    let _ = watcher.join();
    if let Some(feeder) = feeder {
        let _ = feeder.join();
    }
    Ok(Answer {
        status: status.code(),
        stdout,
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
        seconds,
        cpu_seconds: cpu_seconds("/proc/self/stat", 15) - before,
        peak_memory: peak.load(Ordering::Relaxed),
    })
}

/// A command on a program of ours.
///
/// # Errors
/// When the programs can't be built.
pub fn command<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Result<Command> {
    let mut command = Command::new(super::binary(program)?);
    command.args(arguments).env_remove("RUST_LOG").env("NO_COLOR", "1");
    Ok(command)
}

/// How much longer things may take where other tests and a build want the same cores. What is not so by then was forgotten, not late.
const BUSY: u32 = 3;

/// Waits until something is so. For what has no event to wait for: another process's state. What must be fast is measured by its test.
///
/// # Errors
/// When it is not so within three times the given time, which is what it takes at the most where nothing else runs.
pub fn eventually(what: &str, within: Duration, mut is_so: impl FnMut() -> bool) -> Result<()> {
    let (since, most) = (Instant::now(), within * BUSY);
    while !is_so() {
        if since.elapsed() > most {
            bail!("not within {most:?}: {what}");
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
