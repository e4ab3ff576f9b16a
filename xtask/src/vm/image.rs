//! The root file systems of the Debian guests: bookworm or trixie with systemd, docker and podman, as an ext4 image each.
//!
//! The image is made once from the packages, and every run writes to a throw-away copy. It is a plain Debian but for
//! what costs boot time and proves nothing here: units in [`MASKED`] are masked, and dockerd and containerd start on
//! demand (docker.socket) instead of at boot, as ssh.service has to be. It has a user `alice` (1000) for what systemd
//! does for users, and /srv/busybox.tar, a container's root to `docker import` or `podman import`: there is no registry.
//! Nor is there a network for apt, so bookworm's /srv/packages/old and /srv/packages/new are archives of a few packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::cache;
use super::kernel::Kernel;
use super::suites::{Mirror, Suite};
use crate::{apt, sh};

/// Changes whenever the code below would make a different image from the same lists.
const RECIPE: &str = "2";

/// Which Debian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Release {
    /// 12: systemd 252, docker 20.10, podman 4.3
    Bookworm,
    /// 13: systemd 257, docker 26, podman 5.4 with Quadlet
    Trixie,
}

impl Release {
    fn suites(self) -> &'static [Suite] {
        match self {
            Self::Bookworm => &[Suite::Bookworm, Suite::BookwormSecurity],
            Self::Trixie => &[Suite::Trixie],
        }
    }

    /// What is installed, without recommendations.
    fn packages(self) -> String {
        match self {
            Self::Bookworm => PACKAGES.to_owned(),
            // docker.io became the engine alone.
            Self::Trixie => format!("{PACKAGES} docker-cli"),
        }
    }
}

const PACKAGES: &str = "systemd-sysv systemd-container dbus dbus-user-session libpam-systemd udev kmod procps \
    iproute2 iptables nftables busybox-static docker.io containerd runc crun podman netavark aardvark-dns \
    conmon catatonit uidmap slirp4netns fuse-overlayfs curl sudo cron python3-minimal bpftool util-linux \
    e2fsprogs openssh-server logrotate rsync vim-tiny";

/// Packages with services that a guest may install out of /srv/packages/new, with what they depend on: a daemon with a
/// socket, one with a System V script, and one with neither.
const OFFERED: &str = "acpid at memcached";

/// One of them, of which Debian's release and its security archive have different versions: the older one is in
/// /srv/packages/old.
const UPGRADED: &str = "memcached";

/// Units that a test's guest has no use for. Devices come from devtmpfs, so nothing waits for udev to see them again.
const MASKED: &str = "systemd-udev-trigger.service systemd-udev-settle.service systemd-hwdb-update.service \
    systemd-random-seed.service systemd-rfkill.socket systemd-timesyncd.service systemd-pstore.service \
    systemd-update-utmp.service systemd-update-utmp-runlevel.service systemd-journal-flush.service \
    serial-getty@ttyS0.service getty@tty1.service e2scrub_reap.service e2scrub_all.timer fstrim.timer \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer dev-hugepages.mount dev-mqueue.mount \
    sys-kernel-debug.mount sys-kernel-config.mount sys-fs-fuse-connections.mount proc-sys-fs-binfmt_misc.automount \
    systemd-binfmt.service systemd-repart.service modprobe@drm.service modprobe@efi_pstore.service \
    modprobe@configfs.service modprobe@fuse.service modprobe@loop.service modprobe@dm_mod.service";

/// Runs /svcsensor/script; see [`mod@super::debian`].
const RUNNER_UNIT: &str = "[Unit]
Description=Script of a svcsensor test
After=multi-user.target
ConditionPathExists=/svcsensor/script

[Service]
ExecStart=/svcsensor/runner
Environment=HOME=/root LANG=C.UTF-8
TasksMax=infinity

[Install]
WantedBy=multi-user.target
";

/// Packages to install, and one to upgrade.
fn offer() -> String {
    format!(
        r#"archives=$root/var/cache/apt/archives
mkdir -p "$root/srv/packages/old" "$root/srv/packages/new"
rm -f "$archives"/*.deb
apt-get install --yes --quiet --download-only --no-install-recommends {OFFERED}
mv "$archives"/*.deb "$root/srv/packages/new/"
older=$(apt-cache madison {UPGRADED} | sed -n '$s/^[^|]*| *\([^ ]*\) .*/\1/p')
(cd "$root/srv/packages/old" && apt-get download --quiet "{UPGRADED}=$older")
for archive in old new; do
    for deb in "$root/srv/packages/$archive"/*.deb; do
        dpkg-deb --field "$deb"
        echo "Filename: ./${{deb##*/}}"
        echo "Size: $(stat -c %s "$deb")"
        echo "SHA256: $(sha256sum "$deb" | cut -d' ' -f1)"
        echo
    done >"$root/srv/packages/$archive/Packages"
done
"#
    )
}

/// The first argument of a hook is the new root (mmdebstrap(1), \"HOOKS\").
fn customize(release: Release) -> String {
    let offer = if release == Release::Bookworm { offer() } else { String::new() };
    format!(
        r#"set -eu
root=$1
echo guest > "$root/etc/hostname"
printf '127.0.0.1 localhost guest\n::1 localhost\n' > "$root/etc/hosts"
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
{offer}rm -rf "$root/etc/apt/sources.list" "$root/etc/apt/sources.list.d" "$root/etc/apt/apt.conf.d/99mmdebstrap"
mkdir "$root/etc/apt/sources.list.d" "$root/svcsensor"
cat > "$root/etc/systemd/system/svcsensor-guest.service" <<'UNIT'
{RUNNER_UNIT}UNIT
: > "$root/etc/default/locale"
# podman would look for CNI's plugins, because its package ships their configuration.
mkdir -p "$root/etc/containers"
printf '[network]\nnetwork_backend = "netavark"\n' > "$root/etc/containers/containers.conf"
rm -f "$root/etc/cni/net.d/87-podman-bridge.conflist"
chroot "$root" systemctl mask {MASKED}
chroot "$root" systemctl disable docker.service containerd.service podman.service podman.socket \
    podman-restart.service podman-auto-update.timer podman-auto-update.service
chroot "$root" systemctl disable ssh.service logrotate.timer
chroot "$root" systemctl enable docker.socket svcsensor-guest.service
chroot "$root" useradd --create-home --shell /bin/bash alice
box=$(mktemp -d)
mkdir -p "$box/bin" "$box/tmp" "$box/etc" "$box/proc" "$box/sys" "$box/dev"
cp "$root/bin/busybox" "$box/bin/"
for name in $(chroot "$root" /bin/busybox --list); do
    [ "$name" = busybox ] || ln -s busybox "$box/bin/$name"
done
# Newer than /usr: there is no update for systemd to carry through (systemd-update-done.service(8)).
touch "$root/etc/.updated" "$root/var/.updated"
tar --sort=name --owner=0 --group=0 --numeric-owner -C "$box" -cf "$root/srv/busybox.tar" .
rm -r "$box"
"#
    )
}

/// The cached image, or a new one: about 160 MB to download, a minute to build.
///
/// # Errors
/// Where a package cannot be fetched or installed; root, or sudo, is needed.
pub fn debian(release: Release) -> Result<PathBuf> {
    let hook = customize(release);
    let mut hash = Sha256::new();
    for part in [RECIPE, &release.packages(), &hook] {
        hash.update(part);
        hash.update([0]);
    }
    for suite in release.suites() {
        hash.update(suite.name());
    }
    let digest = format!("{:x}", hash.finalize());
    let dir = cache::entry(&format!("debian-{}", &digest[..12]), |dir| build(release, dir, &hook))?;
    Ok(dir.join("root.ext4"))
}

fn build(release: Release, dir: &Path, hook: &str) -> Result<()> {
    sh::say(format!("building the image of a Debian guest ({release:?}): a minute or two"));
    apt::need(&["mmdebstrap", "e2fsprogs", "debian-archive-keyring"], "the Debian guest's image")?;
    let mirror = Mirror::of_this_machine()?;
    let script = dir.join("customize");
    fs::write(&script, hook)?;
    let root = dir.join("root");
    let log = dir.join("log");
    let mut command = sh::as_root("mmdebstrap");
    command
        .args(["--mode=root", "--variant=minbase", "--architectures=amd64"])
        .arg(format!("--include={}", release.packages().split_whitespace().collect::<Vec<_>>().join(",")))
        .args(["--aptopt=Acquire::Languages \"none\"", "--aptopt=Acquire::Retries \"3\""])
        .args(kept_check("Acquire::Check-Valid-Until"))
        .args(kept_check("Acquire::Check-Date"))
        // Documentation is a third of the files. Copyright notices stay, as the licences ask.
        .arg("--dpkgopt=path-exclude=/usr/share/man/*")
        .arg("--dpkgopt=path-exclude=/usr/share/locale/*")
        .arg("--dpkgopt=path-exclude=/usr/share/doc/*")
        .arg("--dpkgopt=path-include=/usr/share/doc/*/copyright")
        .arg(format!("--customize-hook=sh '{}' \"$1\"", script.display()))
        .arg(release.suites()[0].name())
        .arg(&root)
        .args(release.suites().iter().map(|suite| mirror.line(*suite)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log)?);
    sh::run(&mut command).with_context(|| format!("mmdebstrap said:\n{}", tail(&log)))?;
    // Writes never outlive a run, so a journal would only cost time.
    ext4(&root, &dir.join("root.ext4"), "4G", &["-O", "^has_journal"])?;
    sh::run(sh::as_root("rm").args(["-rf", "--one-file-system"]).arg(&root))
}

/// An option with which the guest's apt checks dates as this machine's does: one that lives on a frozen mirror has
/// such checks off.
fn kept_check(name: &str) -> Option<String> {
    let set = sh::output(Command::new("apt-config").args(["shell", "value", name])).ok()?;
    set.contains("false").then(|| format!("--aptopt={name} \"false\""))
}

/// A file system with the modules of `kernel`: a directory called like its release, as /lib/modules has it.
///
/// # Errors
/// Where it cannot be made.
pub fn modules(kernel: &Kernel) -> Result<PathBuf> {
    let dir = cache::entry(&format!("modules-{}-1", kernel.release()), |dir| {
        apt::need(&["e2fsprogs"], "a file system of modules")?;
        ext4(
            &kernel.modules_root().join("lib/modules"),
            &dir.join("modules.ext4"),
            "256M",
            &["-O", "^has_journal"],
        )
    })?;
    Ok(dir.join("modules.ext4"))
}

/// Makes an ext4 image of `size` from a tree, with the tree's owners and modes.
fn ext4(tree: &Path, image: &Path, size: &str, options: &[&str]) -> Result<()> {
    sh::output(
        sh::as_root("/sbin/mke2fs")
            .args(["-q", "-t", "ext4", "-E", "root_owner=0:0", "-d"])
            .arg(tree)
            .args(options)
            .arg(image)
            .arg(size),
    )
    .map(drop)
}

fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hook_is_sound_shell_and_has_the_runners_unit() {
        for release in [Release::Bookworm, Release::Trixie] {
            let hook = customize(release);
            cache::filter(Command::new("sh").arg("-n"), hook.as_bytes()).unwrap();
            assert!(hook.contains("ExecStart=/svcsensor/runner\n"));
        }
    }
}
