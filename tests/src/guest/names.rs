//! What changes a directory: names that come, go and change.

use std::fs;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;

use anyhow::{Context, Result, ensure};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags};

use super::case::{Case, Place, case, case_with};

/// The table.
#[rustfmt::skip]
pub fn cases() -> Vec<Case> {
    vec![
        case_with("rename-in", &[":b"], |at| Ok(fs::rename(at.at(":b"), at.at("a"))?), &["rename a < :b"]),
        case_with("rename-out", &["a"], |at| Ok(fs::rename(at.at("a"), at.at(":b"))?), &["rename :b < a"]),
        case_with("rename-within", &["a"], |at| Ok(fs::rename(at.at("a"), at.at("b"))?), &["rename b < a"]),
        case_with("rename-over", &["a", ":b"], |at| Ok(fs::rename(at.at(":b"), at.at("a"))?), &["rename a < :b"]),
        case_with("rename-in-and-write", &[":b"], rename_and_write,
            &["rename a < :b", "open_write a trunc", "truncate a 0", "close_write a"]),
        case_with("rename-in-while-open", &[":b"], rename_while_open, &["rename a < :b", "close_write a"]),
        case_with("exchange", &["a", "b"], |at| rename(at, "a", "b", RenameFlags::EXCHANGE),
            &["rename a < b", "rename b < a"]),
        case_with("exchange-with-outside", &["a", ":b"], |at| rename(at, "a", ":b", RenameFlags::EXCHANGE),
            &["rename a < :b", "rename :b (file) < a"]),
        case_with("exchange-from-outside", &["a", ":b"], |at| rename(at, ":b", "a", RenameFlags::EXCHANGE),
            &["rename :b < a", "rename a < :b"]),
        case_with("rename-noreplace", &["a"], |at| rename(at, "a", "b", RenameFlags::NOREPLACE), &["rename b < a"]),
        case_with("rename-noreplace-refused", &["a", "b"], refused, &[]),
        case_with("rename-a-directory-in", &[":d/", ":d/f"], directory_in,
            &["rename d < :d", "open_write d/f trunc", "truncate d/f 0", "close_write d/f"]),
        case_with("rename-a-directory-out", &["d/", "d/f"], directory_out, &["rename :d < d"]),
        case_with("link-in", &[":b"], |at| Ok(fs::hard_link(at.at(":b"), at.at("a"))?), &["link a < :b"]),
        case_with("link-in-and-write-outside", &[":b"], link_in_and_write,
            &["link a < :b", "open_write :b (file) trunc", "truncate :b (file) 0", "close_write :b (file)"]),
        case_with("link-out", &["a"], |at| Ok(fs::hard_link(at.at("a"), at.at(":b"))?), &["link :b < a"]),
        case_with("link-out-and-write-outside", &["a"], link_out_and_write,
            &["link :b < a", "open_write :b (file) trunc", "truncate :b (file) 0", "close_write :b (file)"]),
        case_with("link-within", &["a"], |at| Ok(fs::hard_link(at.at("a"), at.at("b"))?), &["link b < a"]),
        case("symlink", |at| Ok(symlink("/dev/null", at.at("a"))?), &["symlink a -> /dev/null"]),
        case("symlink-of-300-bytes", |at| Ok(symlink("t".repeat(300), at.at("a"))?), &["symlink a -> 300 bytes"]),
        case_with("unlink", &["a"], |at| Ok(fs::remove_file(at.at("a"))?), &["unlink a"]),
        case_with("unlink-while-open", &["a"], unlink_while_open, &["open_write a", "unlink a"]),
        case("mkdir", |at| Ok(fs::create_dir(at.at("d"))?), &["mkdir d 777"]),
        case_with("rmdir", &["d/"], |at| Ok(fs::remove_dir(at.at("d"))?), &["rmdir d"]),
        case("mknod-fifo", |at| node(at, FileType::Fifo), &["mknod a 600"]),
        case("mknod-device", |at| node(at, FileType::CharacterDevice), &["mknod a 600"]),
        case("mknod-regular", |at| node(at, FileType::RegularFile), &["create a 600"]),
        case("bind-a-socket", socket, &["mknod a 777"]),
        case("tmpfile-and-link", tmpfile_and_link,
            &["open_write # tmpfile", "link a < #", "close_write # tmpfile"]),
        case("tmpfile-outside-and-link-in", tmpfile_outside, &["link a < :#", "close_write :# (file) tmpfile"]),
        case("tmpfile-never-linked", |at| tmpfile(at, "").map(drop), &["open_write # tmpfile", "close_write # tmpfile"]),
        case("write-in-a-new-directory", new_directory,
            &["mkdir d 777", "create d/f 666", "open_write d/f trunc created", "close_write d/f"]),
    ]
}

/// What only a filesystem in memory can hold.
pub fn in_memory() -> Vec<Case> {
    let long = |at: &Place| Ok(symlink("t".repeat(4000), at.at("a"))?);
    vec![case("symlink-of-4000-bytes", long, &["symlink a -> 511 bytes extra-cut"])]
}

fn rename(at: &Place, from: &str, to: &str, flags: RenameFlags) -> Result<()> {
    Ok(rustix::fs::renameat_with(CWD, at.at(from), CWD, at.at(to), flags)?)
}

fn refused(at: &Place) -> Result<()> {
    let result = rustix::fs::renameat_with(CWD, at.at("a"), CWD, at.at("b"), RenameFlags::NOREPLACE);
    ensure!(result == Err(rustix::io::Errno::EXIST), "{result:?}");
    Ok(())
}

fn rename_and_write(at: &Place) -> Result<()> {
    fs::rename(at.at(":b"), at.at("a"))?;
    Ok(fs::write(at.at("a"), "x")?)
}

/// The descriptor was opened where nothing is watched.
fn rename_while_open(at: &Place) -> Result<()> {
    let mut file = fs::OpenOptions::new().write(true).open(at.at(":b"))?;
    fs::rename(at.at(":b"), at.at("a"))?;
    Ok(file.write_all(b"x")?)
}

fn directory_in(at: &Place) -> Result<()> {
    fs::rename(at.at(":d"), at.at("d"))?;
    Ok(fs::write(at.at("d/f"), "x")?)
}

fn directory_out(at: &Place) -> Result<()> {
    fs::rename(at.at("d"), at.at(":d"))?;
    Ok(fs::write(at.at(":d/f"), "x")?)
}

fn link_in_and_write(at: &Place) -> Result<()> {
    fs::hard_link(at.at(":b"), at.at("a"))?;
    Ok(fs::write(at.at(":b"), "x")?)
}

fn link_out_and_write(at: &Place) -> Result<()> {
    fs::hard_link(at.at("a"), at.at(":b"))?;
    Ok(fs::write(at.at(":b"), "x")?)
}

/// What has no name any more is of no interest to anyone who reads the directory.
fn unlink_while_open(at: &Place) -> Result<()> {
    let file = fs::OpenOptions::new().write(true).open(at.at("a"))?;
    fs::remove_file(at.at("a"))?;
    drop(file);
    Ok(())
}

fn node(at: &Place, kind: FileType) -> Result<()> {
    let device = rustix::fs::makedev(1, 3);
    Ok(rustix::fs::mknodat(CWD, at.at("a"), kind, Mode::from_raw_mode(0o600), device)?)
}

fn socket(at: &Place) -> Result<()> {
    std::os::unix::net::UnixListener::bind(at.at("a"))?;
    Ok(())
}

fn tmpfile(at: &Place, directory: &str) -> Result<OwnedFd> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY;
    rustix::fs::open(at.at(directory), flags, Mode::from_raw_mode(0o600)).context("O_TMPFILE")
}

fn link_descriptor(at: &Place, file: &OwnedFd) -> Result<()> {
    let old = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::linkat(CWD, old, CWD, at.at("a"), AtFlags::SYMLINK_FOLLOW)?)
}

fn tmpfile_and_link(at: &Place) -> Result<()> {
    let file = tmpfile(at, "")?;
    rustix::io::write(&file, b"[Service]")?;
    link_descriptor(at, &file)
}

fn tmpfile_outside(at: &Place) -> Result<()> {
    let file = tmpfile(at, ":")?;
    rustix::io::write(&file, b"[Service]")?;
    link_descriptor(at, &file)
}

fn new_directory(at: &Place) -> Result<()> {
    fs::create_dir(at.at("d"))?;
    Ok(fs::write(at.at("d/f"), "x")?)
}
