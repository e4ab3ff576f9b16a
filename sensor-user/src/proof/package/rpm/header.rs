//! A package's header as rpm's databases hold it.
//!
//! Big-endian: the number of index entries and of data bytes, 32 bits each; then the entries (tag, type, offset, count, 32
//! bits each); then the data (<https://rpm-software-management.github.io/rpm/manual/format_header.html>). Tags are those of
//! rpm's include/rpm/rpmtag.h.

use crate::proof::package::{Claim, Digest, Manager, Package};

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const ARCH: u32 = 1022;
const FILESTATES: u32 = 1029;
const FILEMODES: u32 = 1030;
const FILEDIGESTS: u32 = 1035;
const FILELINKTOS: u32 = 1036;
const FILEFLAGS: u32 = 1037;
const DIRINDEXES: u32 = 1116;
const BASENAMES: u32 = 1117;
const DIRNAMES: u32 = 1118;
const FILEDIGESTALGO: u32 = 5011;

const CHAR: u32 = 1;
const INT8: u32 = 2;
const INT16: u32 = 3;
const INT32: u32 = 4;
const STRING: u32 = 6;
const STRING_ARRAY: u32 = 8;

/// `RPMFILE_CONFIG`, `RPMFILE_GHOST` (include/rpm/rpmfiles.h).
const CONFIG: u32 = 1;
const GHOST: u32 = 1 << 6;
/// `RPMFILE_STATE_NORMAL`: not left out, and not replaced by another package's.
const NORMAL: u32 = 0;
/// `S_IFMT` and what a regular file has of it (inode(7)).
const TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;

/// Index entries at most, as rpm has it (lib/header.c, `hdrchkTags`).
const ENTRIES_MAX: usize = 0xffff;

/// A header in its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header<'a> {
    index: &'a [u8],
    data: &'a [u8],
}

impl<'a> Header<'a> {
    /// `None` where lengths are not those of a header.
    pub(super) fn parse(blob: &'a [u8]) -> Option<Self> {
        let entries = usize::try_from(number(blob, 0)?).ok().filter(|count| *count <= ENTRIES_MAX)?;
        let length = usize::try_from(number(blob, 4)?).ok()?;
        let (index, data) = blob.get(8..)?.split_at_checked(entries * 16)?;
        Some(Self { index, data: data.get(..length)? })
    }

    /// Type, count and data of a tag, up to the end of all data.
    fn entry(&self, tag: u32) -> Option<(u32, usize, &'a [u8])> {
        let entry = self.index.chunks_exact(16).find(|entry| number(entry, 0) == Some(tag))?;
        let offset = usize::try_from(number(entry, 8)?).ok()?;
        let count = usize::try_from(number(entry, 12)?).ok()?;
        Some((number(entry, 4)?, count, self.data.get(offset..)?))
    }

    fn strings(&self, tag: u32) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (count, data) = match self.entry(tag) {
            Some((STRING, _, data)) => (1, data),
            Some((STRING_ARRAY, count, data)) => (count, data),
            _ => (0, &[][..]),
        };
        // What has no NUL at its end is cut off.
        data.split_inclusive(|byte| *byte == 0).map_while(|text| text.strip_suffix(b"\0")).take(count)
    }

    fn numbers(&self, tag: u32) -> Vec<u32> {
        let Some((kind, count, data)) = self.entry(tag) else { return Vec::new() };
        match kind {
            CHAR | INT8 => data.iter().take(count).map(|byte| u32::from(*byte)).collect(),
            INT16 => {
                let pairs = data.chunks_exact(2).take(count);
                pairs.map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).collect()
            }
            INT32 => data.chunks_exact(4).take(count).filter_map(|four| number(four, 0)).collect(),
            _ => Vec::new(),
        }
    }

    /// Which package it is.
    pub(super) fn package(&self) -> Option<Package> {
        let text = |tag| self.strings(tag).next().map(|text| String::from_utf8_lossy(text).into_owned());
        let (version, release) = (text(VERSION)?, text(RELEASE)?);
        let epoch = self.numbers(EPOCH).first().map_or(String::new(), |epoch| format!("{epoch}:"));
        Some(Package {
            manager: Manager::Rpm,
            name: text(NAME)?,
            version: format!("{epoch}{version}-{release}"),
            architecture: text(ARCH).unwrap_or_default(),
        })
    }

    /// Paths, in the order of all other tags on files.
    pub(super) fn paths(&self) -> impl Iterator<Item = Vec<u8>> + use<'a> {
        let directories: Vec<&[u8]> = self.strings(DIRNAMES).collect();
        let indexes = self.numbers(DIRINDEXES);
        self.strings(BASENAMES).zip(indexes).map(move |(name, at)| {
            let directory = usize::try_from(at).ok().and_then(|at| directories.get(at));
            [directory.copied().unwrap_or_default(), name].concat()
        })
    }

    /// What the package says of one of these paths.
    pub(super) fn claim(&self, spellings: &[Vec<u8>]) -> Option<Claim> {
        let at = self.paths().position(|path| spellings.contains(&path))?;
        let number = |tag| self.numbers(tag).get(at).copied();
        let text = |tag| self.strings(tag).nth(at).filter(|text| !text.is_empty());
        // Without states (old packages) all are there.
        if number(FILESTATES).is_some_and(|state| state != NORMAL) {
            return None;
        }
        let flags = number(FILEFLAGS).unwrap_or(0);
        let is_regular = number(FILEMODES).is_none_or(|mode| mode & TYPE == REGULAR);
        let digest = text(FILEDIGESTS).filter(|_| is_regular && flags & GHOST == 0).and_then(|hex| {
            // OpenPGP's numbers (RFC 4880, 9.4). Without the tag it is MD5 (lib/rpmfi.c).
            let (length, of): (usize, fn(String) -> Digest) = match self.numbers(FILEDIGESTALGO).first() {
                None | Some(1) => (32, Digest::Md5),
                Some(2) => (40, Digest::Sha1),
                Some(8) => (64, Digest::Sha256),
                Some(10) => (128, Digest::Sha512),
                Some(_) => return None,
            };
            let is_sound = hex.len() == length && hex.iter().all(u8::is_ascii_hexdigit);
            is_sound.then(|| of(String::from_utf8_lossy(hex).to_ascii_lowercase()))
        });
        let target = text(FILELINKTOS).map(<[u8]>::to_vec);
        Some(Claim { package: self.package()?, digest, target, config: flags & CONFIG != 0 })
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}
