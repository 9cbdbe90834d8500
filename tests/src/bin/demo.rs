//! The demo: a directory and three peers as processes of their own, a file up, a peer killed, the file down and compared.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Parser;
use tests::harness::process::Answer;
use tests::harness::{Cluster, ClusterOptions, binary, content};

/// Builds Shoal, starts a cluster on this machine, stores a file, kills a peer, reads the file back and compares it.
#[derive(Parser)]
#[command(
    name = "demo",
    after_help = "Examples:\n  cargo demo\n  cargo demo ~/holiday.mp4\n  cargo demo --size 1024 --redundancy 1/1\n  cargo demo --keep"
)]
struct Options {
    /// The file to store; made up when there is none.
    file: Option<PathBuf>,
    /// Size of the file that is made up, in MiB.
    #[arg(long, default_value_t = 256)]
    size: u64,
    /// How many peers.
    #[arg(long, default_value_t = 3)]
    peers: usize,
    /// k/n: any k of n shards rebuild a chunk. No peer is killed when it survives no loss.
    #[arg(long, default_value = "1/3")]
    redundancy: String,
    /// Small files of 4 KiB to store and read as well.
    #[arg(long, default_value_t = 1_000)]
    small: usize,
    /// Leave the cluster running, and print how to use it and how to end it.
    #[arg(long)]
    keep: bool,
    /// Where the cluster's folder is made [default: the system's folder for temporary files]
    #[arg(long, value_name = "DIR")]
    below: Option<PathBuf>,
}

/// One line of the table.
struct Row {
    what: String,
    bytes: u64,
    seconds: f64,
    /// CPU seconds: client, directory, all peers.
    cpu: [f64; 3],
    note: String,
}

/// CPU seconds of directory and peers so far.
fn served(cluster: &Cluster, gone: f64) -> [f64; 2] {
    let directory = cluster.directory.as_ref().map_or(0.0, tests::harness::Running::cpu_seconds);
    let peers: f64 = cluster.peers.iter().flatten().map(tests::harness::Running::cpu_seconds).sum();
    [directory, peers + gone]
}

/// Runs one command of the client and makes its line.
fn step(cluster: &Cluster, gone: f64, what: &str, bytes: u64, arguments: &[&Path]) -> Result<(Row, Answer)> {
    let before = served(cluster, gone);
    let answer = cluster.shoal(arguments)?.expect(0)?;
    let after = served(cluster, gone);
    let [directory, peers] = [after[0] - before[0], after[1] - before[1]];
    let row = Row {
        what: what.to_owned(),
        bytes,
        seconds: answer.seconds,
        cpu: [answer.cpu_seconds, directory, peers],
        note: String::new(),
    };
    Ok((row, answer))
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{:<34} {:>9} {:>8}   {:>27}  ", "", "seconds", "MB/s", "CPU s/GiB client+dir+peers");
    for row in rows {
        let gib = row.bytes as f64 / f64::from(1 << 30);
        let rate = row.bytes as f64 / 1e6 / row.seconds;
        let [client, directory, peers] = row.cpu.map(|seconds| seconds / gib);
        let cpu = if row.bytes == 0 {
            String::new()
        } else {
            format!("{client:.1} + {directory:.1} + {peers:.1} = {:.1}", client + directory + peers)
        };
        let rate = if row.bytes == 0 { String::new() } else { format!("{rate:.0}") };
        let _ = writeln!(text, "{:<34} {:>9.2} {rate:>8}   {cpu:>27}  {}", row.what, row.seconds, row.note);
    }
    text
}

fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

fn main() -> Result<()> {
    let options = Options::parse();
    say("building the three programs ...")?;
    let shoal = binary("shoal")?;
    say(&format!("starting a directory and {} peers ...", options.peers))?;
    let mut cluster = Cluster::start(ClusterOptions {
        peers: options.peers,
        redundancy: options.redundancy.clone(),
        below: options.below.clone(),
        ..ClusterOptions::default()
    })?;
    let rows = run(&mut cluster, &options)?;
    say("")?;
    say(&table(&rows))?;
    say("every byte came back as it went up")?;
    if !options.keep {
        return cluster.stop();
    }
    let root = cluster.root().to_owned();
    let bin = shoal.parent().context("the programs lie in a folder")?.to_owned();
    let ids: Vec<String> = cluster.leave().iter().map(ToString::to_string).collect();
    say(&format!(
        "\nThe cluster is still running. Use it with:\n  export PATH={}:$PATH SHOAL_HOME={}\n  shoal status\n  shoal ls -l /\n\
         End it, and delete all of it, with:\n  kill {}; rm -r {}",
        bin.display(),
        root.join("device").display(),
        ids.join(" "),
        root.display()
    ))
}

fn run(cluster: &mut Cluster, options: &Options) -> Result<Vec<Row>> {
    let work = cluster.root().join("work");
    fs::create_dir(&work)?;
    let source = match &options.file {
        Some(file) => file.clone(),
        None => {
            let made = work.join("made-up.bin");
            say(&format!("making a file of {} MiB ...", options.size))?;
            content::make_file(&made, 1, options.size << 20)?;
            made
        }
    };
    let bytes = fs::metadata(&source).with_context(|| format!("cannot read {}", source.display()))?.len();
    let mut rows = Vec::new();
    say("putting it ...")?;
    rows.push(step(cluster, 0.0, "put", bytes, &["put".as_ref(), &source, "/file".as_ref()])?.0);
    rows.push(
        step(cluster, 0.0, "put again, as another name (dedup)", bytes, &["put".as_ref(), &source, "/again".as_ref()])?
            .0,
    );
    if options.small > 0 {
        rows.extend(small_files(cluster, options.small, &work)?);
    }

    let mut gone = 0.0;
    let survives = options.redundancy.split_once('/').is_some_and(|(k, n)| k != n);
    if survives {
        let victim = cluster.peers.first().and_then(Option::as_ref).context("a peer")?;
        gone = victim.cpu_seconds();
        say(&format!("killing peer0 (process {}) ...", victim.id()))?;
        cluster.kill_peer(0)?;
    }
    say("getting it ...")?;
    let back = work.join("back.bin");
    let (mut row, _) = step(cluster, gone, "get", bytes, &["get".as_ref(), "/file".as_ref(), &back])?;
    if survives {
        row.note = format!("with {} of {} peers", options.peers - 1, options.peers);
    }
    rows.push(row);
    content::compare(&source, &back)?;
    if fs::metadata(&back)?.len() != bytes {
        bail!("what came back has another length");
    }
    Ok(rows)
}

/// Many small files up and down, in packs.
fn small_files(cluster: &Cluster, count: usize, work: &Path) -> Result<Vec<Row>> {
    let folder = work.join("small");
    fs::create_dir(&folder)?;
    for number in 0..count {
        fs::write(folder.join(format!("{number:06}")), content::bytes(u64::try_from(number)? + 7, 4 << 10))?;
    }
    say(&format!("putting and getting {count} files of 4 KiB ..."))?;
    let bytes = u64::try_from(count)? * (4 << 10);
    let put: [&Path; 4] = ["put".as_ref(), "-r".as_ref(), &folder, "/small".as_ref()];
    let (mut up, _) = step(cluster, 0.0, &format!("put {count} files of 4 KiB"), bytes, &put)?;
    let back = work.join("small-back");
    let get: [&Path; 4] = ["get".as_ref(), "-r".as_ref(), "/small".as_ref(), &back];
    let (mut down, _) = step(cluster, 0.0, &format!("get {count} files of 4 KiB"), bytes, &get)?;
    for row in [&mut up, &mut down] {
        #[expect(clippy::cast_precision_loss, reason = "shown without fraction")]
        let rate = count as f64 / row.seconds;
        row.note = format!("{rate:.0} files/s");
    }
    if content::describe(&folder)? != content::describe(&back)? {
        bail!("the small files that came back differ");
    }
    Ok(vec![up, down])
}
