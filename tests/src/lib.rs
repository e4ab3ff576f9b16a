//! svcsensor end-to-end tests.
