//! Shared by the benchmarks: the server's process and its database, websockets and figures.
//! Benchmarks that need only some of it, or `cpu` and `transactions`, declare these files themselves.

pub mod api;
pub mod figures;
pub mod postgres;
pub mod process;
pub mod server;
pub mod socket;
