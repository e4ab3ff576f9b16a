//! What an upgrade costs on a machine of 3,000 packages.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::super::Packages;
use super::here_tests::{cpu, measured};
use crate::source::content::Root;

const PACKAGES: usize = 3000;
const FILES: usize = 100;
const UPGRADED: usize = 40;
/// Noted of one package from the begin of unpacking to `installed`.
const STATES: [&str; 8] = [
    "install ok half-configured",
    "install ok unpacked",
    "install reinstreq half-installed",
    "install reinstreq half-installed",
    "install ok unpacked",
    "install ok half-configured",
    "install ok triggers-awaited",
    "install ok installed",
];
/// Questions after each note.
const QUESTIONS: usize = 5;
/// Microseconds of CPU that all that may take. It is tenfold what it takes unoptimised.
const MOST: i64 = 7_000_000;

fn stanza(package: usize, version: usize, status: &str) -> String {
    let description = "x".repeat(700);
    format!(
        "Package: package-{package}\nStatus: {status}\nArchitecture: amd64\nVersion: {version}\n\
         Description: {description}\n\n"
    )
}

fn put(path: &Path, content: &str) {
    let new = path.with_extension("written");
    fs::write(&new, content).unwrap();
    fs::rename(new, path).unwrap();
}

#[test]
fn forty_packages_of_three_thousand_are_upgraded() {
    let tree = tempfile::tempdir().unwrap();
    let books = tree.path().join("var/lib/dpkg");
    fs::create_dir_all(books.join("info")).unwrap();
    fs::create_dir_all(books.join("updates")).unwrap();
    let status = |version: &dyn Fn(usize) -> usize| {
        (0..PACKAGES)
            .map(|package| stanza(package, version(package), "install ok installed"))
            .collect::<String>()
    };
    put(&books.join("status"), &status(&|_| 1));
    let list = |package: usize| {
        let mut list = String::from("/.\n/usr\n/usr/share\n");
        (0..FILES).for_each(|file| writeln!(list, "/usr/share/package-{package}/some-file-{file}").unwrap());
        list
    };
    for package in 0..PACKAGES {
        fs::write(books.join(format!("info/package-{package}.list")), list(package)).unwrap();
    }
    let root = Arc::new(Root::open(tree.path().to_str().unwrap()).unwrap());
    let mut packages = measured("open, 3,000 packages", || Packages::open(root));
    let begin = packages.status().remove(0);
    println!("{begin:?}");
    assert_eq!((begin.packages, begin.paths), (PACKAGES, PACKAGES * (FILES + 3)));

    let (mut spent, mut number) = (0, 0);
    for package in 0..UPGRADED {
        for (step, state) in STATES.iter().enumerate() {
            if number == 250 {
                put(&books.join("status"), &status(&|at| 1 + usize::from(at < package)));
                (0..number).for_each(|at| fs::remove_file(books.join(format!("updates/{at:04}"))).unwrap());
                number = 0;
            }
            if step == 3 {
                put(&books.join(format!("info/package-{package}.list")), &list(package));
            }
            put(
                &books.join(format!("updates/{number:04}")),
                &stanza(package, 1 + usize::from(step > 3), state),
            );
            number += 1;
            let begin = cpu();
            for file in 0..QUESTIONS {
                packages.refresh();
                let path = format!("/usr/share/package-{package}/some-file-{file}");
                let version = packages.claims(path.as_bytes()).remove(0).package.version;
                assert_eq!(version, if step > 3 { "2" } else { "1" });
                // What a maintainer script makes is nobody's.
                assert_eq!(packages.claims(format!("/etc/made-by-{package}").as_bytes()), []);
            }
            spent += cpu() - begin;
        }
    }
    let notes = UPGRADED * STATES.len();
    println!("{} questions after {notes} notes: {} us of CPU", 2 * notes * QUESTIONS, spent / 1000);
    assert!(spent / 1000 < MOST);
}
