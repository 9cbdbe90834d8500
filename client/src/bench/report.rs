//! Report: what a benchmark found, and how its rows compare with the bars of the same run. As values, and as JSON.

use common::time::Clock;
use serde_json::{Map, Value, json};

use super::bars::Bars;
use super::devices::Devices;
use super::latency::Latency;
use super::machine::Machine;
use super::measured::{Bar, Row, Work, per_gib};
use super::wire::WireCost;
use super::{Place, Plan};

/// All that was found.
#[derive(Debug, Clone)]
pub struct Report {
    pub machine: Machine,
    /// RFC 3339, in UTC.
    pub date: String,
    pub settings: Value,
    pub bars: Bars,
    pub rows: Vec<Row>,
    pub latency: Option<Latency>,
    pub wire: Option<WireCost>,
    pub devices: Option<Devices>,
    /// Bytes of shards that a cluster of the user's keeps in its history.
    pub left: u64,
}

/// How a row compares with what its parts can do by themselves. A rate as a share of theirs, CPU time as a multiple.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Ratios {
    /// The pipeline of sealing, naming or opening.
    pub cores: Option<f64>,
    pub quic: Option<f64>,
    pub disk: Option<f64>,
    /// All CPU time, against that of the parts together.
    pub cpu: Option<f64>,
}

impl Report {
    pub(super) fn new(plan: &Plan, bars: Bars, rows: Vec<Row>) -> Self {
        let date = Clock::System.now().to_string();
        let settings = json!({
            "cluster": match &plan.place { Place::Start { .. } => "started", Place::Joined(_) => "joined" },
            "size": plan.size.0,
            "small": plan.small,
            "times": plan.times,
            "stores": plan.stores.as_ref().map(|folder| folder.to_string_lossy()),
        });
        Self { machine: Machine::this(), date, settings, bars, rows, latency: None, wire: None, devices: None, left: 0 }
    }

    /// How a row compares.
    #[must_use]
    pub fn ratios(&self, row: &Row) -> Ratios {
        let Bars { naming, sealing, opening, up, down, direct, .. } = &self.bars;
        let copies = row.copies();
        match row.work {
            Work::Put => compare(row, sealing, Some((up, copies)), Some((direct, copies))),
            Work::Get => compare(row, opening, Some((down, 1.0)), Some((direct, 1.0))),
            Work::Again => compare(row, naming, None, None),
            Work::PutSmall | Work::GetSmall => Ratios::default(),
        }
    }

    /// One object a line: the machine, each bar, each row, and what else was found.
    #[must_use]
    pub fn objects(&self) -> Vec<Value> {
        let mut objects = vec![json!({
            "event": "machine",
            "machine": self.machine.object(),
            "versions": { "shoal": env!("CARGO_PKG_VERSION") },
            "date": self.date,
            "settings": self.settings,
            "left_bytes": self.left,
        })];
        objects.extend(self.bars.all().into_iter().filter(|bar| !bar.samples.is_empty()).map(bar_object));
        objects.extend(self.rows.iter().map(|row| self.row_object(row)));
        objects.extend(self.latency.iter().map(Latency::object));
        objects.extend(self.wire.iter().map(WireCost::object));
        objects.extend(self.devices.iter().map(Devices::object));
        objects
    }

    fn row_object(&self, row: &Row) -> Value {
        let by_process = |cpu: [Option<f64>; 4]| {
            let names = ["client", "directory", "peers", "all"];
            names.into_iter().zip(cpu).map(|(name, seconds)| (name.to_owned(), json!(seconds.map(round)))).collect()
        };
        let (cpu, per_gib): (Map<_, _>, Map<_, _>) = (by_process(row.cpu_seconds()), by_process(row.cpu_per_gib()));
        let (client, directory, peer) = row.peak_memory();
        let ([sent, received], ratios) = (row.wire_bytes(), self.ratios(row));
        json!({
            "event": "row",
            "row": row.work.key(),
            "redundancy": row.redundancy.to_string(),
            "bytes": row.bytes,
            "files": row.files,
            "seconds": round(row.seconds()),
            "seconds_of_all": row.samples.iter().map(|sample| round(sample.seconds)).collect::<Vec<_>>(),
            "mb_per_second": round(row.rate()),
            "files_per_second": round(row.files_per_second()),
            "cpu_seconds": cpu,
            "cpu_seconds_per_gib": per_gib,
            "peak_memory_bytes": { "client": client, "directory": directory, "peer": peer },
            "wire_bytes": { "sent": sent, "received": received },
            "wire_share": row.wire_share(),
            "ratios": {
                "cores": ratios.cores.map(round),
                "quic": ratios.quic.map(round),
                "disk": ratios.disk.map(round),
                "cpu": ratios.cpu.map(round),
            },
        })
    }
}

fn compare(row: &Row, pipeline: &Bar, quic: Option<(&Bar, f64)>, disk: Option<(&Bar, f64)>) -> Ratios {
    let share = |bar: &Bar, times: f64| row.rate() * times / bar.rate();
    let parts = [Some((pipeline, 1.0)), quic, disk];
    let cost: f64 = parts.into_iter().flatten().map(|(bar, times)| bar.cpu_per_gib() * times).sum();
    Ratios {
        cores: Some(share(pipeline, 1.0)),
        quic: quic.map(|(bar, times)| share(bar, times)),
        disk: disk.map(|(bar, times)| share(bar, times)),
        cpu: row.cpu().map(|seconds| per_gib(seconds, row.bytes) / cost),
    }
}

fn bar_object(bar: &Bar) -> Value {
    json!({
        "event": "bar",
        "bar": bar.key,
        "bytes": bar.bytes,
        "seconds": round(bar.seconds()),
        "seconds_of_all": bar.samples.iter().map(|(seconds, _)| round(*seconds)).collect::<Vec<_>>(),
        "mb_per_second": round(bar.rate()),
        "cpu_seconds_per_gib": round(bar.cpu_per_gib()),
    })
}

/// To five digits behind the point: more is noise.
fn round(number: f64) -> f64 {
    (number * 1e5).round() / 1e5
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use common::redundancy::Redundancy;
    use common::size::ByteSize;

    use super::*;
    use crate::bench::measured::Sample;

    fn report() -> Report {
        let plan = Plan {
            shoal: PathBuf::new(),
            place: Place::Start { peers: None },
            below: PathBuf::new(),
            stores: None,
            only: BTreeSet::new(),
            size: ByteSize::gib(1),
            small: 1,
            times: 1,
            gets: 1,
            devices: 1,
            seconds: 1,
            redundancy: Vec::new(),
        };
        let mut bars = Bars::new(1 << 30);
        bars.sealing.samples.push((1.0, 2.0));
        bars.up.samples.push((0.5, 0.5));
        bars.direct.samples.push((0.5, 0.1));
        let mut row = Row::new(Work::Put, Redundancy::DEFAULT, 1 << 30, 1);
        let sample = Sample { seconds: 4.0, client_cpu: 3.0, ..Sample::default() };
        row.samples.push(sample);
        Report::new(&plan, bars, vec![row])
    }

    #[test]
    fn a_put_is_compared_with_sealing_once_and_with_sending_and_writing_each_copy() {
        let report = report();
        let ratios = report.ratios(&report.rows[0]);
        assert_eq!((ratios.cores, ratios.quic, ratios.disk), (Some(0.25), Some(0.375), Some(0.375)));
        assert_eq!(ratios.cpu, None, "nobody knows what the servers spent");
    }

    #[test]
    fn json_has_the_machine_each_bar_that_was_measured_and_each_row() {
        let objects = report().objects();
        let events: Vec<_> = objects.iter().map(|object| object["event"].as_str().unwrap()).collect();
        assert_eq!(events, ["machine", "bar", "bar", "bar", "row"]);
        assert_eq!(objects[4]["mb_per_second"], 268.435_46);
        assert_eq!(objects[4]["cpu_seconds_per_gib"]["client"], 3.0);
        assert_eq!(objects[4]["cpu_seconds_per_gib"]["all"], Value::Null);
    }
}
