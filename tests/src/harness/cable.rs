//! Cable: two network namespaces, one for servers and one for devices, with an Ethernet between them. Needs root and `ip`.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The addresses of its two ends.
pub const SERVERS: &str = "10.211.7.1";
pub const DEVICES: &str = "10.211.7.2";

/// Both namespaces are gone when it is dropped.
pub struct Cable {
    pub servers: String,
    pub devices: String,
}

impl Cable {
    /// `None`, with a word about it, where that is not permitted.
    ///
    /// # Errors
    /// When the namespaces can be made and the cable between them cannot.
    pub fn lay(mtu: u32) -> Result<Option<Self>> {
        let name = |end| format!("shoal-{}-{end}", std::process::id());
        let cable = Self { servers: name("servers"), devices: name("devices") };
        let (servers, devices, mtu) = (cable.servers.as_str(), cable.devices.as_str(), mtu.to_string());
        let link = ["link", "add", "cable", "mtu", &mtu, "netns", servers, "type", "veth"];
        let peer = ["peer", "name", "cable", "mtu", &mtu, "netns", devices];
        let made = ip(&["netns", "add", servers]) && ip(&["netns", "add", devices]) && ip(&[&link[..], &peer].concat());
        if !made {
            eprintln!("skipped: this machine does not let us make network namespaces with `ip netns`");
            return Ok(None);
        }
        for (namespace, address) in [(servers, SERVERS), (devices, DEVICES)] {
            let addressed = ip(&["-n", namespace, "address", "add", &format!("{address}/24"), "dev", "cable"]);
            // One segment a batch: the kernel cuts batches before it counts, as real hardware does.
            let up = ["cable", "lo"]
                .map(|interface| ip(&["-n", namespace, "link", "set", "dev", interface, "gso_max_segs", "1", "up"]));
            if !addressed || up.contains(&false) {
                bail!("the network in namespace {namespace} cannot be set up");
            }
        }
        Ok(Some(cable))
    }

    /// Lets devices send so many Mbit/s in all, to all servers together; what waits longer than 100 ms is dropped.
    ///
    /// # Errors
    /// When `tc` refuses.
    pub fn limit_devices(&self, mbit: u64) -> Result<()> {
        let rate = format!("{mbit}mbit");
        let tbf = [
            "tc", "qdisc", "replace", "dev", "cable", "root", "tbf", "rate", &rate, "burst", "32kb", "latency", "100ms",
        ];
        if ip(&[&["netns", "exec", &self.devices], &tbf[..]].concat()) { Ok(()) } else { bail!("tc refuses {tbf:?}") }
    }

    /// Packets and bytes that an interface has sent so far, with their Ethernet headers.
    ///
    /// # Errors
    /// When the namespace or the interface is gone.
    pub fn sent(namespace: &str, interface: &str) -> Result<[u64; 2]> {
        let read = |counter| -> Result<u64> {
            let path = format!("/sys/class/net/{interface}/statistics/{counter}");
            let read = Command::new("ip").args(["netns", "exec", namespace, "cat", &path]).output()?;
            String::from_utf8_lossy(&read.stdout).trim().parse().with_context(|| format!("{namespace} {path}"))
        };
        Ok([read("tx_packets")?, read("tx_bytes")?])
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for namespace in [&self.servers, &self.devices] {
            ip(&["netns", "delete", namespace]);
        }
    }
}

fn ip(arguments: &[&str]) -> bool {
    let status = Command::new("ip").args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
