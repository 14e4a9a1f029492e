//! The page where customers come over from the control panel, for installations that
//! have no portal of their own.

use axum::{extract::State, http::HeaderMap, response::Response};

use super::{
    api::Api,
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
    second_step: &'static str,
    method: &'static str,
    methods: [&'static str; 3],
    send: &'static str,
    sent: &'static str,
    code: &'static str,
    wrong: &'static str,
    later: &'static str,
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
            second_step: "Your account has a second factor.",
            method: "How do you prove that it is you?",
            methods: ["Mobile authenticator", "One-time code by e-mail", "Recovery code"],
            send: "Mail me a code",
            sent: "A code is on its way. It is good for two minutes.",
            code: "Code",
            wrong: "This code is wrong or was used before.",
            later: "That did not work. Wait for a moment and try again.",
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
            second_step: "Ваш аккаунт защищён вторым фактором.",
            method: "Чем подтвердить, что это вы?",
            methods: ["Мобильный аутентификатор", "Одноразовый код по почте", "Код восстановления"],
            send: "Прислать код",
            sent: "Код отправлен. Он действует две минуты.",
            code: "Код",
            wrong: "Код неверный или уже использован.",
            later: "Не получилось. Подождите немного и попробуйте ещё раз.",
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
         <form id=\"challenge\" data-state tabindex=\"-1\" novalidate hidden><p>{}</p>\
         <label>{}<select id=\"method\"><option value=\"AUTHENTICATOR\">{}</option>\
         <option value=\"EMAIL\">{}</option><option value=\"RECOVERY_CODE\">{}</option></select></label>\
         <button id=\"send\" type=\"button\" hidden>{}</button>\
         <label>{}<input id=\"code\" autocomplete=\"one-time-code\" autocapitalize=\"none\"></label>\
         <p id=\"sent\" data-line role=\"status\" hidden>{}</p>\
         <p id=\"wrong\" data-line role=\"alert\" hidden>{}</p>\
         <p id=\"later\" data-line role=\"alert\" hidden>{}</p><button>{}</button></form>\
         <p id=\"refused\" data-state tabindex=\"-1\" role=\"alert\" hidden>{}</p>\
         <noscript>{}</noscript></div>",
        escaped(texts.ask),
        escaped(texts.go),
        escaped(texts.failed),
        escaped(texts.done),
        escaped(texts.second_step),
        escaped(texts.method),
        escaped(texts.methods[0]),
        escaped(texts.methods[1]),
        escaped(texts.methods[2]),
        escaped(texts.send),
        escaped(texts.code),
        escaped(texts.sent),
        escaped(texts.wrong),
        escaped(texts.later),
        escaped(texts.go),
        escaped(texts.refused),
        escaped(texts.no_script),
    );
    script_page(locale, texts.title, &body, SCRIPT)
}
