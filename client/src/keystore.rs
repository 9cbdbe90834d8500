//! Keystore: the device's home, a folder with its identity and the account's master key.
//!
//! Guarantees: a home appears whole and durable, or not at all, and is never overwritten; secrets are mode 0600 and refused when
//! others could read them; a home of a newer format is refused. Layout: docs/FORMATS.md.
//!
//! Beside it: the file of the master key and its passphrase ([`master`], [`wrap`]), a key that is open for a time ([`unlocked`]),
//! and one that is carried elsewhere ([`export`]).
//!
//! Non-goals: locking (of a home only the certificate and the key's files change, each replaced whole).

pub mod export;
pub mod master;
pub mod unlocked;
pub mod wrap;

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use common::disk::{self, DiskError};
use common::id::{AccountId, ClusterId, DeviceId, NodeId};
use common::time::Clock;
use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use self::master::MasterFile;
use self::wrap::WrapError;
use crate::keys::MasterKey;

/// Names the home where no `--home` is given.
pub const HOME_VARIABLE: &str = "SHOAL_HOME";

const FORMAT: u32 = 1;
const DEVICE: &str = "device.json";
const AUTHORITY: &str = "ca.der";
const CERTIFICATE: &str = "device.crt";
pub(crate) const PRIVATE_KEY: &str = "device.key";

/// What a home knows of its cluster, its account and itself. Bounded by the length of a small file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    #[serde(with = "as_text")]
    pub cluster: ClusterId,
    #[serde(with = "as_text")]
    pub account: AccountId,
    pub account_name: String,
    #[serde(with = "as_text")]
    pub root: NodeId,
    #[serde(with = "as_text")]
    pub device: DeviceId,
    /// Where the directory can be reached, `host:port`.
    pub directory: Vec<String>,
    /// What maps and grants are signed with (Ed25519), hex.
    #[serde(with = "as_hex")]
    pub statement_key: [u8; 32],
    /// Of the cluster's authority, hex.
    #[serde(with = "as_hex")]
    pub ca_fingerprint: [u8; 32],
}

/// DER of what the device shows and checks.
#[derive(Clone)]
pub struct Credentials {
    pub authority: Vec<u8>,
    pub certificate: Vec<u8>,
    /// PKCS #8.
    pub private_key: Zeroizing<Vec<u8>>,
}

/// A home but for its master key: who the device is, and how it shows that.
#[derive(Debug)]
pub struct Identity {
    pub path: PathBuf,
    pub device: Device,
    pub credentials: Credentials,
}

/// An opened home.
#[derive(Debug)]
pub struct Home {
    pub path: PathBuf,
    pub device: Device,
    pub credentials: Credentials,
    pub master: MasterKey,
}

/// Why there is no home to work with.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    #[error("this platform has no config folder; name a home with --home DIR or {HOME_VARIABLE}")]
    NoConfigFolder(#[source] etcetera::HomeDirError),
    #[error("no device has joined at {}; run: shoal join TICKET", path.display())]
    NotJoined { path: PathBuf },
    #[error("{} is the home of a device already, and is not overwritten; name another one with --home DIR", path.display())]
    AlreadyJoined { path: PathBuf },
    #[error("{} is not empty, and is not overwritten; name another folder with --home DIR", path.display())]
    NotEmpty { path: PathBuf },
    #[error("{} has format {found}, and this program knows up to {FORMAT}: use a newer program", path.display())]
    Newer { path: PathBuf, found: u32 },
    #[error("{} is damaged; restore it, or join again with another home and the recovery phrase", path.display())]
    Damaged { path: PathBuf },
    #[error("there is no master key at {}", path.display())]
    NoKey { path: PathBuf },
    #[error("the master key at {} is damaged", path.display())]
    KeyDamaged { path: PathBuf },
    #[error("the master key at {} is locked with a passphrase", path.display())]
    Locked { path: PathBuf },
    #[error("the master key at {} does not open", path.display())]
    Wrap {
        path: PathBuf,
        #[source]
        source: WrapError,
    },
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("cannot {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// The home's folder: the flag's, else the variable's, else `shoal` in the platform's config folder.
///
/// # Errors
/// When none of them says where.
pub fn locate(flag: Option<&Path>, variable: Option<OsString>) -> Result<PathBuf, HomeError> {
    if let Some(path) = flag {
        return Ok(path.to_owned());
    }
    if let Some(path) = variable.filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let base = etcetera::base_strategy::choose_native_strategy().map_err(HomeError::NoConfigFolder)?;
    Ok(base.config_dir().join("shoal"))
}

#[derive(Serialize, Deserialize)]
struct Versioned {
    format: u32,
}

#[derive(Serialize)]
struct Stored<'a> {
    format: u32,
    device: &'a Device,
}

#[derive(Deserialize)]
struct Loaded {
    device: Device,
}

impl Home {
    /// Fails early where [`create`](Self::create) would refuse: before a ticket is used up.
    ///
    /// # Errors
    /// [`HomeError::AlreadyJoined`] or [`HomeError::NotEmpty`].
    pub fn check_free(path: &Path) -> Result<(), HomeError> {
        match fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(taken(path)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(source) => Err(HomeError::Io { action: "look into", path: path.to_owned(), source }),
        }
    }

    /// Makes a home: written beside its place, synced, then renamed into it. An empty folder in its place is replaced.
    ///
    /// # Errors
    /// When there is something in its place, or the file system refuses; nothing is left then.
    pub fn create(path: &Path, device: Device, credentials: Credentials, master: MasterKey) -> Result<Self, HomeError> {
        Self::check_free(path)?;
        // `/a/b/.` and a missing file name have no place beside them.
        let Some(name) = path.file_name() else { return Err(HomeError::NotEmpty { path: path.to_owned() }) };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !parent.is_dir() {
            disk::create_folder(parent)?;
        }
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}.joining", std::process::id()));
        let temporary = parent.join(temporary);
        fs::remove_dir_all(&temporary).ok(); // left by a killed process of the same number
        let home = Self { path: path.to_owned(), device, credentials, master };
        let made = home.write(&temporary).and_then(|()| {
            fs::rename(&temporary, path).map_err(|source| match source.kind() {
                ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists | ErrorKind::NotADirectory => taken(path),
                _ => HomeError::Io { action: "rename into", path: path.to_owned(), source },
            })
        });
        if let Err(error) = made {
            fs::remove_dir_all(&temporary).ok(); // best effort: the first error is the one to tell
            return Err(error);
        }
        disk::sync_folder(parent)?;
        Ok(home)
    }

    fn write(&self, folder: &Path) -> Result<(), HomeError> {
        disk::create_folder(folder)?;
        let stored = Stored { format: FORMAT, device: &self.device };
        let damaged = |_| HomeError::Damaged { path: folder.join(DEVICE) };
        let text = serde_json::to_vec_pretty(&stored).map_err(damaged)?;
        disk::create_private(&folder.join(DEVICE), &text)?;
        disk::create_private(&folder.join(AUTHORITY), &self.credentials.authority)?;
        disk::create_private(&folder.join(CERTIFICATE), &self.credentials.certificate)?;
        disk::create_private(&folder.join(PRIVATE_KEY), &self.credentials.private_key)?;
        disk::create_private(&folder.join(master::FILE), &master::plain(&self.master))?;
        disk::sync_folder(folder)?;
        Ok(())
    }

    /// Reads a home whose key is in the open, or unlocked for now.
    ///
    /// # Errors
    /// As [`Identity::open`] and [`MasterFile::read`]; and [`HomeError::Locked`] where a passphrase is needed.
    pub fn open(path: &Path) -> Result<Self, HomeError> {
        let identity = Identity::open(path)?;
        let master = match MasterFile::read(path)? {
            MasterFile::Plain(master) => master,
            MasterFile::Wrapped(_) => unlocked::find(path, identity.device.device, Clock::System.now())
                .ok_or_else(|| HomeError::Locked { path: path.join(master::FILE) })?,
        };
        Ok(identity.with(master))
    }

    /// Puts a renewed certificate (for the same key) in the place of the old one.
    ///
    /// # Errors
    /// When the file system refuses; the old one is then still there.
    pub fn replace_certificate(&mut self, certificate: Vec<u8>) -> Result<(), HomeError> {
        disk::replace_durably(&self.path.join(CERTIFICATE), &certificate)?;
        self.credentials.certificate = certificate;
        Ok(())
    }
}

impl Identity {
    /// Reads a home, but for its master key.
    ///
    /// # Errors
    /// When there is none, it is of a newer format, damaged, or others could have read its secrets.
    pub fn open(path: &Path) -> Result<Self, HomeError> {
        let described = path.join(DEVICE);
        let text = disk::read_small(&described).map_err(|error| {
            if error.is_missing() { HomeError::NotJoined { path: path.to_owned() } } else { error.into() }
        })?;
        let damaged = |_| HomeError::Damaged { path: described.clone() };
        let Versioned { format } = serde_json::from_slice(&text).map_err(damaged)?;
        if format > FORMAT {
            return Err(HomeError::Newer { path: described, found: format });
        }
        let Loaded { device } = serde_json::from_slice(&text).map_err(damaged)?;
        let credentials = Credentials {
            authority: disk::read_small(&path.join(AUTHORITY))?,
            certificate: disk::read_small(&path.join(CERTIFICATE))?,
            private_key: disk::read_private(&path.join(PRIVATE_KEY))?,
        };
        Ok(Self { path: path.to_owned(), device, credentials })
    }

    /// The whole home, with a key that was opened, or that is to be tried.
    #[must_use]
    pub fn with(self, master: MasterKey) -> Home {
        let Self { path, device, credentials } = self;
        Home { path, device, credentials, master }
    }
}

fn taken(path: &Path) -> HomeError {
    let path = path.to_owned();
    if path.join(DEVICE).exists() { HomeError::AlreadyJoined { path } } else { HomeError::NotEmpty { path } }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// Ids as hex, for people who look into the file.
mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::{fmt::Display, str::FromStr};

    pub(super) fn serialize<T: Display, S: Serializer>(id: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub(super) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

mod as_hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&blake3::Hash::from_bytes(*bytes).to_hex())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(from)?;
        blake3::Hash::from_hex(text).map(Into::into).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
