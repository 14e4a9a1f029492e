//! The sender of a body that is being received.

use tokio::sync::OnceCell;

use super::{authentication::Credentials, budgets::Budgets, refusal::Refusal, slots::Slot};
use crate::{
    domain::{actor::Actor, session::ClientOrigin},
    service::Services,
};

/// The sender of a body. Until its network's budget is used up, nobody asks who that is. Then a sender
/// who is signed in does not compete with the strangers of their network.
pub struct Sender<'r> {
    budgets: &'r Budgets,
    services: &'r Services,
    credentials: &'r Credentials,
    origin: &'r ClientOrigin,
    actor: OnceCell<Actor>,
}

impl<'r> Sender<'r> {
    /// Creates a sender with these credentials.
    pub fn new(
        budgets: &'r Budgets,
        services: &'r Services,
        credentials: &'r Credentials,
        origin: &'r ClientOrigin,
    ) -> Self {
        Self { budgets, services, credentials, origin, actor: OnceCell::new() }
    }

    /// Takes a block of memory for the body.
    ///
    /// # Errors
    /// The bodies of the network and those of the sender take too much.
    pub async fn take_block(&self) -> Result<Slot, Refusal> {
        if let Some(block) = self.budgets.body_block(&Actor::Anonymous, self.origin) {
            return Ok(block);
        }
        let block = self.budgets.body_block(self.actor().await?, self.origin);
        block.ok_or_else(|| self.budgets.refuse_body().into())
    }

    /// Takes a slot for a multipart request, until its sender and its files are known.
    ///
    /// # Errors
    /// The network and the sender have begun too many.
    pub async fn begin_multipart(&self) -> Result<Slot, Refusal> {
        if let Some(slot) = self.budgets.multipart(&Actor::Anonymous, self.origin) {
            return Ok(slot);
        }
        let slot = self.budgets.multipart(self.actor().await?, self.origin);
        slot.ok_or_else(|| self.budgets.refuse_multipart().into())
    }

    async fn actor(&self) -> Result<&Actor, Refusal> {
        let look_up = || self.credentials.actor(self.services, self.origin);
        let actor = self.actor.get_or_try_init(look_up).await;
        actor.map_err(|error| Refusal::failed(&error))
    }
}
