//! Explain: what went wrong, why, and what to do next; and the exit code that tells it to programs.

use std::process::ExitCode;

use common::id::IdError;
use common::proto::Refusal;
use common::proto::refusal::What;
use common::telemetry::{self, TelemetryError};
use common::transport::BindError;
use directory::admin::AdminError;
use directory::authority::KeyError;
use directory::config::ConfigError;
use directory::init::InitError;
use directory::kv::OpenError;
use directory::serve::ServeError;

pub(super) const USAGE: u8 = 2;
const FAILURE: u8 = 1;
const NOT_INITIALISED: u8 = 10;
const CONFLICT: u8 = 11;
const REFUSED: u8 = 12;
const UNREACHABLE: u8 = 13;
const INTEGRITY: u8 = 14;

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Init(#[from] InitError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error("cannot write the answer")]
    Output(#[source] std::io::Error),
    #[error("no signals can be waited for")]
    Signal(#[source] std::io::Error),
    #[error("no threads can be started")]
    Runtime(#[source] std::io::Error),
    #[error("{0}")]
    Usage(&'static str),
    #[error("{0} things were found that are not mended")]
    Found(u64),
    #[error("an account's name has at most {} bytes", common::limits::LABEL_BYTES)]
    AccountName,
    #[error(transparent)]
    Id(IdError),
}

/// Prints a failure as a chain, with what to do next, and gives its exit code.
pub(super) fn tell(failure: &Failure) -> ExitCode {
    let (code, next) = advice(failure);
    let mut text = format!("error: {}\n", telemetry::chain(failure));
    if let Some(next) = next {
        text.push_str("next: ");
        text.push_str(next);
        text.push('\n');
    }
    std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()).ok(); // there is no one else to tell
    ExitCode::from(code)
}

fn advice(failure: &Failure) -> (u8, Option<&'static str>) {
    match failure {
        Failure::Init(error) => of_init(error),
        Failure::Serve(error) => of_serve(error),
        Failure::Admin(error) => of_admin(error),
        Failure::Usage(_) | Failure::AccountName | Failure::Id(_) => (USAGE, Some("see: shoal-directory help")),
        Failure::Found(_) => (
            INTEGRITY,
            Some("mend what can be mended: shoal-directory fsck --data DIR --repair; for the rest see DURABILITY.md"),
        ),
        Failure::Telemetry(_) => (USAGE, None),
        Failure::Output(_) | Failure::Signal(_) | Failure::Runtime(_) => (FAILURE, None),
    }
}

fn of_init(error: &InitError) -> (u8, Option<&'static str>) {
    match error {
        InitError::Exists { .. } => (
            CONFLICT,
            Some("name a folder that does not exist yet, or serve what is there: shoal-directory serve --data DIR"),
        ),
        InitError::Disk(_)
        | InitError::Io { .. }
        | InitError::Keys(_)
        | InitError::Config(_)
        | InitError::Store(_)
        | InitError::Commit(_)
        | InitError::Close(_)
        | InitError::Record(_) => (FAILURE, None),
    }
}

fn of_serve(error: &ServeError) -> (u8, Option<&'static str>) {
    match error {
        ServeError::Config(ConfigError::NotInitialised { .. }) => {
            (NOT_INITIALISED, Some("make a cluster first: shoal-directory init --data DIR"))
        }
        ServeError::Open(OpenError::InUse { .. }) => {
            (CONFLICT, Some("end the process that uses it, or ask it: shoal-directory status --data DIR"))
        }
        ServeError::Open(
            OpenError::Newer { .. }
            | OpenError::Foreign { .. }
            | OpenError::Malformed { .. }
            | OpenError::JournalShort { .. }
            | OpenError::Journal(_),
        )
        | ServeError::OtherStore => (INTEGRITY, Some("do not go on with this folder; restore it from a copy")),
        ServeError::Keys(KeyError::Certificate(_) | KeyError::Statement(_)) => {
            (FAILURE, Some("restore the key files of the data folder, with mode 0600"))
        }
        ServeError::Unspecified { .. } => {
            (USAGE, Some("say where others reach it: --advertise HOST:PORT at init, or `advertise` in directory.toml"))
        }
        ServeError::Advertise { .. } => (USAGE, Some("write it like directory.example.org:7400, at most four")),
        ServeError::Bind(BindError::Variable { .. }) => (USAGE, None),
        ServeError::Bind(_) => {
            (FAILURE, Some("choose another address: shoal-directory serve --data DIR --listen ADDR"))
        }
        ServeError::Note(Refusal::Full { .. }) => (FAILURE, Some("make space on the disk")),
        _ => (FAILURE, None),
    }
}

fn of_admin(error: &AdminError) -> (u8, Option<&'static str>) {
    match error {
        AdminError::Serve(error) => of_serve(error),
        AdminError::Starting => (UNREACHABLE, Some("try again in a moment")),
        AdminError::NoPort => (UNREACHABLE, Some("start it first: shoal-directory serve --data DIR")),
        AdminError::Call(_) => (UNREACHABLE, Some("see the log of the serving directory")),
        AdminError::Bind(_) => (FAILURE, None),
        AdminError::Refused(Refusal::NotFound(What::Account)) => {
            (FAILURE, Some("see what there is: shoal-directory account list --data DIR"))
        }
        AdminError::Refused(Refusal::NotFound(_)) => (FAILURE, Some("see: shoal-directory status --data DIR")),
        AdminError::Refused(Refusal::Malformed | Refusal::TooLarge(_)) => {
            (USAGE, Some("see: shoal-directory help ticket"))
        }
        AdminError::Refused(Refusal::StillHolds(_)) => (
            REFUSED,
            Some(
                "empty it first: shoal-directory peer drain --data DIR ID; or, if it will not come back: peer remove --lost",
            ),
        ),
        AdminError::Refused(Refusal::Revoked | Refusal::WrongRole) => (REFUSED, None),
        AdminError::NotServing => (UNREACHABLE, Some("start it first: shoal-directory serve --data DIR")),
        AdminError::Refused(_) => (FAILURE, None),
    }
}
