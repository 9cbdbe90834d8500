//! Terminal: questions to whoever sits there, with or without an echo.
//!
//! Questions go to the terminal itself and not to standard output or input, which may be pipes. A question without an echo leaves
//! the terminal as it was, however it ends: answered, interrupted or dropped.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

/// Longest line that a terminal hands on.
const LINE_BYTES: usize = 4096;

/// The terminal that this process belongs to.
#[derive(Debug)]
pub(super) struct Terminal(File);

impl Terminal {
    /// `None` where nobody sits: without a terminal, or when even errors go elsewhere.
    pub(super) fn open() -> Option<Self> {
        if !io::stderr().is_terminal() {
            return None;
        }
        File::options().read(true).write(true).open("/dev/tty").ok().map(Self)
    }

    pub(super) fn say(&self, text: &str) -> io::Result<()> {
        writeln!(&self.0, "{text}")
    }

    /// Asks for a line. Nothing, not even the end of a line, is an empty one.
    pub(super) async fn ask(&self, question: &str) -> io::Result<Zeroizing<String>> {
        self.read(question).await
    }

    /// Asks for a line that is not shown.
    pub(super) async fn ask_hidden(&self, question: &str) -> io::Result<Zeroizing<String>> {
        let silence = Silence::begin(&self.0)?;
        let answer = self.read(question).await;
        drop(silence);
        (&self.0).write_all(b"\n")?; // that of the answer was not shown, either
        answer
    }

    async fn read(&self, question: &str) -> io::Result<Zeroizing<String>> {
        (&self.0).write_all(question.as_bytes())?;
        let from = self.0.try_clone()?;
        spawn_blocking(move || line(&from)).await.map_err(io::Error::other)?
    }
}

/// A terminal hands out a line at a time. Read in place, so that no copy of a secret stays in a buffer.
fn line(mut from: &File) -> io::Result<Zeroizing<String>> {
    let mut buffer = Zeroizing::new([0; LINE_BYTES]);
    let read = from.read(buffer.as_mut_slice())?;
    let text = std::str::from_utf8(buffer.get(..read).unwrap_or_default())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "what was typed is no UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    Ok(Zeroizing::new(text.strip_suffix('\r').unwrap_or(text).to_owned()))
}

/// No echo, until it is dropped.
struct Silence {
    terminal: File,
    before: Termios,
}

impl Silence {
    fn begin(terminal: &File) -> io::Result<Self> {
        let terminal = terminal.try_clone()?;
        let before = tcgetattr(&terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
        // What was typed ahead was typed for somebody else, and shown.
        tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        tcsetattr(&self.terminal, OptionalActions::Now, &self.before).ok(); // a terminal that is gone needs no echo
    }
}
