//! Access to Postgres. Only this module names tables and uses diesel. Functions return domain
//! types; row types are private to this module.

pub mod account;
pub mod attachment;
pub mod audit;
pub mod category;
pub mod challenge;
pub mod closing;
pub mod comment;
mod connection;
pub mod consumer;
pub mod customer;
pub mod delivery;
pub mod embedded;
mod enums;
pub mod event;
pub mod feed;
pub mod follow_up;
pub mod handoff;
pub mod idempotency;
mod like;
pub mod listen;
pub mod migrations;
pub mod monitor;
pub mod notification;
pub mod password_reset;
pub mod people;
mod pool;
pub mod preferences;
mod prepared;
pub mod provision;
pub mod rate_limit;
mod schema;
pub mod search;
pub mod second_factor;
pub mod service_token;
pub mod session;
mod text;
pub mod ticket;
pub mod timeline;
mod union;
pub mod unread;
pub mod unsubscription;

pub use connection::{Connection, PooledConnection};
pub use pool::{Database, DbError};
