//! Integration tests in one binary. Each test has its own database, server and clock; the tests
//! share only a running Postgres.

#![expect(clippy::too_many_lines, reason = "a scenario is told from its beginning to its end")]
#![expect(clippy::float_cmp, reason = "metrics are counted in whole numbers")]

mod harness;

mod account;
mod address;
mod architecture;
mod attachment;
mod audits;
mod bad_input;
mod budgets;
mod bulk;
mod category;
mod clients;
mod closing;
mod comment;
mod configuration;
mod embedded;
mod events;
mod fan_out;
mod fault;
mod follow_up;
mod handoff;
mod http;
mod leaks;
mod limits;
mod mail;
mod mail_crash;
mod mail_queue;
mod mail_texts;
mod mailbox;
mod meanwhile;
mod metrics;
mod migration_rules;
mod migrations;
mod notifications;
mod origins;
mod outbox;
mod participant;
mod password;
mod people;
mod plans;
mod playground;
mod protocol;
mod queue;
mod released;
mod resilience;
mod restore;
mod retention;
mod schema;
mod sealing_key;
mod search;
mod second_factor;
mod service_token;
mod session;
mod sessions;
mod slow;
mod sse;
mod staff;
mod texts;
mod ticket;
mod timeline;
mod truth;
mod unread;
mod upload;
mod variables;
mod websocket;
mod words;
mod writes;
mod wrong_code;
