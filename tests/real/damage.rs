//! Damage: a bit that flipped, or an end that is gone, in every kind of file on disk. Whoever reads the file goes on and nothing is wrong,
//! or refuses with a word about it; nobody panics, and nobody gets a wrong byte.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::harness::{Cluster, ClusterOptions, content};

use crate::support::{cluster, file, text};

/// What is done to a file.
#[derive(Debug, Clone, Copy)]
enum Damage {
    /// A bit of this byte; nothing where the file is shorter.
    Flip(usize),
    FlipInTheMiddle,
    CutInHalf,
}

/// In a segment of a peer the first is in its header, the second in that of a record, the third in a body.
const DAMAGES: [Damage; 4] = [Damage::Flip(20), Damage::Flip(4_120), Damage::FlipInTheMiddle, Damage::CutInHalf];

impl Damage {
    fn apply(self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        let half = bytes.len() / 2;
        match self {
            Self::Flip(at) => bytes[at] ^= 0x10,
            Self::FlipInTheMiddle => bytes[half] ^= 0x10,
            Self::CutInHalf => bytes.truncate(half),
        }
        fs::write(path, bytes).unwrap();
    }
}

/// What is right.
#[derive(Debug, Clone, Copy)]
enum Then {
    /// It serves, and all files are there.
    Serves,
    /// It serves all files, and its log has the words.
    Says(&'static str),
    /// It does not start, and says all of the words.
    Refuses(&'static [&'static str]),
    /// The same; or it goes on with what there was before, and its log has the last words.
    RefusesOrSays(&'static [&'static str], &'static str),
    /// One or the other, by where the damage is: it serves all files, or does not and says all of the words.
    Either(&'static [&'static str]),
}

/// Files by the beginning of their path, and what is right when they are damaged. The first that fits counts.
type Table = [(&'static str, Then)];

/// A cluster with a copy of everything on each of its peers, and a tree of files in it.
struct Fixture {
    cluster: Cluster,
    work: PathBuf,
    tree: PathBuf,
}

fn fixture(peers: usize) -> Fixture {
    let (mut cluster, work) =
        cluster(ClusterOptions { peers, redundancy: format!("1/{peers}"), ..ClusterOptions::default() });
    let tree = work.join("tree");
    fs::create_dir(&tree).unwrap();
    file(&tree, "large", 77, 3_000_000);
    cluster.shoal(["put", "-r", text(&tree), "/"]).unwrap().expect(0).unwrap();
    // What is stored now is in a segment that is closed, and what comes in one that is not.
    cluster.peers[0].as_mut().unwrap().stop(rustix::process::Signal::TERM, std::time::Duration::from_secs(5)).unwrap();
    cluster.serve_peer(0).unwrap();
    cluster.wait_online(peers).unwrap();
    for number in 0..5 {
        file(&tree, &format!("small{number}"), number, 2_000);
    }
    cluster.shoal(["put", "-r", text(&tree), "/"]).unwrap().expect(0).unwrap();
    Fixture { cluster, work, tree }
}

fn copy(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).unwrap();
    }
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

fn start(cluster: &mut Cluster) -> anyhow::Result<()> {
    cluster.serve_directory()?;
    for number in 0..cluster.peers.len() {
        cluster.serve_peer(number)?;
    }
    cluster.wait_online(cluster.peers.len())
}

impl Fixture {
    /// Reads the tree: the exit code, what was said, and how many entries are missing. None may be wrong.
    fn read(&self) -> (Option<i32>, String, usize) {
        let back = self.work.join("back");
        let _ = fs::remove_dir_all(&back);
        let got = self.cluster.shoal(["get", "-r", "/tree", text(&back)]).unwrap();
        // Files alone: a folder that was there before keeps its time.
        let files = |of: &Path| {
            let mut all = content::describe(of).unwrap();
            all.retain(|_, what| what.starts_with("file"));
            all
        };
        let (seen, stored) = (if back.exists() { files(&back) } else { BTreeMap::new() }, files(&self.tree));
        for (path, what) in &seen {
            assert_eq!(stored.get(path), Some(what), "{}", path.display());
        }
        assert!(!got.stderr.contains("panicked"), "{}", got.stderr);
        (got.status, got.stderr, stored.len() - seen.len())
    }

    /// Damages each file of a data folder in each way, starts everything, and looks what comes of it. `server` reads the folder.
    fn check(&mut self, data: &Path, table: &Table, server: Option<&Path>) {
        self.cluster.kill_directory().unwrap();
        let mut folders = vec![self.cluster.directory_data(), self.cluster.home("device")];
        for number in 0..self.cluster.peers.len() {
            self.cluster.kill_peer(number).unwrap();
            folders.push(self.cluster.peer_data(number));
        }
        let kept = |folder: &Path| self.work.join("kept").join(folder.file_name().unwrap());
        fs::create_dir(self.work.join("kept")).unwrap();
        folders.iter().for_each(|folder| copy(folder, &kept(folder)));
        let files = content::all_bytes(data).unwrap();
        for (place, _) in table {
            let there = |path: &Path| path.strip_prefix(data).unwrap().to_str().unwrap().starts_with(place);
            assert!(files.iter().any(|(path, _)| there(path)), "there is no {place}");
        }
        for (path, bytes) in files.iter().filter(|(_, bytes)| !bytes.is_empty()) {
            let name = path.strip_prefix(data).unwrap().to_str().unwrap();
            let right = table.iter().find(|(place, _)| name.starts_with(place));
            let then = right.unwrap_or_else(|| panic!("{name} is in no table: what is right when it is damaged?")).1;
            for damage in DAMAGES {
                if matches!(damage, Damage::Flip(at) if at >= bytes.len()) {
                    continue;
                }
                // Nobody remembers what was wrong before.
                folders.iter().for_each(|folder| copy(&kept(folder), folder));
                damage.apply(path);
                if let Some(log) = server {
                    fs::write(log, "").unwrap();
                }
                let started = start(&mut self.cluster).map_err(|error| format!("{error:#}"));
                let log = server.map(|log| fs::read_to_string(log).unwrap()).unwrap_or_default();
                self.judge(then, started, &log, &format!("{name}, {damage:?}, {then:?}"));
                self.cluster.peers.iter_mut().for_each(|peer| *peer = None);
                self.cluster.directory = None;
            }
        }
    }

    fn judge(&self, then: Then, started: Result<(), String>, log: &str, about: &str) {
        let refuses = |said: &str, words: &[&str]| {
            assert!(words.iter().all(|word| said.contains(word)), "{about}: {said}");
        };
        let serves = || {
            started.clone().unwrap_or_else(|said| panic!("{about}: {said}"));
            self.read()
        };
        let whole = (Some(0), 0);
        match then {
            Then::Serves | Then::Says(_) => {
                let (code, said, missing) = serves();
                assert_eq!((code, missing), whole, "{about}: {said}");
            }
            Then::Refuses(words) => match &started {
                Ok(()) => panic!("{about}: it serves"),
                Err(said) => refuses(said, words),
            },
            Then::RefusesOrSays(words, instead) => match &started {
                Ok(()) => {
                    self.read();
                    assert!(log.contains(instead), "{about}: {log}");
                }
                Err(said) => refuses(said, words),
            },
            Then::Either(words) => match &started {
                Ok(()) => {
                    let (code, said, missing) = self.read();
                    if (code, missing) != whole {
                        refuses(&said, words);
                    }
                }
                Err(said) => refuses(said, words),
            },
        }
        assert!(!log.contains("panicked"), "{about}: {log}");
        if let Then::Says(words) = then {
            assert!(log.contains(words), "{about}: {log}");
        }
    }
}

#[test]
fn a_damaged_file_of_the_directory_is_done_without_or_named() {
    const NEXT: &str = "next: ";
    let mut fixture = fixture(1);
    let table: &Table = &[
        ("ca.key", Then::Either(&["ca.key is malformed", NEXT])),
        ("ca.pem", Then::Either(&["ca.pem is", NEXT])),
        ("directory.key", Then::Either(&["directory.key is malformed", NEXT])),
        // Made anew at every start.
        ("directory.pem", Then::Serves),
        ("directory.toml", Then::Either(&["directory.toml"])),
        ("listening", Then::Serves),
        ("statement.key", Then::Either(&["statement.key is malformed", NEXT])),
        ("store/format", Then::Refuses(&["store/format", NEXT])),
        // An index over the journal: caught up with it or rebuilt from it.
        ("store/index/", Then::Serves),
        // The journal is the truth: one that is whole and too short counts, and an index that knows more does not.
        ("store/journal/", Then::RefusesOrSays(&["journal", NEXT], "the index is of no use")),
        ("store/lock", Then::Serves),
        ("store/reached", Then::Serves),
        ("store/state", Then::Says("the index is rebuilt from the journal")),
    ];
    let (data, log) = (fixture.cluster.directory_data(), fixture.cluster.directory_log());
    fixture.check(&data, table, Some(&log));
}

#[test]
fn a_damaged_file_of_a_peer_is_done_without_or_named() {
    let mut fixture = fixture(2);
    let table: &Table = &[
        ("ca.pem", Then::Either(&["ca.pem", "join anew"])),
        ("format", Then::Refuses(&["is not a peer folder"])),
        ("known", Then::Refuses(&["known is damaged", "join again"])),
        ("scrub", Then::Serves),
        ("listening", Then::Serves),
        ("lock", Then::Serves),
        ("peer.key", Then::Either(&["peer.key", "join anew"])),
        ("peer.pem", Then::Either(&["certificate"])),
        ("peer.toml", Then::Either(&["peer.toml is malformed"])),
        ("store/format", Then::Refuses(&["store/format is damaged"])),
        // What is missing there is found by reading the segment.
        ("store/hints/", Then::Serves),
        ("store/lock", Then::Serves),
        // What is damaged is found out when it is read, and had from another peer.
        ("store/segments/", Then::Serves),
    ];
    let (data, log) = (fixture.cluster.peer_data(0), fixture.cluster.peer_log(0));
    fixture.check(&data, table, Some(&log));
}

#[test]
fn a_damaged_file_of_a_device_is_done_without_or_explained() {
    let mut fixture = fixture(1);
    let table: &Table = &[
        ("ca.der", Then::Either(&["certificate"])),
        ("device.crt", Then::Either(&["certificate"])),
        ("device.json", Then::Either(&["device.json is damaged", "join again"])),
        ("device.key", Then::Either(&["device.key", "join again"])),
        ("generation", Then::Serves),
        ("master.key", Then::Either(&["master"])),
    ];
    let data = fixture.cluster.home("device");
    fixture.check(&data, table, None);
}
