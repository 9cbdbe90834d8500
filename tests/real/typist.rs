//! A person at a terminal: a program on a pseudo-terminal of its own, what it shows, and what is typed when it asks.
//!
//! The terminal comes from `script` of util-linux, so that no test needs unsafe code for one.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tests::harness::process::eventually;

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Typist {
    child: Child,
    keyboard: Option<ChildStdin>,
    screen: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
    /// What was waited for already ends here.
    seen: usize,
}

impl Typist {
    /// Runs a line of the shell on a terminal, with the command in the place of `{}`.
    pub(crate) fn start(command: &Command, around: &str) -> Self {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let line = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect::<Vec<_>>().join(" ");
        let mut script = Command::new("script");
        script.args(["--quiet", "--flush", "--return", "--command", &around.replace("{}", &line), "/dev/null"]);
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        script.env("SHELL", "/bin/sh").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = script.spawn().unwrap();
        let screen = Arc::new(Mutex::new(Vec::new()));
        let (mut out, to) = (child.stdout.take().unwrap(), screen.clone());
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = out.read(&mut buffer) {
                to.lock().unwrap().extend_from_slice(&buffer[..read]);
            }
        });
        Self { keyboard: child.stdin.take(), child, screen, reader: Some(reader), seen: 0 }
    }

    pub(crate) fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    /// Waits until something new is shown; what stands between it and what was waited for last.
    pub(crate) fn waits_for(&mut self, text: &str) -> String {
        let mut found = None;
        let waited = eventually(text, PATIENCE, || {
            found = self.screen().get(self.seen..).and_then(|new| new.find(text));
            found.is_some()
        });
        let Some(at) = found else { panic!("{waited:?}; the screen shows:\n{}", self.screen()) };
        let between = self.screen()[self.seen..self.seen + at].to_owned();
        self.seen += at + text.len();
        between
    }

    pub(crate) fn types(&mut self, text: &str) {
        let keyboard = self.keyboard.as_mut().unwrap();
        keyboard.write_all(text.as_bytes()).and_then(|()| keyboard.flush()).unwrap();
    }

    /// Answers a question.
    pub(crate) fn answers(&mut self, question: &str, text: &str) {
        self.waits_for(question);
        self.types(&format!("{text}\n"));
    }

    /// Its exit code, and all that was shown.
    pub(crate) fn ends(mut self) -> (Option<i32>, String) {
        let waited = eventually("it ends", PATIENCE, || matches!(self.child.try_wait(), Ok(Some(_))));
        waited.unwrap_or_else(|error| panic!("{error}; the screen shows:\n{}", self.screen()));
        let status = self.child.wait().unwrap();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        (status.code(), self.screen())
    }
}

impl Drop for Typist {
    fn drop(&mut self) {
        drop(self.keyboard.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
