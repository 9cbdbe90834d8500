//! Done: what a caller was answered to a request, so that its repetition is answered alike and done once.

use common::bounded::BoundedBytes;
use common::limits::VALUE_BYTES;
use common::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Record;

/// What an answer may take in a record.
pub const ANSWER_BYTES: usize = VALUE_BYTES - 256;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// BLAKE3 of the request's kind and content, cut: another request under the same id is refused.
    pub digest: [u8; 16],
    pub answer: BoundedBytes<ANSWER_BYTES>,
    pub at: Timestamp,
}

impl Record for Done {
    const NAME: &'static str = "done request";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::record::golden;

    #[test]
    fn is_golden() {
        golden(
            &Done { digest: [1; 16], answer: vec![7, 8].try_into().unwrap(), at: Timestamp(5) },
            "010101010101010101010101010101010102070805",
        );
    }
}
