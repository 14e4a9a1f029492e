//! The texts of canned answers, and the order in which a request works on long texts.

use std::sync::Arc;

use tokio::task;

use super::{Key, Loaded, Loader, Loaders, Source};
use crate::{domain::ids::CannedAnswerId, service};

/// The key of the text of a canned answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BodyOf(pub CannedAnswerId);

impl Key for BodyOf {
    type Value = Arc<str>;

    async fn load(source: Arc<Source>, keys: Vec<Self>) -> Loaded<Self> {
        let ids = keys.into_iter().map(|Self(id)| id).collect::<Vec<_>>();
        let (actor, services) = (&source.actor, &source.services);
        let found = service::canned_answer::bodies(actor, services, &ids).await?;
        Ok(found.into_iter().map(|(id, body)| (Self(id), body.into())).collect())
    }

    fn loader(loaders: &Loaders) -> &Loader<Self> {
        &loaders.bodies
    }
}

impl Loaders {
    /// Runs work on a long text in the request's turn: other requests run between two such works of
    /// one request, which can have hundreds.
    pub async fn in_turn<T>(&self, work: impl FnOnce() -> T) -> T {
        let _turn = self.turn.lock().await;
        let result = work();
        task::yield_now().await;
        result
    }
}
