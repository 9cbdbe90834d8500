//! Files: open segments for reading, and never more than some of them.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};

use super::disk::{Disk, DiskFile};
use super::segment::{lock, segment_name};

/// With two descriptors each far below the usual limit of 1,024, and 32 GiB of segments.
const OPEN_FILES: usize = 128;

#[derive(Debug)]
pub(crate) struct Files {
    disk: Arc<dyn Disk>,
    open: Mutex<Open>,
}

#[derive(Default, Debug)]
struct Open {
    files: HashMap<u32, Arc<dyn DiskFile>>,
    oldest_first: VecDeque<u32>,
}

impl Files {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, open: Mutex::default() }
    }

    /// The segment's file, if it is open.
    pub(crate) fn opened(&self, segment: u32) -> Option<Arc<dyn DiskFile>> {
        lock(&self.open).files.get(&segment).cloned()
    }

    /// The segment is removed: its room comes back when nobody has it open.
    pub(crate) fn forget(&self, segment: u32) {
        let mut open = lock(&self.open);
        open.files.remove(&segment);
        open.oldest_first.retain(|kept| *kept != segment);
    }

    /// The segment's file. Whoever has it may go on reading when it is no longer kept here. Blocking.
    pub(crate) fn get(&self, segment: u32) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(file) = self.opened(segment) {
            return Ok(file);
        }
        let file = self.disk.open(&segment_name(segment))?;
        let mut open = lock(&self.open);
        if open.files.insert(segment, Arc::clone(&file)).is_none() {
            open.oldest_first.push_back(segment);
        }
        if open.oldest_first.len() > OPEN_FILES
            && let Some(oldest) = open.oldest_first.pop_front()
        {
            open.files.remove(&oldest);
        }
        Ok(file)
    }
}
