//! Unlocked: a key that was opened with its passphrase once, usable for a chosen time without it.
//!
//! No process stays behind for it. The master key is sealed once more under a random *unlock key*, into the home; the unlock key is
//! kept by the kernel, in the user's keyring, and forgotten by it when the time is over, at the latest when the machine goes down.
//! Where there is no keyring (some containers), it is a file in `XDG_RUNTIME_DIR`, which must lie in memory.
//!
//! Guarantees: neither half opens anything by itself; the time is part of what is sealed, so it cannot be stretched by
//! changing a file; locking removes both halves.
//!
//! Non-goals: protection against other programs of the same user while it is unlocked: they could read the memory of `shoal` as
//! well. A file in `XDG_RUNTIME_DIR` may be swapped out to disk, a key in the kernel is not; and nothing but the next command
//! removes the file when its time is over.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::disk::{self, DiskError};
use common::id::DeviceId;
use common::time::Timestamp;
use data_encoding::HEXLOWER;
use linux_keyutils::{Key, KeyError, KeyPermissionsBuilder, KeyRing, KeyRingIdentifier, Permission};
use zeroize::Zeroizing;

use crate::keys::{KEY_BYTES, MasterKey, random};
use crate::seal::aead::{self, Place, SealError};

/// The half in the home.
const FILE: &str = "unlocked";
const MAGIC: &[u8; 8] = b"SHOALUL1";
const FORMAT: u8 = 1;
const ID_BYTES: usize = 16;
/// Where the other half is put, when there is no keyring.
const RUNTIME_VARIABLE: &str = "XDG_RUNTIME_DIR";
/// `statfs` calls file systems in memory so: tmpfs and ramfs.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// Who keeps the unlock key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    Kernel,
    File,
}

/// Why a key cannot be unlocked for a time.
#[derive(Debug, thiserror::Error)]
pub enum UnlockError {
    #[error("the kernel's keyring is not available here: {0}")]
    Keyring(KeyError),
    #[error("{RUNTIME_VARIABLE} is not set")]
    NoRuntimeFolder,
    #[error("{} is not in memory: what lies there would survive a restart", path.display())]
    NotInMemory { path: PathBuf },
    #[error("cannot look at {}", path.display())]
    Look {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("neither the kernel's keyring ({keyring}) nor {RUNTIME_VARIABLE} can keep a key here ({file})")]
    NoKeeper { keyring: Box<UnlockError>, file: Box<UnlockError> },
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("the key cannot be sealed")]
    Seal(#[from] SealError),
}

type Id = [u8; ID_BYTES];

/// Keeps the key open until `now + span`.
///
/// # Errors
/// When nobody can keep the unlock key, or the home cannot be written.
pub fn unlock(
    home: &Path,
    device: DeviceId,
    master: &MasterKey,
    now: Timestamp,
    span: Duration,
    keeper: Option<Keeper>,
) -> Result<Keeper, UnlockError> {
    lock(home)?;
    let (id, key): (Id, _) = (random(), Zeroizing::new(random::<KEY_BYTES>()));
    let until = now.plus(span);
    let sealed = aead::seal(&*key, &place(device, &id, until), FORMAT, &master.0)?;
    let kept = match keeper {
        Some(Keeper::Kernel) => to_kernel(&id, &key, span).map(|()| Keeper::Kernel)?,
        Some(Keeper::File) => to_file(&id, &key).map(|()| Keeper::File)?,
        None => match to_kernel(&id, &key, span) {
            Ok(()) => Keeper::Kernel,
            Err(keyring) => match to_file(&id, &key) {
                Ok(()) => Keeper::File,
                Err(file) => {
                    return Err(UnlockError::NoKeeper { keyring: Box::new(keyring), file: Box::new(file) });
                }
            },
        },
    };
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&id);
    bytes.extend_from_slice(&until.0.to_le_bytes());
    bytes.extend_from_slice(&sealed);
    if let Err(error) = disk::replace_durably(&home.join(FILE), &bytes) {
        forget(&id);
        return Err(error.into());
    }
    Ok(kept)
}

/// The key, if it is unlocked now. What is wrong with either half counts as locked.
#[must_use]
pub fn find(home: &Path, device: DeviceId, now: Timestamp) -> Option<MasterKey> {
    let half = Half::read(home)?;
    if half.until <= now {
        lock(home).ok(); // its time is over; the next command tries again
        return None;
    }
    let key = from_kernel(&half.id).or_else(|| from_file(&half.id))?;
    aead::open(&key, &place(device, &half.id, half.until), FORMAT, &half.sealed).ok().map(MasterKey)
}

/// Removes both halves. Whether there was anything to remove.
///
/// # Errors
/// When the half in the home cannot be removed.
pub fn lock(home: &Path) -> Result<bool, DiskError> {
    let half = Half::read(home);
    if let Some(half) = &half {
        forget(&half.id);
    }
    let path = home.join(FILE);
    match fs::remove_file(&path) {
        Ok(()) => Ok(half.is_some()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(DiskError::Io { action: "remove", path, source }),
    }
}

/// The half in the home.
struct Half {
    id: Id,
    until: Timestamp,
    sealed: Vec<u8>,
}

impl Half {
    fn read(home: &Path) -> Option<Self> {
        let bytes = disk::read_private(&home.join(FILE)).ok()?;
        let (id, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<ID_BYTES>()?;
        let (until, sealed) = rest.split_first_chunk::<8>()?;
        Some(Self { id: *id, until: Timestamp(u64::from_le_bytes(*until)), sealed: sealed.to_vec() })
    }
}

fn place(device: DeviceId, id: &Id, until: Timestamp) -> Place {
    let place = Place::new("the unlocked key", "shoal v1 unlocked key");
    place.with(&device.0).with(id).with(&until.0.to_le_bytes())
}

fn described(id: &Id) -> String {
    format!("shoal:{}", HEXLOWER.encode(id))
}

fn user_keyring() -> Result<KeyRing, KeyError> {
    KeyRing::from_special_id(KeyRingIdentifier::User, false)
}

fn to_kernel(id: &Id, key: &[u8; KEY_BYTES], span: Duration) -> Result<(), UnlockError> {
    let kept = user_keyring().and_then(|ring| ring.add_key(&described(id), key)).map_err(UnlockError::Keyring)?;
    // Any process of the user may read it, whether or not its session is linked to the user's keyring: so cron jobs can.
    let allowed = Permission::VIEW | Permission::READ | Permission::SEARCH | Permission::WRITE | Permission::SETATTR;
    let allowed = KeyPermissionsBuilder::builder().posessor(Permission::ALL).user(allowed).build();
    let seconds = usize::try_from(span.as_millis().div_ceil(1000)).unwrap_or(usize::MAX);
    // It must not stay for ever, and be readable, before it is of use.
    let set = kept.set_timeout(seconds).and_then(|()| kept.set_perms(allowed));
    let read = set.map_err(UnlockError::Keyring).map(|()| from_kernel(id));
    if !matches!(&read, Ok(Some(read)) if **read == *key) {
        kept.invalidate().ok();
        return Err(read.err().unwrap_or(UnlockError::Keyring(KeyError::AccessDenied)));
    }
    Ok(())
}

fn in_kernel(id: &Id) -> Option<Key> {
    user_keyring().ok()?.search(&described(id)).ok()
}

fn from_kernel(id: &Id) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let read = in_kernel(id)?.read(&mut *key).ok()?;
    (read == KEY_BYTES).then_some(key)
}

/// The folder of ours in the user's runtime folder.
fn runtime_folder() -> Result<PathBuf, UnlockError> {
    let path = std::env::var_os(RUNTIME_VARIABLE).filter(|path| !path.is_empty());
    path.map(|path| PathBuf::from(path).join("shoal")).ok_or(UnlockError::NoRuntimeFolder)
}

fn to_file(id: &Id, key: &[u8; KEY_BYTES]) -> Result<(), UnlockError> {
    let folder = runtime_folder()?;
    disk::create_folder(&folder)?;
    let found = rustix::fs::statfs(&folder)
        .map_err(|error| UnlockError::Look { path: folder.clone(), source: error.into() })?;
    if !u64::try_from(found.f_type).is_ok_and(|kind| IN_MEMORY.contains(&kind)) {
        return Err(UnlockError::NotInMemory { path: folder });
    }
    Ok(disk::create_private(&folder.join(HEXLOWER.encode(id)), key)?)
}

fn from_file(id: &Id) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let bytes = disk::read_private(&runtime_folder().ok()?.join(HEXLOWER.encode(id))).ok()?;
    bytes.as_slice().try_into().ok().map(Zeroizing::new)
}

fn forget(id: &Id) {
    if let Some(key) = in_kernel(id) {
        key.invalidate().ok(); // then it goes when its time is over
    }
    if let Ok(folder) = runtime_folder() {
        fs::remove_file(folder.join(HEXLOWER.encode(id))).ok(); // it may be there or not
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);
    const DEVICE: DeviceId = DeviceId([4; 16]);
    const HOUR: Duration = Duration::from_secs(3600);

    /// Whoever can keep a key on this machine; tests of real processes look at each.
    fn unlocked(home: &Path) -> bool {
        let kept = unlock(home, DEVICE, &MasterKey([7; 32]), NOW, HOUR, None);
        if let Err(UnlockError::NoKeeper { .. }) = kept {
            eprintln!("skipped: nobody can keep a key on this machine");
            return false;
        }
        kept.unwrap();
        true
    }

    #[test]
    fn a_key_is_open_for_its_time_on_its_device_and_until_it_is_locked() {
        let home = tempfile::tempdir().unwrap();
        let at = |seconds| find(home.path(), DEVICE, NOW.plus(Duration::from_secs(seconds)));
        assert!(at(0).is_none());
        if !unlocked(home.path()) {
            return;
        }
        assert_eq!(at(0), Some(MasterKey([7; 32])));
        assert_eq!(at(3599), Some(MasterKey([7; 32])));
        assert!(find(home.path(), DeviceId([5; 16]), NOW).is_none());
        let half = fs::read(home.path().join(FILE)).unwrap();
        assert!(!half.windows(32).any(|window| window == [7; 32]));
        assert!(at(3600).is_none() && !home.path().join(FILE).exists(), "its time is over");
        assert!(unlocked(home.path()) && at(0).is_some());
        assert!(lock(home.path()).unwrap() && at(0).is_none());
        assert!(!lock(home.path()).unwrap());
    }

    #[test]
    fn the_time_cannot_be_stretched_and_half_of_it_is_nothing() {
        let home = tempfile::tempdir().unwrap();
        if !unlocked(home.path()) {
            return;
        }
        let path = home.path().join(FILE);
        let half = fs::read(&path).unwrap();
        let mut stretched = half.clone();
        stretched[26] ^= 1;
        disk::replace_durably(&path, &stretched).unwrap();
        assert!(find(home.path(), DEVICE, NOW).is_none());
        disk::replace_durably(&path, &half).unwrap();
        assert!(find(home.path(), DEVICE, NOW).is_some());
        lock(home.path()).unwrap();
        disk::replace_durably(&path, &half).unwrap();
        assert!(find(home.path(), DEVICE, NOW).is_none(), "the kernel or the file has forgotten its half");
        for bytes in [&b""[..], b"SHOALUL1", &half[..30]] {
            disk::replace_durably(&path, bytes).unwrap();
            assert!(find(home.path(), DEVICE, NOW).is_none());
        }
    }
}
