//! `shoal bench`: measures a cluster, and shows a table for people or JSON lines for programs.

use std::collections::BTreeSet;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::spawn_blocking;

use super::Outcome;
use super::args::{Bench, BenchPart};
use super::context::Context;
use super::exit::Exit;
use super::explain::judge;
use super::output::{Output, table};
use super::progress::Visible;
use crate::bench::devices::Phase;
use crate::bench::latency::Latency;
use crate::bench::measured::{Bar, Row, Work};
use crate::bench::report::Report;
use crate::bench::{BenchError, Joined, Part, Place, Plan, Say, run as measure};
use crate::names::RemotePath;
use common::size::ByteSize;

pub(super) async fn run(context: &mut Context, args: Bench) -> Outcome {
    let plan = plan(context, args)?;
    if matches!(plan.place, Place::Joined(_)) {
        let opened = context.session().await;
        if opened.as_ref().is_err_and(|error| judge(error.as_ref()).exit == Exit::NotInitialised) {
            context.note("to measure on this machine alone, let it start a cluster: shoal bench --start");
        }
        opened?;
    }
    let (cancel, steps) = (context.cancel.clone(), Steps::new(context.visible()));
    let report = spawn_blocking(move || measure(&plan, &cancel, &steps)).await??;
    if context.output.is_json() {
        for object in report.objects() {
            context.output.object(&object)?;
        }
    } else {
        show(&mut context.output, &report)?;
    }
    if report.left > 0 {
        let left = ByteSize(report.left);
        context.note(&format!("the files are removed; the cluster's history keeps {left} of them on its peers"));
    }
    Ok(Exit::Ok)
}

fn plan(context: &Context, args: Bench) -> anyhow::Result<Plan> {
    let shoal = std::env::current_exe()?;
    let below = args.below.unwrap_or_else(std::env::temp_dir);
    let place = if args.start {
        Place::Start { peers: args.peers }
    } else {
        let at = RemotePath::from_os(&args.at)?.to_string();
        let directory = context.global.directory.clone();
        Place::Joined(Joined { home: context.home()?, directory, at, server_ids: args.server_pid })
    };
    let mut only: BTreeSet<Part> = args.only.iter().copied().map(part).collect();
    if only.is_empty() {
        only = Part::ALL.into_iter().filter(|part| args.start || *part != Part::Devices).collect();
    }
    if args.size.0 == 0 {
        return Err(BenchError::Nonsense { what: "--size 0 leaves nothing to measure".to_owned() }.into());
    }
    Ok(Plan {
        shoal,
        place,
        below,
        stores: args.stores,
        only,
        size: args.size,
        small: args.small as usize,
        times: args.times,
        gets: args.gets as usize,
        devices: args.devices as usize,
        seconds: args.seconds.into(),
        redundancy: args.redundancy,
    })
}

fn part(typed: BenchPart) -> Part {
    match typed {
        BenchPart::Put => Part::Put,
        BenchPart::Get => Part::Get,
        BenchPart::Again => Part::Again,
        BenchPart::Small => Part::Small,
        BenchPart::Latency => Part::Latency,
        BenchPart::Wire => Part::Wire,
        BenchPart::Devices => Part::Devices,
    }
}

/// Says what is done: in one line that changes on a terminal, in lines elsewhere.
struct Steps {
    bar: ProgressBar,
    lines: bool,
}

impl Steps {
    fn new(visible: Visible) -> Self {
        let target = match visible {
            Visible::Bar => ProgressDrawTarget::stderr_with_hz(4),
            Visible::Lines | Visible::Hidden => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("shoal: {msg} ({elapsed})") {
            bar.set_style(style);
        }
        if visible == Visible::Bar {
            bar.enable_steady_tick(Duration::from_millis(500));
        }
        Self { bar, lines: visible == Visible::Lines }
    }
}

impl Say for Steps {
    #[expect(clippy::print_stderr, reason = "progress belongs on stderr")]
    fn step(&self, text: &str) {
        if self.lines {
            eprintln!("shoal: {text} ...");
        }
        self.bar.reset_elapsed();
        self.bar.set_message(text.to_owned());
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn show(output: &mut Output, report: &Report) -> std::io::Result<()> {
    let machine = &report.machine;
    let (cores, memory) = (machine.cores, ByteSize(machine.memory_bytes));
    output.line(format!("{cores} cores {}, {memory}, Linux {}, {}", machine.cpu, machine.kernel, report.date))?;
    if let Some(stores) = report.settings.get("stores").and_then(serde_json::Value::as_str) {
        output.line(format!("the servers' data below {stores}"))?;
    }
    let (large, small): (Vec<&Row>, Vec<&Row>) = report.rows.iter().partition(|row| row.files == 1);
    if !large.is_empty() {
        show_large(output, report, &large)?;
        show_bars(output, report)?;
    }
    if !small.is_empty() {
        show_small(output, &small)?;
    }
    for line in singles(report) {
        output.line(line)?;
    }
    Ok(())
}

/// What is no row of a table.
fn singles(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(Latency { gets, p50, p99, worst, look_up_p50, client_cpu, servers_cpu }) = report.latency {
        lines.push(format!("\nOne file of 4 KiB at a time, {gets} times, with the library in this process"));
        let (servers, all) = (figure(servers_cpu, 2), "from its path to its content");
        lines.push(format!("  {all}: p50 {p50:.2} ms, p99 {p99:.2} ms, slowest {worst:.1} ms"));
        lines.push(format!(
            "  of that the look-up: p50 {look_up_p50:.2} ms; CPU: client {client_cpu:.2} ms, servers {servers} ms"
        ));
    }
    if let Some(cost) = report.wire {
        lines.push("\nSent and received beyond the file, one copy, in packets of at most 1,452 bytes".to_owned());
        for (way, wire) in [("put", cost.put), ("get", cost.get)] {
            let (payloads, all) = (percent(cost.beyond(&wire)), percent(cost.beyond_with_headers(&wire)));
            lines.push(format!("  {way} {payloads} in UDP payloads, {all} with headers of UDP and IPv4"));
        }
    }
    if let Some(devices) = report.devices {
        lines.push(format!("\n{} devices at one directory", devices.count));
        for (what, rate) in [("joined", devices.joins), ("handshakes", devices.handshakes)] {
            let (per_second, per_core) = (rate.per_second, rate.per_core);
            lines.push(format!("  {what}: {per_second:.0}/s; {per_core:.0}/s for each core of the directory"));
        }
        let ([connected, used], [_, _, now]) = (devices.bytes_each().map(|bytes| bytes >> 10), devices.memory);
        let now = ByteSize(now);
        lines.push(format!(
            "  memory of the directory: {connected} KiB a connection, {used} KiB when used; {now} in all"
        ));
        for (what, phase) in [("once a second each", devices.paced), ("as fast as answered", devices.flat_out)] {
            let Phase { per_second, p50_ms, p99_ms, cores } = phase;
            lines.push(format!(
                "  {what}: {per_second:.0} requests/s, p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms, {cores:.2} cores of the directory"
            ));
        }
    }
    lines
}

fn show_large(output: &mut Output, report: &Report, rows: &[&Row]) -> std::io::Result<()> {
    let size = rows.first().map_or(0, |row| row.bytes);
    output.line(format!("\nA file of {}: medians of {}", ByteSize(size), times(rows)))?;
    let head = ["", "S", "MB/S", "CLIENT", "DIR", "PEERS", "ALL", "MIB C/D/P", "WIRE", "CORES", "QUIC", "DISK", "CPU"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for row in rows {
        let ratios = report.ratios(row);
        let mut cells = vec![what(row), format!("{:.2}", row.seconds()), format!("{:.0}", row.rate())];
        cells.extend(row.cpu_per_gib().map(|seconds| figure(seconds, 2)));
        cells.push(peaks(row));
        cells.push(row.wire_share().map_or_else(missing, percent));
        cells.extend([ratios.cores, ratios.quic, ratios.disk, ratios.cpu].map(|ratio| figure(ratio, 2)));
        lines.push(cells);
    }
    for line in table(&lines, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]) {
        output.line(line)?;
    }
    output.line(
        "  CLIENT, DIR, PEERS, ALL: CPU seconds a GiB. MIB: most resident memory of client, directory, a peer.\n  \
         WIRE: UDP payloads that the client sent and received, as a share of the file. CORES, QUIC, DISK: the\n  \
         rate, times the copies that are sent and written, as a share of what each gave by itself (below).\n  \
         CPU: all CPU time as a multiple of what those took.",
    )
}

fn show_bars(output: &mut Output, report: &Report) -> std::io::Result<()> {
    output.line("\nThe machine by itself, in between")?;
    let head = ["", "MB/S", "CPU S/GIB", ""];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    let cell = |bar: &Bar| {
        let (rate, cpu) = (format!("{:.0}", bar.rate()), format!("{:.2}", bar.cpu_per_gib()));
        vec![bar.key.to_owned(), rate, cpu, bar.what.to_owned()]
    };
    lines.extend(report.bars.all().into_iter().map(cell));
    table(&lines, &[1, 2]).into_iter().try_for_each(|line| output.line(line))
}

fn show_small(output: &mut Output, rows: &[&Row]) -> std::io::Result<()> {
    let count = rows.first().map_or(0, |row| row.files);
    output.line(format!("\n{count} files of 4 KiB: medians of {}", times(rows)))?;
    let head = ["", "S", "FILES/S", "CLIENT", "DIR", "PEERS", "ALL", "MIB C/D/P", "WIRE"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for row in rows {
        let mut cells = vec![what(row), format!("{:.2}", row.seconds()), format!("{:.0}", row.files_per_second())];
        cells.extend(row.cpu_seconds().map(|seconds| figure(seconds, 2)));
        cells.push(peaks(row));
        cells.push(row.wire_share().map_or_else(missing, percent));
        lines.push(cells);
    }
    for line in table(&lines, &[1, 2, 3, 4, 5, 6, 7, 8]) {
        output.line(line)?;
    }
    output.line("  CLIENT, DIR, PEERS, ALL: CPU seconds in all. WIRE: as above, as a share of the files.")
}

fn what(row: &Row) -> String {
    match row.work {
        Work::Put | Work::PutSmall => format!("put {}", row.redundancy),
        Work::Get | Work::GetSmall => format!("get {}", row.redundancy),
        Work::Again => format!("again {}", row.redundancy),
    }
}

fn times(rows: &[&Row]) -> usize {
    rows.first().map_or(0, |row| row.samples.len())
}

/// Of client, directory and the largest peer.
fn peaks(row: &Row) -> String {
    let (client, directory, peer) = row.peak_memory();
    let mib = |bytes: Option<u64>| bytes.map_or_else(missing, |bytes| (bytes >> 20).to_string());
    format!("{}/{}/{}", mib(Some(client)), mib(directory), mib(peer))
}

fn missing() -> String {
    "-".to_owned()
}

fn figure(number: Option<f64>, digits: usize) -> String {
    number.map_or_else(missing, |number| format!("{number:.digits$}"))
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent < 10.0 { format!("{percent:.2}%") } else { format!("{percent:.1}%") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_a_missing_one_is_a_dash() {
        assert_eq!((figure(Some(1.234), 2), figure(None, 2)), ("1.23".to_owned(), "-".to_owned()));
        for (share, text) in [(0.0005, "0.05%"), (0.0999, "9.99%"), (1.0412, "104.1%"), (3.1, "310.0%")] {
            assert_eq!(percent(share), text);
        }
    }
}
