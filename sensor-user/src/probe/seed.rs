//! Files that can be written without being opened where they are watched: by a descriptor or a shared mapping that is
//! older than the watch, or under another name elsewhere. The programs recognise them by their own inode, which is
//! entered here.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, StatxFlags};
use sensor_common::limits::WALK_LEVELS;
use sensor_common::watch;

use super::watches::{Marker, WatchError, WatchSet};

/// Files below watched directories that are looked at. A host has a few thousand units.
const FILES_MAX: usize = 20_000;
/// Bytes of one process's list of mappings that are read: some 40,000 mappings.
const MAPS_MAX: u64 = 4 << 20;
/// Bytes of a descriptor's description that are read; what is looked for stands in its first lines.
const FDINFO_MAX: u64 = 4096;

/// A file as stat(2) tells it from others: device and inode.
type Stat = (u64, u64);

/// What [`WatchSet::seed_files`] did.
#[derive(Default)]
pub struct Seeded {
    /// Regular files found below watched directories.
    pub files: usize,
    /// Files marked now.
    pub marked: usize,
    /// There are more files than are looked at.
    pub cut: bool,
    /// What could not be marked.
    pub errors: Vec<WatchError>,
}

impl<M: Marker> WatchSet<M> {
    /// Marks every regular file below a watched directory that has further names, that some process has open for
    /// writing, or that one has mapped shared and writable. To be called after the first [`Self::resolve`], and after
    /// one that found new directories, or when a directory was renamed into a watched one; marks that have no reason
    /// any more are taken away.
    ///
    /// Nothing is opened but directories and those files; no symlink is followed, and a descriptor of another process
    /// is looked at through /proc only where its inode number is one of a watched file. Tables of descriptors that
    /// single threads keep for themselves (clone(2) without `CLONE_FILES`) are not searched.
    ///
    /// # Errors
    /// Where the root directory cannot be opened. What fails on one file is in [`Seeded::errors`].
    pub fn seed_files(&mut self) -> Result<Seeded, WatchError> {
        let mut seed = Seed { seeded: Seeded::default(), known: HashMap::new(), marks: HashMap::new() };
        for (number, directory) in self.open_directories()? {
            seed.walk(self.marker_mut(), directory.as_fd(), number);
        }
        if !seed.known.is_empty() {
            seed.processes(self.marker_mut());
        }
        let Seed { mut seeded, marks, .. } = seed;
        for (identity, number) in &marks {
            if self.is_configured(identity) {
                continue;
            }
            match self.marker_mut().mark(identity, watch::FILE, *number) {
                Ok(()) => {
                    self.seeded.insert(identity.clone(), *number);
                }
                Err(error) => error.gather(&mut seeded.errors),
            }
        }
        let gone: Vec<M::Identity> =
            self.seeded.keys().filter(|identity| !marks.contains_key(*identity)).cloned().collect();
        for identity in gone {
            self.seeded.remove(&identity);
            if !self.is_configured(&identity) {
                seeded.errors.extend(self.marker_mut().mark(&identity, 0, 0).err());
            }
        }
        seeded.marked = self.seeded.len();
        Ok(seeded)
    }
}

/// One search.
struct Seed<I> {
    seeded: Seeded,
    /// Regular files below watched directories, with the watch's number.
    known: HashMap<Stat, u32>,
    marks: HashMap<I, u32>,
}

impl<I: Clone + Eq + std::hash::Hash> Seed<I> {
    /// Collects the regular files below a directory, and marks those with further names.
    fn walk<M: Marker<Identity = I>>(&mut self, marker: &mut M, directory: BorrowedFd<'_>, number: u32) {
        let mut waiting = vec![(String::from("."), 0)];
        while let Some((path, depth)) = waiting.pop() {
            let Some(opened) = open_below(directory, &path) else { continue };
            let Ok(entries) = Dir::read_from(&opened) else { continue };
            for entry in entries.flatten() {
                let name = entry.file_name();
                if name == c"." || name == c".." {
                    continue;
                }
                // Some filesystems leave the type out (readdir(3)).
                let kind = match entry.file_type() {
                    FileType::Unknown => {
                        stat(opened.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW).map(|found| found.kind)
                    }
                    kind => Some(kind),
                };
                match kind {
                    Some(FileType::Directory) if depth < WALK_LEVELS => {
                        // A name that is not UTF-8 is not descended into by another name.
                        if let Ok(name) = name.to_str() {
                            waiting.push((format!("{path}/{name}"), depth + 1));
                        }
                    }
                    Some(FileType::RegularFile) => {
                        if self.known.len() >= FILES_MAX {
                            self.seeded.cut = true;
                            return;
                        }
                        self.file(marker, opened.as_fd(), name, number);
                    }
                    _ => {}
                }
            }
        }
    }

    fn file<M: Marker<Identity = I>>(
        &mut self,
        marker: &mut M,
        directory: BorrowedFd<'_>,
        name: &std::ffi::CStr,
        number: u32,
    ) {
        let Some(found) = stat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { return };
        self.seeded.files += 1;
        self.known.insert(found.stat, number);
        if found.links > 1 {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            if let Ok(opened) = rustix::fs::openat(directory, name, flags, Mode::empty()) {
                self.mark(marker, &opened, found.stat, &name.to_string_lossy());
            }
        }
    }

    /// Enters the open file, if it is (still) the one that was meant.
    fn mark<M: Marker<Identity = I>>(&mut self, marker: &mut M, opened: &OwnedFd, meant: Stat, path: &str) {
        let Some(&number) = self.known.get(&meant) else { return };
        match stat(opened.as_fd(), c"", AtFlags::EMPTY_PATH) {
            Some(found) if found.stat == meant && found.kind == FileType::RegularFile => {}
            _ => return,
        }
        match marker.identify(opened.as_fd(), path) {
            Ok(identities) => self.marks.extend(identities.into_iter().map(|identity| (identity, number))),
            Err(error) => self.seeded.errors.push(error),
        }
    }

    /// Looks for descriptors and mappings of all processes. One that ends meanwhile has closed them.
    fn processes<M: Marker<Identity = I>>(&mut self, marker: &mut M) {
        let inodes = self.known.keys().map(|stat| stat.1).collect();
        let Ok(all) = std::fs::read_dir("/proc") else { return };
        for process in all.flatten() {
            let name = process.file_name();
            if let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) {
                self.descriptors(marker, pid, &inodes);
                self.mappings(marker, pid, &inodes);
            }
        }
    }

    fn descriptors<M: Marker<Identity = I>>(&mut self, marker: &mut M, pid: u32, inodes: &Inodes) {
        let Ok(all) = std::fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return };
        for entry in all.flatten() {
            let mut info = String::new();
            let read =
                File::open(entry.path()).and_then(|file| file.take(FDINFO_MAX).read_to_string(&mut info));
            if read.is_ok() && may_write(&info, inodes) {
                let name = entry.file_name();
                self.through_proc(marker, &format!("/proc/{pid}/fd/{}", name.to_string_lossy()));
            }
        }
    }

    fn mappings<M: Marker<Identity = I>>(&mut self, marker: &mut M, pid: u32, inodes: &Inodes) {
        let Ok(maps) = File::open(format!("/proc/{pid}/maps")) else { return };
        let mut maps = BufReader::new(maps.take(MAPS_MAX));
        let mut line = Vec::new();
        while matches!(maps.read_until(b'\n', &mut line), Ok(1..)) {
            if let Some(range) = shared_writable(&line, inodes) {
                self.through_proc(marker, &format!("/proc/{pid}/map_files/{range}"));
            }
            line.clear();
        }
    }

    /// Marks what a link of /proc leads to, if it is a watched file.
    fn through_proc<M: Marker<Identity = I>>(&mut self, marker: &mut M, link: &str) {
        // O_PATH opens nothing: whatever the link leads to, it cannot block.
        let Ok(opened) = rustix::fs::open(link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) else {
            return;
        };
        if let Some(found) = stat(opened.as_fd(), c"", AtFlags::EMPTY_PATH) {
            self.mark(marker, &opened, found.stat, link);
        }
    }
}

type Inodes = std::collections::HashSet<u64>;

/// Opens a directory one name after the other: the path as a whole may be too long for a system call (`PATH_MAX`), and no
/// symlink that came in between is followed.
fn open_below(directory: BorrowedFd<'_>, path: &str) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut here = rustix::fs::openat(directory, ".", flags, Mode::empty()).ok()?;
    for name in path.split('/').filter(|name| *name != ".") {
        here = rustix::fs::openat(&here, name, flags, Mode::empty()).ok()?;
    }
    Some(here)
}

/// What stat(2) tells.
struct Found {
    stat: Stat,
    kind: FileType,
    links: u32,
}

/// Without asking a server: a network filesystem that does not answer would hold the sensor up.
fn stat(directory: BorrowedFd<'_>, name: &std::ffi::CStr, flags: AtFlags) -> Option<Found> {
    let mask = StatxFlags::TYPE | StatxFlags::INO | StatxFlags::NLINK;
    let found = rustix::fs::statx(directory, name, flags | AtFlags::STATX_DONT_SYNC, mask).ok()?;
    Some(Found {
        stat: (rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor), found.stx_ino),
        kind: FileType::from_raw_mode(u32::from(found.stx_mode)),
        links: found.stx_nlink,
    })
}

/// Whether a descriptor (proc(5), "/proc/pid/fdinfo") is open for writing and may be one of these files.
fn may_write(info: &str, inodes: &Inodes) -> bool {
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let writable =
        field("flags:").and_then(|flags| u32::from_str_radix(flags, 8).ok()).is_some_and(|flags| {
            flags & OFlags::ACCMODE.bits() != OFlags::RDONLY.bits() && flags & OFlags::PATH.bits() == 0
        });
    // Told since 5.14.
    let inode = field("ino:").and_then(|inode| inode.parse().ok());
    writable && inode.is_none_or(|inode| inodes.contains(&inode))
}

/// The address range of a mapping (proc(5), "/proc/pid/maps") that is shared and writable and may be of one of these
/// files.
fn shared_writable<'a>(line: &'a [u8], inodes: &Inodes) -> Option<&'a str> {
    let mut fields = line.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
    let (range, permissions) = (fields.next()?, fields.next()?);
    if permissions.get(1) != Some(&b'w') || permissions.get(3) != Some(&b's') {
        return None;
    }
    let inode = std::str::from_utf8(fields.nth(2)?).ok()?.trim_end().parse().ok()?;
    inodes.contains(&inode).then(|| std::str::from_utf8(range).ok())?
}

#[cfg(test)]
#[path = "seed_tests.rs"]
mod tests;
