//! Worker: puts, replaces, removes, moves and reads files in a folder of its own, one command after the other. Some of its commands are
//! killed in the middle. Workers share a device, and some of what they store.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::iter::Sum;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::Options;
use super::worlds::{Content, Step, Worlds};
use crate::harness::{Cluster, Dice, content};

/// Names in its folder: few, so that most puts replace something.
const NAMES: u64 = 12;
/// With more possible trees than this it looks which one it is.
const WORLDS: usize = 64;
/// Of a hundred changes so many are killed, within this time.
const KILLED: u64 = 20;
const KILLED_WITHIN: Duration = Duration::from_millis(150);
/// A command that has not ended by then hangs.
const HANGS: Duration = Duration::from_secs(300);
/// How long what was acknowledged may be out of reach: peers and directory are down for moments only.
const READABLE: Duration = Duration::from_secs(120);
/// What a command may say while servers come and go: done, failed, partly done, somebody was faster, unreachable.
const CODES: [i32; 5] = [0, 1, 3, 11, 13];

/// What workers have done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// Commands by how they ended; without a code are those that were killed.
    pub codes: BTreeMap<Option<i32>, u64>,
    /// Files and bytes whose put was acknowledged.
    pub files: u64,
    pub bytes: u64,
    /// Times that a whole folder was read and compared, and reads that had to be repeated.
    pub looks: u64,
    pub repeated: u64,
}

impl<'a> Sum<&'a Done> for Done {
    fn sum<I: Iterator<Item = &'a Done>>(all: I) -> Self {
        let mut sum = Self::default();
        for one in all {
            for (code, count) in &one.codes {
                *sum.codes.entry(*code).or_default() += count;
            }
            sum.files += one.files;
            sum.bytes += one.bytes;
            sum.looks += one.looks;
            sum.repeated += one.repeated;
        }
        sum
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count: u64 = self.codes.values().sum();
        let killed = self.codes.get(&None).copied().unwrap_or(0);
        write!(f, "{count} commands ({killed} killed")?;
        for (code, count) in self.codes.iter().filter_map(|(code, count)| Some(((*code)?, count))) {
            write!(f, ", {count} exit {code}")?;
        }
        write!(f, "), {} files of {} MiB acknowledged", self.files, self.bytes >> 20)?;
        write!(f, ", {} folders read, {} of them again", self.looks, self.repeated)
    }
}

/// One folder and who changes it.
#[derive(Debug)]
pub struct Worker {
    program: PathBuf,
    home: PathBuf,
    /// What it works in on this machine.
    local: PathBuf,
    /// The remote folder.
    folder: String,
    redundancies: Vec<String>,
    dice: Dice,
    worlds: Worlds,
    /// What others store, too, so that chunks are shared.
    shared: Vec<Content>,
    pub done: Done,
}

impl Worker {
    /// Makes its folder.
    ///
    /// # Errors
    /// With what the program said.
    pub fn start(cluster: &Cluster, number: usize, options: &Options, seed: u64) -> Result<Self> {
        const SHARED: usize = 24;
        let name = format!("worker{number}");
        let local = cluster.root().join(format!("{name}-local"));
        fs::create_dir(&local)?;
        let folder = format!("/{name}");
        cluster.shoal(["mkdir", &folder])?.expect(0)?;
        let mut everybodys = Dice::new(options.seed);
        let shared = std::iter::repeat_with(|| Content::random(&mut everybodys)).take(SHARED).collect();
        Ok(Self {
            program: crate::harness::binary("shoal")?,
            home: cluster.home("device"),
            local,
            folder,
            redundancies: options.redundancies.clone(),
            dice: Dice::new(seed),
            worlds: Worlds::default(),
            shared,
            done: Done::default(),
        })
    }

    /// Works until it is told to stop, or something must not be.
    pub(super) fn work(&mut self, stop: &AtomicBool) -> Result<()> {
        while !stop.load(Ordering::Relaxed) {
            if self.worlds.count() > WORLDS || self.dice.percent(5) {
                self.look()?;
            }
            let step = self.step();
            self.take(&step)?;
        }
        Ok(())
    }

    fn name(&mut self) -> String {
        format!("file{}", self.dice.below(NAMES))
    }

    fn step(&mut self) -> Step {
        let (name, other) = (self.name(), self.name());
        match self.dice.below(100) {
            0..12 if self.worlds.surely_has(&name) => Step::Remove(name),
            12..24 if self.worlds.surely_has(&name) && name != other => Step::Move { from: name, to: other },
            24..36 => {
                let mut files = BTreeMap::new();
                for _ in 0..3 {
                    files.insert(self.name(), self.content());
                }
                Step::Put(files.into_iter().collect())
            }
            _ => Step::Put(vec![(name, self.content())]),
        }
    }

    fn content(&mut self) -> Content {
        let shared = if self.dice.percent(25) { self.dice.one_of(&self.shared).copied() } else { None };
        shared.unwrap_or_else(|| Content::random(&mut self.dice))
    }

    /// Does one step with one command, and remembers what is known of it.
    fn take(&mut self, step: &Step) -> Result<()> {
        let remote = |name: &str| format!("{}/{name}", self.folder);
        let mut arguments: Vec<String> = Vec::new();
        match step {
            Step::Put(files) => {
                arguments.push("put".to_owned());
                for (name, content) in files {
                    let path = self.local.join(name);
                    fs::write(&path, content.bytes())?;
                    arguments.push(path.to_string_lossy().into_owned());
                }
                let alone = files.first().filter(|_| files.len() == 1);
                arguments.push(alone.map_or_else(|| self.folder.clone(), |(name, _)| remote(name)));
                if let Some(redundancy) = self.dice.one_of(&self.redundancies) {
                    arguments.extend(["--redundancy".to_owned(), redundancy.clone()]);
                }
            }
            Step::Remove(name) => arguments.extend(["rm".to_owned(), remote(name)]),
            Step::Move { from, to } => arguments.extend(["mv".to_owned(), remote(from), remote(to)]),
        }
        let killed = self.dice.percent(KILLED).then(|| self.dice.time(KILLED_WITHIN));
        let (code, said) = self.run(&arguments, killed)?;
        match code {
            Some(0) => {
                self.worlds.acknowledged(step)?;
                if let Step::Put(files) = step {
                    self.done.files += files.len() as u64;
                    self.done.bytes += files.iter().map(|(_, content)| content.len as u64).sum::<u64>();
                }
            }
            None if killed.is_some() => self.worlds.unknown(step),
            Some(code) if CODES.contains(&code) && !said.contains("panicked") => self.worlds.unknown(step),
            code => bail!("shoal {arguments:?} ended with {code:?}: {said}"),
        }
        Ok(())
    }

    /// Reads the whole folder, compares it with what is possible, and gives it.
    ///
    /// # Errors
    /// When it cannot be read for two minutes, or is not what it may be.
    pub fn look(&mut self) -> Result<BTreeMap<String, Vec<u8>>> {
        let back = self.local.join("back");
        let arguments = ["get", "-r", &self.folder, &back.to_string_lossy()].map(str::to_owned);
        let since = Instant::now();
        loop {
            if back.exists() {
                fs::remove_dir_all(&back)?;
            }
            let (code, said) = self.run(&arguments, None)?;
            if code == Some(0) {
                break;
            }
            let allowed = code.is_some_and(|code| CODES.contains(&code)) && !said.contains("panicked");
            ensure!(allowed, "shoal {arguments:?} ended with {code:?}: {said}");
            ensure!(since.elapsed() < READABLE, "{} could not be read for {READABLE:?}: {said}", self.folder);
            self.done.repeated += 1;
            // What was killed needs a moment.
            thread::sleep(Duration::from_millis(100));
        }
        let mut seen = BTreeMap::new();
        for (path, bytes) in content::all_bytes(&back)? {
            let name = path.file_name().context("files have names")?;
            seen.insert(name.to_string_lossy().into_owned(), bytes);
        }
        self.worlds.saw(&seen).with_context(|| format!("{} is not what it may be", self.folder))?;
        self.done.looks += 1;
        Ok(seen)
    }

    /// Runs a command to its end, or kills it after a while: its code, none when it was killed, and what it wrote to stderr.
    fn run(&mut self, arguments: &[String], kill_after: Option<Duration>) -> Result<(Option<i32>, String)> {
        let errors = self.local.join("stderr");
        let mut command = Command::new(&self.program);
        command.args(arguments).env("SHOAL_HOME", &self.home).env("NO_COLOR", "1").env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&errors)?);
        let mut child = command.spawn()?;
        let since = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if kill_after.is_some_and(|after| since.elapsed() >= after) || since.elapsed() > HANGS {
                child.kill()?;
                break child.wait()?;
            }
            thread::sleep(Duration::from_millis(2));
        };
        ensure!(since.elapsed() <= HANGS, "shoal {arguments:?} did not end within {HANGS:?}");
        *self.done.codes.entry(status.code()).or_default() += 1;
        Ok((status.code(), fs::read_to_string(&errors).unwrap_or_default()))
    }
}
