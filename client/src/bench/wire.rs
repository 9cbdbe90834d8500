//! Wire: what one copy costs beyond its bytes, with packets of 1,452 bytes, which pass through any ordinary network.
//!
//! Only the client is told to use no larger ones; it tells the other ends.

use common::redundancy::Redundancy;
use serde_json::{Value, json};

use super::measured::{Wire, float};
use super::target::Target;
use super::{Bench, BenchError, content};

/// The largest UDP payload in packets of 1,500 bytes, over IPv6.
const PACKET_BYTES: u16 = 1_452;
/// Headers of IPv4 and UDP. Of IPv6 they are 48.
const HEADER_BYTES: u64 = 28;

/// What went through the client's socket.
#[derive(Debug, Clone, Copy)]
pub struct WireCost {
    /// Bytes of the file.
    pub bytes: u64,
    pub put: Wire,
    pub get: Wire,
}

impl WireCost {
    #[must_use]
    pub fn object(&self) -> Value {
        let way = |wire: &Wire| {
            json!({
                "sent_bytes": wire.sent_bytes,
                "received_bytes": wire.received_bytes,
                "datagrams": wire.datagrams,
                "beyond": self.beyond(wire),
                "beyond_with_headers": self.beyond_with_headers(wire),
            })
        };
        let (put, get) = (way(&self.put), way(&self.get));
        json!({ "event": "wire", "packet_bytes": PACKET_BYTES, "bytes": self.bytes, "put": put, "get": get })
    }

    /// What is sent and received beyond the file, as a share of it: in payloads of UDP.
    #[must_use]
    pub fn beyond(&self, wire: &Wire) -> f64 {
        float(wire.bytes()) / float(self.bytes) - 1.0
    }

    /// The same with the headers of IPv4 and UDP.
    #[must_use]
    pub fn beyond_with_headers(&self, wire: &Wire) -> f64 {
        float(wire.bytes() + wire.datagrams * HEADER_BYTES) / float(self.bytes) - 1.0
    }
}

impl Bench<'_> {
    pub(super) fn wire(&mut self, target: &Target) -> Result<(), BenchError> {
        let bytes = self.plan.size.0;
        let (source, back) = (self.scratch.path().join("wire"), self.scratch.path().join("wire-back"));
        self.say.step(&format!("counting bytes on the wire, with packets of {PACKET_BYTES}"));
        let expected = content::make_file(&source, bytes)?;
        let mtu = PACKET_BYTES.to_string();
        let environment = [("SHOAL_MTU", mtu.as_str())];
        let (remote, one) = (target.at("wire"), Redundancy::new(1, 1).map_err(BenchError::bug)?.to_string());
        let put = ["put", &source.to_string_lossy(), &remote, "--redundancy", &one];
        let (put, sent) = target.measure_with(&environment, &put, self.cancel)?;
        self.sent = self.sent.saturating_add(sent);
        let (get, _) = target.measure_with(&environment, &["get", &remote, &back.to_string_lossy()], self.cancel)?;
        content::check_file(&back, &expected)?;
        for path in [source, back] {
            std::fs::remove_file(&path).map_err(BenchError::disk("delete", &path))?;
        }
        let told = |wire: Option<Wire>| wire.ok_or_else(|| BenchError::bug("a command does not say what it sent"));
        self.wire = Some(WireCost { bytes, put: told(put.wire)?, get: told(get.wire)? });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_count_for_each_datagram() {
        let wire = Wire { sent_bytes: 1_000, received_bytes: 40, datagrams: 1 };
        let cost = WireCost { bytes: 1_000, put: wire, get: wire };
        assert!((cost.beyond(&wire) - 0.04).abs() < 1e-9);
        assert!((cost.beyond_with_headers(&wire) - 0.068).abs() < 1e-9);
        assert_eq!(cost.object()["put"]["datagrams"], 1);
    }
}
