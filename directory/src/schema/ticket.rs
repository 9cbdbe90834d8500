//! Ticket: who may still enrol with it. Its secret is not kept; what is kept can check a proof and nothing else.

use common::id::AccountId;
use common::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Record;

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    pub verifier: [u8; 32],
    pub role: Role,
    pub uses_left: u32,
    pub expires: Timestamp,
}

/// Whom it enrols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    Peer,
    /// A device of this account.
    Client(AccountId),
}

impl Record for Ticket {
    const NAME: &'static str = "ticket";
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ticket({:?}, {} uses left, until {})", self.role, self.uses_left, self.expires)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::record::golden;

    #[test]
    fn is_golden_and_does_not_print_its_verifier() {
        let mut record =
            Ticket { verifier: [1; 32], role: Role::Client(AccountId([2; 16])), uses_left: 3, expires: Timestamp(5) };
        golden(
            &record,
            "01010101010101010101010101010101010101010101010101010101010101010101020202020202020202020202020202020305",
        );
        assert!(!format!("{record:?}").contains("1, 1"));
        record.role = Role::Peer;
        golden(&record, "010101010101010101010101010101010101010101010101010101010101010101000305");
    }
}
