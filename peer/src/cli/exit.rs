//! Exit: from an error to the text and the exit code that people and scripts get.

use std::error::Error;
use std::process::ExitCode;

use common::disk::DiskError;
use common::proto::Refusal;
use common::telemetry::chain;
use common::transport::{BindError, CallError};
use peer::ServeError;
use peer::draft::DraftError;
use peer::folder::FolderError;
use peer::join::JoinError;
use peer::status::StatusError;
use peer::store::StoreError;

const FAILURE: u8 = 1;
const USAGE: u8 = 2;
const NOT_JOINED: u8 = 10;
const CONFLICT: u8 = 11;
const AUTHENTICATION: u8 = 12;
const UNREACHABLE: u8 = 13;
pub(super) const INTERRUPTED: u8 = 130;

/// An error with its exit code.
pub(super) struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    fn new(code: u8, error: &(dyn Error + 'static)) -> Self {
        Self { code, text: chain(error) }
    }

    pub(super) fn other(error: impl Error + 'static) -> Self {
        Self::new(FAILURE, &error)
    }

    pub(super) fn usage(error: impl Error + 'static) -> Self {
        Self::new(USAGE, &error)
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

fn code_of_disk(error: &DiskError) -> u8 {
    match error {
        DiskError::Exists { .. } | DiskError::InUse { .. } => CONFLICT,
        DiskError::Io { .. }
        | DiskError::TooOpen { .. }
        | DiskError::TooLong { .. }
        | DiskError::Newer { .. }
        | DiskError::OtherFormat { .. } => FAILURE,
    }
}

fn code_of_folder(error: &FolderError) -> u8 {
    match error {
        FolderError::NotJoined { .. } => NOT_JOINED,
        FolderError::Disk(error) => code_of_disk(error),
        FolderError::Settings { .. }
        | FolderError::Value { .. }
        | FolderError::Unwritable { .. }
        | FolderError::Certificate(_) => FAILURE,
    }
}

fn code_of_bind(error: &BindError) -> u8 {
    if matches!(error, BindError::Address { .. } | BindError::Variable { .. }) { USAGE } else { FAILURE }
}

fn code_of_call(error: &CallError) -> u8 {
    match error {
        CallError::Refused(Refusal::Ticket(_) | Refusal::Revoked | Refusal::WrongRole | Refusal::Forbidden)
        | CallError::Handshake(_) => AUTHENTICATION,
        CallError::Refused(_) => FAILURE,
        _ => UNREACHABLE,
    }
}

impl From<JoinError> for Failure {
    fn from(error: JoinError) -> Self {
        let code = match &error {
            JoinError::Ticket(_) | JoinError::OtherRole { .. } => AUTHENTICATION,
            JoinError::Setting { .. } | JoinError::LoopbackOnly { .. } => USAGE,
            JoinError::Draft(DraftError::NotEmpty { .. }) => CONFLICT,
            JoinError::Draft(DraftError::Name { .. }) => USAGE,
            JoinError::Draft(DraftError::Disk(error)) => code_of_disk(error),
            JoinError::Bind(error) => code_of_bind(error),
            JoinError::Unreachable { source, .. } => {
                let trust = source.as_ref().is_some_and(|source| source.handshake().is_some());
                if trust { AUTHENTICATION } else { UNREACHABLE }
            }
            JoinError::Refused(error) | JoinError::BrokenOff(error) => code_of_call(error),
            JoinError::Folder(error) => code_of_folder(error),
            JoinError::Disk(error) => code_of_disk(error),
            JoinError::Misbehaved { .. }
            | JoinError::Identity(_)
            | JoinError::Key(_)
            | JoinError::Trust(_)
            | JoinError::Known(_)
            | JoinError::Draft(DraftError::Io { .. })
            | JoinError::Ending => FAILURE,
        };
        Self::new(code, &error)
    }
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        let code = match &error {
            ServeError::Folder(error) => code_of_folder(error),
            ServeError::Store(StoreError::InUse { .. }) => CONFLICT,
            ServeError::Setting { .. } => USAGE,
            ServeError::Bind(error) => code_of_bind(error),
            ServeError::Disk(error) => code_of_disk(error),
            ServeError::Store(_)
            | ServeError::Known(_)
            | ServeError::Trust(_)
            | ServeError::NotIssued
            | ServeError::Worker(_)
            | ServeError::EndedEarly => FAILURE,
        };
        Self::new(code, &error)
    }
}

impl From<StatusError> for Failure {
    fn from(error: StatusError) -> Self {
        let code = match &error {
            StatusError::Folder(error) => code_of_folder(error),
            StatusError::Known(_) | StatusError::Certificate(_) | StatusError::Io { .. } => FAILURE,
        };
        Self::new(code, &error)
    }
}
