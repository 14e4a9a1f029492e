//! What a request carries with it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_graphql::Context;

use super::{error::Failure, loader::Loaders};
use crate::{
    domain::{
        account::Locale,
        actor::{Actor, Identity},
        cursor::Cursor,
        session::Origin,
    },
    events::{EventLog, StreamEnd},
    service::{ServiceError, Services},
};

/// Who asks, from where, since when, and the loaders of this one request.
pub struct RequestContext {
    actor: Actor,
    origin: Origin,
    /// How far the node had published before the request read anything.
    cursor: Cursor,
    loaders: Loaders,
}

impl RequestContext {
    /// Begins a request.
    pub fn new(actor: Actor, origin: Origin, services: &Services, log: &EventLog) -> Self {
        let cursor = log.cursor();
        Self { actor, origin, cursor, loaders: Loaders::new(actor, services, cursor) }
    }
}

/// From where a live stream is to go on, whatever its `after` says: the cursor that a
/// reconnecting client was last given. A transport that knows puts it into the request's
/// data.
pub struct ResumeAt(pub String);

/// What a live stream tells the transport that carries it, besides its messages.
/// A transport that wants to know puts one into the request's data.
#[derive(Clone, Default)]
pub struct StreamSignals(Arc<Mutex<(Option<Cursor>, Option<StreamEnd>)>>);

impl StreamSignals {
    /// From where the stream goes on after the last message that it gave.
    pub fn position(&self) -> Option<Cursor> {
        self.lock().0
    }

    /// Why the stream ended; `None` where it goes on or is complete.
    pub fn end(&self) -> Option<StreamEnd> {
        self.lock().1
    }

    pub(super) fn set_position(&self, cursor: Cursor) {
        self.lock().0 = Some(cursor);
    }

    pub(super) fn set_end(&self, end: StreamEnd) {
        self.lock().1 = Some(end);
    }

    fn lock(&self) -> MutexGuard<'_, (Option<Cursor>, Option<StreamEnd>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What resolvers take from their context. The schema and the transports put
/// all of it there, so that a missing part is a fault of the server.
pub(super) trait ContextExt {
    fn services(&self) -> Result<&Services, Failure>;
    fn log(&self) -> Result<&EventLog, Failure>;
    fn actor(&self) -> Result<&Actor, Failure>;
    fn origin(&self) -> Result<&Origin, Failure>;
    fn loaders(&self) -> Result<&Loaders, Failure>;
    fn cursor(&self) -> Result<Cursor, Failure>;

    /// From where a live stream goes on: where its client was, or after the argument.
    fn resume_after(&self, after: Option<&str>) -> Result<Option<Cursor>, Failure>;

    /// The signed-in person. A machine is told that it may not do what people do.
    fn identity(&self) -> Result<&Identity, Failure> {
        match self.actor()? {
            Actor::Account(identity) => Ok(identity),
            Actor::Machine(_) => Err(ServiceError::Forbidden.into()),
            Actor::Anonymous | Actor::System => Err(ServiceError::Unauthenticated.into()),
        }
    }

    /// The given language, or the reader's.
    fn locale(&self, given: Option<Locale>) -> Result<Locale, Failure> {
        let own = self.actor()?.identity().map_or(Locale::En, |identity| identity.locale);
        Ok(given.unwrap_or(own))
    }
}

impl ContextExt for Context<'_> {
    fn services(&self) -> Result<&Services, Failure> {
        self.data::<Services>().map_err(Failure::missing)
    }

    fn log(&self) -> Result<&EventLog, Failure> {
        self.data::<EventLog>().map_err(Failure::missing)
    }

    fn actor(&self) -> Result<&Actor, Failure> {
        Ok(&self.data::<RequestContext>().map_err(Failure::missing)?.actor)
    }

    fn origin(&self) -> Result<&Origin, Failure> {
        Ok(&self.data::<RequestContext>().map_err(Failure::missing)?.origin)
    }

    fn loaders(&self) -> Result<&Loaders, Failure> {
        Ok(&self.data::<RequestContext>().map_err(Failure::missing)?.loaders)
    }

    fn cursor(&self) -> Result<Cursor, Failure> {
        Ok(self.data::<RequestContext>().map_err(Failure::missing)?.cursor)
    }

    fn resume_after(&self, after: Option<&str>) -> Result<Option<Cursor>, Failure> {
        let last = self.data_opt::<ResumeAt>().map(|ResumeAt(cursor)| cursor.as_str());
        Ok(last.or(after).map(Cursor::decode).transpose()?)
    }
}
