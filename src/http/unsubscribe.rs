//! Unsubscribing from the mails about a ticket.
//!
//! Mail programs send a POST request to the link (one-click unsubscribe, RFC 8058). A GET
//! request changes nothing and returns a page with a button: virus scanners follow the links
//! in mails, and must not unsubscribe anybody.

use axum::{
    extract::{Query, State},
    http::StatusCode,
    response::Response,
};
use serde::Deserialize;

use super::{
    api::Api,
    page::{escape_html, language_tag, page},
};
use crate::{
    domain::account::Locale,
    service::{ServiceError, unsubscription},
};

/// The query of the link.
#[derive(Deserialize)]
pub struct Token {
    #[serde(default)]
    token: String,
}

/// `GET /unsubscribe`: the page with the button.
pub async fn form(State(api): State<Api>, Query(Token { token }): Query<Token>) -> Response {
    match unsubscription::find(&api.services, &token).await {
        Ok(found) => {
            let (title, button) = match found.locale {
                Locale::En => {
                    (format!("Stop receiving mail about ticket {}?", found.number), "Unsubscribe")
                }
                Locale::Ru => {
                    (format!("Больше не присылать письма о заявке {}?", found.number), "Отписаться")
                }
            };
            // A verified token is base64url, so it needs no URL encoding.
            let body = format!(
                "<form method=\"post\" action=\"/unsubscribe?token={}\"><button>{button}</button></form>",
                escape_html(&token)
            );
            page(StatusCode::OK, language_tag(found.locale), &title, &body)
        }
        Err(error) => failed(&error),
    }
}

/// `POST /unsubscribe`: unsubscribes. Repeating it changes nothing.
pub async fn submit(State(api): State<Api>, Query(Token { token }): Query<Token>) -> Response {
    match unsubscription::unsubscribe(&api.services, &token).await {
        Ok(found) => {
            let (title, text) = match found.locale {
                Locale::En => (
                    format!("You have unsubscribed from ticket {}", found.number),
                    "You will get no more mail about it. You can still see it in your account.",
                ),
                Locale::Ru => (
                    format!("Вы отписались от писем о заявке {}", found.number),
                    "Сама заявка по-прежнему видна в вашей учётной записи.",
                ),
            };
            page(StatusCode::OK, language_tag(found.locale), &title, &format!("<p>{text}</p>"))
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &ServiceError) -> Response {
    let (status, text) = match error {
        ServiceError::NotFound => (
            StatusCode::NOT_FOUND,
            "This link is incomplete or invalid. Please open the link in the mail again.<br>\
             Ссылка неполная или недействительна. Откройте её из письма ещё раз.",
        ),
        error => {
            tracing::error!(%error, "unsubscribing failed");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "That did not work. Please try again later.<br>Не получилось. Попробуйте позже.",
            )
        }
    };
    page(status, "en", "Unsubscribe · Отписка", &format!("<p>{text}</p>"))
}
