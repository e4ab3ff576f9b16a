//! The same on other filesystems: a disk's, one whose stat(2) does not tell the kernel's device, and one of layers.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::case::{Case, Place, case, case_with};
use super::data;
use super::run;
use super::sensor::Sensor;
use super::setup::{self, Results};

/// A filesystem in an image that the harness put into the machine.
pub struct Disk {
    /// Name of the filesystem, and of its mount point below the root.
    pub name: &'static str,
    mount: &'static str,
    image: &'static str,
}

/// Those that are tried.
pub const DISKS: [Disk; 2] = [
    Disk { name: "ext4", mount: "/ext4", image: "/ext4.img" },
    Disk { name: "btrfs", mount: "/btrfs", image: "/btrfs.img" },
];

impl Disk {
    /// Where it is watched.
    pub fn watched(&self) -> String {
        format!("{}/watched", self.mount)
    }

    /// Mounts it, and makes what the cases need; false, and said so, where the harness gave no image.
    ///
    /// # Errors
    /// Where it cannot be mounted.
    pub fn prepare(&self, results: &mut Results, cases: &[Case]) -> Result<bool> {
        if !Path::new(self.image).exists() {
            results.skip(self.name, &format!("the harness gave no {}", self.image));
            return Ok(false);
        }
        setup::mount(&setup::loop_device(self.image)?, self.name, self.mount, None)?;
        run::prepare(self.mount, cases)?;
        Ok(true)
    }

    /// Runs the cases on it.
    pub fn run(&self, sensor: &mut Sensor, results: &mut Results, cases: &[Case]) {
        run::table(sensor, results, self.name, self.mount, cases);
    }
}

/// Where the layers are merged.
const MERGED: &str = "/overlay";

/// The watched directory in the merged tree.
pub const OVERLAY_WATCHED: &str = "/overlay/watched";

/// Mounts layers in which the cases' files lie below: each write copies them up first.
///
/// # Errors
/// Where the kernel has no overlayfs.
pub fn prepare_overlay() -> Result<()> {
    setup::mount("tmpfs", "tmpfs", "/layers", None)?;
    for layer in ["upper", "work"] {
        fs::create_dir(Path::new("/layers").join(layer))?;
    }
    run::prepare("/layers/lower", &overlay_cases())?;
    let layers = "lowerdir=/layers/lower,upperdir=/layers/upper,workdir=/layers/work";
    setup::mount("overlay", "overlay", MERGED, Some(layers)).context("overlayfs")?;
    Ok(fs::write(Path::new(OVERLAY_WATCHED).join("up"), "")?)
}

/// Runs the cases in the merged tree.
pub fn run_overlay(sensor: &mut Sensor, results: &mut Results) {
    run::table(sensor, results, "overlay", MERGED, &overlay_cases());
}

#[rustfmt::skip]
fn overlay_cases() -> Vec<Case> {
    vec![
        case("create", |at| Ok(fs::write(at.at("a"), "x")?), &["create a 666", "open_write a trunc created", "close_write a"]),
        case_with("write-what-lies-below", &["a"], |at| Ok(fs::write(at.at("a"), "x")?),
            &["open_write a trunc", "truncate a 0", "close_write a"]),
        case_with("rename-in", &[":b"], |at| Ok(fs::rename(at.at(":b"), at.at("a"))?), &["rename a < :b"]),
        case_with("link-in", &[":b"], |at| Ok(fs::hard_link(at.at(":b"), at.at("a"))?), &["link a < :b"]),
        case("symlink", |at| Ok(std::os::unix::fs::symlink("t", at.at("a"))?), &["symlink a -> t"]),
        case_with("unlink", &["a"], |at| Ok(fs::remove_file(at.at("a"))?), &["unlink a"]),
        case("mkdir-and-write", mkdir_and_write,
            &["mkdir d 777", "create d/f 666", "open_write d/f trunc created", "close_write d/f"]),
    ]
}

/// Where layers are merged of which the upper one is watched, unlike the merged tree.
const OVER: &str = "/over-watched";
/// That upper layer. Nothing is in the lower one.
const UPPER: &str = "/under/upper";

/// The watched directory in that layer.
pub const LAYER_WATCHED: &str = "/under/upper/watched";

/// Makes what the cases in the upper layer need. The layers are merged when the sensor is there.
///
/// # Errors
/// Where a file cannot be made.
pub fn prepare_layer() -> Result<()> {
    setup::mount("tmpfs", "tmpfs", "/under", None)?;
    for layer in ["lower", "work"] {
        fs::create_dir(Path::new("/under").join(layer))?;
    }
    run::prepare(UPPER, &layer_cases())?;
    for control in [false, true] {
        let place = Place::new(UPPER, TWO_NAMES, control);
        fs::hard_link(place.at("a"), place.at("b"))?;
    }
    Ok(())
}

/// Runs the cases in the merged tree: what is written there is the upper layer's file.
///
/// # Errors
/// Where the kernel has no overlayfs.
pub fn run_layer(sensor: &mut Sensor, results: &mut Results) -> Result<()> {
    let layers = format!("lowerdir=/under/lower,upperdir={UPPER},workdir=/under/work");
    setup::mount("overlay", "overlay", OVER, Some(&layers)).context("overlayfs")?;
    for case in layer_cases() {
        for (control, end) in [(false, ""), (true, " (unwatched)")] {
            let place = Place::new(UPPER, case.name, control);
            let want = if control { &[] } else { case.want.as_slice() };
            let act = || (case.act)(&place.reached_at(OVER));
            let result = run::expect(sensor, &place, case.who, act, want);
            results.report(&format!("layer/{}{end}", case.name), result);
        }
    }
    Ok(())
}

/// The case whose file has two names, of which the one that is used is the older.
const TWO_NAMES: &str = "append-to-one-of-two-names";

#[rustfmt::skip]
fn layer_cases() -> Vec<Case> {
    vec![
        case_with("append", &["a"], |at| append(at, "a"), &["open_write a append", "close_write a append"]),
        case_with("append-deep-below", &["d/", "d/e/", "d/e/f"], |at| append(at, "d/e/f"),
            &["open_write d/e/f append", "close_write d/e/f append"]),
        case_with(TWO_NAMES, &["a"], |at| append(at, "a"), &["open_write a append", "close_write a append"]),
        case_with("make-a-mapping-writable", &["a"], data::make_a_mapping_writable,
            &["open_write a", "mmap_write a prot=3", "close_write a"]),
    ]
}

fn append(at: &Place, name: &str) -> Result<()> {
    fs::OpenOptions::new().append(true).open(at.at(name))?;
    Ok(())
}

fn mkdir_and_write(at: &Place) -> Result<()> {
    fs::create_dir(at.at("d"))?;
    Ok(fs::write(at.at("d/f"), "x")?)
}
