//! Seen: numbers of the directory's that only grow, of which a device's home keeps the highest, each in a file of its own as decimal text.

use std::path::Path;

use common::disk;
use tracing::warn;

/// One of them, by its file.
#[derive(Debug, Clone, Copy)]
pub struct Seen(&'static str);

impl Seen {
    /// The directory's generation.
    pub(super) const GENERATION: Self = Self("generation");
    /// The last conflict that the user was told of.
    pub(crate) const CONFLICT: Self = Self("conflict");

    /// The highest one seen; 0 before the first.
    pub(super) fn known(self, home: &Path) -> u64 {
        let bytes = disk::read_small(&home.join(self.0)).unwrap_or_default();
        std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    /// Durably. Two commands at once may write the lower number last: what rests on it is weaker by that much then, and never wrong.
    pub(crate) fn remember(self, home: &Path, seen: u64) {
        if seen <= self.known(home) {
            return;
        }
        if let Err(error) = disk::replace_durably(&home.join(self.0), format!("{seen}\n").as_bytes()) {
            warn!(%error, file = self.0, "what was seen was not remembered");
        }
    }
}
