//! Mounts over watched places, and files reached through other mounts.

use std::fs;

use anyhow::{Context, Result};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

use super::case::{Case, Place, case_with};

/// The table. Flags of a mount are those of mount(2); the hooks see `MS_MGC_VAL` taken off.
#[rustfmt::skip]
pub fn cases() -> Vec<Case> {
    vec![
        case_with("write-through-a-bind-mount", &["a", ":m/"], through_bind, &["open_write a", "close_write a", "umount . flags=0x2"]),
        case_with("write-through-a-bind-mount-of-a-file", &["a", ":m"], through_file_bind, &["open_write a", "close_write a"]),
        case_with("bind-over-a-directory", &["d/", ":e/"], |at| inside(at, "d", |at| bind(at, ":e", "d")),
            &["mount d -> :e flags=0x1000"]),
        case_with("bind-over-a-file", &["a", ":b"], |at| inside(at, "a", |at| bind(at, ":b", "a")),
            &["mount a -> :b flags=0x1000"]),
        case_with("tmpfs-over-a-directory", &["d/"], |at| inside(at, "d", tmpfs), &["mount d -> tmpfs"]),
        case_with("tmpfs-of-the-new-interface", &["d/"], |at| inside(at, "d", new_tmpfs), &["mount d"]),
        case_with("move-a-tree-over-a-directory", &["d/", ":e/"], |at| inside(at, "d", move_tree), &["mount d < :e"]),
        case_with("bind-elsewhere", &[":d/", ":e/"], |at| inside(at, ":d", |at| bind(at, ":e", ":d")), &[]),
        case_with("write-in-what-is-mounted-over", &["d/"], |at| inside(at, "d", |at| { tmpfs(at)?; Ok(fs::write(at.at("d/x"), "")?) }),
            &["mount d -> tmpfs"]),
    ]
}

/// Does something and takes away what was mounted at `name`.
fn inside(at: &Place, name: &str, act: impl FnOnce(&Place) -> Result<()>) -> Result<()> {
    act(at)?;
    rustix::mount::unmount(at.at(name), UnmountFlags::DETACH).context("unmount")
}

fn bind(at: &Place, from: &str, to: &str) -> Result<()> {
    rustix::mount::mount_bind(at.at(from), at.at(to)).context("bind mount")
}

fn tmpfs(at: &Place) -> Result<()> {
    rustix::mount::mount("tmpfs", at.at("d"), "tmpfs", MountFlags::empty(), None).context("mount tmpfs")
}

fn through_bind(at: &Place) -> Result<()> {
    rustix::mount::mount_bind(&at.watched, at.at(":m"))?;
    fs::OpenOptions::new().write(true).open(at.at(":m/a"))?;
    rustix::mount::unmount(at.at(":m"), UnmountFlags::DETACH).context("unmount")
}

fn through_file_bind(at: &Place) -> Result<()> {
    bind(at, "a", ":m")?;
    fs::OpenOptions::new().write(true).open(at.at(":m"))?;
    Ok(())
}

fn new_tmpfs(at: &Place) -> Result<()> {
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::empty())?;
    rustix::mount::fsconfig_create(&context)?;
    let mount = rustix::mount::fsmount(&context, FsMountFlags::empty(), MountAttrFlags::empty())?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(rustix::mount::move_mount(&mount, "", rustix::fs::CWD, at.at("d"), flags)?)
}

fn move_tree(at: &Place) -> Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE;
    let tree = rustix::mount::open_tree(rustix::fs::CWD, at.at(":e"), flags)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(rustix::mount::move_mount(&tree, "", rustix::fs::CWD, at.at("d"), flags)?)
}
