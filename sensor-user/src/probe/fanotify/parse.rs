//! What fanotify writes into a buffer: events, each with the directories, names and objects that it is about.
//!
//! The layout is that of fanotify(7), "Reading fanotify events", and include/uapi/linux/fanotify.h: an event is 24
//! bytes of metadata followed by information records; a record is a header of 4 bytes, the filesystem's id (8 bytes),
//! a `struct file_handle`, and in some a name.

/// `FANOTIFY_METADATA_VERSION`.
const VERSION: u8 = 3;
/// `FAN_EVENT_METADATA_LEN`.
const METADATA: usize = 24;
/// Header of an information record.
const INFO: usize = 4;
/// Filesystem id, and length and type of the handle.
const FID: usize = 16;

/// An entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The directory's key: filesystem id and handle, as in [`super::tables::Key`].
    pub directory: &'a [u8],
    /// The name in it; "." for the directory itself.
    pub name: &'a [u8],
}

/// One event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event<'a> {
    /// `FAN_*`.
    pub mask: u64,
    /// Process id of who acted, in the pid namespace of the reader; 0 where it is not in it.
    pub pid: u32,
    /// Where it happened.
    pub entry: Option<Entry<'a>>,
    /// The old name of a rename.
    pub old: Option<Entry<'a>>,
    /// The new one.
    pub new: Option<Entry<'a>>,
    /// The object's key, where the kernel gives it.
    pub object: Option<&'a [u8]>,
}

/// An event, or the rest of a buffer, that does not have the form that it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The events of a buffer.
pub struct Events<'a> {
    rest: &'a [u8],
}

impl<'a> Events<'a> {
    /// Of what one read(2) gave.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Events<'a> {
    type Item = Result<Event<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let length = u32_at(self.rest, 0).map_or(0, |length| length as usize);
        if length < METADATA || length > self.rest.len() {
            // Nothing tells where the next event would begin.
            self.rest = &[];
            return Some(Err(Malformed));
        }
        let (event, rest) = self.rest.split_at(length);
        self.rest = rest;
        Some(parse(event).ok_or(Malformed))
    }
}

fn parse(bytes: &[u8]) -> Option<Event<'_>> {
    let metadata = u16_at(bytes, 6)? as usize;
    if *bytes.get(4)? != VERSION || metadata < METADATA {
        return None;
    }
    let mask = u64::from_ne_bytes(bytes.get(8..16)?.try_into().ok()?);
    let mut event = Event { mask, pid: u32_at(bytes, 20)?, ..Event::default() };
    let mut rest = bytes.get(metadata..)?;
    while !rest.is_empty() {
        let length = u16_at(rest, 2)? as usize;
        if length < INFO || length > rest.len() {
            return None;
        }
        let (info, after) = rest.split_at(length);
        rest = after;
        let body = &info[INFO..];
        match info[0] {
            libc::FAN_EVENT_INFO_TYPE_FID => event.object = Some(key(body)?.0),
            libc::FAN_EVENT_INFO_TYPE_DFID_NAME => event.entry = Some(entry(body)?),
            libc::FAN_EVENT_INFO_TYPE_DFID => {
                event.entry = Some(Entry { directory: key(body)?.0, name: b"." });
            }
            libc::FAN_EVENT_INFO_TYPE_OLD_DFID_NAME => event.old = Some(entry(body)?),
            libc::FAN_EVENT_INFO_TYPE_NEW_DFID_NAME => event.new = Some(entry(body)?),
            // Later kernels may tell more.
            _ => {}
        }
    }
    Some(event)
}

/// The key at the start of a record's body, and what follows it.
fn key(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let handle = u32_at(body, 8)? as usize;
    if handle > super::sys::HANDLE_MAX {
        return None;
    }
    body.split_at_checked(FID + handle)
}

fn entry(body: &[u8]) -> Option<Entry<'_>> {
    let (directory, name) = key(body)?;
    let end = name.iter().position(|byte| *byte == 0)?;
    let name = &name[..end];
    (!name.is_empty() && !name.contains(&b'/')).then_some(Entry { directory, name })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn handle(number: u8) -> Vec<u8> {
        let mut key = vec![7; 8];
        key.extend(8u32.to_ne_bytes());
        key.extend(1i32.to_ne_bytes());
        key.extend([number; 8]);
        key
    }

    fn info(kind: u8, key: &[u8], name: Option<&[u8]>) -> Vec<u8> {
        let mut body = key.to_vec();
        if let Some(name) = name {
            body.extend(name);
            body.push(0);
        }
        while !body.len().is_multiple_of(4) {
            body.push(0);
        }
        let mut record = vec![kind, 0];
        record.extend(((body.len() + INFO) as u16).to_ne_bytes());
        record.extend(body);
        record
    }

    fn event(mask: u64, pid: u32, infos: &[Vec<u8>]) -> Vec<u8> {
        let infos = infos.concat();
        let mut bytes = ((METADATA + infos.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend([VERSION, 0]);
        bytes.extend((METADATA as u16).to_ne_bytes());
        bytes.extend(mask.to_ne_bytes());
        bytes.extend((-1i32).to_ne_bytes());
        bytes.extend(pid.to_ne_bytes());
        bytes.extend(infos);
        bytes
    }

    #[test]
    fn events_are_read_one_after_the_other() {
        let (directory, object, other) = (handle(1), handle(2), handle(3));
        let mut bytes = event(
            libc::FAN_CREATE | libc::FAN_ONDIR,
            42,
            &[
                info(libc::FAN_EVENT_INFO_TYPE_DFID_NAME, &directory, Some(b"a.service")),
                info(libc::FAN_EVENT_INFO_TYPE_FID, &object, None),
                info(200, &[], None),
            ],
        );
        bytes.extend(event(
            libc::FAN_RENAME,
            43,
            &[
                info(libc::FAN_EVENT_INFO_TYPE_OLD_DFID_NAME, &directory, Some(b"x")),
                info(libc::FAN_EVENT_INFO_TYPE_NEW_DFID_NAME, &other, Some(b"y")),
            ],
        ));
        bytes.extend(event(libc::FAN_Q_OVERFLOW, 0, &[]));
        let events: Vec<_> = Events::new(&bytes).collect();
        assert_eq!(
            events,
            [
                Ok(Event {
                    mask: libc::FAN_CREATE | libc::FAN_ONDIR,
                    pid: 42,
                    entry: Some(Entry { directory: &directory, name: b"a.service" }),
                    object: Some(&object),
                    ..Event::default()
                }),
                Ok(Event {
                    mask: libc::FAN_RENAME,
                    pid: 43,
                    old: Some(Entry { directory: &directory, name: b"x" }),
                    new: Some(Entry { directory: &other, name: b"y" }),
                    ..Event::default()
                }),
                Ok(Event { mask: libc::FAN_Q_OVERFLOW, ..Event::default() }),
            ]
        );
    }

    #[test]
    fn one_garbled_event_does_not_hide_the_next() {
        let directory = handle(1);
        let named = info(libc::FAN_EVENT_INFO_TYPE_DFID_NAME, &directory, Some(b"a"));
        for (at, value) in
            [(4, 9), (6, 1), (METADATA + 2, 1), (METADATA + 2, 255), (METADATA + INFO + 8, 200)]
        {
            let mut bytes = event(libc::FAN_CREATE, 1, std::slice::from_ref(&named));
            bytes[at] = value;
            bytes.extend(event(libc::FAN_DELETE, 2, std::slice::from_ref(&named)));
            let events: Vec<_> = Events::new(&bytes).collect();
            assert_eq!(events.len(), 2, "byte {at}");
            assert_eq!(events[0], Err(Malformed), "byte {at}");
            assert_eq!(events[1].unwrap().pid, 2, "byte {at}");
        }
        let slash = info(libc::FAN_EVENT_INFO_TYPE_DFID_NAME, &directory, Some(b"a/b"));
        assert_eq!(Events::new(&event(1, 1, &[slash])).next(), Some(Err(Malformed)));
    }

    #[test]
    fn a_cut_buffer_ends_with_one_malformed_event() {
        let bytes = event(libc::FAN_CREATE, 1, &[]);
        for cut in 1..bytes.len() {
            assert_eq!(Events::new(&bytes[..cut]).collect::<Vec<_>>(), [Err(Malformed)]);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end_and_stay_inside(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let count = Events::new(&bytes).count();
            prop_assert!(count <= bytes.len() / METADATA + 1);
        }

        #[test]
        fn a_flipped_byte_never_panics(at in 0usize..200, value in any::<u8>()) {
            let key = handle(5);
            let infos = [
                info(libc::FAN_EVENT_INFO_TYPE_DFID_NAME, &key, Some(b"name")),
                info(libc::FAN_EVENT_INFO_TYPE_FID, &key, None),
            ];
            let mut bytes = event(8, 1, &infos);
            bytes.extend(event(8, 1, &infos));
            let at = at % bytes.len();
            bytes[at] = value;
            for event in Events::new(&bytes).flatten() {
                for entry in [event.entry, event.old, event.new].into_iter().flatten() {
                    prop_assert!(!entry.name.is_empty() && !entry.name.contains(&b'/'));
                    prop_assert!(entry.directory.len() >= FID);
                }
            }
        }
    }
}
