//! Figures: what all benchmarks count and show.

use std::path::Path;

use anyhow::{Context, Result, bail};
use tests::harness::{Answer, Cluster, Running};

/// Shown, never computed with further.
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

pub(crate) fn mib(bytes: u64) -> f64 {
    float(bytes) / float(1 << 20)
}

/// CPU seconds for each GiB.
pub(crate) fn per_gib(seconds: f64, bytes: u64) -> f64 {
    seconds / (float(bytes) / float(1 << 30))
}

/// Decimal megabytes a second.
pub(crate) fn rate(bytes: u64, seconds: f64) -> f64 {
    float(bytes) / 1e6 / seconds
}

/// The middle one; of an even count the upper.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// One command of the client: its answer, and what directory and peers spent meanwhile, in the order of the processes.
pub(crate) struct Step {
    pub(crate) answer: Answer,
    pub(crate) spent: Vec<(String, f64)>,
}

/// # Errors
/// When the command fails.
pub(crate) fn step(cluster: &Cluster, arguments: &[&Path]) -> Result<Step> {
    let before: Vec<f64> = cluster.processes().map(Running::cpu_seconds).collect();
    let answer = cluster.shoal(arguments)?.expect(0)?;
    let now = cluster.processes().map(|process| (process.name.clone(), process.cpu_seconds()));
    let spent = now.zip(before).map(|((name, now), before)| (name, now - before)).collect();
    Ok(Step { answer, spent })
}

/// # Errors
/// When the file system has less room than a benchmark will take.
pub(crate) fn check_room(folder: &Path, bytes: u64) -> Result<()> {
    let space = rustix::fs::statvfs(folder).with_context(|| format!("cannot ask {} for its room", folder.display()))?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    if free < bytes {
        bail!(
            "{} has {:.0} MiB free, and this takes {:.0} MiB; name a folder with --below, or a smaller --size",
            folder.display(),
            mib(free),
            mib(bytes)
        );
    }
    Ok(())
}
