//! Provisioning of customers' accounts by the control panel.

use async_graphql::{Context, InputObject, Object, SimpleObject};

use super::{
    account::{Account, Locale},
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
};
use crate::service::{
    self,
    customer::{Change, CustomerInput},
};

/// The input of `provisionCustomer`.
#[derive(InputObject)]
pub struct ProvisionCustomerInput {
    /// Your identifier for the customer, such as a customer number: unique, unchanging, 1 to
    /// 255 characters. Upper and lower case differ, and spaces around it are removed. Fails with
    /// `TAKEN` if the account with this id has become a member of staff.
    external_id: String,
    /// The e-mail address: at most 254 characters, stored in lower case. Fails with `TAKEN` if
    /// another customer or a member of staff has it. Another address than before ends the
    /// customer's sessions, password links and e-mail codes, and both addresses are notified.
    email: String,
    /// The name that others see: 1 to 120 characters.
    name: String,
    /// The language of the customer's mails. Without it, an existing account keeps its
    /// language and a new one gets `EN`.
    locale: Option<Locale>,
    /// The hash of the customer's password in your system, so that they can sign in with the
    /// same password: bcrypt (`$2a$`, `$2b$`, `$2y$`) with a cost of at most 14, or a PHC
    /// string of argon2id, argon2i or argon2d with at most 256 MiB, 16 passes, 16 lanes and
    /// 1 GiB of memory times passes. Without it, and with the hash that was sent last, the
    /// password stays unchanged. A different hash replaces it and ends the customer's sessions.
    #[graphql(secret)]
    password_hash: Option<String>,
}

/// The payload of `provisionCustomer`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct ProvisionCustomerPayload {
    /// The customer's account, with its contact details. Null on failure.
    account: Option<Account>,
    /// Whether this call created the account. False if the account existed already, and on
    /// failure.
    created: bool,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct CustomerMutation;

#[Object]
impl CustomerMutation {
    /// Creates a customer's account, or updates it to match the input. Repeating a call
    /// changes nothing. Requires a service token with the scope `PROVISION_CUSTOMERS`, and
    /// fails with `FORBIDDEN` without it. A customer who has the same e-mail address and no
    /// external id yet is linked to this one. Accounts of staff are never changed. Too many calls of
    /// a token within a minute are `RATE_LIMITED`.
    async fn provision_customer(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The customer as your system knows them.")] input: ProvisionCustomerInput,
    ) -> Result<ProvisionCustomerPayload, Failure> {
        let input = CustomerInput {
            external_id: input.external_id,
            email: input.email,
            name: input.name,
            locale: input.locale.map(Into::into),
            password_hash: input.password_hash,
        };
        let provisioned = service::customer::provision(ctx.actor()?, ctx.services()?, input).await;
        Ok(match Outcome::of(provisioned)? {
            Outcome::Done(provisioned) => ProvisionCustomerPayload {
                account: Some(Account::with_contact(provisioned.account)),
                created: provisioned.change == Change::Created,
                user_errors: vec![],
            },
            Outcome::Rejected { errors, .. } => {
                ProvisionCustomerPayload { account: None, created: false, user_errors: errors }
            }
        })
    }
}
