//! Repack: packs that are made of content that is stored already, outside of any put.

use std::sync::Arc;

use common::id::VersionId;
use common::redundancy::Redundancy;

use super::chunk::{on_a_core, store_sealed};
use super::upload::Upload;
use super::{Up, UpError};
use crate::cancel::Cancel;
use crate::manifest::Extent;
use crate::pack::{PackBuilder, PackError};
use crate::seal::{Compression, Digest, Verified};
use crate::session::Session;
use crate::transfer::{Fanout, Progress, PutOptions};

/// Stores packs for one redundancy, and holds them until it ends.
pub(crate) struct Packer {
    up: Arc<Up>,
    upload: Arc<Upload>,
}

impl Packer {
    /// Opens an upload.
    pub(crate) async fn begin(
        session: &Session,
        redundancy: Redundancy,
        cancel: &Cancel,
        progress: Arc<dyn Progress>,
    ) -> Result<Self, UpError> {
        let options = PutOptions {
            redundancy,
            fanout: Fanout::Star,
            compression: Compression::Auto,
            cancel: cancel.clone(),
            progress,
        };
        let up = Up::new(session, &options);
        let upload = up.shared().await?;
        Ok(Self { up, upload })
    }

    /// The upload that holds what was stored.
    pub(crate) fn upload(&self) -> VersionId {
        self.upload.version
    }

    /// Stores these contents in a pack; their extents, in order, and the bytes that were sent.
    ///
    /// # Errors
    /// When they are too many for a pack, or it cannot be stored.
    pub(crate) async fn store(&self, contents: Vec<(Digest, Verified)>) -> Result<(Vec<Extent>, u64), UpError> {
        let Ok(permit) = Arc::clone(&self.up.in_flight).acquire_owned().await else { return Err(UpError::Interrupted) };
        let packer = Arc::clone(&self.up);
        let pack = on_a_core(&self.up, move || {
            let mut builder = PackBuilder::new(&packer.pool);
            for (digest, content) in contents {
                builder.push_named(content.bytes(), digest, &packer.keys)?;
            }
            Ok::<_, PackError>(builder.finish(&packer.keys))
        });
        let Some(mut pack) = pack.await?? else { return Ok((Vec::new(), 0)) };
        let extents = std::mem::take(&mut pack.extents);
        let stored = store_sealed(&self.up, &self.upload, pack.sealed, pack.secret, permit).await?;
        Ok((extents, stored.sent))
    }

    /// Lets the upload go; what versions refer to by now stays.
    pub(crate) async fn end(self) {
        let Self { up, upload } = self;
        drop(up.shared.lock().await.take());
        drop(upload);
        up.abandon_open().await;
    }
}
