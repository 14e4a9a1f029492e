//! The page where customers come over from the control panel, for installations that
//! have no portal of their own.

use axum::{extract::State, http::HeaderMap, response::Response};

use super::{
    Api,
    page::{escaped, preferred, script_page},
};
use crate::domain::account::Locale;

const SCRIPT: &str = include_str!("handoff.js");

/// What the page says.
struct Texts {
    title: &'static str,
    ask: &'static str,
    go: &'static str,
    failed: &'static str,
    done: &'static str,
    challenge: &'static str,
    refused: &'static str,
    no_script: &'static str,
}

fn texts(locale: Locale) -> Texts {
    match locale {
        Locale::En => Texts {
            title: "Support",
            ask: "You come from the control panel. Go on to support as yourself?",
            go: "Sign in",
            failed: "The server does not answer. Try again.",
            done: "The link works: it stands for this customer. There is no portal to go on to; \
                   whoever runs this server sets links.handoff to the address of theirs.",
            challenge: "The link works. The account has a second factor, which this page can't ask \
                        for: sign in through the support portal.",
            refused: "This link has expired, was used before, or is incomplete. Go back to the \
                      control panel and open support from there again.",
            no_script: "This page needs JavaScript to sign you in.",
        },
        Locale::Ru => Texts {
            title: "Поддержка",
            ask: "Вы пришли из панели управления. Войти в поддержку под своим именем?",
            go: "Войти",
            failed: "Сервер не отвечает. Попробуйте ещё раз.",
            done: "Ссылка работает: она выдана этому клиенту. Перейти отсюда некуда: адрес портала \
                   задаёт владелец сервера в links.handoff.",
            challenge: "Ссылка работает. Для аккаунта нужен второй фактор, а эта страница его не \
                        спрашивает: войдите через портал поддержки.",
            refused: "Ссылка устарела, уже использована или неполная. Вернитесь в панель управления \
                      и снова откройте поддержку оттуда.",
            no_script: "Чтобы войти, на этой странице нужен JavaScript.",
        },
    }
}

/// The page. The token is in the address's fragment, which only its script sees.
pub async fn page(State(api): State<Api>, headers: HeaderMap) -> Response {
    let locale = preferred(&headers);
    let texts = texts(locale);
    // With a playground the session goes on there.
    let onward = if api.playground.is_some() { " data-playground" } else { "" };
    let body = format!(
        "<div{onward}>\
         <div id=\"ask\" data-state tabindex=\"-1\" hidden><p>{}</p>\
         <button id=\"go\" type=\"button\">{}</button>\
         <p id=\"failed\" role=\"alert\" hidden>{}</p></div>\
         <div id=\"done\" data-state tabindex=\"-1\" hidden><p id=\"name\"></p><p>{}</p></div>\
         <p id=\"challenge\" data-state tabindex=\"-1\" hidden>{}</p>\
         <p id=\"refused\" data-state tabindex=\"-1\" role=\"alert\" hidden>{}</p>\
         <noscript>{}</noscript></div>",
        escaped(texts.ask),
        escaped(texts.go),
        escaped(texts.failed),
        escaped(texts.done),
        escaped(texts.challenge),
        escaped(texts.refused),
        escaped(texts.no_script),
    );
    script_page(locale, texts.title, &body, SCRIPT)
}
