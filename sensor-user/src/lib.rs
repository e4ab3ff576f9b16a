//! svcsensor: the library behind the binary.
