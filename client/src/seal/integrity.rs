//! Integrity: what is wrong with bytes that came from directory or peers. None of it is the user's fault.

use common::codec::CodecError;

/// Bytes that are not what the holder of the keys once stored there. Never a reason to hand any of them on.
#[derive(Debug, thiserror::Error)]
pub enum IntegrityError {
    #[error("content does not match its digest")]
    Digest,
    #[error("{what} was not sealed by this account for this place")]
    Unauthentic { what: &'static str },
    #[error("{what} is sealed under key {number} of this account, which this device does not have")]
    OtherKey { what: &'static str, number: u32 },
    #[error("{what} has format {found}, and this program knows up to {known}: use a newer program")]
    NewerFormat { what: &'static str, found: u8, known: u8 },
    #[error("content was stored with codec {codec}, which this program does not know: use a newer program")]
    UnknownCodec { codec: u8 },
    #[error("content does not decompress")]
    Frame,
    #[error("{what} is malformed")]
    Malformed {
        what: &'static str,
        #[source]
        source: CodecError,
    },
    #[error("{what} contradicts itself: {field}")]
    Inconsistent { what: &'static str, field: &'static str },
    #[error("manifest page {found} came in the place of page {wanted}")]
    WrongPage { wanted: u32, found: u32 },
    #[error("manifest page {page} begins at byte {found} of the file and not at {wanted}")]
    Gap { page: u32, wanted: u64, found: u64 },
    #[error("the manifest has {found} {what} and the version {wanted}")]
    Total { what: &'static str, wanted: u64, found: u64 },
    #[error("a run of {found} bytes came in the place of one of {wanted}")]
    Length { wanted: u32, found: usize },
}
