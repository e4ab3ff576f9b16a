//! The running kernel's own type information (BTF), read for field offsets, functions and their arguments.
//!
//! Format: Documentation/bpf/btf.rst in the kernel's sources. aya keeps its BTF members private, and what is needed
//! here is little: one pass over the bytes where they lie, no copy of any type.

use std::path::{Path, PathBuf};

/// Where the kernel shows its BTF.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Bytes of a longest name (`KSYM_NAME_LEN`, include/linux/kallsyms.h): the kernel's own verifier refuses longer ones.
const NAME_MAX: usize = 512;

/// Members that are looked at for one offset. The kernel's largest structures have some hundred, nested unions
/// included; crossed members that contain each other would have no end.
const VISITS_MAX: u32 = 65_536;

const KIND_PTR: u32 = 2;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FORWARD: u32 = 7;
const KIND_TYPEDEF: u32 = 8;
const KIND_FUNC: u32 = 12;

const MAGIC: u32 = 0xeb9f;
/// Bytes of `struct btf_header` as of its version 1, and of a type without what follows (`struct btf_type`).
const HEADER: usize = 24;
const TYPE: usize = 12;

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

/// What a program is attached to, as BTF names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A function.
    Function(String),
    /// The typedef that stands for a tracepoint.
    Typedef(String),
}

/// BTF in memory, with the place of each type.
pub struct Btf {
    bytes: Vec<u8>,
    /// Offset of each type's record; type 0 is `void` and has none.
    types: Vec<u32>,
    /// Where names lie.
    strings: std::ops::Range<usize>,
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
        let word = |at: usize| u32_at(&bytes, at).ok_or(BtfError::Malformed(at));
        if word(0)? & 0xffff != MAGIC {
            return Err(BtfError::Malformed(0));
        }
        let header = word(4)? as usize;
        let first = header + word(8)? as usize;
        let end = first + word(12)? as usize;
        let names = header + word(16)? as usize;
        let strings = names..names + word(20)? as usize;
        if end > bytes.len() {
            return Err(BtfError::Malformed(12));
        }
        if strings.end > bytes.len() {
            return Err(BtfError::Malformed(20));
        }
        let mut btf = Self { bytes, types: vec![0], strings };
        let mut at = first;
        while at < end {
            let offset = u32::try_from(at).map_err(|_| BtfError::Malformed(at))?;
            let ty = btf.type_at(at).ok_or(BtfError::Malformed(at))?;
            btf.types.push(offset);
            at = ty.tail + tail_length(&ty).ok_or(BtfError::Malformed(at))?;
        }
        if at != end {
            return Err(BtfError::Malformed(end));
        }
        Ok(btf)
    }

    /// The offset in bytes of `path`, such as `file.f_path.dentry`: a structure, then members, embedded structures
    /// and anonymous unions crossed, no pointer followed. `None` where there is none, or only after more
    /// members than any kernel's structure has.
    #[must_use]
    pub fn offset(&self, path: &str) -> Option<u32> {
        let mut parts = path.split('.');
        let mut ty = self.find(parts.next()?, &[KIND_STRUCT])?;
        let mut bits = 0_u32;
        let mut visits = VISITS_MAX;
        for part in parts {
            let (at, member) = self.member(ty, part, 0, &mut visits)?;
            bits = bits.checked_add(at)?;
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
            let same = self.is_named(u32_at(&self.bytes, at)?, enumerator);
            same.then(|| u32_at(&self.bytes, at + 4))?
        })
    }

    /// BTF of nothing but these: they keep their numbers, and every other type up to the last of them is a nameless
    /// placeholder. Who only wants their numbers reads this in a fraction of the memory. What the kernel lacks is
    /// left out.
    #[must_use]
    pub fn only(&self, targets: &[Target]) -> Vec<u8> {
        let mut strings = vec![0];
        let mut types = Vec::new();
        for target in targets {
            let (kind, name) = match target {
                Target::Function(name) => (KIND_FUNC, name),
                Target::Typedef(name) => (KIND_TYPEDEF, name),
            };
            let Some(id) = self.find_id(name, &[kind]) else { continue };
            let at = (id - 1) * TYPE;
            while types.len() < at + TYPE {
                types.extend([0, KIND_FORWARD << 24, 0].map(u32::to_ne_bytes).as_flattened());
            }
            let named = [strings.len() as u32, kind << 24, 0].map(u32::to_ne_bytes);
            types[at..at + TYPE].copy_from_slice(named.as_flattened());
            strings.extend_from_slice(name.as_bytes());
            strings.push(0);
        }
        let length = types.len() as u32;
        // Magic and version; header; types, strings: where they begin after it, and how long they are.
        let header = [1 << 16 | MAGIC, HEADER as u32, 0, length, length, strings.len() as u32];
        [header.map(u32::to_ne_bytes).as_flattened(), &types, &strings].concat()
    }

    fn pointee(&self, id: u32) -> Option<&str> {
        let pointer = self.resolve(id)?;
        if pointer.kind != KIND_PTR {
            return None;
        }
        let target = self.resolve(pointer.size_or_target)?;
        std::str::from_utf8(self.string(target.name)?).ok()
    }

    /// A member's offset in bits and its type; anonymous structures and unions are searched too. `visits` is what may
    /// still be looked at.
    fn member(&self, ty: Type, name: &str, depth: u32, visits: &mut u32) -> Option<(u32, u32)> {
        // Hostile BTF could nest without end; the kernel's own nests four deep.
        if depth > 16 || !matches!(ty.kind, KIND_STRUCT | KIND_UNION) {
            return None;
        }
        for index in 0..ty.vlen {
            let at = ty.tail + index * 12;
            let (member, target, raw) =
                (u32_at(&self.bytes, at)?, u32_at(&self.bytes, at + 4)?, u32_at(&self.bytes, at + 8)?);
            let bits = if ty.kind_flag { raw & 0x00ff_ffff } else { raw };
            *visits = visits.checked_sub(1)?;
            if self.is_named(member, name) {
                return Some((bits, target));
            }
            if self.is_named(member, "") {
                if let Some((inner, target)) = self.member(self.resolve(target)?, name, depth + 1, visits) {
                    return Some((bits.checked_add(inner)?, target));
                }
            }
        }
        None
    }

    /// The first type of this name and one of these kinds.
    fn find(&self, name: &str, kinds: &[u32]) -> Option<Type> {
        self.type_at(self.types[self.find_id(name, kinds)?] as usize)
    }

    /// Its number.
    fn find_id(&self, name: &str, kinds: &[u32]) -> Option<usize> {
        (1..self.types.len()).find(|id| {
            self.type_at(self.types[*id] as usize)
                .is_some_and(|ty| kinds.contains(&ty.kind) && self.is_named(ty.name, name))
        })
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

    /// What begins with the string at `offset`.
    fn text_at(&self, offset: u32) -> Option<&[u8]> {
        self.bytes[self.strings.clone()].get(offset as usize..)
    }

    /// Whether the string at `offset` is `name`: a comparison of its length, however long the string.
    fn is_named(&self, offset: u32, name: &str) -> bool {
        let rest = self.text_at(offset).and_then(|text| text.strip_prefix(name.as_bytes()));
        rest.and_then(<[u8]>::first) == Some(&0)
    }

    /// A string without its NUL; `None` where it is longer than any name.
    fn string(&self, offset: u32) -> Option<&[u8]> {
        let text = self.text_at(offset)?;
        let end = text.iter().take(NAME_MAX).position(|byte| *byte == 0)?;
        Some(&text[..end])
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
#[path = "btf_tests.rs"]
mod tests;
