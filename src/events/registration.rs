//! The registration of a stream in the hub.

use std::sync::Arc;

use super::{buffer::SubscriberBuffer, hub::Hub, topic::Topic};
use crate::domain::cursor::Cursor;

/// A buffer that is registered in the hub until this is dropped.
pub(super) struct Registration {
    hub: Arc<Hub>,
    topics: Vec<Topic>,
    buffer: Arc<SubscriberBuffer>,
}

impl Registration {
    /// Registers a new buffer under topics. Returns also a cursor: the buffer receives every event
    /// after it.
    pub(super) fn new(hub: &Arc<Hub>, topics: Vec<Topic>) -> (Self, Cursor) {
        let buffer = Arc::new(SubscriberBuffer::default());
        let head = hub.register(&topics, &buffer);
        (Self { hub: Arc::clone(hub), topics, buffer }, head)
    }

    /// Returns the buffer.
    pub(super) fn buffer(&self) -> &SubscriberBuffer {
        &self.buffer
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.hub.unregister(&self.topics, &self.buffer);
    }
}
