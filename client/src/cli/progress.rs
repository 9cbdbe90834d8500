//! Progress: how far a transfer is. A bar with rate and time left on a terminal, a line every 30 seconds in a pipe or log, and
//! nothing with --quiet or --json.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::size::ByteSize;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// How a transfer is shown while it runs.
#[derive(Debug)]
pub struct Meter {
    bar: ProgressBar,
    verb: &'static str,
    total: AtomicU64,
    done: AtomicU64,
    files: AtomicU64,
    /// `None` when lines are not wanted.
    lines: Option<Mutex<Instant>>,
    begun: Instant,
}

/// Where progress is to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visible {
    Bar,
    Lines,
    Hidden,
}

impl Visible {
    /// A bar on a terminal, lines elsewhere, nothing when it is not wanted.
    #[must_use]
    pub fn choose(hidden: bool) -> Self {
        match (hidden, std::io::stderr().is_terminal()) {
            (true, _) => Self::Hidden,
            (false, true) => Self::Bar,
            (false, false) => Self::Lines,
        }
    }
}

impl Meter {
    /// `verb` is what happens to the bytes: "stored", "fetched".
    #[must_use]
    pub fn new(visible: Visible, verb: &'static str) -> Self {
        let target = match visible {
            Visible::Bar => ProgressDrawTarget::stderr_with_hz(8),
            Visible::Lines | Visible::Hidden => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let template = "{wide_bar} {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta} left  {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        let begun = Instant::now();
        let lines = (visible == Visible::Lines).then(|| Mutex::new(begun));
        Self { bar, verb, total: 0.into(), done: 0.into(), files: 0.into(), lines, begun }
    }

    pub fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
        self.bar.inc_length(bytes);
    }

    pub fn advance(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        self.bar.inc(bytes);
        if self.total.load(Ordering::Relaxed) < done {
            self.total.store(done, Ordering::Relaxed); // a stream, whose length nobody knows
            self.bar.set_length(done);
        }
        self.say_line(done);
    }

    pub fn file_done(&self) {
        let files = self.files.fetch_add(1, Ordering::Relaxed) + 1;
        self.bar.set_message(format!("{files} {}", if files == 1 { "file" } else { "files" }));
    }

    /// Something for stderr that must not tear the bar.
    #[expect(clippy::print_stderr, reason = "notes for people belong on stderr")]
    pub fn say(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    /// Something for stdout that must not tear the bar.
    ///
    /// # Errors
    /// When standard output takes no more.
    pub fn print(&self, text: &str) -> std::io::Result<()> {
        self.bar.suspend(|| std::io::stdout().write_all(text.as_bytes()))
    }

    fn say_line(&self, done: u64) {
        let Some(lines) = &self.lines else { return };
        let Ok(mut last) = lines.try_lock() else { return };
        if last.elapsed() < LINE_EVERY {
            return;
        }
        *last = Instant::now();
        drop(last);
        self.say(&self.summary(done));
    }

    fn summary(&self, done: u64) -> String {
        let total = self.total.load(Ordering::Relaxed);
        let seconds = self.begun.elapsed().as_secs().max(1);
        let rate = ByteSize(done / seconds);
        format!("{} of {} {}, {rate}/s", ByteSize(done), ByteSize(total), self.verb)
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_of_unknown_length_grows_its_own_total() {
        let meter = Meter::new(Visible::Hidden, "stored");
        meter.expect(10);
        meter.advance(4 << 20);
        meter.file_done();
        assert!(meter.summary(4 << 20).starts_with("4.0 MiB of 4.0 MiB stored"), "{}", meter.summary(4 << 20));
    }
}
