//! Enrolment: what a ticket's one-time secret proves, and to whom.
//!
//! ```text
//! ticket id = BLAKE3 derive_key("shoal 2026 ticket id", secret), first 16 bytes     names the ticket
//! verifier  = BLAKE3 derive_key("shoal 2026 ticket verifier", secret)               all that the directory keeps
//! proof     = BLAKE3 keyed(verifier, TLS exporter (32 bytes) || signing request)    bound to this session and this key
//! ```
//!
//! A man in the middle has a TLS session of his own on either side, so a proof that he hears fits neither another session nor
//! another signing request.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::id::TicketId;

/// Label of the TLS exporter (RFC 8446, 7.5).
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER shoal enrolment";

const ID_CONTEXT: &str = "shoal 2026 ticket id";
const VERIFIER_CONTEXT: &str = "shoal 2026 ticket verifier";

/// What the directory keeps in place of a ticket's secret. Whoever has it can use the ticket up, so it is kept like a secret;
/// the ticket's line itself cannot be made from it.
pub type Verifier = Zeroizing<[u8; 32]>;

/// The public name of the ticket with this secret.
#[must_use]
pub fn ticket_id(secret: &[u8; 32]) -> TicketId {
    let digest = blake3::derive_key(ID_CONTEXT, secret);
    let mut id = [0; 16];
    id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    TicketId(id)
}

#[must_use]
pub fn verifier(secret: &[u8; 32]) -> Verifier {
    Zeroizing::new(blake3::derive_key(VERIFIER_CONTEXT, secret))
}

/// What the joiner sends.
#[must_use]
pub fn proof(verifier: &[u8; 32], exporter: &[u8; 32], signing_request: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(verifier);
    hasher.update(exporter);
    hasher.update(signing_request);
    hasher.finalize().into()
}

/// Whether a proof is right; takes the same time either way.
#[must_use]
pub fn proves(verifier: &[u8; 32], exporter: &[u8; 32], signing_request: &[u8], given: &[u8; 32]) -> bool {
    proof(verifier, exporter, signing_request).ct_eq(given).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_its_secret_session_and_request_alone() {
        let known = verifier(&[1; 32]);
        let given = proof(&known, &[2; 32], b"request");
        assert!(proves(&known, &[2; 32], b"request", &given));
        assert!(!proves(&verifier(&[9; 32]), &[2; 32], b"request", &given));
        assert!(!proves(&known, &[3; 32], b"request", &given));
        assert!(!proves(&known, &[2; 32], b"another", &given));
    }

    #[test]
    fn ids_and_proofs_are_golden() {
        assert_eq!(ticket_id(&[1; 32]).to_string(), GOLDEN_ID);
        let given = proof(&verifier(&[1; 32]), &[2; 32], b"request");
        assert_eq!(data_encoding::HEXLOWER.encode(&given), GOLDEN_PROOF);
    }

    const GOLDEN_ID: &str = "a962e8fe106be255d916e978e21c63a4";
    const GOLDEN_PROOF: &str = "4bf450f476520e5b517fdea4aa24072d1697cc77ad797df08a5319d699a7e431";
}
