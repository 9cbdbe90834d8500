//! Init: a new cluster in a new data folder. Built beside it and renamed into place, so that a kill leaves no half of one.

use common::boxed::Boxed;
use std::fs;
use std::path::{Path, PathBuf};

use common::disk::{self, DiskError};
use common::id::ClusterId;
use common::redundancy::Redundancy;
use common::time::Clock;

use crate::authority::{KeyError, Keys};
use crate::config::{ConfigError, STORE, Settings};
use crate::kv::embedded::Embedded;

use crate::kv::{self, CommitError, OpenError, Store, Write};
use crate::schema::{Cluster, RecordError, key, record};

/// Why there is no new cluster.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error("{} exists already and is not empty", path.display())]
    Exists { path: PathBuf },
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("cannot {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the store cannot be made")]
    Store(#[from] OpenError),
    #[error("the store cannot be written")]
    Commit(#[from] CommitError),
    #[error("the store cannot be closed")]
    Close(#[source] kv::StoreError),
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// What may be chosen.
#[derive(Debug, Clone)]
pub struct InitOptions {
    pub listen: String,
    pub advertise: Vec<String>,
    pub redundancy: Redundancy,
}

/// Makes a new cluster. Blocks, and must run within a tokio runtime.
///
/// # Errors
/// [`InitError::Exists`] when there is something in the folder; it stays as it is.
pub fn init<'a>(data: &'a Path, options: InitOptions, clock: &'a Clock) -> Boxed<'a, Result<ClusterId, InitError>> {
    Box::pin(async move {
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |source| InitError::Io { action, path, source }
        };
        let data = &std::path::absolute(data).map_err(io("find", data))?;
        match fs::read_dir(data).map(|mut items| items.next().is_some()) {
            Ok(true) => return Err(InitError::Exists { path: data.to_owned() }),
            Ok(false) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
                return Err(InitError::Exists { path: data.to_owned() });
            }
            Err(error) => return Err(io("look into", data)(error)),
        }
        let cluster = ClusterId::random();
        let name = data.file_name().unwrap_or_default().to_string_lossy();
        let building = data.with_file_name(format!(".{name}.{}.new", cluster.short()));
        disk::create_folder(&building)?;
        let built = build(&building, cluster, options, clock).await;
        if let Err(error) = built {
            fs::remove_dir_all(&building).ok(); // best effort: the first error is the one to tell
            return Err(error);
        }
        // Takes the place of an empty folder, and of no other.
        if let Err(source) = fs::rename(&building, data) {
            fs::remove_dir_all(&building).ok();
            return Err(io("make", data)(source));
        }
        let above = data.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        disk::sync_folder(above)?;
        Ok(cluster)
    })
}

async fn build(folder: &Path, cluster: ClusterId, options: InitOptions, clock: &Clock) -> Result<(), InitError> {
    let now = clock.now();
    Keys::create(folder, cluster, now)?;
    let InitOptions { listen, advertise, redundancy } = options;
    Settings { cluster, listen, advertise, redundancy }.save(folder)?;
    let store = Embedded::open(&folder.join(STORE), cluster, &kv::embedded::Options::default())?;
    let value = record::encode(&Cluster { cluster, made: now })?;
    let write = Write::Put { key: key::cluster().into_bytes(), value };
    store.commit(Vec::new(), vec![write], kv::Meta { time: now, ..kv::Meta::default() }).await?;
    store.close().await.map_err(InitError::Close)
}
