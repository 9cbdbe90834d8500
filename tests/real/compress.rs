//! Compression: what becomes shorter is stored shorter, what does not is stored as it is, and neither keeps content from being found again.

use std::fs;
use std::path::{Path, PathBuf};

use tests::harness::{Cluster, ClusterOptions, content};

use crate::support::{cluster, file, json, shoal, text, three_peers};

/// Lines that compress about as well as a log does, other ones for each seed.
pub(crate) fn prose(seed: u64, len: usize) -> Vec<u8> {
    let dice = content::bytes(seed, len / 2 + 16); // four bytes a line, and a line is longer than eight
    let words = ["tide", "shoal", "herring", "net", "harbour", "rope", "lantern", "gull", "keel", "salt"];
    let line = |piece: &[u8]| {
        let word = words[usize::from(piece[0]) % words.len()];
        format!("{word} {} {:02x}{:02x}\n", words[usize::from(piece[1]) % words.len()], piece[2], piece[3])
    };
    let mut bytes: Vec<u8> = dice.chunks_exact(4).flat_map(|piece| line(piece).into_bytes()).collect();
    while bytes.len() < len {
        bytes.extend_from_within(..bytes.len().min(len - bytes.len()));
    }
    bytes.truncate(len);
    bytes
}

pub(crate) fn prose_file(folder: &Path, name: &str, seed: u64, len: usize) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, prose(seed, len)).unwrap();
    path
}

fn sealed(cluster: &Cluster, path: &str) -> u64 {
    json(cluster, &["stat", path])["sealed_bytes"].as_u64().unwrap()
}

/// Bytes that went to peers, all copies.
fn put(cluster: &Cluster, line: &[&str]) -> u64 {
    let answer = shoal(cluster, 0, &[&["--json", "put"], line].concat());
    let lines =
        answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<serde_json::Value>>();
    lines.iter().filter_map(|line| line["sent"].as_u64()).sum()
}

fn comes_back(cluster: &Cluster, work: &Path, source: &Path, path: &str) {
    let back = work.join("back");
    shoal(cluster, 0, &["get", path, text(&back)]);
    content::compare(source, &back).unwrap();
    fs::remove_file(back).unwrap();
}

#[test]
fn what_compresses_is_stored_shorter_and_what_does_not_no_longer_than_it_is() {
    let (cluster, work) = three_peers();
    for (number, len) in [3_000, 200_000, 300_000, 5_000_000, 30_000_000].into_iter().enumerate() {
        let (seed, remote) = (number as u64, format!("/prose-{len}"));
        let source = prose_file(&work, "prose", seed, len);
        let sent = put(&cluster, &[text(&source), &remote]);
        let stored = sealed(&cluster, &remote);
        assert!(stored * 2 < len as u64, "{stored} of {len} bytes");
        assert!(sent >= stored * 3 && sent * 2 < len as u64 * 3, "{sent} sent for three copies of {stored}");
        comes_back(&cluster, &work, &source, &remote);
        let (noise, remote) = (file(&work, "noise", seed, len), format!("/noise-{len}"));
        put(&cluster, &[text(&noise), &remote]);
        assert_eq!(sealed(&cluster, &remote), len as u64);
        comes_back(&cluster, &work, &noise, &remote);
    }
    let mixed = work.join("mixed");
    fs::write(&mixed, [content::bytes(9, 4 << 20), prose(9, 4 << 20), vec![0; 4 << 20]].concat()).unwrap();
    put(&cluster, &[text(&mixed), "/mixed"]);
    assert!(sealed(&cluster, "/mixed") < 8 << 20);
    comes_back(&cluster, &work, &mixed, "/mixed");
    let range = shoal(&cluster, 0, &["cat", "/mixed"]);
    assert!(range.stdout == fs::read(&mixed).unwrap());
}

#[test]
fn content_is_found_again_however_it_was_stored_the_first_time() {
    let (cluster, work) = three_peers();
    for (name, first, then) in [("plain", "--no-compress", None), ("short", "", Some("--no-compress"))] {
        for len in [9_000, 7_000_000] {
            let source = prose_file(&work, "source", len as u64 + u64::from(then.is_some()), len);
            let (one, two) = (format!("/{name}-{len}-1"), format!("/{name}-{len}-2"));
            let sent =
                put(&cluster, &[&[text(&source), &one][..], &[first][..usize::from(!first.is_empty())]].concat());
            assert!(sent > 0);
            assert_eq!(put(&cluster, &[&[text(&source), &two][..], then.as_slice()].concat()), 0);
            assert_eq!(sealed(&cluster, &one), sealed(&cluster, &two), "the first bytes stay");
            assert_eq!(sealed(&cluster, &one) == len as u64, then.is_none());
            comes_back(&cluster, &work, &source, &two);
        }
    }
}

#[test]
fn compressed_content_survives_lost_shares_and_lost_peers() {
    let options = ClusterOptions { peers: 4, redundancy: "2/4".to_owned(), ..ClusterOptions::default() };
    let (mut cluster, work) = cluster(options);
    let source = prose_file(&work, "source", 5, 9_000_000);
    let small = prose_file(&work, "small", 6, 9_000);
    put(&cluster, &[text(&source), "/file"]);
    put(&cluster, &[text(&small), "/small"]);
    assert!(sealed(&cluster, "/file") * 2 < 9_000_000);
    cluster.kill_peer(0).unwrap();
    cluster.kill_peer(2).unwrap();
    comes_back(&cluster, &work, &source, "/file");
    comes_back(&cluster, &work, &small, "/small");
}
