//! `kind::FILE_CONTENT`: what a file says.
//!
//! The pipeline cannot read files. It names those that it wants to know ([`Want`]), the daemon reads them, and what it
//! finds enters the stream as a record like any other: a replay sees the same content, however the machine looks by then.

use serde::{Deserialize, Serialize};

/// Bytes of a file that a record carries at most. The largest unit that Debian ships has some 20 KiB.
pub const CONTENT_MAX: usize = 64 << 10;

/// The first bytes of a program that is no text (elf(5)).
pub const ELF: &[u8] = b"\x7fELF";

/// Names of a directory that a record carries at most.
pub const NAMES_MAX: usize = 256;

/// What the pipeline wants to know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Want {
    /// What is at a path.
    File {
        /// As the host's PID 1 sees it.
        path: Vec<u8>,
        /// What must be true of it before it is worth reading.
        expected: Expected,
    },
    /// What is at each of these paths, and in those of them that are directories; what is absent is left out.
    Survey {
        /// By what the pipeline recognises the answer.
        id: u64,
        /// As the host's PID 1 sees them.
        paths: Vec<Vec<u8>>,
    },
    /// What package databases say of each of these paths, by the content that is there.
    Proof {
        /// By what the pipeline recognises the answer, a [`super::proof::Proofs`].
        id: u64,
        /// As the host's PID 1 sees them; [`super::proof::PATHS_MAX`] at most.
        paths: Vec<Vec<u8>>,
    },
}

/// Hooks run before the operation does: what the path leads to may for a moment still be what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expected {
    /// Whatever is there.
    Anything,
    /// Something exists.
    Present,
    /// This inode is there.
    Inode(u64),
    /// This inode, if it is not 0, is not there any more.
    Gone(u64),
}

/// A file at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileContent {
    /// Its path, as the host's PID 1 sees it.
    #[serde(with = "latin1")]
    pub path: Vec<u8>,
    /// It was read because the sensor looked around at its start or at a new directory, not because it was asked for.
    #[serde(default)]
    pub baseline: bool,
    /// The survey that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub survey: Option<u64>,
    /// What was found.
    pub found: Found,
}

/// `kind::SURVEYED`: all of a survey was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Surveyed {
    /// Which.
    pub id: u64,
}

/// What became of a [`Want`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What was read.
    pub files: Vec<FileContent>,
    /// The survey that these are all of.
    pub survey: Option<u64>,
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Found {
    /// Nothing.
    Absent,
    /// A symbolic link.
    Symlink {
        /// Its target as written.
        #[serde(with = "latin1")]
        target: Vec<u8>,
        /// What is at its end, as PID 1 follows it; never a symbolic link.
        end: Box<Found>,
    },
    /// A regular file.
    Regular(Regular),
    /// A directory.
    Directory {
        /// Names in it, sorted; [`NAMES_MAX`] at most.
        names: Vec<Name>,
        /// There are more.
        truncated: bool,
    },
    /// A FIFO, socket or device: not opened.
    Special {
        /// File type and permission bits (inode(7)).
        mode: u32,
    },
    /// It could not be read.
    Unreadable {
        /// The system's words.
        error: String,
    },
}

/// A regular file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Regular {
    /// Inode number.
    pub inode: u64,
    /// File type and permission bits (inode(7)).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Length in bytes.
    pub size: u64,
    /// Its beginning, [`CONTENT_MAX`] bytes at most.
    #[serde(with = "latin1")]
    pub content: Vec<u8>,
    /// It changed while it was read.
    #[serde(default)]
    pub unstable: bool,
}

impl Regular {
    /// Whether there is more than was read, and worth reading.
    pub fn truncated(&self) -> bool {
        self.size > self.content.len() as u64 && !self.is_binary()
    }

    /// Whether it is a program that is no text (elf(5)): of such only the beginning is told.
    pub fn is_binary(&self) -> bool {
        self.content.starts_with(ELF)
    }
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Name(#[serde(with = "latin1")] pub Vec<u8>);

impl Found {
    /// What is there after a symbolic link is followed.
    pub fn end(&self) -> &Self {
        match self {
            Self::Symlink { end, .. } => end,
            other => other,
        }
    }

    /// The regular file that it is or leads to.
    pub fn regular(&self) -> Option<&Regular> {
        match self.end() {
            Self::Regular(regular) => Some(regular),
            _ => None,
        }
    }
}

/// Bytes as text in which every byte is the character of its number: JSON has no bytes, units are mostly ASCII, and so
/// a recording stays readable and exact.
pub(crate) mod latin1 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) if text.is_ascii() => serializer.serialize_str(text),
            _ => serializer.collect_str(&bytes.iter().map(|byte| char::from(*byte)).collect::<String>()),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.chars()
            .map(|letter| u8::try_from(u32::from(letter)))
            .collect::<Result<_, _>>()
            .map_err(|_above_ff| D::Error::custom("a character beyond U+00FF stands for no byte"))
    }

    /// The same for what may be absent.
    pub mod option {
        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        #[derive(Serialize, Deserialize)]
        #[serde(transparent)]
        struct Latin1(#[serde(with = "super")] Vec<u8>);

        #[expect(clippy::ref_option, reason = "serde passes the field by reference")]
        pub fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
            bytes.clone().map(Latin1).serialize(serializer)
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
            Ok(Option::<Latin1>::deserialize(deserializer)?.map(|Latin1(bytes)| bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_byte_survives(content in proptest::collection::vec(any::<u8>(), 0..300), path in proptest::collection::vec(any::<u8>(), 0..40)) {
            let end = Found::Regular(Regular { inode: 1, size: 7, content, ..Regular::default() });
            let record = FileContent {
                found: Found::Symlink { target: path.clone(), end: Box::new(end) },
                path,
                baseline: false,
                survey: Some(7),
            };
            let text = serde_json::to_string(&record).unwrap();
            prop_assert_eq!(serde_json::from_str::<FileContent>(&text).unwrap(), record);
        }
    }

    #[test]
    fn text_stays_readable_and_what_is_no_byte_is_refused() {
        let name = serde_json::to_string(&Name(b"[Unit]\n".to_vec())).unwrap();
        assert_eq!(name, r#""[Unit]\n""#);
        assert!(serde_json::from_str::<Name>("\"\u{100}\"").is_err());
    }

    #[test]
    fn the_largest_content_fits_a_record() {
        let worst = Name(vec![0; CONTENT_MAX]);
        let length = serde_json::to_string(&worst).unwrap().len();
        assert!(length + 4096 * 6 < crate::event::decode::USER_RECORD_MAX, "{length}");
    }
}
