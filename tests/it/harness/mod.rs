//! Test servers, clients and helpers that the tests share.

pub mod browser;
pub mod client;
pub mod clock;
pub mod demo;
pub mod event_stream;
pub mod mail;
pub mod npm;
pub mod port;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod reverse_proxy;
pub mod server;
pub mod smtp;
pub mod socket;
pub mod tls;
pub mod web_app;

pub use client::{Client, Reply};
pub use event_stream::EventStream;
pub use server::TestServer;
pub use socket::Socket;
