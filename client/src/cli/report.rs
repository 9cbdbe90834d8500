//! Report: the way from a transfer under way to the user: progress, notes, what failed, and JSON lines.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use common::plural::many;
use common::transport::Traffic;
use serde_json::{Map, Value, json};

use super::exit::Exit;
use super::explain;
use super::progress::{Meter, Visible};
use crate::cancel::Cancel;
use crate::transfer::{FileError, GetDone, Progress, PutDone};

/// Which way the content goes, and so what counts as progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Bytes count when they are durable.
    Up,
    /// Bytes count when they are verified and written.
    Down,
    /// Bytes count when it is known that they can be had.
    Check,
}

/// Told by the data path, tells the user.
pub struct Reporter {
    meter: Meter,
    direction: Direction,
    json: bool,
    quiet: bool,
    /// Where JSON lines go: not to standard output when that carries content.
    json_to_stderr: bool,
    cancel: Cancel,
    /// How it ends when anything failed, where that does not depend on what.
    on_failure: Option<Exit>,
    done: AtomicU64,
    failed: AtomicU64,
    first: Mutex<Option<Exit>>,
}

impl Reporter {
    #[must_use]
    pub fn new(visible: Visible, direction: Direction, json: bool, quiet: bool, cancel: Cancel) -> Self {
        let verb = match direction {
            Direction::Up => "stored",
            Direction::Down => "fetched",
            Direction::Check => "verified",
        };
        let meter = Meter::new(visible, verb);
        Self {
            meter,
            direction,
            json,
            quiet,
            json_to_stderr: false,
            cancel,
            on_failure: None,
            done: 0.into(),
            failed: 0.into(),
            first: Mutex::default(),
        }
    }

    /// Standard output carries content.
    #[must_use]
    pub fn keep_stdout_clean(mut self) -> Self {
        self.json_to_stderr = true;
        self
    }

    /// However much succeeds, when anything fails this is how it ends.
    #[must_use]
    pub fn failing_with(mut self, exit: Exit) -> Self {
        self.on_failure = Some(exit);
        self
    }

    /// Something that was done, or would be: for programs always, for people when they want to see it.
    pub fn step(&self, event: Value, text: &str, wanted: bool) {
        if self.json {
            return self.line(event);
        }
        if wanted && self.meter.print(&format!("{text}\n")).is_err() {
            self.cancel.cancel(); // who was reading has gone: nobody wants the rest
        }
    }

    /// What it came to: for people on stderr.
    pub fn summary(&self, event: Value, text: &str) {
        if self.json {
            self.line(event);
        } else if !self.quiet {
            self.meter.say(&format!("shoal: {text}"));
        }
    }

    /// One thing is in its place that brought no content.
    pub fn placed(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.meter.file_done();
    }

    /// So many more bytes will come.
    pub fn announce(&self, bytes: u64) {
        self.meter.expect(bytes);
    }

    /// One thing failed; the rest goes on.
    pub fn fail(&self, shown: &str, error: &(dyn std::error::Error + 'static)) {
        let verdict = explain::judge(error);
        if verdict.exit == Exit::Interrupted || verdict.silent {
            self.note_first(verdict.exit);
            return;
        }
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.note_first(verdict.exit);
        let line =
            if self.json { explain::object(error, Some(shown)).to_string() } else { explain::text(error, Some(shown)) };
        self.meter.say(&line);
    }

    fn note_first(&self, exit: Exit) {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(exit);
    }

    /// One file is done; `event` as a JSON line.
    fn done(&self, event: Value) {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.meter.file_done();
        self.line(event);
    }

    fn line(&self, event: Value) {
        if !self.json {
            return;
        }
        let line = format!("{event}\n");
        let written = if self.json_to_stderr {
            std::io::stderr().write_all(line.as_bytes())
        } else {
            std::io::stdout().write_all(line.as_bytes())
        };
        if written.is_err() {
            self.cancel.cancel(); // who was reading has gone: nobody wants the rest
        }
    }

    /// Takes the bar away, and says how the whole ended: `partly` when some is done and some is not.
    #[must_use]
    pub fn finish(&self, event: &str) -> Exit {
        self.end(event, None)
    }

    /// The same, with what it took on the wire.
    #[must_use]
    pub fn finish_with(&self, event: &str, wire: Traffic) -> Exit {
        self.end(event, Some(wire))
    }

    fn end(&self, event: &str, wire: Option<Traffic>) -> Exit {
        self.meter.end();
        let (done, failed) = (self.done.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed));
        let first = *self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let exit = match (done, failed, first) {
            (_, 1.., Some(_)) if self.on_failure.is_some() => self.on_failure.unwrap_or(Exit::Failure),
            (_, 0, None) => Exit::Ok,
            (_, 0, Some(exit)) => exit,
            // One thing was asked for and failed: its own code says more.
            (0, 1, Some(exit)) => exit,
            (0, _, _) => Exit::Failure,
            (_, _, _) => Exit::Partly,
        };
        let mut object = json!({ "event": event, "files": done, "failed": failed, "code": exit.code() });
        if let (Some(wire), Some(object)) = (wire, object.as_object_mut()) {
            object.insert("wire".to_owned(), wire_object(wire));
        }
        self.line(object);
        exit
    }
}

/// Payloads of UDP datagrams; their headers of UDP and IP, 28 or 48 bytes each, come on top.
#[must_use]
pub fn wire_object(wire: Traffic) -> Value {
    json!({
        "sent_bytes": wire.sent_bytes,
        "received_bytes": wire.received_bytes,
        "sent_datagrams": wire.sent_datagrams,
        "received_datagrams": wire.received_datagrams,
    })
}

fn named(event: &str, shown: &str) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("event".to_owned(), event.into());
    object.insert("path".to_owned(), shown.into());
    object
}

impl Progress for Reporter {
    /// Whoever names the files announces their lengths through [`Reporter::announce`], before the data path opens them.
    fn expect(&self, _: u64) {}

    fn read(&self, bytes: u64) {
        if self.direction != Direction::Up {
            self.meter.advance(bytes);
        }
    }

    fn stored(&self, bytes: u64) {
        if self.direction == Direction::Up {
            self.meter.advance(bytes);
        }
    }

    fn put(&self, done: PutDone) {
        if done.degraded > 0 {
            let chunks = many(done.degraded, "chunk");
            self.note(&format!("{}: {chunks} with fewer shards than wanted; marked for repair", done.shown));
        }
        if done.conflict {
            self.note(&format!("{}: somebody else stored another version meanwhile; history has both", done.shown));
        }
        let mut event = named("put", &done.shown);
        event.insert("version".to_owned(), done.version.to_string().into());
        event.insert("bytes".to_owned(), done.bytes.into());
        event.insert("sent".to_owned(), done.sent.into());
        event.insert("degraded".to_owned(), done.degraded.into());
        event.insert("conflict".to_owned(), done.conflict.into());
        self.done(Value::Object(event));
    }

    fn got(&self, done: GetDone) {
        let mut event = named("got", &done.shown);
        event.insert("version".to_owned(), done.version.to_string().into());
        event.insert("bytes".to_owned(), done.bytes.into());
        self.done(Value::Object(event));
    }

    fn failed(&self, shown: &str, error: FileError) {
        self.fail(shown, &*error);
    }

    fn note(&self, text: &str) {
        if !self.json && !self.quiet {
            self.meter.say(&format!("shoal: {text}"));
        } else if self.json {
            self.line(json!({ "event": "note", "text": text }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::FolderError;

    fn reporter() -> Reporter {
        Reporter::new(Visible::Hidden, Direction::Up, false, true, Cancel::new())
    }

    fn put(reporter: &Reporter) {
        let version = common::id::VersionId([1; 16]);
        reporter.put(PutDone { shown: "x".into(), version, bytes: 1, sent: 3, degraded: 0, conflict: false });
    }

    #[test]
    fn one_failure_keeps_its_code_and_several_results_are_partly_done() {
        let changed = || FolderError::Changed { path: "/x".to_owned() };
        let alone = reporter();
        alone.fail("x", &changed());
        assert_eq!(alone.finish("put"), Exit::Conflict);
        let mixed = reporter();
        mixed.fail("x", &changed());
        put(&mixed);
        assert_eq!(mixed.finish("put"), Exit::Partly);
        let fine = reporter();
        put(&fine);
        assert_eq!(fine.finish("put"), Exit::Ok);
    }
}
