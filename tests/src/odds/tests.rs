//! The odds agree with closed forms, with a simulation, and with common sense.

use super::chain::Chain;
use super::*;
use crate::harness::Dice;

/// Many losses in a short time, so that a simulation sees some.
fn busy(peers: u32) -> Cluster {
    Cluster {
        peers,
        annual_failure_rate: 0.9,
        detection: 24.0,
        grace: 48.0,
        replacement: 240.0,
        stored: 1e12,
        rate: None,
        bandwidth: 2e7,
        chunk: 3e6,
        latent: 0.0,
        scrub: 336.0,
        zones: None,
    }
}

fn calm(peers: u32) -> Cluster {
    Cluster { annual_failure_rate: 0.02, detection: 0.02, grace: 1.0, bandwidth: 5e7, ..busy(peers) }
}

fn redundancy(text: &str) -> Redundancy {
    text.parse().unwrap()
}

/// In [0, 1].
fn uniform(dice: &mut Dice) -> f64 {
    f64::from(u32::try_from(dice.throw() >> 32).unwrap()) / f64::from(u32::MAX)
}

fn exponential(dice: &mut Dice, rate: f64) -> f64 {
    -uniform(dice).max(1e-12).ln() / rate
}

fn close(a: f64, b: f64, share: f64) -> bool {
    (a - b).abs() <= share * b.abs()
}

#[test]
fn two_losses_are_the_closed_form_of_raid() {
    // Patterson, Gibson and Katz: one loss is survived. Exactly ((2n-1) f + r) / (n (n-1) f^2) years, and then f^2 / r for small f.
    for n in [2_u32, 3, 6, 14] {
        let (fails, repaired) = (0.02, 8_766.0 / 10.0);
        let mut chain = Chain::new(3);
        let count = f64::from(n);
        chain.add(0, 1, count * fails);
        chain.add(1, 2, (count - 1.0) * fails);
        chain.add(1, 0, repaired);
        let mean = ((2.0 * count - 1.0) * fails + repaired) / (count * (count - 1.0) * fails * fails);
        let (got, expected) = (chain.absorbed(1.0), -(-1.0 / mean).exp_m1());
        // The mean forgets that a chain starts whole: for a year that is one repair time in 8,766 hours.
        assert!(close(got, expected, 0.002), "{n}: {got} instead of {expected}");
    }
}

#[test]
fn without_redundancy_the_odds_are_those_of_any_peer_failing() {
    for (peers, share) in [(1_u32, 0.02), (3, 0.05), (20, 0.2)] {
        let cluster = Cluster { peers, annual_failure_rate: share, ..calm(peers) };
        let expected = 1.0 - (1.0 - share).powi(i32::try_from(peers).unwrap());
        let got = cluster.loss(redundancy("1/1"), 1.0).unwrap();
        assert!(close(got, expected, 1e-9), "{peers} peers: {got} instead of {expected}");
    }
}

#[test]
fn tiny_probabilities_keep_their_digits() {
    // States in a row at a rate f, none repaired: after a short time t the last of m has (f t)^m / m!.
    let mut chain = Chain::new(7);
    for state in 0..6 {
        chain.add(state, state + 1, 1.0);
    }
    let expected = 1e-30 / 720.0;
    assert!(close(chain.absorbed(1e-5), expected, 1e-4), "{}", chain.absorbed(1e-5));
    // And it does not matter how fast something else is.
    chain.add(1, 0, 1e6);
    let slower = chain.absorbed(1e-5);
    assert!(slower > 0.0 && slower < expected, "{slower}");
}

/// The chain itself, walked.
fn walk(chain: &Chain, years: f64, dice: &mut Dice) -> bool {
    let (mut state, mut now) = (0, 0.0);
    loop {
        let ways = chain.ways(state);
        let all: f64 = ways.iter().sum();
        if all == 0.0 {
            return true;
        }
        now += exponential(dice, all);
        if now > years {
            return false;
        }
        let mut left = uniform(dice) * all;
        state = ways
            .iter()
            .position(|rate| {
                left -= rate;
                left <= 0.0 && *rate > 0.0
            })
            .unwrap_or(state);
    }
}

#[test]
fn the_solution_is_what_walking_the_chain_finds() {
    const WALKS: u32 = 20_000;
    let latent = Cluster { latent: 20.0, ..busy(6) };
    let zones = Cluster { zones: Some(Zones { count: 3, annual_failure_rate: 0.2 }), ..busy(6) };
    for (cluster, code) in [(busy(3), "1/2"), (busy(3), "1/3"), (busy(6), "2/4"), (latent, "2/4"), (zones, "2/4")] {
        let chain = cluster.chain(redundancy(code)).unwrap();
        let mut dice = Dice::new(7);
        let lost = (0..WALKS).filter(|_| walk(&chain, 1.0, &mut dice)).count();
        let (got, expected) = (f64::from(u32::try_from(lost).unwrap()) / f64::from(WALKS), chain.absorbed(1.0));
        let deviation = (expected * (1.0 - expected) / f64::from(WALKS)).sqrt();
        assert!((got - expected).abs() < 4.0 * deviation, "{code}: walked {got}, solved {expected} +- {deviation}");
    }
}

/// A whole cluster, peer by peer: each loss is repaired after a fixed time, for all groups that the peer was in. No chain, no groups that
/// do not know of each other. Whether any set of n peers had more than n - k missing at once.
fn live(cluster: &Cluster, code: Redundancy, years: f64, dice: &mut Dice) -> bool {
    let fails = rate(cluster.annual_failure_rate);
    let mut next: Vec<f64> = (0..cluster.peers).map(|_| exponential(dice, fails)).collect();
    let mut missing_until: Vec<f64> = Vec::new();
    loop {
        let (number, now) =
            next.iter().copied().enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).expect("there are peers");
        if now > years {
            return false;
        }
        missing_until.retain(|until| *until > now);
        let lost = u32::try_from(missing_until.len()).unwrap() + 1;
        if usize::try_from(lost).unwrap() > code.losses() {
            return true;
        }
        let until = now + cluster.repair_time(code, lost).unwrap() / HOURS_PER_YEAR;
        missing_until.push(until);
        next[number] = until + exponential(dice, fails);
    }
}

#[test]
fn the_model_errs_on_the_safe_side_of_a_simulated_cluster_and_not_by_much() {
    const LIVES: u32 = 200_000;
    for (peers, code) in [(3, "1/2"), (3, "1/3"), (5, "1/2"), (5, "1/3"), (6, "2/4"), (6, "4/6")] {
        let cluster = Cluster { annual_failure_rate: 0.5, ..busy(peers) };
        let code = redundancy(code);
        let mut dice = Dice::new(11);
        let lost = (0..LIVES).filter(|_| live(&cluster, code, 1.0, &mut dice)).count();
        let simulated = f64::from(u32::try_from(lost).unwrap()) / f64::from(LIVES);
        let modelled = cluster.loss(code, 1.0).unwrap();
        let ratio = modelled / simulated;
        println!("{peers} peers at {code}: simulated {simulated:.4}, modelled {modelled:.4}, ratio {ratio:.2}");
        // Repairs one after the other where the simulation has them side by side, and groups that know nothing of each other.
        assert!((0.95..8.0).contains(&ratio), "{peers} peers at {code}: {simulated} simulated, {modelled} modelled");
    }
}

#[test]
fn what_should_help_helps_and_what_should_hurt_hurts() {
    let code = redundancy("2/4");
    let base = calm(8).loss(code, 1.0).unwrap();
    let at = |cluster: Cluster| cluster.loss(code, 1.0).unwrap();
    let worse = [
        Cluster { annual_failure_rate: 0.05, ..calm(8) },
        Cluster { grace: 100.0, ..calm(8) },
        Cluster { bandwidth: 1e7, ..calm(8) },
        Cluster { rate: Some(1e7), ..calm(8) },
        Cluster { stored: 4e12, ..calm(8) },
        Cluster { latent: 1.0, ..calm(8) },
        Cluster { zones: Some(Zones { count: 2, annual_failure_rate: 0.001 }), ..calm(8) },
    ];
    for cluster in worse {
        assert!(at(cluster) > base, "{cluster:?}: {} is not above {base}", at(cluster));
    }
    let scrubbed = Cluster { latent: 1.0, scrub: 24.0, ..calm(8) };
    assert!(at(scrubbed) < at(Cluster { latent: 1.0, ..calm(8) }));
    assert!(calm(8).loss(redundancy("1/3"), 1.0).unwrap() < calm(8).loss(redundancy("1/2"), 1.0).unwrap());
    assert!(calm(8).loss(code, 2.0).unwrap() > base);
    assert_eq!(calm(3).loss(code, 1.0), None, "four shards on three peers");
    // A loss of no more groups than there are chunks.
    assert!(close(Cluster { stored: 3e6, ..calm(20) }.groups(redundancy("1/2")).unwrap(), 10.0, 1e-9));
    assert!(close(calm(20).groups(redundancy("10/14")).unwrap(), 38_760.0, 1e-9));
}
