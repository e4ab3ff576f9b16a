//! What was touched, and what it means.

pub mod adjacent;
pub mod container;
pub mod dbus;
pub mod http;
pub mod http2;
pub mod json;
pub mod name;
pub mod part;
pub mod place;
pub mod service;
pub mod stream;
pub mod tools;
pub mod unit;
