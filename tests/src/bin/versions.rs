//! Versions: what successive versions of a real tree cost, beside restic and borg where they are installed.
//!
//! One folder is brought from each version to the next, so that files which did not change keep their times, and is stored after each. Shoal
//! stores on one peer at `1/1` with `sync --delete`; directory, peer and client share the machine. The others store into a local folder, with
//! encryption, borg with the same compression (zstd 1). Every tool reads the last version back at the end, which is compared.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Parser;
use tests::harness::process::run;
use tests::harness::{Answer, Cluster, ClusterOptions, Running, content};

/// Stores versions of a tree one after another.
#[derive(Parser)]
#[command(name = "versions", after_help = "Example:\n  versions redis-7.0.0 redis-7.0.1 redis-7.0.2")]
struct Options {
    /// Folders, the oldest first
    #[arg(required = true)]
    versions: Vec<PathBuf>,
    /// Where everything is made
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    below: PathBuf,
}

/// What one tool took.
#[derive(Default)]
struct Cost {
    first: (f64, f64),
    later: (f64, f64),
    back: (f64, f64),
    stored: u64,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let cluster = Cluster::start(ClusterOptions {
        peers: 1,
        redundancy: "1/1".to_owned(),
        below: Some(options.below.clone()),
        ..ClusterOptions::default()
    })?;
    let root = cluster.root().join("compared");
    fs::create_dir_all(&root)?;
    let work = root.join("work");
    let mut tools: Vec<(&str, Cost)> = vec![("shoal", Cost::default())];
    if init(&root, "restic").is_ok() {
        tools.push(("restic", Cost::default()));
    }
    if init(&root, "borg").is_ok() {
        tools.push(("borg", Cost::default()));
    }
    let mut bytes = 0;
    for (number, version) in options.versions.iter().enumerate() {
        become_like(version, &work)?;
        bytes += size(&work)?;
        for (tool, cost) in &mut tools {
            let done = store(&cluster, &root, tool, number, &work)?;
            let sum = if number == 0 { &mut cost.first } else { &mut cost.later };
            *sum = (sum.0 + done.0, sum.1 + done.1);
        }
    }
    let count = options.versions.len();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{count} versions, {:.1} MiB in all", mib(bytes))?;
    let head = ["first: s", "CPU s", "each later: s", "CPU s", "last back: s", "CPU s", "stored MiB", "of all"];
    writeln!(out, "{:<8}{}", "", head.map(|name| format!("{name:>15}")).concat())?;
    for (tool, mut cost) in tools {
        let back = root.join(format!("{tool}-back"));
        cost.back = restore(&cluster, &root, tool, count - 1, &work, &back)?;
        cost.stored = match tool {
            "shoal" => size(&cluster.peer_data(0))?,
            tool => size(&root.join(tool))?,
        };
        let later = f64::from(u32::try_from(count - 1)?.max(1));
        let numbers =
            [cost.first.0, cost.first.1, cost.later.0 / later, cost.later.1 / later, cost.back.0, cost.back.1];
        write!(out, "{tool:<8}{}", numbers.map(|number| format!("{number:>15.2}")).concat())?;
        writeln!(out, "{:>15.1}{:>14.1}%", mib(cost.stored), 100.0 * mib(cost.stored) / mib(bytes))?;
    }
    let directory = cluster.directory_data().join("store");
    let (journal, index) = (mib(size(&directory.join("journal"))?), mib(size(&directory.join("index"))?));
    writeln!(
        out,
        "beside what its peer stores, Shoal's directory has a journal of {journal:.1} MiB and an index of {index:.1} MiB"
    )?;
    Ok(())
}

fn mib(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX)) / 1_024.0
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a folder with a name in UTF-8")
}

/// A tool with its store in a folder of its own.
fn command(root: &Path, tool: &str) -> Command {
    let mut command = Command::new(tool);
    command.env("RESTIC_PASSWORD", "versions").env("BORG_PASSPHRASE", "versions");
    command.env("RESTIC_REPOSITORY", root.join("restic")).env("RESTIC_CACHE_DIR", root.join("restic-cache"));
    command.env("BORG_REPO", root.join("borg")).env("BORG_BASE_DIR", root.join("borg-base"));
    command
}

fn init(root: &Path, tool: &str) -> Result<()> {
    let mut command = command(root, tool);
    match tool {
        "borg" => command.args(["init", "--encryption", "repokey-blake2"]),
        _ => command.arg("init"),
    };
    run(command, None)?.expect(0).map(drop)
}

/// Wall and CPU seconds; of Shoal those of the servers, too.
fn store(cluster: &Cluster, root: &Path, tool: &str, number: usize, work: &Path) -> Result<(f64, f64)> {
    if tool == "shoal" {
        return with_servers(cluster, || cluster.shoal(["--quiet", "sync", "--delete", text(work)?, "shoal:/tree"]));
    }
    let mut command = command(root, tool);
    match tool {
        "borg" => command.args(["create", "--compression", "zstd,1", &format!("::v{number}"), "."]).current_dir(work),
        _ => command.args(["backup", "--quiet", "."]).current_dir(work),
    };
    let done = run(command, None)?.expect(0)?;
    Ok((done.seconds, done.cpu_seconds))
}

fn restore(cluster: &Cluster, root: &Path, tool: &str, last: usize, work: &Path, back: &Path) -> Result<(f64, f64)> {
    fs::create_dir_all(back)?;
    let taken = if tool == "shoal" {
        let inside = back.join("tree");
        with_servers(cluster, || cluster.shoal(["--quiet", "sync", "shoal:/tree", text(&inside)?]))?
    } else {
        let inside = back.join("tree");
        fs::create_dir_all(&inside)?;
        let mut command = command(root, tool);
        match tool {
            "borg" => command.args(["extract", &format!("::v{last}")]).current_dir(&inside),
            _ => command.args(["restore", "latest", "--quiet", "--target", text(&inside)?]),
        };
        let done = run(command, None)?.expect(0)?;
        (done.seconds, done.cpu_seconds)
    };
    for path in files(work)? {
        let (here, there) = (work.join(&path), back.join("tree").join(&path));
        if here.is_file() && !here.is_symlink() {
            content::compare(&here, &there)?;
        }
    }
    Ok(taken)
}

fn with_servers(cluster: &Cluster, command: impl FnOnce() -> Result<Answer>) -> Result<(f64, f64)> {
    let servers = || {
        let peers: f64 = cluster.peers.iter().flatten().map(Running::cpu_seconds).sum();
        peers + cluster.directory.as_ref().map_or(0.0, Running::cpu_seconds)
    };
    let before = servers();
    let done = command()?.expect(0)?;
    Ok((done.seconds, done.cpu_seconds + servers() - before))
}

/// Everything below a folder, relative to it, folders before what is in them.
fn files(root: &Path) -> Result<BTreeSet<PathBuf>> {
    let (mut found, mut todo) = (BTreeSet::new(), vec![PathBuf::new()]);
    while let Some(folder) = todo.pop() {
        let inside = match fs::read_dir(root.join(&folder)) {
            Ok(inside) => inside,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && folder.as_os_str().is_empty() => break,
            Err(error) => return Err(error.into()),
        };
        for entry in inside {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                todo.push(path.clone());
            }
            found.insert(path);
        }
    }
    Ok(found)
}

fn size(root: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut sum = 0;
    for path in files(root)? {
        let found = root.join(path).symlink_metadata()?;
        // Files with holes count by what they take.
        sum += if found.is_file() { found.len().min(found.blocks() * 512) } else { 0 };
    }
    Ok(sum)
}

/// Makes one folder like another without touching what is the same already.
fn become_like(version: &Path, work: &Path) -> Result<()> {
    fs::create_dir_all(work)?;
    let wanted = files(version)?;
    if wanted.is_empty() {
        bail!("{} is empty", version.display());
    }
    for path in files(work)?.difference(&wanted).collect::<Vec<_>>().into_iter().rev() {
        let gone = work.join(path);
        if gone.is_dir() && !gone.is_symlink() {
            fs::remove_dir(gone)?
        } else {
            fs::remove_file(gone)?
        };
    }
    for path in wanted {
        let (from, to) = (version.join(&path), work.join(&path));
        let found = from.symlink_metadata()?;
        if found.is_dir() {
            fs::create_dir_all(to)?;
        } else if found.is_symlink() {
            let _ = fs::remove_file(&to); // it may not be there
            std::os::unix::fs::symlink(fs::read_link(&from)?, to)?;
        } else if fs::read(&from)? != fs::read(&to).unwrap_or_default() || !to.exists() {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}
