//! Bars: what the parts of a transfer can do by themselves on this machine, in this run, so that figures can be compared with them.
//!
//! - the pipelines of sealing and opening, from memory to memory on all cores, with no network and no disk;
//! - [`raw QUIC`](common::transport::raw) on loopback;
//! - the disk: a copy with an fsync, and a file past the page cache.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::thread::{self, available_parallelism};
use std::time::Instant;

use common::address::ShardAddress;
use common::transport::raw::{Way, move_bytes};

use super::content::Noise;
use super::measured::Bar;
use super::{BenchError, go_on, usage};
use crate::cancel::Cancel;
use crate::cut::{Cutter, Gear};
use crate::keys::{Keys, MasterKey};
use crate::local::direct::DirectWriter;
use crate::seal::{Digest, Plain, Pool, Secret, open, seal};

/// What each core works on, over and over: longer than any cache, and some 20 chunks.
const ROUND_BYTES: usize = 64 << 20;
/// What is read and written at once.
const PIECE_BYTES: usize = 4 << 20;

/// All of them.
#[derive(Debug, Clone)]
pub struct Bars {
    pub naming: Bar,
    pub sealing: Bar,
    pub opening: Bar,
    pub up: Bar,
    pub down: Bar,
    pub copy: Bar,
    pub direct: Bar,
}

impl Bars {
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            naming: Bar::new("naming", "cutting and naming, all cores", bytes),
            sealing: Bar::new("sealing", "cutting, naming, sealing, addressing", bytes),
            opening: Bar::new("opening", "decrypting and verifying, all cores", bytes),
            up: Bar::new("quic-up", "raw QUIC on loopback, up", bytes),
            down: Bar::new("quic-down", "raw QUIC on loopback, down", bytes),
            copy: Bar::new("copy", "cp and fsync", bytes),
            direct: Bar::new("direct", "written past the page cache, fsync", bytes),
        }
    }

    #[must_use]
    pub fn all(&self) -> [&Bar; 7] {
        let Self { naming, sealing, opening, up, down, copy, direct } = self;
        [naming, sealing, opening, up, down, copy, direct]
    }

    /// Measures each once. `source` is a file of that many bytes; `folder` is on the disk that is measured.
    pub(super) fn sample(&mut self, source: &Path, folder: &Path, cancel: &Cancel) -> Result<(), BenchError> {
        for (bar, kind) in
            [(&mut self.naming, Pipe::Name), (&mut self.sealing, Pipe::Seal), (&mut self.opening, Pipe::Open)]
        {
            go_on(cancel)?;
            bar.samples.push(pipeline(kind, bar.bytes)?);
        }
        for (bar, way) in [(&mut self.up, Way::Up), (&mut self.down, Way::Down)] {
            go_on(cancel)?;
            let before = usage::own_cpu_seconds();
            let took = move_bytes(way, bar.bytes)?;
            bar.samples.push((took.as_secs_f64(), usage::own_cpu_seconds() - before));
        }
        let to = folder.join("copy");
        for (bar, write) in
            [(&mut self.copy, copy as fn(&Path, &Path) -> Result<(), BenchError>), (&mut self.direct, write_directly)]
        {
            go_on(cancel)?;
            let (since, before) = (Instant::now(), usage::own_cpu_seconds());
            write(source, &to)?;
            bar.samples.push((since.elapsed().as_secs_f64(), usage::own_cpu_seconds() - before));
            fs::remove_file(&to).map_err(BenchError::disk("delete", &to))?;
        }
        Ok(())
    }
}

/// As `cp` does where the file system cannot share blocks.
fn copy(source: &Path, to: &Path) -> Result<(), BenchError> {
    let mut from = File::open(source).map_err(BenchError::disk("read", source))?;
    let failed = || BenchError::disk("write", to);
    let mut file = File::create(to).map_err(failed())?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = from.read(&mut piece).map_err(BenchError::disk("read", source))?;
        if count == 0 {
            return file.sync_all().map_err(failed());
        }
        file.write_all(piece.get(..count).unwrap_or_default()).map_err(failed())?;
    }
}

/// As much as the source has, from memory.
fn write_directly(source: &Path, to: &Path) -> Result<(), BenchError> {
    let mut left = fs::metadata(source).map_err(BenchError::disk("look at", source))?.len();
    let failed = || BenchError::disk("write", to);
    let file = File::create(to).map_err(failed())?;
    let mut writer = DirectWriter::new(to, &file, 0).map_err(failed())?;
    let piece = vec![0x5a; PIECE_BYTES];
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        writer.append(piece.get(..now).unwrap_or_default()).map_err(failed())?;
        left -= now as u64;
    }
    writer.finish().map_err(failed())?;
    file.sync_all().map_err(failed())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pipe {
    Name,
    Seal,
    Open,
}

/// Seconds and CPU seconds of so many bytes, shared by all cores.
fn pipeline(kind: Pipe, bytes: u64) -> Result<(f64, f64), BenchError> {
    let cores = available_parallelism().map_or(1, usize::from);
    let each = bytes / cores as u64 + 1;
    let keys = MasterKey::random().derive();
    let gear = Gear::new(&keys);
    let round = usize::try_from(each).unwrap_or(ROUND_BYTES).min(ROUND_BYTES);
    let mut ready = Vec::with_capacity(cores);
    for _ in 0..cores {
        let content = Noise::new().bytes(round);
        let sealed = if kind == Pipe::Open { seal_all(&content, &gear, &keys)? } else { Vec::new() };
        ready.push((content, sealed));
    }
    let pool = Pool::new(cores);
    let (since, before) = (Instant::now(), usage::own_cpu_seconds());
    let work = |(content, sealed): &(Vec<u8>, Vec<SealedRun>)| match kind {
        Pipe::Name => rounds(each, || {
            content_rounds(content, &gear, |plain| {
                std::hint::black_box(plain.chunk_id(&keys));
            })
        }),
        Pipe::Seal => rounds(each, || {
            content_rounds(content, &gear, |plain| {
                let (sealed, _) = seal(plain, &keys);
                std::hint::black_box(ShardAddress::of(sealed.bytes()));
            })
        }),
        Pipe::Open => rounds(each, || {
            for run in sealed {
                let mut received = pool.take();
                received.append(&run.bytes);
                let opened = open(received, &run.secret, &run.digest);
                std::hint::black_box(opened).map_err(BenchError::bug)?;
            }
            Ok(content.len())
        }),
    };
    let work = &work;
    thread::scope(|scope| {
        let running: Vec<_> = ready.iter().map(|ready| scope.spawn(move || work(ready))).collect();
        running.into_iter().try_for_each(|done| done.join().unwrap_or_else(|_| Err(BenchError::bug("a panic"))))
    })?;
    Ok((since.elapsed().as_secs_f64(), usage::own_cpu_seconds() - before))
}

/// Does it until so many bytes are done.
fn rounds(bytes: u64, mut once: impl FnMut() -> Result<usize, BenchError>) -> Result<(), BenchError> {
    let mut left = bytes;
    while left > 0 {
        left = left.saturating_sub(once()?.max(1) as u64);
    }
    Ok(())
}

fn content_rounds(content: &[u8], gear: &Gear, mut with: impl FnMut(Plain)) -> Result<usize, BenchError> {
    for chunk in Cutter::new(content, gear, Pool::new(4)) {
        with(chunk.map_err(BenchError::bug)?);
    }
    Ok(content.len())
}

/// A chunk as a peer holds it.
struct SealedRun {
    bytes: Vec<u8>,
    secret: Secret,
    digest: Digest,
}

fn seal_all(content: &[u8], gear: &Gear, keys: &Keys) -> Result<Vec<SealedRun>, BenchError> {
    let mut runs = Vec::new();
    content_rounds(content, gear, |plain| {
        let digest = plain.digest();
        let (sealed, secret) = seal(plain, keys);
        runs.push(SealedRun { bytes: sealed.bytes().to_vec(), secret, digest });
    })?;
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::content::make_file;

    #[test]
    fn every_bar_is_measured_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        make_file(&source, (2 << 20) + 1).unwrap();
        let mut bars = Bars::new((2 << 20) + 1);
        bars.sample(&source, folder.path(), &Cancel::new()).unwrap();
        for bar in bars.all() {
            assert!(bar.rate() > 0.0 && bar.cpu_per_gib() >= 0.0, "{bar:?}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
