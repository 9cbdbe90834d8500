//! The baseline: what was recorded, and the judgement of what is counted now. A pure comparison.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

/// How much more than recorded is still taken: per cent. The counts of one binary differ by less than 0.1, but a change elsewhere can
/// move how the compiler inlines by 2 or 3. A copy or a hash too many is more.
pub(crate) const MARGIN: u32 = 5;

const HEAD: &str = "\
# Instructions that each room takes for a fixed amount of work (tests/instructions/rooms.rs), counted by callgrind.
# Written by: RECORD=1 cargo test --release -p tests --test instructions
";
const HOW: &str = "RECORD=1 cargo test --release -p tests --test instructions";

/// Counts, and what they were counted with.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Recorded {
    /// As valgrind simulates it.
    pub(crate) processor: String,
    pub(crate) rustc: String,
    pub(crate) valgrind: String,
    /// By the room's name.
    pub(crate) instructions: BTreeMap<String, u64>,
}

/// What was recorded, if anything was.
pub(crate) struct Baseline(Option<Recorded>);

/// What a comparison came to.
pub(crate) struct Report {
    pub(crate) failed: bool,
    pub(crate) text: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Within,
    Better,
    Worse,
    /// Counted, and not recorded.
    New,
    /// Recorded, and not counted.
    Gone,
}

fn judge(recorded: Option<u64>, now: Option<u64>) -> Verdict {
    let (Some(recorded), Some(now)) = (recorded, now) else {
        return if now.is_some() { Verdict::New } else { Verdict::Gone };
    };
    let percent = |of: u64, more: u32| u128::from(of) * u128::from(more);
    if percent(now, 100) > percent(recorded, 100 + MARGIN) {
        Verdict::Worse
    } else if percent(now, 100) < percent(recorded, 100 - MARGIN) {
        Verdict::Better
    } else {
        Verdict::Within
    }
}

/// The file for these counts.
pub(crate) fn text(now: &Recorded) -> String {
    let Recorded { processor, rustc, valgrind, instructions } = now;
    let mut text =
        format!("{HEAD}processor = {processor:?}\nrustc = {rustc:?}\nvalgrind = {valgrind:?}\n\n[instructions]\n");
    for (room, count) in instructions {
        writeln!(text, "{room} = {count}").unwrap();
    }
    text
}

impl Baseline {
    /// An empty file is a baseline of nothing.
    ///
    /// # Errors
    /// When it is not what [`text`] writes.
    pub(crate) fn read(text: &str) -> Result<Self, toml::de::Error> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        toml::from_str(text).map(|recorded| Self(Some(recorded)))
    }

    /// What it was counted on; `None` for a baseline of nothing.
    pub(crate) fn processor(&self) -> Option<&str> {
        self.0.as_ref().map(|recorded| recorded.processor.as_str())
    }

    /// Fails when a room is worse by more than the margin, or was never recorded, or is gone.
    pub(crate) fn compare(&self, now: &Recorded) -> Report {
        let nothing = BTreeMap::new();
        let recorded = self.0.as_ref().map_or(&nothing, |recorded| &recorded.instructions);
        let mut rooms: Vec<&String> = recorded.keys().chain(now.instructions.keys()).collect();
        rooms.sort();
        rooms.dedup();
        let (mut text, mut failed, mut better) = ("instructions by room, now and recorded:\n".to_owned(), false, false);
        for room in rooms {
            let (was, is) = (recorded.get(room).copied(), now.instructions.get(room).copied());
            let verdict = judge(was, is);
            failed |= matches!(verdict, Verdict::Worse | Verdict::New | Verdict::Gone);
            better |= verdict == Verdict::Better;
            writeln!(text, "{}", line(room, was, is, verdict)).unwrap();
        }
        if failed {
            writeln!(text, "More than {MARGIN} % above the baseline, or not in it. If it has to be: {HOW}").unwrap();
        } else if better {
            writeln!(text, "Better by more than {MARGIN} %: keep it so with {HOW}").unwrap();
        }
        let others = self.0.as_ref().filter(|was| (&was.rustc, &was.valgrind) != (&now.rustc, &now.valgrind));
        if let Some(Recorded { rustc, valgrind, .. }) = others {
            let (new_rustc, new_valgrind) = (&now.rustc, &now.valgrind);
            writeln!(text, "Recorded with {rustc}, {valgrind}; counted with {new_rustc}, {new_valgrind}").unwrap();
        }
        Report { failed, text }
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn line(room: &str, was: Option<u64>, is: Option<u64>, verdict: Verdict) -> String {
    let shown = |count: Option<u64>| count.map_or("-".to_owned(), |count| count.to_string());
    let change = match (was, is) {
        (Some(was), Some(is)) => format!("{:+.2} %", (is as f64 / was as f64 - 1.0) * 100.0),
        _ => String::new(),
    };
    let said = match verdict {
        Verdict::Within => "",
        Verdict::Better => "better",
        Verdict::Worse => "WORSE",
        Verdict::New => "NOT RECORDED",
        Verdict::Gone => "NOT COUNTED ANY MORE",
    };
    let line = format!("  {room:24} {:>12} {:>12} {change:>10}  {said}", shown(is), shown(was));
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(rooms: &[(&str, u64)]) -> Recorded {
        Recorded {
            processor: "x86_64 avx2".to_owned(),
            rustc: "rustc 1.95.0".to_owned(),
            valgrind: "valgrind-3.19.0".to_owned(),
            instructions: rooms.iter().map(|(room, count)| ((*room).to_owned(), *count)).collect(),
        }
    }

    #[test]
    fn worse_by_more_than_the_margin_fails_and_so_does_what_is_missing() {
        let recorded = Baseline(Some(counts(&[("cut", 1_000_000), ("seal", 500)])));
        type Case = (&'static str, &'static [(&'static str, u64)], bool, &'static str);
        let cases: [Case; 8] = [
            ("the same", &[("cut", 1_000_000), ("seal", 500)], false, ""),
            ("at the margin", &[("cut", 1_050_000), ("seal", 525)], false, ""),
            ("over it", &[("cut", 1_050_001), ("seal", 500)], true, "WORSE"),
            ("a small one over it", &[("cut", 1_000_000), ("seal", 526)], true, "WORSE"),
            ("better within the margin", &[("cut", 950_000), ("seal", 500)], false, ""),
            ("better", &[("cut", 949_999), ("seal", 500)], false, "RECORD=1"),
            ("new", &[("cut", 1_000_000), ("seal", 500), ("open", 1)], true, "NOT RECORDED"),
            ("gone", &[("cut", 1_000_000)], true, "NOT COUNTED"),
        ];
        for (case, rooms, fails, says) in cases {
            let report = recorded.compare(&counts(rooms));
            assert_eq!(report.failed, fails, "{case}: {}", report.text);
            assert!(report.text.contains(says), "{case}: {}", report.text);
        }
    }

    #[test]
    fn without_a_baseline_everything_fails() {
        let report = Baseline::read("").unwrap().compare(&counts(&[("cut", 1)]));
        assert!(report.failed && report.text.contains("NOT RECORDED"), "{}", report.text);
    }

    #[test]
    fn another_compiler_is_told() {
        let recorded = Baseline(Some(counts(&[("cut", 1)])));
        let now = Recorded { rustc: "rustc 1.96.0".to_owned(), ..counts(&[("cut", 1)]) };
        let report = recorded.compare(&now);
        assert!(!report.failed && report.text.contains("1.96.0"), "{}", report.text);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let counts = counts(&[("cut", 1), ("seal", u64::from(u32::MAX) + 1)]);
        assert_eq!(Baseline::read(&text(&counts)).unwrap().0, Some(counts));
        assert!(Baseline::read("instructions = 1").is_err());
    }
}
