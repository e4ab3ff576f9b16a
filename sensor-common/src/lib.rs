#![no_std]
//! What svcsensor's kernel programs and its daemon agree on.
