//! Unsubscribing from a ticket's mails. Mail programs POST to the link by themselves
//! (RFC 8058); a person gets a page with a button, since what follows links in mails
//! to look for viruses must not unsubscribe anybody.

use axum::{
    extract::{Query, State},
    http::StatusCode,
    response::Response,
};
use serde::Deserialize;

use super::{
    api::Api,
    page::{escaped, language, page},
};
use crate::{
    domain::account::Locale,
    service::{ServiceError, unsubscription},
};

#[derive(Deserialize)]
pub struct Token {
    #[serde(default)]
    token: String,
}

/// The page with the button.
pub async fn ask(State(api): State<Api>, Query(Token { token }): Query<Token>) -> Response {
    match unsubscription::find(&api.services, &token).await {
        Ok(found) => {
            let (title, button) = match found.locale {
                Locale::En => {
                    (format!("No more mail about the ticket {}?", found.number), "Unsubscribe")
                }
                Locale::Ru => {
                    (format!("Больше не присылать писем о заявке {}?", found.number), "Отписаться")
                }
            };
            // The token is what we signed: base64url.
            let body = format!(
                "<form method=\"post\" action=\"/unsubscribe?token={}\"><button>{button}</button></form>",
                escaped(&token)
            );
            page(StatusCode::OK, language(found.locale), &title, &body)
        }
        Err(error) => refused(&error),
    }
}

/// Unsubscribes, however often it is called.
pub async fn done(State(api): State<Api>, Query(Token { token }): Query<Token>) -> Response {
    match unsubscription::unsubscribe(&api.services, &token).await {
        Ok(found) => {
            let (title, text) = match found.locale {
                Locale::En => (
                    format!("No more mail about {}", found.number),
                    "The ticket itself goes on, and you can still see it in your account.",
                ),
                Locale::Ru => (
                    format!("Писем о заявке {} больше не будет", found.number),
                    "Сама заявка остаётся, её по-прежнему видно в вашем аккаунте.",
                ),
            };
            page(StatusCode::OK, language(found.locale), &title, &format!("<p>{text}</p>"))
        }
        Err(error) => refused(&error),
    }
}

fn refused(error: &ServiceError) -> Response {
    let (status, text) = match error {
        ServiceError::NotFound => (
            StatusCode::NOT_FOUND,
            "This link is incomplete or not ours. Take it whole from a mail about the ticket.<br>\
             Ссылка неполная или не наша. Возьмите её целиком из письма о заявке.",
        ),
        error => {
            tracing::error!(%error, "unsubscribing failed");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "That did not work. Try again later.<br>Не получилось. Попробуйте позже.",
            )
        }
    };
    page(status, "en", "Unsubscribe · Отписка", &format!("<p>{text}</p>"))
}
