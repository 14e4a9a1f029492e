//! How the fields of objects are resolved.
//!
//! The macros of async-graphql generate code that describes a type to the schema and resolves one of
//! its fields. To resolve all selected fields of an object, the generated code calls
//! `resolver_utils::resolve_container` in the crate that its attribute `crate` names. The types of
//! this API name this module, which stands in for async-graphql:
//!
//! ```text
//! #[Object(crate = "crate::graphql::executor")]   // or #[graphql(crate = "…")] below a derive
//! impl Comment { … }
//! ```
//!
//! Execution here differs from async-graphql's own in five ways:
//!
//! - **A field that does not wait costs no task and no allocation.** The fields of an object are
//!   polled in turn, where they are. The first one that waits stays there, and the remaining ones
//!   are polled together with it. Most fields are values in memory.
//! - **Fields are in the order of the query** (GraphQL specification, §7.2.2).
//! - **An error in a field of a non-null type makes its parent null** (§6.4.4), and so on up to the
//!   first nullable field. async-graphql 7.2 leaves the field out.
//! - **Fields with the same name in the response are one field** (§6.3.2), resolved once with all
//!   that is selected of it. async-graphql resolves each, and merges their values.
//! - **An object is written as JSON once its fields are resolved.** No tree of values is built.
//!
//! `Query` and `Mutation` are executed by async-graphql's `Schema`. [`merged`], [`Root`],
//! [`complete_root`] and `http/execution/requested.rs` give them the same properties.

pub use async_graphql::*;
pub use resolver_utils::ContainerType;

mod list;
mod merged;
mod object;
pub mod resolver_utils;
mod root;
#[cfg(test)]
mod tests;

pub use list::List;
pub(crate) use merged::merged;
pub use merged::{Merged, Part};
pub(crate) use resolver_utils::add_field;
pub use root::{MutationProgress, Root, RootFields, complete_root};

/// An object, as the macros declare it.
pub trait ObjectType: ContainerType {}

/// An interface, as the macros declare it.
pub trait InterfaceType: ContainerType {}

/// A union, as the macros declare it.
pub trait UnionType: ContainerType {}
