//! Records become typed events here, each field checked.

pub mod approval;
pub mod baseline;
pub mod content;
pub mod decode;
pub mod encode;
pub mod package;
pub mod path;
pub mod proof;
pub mod user;
