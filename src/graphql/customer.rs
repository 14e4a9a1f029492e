//! Customers, as the control panel makes and updates them.

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

/// What `provisionCustomer` takes.
#[derive(InputObject)]
pub struct ProvisionCustomerInput {
    /// What you call the customer: unique, 1 to 255 characters, the same for good.
    external_id: String,
    /// Their e-mail address, in any case.
    email: String,
    /// Their name: 1 to 120 characters.
    name: String,
    /// The language that they are addressed in; without it: as it is, English at first.
    locale: Option<Locale>,
    /// The hash of their password with you, so that they sign in with the same one: a PHC
    /// string of argon2id, argon2i or argon2d, or bcrypt's (`$2a$`, `$2b$`, `$2y$`).
    /// Without it: as it is. The same hash again changes nothing; another one ends their
    /// sessions.
    #[graphql(secret)]
    password_hash: Option<String>,
}

/// What `provisionCustomer` answers.
#[derive(SimpleObject)]
pub struct ProvisionCustomerPayload {
    /// The customer's account, as it is now.
    account: Option<Account>,
    /// Whether it is new.
    created: bool,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct CustomerMutation;

#[Object]
impl CustomerMutation {
    /// Makes a customer's account, or brings it up to date: whichever it is, the account is
    /// as the input says. For machines with the scope PROVISION_CUSTOMERS. A customer's
    /// account of the same address that has no external id yet is taken over; those of staff
    /// are never touched.
    async fn provision_customer(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The customer, as you have them.")] input: ProvisionCustomerInput,
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
                account: Some(Account::own(provisioned.account)),
                created: provisioned.change == Change::Created,
                user_errors: vec![],
            },
            Outcome::Refused { errors, .. } => {
                ProvisionCustomerPayload { account: None, created: false, user_errors: errors }
            }
        })
    }
}
