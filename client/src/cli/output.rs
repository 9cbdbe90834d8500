//! Output: answers on stdout, for people or as JSON; and how sizes, times, modes and names look there.
//!
//! In JSON sizes are bytes, times are RFC 3339, and a name is lossless: `name` is its text, and where that is not the whole
//! truth (no UTF-8) `name_hex` has its bytes.

use std::fmt::Display;
use std::io::{self, BufWriter, Stdout, Write};

use serde_json::{Map, Value, json};

use crate::meta::Mtime;

/// Where answers go.
pub struct Output {
    out: BufWriter<Stdout>,
    json: bool,
    quiet: bool,
}

impl Output {
    #[must_use]
    pub fn new(json: bool, quiet: bool) -> Self {
        Self { out: BufWriter::new(io::stdout()), json, quiet }
    }

    #[must_use]
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a person wants to read more than answers and errors.
    #[must_use]
    pub fn is_chatty(&self) -> bool {
        !self.json && !self.quiet
    }

    /// One line of an answer for people.
    ///
    /// # Errors
    /// When standard output takes no more.
    pub fn line(&mut self, text: impl Display) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// One JSON object, on one line.
    ///
    /// # Errors
    /// When standard output takes no more.
    pub fn object(&mut self, object: &Value) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, object).map_err(io::Error::from)?;
        self.out.write_all(b"\n")
    }

    /// What was done, as JSON only; people see no news as good news.
    ///
    /// # Errors
    /// When standard output takes no more.
    pub fn done(&mut self, event: &str, path: &impl ToPath) -> io::Result<()> {
        if !self.json {
            return Ok(());
        }
        let mut object = Map::new();
        object.insert("event".to_owned(), event.into());
        name_into(&mut object, "path", &path.bytes());
        self.object(&Value::Object(object))
    }

    /// # Errors
    /// When standard output takes no more.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A path as its bytes.
pub trait ToPath {
    fn bytes(&self) -> Vec<u8>;
}

impl ToPath for crate::names::RemotePath {
    fn bytes(&self) -> Vec<u8> {
        if self.is_root() {
            return b"/".to_vec();
        }
        self.names().iter().flat_map(|name| [b"/", name.as_bytes()].concat()).collect()
    }
}

/// Puts a name or path into an object: lossy text under `key`, and the bytes under `key_hex` when the text is not exact.
pub fn name_into(object: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    object.insert(key.to_owned(), String::from_utf8_lossy(bytes).into());
    if std::str::from_utf8(bytes).is_err() {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        object.insert(format!("{key}_hex"), hex.into());
    }
}

/// `drwxr-xr-x`.
#[must_use]
pub fn mode_text(kind: char, mode: u32) -> String {
    let mut text = String::from(kind);
    for (at, letter) in "rwxrwxrwx".chars().enumerate() {
        text.push(if mode & (0o400 >> at) == 0 { '-' } else { letter });
    }
    text
}

/// RFC 3339 in UTC, to the second; also before 1970.
#[must_use]
pub fn time_text(time: Mtime) -> String {
    let (days, second) = (time.seconds.div_euclid(86_400), time.seconds.rem_euclid(86_400));
    // Days to a date of the Gregorian calendar, with years that begin in March (Howard Hinnant, chrono-compatible date algorithms).
    let shifted = days.saturating_add(719_468);
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
}

/// The object that `--json` writes on stderr for an error.
#[must_use]
pub fn error_object(code: u8, message: &str, causes: &[String], hint: Option<&str>) -> Value {
    json!({ "error": { "code": code, "message": message, "causes": causes, "hint": hint } })
}

/// Rows with columns as wide as they must be; the last one is not padded. `right` says which ones are aligned to the right.
#[must_use]
pub fn table(rows: &[Vec<String>], right: &[usize]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let mut text = String::new();
        for (column, cell) in row.iter().enumerate() {
            let gap = widths.get(column).copied().unwrap_or(0).saturating_sub(cell.chars().count());
            let last = column + 1 == row.len();
            if right.contains(&column) {
                text.push_str(&" ".repeat(gap));
            }
            text.push_str(cell);
            if !last {
                let gap = if right.contains(&column) { 0 } else { gap };
                text.push_str(&" ".repeat(gap + 2));
            }
        }
        text
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_on_both_sides_of_1970() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_270_109, "2026-11-21T14:08:29Z"),
            (-2_208_988_800, "1900-01-01T00:00:00Z"),
        ] {
            assert_eq!(time_text(Mtime { seconds, nanos: 9 }), text);
        }
        for seconds in [i64::MIN, i64::MAX] {
            assert!(time_text(Mtime { seconds, nanos: 0 }).ends_with("Z"));
        }
    }

    #[test]
    fn names_in_json_are_lossless() {
        let mut object = Map::new();
        name_into(&mut object, "name", "Grüße\n".as_bytes());
        name_into(&mut object, "path", b"a\xff");
        assert_eq!(Value::Object(object), json!({"name": "Grüße\n", "path": "a\u{fffd}", "path_hex": "61ff"}));
    }

    #[test]
    fn modes_look_like_those_of_ls() {
        for (kind, mode, text) in
            [('d', 0o755, "drwxr-xr-x"), ('-', 0o640, "-rw-r-----"), ('l', 0o777, "lrwxrwxrwx"), ('-', 0, "----------")]
        {
            assert_eq!(mode_text(kind, mode), text);
        }
    }

    #[test]
    fn columns_are_aligned() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let lines = table(&[row(["name", "free", "x"]), row(["a", "12", "y"])], &[1]);
        assert_eq!(lines, ["name  free  x", "a       12  y"]);
    }
}
