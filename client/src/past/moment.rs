//! Moment: the sequence that a time is, and the exact time of the state that it shows.

use std::fmt;
use std::time::Duration;

use common::proto::directory::{self, FindMoment};
use common::time::Timestamp;

use super::{PastError, When, snapshot};
use crate::session::Session;

const SECOND: Duration = Duration::from_secs(1);

/// A state of the account's tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub sequence: u64,
    /// When the change was that left this state; now, for what is current.
    pub at: Timestamp,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (@{})", self.at, self.sequence)
    }
}

/// Finds the state that was current then.
///
/// # Errors
/// In the future, before the beginning, and where there is no such snapshot.
pub async fn find(session: &Session, when: &When) -> Result<Moment, PastError> {
    let asked = match when {
        When::Now => directory::When::Now,
        When::At(at) => directory::When::At(*at),
        When::Ago(age) => directory::When::Ago(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        When::Sequence(sequence) => directory::When::Sequence(*sequence),
        When::Snapshot(name) => directory::When::Sequence(snapshot::sequence(session, name).await?),
    };
    let mut found = session.call_directory(&FindMoment { when: asked }).await?;
    // This very second is typed without what is left of it.
    if found.asked > found.now && found.asked.since(found.now) < SECOND {
        found = session.call_directory(&FindMoment { when: directory::When::Now }).await?;
    }
    if let Some(moment) = found.moment {
        return Ok(Moment { sequence: moment.sequence, at: moment.at });
    }
    let Some(first) = found.first else { return Err(PastError::Nothing) };
    Err(match asked {
        directory::When::Sequence(sequence) if sequence > found.last => {
            PastError::SequenceTooLate { sequence, last: found.last }
        }
        directory::When::Sequence(sequence) => PastError::SequenceTooEarly { sequence, first: first.sequence },
        _ if found.asked > found.now => PastError::Future { asked: found.asked, now: found.now },
        _ => {
            let first = Moment { sequence: first.sequence, at: first.at };
            PastError::BeforeTheBeginning { asked: found.asked, first }
        }
    })
}
