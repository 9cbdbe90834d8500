//! Checks the sketches of the data's way on one core: `cargo run --release -p client --example seal_speed`.

use std::hint::black_box;
use std::io::{Write, stdout};
use std::time::Instant;

use bytes::BytesMut;
use client::cut::{Cutter, Gear};
use client::keys::MasterKey;
use client::seal::{Plain, Pool, open, seal};

const BYTES: usize = 256 << 20;

fn main() -> anyhow::Result<()> {
    let keys = MasterKey::random().derive();
    let gear = Gear::new(&keys);
    let pool = Pool::new(4);
    let mut content = vec![0; BYTES];
    blake3::Hasher::new().update(b"speed").finalize_xof().fill(&mut content);
    let per_byte = |start: Instant| start.elapsed().as_secs_f64() * 1e9 / 268_435_456.0;
    for _ in 0..3 {
        let start = Instant::now();
        for chunk in Cutter::new(content.as_slice(), &gear, pool.clone()) {
            black_box(chunk?);
        }
        let cut = per_byte(start);

        let (mut name, mut sealing, mut opening, mut chunks) = (0.0, 0.0, 0.0, 0);
        for chunk in Cutter::new(content.as_slice(), &gear, pool.clone()) {
            let chunk = chunk?;
            let start = Instant::now();
            let plain = Plain::new(chunk);
            black_box(plain.chunk_id(&keys));
            name += per_byte(start);
            let digest = plain.digest();
            let start = Instant::now();
            let (sealed, secret) = seal(plain, &keys);
            sealing += per_byte(start);
            let received = BytesMut::from(&sealed.bytes()[..]);
            let start = Instant::now();
            black_box(open(received, &secret, &digest)?);
            opening += per_byte(start);
            chunks += 1;
        }
        writeln!(
            stdout(),
            "ns a byte: cut {cut:.2}, name {name:.2}, seal {sealing:.2}, open {opening:.2} ({chunks} chunks)"
        )?;
    }
    Ok(())
}
