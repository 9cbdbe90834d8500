//! A disk in memory that can lose its power: what was not synced is gone, or partly there, page by page.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use crate::store::disk::{Disk, DiskFile, Space};
use crate::store::record::PAGE;
use crate::store::segment::lock;

#[derive(Clone, Default, Debug)]
struct Image {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Pages that were given back, and not written since.
    holes: BTreeSet<usize>,
    /// Its name would survive a power cut.
    named: bool,
}

#[derive(Default, Debug)]
struct World {
    files: BTreeMap<String, Image>,
    /// Syncs of any kind that still work; `None`: all.
    syncs_left: Option<u64>,
    syncs: u64,
    writes: u64,
    /// The next segment write fails, after its first page went through.
    tear_next_write: Option<i32>,
    free: u64,
    /// The next sync of a segment says that it has begun, and waits.
    hold: Option<(Sender<()>, Receiver<()>)>,
    /// The next read of a segment likewise.
    hold_read: Option<(Sender<()>, Receiver<()>)>,
    no_holes: bool,
    /// Files whose names a power cut would bring back.
    removed: BTreeMap<String, Image>,
}

#[derive(Clone, Debug)]
pub(super) struct MemoryDisk {
    world: Arc<Mutex<World>>,
}

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    name: String,
}

/// What becomes of pages that were written and not synced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unsynced {
    Lost,
    Kept,
    /// Each page by itself, as this seed says.
    Torn(u64),
}

impl MemoryDisk {
    pub(super) fn new() -> Self {
        let world = World { free: 1 << 40, ..World::default() };
        Self { world: Arc::new(Mutex::new(world)) }
    }

    fn with<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut lock(&self.world))
    }

    pub(super) fn syncs(&self) -> u64 {
        self.with(|world| world.syncs)
    }

    pub(super) fn writes(&self) -> u64 {
        self.with(|world| world.writes)
    }

    pub(super) fn cut_power_at_sync(&self, nth: u64) {
        self.with(|world| world.syncs_left = Some(nth));
    }

    pub(super) fn tear_next_write(&self, errno: i32) {
        self.with(|world| world.tear_next_write = Some(errno));
    }

    /// Hears when the next sync of a segment has begun, and lets it go on.
    pub(super) fn hold_next_sync(&self) -> (Receiver<()>, Sender<()>) {
        let ((begun, held), (go, wait)) = (channel(), channel());
        self.with(|world| world.hold = Some((begun, wait)));
        (held, go)
    }

    /// Hears when the next read of a segment has begun, and lets it go on.
    pub(super) fn hold_next_read(&self) -> (Receiver<()>, Sender<()>) {
        let ((begun, held), (go, wait)) = (channel(), channel());
        self.with(|world| world.hold_read = Some((begun, wait)));
        (held, go)
    }

    pub(super) fn make_no_holes(&self) {
        self.with(|world| world.no_holes = true);
    }

    pub(super) fn set_free(&self, free: u64) {
        self.with(|world| world.free = free);
    }

    pub(super) fn names(&self, folder: &str) -> Vec<String> {
        self.with(|world| world.files.keys().filter(|name| name.starts_with(folder)).cloned().collect())
    }

    pub(super) fn bytes(&self, name: &str) -> Vec<u8> {
        self.with(|world| world.files[name].live.clone())
    }

    /// Changes a file as it lies on the disk; `None` removes it.
    pub(super) fn set(&self, name: &str, bytes: Option<Vec<u8>>) {
        self.with(|world| match bytes {
            Some(bytes) => {
                world.files.insert(
                    name.into(),
                    Image { live: bytes.clone(), durable: bytes, named: true, ..Image::default() },
                );
            }
            None => {
                world.files.remove(name);
            }
        });
    }

    /// The same disk after the process was killed: the kernel still has what was not synced.
    pub(super) fn after_kill(&self) -> Self {
        let files = self.with(|world| world.files.clone());
        let next = Self::new();
        next.with(|world| world.files = files);
        next
    }

    /// The same disk after the power came back.
    pub(super) fn after_power_cut(&self, unsynced: Unsynced) -> Self {
        let (mut files, removed) = self.with(|world| (world.files.clone(), world.removed.clone()));
        let mut random = if let Unsynced::Torn(seed) = unsynced { seed | 1 } else { 0 };
        let mut keep = || match unsynced {
            Unsynced::Lost => false,
            Unsynced::Kept => true,
            Unsynced::Torn(_) => {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random & 1 == 0
            }
        };
        files.retain(|_, image| image.named || keep());
        for (name, image) in removed {
            if image.named && !keep() {
                files.entry(name).or_insert(image);
            }
        }
        for image in files.values_mut() {
            let len = if keep() { image.live.len().max(image.durable.len()) } else { image.durable.len() };
            image.durable.resize(len, 0);
            for (page, live) in image.live.chunks(PAGE).enumerate() {
                let end = (page * PAGE + live.len()).min(len);
                if page * PAGE < end && keep() {
                    image.durable[page * PAGE..end].copy_from_slice(&live[..end - page * PAGE]);
                }
            }
            image.live = image.durable.clone();
            let is_zero =
                |page: &usize| image.live.chunks(PAGE).nth(*page).is_some_and(|page| page.iter().all(|b| *b == 0));
            image.holes.retain(is_zero);
            image.named = true;
        }
        let next = Self::new();
        next.with(|world| world.files = files);
        next
    }
}

impl World {
    fn sync(&mut self) -> io::Result<()> {
        match &mut self.syncs_left {
            Some(0) => return Err(io::Error::other("the power is off")),
            Some(left) => *left -= 1,
            None => {}
        }
        self.syncs += 1;
        Ok(())
    }

    fn image(&mut self, name: &str) -> io::Result<&mut Image> {
        self.files.get_mut(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for MemoryDisk {
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("memory").join(name)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.with(|world| match world.files.contains_key(name) {
            true => Err(io::Error::from(io::ErrorKind::AlreadyExists)),
            false => {
                world.files.insert(name.into(), Image::default());
                Ok(())
            }
        })?;
        self.open(name)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.with(|world| world.image(name).map(drop))?;
        Ok(Arc::new(MemoryFile { disk: self.clone(), name: name.into() }))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let folder = format!("{folder}/");
        Ok(self.names(&folder).iter().map(|name| name[folder.len()..].to_owned()).collect())
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.with(|world| {
            world.sync()?;
            for (_, image) in world.files.iter_mut().filter(|(name, _)| name.starts_with(folder)) {
                image.named = true;
            }
            world.removed.retain(|name, _| !name.starts_with(folder));
            Ok(())
        })
    }

    fn read(&self, name: &str, limit: usize) -> io::Result<Option<Vec<u8>>> {
        self.with(|world| Ok(world.files.get(name).map(|image| image.live.iter().copied().take(limit).collect())))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.with(World::sync)?;
        self.set(name, Some(bytes.to_vec()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.with(|world| {
            let image = world.files.remove(name).ok_or(io::ErrorKind::NotFound)?;
            world.removed.insert(name.into(), image);
            Ok(())
        })
    }

    fn space(&self) -> io::Result<Space> {
        self.with(|world| Ok(Space { free: world.free, total: 1 << 40 }))
    }
}

impl DiskFile for MemoryFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        assert_eq!((bytes.len() % PAGE, offset % PAGE as u64), (0, 0), "as O_DIRECT asks");
        let offset = usize::try_from(offset).unwrap();
        if let Some((begun, wait)) = self.disk.with(|world| world.hold_read.take()) {
            begun.send(()).unwrap();
            wait.recv().unwrap();
        }
        self.disk.with(|world| {
            let image = world.image(&self.name)?;
            let found = image.live.get(offset..offset + bytes.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            bytes.copy_from_slice(found);
            Ok(())
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        assert_eq!((bytes.len() % PAGE, offset % PAGE as u64), (0, 0), "as O_DIRECT asks");
        assert_eq!(bytes.as_ptr() as usize % PAGE, 0, "as O_DIRECT asks");
        let offset = usize::try_from(offset).unwrap();
        self.disk.with(|world| {
            let torn = world.tear_next_write.take();
            let bytes = if torn.is_some() { &bytes[..PAGE] } else { bytes };
            let image = world.image(&self.name)?;
            let end = offset + bytes.len();
            image.live.resize(image.live.len().max(end), 0);
            image.live[offset..end].copy_from_slice(bytes);
            image.holes.retain(|page| !(offset / PAGE..end / PAGE).contains(page));
            world.writes += 1;
            torn.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
        })
    }

    fn sync(&self) -> io::Result<()> {
        if let Some((begun, wait)) = self.disk.with(|world| world.hold.take()) {
            begun.send(()).unwrap();
            wait.recv().unwrap();
        }
        self.disk.with(|world| {
            world.sync()?;
            let image = world.image(&self.name)?;
            image.durable = image.live.clone();
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.disk.with(|world| Ok(world.image(&self.name)?.live.len() as u64))
    }

    fn allocated(&self) -> io::Result<u64> {
        self.disk.with(|world| {
            let image = world.image(&self.name)?;
            Ok((image.live.len() - image.holes.len() * PAGE) as u64)
        })
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<bool> {
        assert_eq!((len % PAGE as u64, offset % PAGE as u64), (0, 0), "whole pages");
        let (from, to) = (usize::try_from(offset).unwrap(), usize::try_from(offset + len).unwrap());
        self.disk.with(|world| {
            if world.no_holes {
                return Ok(false);
            }
            let image = world.image(&self.name)?;
            let to = to.min(image.live.len());
            image.live[from..to].fill(0);
            image.holes.extend(from / PAGE..to / PAGE);
            Ok(true)
        })
    }
}
