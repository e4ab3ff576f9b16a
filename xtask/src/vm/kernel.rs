//! Debian's cloud kernels: one per generation the sensor supports, each as an uncompressed image with its modules.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::cache;
use super::suites::{Apt, Mirror, Suite};
use crate::{apt, sh};

/// Which kernel: each is the newest `linux-image-cloud-amd64` of one Debian suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Series {
    /// bullseye-security: no task storage; `bpf` is not among its LSMs by default
    #[value(name = "5.10")]
    V5_10,
    /// bookworm
    #[value(name = "6.1")]
    V6_1,
    /// trixie
    #[value(name = "6.12")]
    V6_12,
    /// trixie-backports: the newest that Debian stable offers (7.3 when this was written; it moves on)
    #[value(name = "7.3", alias = "newest")]
    V7_3,
}

impl Series {
    /// Oldest first.
    pub const ALL: [Self; 4] = [Self::V5_10, Self::V6_1, Self::V6_12, Self::V7_3];

    /// As the command line has it.
    pub fn name(self) -> String {
        let value = clap::ValueEnum::to_possible_value(&self).expect("none of them is left out");
        value.get_name().to_owned()
    }

    fn suite(self) -> Suite {
        match self {
            Self::V5_10 => Suite::BullseyeSecurity,
            Self::V6_1 => Suite::Bookworm,
            Self::V6_12 => Suite::Trixie,
            Self::V7_3 => Suite::TrixieBackports,
        }
    }
}

/// A kernel in the cache.
pub struct Kernel {
    series: Series,
    release: String,
    dir: PathBuf,
}

/// The meta package that each suite's newest kernel for virtual machines hangs on.
const META: &str = "linux-image-cloud-amd64";

impl Kernel {
    /// The cached kernel, or a new one: 20 to 40 MB to download.
    ///
    /// # Errors
    /// Where it cannot be downloaded, or is packed in a way not known here.
    pub fn fetch(series: Series) -> Result<Self> {
        let suite = series.suite();
        let dir = cache::entry(&format!("kernel-{}-1", suite.name()), |dir| build(suite, dir))?;
        let release = release(&dir)?;
        Ok(Self { series, release, dir })
    }

    /// Which of the supported kernels this is.
    pub fn series(&self) -> Series {
        self.series
    }

    /// Its release, as `uname -r` says it.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// The uncompressed kernel (an ELF file with a PVH entry, which QEMU starts directly).
    pub fn image(&self) -> PathBuf {
        self.dir.join("vmlinux")
    }

    /// A directory with the complete `lib/modules/RELEASE`, depmod's index included.
    pub fn modules_root(&self) -> PathBuf {
        self.dir.join("modules")
    }

    /// The modules that `names` need, themselves included, uncompressed, in the order in which to load them: as
    /// (file name, bytes). What the kernel has built in is left out.
    ///
    /// # Errors
    /// Where the kernel knows no module of that name, or one cannot be read.
    pub fn modules(&self, names: &[&str]) -> Result<Vec<(String, Vec<u8>)>> {
        let mut found: Vec<(String, Vec<u8>)> = Vec::new();
        if names.is_empty() {
            return Ok(found);
        }
        apt::need(&["kmod", "xz-utils", "zstd"], "the kernels' modules")?;
        for name in names {
            let listed = sh::output(
                // modprobe follows dependencies, soft ones, and aliases; an empty configuration keeps this machine's out.
                Command::new("/sbin/modprobe")
                    .args([
                        "--show-depends",
                        "--ignore-install",
                        "-C",
                        "/dev/null",
                        "-S",
                        &self.release,
                        "-d",
                    ])
                    .arg(self.modules_root())
                    .arg(name),
            )
            .with_context(|| format!("kernel {} has no module {name}", self.release))?;
            for path in insmod_paths(&listed) {
                let file = Path::new(path).file_name().and_then(|n| n.to_str()).unwrap_or(path);
                let file = file.trim_end_matches(".xz").trim_end_matches(".zst").to_owned();
                if !found.iter().any(|(there, _)| *there == file) {
                    found.push((file, uncompressed_module(Path::new(path))?));
                }
            }
        }
        Ok(found)
    }
}

/// The paths of `insmod PATH [PARAMETERS]` lines; `builtin NAME` lines have none. Only the part below lib/modules is
/// known to have no blanks.
fn insmod_paths(listed: &str) -> impl Iterator<Item = &str> {
    listed.lines().filter_map(|line| {
        let rest = line.strip_prefix("insmod ")?;
        let below = rest.find("/lib/modules/")?;
        let end = rest[below..].find(' ').map_or(rest.len(), |blank| below + blank);
        Some(&rest[..end])
    })
}

fn uncompressed_module(path: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    match path.extension().and_then(|e| e.to_str()) {
        Some("xz") => cache::filter(Command::new("xz").arg("-dc"), &bytes),
        Some("zst") => cache::filter(Command::new("zstd").arg("-dcq"), &bytes),
        _ => Ok(bytes),
    }
    .with_context(|| format!("cannot unpack {}", path.display()))
}

/// Downloads a suite's kernel into `dir`: `vmlinux`, and `modules/lib/modules/RELEASE`.
fn build(suite: Suite, dir: &Path) -> Result<()> {
    sh::say(format!("fetching the kernel of {}", suite.name()));
    apt::need(&["kmod", "lz4", "xz-utils", "zstd"], "unpacking kernels")?;
    let unpacked = dir.join("unpacked");
    let apt = Apt::open(&dir.join("apt"), &Mirror::of_this_machine()?, &[suite])?;
    apt.unpack(&apt.kernel_packages(META)?, &unpacked)?;

    // Packages before trixie have /lib/modules, later ones /usr/lib/modules.
    let modules = [unpacked.join("lib/modules"), unpacked.join("usr/lib/modules")]
        .into_iter()
        .find(|path| path.is_dir())
        .with_context(|| format!("the kernel packages of {} have no modules", suite.name()))?;
    fs::create_dir_all(dir.join("modules/lib"))?;
    fs::rename(&modules, dir.join("modules/lib/modules"))?;
    let release = release(dir)?;
    sh::output(Command::new("/sbin/depmod").arg("-b").arg(dir.join("modules")).arg(&release))?;

    // From 7.x the image lies beside the modules.
    let beside = dir.join("modules/lib/modules").join(&release).join("vmlinuz");
    let image = if beside.is_file() { beside } else { unpacked.join(format!("boot/vmlinuz-{release}")) };
    let packed =
        fs::read(&image).with_context(|| format!("no kernel image for {release} in its packages"))?;
    let kernel = vmlinux(&packed).with_context(|| format!("cannot unpack the image of {release}"))?;
    fs::write(dir.join("vmlinux"), kernel)?;
    for spent in ["apt", "unpacked"] {
        fs::remove_dir_all(dir.join(spent))?;
    }
    sh::say(format!("kernel {release} is there"));
    Ok(())
}

/// The one release whose modules are in `dir`.
fn release(dir: &Path) -> Result<String> {
    let modules = dir.join("modules/lib/modules");
    let mut found: Vec<String> = fs::read_dir(&modules)
        .with_context(|| format!("cannot read {}", modules.display()))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    match (found.pop(), found.pop()) {
        (Some(release), None) => Ok(release),
        _ => bail!("{} does not hold the modules of exactly one kernel", modules.display()),
    }
}

/// The kernel inside a bzImage (Documentation/arch/x86/boot.rst: "`payload_offset`", "`payload_length`").
///
/// # Errors
/// Where it is no bzImage, is compressed by something else than LZ4, zstd, xz or gzip, or is damaged.
fn vmlinux(image: &[u8]) -> Result<Vec<u8>> {
    let field = |at: usize| -> Result<usize> {
        let bytes = image.get(at..at + 4).context("the image ends in its header")?;
        Ok(u32::from_le_bytes(bytes.try_into()?) as usize)
    };
    ensure!(image.get(0x202..0x206) == Some(b"HdrS".as_slice()), "no boot header");
    // "setup_sects": a 0 means 4, and the boot sector comes on top.
    let setup_sectors = match image[0x1f1] {
        0 => 4,
        n => usize::from(n),
    };
    let start = (setup_sectors + 1) * 512 + field(0x248)?;
    let payload = start
        .checked_add(field(0x24c)?)
        .and_then(|end| image.get(start..end))
        .context("the payload lies outside the image")?;
    let mut command = match payload {
        [0x02, 0x21, ..] => Command::new("lz4"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Command::new("zstd"),
        [0xfd, b'7', b'z', ..] => Command::new("xz"),
        [0x1f, 0x8b, ..] => Command::new("gzip"),
        _ => bail!("the kernel is compressed in an unknown way"),
    };
    // The build adds the unpacked size in 4 bytes, except after gzip's own (scripts/Makefile.lib, "size_append").
    let stream = match payload {
        [0x1f, ..] => payload,
        _ => payload.get(..payload.len().saturating_sub(4)).unwrap_or_default(),
    };
    let kernel = cache::filter(command.arg("-dc"), stream)?;
    ensure!(kernel.starts_with(b"\x7fELF"), "what was packed is no ELF file");
    Ok(kernel)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bzImage with one setup sector and this payload.
    fn image(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 1024];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x248..0x24c].copy_from_slice(&16_u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        image.extend([0; 16]);
        image.extend(payload);
        image.extend(b"what follows");
        image
    }

    #[test]
    fn a_gzip_payload_is_unpacked() {
        let packed = cache::filter(Command::new("gzip").arg("-c"), b"\x7fELF kernel").unwrap();
        assert_eq!(vmlinux(&image(&packed)).unwrap(), b"\x7fELF kernel");
    }

    #[test]
    fn an_xz_payload_loses_the_size_behind_it() {
        let mut packed = cache::filter(Command::new("xz").arg("-c"), b"\x7fELF kernel").unwrap();
        packed.extend(11_u32.to_le_bytes());
        assert_eq!(vmlinux(&image(&packed)).unwrap(), b"\x7fELF kernel");
    }

    #[test]
    fn damaged_images_are_refused() {
        assert!(vmlinux(b"").is_err());
        assert!(vmlinux(&vec![0; 4096]).is_err());
        assert!(vmlinux(&image(b"unknown")).is_err());
        let mut long = image(b"\x1f\x8b");
        long[0x24c..0x250].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(vmlinux(&long).unwrap_err().to_string().contains("outside"));
    }

    #[test]
    fn only_loadable_modules_are_listed() {
        let listed =
            "insmod /a b/lib/modules/1/xor.ko \nbuiltin crc32c\ninsmod /lib/modules/1/btrfs.ko.xz par=1\n";
        assert_eq!(
            insmod_paths(listed).collect::<Vec<_>>(),
            ["/a b/lib/modules/1/xor.ko", "/lib/modules/1/btrfs.ko.xz"]
        );
    }
}
