//! The use cases, one file per noun. A function takes the actor first, authorises it in its
//! first statement and owns its transaction. Inside a transaction it only talks to the
//! database.
//!
//! Every function can also fail with [`ServiceError::Database`]. Its `# Errors` section
//! lists the other causes.

pub mod account;
mod address;
pub mod attachment;
pub mod audit;
pub mod authentication;
mod authorisation;
pub mod bulk;
pub mod canned_answer;
pub mod category;
pub mod challenge;
mod change;
pub mod closing;
pub mod code;
pub mod comment;
pub mod comment_edit;
pub mod customer;
pub mod delivery;
pub mod demo;
mod each_ticket;
pub mod erasure;
pub mod error;
pub mod follow_up;
pub mod former_staff;
mod grouping;
pub mod handoff;
mod idempotency;
mod look_ups;
pub mod merge;
mod merged;
pub mod notification;
mod opening;
mod own_tickets;
pub mod participant;
pub mod password;
mod password_places;
pub mod people;
mod posted_comments;
pub mod preferences;
mod priority_mail;
mod prune;
mod rate_limit;
pub mod reauthentication;
pub mod redaction;
pub mod saved_view;
pub mod search;
pub mod second_factor;
pub mod seen_up_to;
pub mod service_token;
mod services;
pub mod session;
pub mod set_aside;
mod settings;
mod single_changes;
pub mod staff;
mod staff_list;
pub mod support_figures;
pub mod ticket;
pub mod ticket_invitation;
pub mod ticket_list;
mod ticket_writes;
pub mod timeline;
mod to_completion;
pub mod unread;
pub mod unsubscription;
pub mod upload;
pub mod uploaded_file;
mod used_terms;
mod validation;
mod written_tickets;

pub use error::{ServiceError, UserError, UserErrorCode};
pub use prune::prune;
pub use services::Services;
pub use settings::{AccountLimits, Branding, Retention, Settings};

use authorisation::{authorise, authorise_account, authorise_with_proof};
use to_completion::to_completion;
