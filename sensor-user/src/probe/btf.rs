//! The running kernel's own type information (BTF), read for field offsets, functions and their arguments.
//!
//! Format: Documentation/bpf/btf.rst in the kernel's sources. aya keeps its BTF members private, and what is needed
//! here is little: one pass over the bytes where they lie, no copy of any type.

use std::path::{Path, PathBuf};

/// Where the kernel shows its BTF.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const KIND_PTR: u32 = 2;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_FUNC: u32 = 12;
const KIND_ENUM: u32 = 6;

/// Why BTF could not be used.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file cannot be read.
    #[error(
        "cannot read the kernel's BTF at {path}: {source}; svcsensor needs a kernel built with CONFIG_DEBUG_INFO_BTF"
    )]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The bytes are no BTF.
    #[error("the kernel's BTF is malformed at byte {0}")]
    Malformed(usize),
    /// A field that the programs need is not there.
    #[error("this kernel has no field {0}; the sensor's programs cannot run on it")]
    NoField(&'static str),
}

/// BTF in memory, with the place of each type.
pub struct Btf {
    bytes: Vec<u8>,
    /// Offset of each type's record; type 0 is `void` and has none.
    types: Vec<u32>,
    strings: usize,
}

/// The fixed part of a type (`struct btf_type`).
#[derive(Clone, Copy)]
struct Type {
    name: u32,
    kind: u32,
    vlen: usize,
    /// Offsets of members count bits and carry a bit-field's size.
    kind_flag: bool,
    /// Size, or the type that this one refers to.
    size_or_target: u32,
    /// Where what follows begins.
    tail: usize,
}

impl Btf {
    /// Reads the running kernel's BTF.
    ///
    /// # Errors
    /// Where there is none, or it is malformed.
    pub fn of_running_kernel() -> Result<Self, BtfError> {
        Self::read(Path::new(VMLINUX))
    }

    /// Reads BTF from a file.
    ///
    /// # Errors
    /// As [`Self::of_running_kernel`].
    pub fn read(path: &Path) -> Result<Self, BtfError> {
        let bytes = std::fs::read(path).map_err(|source| BtfError::Read { path: path.to_owned(), source })?;
        Self::parse(bytes)
    }

    /// Takes BTF from bytes.
    ///
    /// # Errors
    /// Where they are no well-formed BTF.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
        const MAGIC: u32 = 0xeb9f;
        let word = |at: usize| u32_at(&bytes, at).ok_or(BtfError::Malformed(at));
        if word(0)? & 0xffff != MAGIC {
            return Err(BtfError::Malformed(0));
        }
        let header = word(4)? as usize;
        let first = header + word(8)? as usize;
        let end = first + word(12)? as usize;
        let strings = header + word(16)? as usize;
        if end > bytes.len() || strings > bytes.len() {
            return Err(BtfError::Malformed(12));
        }
        let mut btf = Self { bytes, types: vec![0], strings };
        let mut at = first;
        while at < end {
            let offset = u32::try_from(at).map_err(|_| BtfError::Malformed(at))?;
            let ty = btf.type_at(at).ok_or(BtfError::Malformed(at))?;
            btf.types.push(offset);
            at = ty.tail + tail_length(&ty).ok_or(BtfError::Malformed(at))?;
        }
        Ok(btf)
    }

    /// The offset in bytes of `path`, such as `file.f_path.dentry`: a structure, then members, embedded structures
    /// and anonymous unions crossed, no pointer followed.
    #[must_use]
    pub fn offset(&self, path: &str) -> Option<u32> {
        let mut parts = path.split('.');
        let mut ty = self.find(parts.next()?, &[KIND_STRUCT])?;
        let mut bits = 0;
        for part in parts {
            let (at, member) = self.member(ty, part, 0)?;
            bits += at;
            ty = self.resolve(member)?;
        }
        bits.is_multiple_of(8).then_some(bits / 8)
    }

    /// Whether the kernel has a function of this name that programs can attach to.
    #[must_use]
    pub fn has_function(&self, name: &str) -> bool {
        self.find(name, &[KIND_FUNC]).is_some()
    }

    /// For each argument of a function the name of the structure that it points to; `None` for other arguments.
    #[must_use]
    pub fn arguments(&self, function: &str) -> Option<Vec<Option<&str>>> {
        let function = self.find(function, &[KIND_FUNC])?;
        let prototype = self.get(function.size_or_target)?;
        (0..prototype.vlen)
            .map(|index| {
                let ty = u32_at(&self.bytes, prototype.tail + index * 8 + 4)?;
                Some(self.pointee(ty))
            })
            .collect()
    }

    /// Whether the enumeration `name` has `enumerator`.
    #[must_use]
    pub fn has_enumerator(&self, name: &str, enumerator: &str) -> bool {
        self.enumerator(name, enumerator).is_some()
    }

    /// The value of an enumerator of the enumeration `name`.
    #[must_use]
    pub fn enumerator(&self, name: &str, enumerator: &str) -> Option<u32> {
        let ty = self.find(name, &[KIND_ENUM])?;
        (0..ty.vlen).map(|index| ty.tail + index * 8).find_map(|at| {
            let same = self.string(u32_at(&self.bytes, at)?)? == enumerator.as_bytes();
            same.then(|| u32_at(&self.bytes, at + 4))?
        })
    }

    fn pointee(&self, id: u32) -> Option<&str> {
        let pointer = self.resolve(id)?;
        if pointer.kind != KIND_PTR {
            return None;
        }
        let target = self.resolve(pointer.size_or_target)?;
        std::str::from_utf8(self.string(target.name)?).ok()
    }

    /// A member's offset in bits and its type; anonymous structures and unions are searched too.
    fn member(&self, ty: Type, name: &str, depth: u32) -> Option<(u32, u32)> {
        // Hostile BTF could nest without end; the kernel's own nests four deep.
        if depth > 16 || !matches!(ty.kind, KIND_STRUCT | KIND_UNION) {
            return None;
        }
        for index in 0..ty.vlen {
            let at = ty.tail + index * 12;
            let (member, target, raw) =
                (u32_at(&self.bytes, at)?, u32_at(&self.bytes, at + 4)?, u32_at(&self.bytes, at + 8)?);
            let bits = if ty.kind_flag { raw & 0x00ff_ffff } else { raw };
            let member = self.string(member)?;
            if member == name.as_bytes() {
                return Some((bits, target));
            }
            if member.is_empty() {
                if let Some((inner, target)) = self.member(self.resolve(target)?, name, depth + 1) {
                    return Some((bits + inner, target));
                }
            }
        }
        None
    }

    /// The first type of this name and one of these kinds.
    fn find(&self, name: &str, kinds: &[u32]) -> Option<Type> {
        self.types[1..]
            .iter()
            .filter_map(|at| self.type_at(*at as usize))
            .find(|ty| kinds.contains(&ty.kind) && self.string(ty.name) == Some(name.as_bytes()))
    }

    /// A type behind its typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> Option<Type> {
        for _ in 0..32 {
            let ty = self.get(id)?;
            // typedef, volatile, const, restrict, type tag
            if !matches!(ty.kind, 8 | 9 | 10 | 11 | 18) {
                return Some(ty);
            }
            id = ty.size_or_target;
        }
        None
    }

    fn get(&self, id: u32) -> Option<Type> {
        if id == 0 {
            return None;
        }
        self.type_at(*self.types.get(id as usize)? as usize)
    }

    fn type_at(&self, at: usize) -> Option<Type> {
        let info = u32_at(&self.bytes, at + 4)?;
        Some(Type {
            name: u32_at(&self.bytes, at)?,
            kind: info >> 24 & 0x1f,
            vlen: (info & 0xffff) as usize,
            kind_flag: info >> 31 != 0,
            size_or_target: u32_at(&self.bytes, at + 8)?,
            tail: at + 12,
        })
    }

    /// A string without its NUL.
    fn string(&self, offset: u32) -> Option<&[u8]> {
        self.bytes.get(self.strings + offset as usize..)?.split(|byte| *byte == 0).next()
    }
}

/// Bytes that follow a type's fixed part; `None` for a kind that this reader does not know.
fn tail_length(ty: &Type) -> Option<usize> {
    Some(match ty.kind {
        // int, var, decl tag
        1 | 14 | 17 => 4,
        // pointer, forward, typedef, volatile, const, restrict, function, float, type tag
        2 | 7..=12 | 16 | 18 => 0,
        3 => 12,
        KIND_STRUCT | KIND_UNION | 15 | 19 => ty.vlen * 12,
        // enumeration, function prototype
        KIND_ENUM | 13 => ty.vlen * 8,
        _ => return None,
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let end = at.checked_add(4)?;
    Some(u32::from_ne_bytes(bytes.get(at..end)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds BTF: `struct inner { int a; }; struct outer { char pad[..]; union { struct inner x; int y; }; }`.
    fn sample() -> Vec<u8> {
        let strings = b"\0inner\0a\0outer\0x\0y\0int\0f\0who\0kinds\0";
        let name = |text: &str| {
            let needle = [b"\0", text.as_bytes(), b"\0"].concat();
            strings.windows(needle.len()).position(|w| w == needle).unwrap() as u32 + 1
        };
        let info = |kind: u32, vlen: u32| kind << 24 | vlen;
        let words = [
            [name("int"), info(1, 0), 4, 32].as_slice(),                 // 1
            &[name("inner"), info(4, 1), 8, name("a"), 1, 32],           // 2: a at byte 4
            &[0, info(5, 2), 8, name("x"), 2, 0, name("y"), 1, 0],       // 3: anonymous union
            &[name("outer"), info(4, 1), 24, 0, 3, 128],                 // 4: union at byte 16
            &[0, info(2, 0), 4],                                         // 5: struct outer *
            &[0, info(13, 2), 0, name("who"), 5, name("y"), 1],          // 6: (outer *who, int y)
            &[name("f"), info(12, 0), 6],                                // 7
            &[name("kinds"), info(6, 2), 4, name("x"), 4, name("y"), 8], // 8: enum { x = 4, y = 8 }
        ]
        .concat();
        let types = words.len() as u32 * 4;
        let header = [0x0001_eb9f, 24, 0, types, types, strings.len() as u32];
        let mut bytes: Vec<u8> = header.iter().chain(&words).flat_map(|w| w.to_ne_bytes()).collect();
        bytes.extend_from_slice(strings);
        bytes
    }

    #[test]
    fn offsets_cross_anonymous_unions_and_embedded_structures() {
        let btf = Btf::parse(sample()).unwrap();
        assert_eq!(btf.offset("outer.x.a"), Some(20));
        assert_eq!(btf.offset("outer.y"), Some(16));
        assert_eq!(btf.offset("outer.z"), None);
        assert_eq!(btf.offset("none.a"), None);
    }

    #[test]
    fn functions_show_what_their_arguments_point_to() {
        let btf = Btf::parse(sample()).unwrap();
        assert!(btf.has_function("f") && !btf.has_function("outer"));
        assert_eq!(btf.arguments("f"), Some(vec![Some("outer"), None]));
    }

    #[test]
    fn enumerators_have_values() {
        let btf = Btf::parse(sample()).unwrap();
        assert_eq!(btf.enumerator("kinds", "y"), Some(8));
        assert_eq!(btf.enumerator("kinds", "z"), None);
        assert!(btf.has_enumerator("kinds", "x") && !btf.has_enumerator("outer", "x"));
    }

    #[test]
    fn every_truncation_is_an_error_or_harmless() {
        let whole = sample();
        for length in 0..whole.len() {
            if let Ok(btf) = Btf::parse(whole[..length].to_vec()) {
                // Only the strings are cut: names at the end do not resolve any more.
                let _no_panic = (btf.offset("outer.x.a"), btf.arguments("f"));
            }
        }
        assert!(matches!(Btf::parse(vec![0; 64]), Err(BtfError::Malformed(0))));
    }
}
