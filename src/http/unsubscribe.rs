//! Unsubscribing from the mails about a ticket, and subscribing again.
//!
//! Mail programs send a POST request to the link (one-click unsubscribe, RFC 8058). A GET
//! request changes nothing and returns a page with a button: virus scanners follow the links
//! in mails, and must not unsubscribe anybody.

use std::pin::Pin;

use axum::{
    extract::{Query, State},
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::Response,
};
use serde::Deserialize;

use super::{
    api::Api,
    authentication,
    budgets::{Follower, LimitReached},
    link::{self, NotFollowed},
    page::{escape_html, language_tag, page},
};
use crate::{
    domain::account::Locale,
    graphql::RETRY_AFTER_SECONDS,
    service::{
        ServiceError,
        unsubscription::{self, MailSubscription},
    },
};

/// The query of the link.
#[derive(Deserialize)]
pub struct Token {
    #[serde(default)]
    token: String,
}

/// `GET /unsubscribe`: the page with the button, which subscribes again if the address is already
/// unsubscribed.
pub async fn form(
    State(api): State<Api>,
    Query(Token { token }): Query<Token>,
    parts: Parts,
) -> Response {
    match follow(&api, &parts, Box::pin(unsubscription::find(&api.services, &token))).await {
        Ok(found) if found.is_on => {
            let (title, button) = match found.locale {
                Locale::En => {
                    (format!("Stop receiving mail about ticket {}?", found.number), "Unsubscribe")
                }
                Locale::Ru => {
                    (format!("Больше не присылать письма о заявке {}?", found.number), "Отписаться")
                }
            };
            let button = button_to("/unsubscribe", &token, button);
            page(StatusCode::OK, language_tag(found.locale), &title, &button)
        }
        Ok(found) => unsubscribed(&found, &token),
        Err(error) => not_followed(&error),
    }
}

/// `POST /unsubscribe`: unsubscribes. Repeating it changes nothing.
pub async fn submit(
    State(api): State<Api>,
    Query(Token { token }): Query<Token>,
    parts: Parts,
) -> Response {
    match follow(&api, &parts, Box::pin(unsubscription::set(&api.services, &token, false))).await {
        Ok(found) => unsubscribed(&found, &token),
        Err(error) => not_followed(&error),
    }
}

/// `POST /subscribe`: subscribes again. Repeating it changes nothing.
pub async fn subscribe(
    State(api): State<Api>,
    Query(Token { token }): Query<Token>,
    parts: Parts,
) -> Response {
    match follow(&api, &parts, Box::pin(unsubscription::set(&api.services, &token, true))).await {
        Ok(found) => {
            let (title, text, button) = match found.locale {
                Locale::En => (
                    format!("You will get mail about ticket {} again", found.number),
                    "We will write to you as before.",
                    "Unsubscribe",
                ),
                Locale::Ru => (
                    format!("Вы снова подписаны на письма о заявке {}", found.number),
                    "Мы будем писать вам, как и раньше.",
                    "Отписаться",
                ),
            };
            let button = button_to("/unsubscribe", &token, button);
            let body = format!("<p>{text}</p>{button}");
            page(StatusCode::OK, language_tag(found.locale), &title, &body)
        }
        Err(error) => not_followed(&error),
    }
}

/// Does the work of the link within the budget of the caller's network: a program of the recipient's mail
/// provider may follow it.
async fn follow<T>(
    api: &Api,
    parts: &Parts,
    work: Pin<Box<impl Future<Output = Result<T, ServiceError>>>>,
) -> Result<T, NotFollowed> {
    let origin = authentication::origin(parts, api.trusted_proxies);
    link::follow(api, Follower::Stranger(&origin), work).await
}

/// The page for people who are unsubscribed, perhaps by mistake.
fn unsubscribed(found: &MailSubscription, token: &str) -> Response {
    let (title, text, button) = match found.locale {
        Locale::En => (
            format!("You have unsubscribed from ticket {}", found.number),
            "You will get no more mail about it. You can still see it in your account.",
            "Subscribe again",
        ),
        Locale::Ru => (
            format!("Вы отписались от писем о заявке {}", found.number),
            "Сама заявка по-прежнему видна в вашей учётной записи.",
            "Подписаться снова",
        ),
    };
    let body = format!("<p>{text}</p>{}", button_to("/subscribe", token, button));
    page(StatusCode::OK, language_tag(found.locale), &title, &body)
}

/// A form with one button. A verified token is base64url, so it needs no URL encoding.
fn button_to(path: &str, token: &str, label: &str) -> String {
    let token = escape_html(token);
    format!("<form method=\"post\" action=\"{path}?token={token}\"><button>{label}</button></form>")
}

fn not_followed(error: &NotFollowed) -> Response {
    match error {
        NotFollowed::Refused(reached) => too_many(reached),
        NotFollowed::Failed(error) => failed(error),
    }
}

fn too_many(reached: &LimitReached) -> Response {
    let text = "There are too many requests from your network. Please try again in a moment.<br>\
                Из вашей сети слишком много запросов. Попробуйте чуть позже.";
    let mut response = error_page(StatusCode::TOO_MANY_REQUESTS, text);
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from(reached.retry_after_seconds));
    response
}

fn failed(error: &ServiceError) -> Response {
    let (status, text) = match error {
        ServiceError::NotFound => (
            StatusCode::NOT_FOUND,
            "This link is incomplete or invalid. Please open the link in the mail again.<br>\
             Ссылка неполная или недействительна. Откройте её из письма ещё раз.",
        ),
        error => {
            tracing::error!(%error, "unsubscribing or subscribing again failed");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "That did not work. Please try again later.<br>Не получилось. Попробуйте позже.",
            )
        }
    };
    let mut response = error_page(status, text);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
    }
    response
}

fn error_page(status: StatusCode, text: &str) -> Response {
    page(status, "en", "Unsubscribe · Отписка", &format!("<p>{text}</p>"))
}
