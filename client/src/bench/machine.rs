//! Machine: where the figures come from, since they belong to it.

use std::fs;
use std::thread::available_parallelism;

use serde_json::{Value, json};

/// What is known of this machine.
#[derive(Debug, Clone)]
pub struct Machine {
    pub cores: usize,
    pub cpu: String,
    pub kernel: String,
    pub memory_bytes: u64,
}

impl Machine {
    #[must_use]
    pub fn this() -> Self {
        Self {
            cores: available_parallelism().map_or(1, usize::from),
            cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            memory_bytes: memory().unwrap_or(0),
        }
    }

    #[must_use]
    pub fn object(&self) -> Value {
        json!({
            "cores": self.cores,
            "cpu": self.cpu,
            "kernel": self.kernel,
            "memory_bytes": self.memory_bytes,
        })
    }
}

/// The first `NAME : VALUE` of a file of such lines.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'))?;
    Some(value.trim().to_owned())
}

fn memory() -> Option<u64> {
    let kib = field("/proc/meminfo", "MemTotal")?;
    Some(kib.strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_described() {
        let machine = Machine::this();
        assert!(machine.cores > 0 && machine.memory_bytes > 1 << 26, "{machine:?}");
        assert!(!machine.cpu.is_empty() && machine.kernel.contains('.'), "{machine:?}");
    }
}
