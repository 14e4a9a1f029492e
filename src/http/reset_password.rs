//! The page behind the link for setting a password. Installations with a portal of their
//! own link to it instead.

use axum::{http::HeaderMap, response::Response};

use super::page::{escape_html, preferred_locale, script_page};
use crate::domain::account::Locale;

const SCRIPT: &str = include_str!("reset_password.js");

/// The texts of the page.
struct Texts {
    title: &'static str,
    password: &'static str,
    repetition: &'static str,
    hint: &'static str,
    submit: &'static str,
    mismatch: &'static str,
    weak: &'static str,
    unreachable: &'static str,
    done: &'static str,
    invalid_link: &'static str,
    no_script: &'static str,
}

fn texts(locale: Locale) -> Texts {
    match locale {
        Locale::En => Texts {
            title: "Set a new password",
            password: "New password",
            repetition: "Repeat the password",
            hint: "At least 8 characters. Several unrelated words make a good password.",
            submit: "Set password",
            mismatch: "The passwords do not match.",
            weak: "This password is too easy to guess.",
            unreachable: "The server is not responding. Please try again.",
            done: "Your new password is set, and you have been signed out everywhere. You can now \
                   sign in with it.",
            invalid_link: "This link is incomplete, has expired, or has already been used. Please \
                           request a new one.",
            no_script: "This page needs JavaScript to set a new password.",
        },
        Locale::Ru => Texts {
            title: "Новый пароль",
            password: "Новый пароль",
            repetition: "Повторите пароль",
            hint: "Не менее 8 символов. Хороший пароль — несколько не связанных между собой слов.",
            submit: "Сохранить пароль",
            mismatch: "Пароли не совпадают.",
            weak: "Этот пароль слишком легко угадать.",
            unreachable: "Сервер не отвечает. Попробуйте ещё раз.",
            done: "Новый пароль сохранён. Все сеансы завершены, войдите с новым паролем.",
            invalid_link: "Ссылка неполная, устарела или уже использована. Запросите новую.",
            no_script: "Чтобы задать пароль, включите в браузере JavaScript.",
        },
    }
}

/// `GET /reset-password`: the page. The token is in the fragment of the address, which the
/// browser does not send; the script reads it.
pub async fn page(headers: HeaderMap) -> Response {
    let locale = preferred_locale(&headers);
    let texts = texts(locale);
    let alert = |id: &str, text: &str| {
        let text = escape_html(text);
        format!("<p id=\"{id}\" role=\"alert\" data-text=\"{text}\" hidden></p>")
    };
    let input = |id: &str, label: &str| {
        let label = escape_html(label);
        format!(
            "<label>{label}<input id=\"{id}\" type=\"password\" autocomplete=\"new-password\" \
             required></label>"
        )
    };
    let body = format!(
        "<div id=\"new-password\" data-state tabindex=\"-1\" hidden><form id=\"form\" novalidate>\
         {}<p>{}</p>{}{}{}{}{}<button id=\"set-password\">{}</button></form></div>\
         <p id=\"done\" data-state tabindex=\"-1\" role=\"status\" hidden>{}</p>\
         <p id=\"invalid-link\" data-state tabindex=\"-1\" role=\"alert\" hidden>{}</p>\
         <noscript>{}</noscript>",
        input("password", texts.password),
        escape_html(texts.hint),
        alert("weak", texts.weak),
        input("repetition", texts.repetition),
        alert("mismatch", texts.mismatch),
        alert("failed", texts.unreachable),
        alert("unreachable", texts.unreachable),
        escape_html(texts.submit),
        escape_html(texts.done),
        escape_html(texts.invalid_link),
        escape_html(texts.no_script),
    );
    script_page(locale, texts.title, &body, SCRIPT)
}
