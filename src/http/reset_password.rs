//! The page where a new password is set by the link of a mail, for installations that
//! have no portal of their own.

use axum::{http::HeaderMap, response::Response};

use super::page::{escaped, preferred, script_page};
use crate::domain::account::Locale;

const SCRIPT: &str = include_str!("reset_password.js");

/// What the page says.
struct Texts {
    title: &'static str,
    password: &'static str,
    again: &'static str,
    hint: &'static str,
    go: &'static str,
    mismatch: &'static str,
    weak: &'static str,
    failed: &'static str,
    done: &'static str,
    over: &'static str,
    no_script: &'static str,
}

fn texts(locale: Locale) -> Texts {
    match locale {
        Locale::En => Texts {
            title: "Reset my password",
            password: "New password",
            again: "The same again",
            hint: "At least 8 characters of any kind. Several words in a row are good.",
            go: "Set the new password",
            mismatch: "The two passwords differ.",
            weak: "This password is too easy to guess.",
            failed: "The server does not answer. Try again.",
            done: "The new password is set. You were signed out everywhere: sign in with it.",
            over: "This link has expired, was used before, or is incomplete. Ask for a new one.",
            no_script: "This page needs JavaScript to set a new password.",
        },
        Locale::Ru => Texts {
            title: "Новый пароль",
            password: "Новый пароль",
            again: "Ещё раз тот же",
            hint: "Не меньше 8 любых знаков. Хорошо подходят несколько слов подряд.",
            go: "Задать новый пароль",
            mismatch: "Пароли не совпадают.",
            weak: "Этот пароль слишком легко угадать.",
            failed: "Сервер не отвечает. Попробуйте ещё раз.",
            done: "Новый пароль задан. Все сеансы завершены: войдите с новым паролем.",
            over: "Ссылка устарела, уже использована или неполная. Запросите новую.",
            no_script: "Чтобы задать новый пароль, на этой странице нужен JavaScript.",
        },
    }
}

/// The page. The token is in the address's fragment, which only its script sees.
pub async fn page(headers: HeaderMap) -> Response {
    let locale = preferred(&headers);
    let texts = texts(locale);
    let alert = |id: &str, text: &str| {
        let text = escaped(text);
        format!("<p id=\"{id}\" role=\"alert\" data-text=\"{text}\" hidden></p>")
    };
    let input = |id: &str, label: &str| {
        let label = escaped(label);
        format!(
            "<label>{label}<input id=\"{id}\" type=\"password\" autocomplete=\"new-password\" \
             required></label>"
        )
    };
    let body = format!(
        "<div id=\"ask\" data-state tabindex=\"-1\" hidden><form id=\"form\" novalidate>\
         {}<p>{}</p>{}{}{}{}{}<button id=\"go\">{}</button></form></div>\
         <p id=\"done\" data-state tabindex=\"-1\" role=\"status\" hidden>{}</p>\
         <p id=\"over\" data-state tabindex=\"-1\" role=\"alert\" hidden>{}</p>\
         <noscript>{}</noscript>",
        input("password", texts.password),
        escaped(texts.hint),
        alert("weak", texts.weak),
        input("again", texts.again),
        alert("mismatch", texts.mismatch),
        alert("limited", texts.failed),
        alert("failed", texts.failed),
        escaped(texts.go),
        escaped(texts.done),
        escaped(texts.over),
        escaped(texts.no_script),
    );
    script_page(locale, texts.title, &body, SCRIPT)
}
