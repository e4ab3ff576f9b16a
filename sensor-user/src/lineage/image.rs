//! What processes execute, kept once for all processes that share it.
//!
//! A fork shares its parent's image; equal execs (a shell's hundredth `sleep 1`) share one as well. Bytes are
//! bounded: the table drops ended processes first, then images are cut to their beginning.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Index of an image in [`Images`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageId(u32);

impl ImageId {
    /// No image: a kernel thread, or a process of which no exec was seen.
    pub const NONE: Self = Self(u32::MAX);

    /// Whether there is one.
    pub fn is_some(self) -> bool {
        self != Self::NONE
    }
}

/// One executed image, borrowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Image<'a> {
    /// Device of the executable (major << 20 | minor); 0 where unknown.
    pub device: u32,
    /// Inode number of the executable; 0 where unknown.
    pub inode: u64,
    /// Of `sensor_common::record::flags`.
    pub flags: u16,
    /// Path of the executable.
    pub exe: &'a [u8],
    /// The name given to execve: of a script the script.
    pub filename: &'a [u8],
    /// Working directory.
    pub cwd: &'a [u8],
    /// The arguments, each followed by a NUL.
    pub args: &'a [u8],
}

impl<'a> Image<'a> {
    /// The arguments one by one; an argument can be empty.
    pub fn arguments(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let args = self.args.strip_suffix(b"\0").unwrap_or(self.args);
        // No bytes are no argument, but a lone NUL is one empty argument.
        let empty = self.args.is_empty();
        args.split(|byte| *byte == 0).filter(move |_| !empty)
    }

    /// Last component of the executable's path.
    pub fn exe_name(&self) -> &'a [u8] {
        base_name(self.exe)
    }

    fn len(&self) -> usize {
        self.exe.len() + self.filename.len() + self.cwd.len() + self.args.len()
    }

    /// The beginning of each string: `names` bytes of paths, `args` bytes of arguments.
    fn cut(mut self, names: usize, args: usize) -> Self {
        if self.args.len() > args {
            self.args = &self.args[..args];
            self.flags |= sensor_common::record::flags::ARGS_TRUNCATED;
        }
        for name in [&mut self.exe, &mut self.filename, &mut self.cwd] {
            *name = &name[name.len().saturating_sub(names)..];
        }
        self
    }
}

/// What follows the last "/".
pub fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

#[derive(Debug)]
struct Slot {
    /// 0 where the slot is free.
    references: u32,
    device: u32,
    inode: u64,
    hash: u64,
    flags: u16,
    ends: [u16; 3],
    /// exe, filename, cwd, args, one after the other.
    strings: Box<[u8]>,
}

impl Slot {
    fn view(&self) -> Image<'_> {
        let [exe, filename, cwd] = self.ends.map(usize::from);
        Image {
            device: self.device,
            inode: self.inode,
            flags: self.flags,
            exe: &self.strings[..exe],
            filename: &self.strings[exe..filename],
            cwd: &self.strings[filename..cwd],
            args: &self.strings[cwd..],
        }
    }
}

/// Bytes that a slot and its place in the index take beside its strings.
const SLOT_BYTES: usize = size_of::<Slot>() + 17;

/// Images by id, counted references.
#[derive(Debug)]
pub struct Images {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_hash: HashMap<u64, u32>,
    bytes: usize,
    limit: usize,
    cut: u64,
}

impl Images {
    /// An empty store for about `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), by_hash: HashMap::new(), bytes: 0, limit, cut: 0 }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The bound of [`Self::bytes`].
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Images that are held.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Images that were cut, or not kept at all, for want of room.
    pub fn cut(&self) -> u64 {
        self.cut
    }

    /// Whether `image` can be kept whole now.
    pub fn fits(&self, image: &Image<'_>) -> bool {
        self.find(image).is_some() || self.bytes + SLOT_BYTES + image.len() <= self.limit
    }

    /// Keeps `image` and one reference to it. Where room is short it is cut; where there is none at all the answer
    /// is [`ImageId::NONE`].
    pub fn intern(&mut self, image: Image<'_>) -> ImageId {
        // The longest strings that `ends` can address.
        let mut image = image.cut(8192, usize::from(u16::MAX) - 3 * 8192);
        if let Some(slot) = self.find(&image) {
            self.slots[slot as usize].references += 1;
            return ImageId(slot);
        }
        if !self.fits(&image) {
            self.cut += 1;
            image = image.cut(128, 64);
            if !self.fits(&image) {
                return ImageId::NONE;
            }
            if let Some(slot) = self.find(&image) {
                self.slots[slot as usize].references += 1;
                return ImageId(slot);
            }
        }
        self.store(&image)
    }

    fn store(&mut self, image: &Image<'_>) -> ImageId {
        let mut strings = Vec::with_capacity(image.len());
        let mut ends = [0; 3];
        for (end, string) in ends.iter_mut().zip([image.exe, image.filename, image.cwd]) {
            strings.extend_from_slice(string);
            *end = strings.len() as u16;
        }
        strings.extend_from_slice(image.args);
        let hash = hash(image);
        let slot = Slot {
            references: 1,
            device: image.device,
            inode: image.inode,
            hash,
            flags: image.flags,
            ends,
            strings: strings.into_boxed_slice(),
        };
        self.bytes += SLOT_BYTES + slot.strings.len();
        let id = if let Some(id) = self.free.pop() {
            self.slots[id as usize] = slot;
            id
        } else {
            self.slots.push(slot);
            self.slots.len() as u32 - 1
        };
        self.by_hash.insert(hash, id);
        ImageId(id)
    }

    /// One reference more.
    pub fn retain(&mut self, id: ImageId) {
        if let Some(slot) = self.slots.get_mut(id.0 as usize) {
            slot.references += 1;
        }
    }

    /// One reference less; with the last one the image goes.
    pub fn release(&mut self, id: ImageId) {
        let Some(slot) = self.slots.get_mut(id.0 as usize) else { return };
        debug_assert!(slot.references > 0, "an image is released once per reference");
        slot.references -= 1;
        if slot.references == 0 {
            self.bytes -= SLOT_BYTES + slot.strings.len();
            slot.strings = Box::default();
            slot.ends = [0; 3];
            if self.by_hash.get(&slot.hash) == Some(&id.0) {
                self.by_hash.remove(&slot.hash);
            }
            self.free.push(id.0);
        }
    }

    /// The image, where there is one.
    pub fn get(&self, id: ImageId) -> Option<Image<'_>> {
        self.slots.get(id.0 as usize).map(Slot::view)
    }

    /// An equal image. One of two with the same hash is not found, and then kept twice.
    fn find(&self, image: &Image<'_>) -> Option<u32> {
        let slot = *self.by_hash.get(&hash(image))?;
        (self.slots[slot as usize].view() == *image).then_some(slot)
    }
}

fn hash(image: &Image<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    image.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image<'a>(exe: &'a [u8], args: &'a [u8]) -> Image<'a> {
        Image { device: 1, inode: 2, exe, filename: exe, cwd: b"/", args, flags: 0 }
    }

    #[test]
    fn equal_images_are_kept_once_and_go_with_the_last_reference() {
        let mut images = Images::new(1 << 20);
        let first = images.intern(image(b"/bin/sleep", b"sleep\x001\0"));
        assert_eq!(images.intern(image(b"/bin/sleep", b"sleep\x001\0")), first);
        assert_ne!(images.intern(image(b"/bin/sleep", b"sleep\x002\0")), first);
        assert_eq!(images.len(), 2);
        assert_eq!(images.get(first).expect("held").exe_name(), b"sleep");
        images.release(first);
        assert_eq!(images.len(), 2);
        images.release(first);
        assert_eq!(images.len(), 1);
        let before = images.bytes();
        let again = images.intern(image(b"/bin/true", b"true\0"));
        assert_eq!(again, first, "a free slot is used again");
        images.release(again);
        assert_eq!(images.bytes(), before);
    }

    #[test]
    fn arguments_keep_empty_ones() {
        let all = |args| image(b"x", args).arguments().map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(all(b"a\0\0b\0"), [b"a".to_vec(), b"".to_vec(), b"b".to_vec()]);
        assert_eq!(all(b"a\0b"), [b"a".to_vec(), b"b".to_vec()]);
        assert_eq!(all(b"\0"), [b"".to_vec()]);
        assert!(all(b"").is_empty());
    }

    #[test]
    fn bytes_stay_bounded() {
        let mut images = Images::new(20_000);
        let long = vec![b'x'; 3000];
        let mut held = Vec::new();
        for number in 0..1000u32 {
            let exe = number.to_string().into_bytes();
            held.push(images.intern(image(&exe, &long)));
            assert!(images.bytes() <= 20_000);
        }
        let cut = images.get(held[7]).expect("kept, though cut");
        assert_eq!((cut.exe, cut.args.len()), (&b"7"[..], 64));
        assert_ne!(cut.flags & sensor_common::record::flags::ARGS_TRUNCATED, 0);
        assert_eq!(held[999], ImageId::NONE);
        assert!(images.cut() > 900);
        for id in held {
            images.release(id);
        }
        assert_eq!((images.bytes(), images.len()), (0, 0));
    }

    #[test]
    fn the_longest_strings_fit() {
        let mut images = Images::new(1 << 20);
        let long = vec![b'x'; 70_000];
        let id = images.intern(Image { cwd: &long, ..image(&long, &long) });
        let kept = images.get(id).expect("held");
        assert_eq!((kept.exe.len(), kept.cwd.len()), (8192, 8192));
        assert!(kept.args.len() > 8192);
    }

    proptest! {
        #[test]
        fn arguments_come_back(
            args in proptest::collection::vec(proptest::collection::vec(1..=u8::MAX, 0..20), 0..20),
        ) {
            let joined: Vec<u8> = args.iter().flat_map(|arg| [arg, &b"\0"[..]].concat()).collect();
            let image = Image { args: &joined, ..Image::default() };
            prop_assert_eq!(image.arguments().collect::<Vec<_>>(), args);
        }
    }
}
