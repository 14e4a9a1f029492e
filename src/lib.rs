//! Ticketwire: a support desk as a GraphQL server with real-time subscriptions.
//!
//! The code is divided into layers. A noun has the same file name in every layer: everything about
//! comments is in `comment.rs`. A layer may import only the layers that its row names, and
//! `tests/it/architecture.rs` checks that:
//!
//! | module    | what it is                                                        | may import                        |
//! |-----------|-------------------------------------------------------------------|-----------------------------------|
//! | `cli`     | the verbs                                                         | all                               |
//! | `app`     | composition root: builds everything, starts and stops it          | all but `cli`                     |
//! | `config`  | the only reader of the environment                                | nothing of ours                   |
//! | `http`    | routes, GraphQL, websockets, authentication, health, playground    | graphql, service, events, db, domain, metrics |
//! | `graphql` | the API's types and operations                                    | service, events, crypto, domain   |
//! | `service` | use cases: authorise first, own the transaction                   | db, storage, crypto, domain, metrics |
//! | `storage` | the bytes of attachments                                          | domain                            |
//! | `events`  | sequencer, tailer, hub, subscriptions: the one door out of the log | db, domain, metrics              |
//! | `mail`    | planner, senders, templates                                       | events, db, crypto, domain, metrics |
//! | `crypto`  | passwords, tokens, signatures                                     | domain                            |
//! | `db`      | the only place that names tables                                  | crypto, domain                    |
//! | `domain`  | plain types and rules, no I/O                                     | nothing of ours                   |
//! | `metrics` | counters and gauges of one server                                 | nothing of ours                   |

// The GraphQL root types are merged from one object per noun, which nests types deeply.
#![recursion_limit = "512"]

pub mod app;
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
