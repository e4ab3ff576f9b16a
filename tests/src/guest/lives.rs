//! Directories that come and go under the sensor's eyes, and files that can be written without being opened where
//! they are watched.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::fs::{CWD, RenameFlags};
use rustix::mount::UnmountFlags;
use sensor_user::event::user::FileFound;

use super::case::{Child, Place, Who};
use super::run;
use super::sensor::Sensor;
use super::setup::{self, Results};

/// What is watched, some of it not there at the start.
pub const PATHS: [&str; 11] = [
    "/w/late/a/b",
    "/w/moved/units",
    "/w/swap/units",
    "/w/exchange/units",
    "/w/homes/*/config/units",
    "/w/over/units",
    "/w/part/units",
    "/w/link/units",
    "/w/rc.local",
    "/w/seed",
    "/w/gone/units",
];

/// One story: what is done, and what must be seen, step by step.
type Story = fn(&mut Scene<'_>) -> Result<()>;

const STORIES: [(&str, Story); 12] = [
    ("a directory made by mkdir -p", made),
    ("a directory that is renamed into place", moved),
    ("a watched directory replaced by another", swapped),
    ("a watched directory exchanged with another", exchanged),
    ("a watched directory removed and made again", removed),
    ("directories below a star", starred),
    ("a mount over a watched directory", mounted_over),
    ("a filesystem on the way is taken away", taken_away),
    ("a symlink on the way is changed", relinked),
    ("a single file", single),
    ("a descriptor, a mapping and a link that are older than the sensor", seeded),
    ("a watched file outside is forgotten with its last name", forgotten),
];

/// Makes what is there before the sensor starts, and processes that hold files open.
///
/// # Errors
/// Where it cannot be made.
pub fn prepare() -> Result<Holder> {
    for directory in [
        "ready/units",
        "swap/units",
        "exchange/units",
        "exchange/evil",
        "homes/alice/config/units",
        "over/units",
        "target/units",
        "other/units",
        "seed",
        "outside",
        "gone/units",
    ] {
        fs::create_dir_all(Path::new("/w").join(directory))?;
    }
    setup::mount("tmpfs", "tmpfs", "/w/part", None)?;
    fs::create_dir("/w/part/units")?;
    fs::write("/w/ready/units/waiting", "x")?;
    fs::write("/w/exchange/evil/waiting", "x")?;
    symlink("target", "/w/link")?;
    for file in ["rc.local", "seed/open", "seed/mapped", "seed/linked", "seed/plain"] {
        fs::write(Path::new("/w").join(file), "old")?;
    }
    fs::hard_link("/w/seed/linked", "/w/outside/linked")?;
    Holder::start()
}

/// A process that has opened a file and mapped another, and writes when it is told to.
pub struct Holder {
    child: Child,
    go: fs::File,
}

impl Holder {
    fn start() -> Result<Self> {
        let (wait, go) = rustix::pipe::pipe()?;
        let (ready, tell) = rustix::pipe::pipe()?;
        let child = Child::start(|| {
            let mut open = OpenOptions::new().append(true).open("/w/seed/open")?;
            let mapped = OpenOptions::new().read(true).write(true).open("/w/seed/mapped")?;
            let protection = rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE;
            let flags = rustix::mm::MapFlags::SHARED;
            // SAFETY: a new mapping that nothing refers to.
            let mapping =
                unsafe { rustix::mm::mmap(std::ptr::null_mut(), 1, protection, flags, &mapped, 0) }?;
            drop(mapped);
            rustix::io::write(&tell, b"r")?;
            fs::File::from(wait).read_exact(&mut [0])?;
            open.write_all(b"[Service]")?;
            // SAFETY: the first byte of the mapping, which the file backs.
            unsafe { mapping.cast::<u8>().write_volatile(b'x') };
            Ok(())
        })?;
        fs::File::from(ready).read_exact(&mut [0]).context("the holder did not start")?;
        Ok(Self { child, go: go.into() })
    }
}

/// Runs all stories.
pub fn run_all(sensor: &mut Sensor, results: &mut Results, holder: Holder) {
    let mut holder = Some(holder);
    for (name, story) in STORIES {
        let mut scene = Scene { sensor, holder: &mut holder };
        let result = story(&mut scene);
        results.report(&format!("lives/{name}"), result);
        sensor.drain(|_| {});
    }
}

/// The sensor, and what a story does with it.
struct Scene<'a> {
    sensor: &'a mut Sensor,
    holder: &'a mut Option<Holder>,
}

impl Scene<'_> {
    /// Does something; these records must come of it.
    fn when(&mut self, act: impl FnOnce() -> Result<()>, want: &[&str]) -> Result<()> {
        run::expect(self.sensor, &place("/nowhere"), Who::Actor, act, want)
    }

    /// Walks the paths again; these must be found, as (path of the watch, path below it).
    fn resolve(&mut self, want: &[(&str, &str)]) -> Result<()> {
        let found = self.sensor.resolve()?;
        let name = |found: &FileFound| {
            (self.sensor.names.get(&found.watch).cloned().unwrap_or_default(), found.path.clone())
        };
        let mut got: Vec<(String, String)> = found.iter().map(name).collect();
        got.sort();
        let got: Vec<(&str, &str)> = got.iter().map(|(watch, path)| (&watch[..], &path[..])).collect();
        ensure!(got == want, "found {got:?}, expected {want:?}");
        Ok(())
    }

    /// A file written at a path that is watched with everything below it.
    fn write(&mut self, path: &str) -> Result<()> {
        let want = [
            format!("create {path} 666"),
            format!("open_write {path} trunc created"),
            format!("close_write {path}"),
        ];
        self.when(|| Ok(fs::write(path, "x")?), &[&want[0], &want[1], &want[2]])
    }
}

/// Paths below `top` are told from there on.
fn place(top: &str) -> Place {
    Place {
        mount: "/w".into(),
        top: top.into(),
        watched: top.into(),
        plain: "/nowhere".into(),
        stat_has_device: true,
        layers: false,
    }
}

fn made(scene: &mut Scene<'_>) -> Result<()> {
    scene.when(
        || {
            fs::create_dir_all("/w/late/a/b")?;
            Ok(fs::write("/w/late/a/b/at-once", "x")?)
        },
        &[
            "mkdir /w/late (entry|pending) 777",
            "mkdir /w/late/a (pending) 777",
            "mkdir /w/late/a/b (pending) 777",
            "create /w/late/a/b/at-once (pending) 666",
            "open_write /w/late/a/b/at-once (pending) trunc created",
            "close_write /w/late/a/b/at-once (pending)",
        ],
    )?;
    scene.resolve(&[("/w/late/a/b", "at-once")])?;
    scene.write("/w/late/a/b/later")?;
    // Beside it nothing is watched any more.
    scene.when(|| Ok(fs::write("/w/late/a/beside", "x")?), &[])
}

fn moved(scene: &mut Scene<'_>) -> Result<()> {
    scene
        .when(|| Ok(fs::rename("/w/ready", "/w/moved")?), &["rename /w/moved (entry|pending) < /w/ready"])?;
    scene.when(
        || Ok(fs::write("/w/moved/units/at-once", "x")?),
        &[
            "create /w/moved/units/at-once (pending) 666",
            "open_write /w/moved/units/at-once (pending) trunc created",
            "close_write /w/moved/units/at-once (pending)",
        ],
    )?;
    scene.resolve(&[("/w/moved/units", "at-once"), ("/w/moved/units", "waiting")])?;
    scene.write("/w/moved/units/later")
}

fn swapped(scene: &mut Scene<'_>) -> Result<()> {
    scene.when(
        || {
            fs::rename("/w/swap/units", "/w/swap/old")?;
            fs::create_dir("/w/swap/units")?;
            Ok(fs::write("/w/swap/units/unseen", "x")?)
        },
        &["rename /w/swap/old < /w/swap/units", "mkdir /w/swap/units (entry) 777"],
    )?;
    scene.resolve(&[("/w/swap/units", "unseen")])?;
    scene.write("/w/swap/units/later")?;
    scene.when(|| Ok(fs::write("/w/swap/old/x", "x")?), &[])
}

fn exchanged(scene: &mut Scene<'_>) -> Result<()> {
    scene.when(
        || {
            let flags = RenameFlags::EXCHANGE;
            Ok(rustix::fs::renameat_with(CWD, "/w/exchange/evil", CWD, "/w/exchange/units", flags)?)
        },
        &["rename /w/exchange/evil < /w/exchange/units", "rename /w/exchange/units < /w/exchange/evil"],
    )?;
    scene.resolve(&[("/w/exchange/units", "waiting")])?;
    scene.write("/w/exchange/units/later")
}

fn removed(scene: &mut Scene<'_>) -> Result<()> {
    scene.when(|| Ok(fs::remove_dir("/w/gone/units")?), &["rmdir /w/gone/units"])?;
    scene.resolve(&[])?;
    scene.when(
        || {
            fs::create_dir("/w/gone/units")?;
            Ok(fs::write("/w/gone/units/x", "x")?)
        },
        &[
            "mkdir /w/gone/units (entry|pending) 777",
            "create /w/gone/units/x (pending) 666",
            "open_write /w/gone/units/x (pending) trunc created",
            "close_write /w/gone/units/x (pending)",
        ],
    )?;
    scene.resolve(&[("/w/gone/units", "x")])?;
    scene.write("/w/gone/units/later")
}

fn starred(scene: &mut Scene<'_>) -> Result<()> {
    scene.write("/w/homes/alice/config/units/x")?;
    scene.when(|| Ok(fs::create_dir("/w/homes/bob")?), &["mkdir /w/homes/bob (any-child) 777"])?;
    scene.resolve(&[])?;
    scene.when(
        || {
            fs::create_dir_all("/w/homes/bob/config/units")?;
            Ok(fs::write("/w/homes/bob/notes", "x")?)
        },
        &["mkdir /w/homes/bob/config (entry|pending) 777", "mkdir /w/homes/bob/config/units (pending) 777"],
    )?;
    scene.resolve(&[])?;
    scene.write("/w/homes/bob/config/units/x")
}

fn mounted_over(scene: &mut Scene<'_>) -> Result<()> {
    scene.when(
        || {
            setup::mount("tmpfs", "tmpfs", "/w/over/units", None)?;
            Ok(fs::write("/w/over/units/unseen", "x")?)
        },
        &["mount /w/over/units -> tmpfs"],
    )?;
    scene.resolve(&[("/w/over/units", "unseen")])?;
    scene.write("/w/over/units/above")?;
    scene.when(
        || Ok(rustix::mount::unmount("/w/over/units", UnmountFlags::empty())?),
        &["umount /w/over/units"],
    )?;
    scene.resolve(&[])?;
    scene.write("/w/over/units/below")
}

fn taken_away(scene: &mut Scene<'_>) -> Result<()> {
    scene.write("/w/part/units/x")?;
    scene.when(
        || Ok(rustix::mount::unmount("/w/part", UnmountFlags::DETACH)?),
        &["umount /w/part (anchor) flags=0x2"],
    )?;
    scene.resolve(&[])?;
    scene.when(|| Ok(fs::create_dir("/w/part/units")?), &["mkdir /w/part/units (entry|pending) 777"])?;
    scene.resolve(&[])?;
    scene.write("/w/part/units/x")
}

fn relinked(scene: &mut Scene<'_>) -> Result<()> {
    scene.write("/w/target/units/x")?;
    scene.when(
        || {
            fs::remove_file("/w/link")?;
            Ok(symlink("other", "/w/link")?)
        },
        &["unlink /w/link (entry)", "symlink /w/link (entry) -> other"],
    )?;
    scene.resolve(&[])?;
    scene.write("/w/other/units/x")?;
    scene.when(|| Ok(fs::write("/w/target/units/y", "x")?), &[])
}

/// The name in its directory goes before the file itself; under another name it is the file that is seen.
fn single(scene: &mut Scene<'_>) -> Result<()> {
    scene.when(
        || Ok(fs::write("/w/rc.local", "x")?),
        &[
            "open_write /w/rc.local (entry) trunc",
            "truncate /w/rc.local (entry) 0",
            "close_write /w/rc.local (entry)",
        ],
    )?;
    scene.when(
        || {
            fs::write("/w/rc.local.new", "x")?;
            Ok(fs::rename("/w/rc.local.new", "/w/rc.local")?)
        },
        &["rename /w/rc.local (entry) < /w/rc.local.new"],
    )?;
    scene.resolve(&[])?;
    scene.when(
        || Ok(fs::write("/w/rc.local", "x")?),
        &[
            "open_write /w/rc.local (entry) trunc",
            "truncate /w/rc.local (entry) 0",
            "close_write /w/rc.local (entry)",
        ],
    )?;
    scene.when(
        || {
            fs::hard_link("/w/rc.local", "/w/outside/rc")?;
            OpenOptions::new().append(true).open("/w/outside/rc")?;
            Ok(())
        },
        &[
            "link /w/outside/rc < /w/rc.local (entry)",
            "open_write /w/outside/rc (file) append",
            "close_write /w/outside/rc (file) append",
        ],
    )
}

fn seeded(scene: &mut Scene<'_>) -> Result<()> {
    let seeded = scene.sensor.watches.seed_files()?;
    ensure!(seeded.errors.is_empty() && !seeded.cut, "{:?}", seeded.errors);
    scene.when(
        || Ok(fs::write("/w/outside/linked", "x")?),
        &[
            "open_write /w/outside/linked (file) trunc",
            "truncate /w/outside/linked (file) 0",
            "close_write /w/outside/linked (file)",
        ],
    )?;
    let holder = scene.holder.take().context("the holder is gone")?;
    let pid = holder.child.pid.cast_unsigned();
    let Holder { child, mut go } = holder;
    go.write_all(b"g")?;
    child.wait()?;
    let mut got = Vec::new();
    let names = scene.sensor.names.clone();
    let place = place("/w/seed");
    let text = super::text::Text { names: &names, place: &place };
    scene.sensor.drain(|record| got.extend(text.file(record)));
    // Which is closed first, when a process ends, is the kernel's business.
    let mut lines: Vec<&str> = got.iter().map(|seen| seen.line.as_str()).collect();
    lines.sort_unstable();
    ensure!(lines == ["close_write mapped", "close_write open append"], "got {lines:?}");
    ensure!(got.iter().all(|seen| seen.task.tgid == pid), "by others than {pid}: {got:?}");
    Ok(())
}

/// A file that loses its last name in a watched place leaves no mark: its inode number will be another's.
fn forgotten(scene: &mut Scene<'_>) -> Result<()> {
    scene.write("/w/seed/short-lived")?;
    scene.when(
        || {
            fs::hard_link("/w/seed/short-lived", "/w/outside/kept")?;
            Ok(fs::remove_file("/w/seed/short-lived")?)
        },
        &["link /w/outside/kept < /w/seed/short-lived", "unlink /w/seed/short-lived"],
    )?;
    // It still has a name, so it is still known.
    scene.when(
        || {
            OpenOptions::new().append(true).open("/w/outside/kept")?;
            Ok(fs::remove_file("/w/outside/kept")?)
        },
        &[
            "open_write /w/outside/kept (file) append",
            "close_write /w/outside/kept (file) append",
            "unlink /w/outside/kept (file)",
        ],
    )
}
