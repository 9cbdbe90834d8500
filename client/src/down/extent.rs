//! Extent: single runs, for whoever is not reading files.

use std::sync::Arc;

use common::proto::parts::Placement;

use super::manifest::Run;
use super::{Down, DownError, fetch};
use crate::manifest::{Extent, Located};
use crate::seal::Verified;
use crate::session::Session;
use crate::transfer::GetOptions;

/// Reads runs, one by one or several at once.
#[derive(Clone)]
pub(crate) struct ExtentReader(Arc<Down>);

impl ExtentReader {
    pub(crate) fn new(session: &Session, options: &GetOptions) -> Self {
        Self(Down::new(session, options))
    }

    /// One run, from whoever has it.
    pub(crate) async fn read(&self, extent: Extent, placement: Arc<Placement>) -> Result<Verified, DownError> {
        let _permit = self.0.ahead.permit().await;
        fetch::extent(&self.0, &Run::own(Located { offset: 0, extent }, placement)).await
    }
}
