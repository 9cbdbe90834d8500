//! Process: programs as children of this one: run to their end and measured, or kept serving until they are dropped.
//!
//! Children stay in the process group of this program, so that Ctrl-C in a terminal reaches them as well, also when this program
//! is stopped the hard way.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::leftovers::{self, signal};
use super::{BenchError, go_on, usage};
use crate::cancel::{Cancel, Interrupted};

/// How long a server may take until it says that it listens.
const READY: Duration = Duration::from_secs(30);
/// How long it may take to end in good order.
const FAREWELL: Duration = Duration::from_secs(5);
/// How often a running command's memory is looked at, and whether the user has had enough.
const LOOK: Duration = Duration::from_millis(20);
/// What is kept of what a program says on stderr.
const SAID_BYTES: u64 = 64 << 10;

/// What a program that ended has answered and cost.
pub(super) struct Done {
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) seconds: f64,
    pub(super) cpu_seconds: f64,
    pub(super) peak_memory: u64,
}

impl Done {
    /// # Errors
    /// With what it said, when it failed.
    pub(super) fn or_failed(self, what: &str) -> Result<Self, BenchError> {
        if self.code == Some(0) {
            return Ok(self);
        }
        let said = self.stderr.trim().to_owned();
        Err(BenchError::Failed { what: what.to_owned(), code: self.code, said })
    }
}

/// Runs a program to its end, its start included in the time. When the user interrupts, so is the program, and waited for.
///
/// The CPU time is right as long as no other child of this process ends meanwhile.
pub(super) fn run(name: &str, mut command: Command, cancel: &Cancel) -> Result<Done, BenchError> {
    go_on(cancel)?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let failed = |source| BenchError::Run { name: name.to_owned(), source };
    let before = usage::childrens_cpu_seconds();
    let since = Instant::now();
    let mut child = command.spawn().map_err(failed)?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (id, over, peak) = (child.id(), AtomicBool::new(false), AtomicU64::new(0));
    let done = thread::scope(|scope| {
        let out = scope.spawn(|| read_all(out, u64::MAX));
        let err = scope.spawn(|| read_all(err, SAID_BYTES));
        let watch = scope.spawn(|| watch(id, cancel, &over, &peak));
        let status = child.wait();
        let seconds = since.elapsed().as_secs_f64();
        over.store(true, Ordering::Relaxed);
        watch.thread().unpark();
        let (stdout, stderr) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
        let cpu_seconds = usage::childrens_cpu_seconds() - before;
        let peak_memory = peak.load(Ordering::Relaxed);
        status.map(|status| Done { code: status.code(), stdout, stderr, seconds, cpu_seconds, peak_memory })
    });
    go_on(cancel)?;
    done.map_err(failed)
}

fn read_all(from: Option<impl Read>, most: u64) -> String {
    let Some(mut from) = from else { return String::new() };
    let mut bytes = Vec::new();
    (&mut from).take(most).read_to_end(&mut bytes).ok(); // what was read until then is all there is
    std::io::copy(&mut from, &mut std::io::sink()).ok(); // nobody waits for us to read the rest
    String::from_utf8_lossy(&bytes).into_owned()
}

fn watch(id: u32, cancel: &Cancel, over: &AtomicBool, peak: &AtomicU64) {
    let mut told = false;
    while !over.load(Ordering::Relaxed) {
        peak.fetch_max(usage::peak_memory(id), Ordering::Relaxed);
        if cancel.is_cancelled() && !told {
            told = true;
            signal(id, Signal::TERM);
        }
        thread::park_timeout(LOOK);
    }
}

/// A server that runs. Dropping it ends it in good order, and the hard way when it takes too long.
pub(super) struct Running {
    child: Child,
    /// Ends with the child.
    reader: Option<thread::JoinHandle<()>>,
    /// Where it listens.
    pub(super) address: String,
}

impl Running {
    /// Starts a server and waits until it says that it listens.
    pub(super) fn start(name: &str, mut command: Command, log: PathBuf, cancel: &Cancel) -> Result<Self, BenchError> {
        let sink = File::create(&log).map_err(BenchError::disk("write", &log))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(sink);
        let mut child = command.spawn().map_err(|source| BenchError::Run { name: name.to_owned(), source })?;
        leftovers::server_runs(child.id());
        let (said, hears) = mpsc::sync_channel(1);
        let reader = child.stdout.take().map(|stdout| {
            thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    said.try_send(line).ok(); // only the first is waited for
                }
            })
        });
        let mut running = Self { child, reader, address: String::new() };
        let since = Instant::now();
        let line = loop {
            match hears.recv_timeout(LOOK) {
                Ok(line) => break line,
                Err(_) if cancel.is_cancelled() => return Err(Interrupted.into()),
                Err(RecvTimeoutError::Timeout) if since.elapsed() < READY => {}
                Err(error) => {
                    let said = fs::read_to_string(&log).unwrap_or_default().trim().to_owned();
                    return Err(match error {
                        RecvTimeoutError::Timeout => {
                            BenchError::NotReady { name: name.to_owned(), seconds: READY.as_secs(), said }
                        }
                        RecvTimeoutError::Disconnected => {
                            let code = running.child.wait().ok().and_then(|status| status.code());
                            BenchError::Failed { what: name.to_owned(), code, said }
                        }
                    });
                }
            }
        };
        let address = line.strip_prefix("listening on ").map(|address| address.trim().to_owned());
        running.address = address.ok_or_else(|| BenchError::bug(format!("{name} said {line:?}")))?;
        Ok(running)
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, and does not wait.
    pub(super) fn ask_to_end(&self) {
        signal(self.child.id(), Signal::TERM);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.ask_to_end();
            let since = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && since.elapsed() < FAREWELL {
                thread::sleep(Duration::from_millis(2));
            }
        }
        leftovers::server_ends(self.child.id());
        self.child.kill().ok(); // it has ended, or must
        self.child.wait().ok(); // as above
        if let Some(reader) = self.reader.take() {
            reader.join().ok(); // its pipe is closed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(line: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", line]);
        command
    }

    #[test]
    fn a_program_is_run_to_its_end_and_measured() {
        let cancel = Cancel::new();
        let done = run("sh", shell("echo out; echo err >&2; exit 3"), &cancel).unwrap();
        assert_eq!((done.code, done.stdout.trim(), done.stderr.trim()), (Some(3), "out", "err"));
        assert!(done.seconds > 0.0);
        let error = done.or_failed("the test").map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "the test failed with code 3: err");
        assert!(matches!(run("x", Command::new("/no/such/program"), &cancel), Err(BenchError::Run { .. })));
    }

    #[test]
    fn an_interrupt_reaches_the_program() {
        let cancel = Cancel::new();
        let raised = cancel.clone();
        let raising = thread::spawn(move || raised.cancel());
        let ended = run("sh", shell("exec sleep 60"), &cancel);
        assert!(matches!(ended, Err(BenchError::Interrupted(_))));
        raising.join().unwrap();
    }

    #[test]
    fn a_server_is_ready_when_it_says_so_and_one_that_fails_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (log, cancel) = (folder.path().join("log"), Cancel::new());
        let line = "echo listening on 1.2.3.4:5; exec sleep 60";
        let running = Running::start("server", shell(line), log.clone(), &cancel).unwrap();
        assert_eq!(running.address, "1.2.3.4:5");
        drop(running);
        let failed = Running::start("server", shell("echo no room >&2; exit 7"), log, &cancel).map(|_| ());
        assert_eq!(failed.unwrap_err().to_string(), "server failed with code 7: no room");
    }
}
