//! Directories that do not exist yet, awaited by their names where much else is written: whatever comes through one of
//! those names is seen at any depth, and nothing that comes through another.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::case::{Place, Who};
use super::run;
use super::sensor::Sensor;
use super::setup::Results;

/// Where they are awaited.
const HERE: &str = "/w/names";

/// The names: shorter than a word, one, between, two, longer, as long as finds room in a dentry, longer.
const AWAITED: [&str; 11] = [
    "a",
    "var",
    "seven77",
    "eight888",
    "nine99999",
    "containers",
    "fifteen15151515",
    "sixteen161616161",
    "seventeen17171717",
    "thirty-one313131313131313131313",
    "forty4040404040404040404040404040404040404",
];

/// Others beside them, each as alike as can be.
const BESIDE: [&str; 11] = [
    "b",
    "vas",
    "seven7",
    "eight889",
    "nine99998",
    "containerd",
    "fifteen15151516",
    "sixteen161616162",
    "seventeen1717171",
    "thirty-one31313131313131313132",
    "fortx4040404040404040404040404040404040404",
];

/// What is to be watched.
pub fn paths() -> impl Iterator<Item = String> {
    AWAITED.iter().map(|name| format!("{HERE}/{name}/units"))
}

/// Makes the directory in which they are awaited.
///
/// # Errors
/// Where it cannot be made.
pub fn prepare() -> Result<()> {
    fs::create_dir(HERE).context(HERE)
}

/// Runs all of them.
pub fn run_all(sensor: &mut Sensor, results: &mut Results) {
    for (awaited, beside) in AWAITED.into_iter().zip(BESIDE) {
        let result = one(sensor, awaited, beside);
        results.report(&format!("awaited/{awaited}, not {beside}"), result);
        sensor.drain(|_| {});
    }
}

fn one(sensor: &mut Sensor, awaited: &str, beside: &str) -> Result<()> {
    let place = Place {
        mount: "/w".into(),
        top: HERE.into(),
        watched: HERE.into(),
        plain: "/nowhere".into(),
        stat_has_device: true,
        layers: false,
    };
    let when = |sensor: &mut Sensor, act: &dyn Fn() -> Result<()>, want: &[String]| {
        run::expect(sensor, &place, Who::Actor, act, want)
    };
    let written = |path: &str| {
        [
            format!("create {path} (pending) 666"),
            format!("open_write {path} (pending) trunc created"),
            format!("close_write {path} (pending)"),
        ]
    };
    let write = |below: &str, name: &str| -> Result<()> {
        let directory = Path::new(HERE).join(below);
        fs::create_dir_all(&directory)?;
        Ok(fs::write(directory.join(name), "x")?)
    };
    when(sensor, &|| write(&format!("{beside}/x/y/z"), "f"), &[])?;
    let mut want = vec![
        format!("mkdir {awaited} (entry|pending) 777"),
        format!("mkdir {awaited}/x (pending) 777"),
        format!("mkdir {awaited}/x/y (pending) 777"),
    ];
    want.extend(written(&format!("{awaited}/x/y/f")));
    when(sensor, &|| write(&format!("{awaited}/x/y"), "f"), &want)?;
    // Now that it is there the next name is awaited in it.
    sensor.resolve()?;
    when(sensor, &|| write(&format!("{awaited}/x/y"), "g"), &[])?;
    let mut want = vec![
        format!("mkdir {awaited}/units (entry|pending) 777"),
        format!("mkdir {awaited}/units/z (pending) 777"),
    ];
    want.extend(written(&format!("{awaited}/units/z/f")));
    when(sensor, &|| write(&format!("{awaited}/units/z"), "f"), &want)
}
