//! Debian's suites: where this machine's own apt sources say they are, and an apt that looks at one of them alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::sources;
use crate::{apt, sh};

/// A suite from which kernels, QEMU or the Debian root come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    BullseyeSecurity,
    Bookworm,
    BookwormSecurity,
    Trixie,
    TrixieBackports,
}

impl Suite {
    /// Its name in an apt source.
    pub fn name(self) -> &'static str {
        match self {
            Self::BullseyeSecurity => "bullseye-security",
            Self::Bookworm => "bookworm",
            Self::BookwormSecurity => "bookworm-security",
            Self::Trixie => "trixie",
            Self::TrixieBackports => "trixie-backports",
        }
    }
}

/// The archive that the machine's sources name, and the keyring that vouches for it.
pub struct Mirror {
    main: String,
    security: String,
    keyring: PathBuf,
}

/// Debian's keys, and the one that older versions of its package lack.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const NEWEST_KEY: &str = "/usr/share/keyrings/debian-archive-trixie-stable.gpg";

impl Mirror {
    /// Reads the machine's apt sources; updates Debian's keyring where it is too old for trixie.
    ///
    /// # Errors
    /// Where no source is a Debian archive.
    pub fn of_this_machine() -> Result<Self> {
        let found = sources::debian(&sources::read(Path::new("/etc/apt"))).context(
            "no Debian archive in /etc/apt/sources.list or sources.list.d: the VM's parts come from the mirror named there",
        )?;
        if !Path::new(NEWEST_KEY).exists() {
            sh::say("updating debian-archive-keyring (needed for trixie's signatures)");
            apt::update()?;
            sh::run(
                sh::as_root("apt-get")
                    .args(["install", "-y", "-q", "debian-archive-keyring"])
                    .env("DEBIAN_FRONTEND", "noninteractive")
                    .stdout(Stdio::null()),
            )?;
        }
        let keyring = found.keyring.filter(|path| path.is_file()).unwrap_or_else(|| KEYRING.into());
        Ok(Self { main: found.main, security: found.security, keyring })
    }

    /// The one-line source of a suite (sources.list(5)), with the keyring that must have signed it.
    pub fn line(&self, suite: Suite) -> String {
        let uri = match suite {
            Suite::BullseyeSecurity | Suite::BookwormSecurity => &self.security,
            Suite::Bookworm | Suite::Trixie | Suite::TrixieBackports => &self.main,
        };
        format!("deb [arch=amd64 signed-by={}] {uri} {} main", self.keyring.display(), suite.name())
    }
}

/// An apt with its own sources, lists and (empty) status: it sees nothing of the machine's packages and changes
/// none, needs no root, and checks signatures and digests as the machine's does.
pub struct Apt {
    dir: PathBuf,
}

impl Apt {
    /// Sets it up in `dir` and downloads the suites' lists.
    ///
    /// # Errors
    /// Where a list cannot be fetched or its signature does not hold.
    pub fn open(dir: &Path, mirror: &Mirror, suites: &[Suite]) -> Result<Self> {
        for sub in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(sub))
                .with_context(|| format!("cannot create {}", dir.join(sub).display()))?;
        }
        let lines: String = suites.iter().map(|suite| mirror.line(*suite) + "\n").collect();
        fs::write(dir.join("sources.list"), lines)?;
        fs::write(dir.join("status"), "")?;
        fs::write(dir.join("apt.conf"), configuration(dir))?;
        let apt = Self { dir: dir.to_owned() };
        // Without this, apt turns a failed download into a warning and goes on (apt.conf(5), "APT::Update").
        sh::output(apt.command("apt-get").args(["update", "-q", "-o", "APT::Update::Error-Mode=any"]))
            .with_context(|| format!("cannot read the package lists of {}", names(suites)))?;
        Ok(apt)
    }

    /// The packages of the kernel that `meta` depends on: `linux-image-RELEASE`, and from 7.x, which is split, its
    /// `linux-binary-`, `linux-modules-` and `linux-base-RELEASE`.
    ///
    /// # Errors
    /// Where the suite has no such package.
    pub fn kernel_packages(&self, meta: &str) -> Result<Vec<String>> {
        let text = sh::output(self.command("apt-cache").args([
            "depends",
            "--recurse",
            "--important",
            "--no-conflicts",
            "--no-breaks",
            "--no-replaces",
            meta,
        ]))?;
        let packages = released(&text);
        if packages.is_empty() {
            bail!("{meta} depends on no kernel:\n{text}");
        }
        Ok(packages)
    }

    /// Downloads just these packages and unpacks them into `into`.
    ///
    /// # Errors
    /// Where a download fails, its digest is not the signed one, or it cannot be unpacked.
    pub fn unpack(&self, packages: &[String], into: &Path) -> Result<()> {
        let archives = self.archives();
        sh::output(self.command("apt-get").args(["download", "-q"]).args(packages).current_dir(&archives))
            .with_context(|| format!("cannot download {}", packages.join(" ")))?;
        self.unpack_archives(into)
    }

    /// Downloads a package with all it depends on and unpacks them into `into`.
    ///
    /// # Errors
    /// As [`Apt::unpack`].
    pub fn unpack_with_dependencies(&self, package: &str, into: &Path) -> Result<()> {
        sh::output(
            self.command("apt-get")
                .args(["install", "-y", "-q", "--download-only", "--no-install-recommends", package])
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )
        .with_context(|| format!("cannot download {package} and what it depends on"))?;
        self.unpack_archives(into)
    }

    fn unpack_archives(&self, into: &Path) -> Result<()> {
        fs::create_dir_all(into)?;
        let mut unpacked = 0;
        for file in fs::read_dir(self.archives())? {
            let deb = file?.path();
            if deb.extension().is_some_and(|e| e == "deb") {
                sh::output(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(into))?;
                fs::remove_file(&deb)?;
                unpacked += 1;
            }
        }
        if unpacked == 0 {
            bail!("apt downloaded nothing into {}", self.archives().display());
        }
        Ok(())
    }

    fn archives(&self) -> PathBuf {
        self.dir.join("cache/archives")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        // Read after the machine's own configuration, whose proxies hold here too (apt.conf(5)).
        command.arg("-c").arg(self.dir.join("apt.conf")).env("LC_ALL", "C");
        command
    }
}

/// The configuration that keeps an apt within `dir`.
///
/// The machine may ask for software-centre metadata (DEP-11), which is of no use here; and apt's own user may not
/// reach a cache in a private directory, at which apt would warn and use root all the same.
fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        r#"Dir::Etc::SourceList "{dir}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State "{dir}/state";
Dir::State::status "{dir}/status";
Dir::Cache "{dir}/cache";
APT::Architecture "amd64";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons-small::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons::DefaultEnabled "false";
"#
    )
}

fn names(suites: &[Suite]) -> String {
    suites.iter().map(|suite| suite.name()).collect::<Vec<_>>().join(", ")
}

/// Those of a list of packages that carry a kernel's release in their name, not the meta packages nor `linux-base`.
fn released(text: &str) -> Vec<String> {
    let of_a_release = |name: &&str| {
        let rest = name.strip_prefix("linux-").and_then(|rest| rest.split_once('-'));
        rest.is_some_and(|(_, release)| release.starts_with(|c: char| c.is_ascii_digit()))
    };
    let mut found: Vec<String> = text.lines().filter(of_a_release).map(str::to_owned).collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_packages_are_left_out() {
        let text = "linux-image-cloud-amd64\n  Depends: linux-image-7.3.4+deb13-cloud-amd64\nlinux-base-cloud-amd64\n\
            linux-image-7.3.4+deb13-cloud-amd64\nlinux-binary-7.3.4+deb13-cloud-amd64\nlinux-base\nkmod\n";
        assert_eq!(
            released(text),
            ["linux-binary-7.3.4+deb13-cloud-amd64", "linux-image-7.3.4+deb13-cloud-amd64"]
        );
    }
}
