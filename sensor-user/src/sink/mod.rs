//! Alerts leave here; only this room knows a format.
