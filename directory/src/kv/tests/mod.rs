//! What both engines promise, and what the embedded one survives.

mod contract;
mod folder;
mod format;
mod halfway;
mod model;
mod power;
mod torn;

use std::path::Path;

use common::id::ClusterId;
use common::size::ByteSize;

use super::embedded::{Embedded, Options};
use super::open::OpenError;
use super::{Check, CommitError, Entry, Meta, Store, Write};

pub(super) const CLUSTER: ClusterId = ClusterId([7; 16]);

pub(super) fn options() -> Options {
    Options { reserve: ByteSize(0), segment_bytes: ByteSize(4_096), index_cache: ByteSize::mib(1) }
}

pub(super) fn open(dir: &Path) -> Result<Embedded, OpenError> {
    Embedded::open(dir, CLUSTER, &options())
}

pub(super) fn put(key: &[u8], value: &[u8]) -> Write {
    Write::Put { key: key.to_vec(), value: value.to_vec() }
}

pub(super) fn delete(key: &[u8]) -> Write {
    Write::Delete { key: key.to_vec() }
}

pub(super) fn amend(key: &[u8], value: &[u8], version: u64) -> Write {
    Write::Amend { key: key.to_vec(), value: value.to_vec(), version }
}

pub(super) fn check(key: &[u8], version: Option<u64>) -> Check {
    Check { key: key.to_vec(), version }
}

/// A runtime for one test; the engine's writer is a thread of its own.
pub(super) fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap().block_on(work)
}

pub(super) async fn commit(store: &dyn Store, writes: Vec<Write>) -> Result<u64, CommitError> {
    store.commit(vec![], writes, Meta::default()).await
}

pub(super) async fn all(store: &dyn Store) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut from = Vec::new();
    loop {
        let page = store.scan(&from, &[255; 200], 100).await.unwrap();
        let next = page.next();
        entries.extend(page.entries);
        let Some(next) = next else { return entries };
        from = next;
    }
}
