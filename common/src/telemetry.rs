//! Telemetry: what a program says about itself while it runs, on stderr.
//!
//! Levels: error when a human must act; warn when we coped; info for the life of the process; debug for requests. No secret,
//! name or path is ever a field. Data goes to stdout and never through here.

use std::fmt;
use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What `--log-format` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Text that names no log format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no log format {text:?}; there are text and json")]
pub struct LogFormatError {
    pub text: String,
}

/// Logging could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("the filter in {variable} is malformed; write it like info or common=debug,warn")]
    Filter {
        variable: &'static str,
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    #[error("logging was started already")]
    Twice,
}

impl FromStr for LogFormat {
    type Err = LogFormatError;
    fn from_str(text: &str) -> Result<Self, LogFormatError> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(LogFormatError { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// Starts logging to stderr for the whole process. `SHOAL_LOG`, or else `RUST_LOG`, overrides `default_filter`; colours only on
/// a terminal and without `NO_COLOR`.
///
/// # Errors
/// On a malformed filter, or when it was started before.
pub fn start(format: LogFormat, default_filter: &str) -> Result<(), TelemetryError> {
    let filter = filter(default_filter)?;
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colour);
    let registry = tracing_subscriber::registry().with(filter);
    let started = match format {
        LogFormat::Text => registry.with(lines).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    started.map_err(|_| TelemetryError::Twice)
}

fn filter(default_filter: &str) -> Result<Targets, TelemetryError> {
    for variable in ["SHOAL_LOG", "RUST_LOG"] {
        let Ok(text) = std::env::var(variable) else { continue };
        if !text.is_empty() {
            return text.parse().map_err(|source| TelemetryError::Filter { variable, source });
        }
    }
    default_filter.parse().map_err(|source| TelemetryError::Filter { variable: "the program", source })
}

/// An error and its causes on one line, for log fields.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_parse_and_an_unknown_one_names_the_known() {
        for format in [LogFormat::Text, LogFormat::Json] {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert!("xml".parse::<LogFormat>().unwrap_err().to_string().contains("json"));
    }

    #[test]
    fn a_chain_prints_every_cause() {
        let inner = std::io::Error::other("no space");
        let error = crate::disk::DiskError::Io { action: "write", path: "x".into(), source: inner };
        assert_eq!(chain(&error), "cannot write x: no space");
    }
}
