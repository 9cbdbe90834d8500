//! Latency: one small file after another through the library in this process, with its connections up: looked up by its path,
//! fetched, opened and compared. What a program that links the library sees, without the start of a process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::redundancy::Redundancy;
use serde_json::{Value, json};
use tokio::runtime::Builder;

use super::files::SMALL_BYTES;
use super::measured::{float, median, percentile};
use super::target::Target;
use super::{Bench, BenchError, content, go_on, usage};
use crate::cancel::Cancel;
use crate::down::read_range;
use crate::folder;
use crate::local::write::Durability;
use crate::names::RemotePath;
use crate::session::{Session, SessionOptions};
use crate::transfer::{GetOptions, Silent};

/// Files that are fetched by turns.
const FILES: usize = 64;
/// How many are fetched before it counts.
const WARM: usize = 100;

/// What was found, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    pub gets: usize,
    pub p50: f64,
    pub p99: f64,
    pub worst: f64,
    /// Of the look-up of the path alone.
    pub look_up_p50: f64,
    /// CPU milliseconds of a get: this process, and the servers where they are known.
    pub client_cpu: f64,
    pub servers_cpu: Option<f64>,
}

impl Latency {
    #[must_use]
    pub fn object(&self) -> Value {
        let Self { gets, p50, p99, worst, look_up_p50, client_cpu, servers_cpu } = self;
        json!({
            "event": "latency",
            "gets": gets,
            "p50_ms": p50,
            "p99_ms": p99,
            "worst_ms": worst,
            "look_up_p50_ms": look_up_p50,
            "cpu_ms": { "client": client_cpu, "servers": servers_cpu },
        })
    }
}

impl Bench<'_> {
    pub(super) fn latency(&mut self, target: &Target, redundancy: Redundancy) -> Result<(), BenchError> {
        let source = self.scratch.path().join("latency");
        content::make_files(&source, FILES, SMALL_BYTES)?;
        let remote = target.at("latency");
        let at = redundancy.to_string();
        self.put(target, &["-r", &source.to_string_lossy(), &remote, "--redundancy", &at])?;
        let mut files = Vec::with_capacity(FILES);
        for number in 0..FILES {
            let path = content::small_file(&source, number);
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let expected = std::fs::read(&path).map_err(BenchError::disk("read", &path))?;
            files.push((RemotePath::parse(format!("{remote}/{name}").as_bytes())?, expected));
        }
        let gets = self.plan.gets;
        self.say.step(&format!("getting one file of 4 KiB at a time, {gets} times"));
        // One thread does it all, as in the program itself.
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(BenchError::bug)?;
        let options = SessionOptions { directory: target.directory().to_vec(), quiet: true };
        let session = runtime.block_on(Session::open(target.home().clone(), options))?;
        let (cpu, spent) = (usage::own_cpu_seconds(), target.servers().spent());
        let fetching = fetch_all(session.clone(), files, gets, self.cancel.clone());
        let fetched = runtime.block_on(runtime.spawn(fetching)).map_err(BenchError::bug)?;
        let cpu = usage::own_cpu_seconds() - cpu;
        let spent = target.servers().spent().since(spent);
        runtime.block_on(session.close());
        let (mut look_ups, mut wholes) = fetched?;
        wholes.sort_by(f64::total_cmp);
        let at = |percent| percentile(&wholes, percent).unwrap_or(f64::NAN);
        let each = |seconds: f64| seconds * 1_000.0 / float((gets + WARM) as u64);
        self.latency = Some(Latency {
            gets,
            p50: at(50),
            p99: at(99),
            worst: at(100),
            look_up_p50: median(std::mem::take(&mut look_ups)).unwrap_or(f64::NAN),
            client_cpu: each(cpu),
            servers_cpu: spent.directory.zip(spent.peers).map(|(directory, peers)| each(directory + peers)),
        });
        Ok(())
    }
}

/// Milliseconds of each look-up, and of each get as a whole.
async fn fetch_all(
    session: Session,
    files: Vec<(RemotePath, Vec<u8>)>,
    gets: usize,
    cancel: Cancel,
) -> Result<(Vec<f64>, Vec<f64>), BenchError> {
    let options = GetOptions { cancel: cancel.clone(), progress: Arc::new(Silent), durability: Durability::Relaxed };
    let (mut look_ups, mut wholes) = (Vec::with_capacity(gets), Vec::with_capacity(gets));
    for (number, (path, expected)) in files.iter().cycle().take(gets + WARM).enumerate() {
        go_on(&cancel)?;
        let since = Instant::now();
        let resolved = folder::resolve_to_read(&session, path, None).await?;
        let looked_up = since.elapsed();
        let entry = resolved.target(path)?.and_then(|entry| entry.file());
        let file = entry.ok_or_else(|| BenchError::Differs { what: path.to_string() })?;
        let bytes = read_range(&session, file, 0, u64::MAX, &options).await?;
        let whole = since.elapsed();
        if bytes != *expected {
            return Err(BenchError::Differs { what: path.to_string() });
        }
        if number >= WARM {
            look_ups.push(milliseconds(looked_up));
            wholes.push(milliseconds(whole));
        }
    }
    Ok((look_ups, wholes))
}

pub(super) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
