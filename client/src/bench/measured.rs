//! Measured: what a row of the table is made of: samples, their medians, and what they are compared with.

use common::redundancy::Redundancy;

use super::usage::{Peaks, Spent};

/// One run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    pub seconds: f64,
    pub client_cpu: f64,
    pub client_peak: u64,
    pub(super) spent: Spent,
    pub(super) peaks: Peaks,
    pub wire: Option<Wire>,
}

/// What went through the client's socket: payloads of UDP, and how many datagrams carried them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wire {
    pub sent_bytes: u64,
    pub received_bytes: u64,
    pub datagrams: u64,
}

impl Wire {
    /// Both ways.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sent_bytes.saturating_add(self.received_bytes)
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    Put,
    Get,
    Again,
    PutSmall,
    GetSmall,
}

impl Work {
    /// What it is called in JSON.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Again => "again",
            Self::PutSmall => "put-small",
            Self::GetSmall => "get-small",
        }
    }
}

/// One kind of work, measured several times.
#[derive(Debug, Clone)]
pub struct Row {
    pub work: Work,
    pub redundancy: Redundancy,
    /// Bytes of content of one run.
    pub bytes: u64,
    pub files: u64,
    pub samples: Vec<Sample>,
}

impl Row {
    pub(super) fn new(work: Work, redundancy: Redundancy, bytes: u64, files: u64) -> Self {
        Self { work, redundancy, bytes, files, samples: Vec::new() }
    }

    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.of(|sample| Some(sample.seconds)).unwrap_or(f64::NAN)
    }

    /// The median of what a sample has, where all have it.
    pub(super) fn of(&self, pick: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        let picked: Option<Vec<f64>> = self.samples.iter().map(pick).collect();
        median(picked?)
    }

    /// Decimal megabytes of content a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        rate(self.bytes, self.seconds())
    }

    /// CPU seconds of all processes that are known.
    pub(super) fn cpu(&self) -> Option<f64> {
        self.of(|sample| Some(sample.client_cpu + sample.spent.directory? + sample.spent.peers?))
    }

    /// CPU seconds of client, directory, all peers, and all together; `None` where nobody knows.
    #[must_use]
    pub fn cpu_seconds(&self) -> [Option<f64>; 4] {
        [
            self.of(|sample| Some(sample.client_cpu)),
            self.of(|sample| sample.spent.directory),
            self.of(|sample| sample.spent.peers),
            self.cpu(),
        ]
    }

    /// The same for each GiB.
    #[must_use]
    pub fn cpu_per_gib(&self) -> [Option<f64>; 4] {
        self.cpu_seconds().map(|seconds| seconds.map(|seconds| per_gib(seconds, self.bytes)))
    }

    /// The most memory of the client, the directory and a peer, in bytes.
    #[must_use]
    pub fn peak_memory(&self) -> (u64, Option<u64>, Option<u64>) {
        let client = self.samples.iter().map(|sample| sample.client_peak).max().unwrap_or(0);
        let directory = self.samples.iter().filter_map(|sample| sample.peaks.directory).max();
        let peer = self.samples.iter().filter_map(|sample| sample.peaks.peer).max();
        (client, directory, peer)
    }

    #[must_use]
    pub fn files_per_second(&self) -> f64 {
        float(self.files) / self.seconds()
    }

    /// What the client sent, and what it received.
    #[must_use]
    pub fn wire_bytes(&self) -> [Option<f64>; 2] {
        [
            self.of(|sample| Some(float(sample.wire?.sent_bytes))),
            self.of(|sample| Some(float(sample.wire?.received_bytes))),
        ]
    }

    /// Both ways together, as a share of the content.
    #[must_use]
    pub fn wire_share(&self) -> Option<f64> {
        self.of(|sample| Some(float(sample.wire?.bytes()) / float(self.bytes)))
    }

    /// Bytes of shards for each byte of content.
    #[must_use]
    pub fn copies(&self) -> f64 {
        copies(self.redundancy)
    }
}

/// Something to compare with: as much of it as possible, with nothing else going on.
#[derive(Debug, Clone)]
pub struct Bar {
    pub key: &'static str,
    pub what: &'static str,
    pub bytes: u64,
    /// Seconds and CPU seconds.
    pub samples: Vec<(f64, f64)>,
}

impl Bar {
    pub(super) fn new(key: &'static str, what: &'static str, bytes: u64) -> Self {
        Self { key, what, bytes, samples: Vec::new() }
    }

    #[must_use]
    pub fn seconds(&self) -> f64 {
        median(self.samples.iter().map(|(seconds, _)| *seconds).collect()).unwrap_or(f64::NAN)
    }

    #[must_use]
    pub fn rate(&self) -> f64 {
        rate(self.bytes, self.seconds())
    }

    #[must_use]
    pub fn cpu_per_gib(&self) -> f64 {
        let cpu = median(self.samples.iter().map(|(_, cpu)| *cpu).collect());
        per_gib(cpu.unwrap_or(f64::NAN), self.bytes)
    }
}

#[must_use]
pub(super) fn copies(redundancy: Redundancy) -> f64 {
    float(redundancy.n() as u64) / float(redundancy.k() as u64)
}

/// For showing, and for ratios.
#[expect(clippy::cast_precision_loss, reason = "a figure that is shown has three digits")]
#[must_use]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

/// Decimal megabytes a second.
#[must_use]
pub(super) fn rate(bytes: u64, seconds: f64) -> f64 {
    float(bytes) / 1e6 / seconds
}

/// So much for each GiB.
#[must_use]
pub(super) fn per_gib(seconds: f64, bytes: u64) -> f64 {
    seconds / (float(bytes) / float(1 << 30))
}

/// The middle one; of an even count the mean of the two in the middle.
#[must_use]
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if !values.len().is_multiple_of(2) {
        return Some(upper);
    }
    let lower = values.get((values.len() / 2).checked_sub(1)?)?;
    Some(f64::midpoint(*lower, upper))
}

/// What so many percent of the values are not above. The values are sorted.
#[must_use]
pub(super) fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles() {
        for (values, middle) in
            [(vec![], None), (vec![2.0], Some(2.0)), (vec![3.0, 1.0], Some(2.0)), (vec![9.0, 1.0, 4.0], Some(4.0))]
        {
            assert_eq!(median(values), middle);
        }
        let sorted: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!((percentile(&sorted, 50), percentile(&sorted, 99)), (Some(101.0), Some(199.0)));
        assert_eq!((percentile(&sorted, 100), percentile(&[], 50)), (Some(200.0), None));
    }

    #[test]
    fn a_figure_that_one_sample_lacks_is_not_shown() {
        let mut row = Row::new(Work::Put, Redundancy::new(2, 3).unwrap(), 1 << 30, 1);
        let known = Sample {
            seconds: 2.0,
            client_cpu: 1.0,
            spent: Spent { directory: Some(0.5), peers: Some(2.0) },
            ..Sample::default()
        };
        row.samples = vec![known];
        assert_eq!((row.cpu(), row.wire_share(), row.copies()), (Some(3.5), None, 1.5));
        assert!((row.rate() - 536.87).abs() < 0.01);
        row.samples.push(Sample { spent: Spent::default(), ..known });
        assert_eq!((row.cpu(), row.seconds()), (None, 2.0));
    }
}
