//! Plain types and rules, without I/O, GraphQL, HTTP or SQL. All other layers share these types.

pub mod account;
pub mod actor;
pub mod attachment;
pub mod audit;
pub mod category;
pub mod clock;
pub mod comment;
pub mod cursor;
pub mod delivery;
pub mod event;
pub mod handoff;
pub mod ids;
pub mod notification;
pub mod page;
pub mod policy;
pub mod priority_mail;
pub mod search;
pub mod second_factor;
pub mod service_token;
pub mod session;
pub mod status;
pub mod text;
pub mod ticket;
pub mod ticket_filter;
pub mod ticket_list;
pub mod unread;
