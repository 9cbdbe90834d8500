//! Link: the one line that reads a shared file or folder.
//!
//! ```text
//! "shoallink1" base32( [format u8 = 1][flags u8][cluster 16][fingerprint 32][secret 32][account 16][what]
//!                      [count u8]( [len u16 LE][address] )* [len u16 LE][name] [crc32c u32 LE] )
//! flags    1: a guest ticket, too
//! what     [1][node 16][node key 32][mode u32][seconds i64][nanos u32]                          a folder
//!          [2][node 16][node key 32]                                                            a file, whatever its version
//!          [3][node 16][version 16][manifest key 32][size u64][extents u64][pages u32][mode u32][seconds i64][nanos u32]
//! ```
//!
//! All numbers little-endian; the text around the bytes is that of every [`line`]. Behind the line a path may follow, `LINK/like/this`: a
//! file or folder below the shared one. Whoever has the line can read; it is wiped from memory here and never goes to a log.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use common::id::{AccountId, ClusterId, NodeId, ShareId, VersionId};
use common::limits::{ADDRESS_BYTES, ADDRESSES, LINK_BYTES};
use common::line::{self, FORMAT, LineError, Reader};
use common::share;
use zeroize::Zeroizing;

use crate::keys::NodeKey;
use crate::manifest::ManifestKey;
use crate::meta::{Content, Mtime, VersionMeta};
use crate::names::{Name, PathError, RemotePath};

const PREFIX: &str = "shoallink";
const GUEST: u8 = 1;

/// A line that is no link, or one that cannot be used by this program. The texts are for whoever pasted it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    #[error("this is no link: a link begins with \"shoallink1\"; copy the whole line that `shoal share` printed")]
    Foreign,
    #[error("the link is damaged: a part of it is missing or changed; copy the whole line that `shoal share` printed")]
    Mangled,
    #[error("the link has format {found}, and this program knows {FORMAT}: use a newer program")]
    Newer { found: u32 },
    #[error("a link has 1 to {ADDRESSES} addresses of at most {ADDRESS_BYTES} bytes")]
    Addresses,
    #[error("what follows the link is no path")]
    Path(#[from] PathError),
}

impl From<LineError> for LinkError {
    fn from(error: LineError) -> Self {
        match error {
            LineError::Foreign => Self::Foreign,
            LineError::Mangled => Self::Mangled,
            LineError::Newer { found } => Self::Newer { found },
        }
    }
}

/// What a link reads, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reads {
    Folder {
        node: NodeId,
        key: NodeKey,
        mode: u32,
        mtime: Mtime,
    },
    File {
        node: NodeId,
        key: NodeKey,
    },
    /// One version, with all that its manifest is held to.
    Version {
        node: NodeId,
        version: VersionId,
        meta: VersionMeta,
    },
}

/// See the module.
pub struct Link {
    pub cluster: ClusterId,
    pub authority_fingerprint: [u8; 32],
    pub secret: share::Secret,
    pub account: AccountId,
    /// Whether a device that has not joined may become a guest with it.
    pub guest: bool,
    pub reads: Reads,
    pub addresses: Vec<String>,
    /// What is shared is called so.
    pub name: Name,
}

/// Whether a word of the command line is meant as a link.
#[must_use]
pub fn is_link(text: &OsStr) -> bool {
    let begin = text.as_bytes().get(..PREFIX.len());
    begin.is_some_and(|begin| begin.eq_ignore_ascii_case(PREFIX.as_bytes()))
}

impl Link {
    #[must_use]
    pub fn id(&self) -> ShareId {
        share::share_id(&self.secret)
    }

    /// Reads a link, and the path below it that may follow.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub fn parse(text: &OsStr) -> Result<(Self, Option<RemotePath>), LinkError> {
        let bytes = text.as_bytes();
        let at = bytes.iter().position(|byte| *byte == b'/');
        let (line, path) = bytes.split_at(at.unwrap_or(bytes.len()));
        let line = std::str::from_utf8(line).map_err(|_| LinkError::Foreign)?;
        let content = line::decode(PREFIX, line, LINK_BYTES)?;
        let path = if path.is_empty() { None } else { Some(RemotePath::parse(path)?) };
        Ok((parse_content(&content)?, path.filter(|path| !path.is_root())))
    }

    /// The one line; wiped when dropped.
    ///
    /// # Errors
    /// [`LinkError::Addresses`].
    pub fn to_line(&self) -> Result<Zeroizing<String>, LinkError> {
        let fit = self.addresses.iter().all(|address| !address.is_empty() && address.len() <= ADDRESS_BYTES);
        let count = u8::try_from(self.addresses.len()).unwrap_or(u8::MAX);
        if !fit || count == 0 || usize::from(count) > ADDRESSES {
            return Err(LinkError::Addresses);
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(LINK_BYTES));
        bytes.extend_from_slice(&[FORMAT, if self.guest { GUEST } else { 0 }]);
        bytes.extend_from_slice(self.cluster.as_bytes());
        bytes.extend_from_slice(&self.authority_fingerprint);
        bytes.extend_from_slice(self.secret.as_slice());
        bytes.extend_from_slice(self.account.as_bytes());
        put_reads(&mut bytes, &self.reads);
        bytes.push(count);
        for address in &self.addresses {
            line::put_counted(&mut bytes, address.as_bytes());
        }
        line::put_counted(&mut bytes, self.name.as_bytes());
        Ok(line::encode(PREFIX, &bytes))
    }
}

fn put_reads(bytes: &mut Vec<u8>, reads: &Reads) {
    let put_time = |bytes: &mut Vec<u8>, mtime: Mtime| {
        bytes.extend_from_slice(&mtime.seconds.to_le_bytes());
        bytes.extend_from_slice(&mtime.nanos.to_le_bytes());
    };
    match reads {
        Reads::Folder { node, key, mode, mtime } => {
            bytes.push(1);
            bytes.extend_from_slice(node.as_bytes());
            bytes.extend_from_slice(&key.0);
            bytes.extend_from_slice(&mode.to_le_bytes());
            put_time(bytes, *mtime);
        }
        Reads::File { node, key } => {
            bytes.push(2);
            bytes.extend_from_slice(node.as_bytes());
            bytes.extend_from_slice(&key.0);
        }
        Reads::Version { node, version, meta } => {
            bytes.push(3);
            bytes.extend_from_slice(node.as_bytes());
            bytes.extend_from_slice(version.as_bytes());
            bytes.extend_from_slice(&meta.manifest_key.0);
            bytes.extend_from_slice(&meta.size.to_le_bytes());
            bytes.extend_from_slice(&meta.extents.to_le_bytes());
            bytes.extend_from_slice(&meta.pages.to_le_bytes());
            bytes.extend_from_slice(&meta.mode.to_le_bytes());
            put_time(bytes, meta.mtime);
        }
    }
}

fn parse_content(content: &[u8]) -> Result<Link, LinkError> {
    let mut reader = Reader::new(content);
    let [format] = reader.array()?;
    if format != FORMAT {
        return Err(LinkError::Newer { found: u32::from(format) });
    }
    let guest = match reader.array()? {
        [0] => false,
        [GUEST] => true,
        [_] => return Err(LinkError::Mangled),
    };
    let cluster = ClusterId(reader.array()?);
    let authority_fingerprint = reader.array()?;
    let secret = Zeroizing::new(reader.array()?);
    let account = AccountId(reader.array()?);
    let reads = parse_reads(&mut reader)?;
    let [count] = reader.array()?;
    if count == 0 || usize::from(count) > ADDRESSES {
        return Err(LinkError::Addresses);
    }
    let mut addresses = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let address = std::str::from_utf8(reader.counted()?).map_err(|_| LinkError::Mangled)?;
        if address.is_empty() || address.len() > ADDRESS_BYTES {
            return Err(LinkError::Addresses);
        }
        addresses.push(address.to_owned());
    }
    let name = Name::new(reader.counted()?).map_err(|_| LinkError::Mangled)?;
    reader.end()?;
    Ok(Link { cluster, authority_fingerprint, secret, account, guest, reads, addresses, name })
}

fn parse_reads(reader: &mut Reader<'_>) -> Result<Reads, LinkError> {
    let [what] = reader.array()?;
    let node = NodeId(reader.array()?);
    match what {
        1 => {
            let key = NodeKey(reader.array()?);
            let mode = u32::from_le_bytes(reader.array()?);
            Ok(Reads::Folder { node, key, mode, mtime: parse_time(reader)? })
        }
        2 => Ok(Reads::File { node, key: NodeKey(reader.array()?) }),
        3 => {
            let version = VersionId(reader.array()?);
            let manifest_key = ManifestKey(reader.array()?);
            let (size, extents) = (u64::from_le_bytes(reader.array()?), u64::from_le_bytes(reader.array()?));
            let (pages, mode) = (u32::from_le_bytes(reader.array()?), u32::from_le_bytes(reader.array()?));
            let mtime = parse_time(reader)?;
            let meta = VersionMeta { content: Content::File, size, mtime, mode, pages, extents, manifest_key };
            meta.check().map_err(|_| LinkError::Mangled)?;
            Ok(Reads::Version { node, version, meta })
        }
        _ => Err(LinkError::Mangled),
    }
}

fn parse_time(reader: &mut Reader<'_>) -> Result<Mtime, LinkError> {
    let (seconds, nanos) = (i64::from_le_bytes(reader.array()?), u32::from_le_bytes(reader.array()?));
    if nanos < 1_000_000_000 { Ok(Mtime { seconds, nanos }) } else { Err(LinkError::Mangled) }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({} in {}, secrets hidden)", self.id().short(), self.cluster.short())
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use proptest::prelude::*;

    use super::*;

    fn all() -> Vec<Reads> {
        let (node, key, mtime) = (NodeId([4; 16]), NodeKey([5; 32]), Mtime { seconds: -2, nanos: 5 });
        let meta = VersionMeta {
            content: Content::File,
            size: 70_000,
            mtime,
            mode: 0o644,
            pages: 1,
            extents: 3,
            manifest_key: ManifestKey([9; 32]),
        };
        vec![
            Reads::Folder { node, key: key.clone(), mode: 0o755, mtime },
            Reads::File { node, key },
            Reads::Version { node, version: VersionId([6; 16]), meta },
        ]
    }

    fn link(reads: Reads) -> Link {
        Link {
            cluster: ClusterId([7; 16]),
            authority_fingerprint: [8; 32],
            secret: Zeroizing::new([9; 32]),
            account: AccountId([3; 16]),
            guest: true,
            reads,
            addresses: vec!["127.0.0.1:7400".to_owned(), "dir.example:7400".to_owned()],
            name: Name::new("förmlich.pdf".as_bytes()).unwrap(),
        }
    }

    fn parse(text: &str) -> Result<(Link, Option<RemotePath>), LinkError> {
        Link::parse(&OsString::from(text))
    }

    #[test]
    fn every_kind_comes_back_from_its_line_alone_and_with_a_path_behind_it() {
        for reads in all() {
            let written = link(reads.clone());
            let line = written.to_line().unwrap();
            let (read, path) = parse(&line).unwrap();
            assert_eq!((read.reads, path), (reads, None));
            assert_eq!((read.guest, read.name, read.addresses.len()), (true, written.name, 2));
            assert_eq!((read.cluster, read.account, read.secret), (written.cluster, written.account, written.secret));
            let (_, path) = parse(&format!("{}/Sub/Näme", line.to_uppercase())).unwrap();
            assert_eq!(path.unwrap().to_string(), "/Sub/Näme");
            assert!(is_link(OsStr::new(line.as_str())) && !is_link(OsStr::new("/shoallink1")));
            assert!(line.len() < 600, "{} characters", line.len());
        }
    }

    #[test]
    fn a_line_that_is_cut_changed_or_of_another_kind_is_told() {
        let line = link(all().remove(0)).to_line().unwrap();
        for end in 0..line.len() {
            let error = parse(&line[..end]).unwrap_err();
            assert!(matches!(error, LinkError::Mangled | LinkError::Foreign), "{end}: {error}");
        }
        for at in PREFIX.len() + 1..line.len() {
            let mut changed = line.to_string();
            changed.replace_range(at..=at, if &line[at..=at] == "a" { "b" } else { "a" });
            assert_eq!(parse(&changed).unwrap_err(), LinkError::Mangled, "{at}");
        }
        assert_eq!(parse("shoal1abc").unwrap_err(), LinkError::Foreign);
        assert_eq!(parse(&line.replacen('1', "2", 1)).unwrap_err(), LinkError::Newer { found: 2 });
        assert!(matches!(parse(&format!("{}/a//b", *line)).unwrap_err(), LinkError::Path(_)));
    }

    #[test]
    fn the_longest_link_can_be_read_and_none_shows_its_secrets() {
        let mut longest = link(all().remove(2));
        longest.addresses = vec!["x".repeat(ADDRESS_BYTES); ADDRESSES];
        longest.name = Name::new(&[b'x'; common::limits::NAME_BYTES]).unwrap();
        let line = longest.to_line().unwrap();
        assert!(line.len() <= LINK_BYTES);
        parse(&line).unwrap();
        longest.addresses.clear();
        assert_eq!(longest.to_line().unwrap_err(), LinkError::Addresses);
        let shown = format!("{longest:?}");
        assert!(shown.contains("hidden") && !shown.contains("0909"), "{shown}");
    }

    #[test]
    fn the_line_is_golden() {
        let line = link(all().remove(1)).to_line().unwrap();
        assert_eq!(
            blake3::hash(line.as_bytes()).to_hex()[..16],
            *"4ee5f7a30086001c",
            "links that were handed out would stop to work"
        );
    }

    proptest! {
        #[test]
        fn no_line_and_no_content_panics(text in ".{0,400}", bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&format!("shoallink1{text}"));
            let _ = parse(&line::encode(PREFIX, &bytes));
        }
    }
}
