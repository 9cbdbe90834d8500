//! Show: bytes of a name or path for a person's terminal, lossless and harmless.
//!
//! Valid UTF-8 is shown as it is, but for the backslash (doubled), control characters and those that hide or reorder text
//! (`\u{202e}`); bytes that are no UTF-8 become `\xff`.

use std::fmt::{self, Write as _};

/// Prints the bytes escaped.
pub struct Shown<'a>(pub &'a [u8]);

/// Zero-width characters, direction marks and overrides.
fn deceives(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.utf8_chunks() {
            for c in part.valid().chars() {
                match c {
                    '\\' => f.write_str("\\\\")?,
                    c if c.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(c))?,
                    c if c.is_control() || deceives(c) => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                    c => f.write_char(c)?,
                }
            }
            for byte in part.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_and_what_harms_a_terminal_is_escaped() {
        for (bytes, shown) in [
            ("Grüße 🐟".as_bytes(), "Grüße 🐟"),
            (b"a\x1b[31m\n\x7f", "a\\x1b[31m\\x0a\\x7f"),
            (b"\xff\\xff", "\\xff\\\\xff"),
            ("exe\u{202e}gpj\u{85}".as_bytes(), "exe\\u{202e}gpj\\u{85}"),
        ] {
            assert_eq!(Shown(bytes).to_string(), shown);
        }
    }
}
