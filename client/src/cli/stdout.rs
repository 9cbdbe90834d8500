//! Stdout: content on standard output, and never binary content on a terminal unless it is asked for.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use super::error::CommandError;

/// Standard output without a line buffer of its own: content comes in large pieces.
///
/// # Errors
/// When there is no standard output.
pub(super) fn open(force: bool) -> io::Result<Box<dyn Write + Send>> {
    let stdout = io::stdout();
    let file = File::from(stdout.as_fd().try_clone_to_owned()?);
    if stdout.is_terminal() && !force {
        return Ok(Box::new(TextOnly { inner: file, begun: false }));
    }
    Ok(Box::new(file))
}

/// Refuses content that begins like no text.
struct TextOnly<W> {
    inner: W,
    begun: bool,
}

/// How much of the beginning is judged.
const JUDGED_BYTES: usize = 8 << 10;

/// Text has no control characters but those of layout; a character that is cut off at the end is fine.
fn is_text(bytes: &[u8]) -> bool {
    let head = bytes.get(..JUDGED_BYTES).unwrap_or(bytes);
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            let valid = head.get(..error.valid_up_to()).unwrap_or_default();
            std::str::from_utf8(valid).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\x0c'))
}

impl<W: Write> Write for TextOnly<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.begun && !bytes.is_empty() {
            if !is_text(bytes) {
                return Err(io::Error::other(CommandError::Terminal));
            }
            self.begun = true;
        }
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_passes_and_binary_is_refused() {
        for (bytes, text) in [
            (&b"hello\n\tworld\r\n"[..], true),
            ("Grüße 🐟".as_bytes(), true),
            (&"🐟".as_bytes()[..3], true),
            (b"\x7fELF\x02", false),
            (b"a\0b", false),
            (b"\x1b[31mred", false),
            (&[0xff, 0xfe, b'a'], false),
        ] {
            let mut out = TextOnly { inner: Vec::new(), begun: false };
            assert_eq!(out.write_all(bytes).is_ok(), text, "{bytes:?}");
        }
    }
}
