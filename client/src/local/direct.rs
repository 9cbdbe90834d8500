//! Direct: the content of a large download, in order, past the page cache where the file system takes that.
//!
//! Fresh pages of the cache cost more than decrypting what goes into them (measured on a virtual machine: 2.5 CPU s a GiB against
//! 0.1), and a file that was just fetched is seldom read at once. Whole blocks are written straight from where they lie, when that
//! is aligned like their place in the file; what is not is collected in an aligned buffer (`O_DIRECT`). Where that is refused, it
//! is written as usual.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::seal::BLOCK;

/// Collected before it is written.
const BUFFER_BYTES: usize = 4 << 20;

/// Writes a file from its beginning to its end.
#[derive(Debug)]
pub(crate) struct DirectWriter {
    file: File,
    direct: bool,
    /// Room for the buffer and for its alignment.
    memory: Vec<u8>,
    start: usize,
    filled: usize,
    written: u64,
}

impl DirectWriter {
    /// Opens the file at `path` once more for direct writing; `file` is used where that is refused. It goes on at `from`: what is
    /// before that in its block is read, and written once more.
    pub(crate) fn new(path: &Path, file: &File, from: u64) -> io::Result<Self> {
        let begun = usize::try_from(from % BLOCK as u64).unwrap_or(0);
        let written = from - begun as u64;
        let mut head = vec![0; begun];
        file.read_exact_at(&mut head, written)?;
        let flags = i32::try_from(OFlags::DIRECT.bits()).unwrap_or(0);
        let (file, direct) = match OpenOptions::new().write(true).custom_flags(flags).open(path) {
            Ok(direct) => (direct, true),
            Err(_) => (file.try_clone()?, false),
        };
        let memory = vec![0; BUFFER_BYTES + BLOCK];
        let start = memory.as_ptr().align_offset(BLOCK).min(BLOCK);
        let mut writer = Self { file, direct, memory, start, filled: 0, written };
        writer.collect(&head)?;
        Ok(writer)
    }

    /// Appends. Blocks until what is in whole blocks, or fills the buffer, was taken by the disk.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        // From here on it lies in memory as it will in the file.
        let begun = self.filled.next_multiple_of(BLOCK) - self.filled;
        let (first, rest) = bytes.split_at(begun.min(bytes.len()));
        self.collect(first)?;
        let whole = rest.len() / BLOCK * BLOCK;
        if whole == 0 || !(rest.as_ptr() as usize).is_multiple_of(BLOCK) {
            return self.collect(rest);
        }
        let (blocks, last) = rest.split_at(whole);
        self.write_out(self.filled, blocks)?;
        self.collect(last)
    }

    fn collect(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let from = self.start + self.filled;
            let room = self.memory.get_mut(from..self.start + BUFFER_BYTES).unwrap_or_default();
            let (now, later) = bytes.split_at(room.len().min(bytes.len()));
            if let Some(room) = room.get_mut(..now.len()) {
                room.copy_from_slice(now);
            }
            self.filled += now.len();
            bytes = later;
            if self.filled == BUFFER_BYTES {
                self.write_out(BUFFER_BYTES, &[])?;
            }
        }
        Ok(())
    }

    /// Writes what is left, and cuts the file to what was appended.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        let len = self.written + self.filled as u64;
        let padded = self.filled.next_multiple_of(BLOCK);
        let (from, to) = (self.start + self.filled, self.start + padded);
        self.memory.get_mut(from..to).unwrap_or_default().fill(0);
        if padded > 0 {
            self.write_out(padded, &[])?;
        }
        self.file.set_len(len)
    }

    /// Writes the first `collected` bytes of the buffer, which empties it, and these blocks behind them.
    fn write_out(&mut self, collected: usize, blocks: &[u8]) -> io::Result<()> {
        let collected = self.memory.get(self.start..self.start + collected).unwrap_or_default();
        match write_both(&self.file, collected, blocks, self.written) {
            // Some file systems take the flag and refuse the write.
            Err(error) if self.direct && error.kind() == io::ErrorKind::InvalidInput => {
                let flags = rustix::fs::fcntl_getfl(&self.file)?;
                rustix::fs::fcntl_setfl(&self.file, flags & !OFlags::DIRECT)?;
                self.direct = false;
                write_both(&self.file, collected, blocks, self.written)?;
            }
            done => done?,
        }
        self.written += (collected.len() + blocks.len()) as u64;
        self.filled = 0;
        Ok(())
    }
}

/// In one call, where the system takes it all at once.
fn write_both(file: &File, first: &[u8], second: &[u8], offset: u64) -> io::Result<()> {
    let taken = rustix::io::pwritev(file, &[IoSlice::new(first), IoSlice::new(second)], offset)?;
    // What is left of a call that took less is written in two.
    let at = offset + taken as u64;
    let (first_left, second_left) = (first.get(taken..).unwrap_or_default(), taken.saturating_sub(first.len()));
    file.write_all_at(first_left, at)?;
    file.write_all_at(second.get(second_left..).unwrap_or_default(), at + first_left.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::Pool;

    #[test]
    fn a_file_of_any_length_in_any_pieces_is_written_as_it_was_given() {
        let folder = tempfile::tempdir().unwrap();
        for (len, piece) in [
            (0, 1),
            (1, 1),
            (4_096, 4_096),
            (BUFFER_BYTES, 1 << 20),
            (BUFFER_BYTES + 5_000, 777_777),
            (9_999_999, 3_000_001),
        ] {
            let content: Vec<u8> = (0..len).map(|i| u8::try_from(i * 7 % 251).unwrap()).collect();
            let path = folder.path().join("file");
            for aligned in [false, true] {
                let file = File::create(&path).unwrap();
                let mut writer = DirectWriter::new(&path, &file, 0).unwrap();
                let (pool, mut offset) = (Pool::new(1), 0);
                for piece in content.chunks(piece) {
                    let mut buffer = if aligned { pool.take_for(offset) } else { pool.take_for(offset + 1) };
                    assert_eq!(buffer.append(piece), piece.len());
                    writer.append(&buffer).unwrap();
                    offset += piece.len() as u64;
                }
                writer.finish().unwrap();
                let same = std::fs::read(&path).unwrap() == content;
                assert!(same, "{len} bytes in pieces of {piece}, aligned: {aligned}");
            }
        }
    }

    #[test]
    fn it_goes_on_anywhere_in_a_file_and_keeps_what_is_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let content: Vec<u8> = (0..300_000_u32).map(|i| u8::try_from(i * 13 % 251).unwrap()).collect();
        for from in [0, 1, 4_095, 4_096, 8_193, 299_999, 300_000] {
            std::fs::write(&path, [&content[..from], &[0; 9_000]].concat()).unwrap();
            let file = File::options().read(true).write(true).open(&path).unwrap();
            let mut writer = DirectWriter::new(&path, &file, from as u64).unwrap();
            content[from..].chunks(70_001).for_each(|piece| writer.append(piece).unwrap());
            writer.finish().unwrap();
            assert!(std::fs::read(&path).unwrap() == content, "from {from}");
        }
    }
}
