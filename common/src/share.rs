//! Share: what the secret in a link to a shared file or folder proves, and to whom.
//!
//! ```text
//! share id     = BLAKE3 derive_key("shoal 2026 share id", secret), first 16 bytes      names the share
//! verifier     = BLAKE3 derive_key("shoal 2026 share verifier", secret)                all that the directory keeps
//! proof        = BLAKE3 keyed(verifier, 1 || cluster || reader's id)                   with every request of a reader
//! guest proof  = BLAKE3 keyed(verifier, 2 || TLS exporter (32 bytes) || signing request)
//! ```
//!
//! A reader's proof is bound to the identity of its certificate, so who hears it can use it nowhere; a guest's, who has no
//! certificate yet, to its TLS session and key. The keys that read are in the link beside the secret, and follow from neither.
//!
//! Non-goals: keeping a reader from handing the link on. Whoever has it may read until it expires or is revoked.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::id::{ClusterId, DeviceId, ShareId};

const ID_CONTEXT: &str = "shoal 2026 share id";
const VERIFIER_CONTEXT: &str = "shoal 2026 share verifier";

/// The secret of one share. Made by the device that shares, kept in the link alone.
pub type Secret = Zeroizing<[u8; 32]>;

/// The public name of the share with this secret.
#[must_use]
pub fn share_id(secret: &[u8; 32]) -> ShareId {
    let digest = blake3::derive_key(ID_CONTEXT, secret);
    let mut id = [0; 16];
    id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    ShareId(id)
}

/// What the directory keeps. Whoever has it can pose as a reader towards this directory, and still opens nothing.
#[must_use]
pub fn verifier(secret: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(blake3::derive_key(VERIFIER_CONTEXT, secret))
}

/// What a reader shows; `reader` is a device's or a guest's id.
#[must_use]
pub fn proof(verifier: &[u8; 32], cluster: ClusterId, reader: DeviceId) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(verifier);
    hasher.update(&[1]).update(cluster.as_bytes()).update(reader.as_bytes());
    hasher.finalize().into()
}

/// What somebody shows who wants to become a guest.
#[must_use]
pub fn guest_proof(verifier: &[u8; 32], exporter: &[u8; 32], signing_request: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(verifier);
    hasher.update(&[2]).update(exporter).update(signing_request);
    hasher.finalize().into()
}

/// Whether two proofs are the same; takes the same time either way.
#[must_use]
pub fn same(wanted: &[u8; 32], given: &[u8; 32]) -> bool {
    wanted.ct_eq(given).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_verifier_and_proofs_never_change_and_are_bound_to_whom_they_are_of() {
        let (id, verifier) = (share_id(&[7; 32]), verifier(&[7; 32]));
        let (cluster, reader) = (ClusterId([1; 16]), DeviceId([2; 16]));
        let shown = proof(&verifier, cluster, reader);
        assert_ne!(shown, proof(&verifier, cluster, DeviceId([3; 16])));
        assert_ne!(shown, proof(&verifier, ClusterId([3; 16]), reader));
        assert_ne!(shown, proof(&[9; 32], cluster, reader));
        let guest = guest_proof(&verifier, &[4; 32], b"request");
        assert_ne!(guest, guest_proof(&verifier, &[5; 32], b"request"));
        assert_ne!(guest, guest_proof(&verifier, &[4; 32], b"another"));
        assert!(same(&shown, &shown) && !same(&shown, &guest));
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes.get(..8).unwrap_or(bytes));
        let golden = [hex(id.as_bytes()), hex(&*verifier), hex(&shown), hex(&guest)];
        assert_eq!(golden, ["60fce28df3df0e85", "0ddbe8868a9f3550", "669f9f0267446811", "48c50f6425c7da2c"]);
    }
}
