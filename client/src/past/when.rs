//! When: what is typed for a time in the past. Pure.
//!
//! | typed | meaning |
//! |---|---|
//! | `now` | as it is |
//! | `@1234` | the state that this sequence of the journal left |
//! | `90s`, `30m`, `2h`, `3d`, `1w`, `1d12h` | so long ago, by the directory's clock |
//! | `2026-11-21` | the beginning of that day, in UTC |
//! | `2026-11-21T14:00:00Z`, `2026-11-21 14:00+01:00` | that time, to the end of the second, as times are shown; the offset must be there |
//! | `2026-11-21T14:00:00.250Z` | exactly then |
//! | anything else | the snapshot of that name |

use std::str::FromStr;
use std::time::Duration;

use common::time::Timestamp;

/// A point in the account's past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    Now,
    Sequence(u64),
    Ago(Duration),
    At(Timestamp),
    Snapshot(String),
}

/// Text that is no time, and cannot be a snapshot's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WhenError {
    #[error("it is empty; write a time like 2026-11-21T14:00:00Z, an age like 2h, or a snapshot's name")]
    Empty,
    #[error("a sequence is @ and a number, like @1234")]
    Sequence,
    #[error("no such time; write it like 2026-11-21T14:00:00Z or 2026-11-21T14:00:00+01:00, or a day like 2026-11-21")]
    Time,
    #[error("a time needs its offset: add Z for UTC, or one like +01:00")]
    NoOffset,
    #[error("an age that is too long")]
    TooLong,
}

impl FromStr for When {
    type Err = WhenError;

    fn from_str(text: &str) -> Result<Self, WhenError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(WhenError::Empty);
        }
        if text == "now" {
            return Ok(Self::Now);
        }
        if let Some(number) = text.strip_prefix('@') {
            let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
            return number.parse().ok().filter(|_| digits).map(Self::Sequence).ok_or(WhenError::Sequence);
        }
        if let Some(age) = age(text)? {
            return Ok(Self::Ago(age));
        }
        if looks_like_a_time(text) {
            return time(text).map(Self::At);
        }
        Ok(Self::Snapshot(text.to_owned()))
    }
}

/// `1d12h`; `None` for what is no age at all.
fn age(text: &str) -> Result<Option<Duration>, WhenError> {
    let (mut seconds, mut number) = (0_u64, None::<u64>);
    for letter in text.chars() {
        if let Some(digit) = letter.to_digit(10) {
            let so_far = number.unwrap_or(0).checked_mul(10).and_then(|n| n.checked_add(digit.into()));
            number = Some(so_far.ok_or(WhenError::TooLong)?);
            continue;
        }
        let unit = match letter {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 7 * 86_400,
            _ => return Ok(None),
        };
        let Some(count) = number.take() else { return Ok(None) };
        let part = count.checked_mul(unit).ok_or(WhenError::TooLong)?;
        seconds = seconds.checked_add(part).ok_or(WhenError::TooLong)?;
    }
    Ok(if number.is_none() { Some(Duration::from_secs(seconds)) } else { None })
}

/// `2026-` begins a time and nothing else.
fn looks_like_a_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() > 4 && bytes.iter().take(4).all(u8::is_ascii_digit) && bytes.get(4) == Some(&b'-')
}

fn time(text: &str) -> Result<Timestamp, WhenError> {
    let (day, clock) = text.split_at_checked(10).ok_or(WhenError::Time)?;
    let [year, month, day] = numbers(day, '-', [4, 2, 2])?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return Err(WhenError::Time),
    };
    if !(1..=longest).contains(&day) {
        return Err(WhenError::Time);
    }
    let midnight = days_from_civil(year, month, day) * 86_400_000;
    let millis = if clock.is_empty() { midnight } else { midnight + clock_millis(clock)? };
    // What lies before 1970 lies before any beginning.
    Ok(Timestamp(u64::try_from(millis).unwrap_or(0)))
}

/// `T14:00:00.5+01:00`, in milliseconds since midnight UTC.
fn clock_millis(text: &str) -> Result<i64, WhenError> {
    let text = text.strip_prefix(['T', 't', ' ']).ok_or(WhenError::Time)?;
    let (clock, offset) = match text.find(['Z', 'z', '+', '-']) {
        None => return Err(WhenError::NoOffset),
        Some(at) => text.split_at_checked(at).ok_or(WhenError::Time)?,
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let [hour, minute, second] = match clock.len() {
        5 => {
            let [hour, minute] = numbers(clock, ':', [2, 2])?;
            [hour, minute, 0]
        }
        _ => numbers(clock, ':', [2, 2, 2])?,
    };
    if hour > 23 || minute > 59 || second > 60 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(WhenError::Time);
    }
    let fraction = if fraction.is_empty() { "999" } else { fraction };
    let thousandths: String = fraction.chars().chain("000".chars()).take(3).collect();
    let millis: i64 = thousandths.parse().map_err(|_| WhenError::Time)?;
    let behind = match offset {
        "Z" | "z" => 0,
        _ => {
            let (sign, offset) = offset.split_at_checked(1).ok_or(WhenError::Time)?;
            let [hours, minutes] = numbers(offset, ':', [2, 2])?;
            if hours > 23 || minutes > 59 {
                return Err(WhenError::Time);
            }
            (hours * 60 + minutes) * if sign == "-" { -1 } else { 1 }
        }
    };
    Ok(((hour * 60 + minute - behind) * 60 + second) * 1_000 + millis)
}

/// Numbers of exactly these lengths, with a separator between them.
fn numbers<const N: usize>(text: &str, separator: char, lengths: [usize; N]) -> Result<[i64; N], WhenError> {
    let mut parts = text.split(separator);
    let mut found = [0; N];
    for (number, length) in found.iter_mut().zip(lengths) {
        let part = parts.next().filter(|part| part.len() == length && part.bytes().all(|b| b.is_ascii_digit()));
        *number = part.and_then(|part| part.parse().ok()).ok_or(WhenError::Time)?;
    }
    if parts.next().is_some() { Err(WhenError::Time) } else { Ok(found) }
}

/// Days since 1970 of a date of the Gregorian calendar, counted in years that begin in March, so that leap days are last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_typed_is_what_is_meant() {
        let ago = |seconds| When::Ago(Duration::from_secs(seconds));
        let at = |millis| When::At(Timestamp(millis));
        for (text, expected) in [
            ("now", When::Now),
            ("@1234", When::Sequence(1_234)),
            ("90s", ago(90)),
            ("2h", ago(7_200)),
            ("3d", ago(259_200)),
            ("1w", ago(604_800)),
            ("1d12h", ago(129_600)),
            ("2026-11-21", at(1_795_219_200_000)),
            ("2026-11-21T14:08:29Z", at(1_795_270_109_999)),
            ("2026-11-21T14:08:29.0Z", at(1_795_270_109_000)),
            ("2026-11-21t15:08:29.25+01:00", at(1_795_270_109_250)),
            ("2026-11-21 09:08-05:00", at(1_795_270_080_999)),
            ("2000-02-29T00:00:00Z", at(951_782_400_999)),
            ("1969-12-31", at(0)),
            ("before-the-trip", When::Snapshot("before-the-trip".to_owned())),
            ("3 days", When::Snapshot("3 days".to_owned())),
            ("2h30", When::Snapshot("2h30".to_owned())),
            ("2026", When::Snapshot("2026".to_owned())),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for (text, error) in [
            ("", WhenError::Empty),
            ("@", WhenError::Sequence),
            ("@+5", WhenError::Sequence),
            ("2026-02-29", WhenError::Time),
            ("2026-13-01", WhenError::Time),
            ("2026-11-21T25:00:00Z", WhenError::Time),
            ("2026-11-21T14:00:00", WhenError::NoOffset),
            ("2026-11-21X", WhenError::Time),
            ("99999999999999999999d", WhenError::TooLong),
        ] {
            assert_eq!(text.parse::<When>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_printed_time_is_read_back(seconds in 0..253_402_300_799_u64) {
            let time = Timestamp(seconds * 1_000);
            let end = Timestamp(time.0 + 999);
            prop_assert_eq!(time.to_string().parse::<When>(), Ok(When::At(end)));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}", digits in "[0-9T:+Zé-]{0,30}") {
            text.parse::<When>().ok();
            digits.parse::<When>().ok();
        }
    }
}
