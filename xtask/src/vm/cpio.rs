//! The archive a kernel unpacks as its first root: cpio in the "newc" form
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;

/// A regular file for a machine's first root.
#[derive(Clone, Debug)]
pub struct File {
    /// Where it lies, from the root; a leading slash is optional. Its directories are made.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    pub data: Vec<u8>,
}

impl File {
    /// A file that may be run.
    pub fn program(path: impl Into<String>, data: Vec<u8>) -> Self {
        Self { path: path.into(), mode: 0o755, data }
    }

    /// A file that is only read.
    pub fn data(path: impl Into<String>, data: Vec<u8>) -> Self {
        Self { path: path.into(), mode: 0o644, data }
    }
}

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// When every file was last changed: the start of 2026, in all runs.
const MTIME: u32 = 1_767_225_600;

/// A cpio archive being written.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    inode: u32,
    directories: BTreeSet<String>,
    bare: bool,
}

impl Archive {
    /// An archive without the directories above its files, for who unpacks it over a tree that has them.
    pub fn without_directories() -> Self {
        Self { bare: true, ..Self::default() }
    }

    /// Adds a file, and the directories above it that are not there yet.
    pub fn file(&mut self, file: &File) {
        let path = file.path.trim_start_matches('/');
        self.parents(path);
        self.entry(path, REGULAR | file.mode, (0, 0), &file.data);
    }

    /// Adds a directory, and those above it.
    pub fn directory(&mut self, path: &str) {
        let path = path.trim_matches('/');
        self.parents(path);
        if self.directories.insert(path.to_owned()) {
            self.entry(path, DIRECTORY | 0o755, (0, 0), &[]);
        }
    }

    /// Adds a character device: the kernel opens /dev/console for init before anything is mounted.
    pub fn device(&mut self, path: &str, major: u32, minor: u32) {
        let path = path.trim_start_matches('/');
        self.parents(path);
        self.entry(path, CHARACTER_DEVICE | 0o600, (major, minor), &[]);
    }

    /// The archive, with the entry that ends it.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn parents(&mut self, path: &str) {
        if let (false, Some((parent, _))) = (self.bare, path.rsplit_once('/')) {
            self.directory(parent);
        }
    }

    /// One header of 110 bytes in ASCII, the name with a NUL, the data; name and data padded to 4 bytes.
    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), data: &[u8]) {
        self.inode += 1;
        let size = u32::try_from(data.len()).expect("a file in an initramfs is below 4 GiB");
        let name_size = name.len() as u32 + 1;
        self.bytes.extend_from_slice(b"070701");
        let links = 1;
        // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
        for field in [self.inode, mode, 0, 0, links, MTIME, size, 0, 0, device.0, device.1, name_size, 0] {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(data);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads an archive back: name, mode, data.
    fn entries(bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut found = Vec::new();
        let mut at = 0;
        loop {
            let field = |n: usize| {
                let text = std::str::from_utf8(&bytes[at + 6 + n * 8..at + 14 + n * 8]).unwrap();
                usize::from_str_radix(text, 16).unwrap()
            };
            assert_eq!(&bytes[at..at + 6], b"070701");
            let (mode, size, name_size) = (field(1), field(6), field(11));
            let name = String::from_utf8(bytes[at + 110..at + 110 + name_size - 1].to_vec()).unwrap();
            let data = (at + 110 + name_size).next_multiple_of(4);
            at = (data + size).next_multiple_of(4);
            if name == "TRAILER!!!" {
                assert_eq!(at, bytes.len());
                return found;
            }
            found.push((name, mode as u32, bytes[data..data + size].to_vec()));
        }
    }

    #[test]
    fn directories_come_once_and_before_what_lies_in_them() {
        let mut archive = Archive::default();
        archive.file(&File::program("/init", b"abc".to_vec()));
        archive.file(&File::data("a/b/one", vec![1]));
        archive.file(&File::data("/a/b/two", vec![]));
        archive.directory("a/b");
        archive.device("dev/console", 5, 1);
        let found = entries(&archive.finish());
        let names: Vec<&str> = found.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["init", "a", "a/b", "a/b/one", "a/b/two", "dev", "dev/console"]);
        assert_eq!(found[0].1, 0o100_755);
        assert_eq!(found[0].2, b"abc");
        assert_eq!(found[1].1, 0o040_755);
        assert_eq!(found[6].1, 0o020_600);
    }

    #[test]
    fn a_bare_archive_has_files_alone() {
        let mut archive = Archive::without_directories();
        archive.file(&File::data("/etc/systemd/system/a.service", b"x".to_vec()));
        let names: Vec<String> = entries(&archive.finish()).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["etc/systemd/system/a.service"]);
    }
}
