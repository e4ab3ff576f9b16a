//! The stages in micro VMs: `tests/src/guest`, booted as init on each kernel.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Tally;
use crate::vm::cpio::File;
use crate::vm::kernel::{Kernel, Series};
use crate::vm::micro::{self, MicroVm};
use crate::{apt, programs, sh};

/// What runs in the machines.
#[derive(Clone)]
pub struct Programs {
    /// svcsensor.
    pub sensor: PathBuf,
    /// The init of micro VMs.
    pub guest: PathBuf,
}

impl Programs {
    /// Builds them.
    pub fn build() -> Result<Self> {
        let [sensor, guest] = programs::build([("sensor-user", "svcsensor"), ("tests", "guest")])?;
        Ok(Self { sensor, guest })
    }

    /// Builds the init of micro VMs alone.
    pub fn guest_alone() -> Result<PathBuf> {
        let [guest] = programs::build([("tests", "guest")])?;
        Ok(guest)
    }
}

/// Every hook, on every kernel, with the LSM and the fentry backend, and with each object.
pub fn hooks(programs: &Programs, objects: &[Option<PathBuf>]) -> Result<Tally> {
    let disks = disks()?;
    let mut tally = Tally::default();
    for series in Series::ALL {
        let kernel = Kernel::fetch(series)?;
        for (backend, lsm) in [("lsm", micro::LSM_WITH_BPF), ("fentry", micro::LSM_WITHOUT_BPF)] {
            for object in objects {
                let mut vm = MicroVm::new(&kernel, &programs.guest)?;
                vm.args = vec!["hooks".into(), backend.into()];
                vm.modules = ["overlay", "btrfs", "loop"].map(str::to_owned).to_vec();
                vm.lsm = Some(lsm.to_owned());
                vm.hardware.memory_mib = 1024;
                vm.files = disks.iter().map(|(name, image)| File::data(*name, image.clone())).collect();
                vm.files.extend(fresh(object.as_deref())?);
                let which = if object.is_some() { ", fresh object" } else { "" };
                tally.add(run(&vm, &format!("{} {backend}{which}", kernel.release())));
            }
        }
    }
    Ok(tally)
}

/// A flood on two processors.
pub fn burst(programs: &Programs) -> Result<Tally> {
    let kernel = Kernel::fetch(Series::V6_12)?;
    let mut vm = MicroVm::new(&kernel, &programs.guest)?;
    vm.args = vec!["burst".into(), "lsm".into()];
    vm.hardware.memory_mib = 1024;
    vm.hardware.cpus = 2;
    vm.hardware.limit = Duration::from_secs(900);
    vm.lsm = Some(micro::LSM_WITH_BPF.to_owned());
    let sensor = std::fs::read(&programs.sensor).context("cannot read svcsensor")?;
    vm.files = vec![File::program("svcsensor", sensor)];
    Ok(run(&vm, &format!("{} burst", kernel.release())))
}

/// Boots a machine; what does not hold, and its own failure, is printed.
fn run(vm: &MicroVm<'_>, name: &str) -> Tally {
    let mut tally = Tally::default();
    let outcome = vm.run(&mut |line| {
        tally.line(line);
        if !line.starts_with("ok ") {
            println!("{name}: {line}");
        }
    });
    match outcome {
        Ok(outcome) if outcome.status == 0 || tally.failed > 0 => {
            sh::say(format!("{name}: {} ok in {:.1} s", tally.passed, outcome.elapsed.as_secs_f32()));
        }
        Ok(outcome) => {
            println!("not ok {name}: the guest ended with status {}\n{}", outcome.status, outcome.console);
            tally.failed += 1;
        }
        Err(error) => {
            println!("not ok {name}: {error:#}");
            tally.failed += 1;
        }
    }
    tally
}

/// The object to test in the built-in one's stead, where the guest looks for it.
fn fresh(object: Option<&Path>) -> Result<Option<File>> {
    let Some(path) = object else { return Ok(None) };
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Some(File::data("svcsensor.bpf.o", bytes)))
}

/// A filesystem in an image: its file's name in the guest, and its bytes.
type Disk = (&'static str, Vec<u8>);

/// Images of filesystems that differ in what stat(2) says of a file's device.
fn disks() -> Result<Vec<Disk>> {
    Ok(vec![disk("ext4.img", 8, "mkfs.ext4", &["-q", "-F"])?, btrfs()?])
}

/// btrfs in an image, whose files can share blocks.
pub fn btrfs() -> Result<Disk> {
    // Mixed block groups allow an image this small.
    disk("btrfs.img", 24, "mkfs.btrfs", &["-q", "-f", "--mixed"])
}

fn disk(name: &'static str, mib: u64, program: &str, args: &[&str]) -> Result<Disk> {
    apt::need(&["e2fsprogs", "btrfs-progs"], "filesystems for the tests")?;
    let folder = sh::cache().join("disks");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(name);
    let file = std::fs::File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    file.set_len(mib << 20)?;
    // Debian has them in /usr/sbin, which a user's PATH may lack.
    sh::output(Command::new(Path::new("/usr/sbin").join(program)).args(args).arg(&path))?;
    Ok((name, std::fs::read(&path)?))
}
