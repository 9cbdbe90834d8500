//! Real paths: what packets look like on an Ethernet of 1,500 bytes and on loopback. Needs root and `ip`; skipped without.

use std::fs;
use std::path::Path;
use std::process::Command;

use tests::harness::cable::SERVERS;
use tests::harness::process::run;
use tests::harness::{Cable, Cluster, ClusterOptions, Conditions, Direction, binary, content};

use crate::support::{cluster, file, shoal, text};

const ETHERNET_HEADER: u64 = 14;

/// Bytes a packet of an interface, on average and headers included, while something is done.
fn average(namespace: &str, interface: &str, work: impl FnOnce()) -> u64 {
    let [packets, bytes] = Cable::sent(namespace, interface).unwrap();
    work();
    let [packets_now, bytes_now] = Cable::sent(namespace, interface).unwrap();
    (bytes_now - bytes) / (packets_now - packets).max(1)
}

fn on_cable(cable: &Cable, congestion: &str) -> ClusterOptions {
    ClusterOptions {
        environment: vec![("SHOAL_CONGESTION".to_owned(), congestion.to_owned())],
        peers: 2,
        redundancy: "1/2".to_owned(),
        host: SERVERS.to_owned(),
        namespaces: [Some(cable.servers.clone()), Some(cable.devices.clone())],
        ..ClusterOptions::default()
    }
}

/// What a command of a device finds in its environment.
type Environment<'a> = [(&'a str, &'a str)];

/// One command of a device in a namespace; its seconds.
fn inside(cluster: &Cluster, namespace: &str, environment: &Environment<'_>, arguments: &[&str]) -> f64 {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(binary("shoal").unwrap()).args(arguments);
    command.env("SHOAL_HOME", cluster.home("device")).envs(environment.iter().copied());
    run(command, None).unwrap().expect(0).unwrap().seconds
}

/// A put and a get, compared; their seconds.
fn there_and_back(
    cluster: &Cluster,
    namespace: &str,
    environment: &Environment<'_>,
    work: &Path,
    seed: u64,
) -> [f64; 2] {
    let (source, back) = (work.join("source"), work.join("back"));
    let remote = format!("/file{seed}");
    content::make_file(&source, seed, 64 << 20).unwrap();
    let put = inside(cluster, namespace, environment, &["put", text(&source), &remote]);
    let get = inside(cluster, namespace, environment, &["get", &remote, text(&back)]);
    content::compare(&source, &back).unwrap();
    fs::remove_file(&back).unwrap();
    [put, get]
}

#[test]
fn packets_grow_to_what_an_ethernet_carries_and_on_loopback_beyond() {
    let Some(cable) = Cable::lay(1_500).unwrap() else { return };
    for congestion in ["bbr", "arrival"] {
        packets_grow(&cable, congestion);
    }
}

fn packets_grow(cable: &Cable, congestion: &str) {
    let (mut cluster, work) = cluster(on_cable(cable, congestion));
    let environment = [("SHOAL_CONGESTION", congestion), ("SHOAL_MTU", "")];
    let told_1452 = [("SHOAL_CONGESTION", congestion), ("SHOAL_MTU", "1452")];
    let source = file(&work, "first", 1, 64 << 20);
    let back = work.join("first-back");

    let up = average(&cable.devices, "cable", || {
        shoal(&cluster, 0, &["put", text(&source), "/first"]);
    });
    let down = average(&cable.servers, "cable", || {
        shoal(&cluster, 0, &["get", "/first", text(&back)]);
    });
    content::compare(&source, &back).unwrap();
    // Larger ones than the cable carries do not arrive, so what counts is that they did not stay at QUIC's 1,200.
    for average in [up, down] {
        assert!((1_452..=1_500 + ETHERNET_HEADER).contains(&average), "{congestion}: {average} bytes a packet");
    }

    // The same programs in one namespace: loopback carries what we like best. Acknowledgements and the rest are in the average.
    let wide = average(&cable.servers, "lo", || {
        there_and_back(&cluster, &cable.servers, &environment, &work, 2);
    });
    assert!((6_600..=16_370 + 28 + ETHERNET_HEADER).contains(&wide), "{congestion}: {wide} bytes a packet");

    // For whoever reads the output: the search for a larger packet costs nothing that shows.
    let searched = there_and_back(&cluster, &cable.devices, &environment, &work, 3);
    let told = there_and_back(&cluster, &cable.devices, &told_1452, &work, 4);
    eprintln!(
        "{congestion}: bytes a packet: up {up}, down {down}, loopback {wide}; put and get 64 MiB: {searched:.2?} s, told 1452: {told:.2?} s"
    );
    cluster.stop().unwrap();
}

#[test]
fn where_large_packets_vanish_without_a_word_smaller_ones_are_found() {
    let narrow = Conditions::both(Direction { mtu: Some(1_400), ..Direction::default() });
    let options =
        ClusterOptions { peers: 1, redundancy: "1/1".to_owned(), relays: Some(narrow), ..ClusterOptions::default() };
    let (mut cluster, work) = cluster(options);
    let source = file(&work, "source", 5, 10 << 20);
    let back = work.join("back");
    shoal(&cluster, 0, &["put", text(&source), "/file"]);
    shoal(&cluster, 0, &["get", "/file", text(&back)]);
    content::compare(&source, &back).unwrap();
    let counts = cluster.relays.last().unwrap().counts();
    assert!(counts.too_large > 0, "nothing larger was tried: {counts:?}");
    assert!(counts.bytes.iter().sum::<u64>() / counts.passed > 900, "{counts:?}");
    cluster.stop().unwrap();
}
