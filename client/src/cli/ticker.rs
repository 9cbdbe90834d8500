//! Ticker: how far something is whose end nobody knows: one line that changes on a terminal, a line every 30 seconds elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::progress::Visible;

const LINE_EVERY: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// What takes no longer needs no word.
const SILENT: Duration = Duration::from_secs(1);

pub(super) struct Ticker {
    bar: ProgressBar,
    /// `None` when lines are not wanted.
    last: Option<Instant>,
}

impl Ticker {
    pub(super) fn new(visible: Visible) -> Self {
        let target = match visible {
            Visible::Bar => ProgressDrawTarget::stderr_with_hz(4),
            Visible::Lines | Visible::Hidden => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        Self { bar, last: (visible == Visible::Lines).then(Instant::now) }
    }

    #[expect(clippy::print_stderr, reason = "progress belongs on stderr")]
    pub(super) fn tick(&mut self, text: impl FnOnce() -> String) {
        match &mut self.last {
            Some(last) if last.elapsed() >= LINE_EVERY => {
                *last = Instant::now();
                eprintln!("shoal: {}", text());
            }
            Some(_) => {}
            None => {
                self.bar.set_message(text());
                self.bar.tick();
            }
        }
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// Says how long something has been going on that tells nothing of itself.
pub(super) async fn say_waiting<F: Future>(visible: Visible, what: &str, doing: F) -> F::Output {
    let mut ticker = Ticker::new(visible);
    let begun = Instant::now();
    tokio::pin!(doing);
    loop {
        tokio::select! {
            done = &mut doing => return done,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        if begun.elapsed() >= SILENT {
            ticker.tick(|| format!("{what}, for {} s", begun.elapsed().as_secs()));
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.end();
    }
}
