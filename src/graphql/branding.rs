//! What portals show about the company.

use async_graphql::{Context, Object, SimpleObject};

use super::{context::ContextExt as _, error::Failure};

/// What a portal shows about the company, as the operator has configured it.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct Branding {
    /// The name of the help desk.
    name: String,
    /// The URL of the logo.
    logo_url: Option<String>,
    /// The color of buttons and links, as `#rrggbb`. Null for your own choice.
    color: Option<String>,
    /// The URL of the imprint.
    imprint_url: Option<String>,
    /// The URL of the privacy policy.
    privacy_url: Option<String>,
}

#[derive(Default)]
pub struct BrandingQuery;

#[Object]
impl BrandingQuery {
    /// What a portal shows about the company. Requires no session.
    async fn branding(&self, ctx: &Context<'_>) -> Result<Branding, Failure> {
        let branding = ctx.services()?.branding().clone();
        Ok(Branding {
            name: branding.name,
            logo_url: branding.logo,
            color: branding.color,
            imprint_url: branding.imprint,
            privacy_url: branding.privacy,
        })
    }
}
