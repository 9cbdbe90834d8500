//! Fragile: a disk whose power can be cut under whole processes. It is an ext4 file system in an image file.
//!
//! A cut is ext4's own emergency stop without a flush of its journal (`EXT4_IOC_SHUTDOWN`): from that instant on it writes nothing more, and
//! what it had not written by then stays in memory and is dropped when it is unmounted. So the image holds what a disk would hold: all that
//! was synced, and of the rest whatever the kernel happened to have written out. The next mount replays the journal, as after a real cut.
//!
//! Non-goals: a disk that lies about syncs, and writes that are torn within a block: the stores' own tests on disks in memory have them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// `_IOR('X', 125, __u32)` with `EXT4_GOING_FLAGS_NOLOGFLUSH`.
const CUT: &str = r#"open(my $at, "<", $ARGV[0]) or die "$!\n"; my $flags = pack("L", 2); ioctl($at, 0x8004587D, $flags) or die "$!\n";"#;

/// See the module.
#[derive(Debug)]
pub struct Fragile {
    folder: TempDir,
}

impl Fragile {
    /// A new one of so many bytes, most of them holes; `None`, with a word about it, where this machine does not permit it.
    ///
    /// # Errors
    /// When there is no room for its image.
    pub fn new(bytes: u64) -> Result<Option<Self>> {
        let disk = Self { folder: TempDir::with_prefix("shoal-disk-")? };
        File::create(disk.image())?.set_len(bytes)?;
        fs::create_dir(disk.at())?;
        let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(disk.image()).output();
        let perl = Command::new("perl").args(["-e", "1"]).output();
        let can = [made, perl].into_iter().all(|output| output.is_ok_and(|output| output.status.success()));
        if !can || disk.mount().is_err() {
            let line = "skipped: no mkfs.ext4 or perl on this machine, or no right to mount\n";
            std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes())?;
            return Ok(None);
        }
        Ok(Some(disk))
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    /// Where it is mounted.
    #[must_use]
    pub fn at(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn mount(&self) -> Result<()> {
        do_it(Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(self.at()))
    }

    /// Cuts the power. Everything that still uses the disk gets EIO.
    ///
    /// # Errors
    /// When the kernel does not do it.
    pub fn cut(&self) -> Result<()> {
        do_it(Command::new("perl").args(["-e", CUT]).arg(self.at()))
    }

    /// The power is back. Nothing may use the disk any more.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn back(&self) -> Result<()> {
        unmount(&self.at())?;
        self.mount()
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        unmount(&self.at()).ok(); // it may never have been mounted
    }
}

/// A process that was killed a moment ago may still have files open.
fn unmount(at: &Path) -> Result<()> {
    let mut tries = 0;
    loop {
        let unmounted = do_it(Command::new("umount").arg(at));
        if unmounted.is_ok() || tries > 100 {
            return unmounted;
        }
        tries += 1;
        thread::sleep(Duration::from_millis(50));
    }
}

fn do_it(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
