//! Shared by the benchmarks: the server's process, websockets and figures.

pub mod figures;
pub mod server;
pub mod socket;
