//! The page behind a handoff link, which signs in a customer who comes from the control
//! panel. Installations with a portal of their own set `links.handoff` to it instead.

use axum::{extract::State, http::HeaderMap, response::Response};

use super::{
    api::Api,
    page::{escape_html, preferred_locale, script_page},
};
use crate::domain::account::Locale;

const SCRIPT: &str = include_str!("handoff.js");

/// The texts of the page.
struct Texts {
    title: &'static str,
    question: &'static str,
    sign_in: &'static str,
    unreachable: &'static str,
    signed_in: &'static str,
    second_factor: &'static str,
    method: &'static str,
    methods: [&'static str; 3],
    send_code: &'static str,
    code_sent: &'static str,
    code: &'static str,
    wrong_code: &'static str,
    failed: &'static str,
    invalid_link: &'static str,
    no_script: &'static str,
}

fn texts(locale: Locale) -> Texts {
    match locale {
        Locale::En => Texts {
            title: "Support",
            question: "You are coming from the control panel. Sign in to support with the same \
                       account?",
            sign_in: "Sign in",
            unreachable: "The server is not responding. Please try again.",
            signed_in: "You are signed in. This server has no customer portal to continue to; its \
                        operator can set one in links.handoff.",
            second_factor: "Your account is protected by a second factor.",
            method: "How do you want to confirm that it is you?",
            methods: ["Authenticator app", "Code by e-mail", "Recovery code"],
            send_code: "Send a code",
            code_sent: "We have sent you a code. It is valid for two minutes.",
            code: "Code",
            wrong_code: "This code is incorrect or has already been used.",
            failed: "That did not work. Please wait a moment and try again.",
            invalid_link: "This link is incomplete, has expired, or has already been used. Go back \
                           to the control panel and open support from there again.",
            no_script: "This page needs JavaScript to sign you in.",
        },
        Locale::Ru => Texts {
            title: "Поддержка",
            question: "Вы перешли из панели управления. Войти в поддержку под той же учётной \
                       записью?",
            sign_in: "Войти",
            unreachable: "Сервер не отвечает. Попробуйте ещё раз.",
            signed_in: "Вы вошли. Портала для клиентов на этом сервере нет; администратор может \
                        указать его адрес в параметре links.handoff.",
            second_factor: "Ваша учётная запись защищена вторым фактором.",
            method: "Как подтвердить, что это вы?",
            methods: ["Приложение-аутентификатор", "Код по почте", "Код восстановления"],
            send_code: "Отправить код",
            code_sent: "Мы отправили вам код. Он действует две минуты.",
            code: "Код",
            wrong_code: "Код неверный или уже использован.",
            failed: "Не получилось. Подождите немного и попробуйте ещё раз.",
            invalid_link: "Ссылка неполная, устарела или уже использована. Вернитесь в панель \
                           управления и откройте поддержку оттуда ещё раз.",
            no_script: "Чтобы войти, включите в браузере JavaScript.",
        },
    }
}

/// `GET /handoff`: the page. The token is in the fragment of the address, which the browser
/// does not send; the script reads it.
pub async fn page(State(api): State<Api>, headers: HeaderMap) -> Response {
    let locale = preferred_locale(&headers);
    let texts = texts(locale);
    // Where the session continues.
    let marker = match (api.portal, &api.playground) {
        (true, _) => " data-portal",
        (false, Some(_)) => " data-playground",
        (false, None) => "",
    };
    let body = format!(
        "<div{marker}>\
         <div id=\"question\" data-state tabindex=\"-1\" hidden><p>{}</p>\
         <button id=\"sign-in\" type=\"button\">{}</button>\
         <p id=\"unreachable\" role=\"alert\" hidden>{}</p></div>\
         <div id=\"signed-in\" data-state tabindex=\"-1\" hidden><p id=\"name\"></p><p>{}</p></div>\
         <form id=\"challenge\" data-state tabindex=\"-1\" novalidate hidden><p>{}</p>\
         <label>{}<select id=\"method\"><option value=\"AUTHENTICATOR\">{}</option>\
         <option value=\"EMAIL\">{}</option><option value=\"RECOVERY_CODE\">{}</option></select></label>\
         <button id=\"send-code\" type=\"button\" hidden>{}</button>\
         <label>{}<input id=\"code\" autocomplete=\"one-time-code\" autocapitalize=\"none\"></label>\
         <p id=\"code-sent\" data-message role=\"status\" hidden>{}</p>\
         <p id=\"wrong-code\" data-message role=\"alert\" hidden>{}</p>\
         <p id=\"failed\" data-message role=\"alert\" hidden>{}</p><button>{}</button></form>\
         <p id=\"invalid-link\" data-state tabindex=\"-1\" role=\"alert\" hidden>{}</p>\
         <noscript>{}</noscript></div>",
        escape_html(texts.question),
        escape_html(texts.sign_in),
        escape_html(texts.unreachable),
        escape_html(texts.signed_in),
        escape_html(texts.second_factor),
        escape_html(texts.method),
        escape_html(texts.methods[0]),
        escape_html(texts.methods[1]),
        escape_html(texts.methods[2]),
        escape_html(texts.send_code),
        escape_html(texts.code),
        escape_html(texts.code_sent),
        escape_html(texts.wrong_code),
        escape_html(texts.failed),
        escape_html(texts.sign_in),
        escape_html(texts.invalid_link),
        escape_html(texts.no_script),
    );
    script_page(locale, texts.title, &body, SCRIPT)
}
