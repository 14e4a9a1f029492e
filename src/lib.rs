//! Ticketwire: a support desk as a GraphQL server with real-time subscriptions.
//!
//! The code is divided into layers. A noun has the same file name in every layer: everything about
//! comments is in `comment.rs`. A layer may import only the layers that its row names, and
//! `tests/it/architecture.rs` checks that:
//!
//! | layer | what it is | may import |
//! |---|---|---|
//! | `cli` | the commands of the binary | app, config, crypto, db, domain, graphql, service |
//! | `app` | composition root: builds the parts of a server, starts and stops them | backup, config, crypto, db, domain, events, graphql, http, mail, metrics, service, storage |
//! | `backup` | backups: writing, checking and restoring them | db, storage, domain |
//! | `config` | the settings, and the sources that they are read from | none |
//! | `http` | the transports: GraphQL over HTTP, event streams and websockets; attachments, built-in pages, health, metrics | graphql, service, events, db, domain, metrics |
//! | `graphql` | the API: its types, resolvers and loaders | service, events, crypto, domain |
//! | `service` | the use cases: they authorise first, and own the transaction | db, storage, crypto, domain, metrics |
//! | `storage` | the bytes of attachments, in a folder or an S3 bucket | domain |
//! | `events` | the reading end of the event log: sequencer, tailer, hub, streams | db, domain, metrics |
//! | `mail` | notifications and mail: planner, senders, templates | events, db, crypto, domain, metrics |
//! | `crypto` | passwords, tokens, signatures, sealing, authenticator codes | domain |
//! | `db` | access to Postgres: the only layer that names tables or uses diesel; the embedded server | crypto, domain |
//! | `domain` | plain types and rules, without I/O | none |
//! | `metrics` | the counters and gauges of one server | none |

// The GraphQL root types are merged from one object per noun, which nests types deeply.
#![recursion_limit = "512"]

pub mod app;
pub mod backup;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod db;
pub mod domain;
pub mod events;
pub mod graphql;
pub mod http;
pub mod mail;
pub mod metrics;
pub mod service;
pub mod storage;
