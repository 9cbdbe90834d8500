//! Heap: memory that was allocated once stays with the process.
//!
//! glibc gives freed memory at the end of a heap back to the kernel from 128 KiB on, and allocates from 128 KiB on outside of the heaps.
//! Buffers of packets then move that end to and fro, and each time the pages are cleared and mapped anew: a tenth of a receiving peer's CPU
//! time. For who has many connections and short messages it is the wrong thing: the directory's handshakes took 15 % more CPU time with it.
//! Both bounds follow the largest block that was mapped by itself and freed (`mallopt(3)`, `M_MMAP_THRESHOLD`), up to 32 MiB.

use std::hint::black_box;

/// Just below the largest block that moves the bounds, whatever a block and a page take beside it.
const LARGEST: usize = (32 << 20) - (128 << 10);

/// Keeps up to 64 MiB of what is freed at the end of each heap, and blocks of up to 32 MiB within the heaps. To be called once, at the
/// start of a program that moves much. Touches no memory, and does nothing with another allocator.
pub fn keep() {
    drop(black_box(Vec::<u8>::with_capacity(LARGEST)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(not(all(target_os = "linux", target_env = "gnu")), ignore = "another allocator")]
    fn what_was_freed_is_not_mapped_anew() {
        const BYTES: usize = 16 << 20;
        // Pages that this thread has touched for the first time since it began.
        let faults = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let behind_the_name = stat.rsplit(')').next().unwrap();
            behind_the_name.split_whitespace().nth(7).unwrap().parse::<usize>().unwrap()
        };
        keep();
        let fill = || drop(black_box(vec![1_u8; BYTES]));
        fill();
        let before = faults();
        fill();
        let mapped = faults() - before;
        assert!(mapped < BYTES / 4096 / 8, "{mapped} pages were mapped");
    }
}
