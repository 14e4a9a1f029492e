//! The outputs of a running operation.

use std::{pin::Pin, sync::Arc};

use async_graphql::ServerError;
use futures_util::Stream;

use super::super::slots::Slot;
use crate::{domain::cursor::Cursor, events::StreamEnd};

/// A running operation: a stream that ends after its first output other than [`Output::Next`].
pub type Operation = Pin<Box<dyn Stream<Item = Output> + Send>>;

/// An output of an operation.
pub enum Output {
    /// A response.
    Next {
        /// The response, encoded as JSON.
        payload: Arc<str>,
        /// Where a subscription resumes after this response.
        cursor: Option<Cursor>,
        /// Its memory, until it was sent. `None` if it is small or a message of a stream.
        memory: Option<Slot>,
    },
    /// Nothing was executed, because of these errors.
    Error(Vec<ServerError>),
    /// The operation is complete.
    Complete,
    /// A subscription ended although it is not complete.
    Interrupted(StreamEnd),
}
