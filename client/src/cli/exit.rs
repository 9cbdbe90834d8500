//! Exit: the codes that `shoal` ends with. Scripts rely on them: a number never changes its meaning.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    Ok,
    Failure,
    Usage,
    /// Some of what was asked is done, and what is not was named.
    Partly,
    NotInitialised,
    /// Somebody else was faster, or holds a lock.
    Conflict,
    /// Authentication, authorisation, passphrase or ticket.
    Authentication,
    /// The directory or too many peers cannot be reached.
    Unreachable,
    /// What was stored is not what came back.
    Integrity,
    /// The account may not use more.
    Quota,
    Interrupted,
}

impl Exit {
    pub const ALL: [Self; 11] = [
        Self::Ok,
        Self::Failure,
        Self::Usage,
        Self::Partly,
        Self::NotInitialised,
        Self::Conflict,
        Self::Authentication,
        Self::Unreachable,
        Self::Integrity,
        Self::Quota,
        Self::Interrupted,
    ];

    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Partly => 3,
            Self::NotInitialised => 10,
            Self::Conflict => 11,
            Self::Authentication => 12,
            Self::Unreachable => 13,
            Self::Integrity => 14,
            Self::Quota => 15,
            Self::Interrupted => 130,
        }
    }

    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done",
            Self::Failure => "failed",
            Self::Usage => "the command line is wrong",
            Self::Partly => "partly done; what failed was named",
            Self::NotInitialised => "this device has not joined a cluster",
            Self::Conflict => "changed by somebody else meanwhile, exists already, or locked",
            Self::Authentication => "refused: identity, passphrase or ticket",
            Self::Unreachable => "the directory or too many peers cannot be reached",
            Self::Integrity => "what came back is not what was stored",
            Self::Quota => "the account's quota is reached",
            Self::Interrupted => "interrupted",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// What stands at the end of `shoal --help`.
#[must_use]
pub fn help() -> String {
    let mut text = String::from("Exit codes:\n");
    for exit in Exit::ALL {
        text.push_str(&format!("  {:>3}  {}\n", exit.code(), exit.meaning()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_never_change_and_are_all_in_the_help() {
        assert_eq!(Exit::ALL.map(Exit::code), [0, 1, 2, 3, 10, 11, 12, 13, 14, 15, 130]);
        for exit in Exit::ALL {
            assert!(help().contains(&format!("{:>3}  {}", exit.code(), exit.meaning())));
        }
    }
}
