//! Effective units against a running service manager's own, in a Debian guest: `systemctl show` and `systemctl cat` of the
//! system's manager and of a user's.
//!
//! The units are those of the guest, of a few hundred packages (`/svcsensor/units.tar`, laid out by the host) and generated
//! ones (`lay`). After one daemon-reload both sides are asked for all of them.

mod ask;
mod compare;
mod expect;
mod lay;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use sensor_user::subject::unit::effective::{Effective, effective};
use sensor_user::subject::unit::load::{LoadPath, View};
use sensor_user::subject::unit::store::UnitFiles;

use ask::Manager;
use compare::Compared;

/// Files of the packages' units, as the host packed them.
const PACKED: &str = "/svcsensor/units.tar";

/// The user whose manager is asked.
const USER: u32 = 1000;
const HOME: &str = "/home/alice";

/// Bytes of the store: several times what thousands of units take.
const STORE: usize = 1 << 26;

/// Differences that are said in full.
const SAID: usize = 40;

/// Compares, and says what holds as the host reads it (`xtask/src/test/mod.rs`). True where all does.
///
/// # Errors
/// Where the guest is not as it must be, or a manager does not answer.
pub fn main() -> Result<bool> {
    unpack()?;
    let system = scope("system", &Manager::system(), &LoadPath::system(), &lay::SYSTEM)?;
    let settings = Path::new("/run/systemd/system/user@.service.d");
    fs::create_dir_all(settings)?;
    let load = LoadPath::user(HOME.as_bytes(), USER);
    let variable = format!("[Service]\nEnvironment=XDG_DATA_DIRS={}\n", data_directories(&load)?);
    fs::write(settings.join("data.conf"), variable)?;
    run(Command::new("systemctl").arg("daemon-reload"))?;
    run(Command::new("loginctl").args(["enable-linger", "alice"]))?;
    run(Command::new("systemctl").args(["start", &format!("user@{USER}.service")]))?;
    let user = scope("user", &Manager::of_user(USER, HOME), &load, &lay::USER)?;
    Ok(system && user)
}

/// `XDG_DATA_DIRS` with which a user's manager has this load path: what stands between the user's own data and the
/// manager's library. A manager reads it from its own environment, to which environment generators and environment.d(5)
/// add nothing: directories of flatpak and its like count where whatever starts the manager says so.
fn data_directories(load: &LoadPath) -> Result<String> {
    let paths: Vec<&str> =
        load.directories.iter().map(|path| std::str::from_utf8(path)).collect::<Result<_, _>>()?;
    let own = paths.iter().position(|path| path.ends_with("/.local/share/systemd/user"));
    let library = paths.iter().position(|path| path.starts_with("/usr/local/lib/"));
    let between = own.zip(library).and_then(|(own, library)| paths.get(own + 1..library));
    let data = between
        .context("the load path has no data")?
        .iter()
        .filter_map(|path| path.strip_suffix("/systemd/user"));
    Ok(data.collect::<Vec<_>>().join(":"))
}

/// The packages' unit files over the guest's own, which stay; then enabled as their presets say, for the links.
fn unpack() -> Result<()> {
    let options = ["--extract", "--keep-directory-symlink", "--skip-old-files", "--no-same-owner"];
    run(Command::new("tar").args(options).args(["--directory=/", "--file", PACKED]))?;
    // Units without [Install] and conflicting aliases make it complain.
    let _ =
        Command::new("systemctl").args(["preset-all", "--preset-mode=enable-only", "--quiet"]).output()?;
    Ok(())
}

/// Compares one manager's units.
fn scope(name: &str, manager: &Manager, load: &LoadPath, places: &lay::Places) -> Result<bool> {
    let generated = lay::lay(places)?;
    manager.reload()?;
    let mut failed = 0;
    let mut verdict = |what: &str, evidence: Vec<String>, checked: usize| {
        for evidence in evidence.iter().take(SAID) {
            println!("not ok show.{name}.{what}: {evidence}");
        }
        failed += evidence.len();
        if evidence.is_empty() {
            println!("ok show.{name}.{what}");
        } else if evidence.len() > SAID {
            println!("show.{name}.{what}: and {} more", evidence.len() - SAID);
        }
        println!("fact show.{name}.{what} {checked}");
    };

    let theirs = manager.unit_path()?;
    verdict("load-path", compare::load_path(load, &theirs), theirs.len());

    let mut store = UnitFiles::new(STORE);
    for directory in &load.directories {
        read_below(&mut store, Path::new(std::str::from_utf8(directory)?))?;
    }
    let view = View::new(&store, load);
    let mut names: Vec<String> = generated.clone();
    for unit in view.units() {
        // A template is loaded as an instance of it.
        names.push(String::from_utf8(unit)?.replace("@.", "@i."));
    }
    names.sort();
    names.dedup();
    let ours: Vec<Effective> = names
        .iter()
        .map(|name| effective(&view, name.as_bytes()).with_context(|| format!("{name} is no unit's name")))
        .collect::<Result<_>>()?;
    let asked = Instant::now();
    let shown = manager.show(&names)?;
    println!("fact show.{name}.seconds {:.1}", asked.elapsed().as_secs_f32());
    ensure!(shown.len() == names.len(), "{} of {} units were shown", shown.len(), names.len());

    let compared = Compared::new(&names, &ours, &shown, manager.version()?);
    verdict("units", compared.differences(), names.len());
    let loaded = compared.loaded();
    ensure!(loaded * 2 > names.len(), "only {loaded} of {} units can be loaded", names.len());
    println!("fact show.{name}.loaded {loaded}");
    println!("fact show.{name}.values {}", compared.values());

    // It costs as much again. A file alone says little: of those units every fourth.
    let listed = |at: &usize| compared.has_files(*at) && (ours[*at].files.len() > 1 || at.is_multiple_of(4));
    let listed: Vec<usize> = (0..names.len()).filter(listed).collect();
    let said = manager.cat(listed.iter().map(|at| names[*at].as_str()))?;
    verdict("cat", compare::cat(listed.iter().map(|at| &ours[*at]), &said), listed.len());
    Ok(failed == 0)
}

/// Puts all files and links below a directory into the store, and the files to which links lead.
fn read_below(store: &mut UnitFiles, directory: &Path) -> Result<()> {
    let mut entries = vec![directory.to_owned()];
    while let Some(path) = entries.pop() {
        let Ok(kind) = fs::symlink_metadata(&path).map(|about| about.file_type()) else { continue };
        let name = path.to_str().context("names of the guest's files are text")?.as_bytes();
        if kind.is_dir() {
            entries.extend(fs::read_dir(&path)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?);
        } else if kind.is_symlink() {
            let target = fs::read_link(&path)?;
            store.insert_link(name, target.to_str().context("so are targets")?.as_bytes())?;
            // A linked unit lies elsewhere.
            if let Ok(end) = path.canonicalize() {
                if end.is_file() && end != path {
                    store.insert_file(end.to_str().context("text")?.as_bytes(), &fs::read(&end)?)?;
                }
            }
        } else if kind.is_file() {
            store.insert_file(name, &fs::read(&path)?)?;
        }
    }
    Ok(())
}

/// Runs a command to its end.
fn run(command: &mut Command) -> Result<String> {
    let out = command.output().with_context(|| format!("cannot start {command:?}"))?;
    if !out.status.success() {
        bail!("{command:?}: {}: {}", out.status, String::from_utf8_lossy(&out.stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_lies_between_the_users_own_and_the_library() {
        let data = data_directories(&LoadPath::user(b"/home/u", 7)).unwrap();
        assert!(data.starts_with("/home/u/.local/share/flatpak/exports/share:"), "{data}");
        assert!(data.ends_with(":/usr/local/share:/usr/share"), "{data}");
        assert!(data_directories(&LoadPath::system()).is_err());
    }
}
