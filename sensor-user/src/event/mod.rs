//! Records become typed events here, each field checked.

pub mod content;
pub mod decode;
pub mod encode;
pub mod path;
pub mod proof;
pub mod user;
