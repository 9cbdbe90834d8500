//! Folder: what lies in a peer's data folder, and its settings.
//!
//! ```text
//! format        "shoal peer 1"                     written last: a folder without it has not joined
//! lock          held while a process serves
//! ca.pem        the cluster's authority
//! peer.pem      this peer's certificate            replaced when it is renewed
//! peer.key      its private key, mode 0600         made here, never sent
//! peer.toml     settings: a human may edit them while nothing serves
//! known         what the peer must not forget      see `known`
//! scrub         where the scrubber is              see `scrub`
//! listening     the address of the process that serves
//! store/        the shards                         see `store`
//! ```

use std::path::{Path, PathBuf};

use common::disk::{self, DiskError};
use common::id::{ClusterId, PeerId};
use common::identity::{CertificateError, PrivateKey, StatementPublic, certificate};
use common::limits::{ADDRESS_BYTES, ADDRESSES, LABEL_BYTES};
use common::size::ByteSize;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

/// The name and the version in the file `format`.
pub const FORMAT_NAME: &str = "peer";
pub const FORMAT: u32 = 1;

/// A data folder that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("{} is not the data folder of a peer that has joined; run: shoal-peer join TICKET --data {}", path.display(), path.display())]
    NotJoined { path: PathBuf },
    #[error("{} is malformed: {}", path.display(), source.message())]
    Settings { path: PathBuf, source: Box<toml::de::Error> },
    #[error("{} is malformed: {what}", path.display())]
    Value { path: PathBuf, what: String },
    #[error("{} cannot be written", path.display())]
    Unwritable {
        path: PathBuf,
        #[source]
        source: toml::ser::Error,
    },
    #[error("this peer cannot show who it is; restore the file from a copy, or join anew in another folder")]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// What a peer is and how it was told to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub cluster: ClusterId,
    pub peer: PeerId,
    /// What maps and grants are checked with.
    pub statement_key: StatementPublic,
    /// Where the directory was when the peer joined; the cluster map says where it is.
    pub directory: Vec<String>,
    pub listen: String,
    pub advertise: Vec<String>,
    pub label: String,
    pub zone: String,
    pub capacity: Option<ByteSize>,
}

/// The same as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    cluster: String,
    peer: String,
    statement_key: String,
    directory: Vec<String>,
    listen: String,
    #[serde(default)]
    advertise: Vec<String>,
    #[serde(default)]
    label: String,
    #[serde(default)]
    zone: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    capacity: Option<String>,
}

impl Settings {
    /// # Errors
    /// When the file is missing, malformed, has an unknown key, or a value out of bounds.
    pub fn load(path: &Path) -> Result<Self, FolderError> {
        let bytes = disk::read_small(path)?;
        let value = |what: String| FolderError::Value { path: path.to_owned(), what };
        let text = std::str::from_utf8(&bytes).map_err(|_| value("it is not text".to_owned()))?;
        let file: File = toml::from_str(text)
            .map_err(|source| FolderError::Settings { path: path.to_owned(), source: Box::new(source) })?;
        Self::checked(file).map_err(value)
    }

    fn checked(file: File) -> Result<Self, String> {
        if file.format != FORMAT {
            return Err(format!("it has format {}, and this program knows {FORMAT}: use a newer program", file.format));
        }
        let key = file.statement_key.parse::<Key>().map_err(|error| error.to_string())?;
        for (name, list) in [("directory", &file.directory), ("advertise", &file.advertise)] {
            check_addresses(list).map_err(|what| format!("{name}: {what}"))?;
        }
        for (name, text) in [("label", &file.label), ("zone", &file.zone)] {
            check_label(text).map_err(|what| format!("{name}: {what}"))?;
        }
        Ok(Self {
            cluster: file.cluster.parse().map_err(|error| format!("cluster: {error}"))?,
            peer: file.peer.parse().map_err(|error| format!("peer: {error}"))?,
            statement_key: StatementPublic(key.0),
            directory: file.directory,
            listen: file.listen,
            advertise: file.advertise,
            label: file.label,
            zone: file.zone,
            capacity: file
                .capacity
                .map(|text| text.parse())
                .transpose()
                .map_err(|error| format!("capacity: {error}"))?,
        })
    }

    /// # Errors
    /// When there is such a file already, or the disk refuses.
    pub fn save(&self, path: &Path) -> Result<(), FolderError> {
        let file = File {
            format: FORMAT,
            cluster: self.cluster.to_string(),
            peer: self.peer.to_string(),
            statement_key: Key(self.statement_key.0).to_string(),
            directory: self.directory.clone(),
            listen: self.listen.clone(),
            advertise: self.advertise.clone(),
            label: self.label.clone(),
            zone: self.zone.clone(),
            capacity: self.capacity.map(|size| size.0.to_string()),
        };
        let unwritable = |source| FolderError::Unwritable { path: path.to_owned(), source };
        let text = toml::to_string(&file).map_err(unwritable)?;
        Ok(disk::create_private(path, text.as_bytes())?)
    }
}

/// 32 bytes in hex: two ids' worth.
struct Key([u8; 32]);

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::str::FromStr for Key {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "statement_key: not 64 hex digits";
        let digits = text.as_bytes();
        if digits.len() != 64 || !text.is_ascii() {
            return Err(WRONG);
        }
        let mut key = [0; 32];
        for (byte, pair) in key.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| WRONG)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| WRONG)?;
        }
        Ok(Self(key))
    }
}

/// Whether these can be told to others as places where one can be reached.
///
/// # Errors
/// What is wrong, for a human.
pub fn check_addresses(addresses: &[String]) -> Result<(), String> {
    if addresses.len() > ADDRESSES {
        return Err(format!("{} addresses, at most {ADDRESSES} are taken", addresses.len()));
    }
    for address in addresses {
        let parts = address.rsplit_once(':');
        let port = parts.and_then(|(host, port)| if host.is_empty() { None } else { port.parse::<u16>().ok() });
        if address.len() > ADDRESS_BYTES || port.is_none_or(|port| port == 0) {
            return Err(format!("not an address: {address:?}; write it like host.example:7401 or 192.0.2.7:7401"));
        }
    }
    Ok(())
}

/// Whether this will do as the name of a peer or a zone.
///
/// # Errors
/// What is wrong, for a human.
pub fn check_label(text: &str) -> Result<(), String> {
    if text.len() > LABEL_BYTES || text.chars().any(char::is_control) {
        return Err(format!("{text:?} is no name: at most {LABEL_BYTES} bytes, without control characters"));
    }
    Ok(())
}

/// Where things lie in a data folder.
#[derive(Debug, Clone)]
pub struct Layout(PathBuf);

macro_rules! files {
    ($($name:ident = $file:literal),*) => {$(
        #[must_use]
        pub fn $name(&self) -> PathBuf {
            self.0.join($file)
        }
    )*};
}

impl Layout {
    #[must_use]
    pub fn new(data: &Path) -> Self {
        Self(data.to_owned())
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    files! {
        authority = "ca.pem", certificate = "peer.pem", key = "peer.key", settings = "peer.toml", known = "known",
        scrub = "scrub", listening = "listening", lock = "lock", store = "store", segments = "store/segments"
    }
}

/// A data folder that was read, not locked.
pub struct Joined {
    pub layout: Layout,
    pub settings: Settings,
    pub authority: CertificateDer<'static>,
    pub certificate: CertificateDer<'static>,
    pub key: PrivateKey,
}

impl Joined {
    /// # Errors
    /// [`FolderError::NotJoined`] when there is no such folder; else what is wrong with it.
    pub fn load(data: &Path) -> Result<Self, FolderError> {
        match disk::check_format(data, FORMAT_NAME, FORMAT) {
            Ok(_) => {}
            Err(error) if error.is_missing() => return Err(FolderError::NotJoined { path: data.to_owned() }),
            Err(error) => return Err(error.into()),
        }
        let layout = Layout::new(data);
        Ok(Self {
            settings: Settings::load(&layout.settings())?,
            authority: certificate::load_certificate(&layout.authority())?,
            certificate: certificate::load_certificate(&layout.certificate())?,
            key: PrivateKey::load(&layout.key())?,
            layout,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            cluster: ClusterId([1; 16]),
            peer: PeerId([2; 16]),
            statement_key: StatementPublic([0xab; 32]),
            directory: vec!["127.0.0.1:7400".to_owned()],
            listen: "127.0.0.1:0".to_owned(),
            advertise: vec![],
            label: "host".to_owned(),
            zone: "cellar".to_owned(),
            capacity: Some(ByteSize(500_000_000_000)),
        }
    }

    #[test]
    fn settings_survive_the_disk_and_people() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peer.toml");
        settings().save(&path).unwrap();
        assert_eq!(Settings::load(&path).unwrap(), settings());
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("\"500000000000\"", "\"500GB\"")).unwrap();
        assert_eq!(Settings::load(&path).unwrap(), settings());
    }

    #[test]
    fn unknown_keys_other_formats_and_values_out_of_bounds_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peer.toml");
        settings().save(&path).unwrap();
        let good = std::fs::read_to_string(&path).unwrap();
        let check = |bad: String, named: &str| {
            std::fs::write(&path, bad).unwrap();
            let error = Settings::load(&path).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        };
        check(format!("{good}colour = \"blue\"\n"), "colour");
        check(good.replace("format = 1", "format = 2"), "format 2");
        check(good.replace("127.0.0.1:7400", "nowhere"), "directory");
        check(good.replace("500000000000", "much"), "capacity");
        check(good.replace("cellar", &"x".repeat(65)), "zone");
        check(good.replace("abab", "xyxy"), "statement_key");
    }

    #[test]
    fn addresses_name_a_host_and_a_port() {
        for good in ["a:1", "192.0.2.7:7401", "[::1]:7401", "host.example:65535"] {
            assert_eq!(check_addresses(&[good.to_owned()]), Ok(()));
        }
        for bad in ["", "a", ":7401", "a:", "a:0", "a:65536", "a:b"] {
            assert!(check_addresses(&[bad.to_owned()]).is_err(), "{bad}");
        }
        assert!(check_addresses(&vec!["a:1".to_owned(); 5]).is_err());
    }
}
