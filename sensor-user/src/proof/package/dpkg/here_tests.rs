//! The machine's own database, compared with what dpkg says of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustix::time::{ClockId, clock_gettime};

use super::super::{Packages, Verdict};
use crate::source::content::Root;
use crate::source::object::nanoseconds;

pub(super) fn cpu() -> i64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    nanoseconds(now.tv_sec, now.tv_nsec)
}

pub(super) fn measured<T>(what: &str, of: impl FnOnce() -> T) -> T {
    let begin = cpu();
    let result = of();
    println!("{what}: {} us of CPU", (cpu() - begin) / 1000);
    result
}

/// Standard output of a program of dpkg's; `None` where it is not there.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).env("LC_ALL", "C").args(arguments).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Regular files below some directories, spread over all of them.
fn files(most: usize) -> Vec<String> {
    let mut all = Vec::new();
    let directories =
        ["/etc", "/etc/init.d", "/usr/bin", "/usr/sbin", "/usr/lib/systemd/system", "/usr/share/doc/dpkg"];
    for directory in directories {
        let Ok(entries) = fs::read_dir(directory) else { continue };
        let files = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
        let mut names: Vec<_> = files.filter_map(|entry| entry.path().to_str().map(str::to_owned)).collect();
        names.sort();
        let step = names.len().div_ceil(most / directories.len()).max(1);
        all.extend(names.into_iter().step_by(step));
    }
    all
}

#[test]
fn claims_and_verdicts_are_those_of_dpkg() {
    let Some(diverted) = said("dpkg-divert", &["--list"]) else {
        println!("skipped: there is no dpkg on this machine");
        return;
    };
    let root = Arc::new(Root::open("/").unwrap());
    let mut packages = measured("open", || Packages::open(root));
    let status = packages.status();
    println!("{status:?}");
    assert_eq!(status[0].problems, Vec::<String>::new());
    let files = files(600);

    // dpkg --search knows only the path as the package has it.
    let spellings = |path: &str| [path.to_owned(), path.strip_prefix("/usr").unwrap_or(path).to_owned()];
    let questions: Vec<String> = files.iter().flat_map(|path| spellings(path)).collect();
    let arguments: Vec<&str> = ["--search"].into_iter().chain(questions.iter().map(String::as_str)).collect();
    let mut owners: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in said("dpkg-query", &arguments).unwrap().lines().filter(|line| !line.starts_with("diversion "))
    {
        let (names, path) = line.split_once(": ").unwrap();
        let names = names.split(", ").map(|name| name.split(':').next().unwrap().to_owned());
        owners.entry(path.to_owned()).or_default().extend(names);
    }
    // dpkg reads every file of a package that it verifies: not of all of them.
    let verified: BTreeSet<&str> = owners.values().flatten().map(String::as_str).step_by(12).collect();
    let arguments: Vec<&str> = ["--verify"].into_iter().chain(verified.iter().copied()).collect();
    let modified = said("dpkg", &arguments).unwrap();
    let modified: BTreeSet<&str> =
        modified.lines().filter_map(|line| line.find(" /").map(|at| &line[at + 1..])).collect();
    let (mut proved, mut changed, mut compared) = (0, 0, 0);
    for path in &files {
        if diverted.contains(path.as_str()) {
            continue;
        }
        let expected: BTreeSet<String> =
            spellings(path).iter().filter_map(|path| owners.get(path)).flatten().cloned().collect();
        let claims = packages.claims(path.as_bytes());
        let found: BTreeSet<String> = claims.iter().map(|claim| claim.package.name.clone()).collect();
        assert_eq!(found, expected, "{path}");
        let checked = packages.check(path.as_bytes());
        let is_modified = spellings(path).iter().any(|path| modified.contains(path.as_str()));
        match checked.verdict {
            Verdict::Proved { .. } => proved += 1,
            Verdict::Modified { .. } => changed += 1,
            Verdict::Claimed { .. } => assert!(claims.iter().all(|claim| claim.digest.is_none())),
            Verdict::Unowned => assert!(expected.is_empty()),
            Verdict::Unknown { ref reason } => panic!("{path}: {reason}"),
        }
        if found.iter().any(|name| verified.contains(name.as_str())) {
            assert_eq!(matches!(checked.verdict, Verdict::Modified { .. }), is_modified, "{path}");
            compared += 1;
        }
    }
    println!("{} files: {proved} proved, {changed} modified, {compared} compared with --verify", files.len());
    assert!(compared > 0);
    assert!(proved > files.len() / 2, "most files of a machine are as their packages have them");

    measured("1,000 refreshes", || (0..1000).for_each(|_| drop(packages.refresh())));
    measured("1,000 questions after a refresh each", || {
        for path in files.iter().cycle().take(1000) {
            packages.refresh();
            packages.claims(path.as_bytes());
        }
    });
}

/// A package of a unit and a conffile; of version 1 dpkg has to make the digests itself.
fn package(folder: &Path, version: u32) -> PathBuf {
    let tree = folder.join(format!("tree-{version}"));
    let put = |path: &str, content: &str| {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    let control = format!(
        "Package: probe\nVersion: {version}\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: x\n"
    );
    put("DEBIAN/control", &control);
    put("DEBIAN/conffiles", "/etc/probe.conf\n");
    put("usr/lib/systemd/system/probe.service", &format!("[Service]\n# {version}\n"));
    put("etc/probe.conf", &format!("version={version}\n"));
    // Enough for somebody who looks to see the transaction under way.
    (0..300).for_each(|at| put(&format!("usr/share/probe/{at}"), &format!("{version} {at}\n")));
    if version > 1 {
        let sum = |path: &str| {
            let content = fs::read(tree.join(path)).unwrap();
            format!("{}  {path}\n", crate::proof::hex(&<md5::Md5 as md5::Digest>::digest(content)))
        };
        put("DEBIAN/md5sums", &sum("usr/lib/systemd/system/probe.service"));
    }
    let deb = folder.join(format!("probe_{version}.deb"));
    let built =
        Command::new("dpkg-deb").arg("--root-owner-group").arg("--build").arg(&tree).arg(&deb).output();
    assert!(built.unwrap().status.success(), "dpkg-deb builds a package");
    deb
}

#[test]
fn dpkg_itself_is_followed_through_an_installation_and_an_upgrade() {
    if said("dpkg", &["--version"]).is_none() || !rustix::process::geteuid().is_root() {
        println!("skipped: this needs dpkg, and root to let it write");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("target");
    for path in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "var/log", "usr/lib", "etc"] {
        fs::create_dir_all(target.join(path)).unwrap();
    }
    fs::write(target.join("var/lib/dpkg/status"), "").unwrap();
    std::os::unix::fs::symlink("usr/lib", target.join("lib")).unwrap();
    let mut packages = Packages::open(Arc::new(Root::open(target.to_str().unwrap()).unwrap()));
    let unit = b"/lib/systemd/system/probe.service";
    let ask = |packages: &mut Packages, path: &[u8]| {
        packages.refresh();
        let busy = packages.under_way().into_iter().map(|state| state.state).next();
        (packages.check(path).verdict, busy)
    };
    let version = |verdict: &Verdict| match verdict {
        Verdict::Proved { package } => Some(package.version.clone()),
        // While dpkg works, a note may vanish under whoever reads it: he asks again.
        _ => None,
    };
    for (action, expected) in [("1", Some("1")), ("2", Some("2")), ("remove", None)] {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg(format!("--root={}", target.display())).arg("--force-confold");
        match action {
            "remove" => dpkg.args(["--remove", "probe"]),
            version => dpkg.arg("--install").arg(package(folder.path(), version.parse().unwrap())),
        };
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut running = dpkg.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let mut seen = BTreeSet::new();
        let status = loop {
            let (verdict, busy) = ask(&mut packages, unit);
            // What stands there while nothing is under way is proved, or it is not there.
            seen.insert((version(&verdict), busy));
            if let Some(status) = running.try_wait().unwrap() {
                break status;
            }
        };
        println!("{action}: {seen:?}");
        assert!(status.success(), "{}", fs::read_to_string(folder.path().join("log")).unwrap());
        let (verdict, busy) = ask(&mut packages, unit);
        assert_eq!((version(&verdict).as_deref(), busy), (expected, None), "{verdict:?}");
        let (verdict, _) = ask(&mut packages, b"/etc/probe.conf");
        match action {
            // Its administrator has changed it after version 1, and keeps it.
            "1" => {
                assert_eq!(version(&verdict).as_deref(), Some("1"));
                fs::write(target.join("etc/probe.conf"), "version=mine\n").unwrap();
            }
            _ => assert!(matches!(verdict, Verdict::Modified { config: true, .. }), "{verdict:?}"),
        }
        let offered = packages.check_as(b"/etc/probe.conf.dpkg-dist", b"/etc/probe.conf").verdict;
        assert_eq!(version(&offered).as_deref(), (action != "1").then_some("2"), "{offered:?}");
    }
}
