//! Checked: statements of the directory whose signature was found good lately.
//!
//! A signature costs 50 us to check and a second look at it 1 us; one grant is shown thousands of times. That a statement is genuine does
//! not say that it holds: whose it is and until when is checked each time.

use std::sync::{Mutex, PoisonError};

use common::identity::StatementPublic;
use common::proto::Refusal;
use common::proto::refusal::GrantFault;
use common::signed::{Signed, SignedError, Statement};

use crate::recent::Recent;

pub(crate) struct Checked<T>(Mutex<Recent<[u8; 32], T>>);

impl<T: Statement + Clone> Checked<T> {
    pub(crate) fn new(limit: usize) -> Self {
        Self(Mutex::new(Recent::new(limit)))
    }

    /// What it says, if the signature is the directory's.
    ///
    /// # Errors
    /// [`Refusal::Grant`], [`Refusal::Malformed`].
    pub(crate) fn read(&self, signed: &Signed<T>, public: &StatementPublic) -> Result<T, Refusal> {
        let fingerprint = signed.fingerprint();
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(statement) = known().get(&fingerprint) {
            return Ok(statement.clone());
        }
        let statement = signed.verify(public).map_err(|error| match error {
            SignedError::Signature { .. } => Refusal::Grant(GrantFault::Signature),
            SignedError::Malformed { .. } => Refusal::Malformed,
        })?;
        known().insert(fingerprint, statement.clone());
        Ok(statement)
    }
}
