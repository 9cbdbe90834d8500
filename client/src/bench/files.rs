//! Files: a large file up, down, and up again; and many small ones. Each step is a `shoal` process of its own.

use std::fs;

use common::redundancy::Redundancy;

use super::measured::{Row, Work};
use super::target::Target;
use super::{Bench, BenchError, Part, content};

/// Content of a small file.
pub(super) const SMALL_BYTES: usize = 4 << 10;

impl Bench<'_> {
    /// Puts, gets, and puts again under another name.
    pub(super) fn large(&mut self, target: &Target, redundancy: Redundancy, again: bool) -> Result<(), BenchError> {
        let (bytes, again) = (self.plan.size.0, again && self.plan.has(Part::Again));
        let (source, back) = (self.scratch.path().join("source"), self.scratch.path().join("back"));
        let row = |work| Row::new(work, redundancy, bytes, 1);
        let (mut put, mut get, mut twice) = (row(Work::Put), row(Work::Get), row(Work::Again));
        let at = redundancy.to_string();
        for time in 1..=self.plan.times {
            let of = format!("{time} of {}", self.plan.times);
            self.say.step(&format!("{of}: making {} of random data", self.plan.size));
            let expected = content::make_file(&source, bytes)?;
            self.say.step(&format!("{of}: measuring what cores, loopback and disk can do by themselves"));
            self.bars.sample(&source, self.scratch.path(), self.cancel)?;
            let source = source.to_string_lossy();
            let remote = target.at(&format!("large-{}-{time}", at.replace('/', "of")));
            self.say.step(&format!("{of}: putting it at {at}"));
            put.samples.push(self.put(target, &[&source, &remote, "--redundancy", &at])?);
            if again {
                self.say.step(&format!("{of}: putting it again under another name"));
                let remote = format!("{remote}-again");
                twice.samples.push(self.put(target, &[&source, &remote, "--redundancy", &at])?);
            }
            if self.plan.has(Part::Get) {
                self.say.step(&format!("{of}: getting and comparing it"));
                let (sample, _) = target.measure(&["get", &remote, &back.to_string_lossy()], self.cancel)?;
                get.samples.push(sample);
                content::check_file(&back, &expected)?;
                fs::remove_file(&back).map_err(BenchError::disk("delete", &back))?;
            }
        }
        fs::remove_file(&source).map_err(BenchError::disk("delete", &source))?;
        for (part, row) in [(Part::Put, put), (Part::Get, get), (Part::Again, twice)] {
            if self.plan.has(part) && !row.samples.is_empty() {
                self.rows.push(row);
            }
        }
        Ok(())
    }

    pub(super) fn put(&mut self, target: &Target, arguments: &[&str]) -> Result<super::measured::Sample, BenchError> {
        let (sample, sent) = target.measure(&[&["put"], arguments].concat(), self.cancel)?;
        self.sent = self.sent.saturating_add(sent);
        Ok(sample)
    }

    /// A folder of small files up and down. Their folders stay until the end: a file system may make new files slowly right after
    /// many were deleted.
    pub(super) fn small(&mut self, target: &Target, redundancy: Redundancy) -> Result<(), BenchError> {
        let count = self.plan.small;
        let bytes = (count * SMALL_BYTES) as u64;
        let row = |work| Row::new(work, redundancy, bytes, count as u64);
        let (mut put, mut get) = (row(Work::PutSmall), row(Work::GetSmall));
        let at = redundancy.to_string();
        for time in 1..=self.plan.times {
            let of = format!("{time} of {}", self.plan.times);
            let (source, back) = (format!("small{time}"), format!("small-back{time}"));
            let (source, back) = (self.scratch.path().join(source), self.scratch.path().join(back));
            self.say.step(&format!("{of}: making {count} random files of 4 KiB"));
            content::make_files(&source, count, SMALL_BYTES)?;
            let remote = target.at(&format!("small{time}"));
            self.say.step(&format!("{of}: putting them at {at}"));
            put.samples.push(self.put(target, &["-r", &source.to_string_lossy(), &remote, "--redundancy", &at])?);
            content::sync_all_of(self.scratch.path())?;
            self.say.step(&format!("{of}: getting and comparing them"));
            let (sample, _) = target.measure(&["get", "-r", &remote, &back.to_string_lossy()], self.cancel)?;
            get.samples.push(sample);
            content::check_files(&source, &back, count)?;
        }
        self.rows.extend([put, get]);
        Ok(())
    }
}
