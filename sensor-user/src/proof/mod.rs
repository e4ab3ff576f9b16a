//! Why a change may be legitimate: the package that a file is of, and what this machine is known to start by itself.
//!
//! Proof is by content. That a process is called `dpkg`, or that a path looks like a package's, proves nothing.

pub mod approval;
pub mod inventory;
pub mod package;
pub mod prover;

/// Lower-case hexadecimal digits.
pub(in crate::proof) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
