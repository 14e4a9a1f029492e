//! A mail server on a socket, which can be told to misbehave.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use mail_parser::MessageParser;
use rcgen::generate_simple_self_signed;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::{JoinHandle, JoinSet},
    time,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A step of a conversation, as the server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Connected, and not greeted yet.
    Greeting,
    /// EHLO has come, without an answer yet.
    Ehlo,
    /// So has MAIL.
    Mail,
    /// So has RCPT.
    Rcpt,
    /// So has DATA.
    Data,
    /// The mail's first line has come.
    MidData,
    /// The mail was taken, which is not said yet.
    Taken,
}

/// What the server does with the next mails; `Accept` when none is left.
#[derive(Clone, Copy, Debug)]
pub enum Mood {
    /// Takes it.
    Accept,
    /// Answers RCPT with this line.
    Rcpt(&'static str),
    /// Answers the end of the data with this line.
    Data(&'static str),
    /// Goes no further at this step until it is released.
    Pause(Step),
    /// Hangs up in the middle of the data.
    DropMidData,
    /// Answers the greeting with this line.
    Greet(&'static str),
}

/// What the server can and asks for.
#[derive(Clone, Copy, Default)]
pub struct Abilities {
    /// Offers STARTTLS.
    pub starttls: bool,
    /// TLS from the start.
    pub implicit_tls: bool,
    /// Wants this AUTH PLAIN (base64).
    pub auth: Option<&'static str>,
}

/// A mail as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// The envelope's recipient.
    pub to: String,
    /// Everything, as it came.
    pub raw: String,
    /// The `Message-ID`.
    pub id: String,
    /// The `In-Reply-To`.
    pub in_reply_to: Option<String>,
    /// The `References`.
    pub references: Vec<String>,
    /// The subject, decoded.
    pub subject: String,
    /// The text part, decoded.
    pub text: String,
    /// The HTML part, decoded.
    pub html: String,
    /// Whether it came over TLS.
    pub tls: bool,
}

struct State {
    moods: Mutex<VecDeque<Mood>>,
    refusal: Mutex<Option<&'static str>>,
    mails: Mutex<Vec<Received>>,
    changed: Notify,
    attempts: AtomicUsize,
    paused: AtomicUsize,
    released: Notify,
    connections: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
    abilities: Abilities,
    acceptor: TlsAcceptor,
}

/// A running mail server.
pub struct Smtp {
    state: Arc<State>,
    task: JoinHandle<()>,
    /// `127.0.0.1:port`.
    pub address: String,
    /// The certificate to trust, in PEM.
    pub certificate: String,
}

impl Drop for Smtp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Smtp {
    /// Starts a server that takes everything.
    pub async fn start() -> Self {
        Self::with(Abilities::default()).await
    }

    /// Starts a server.
    pub async fn with(abilities: Abilities) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, abilities)
    }

    /// A free address that nobody listens on, yet.
    pub async fn reserve() -> String {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
    }

    /// Starts a server on an address.
    pub async fn at(address: &str) -> Self {
        Self::on(TcpListener::bind(address).await.unwrap(), Abilities::default())
    }

    fn on(listener: TcpListener, abilities: Abilities) -> Self {
        let certified = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key =
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
        let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        let state = Arc::new(State {
            moods: Mutex::default(),
            refusal: Mutex::default(),
            mails: Mutex::default(),
            changed: Notify::new(),
            attempts: AtomicUsize::new(0),
            paused: AtomicUsize::new(0),
            released: Notify::new(),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
            abilities,
            acceptor: TlsAcceptor::from(Arc::new(tls)),
        });
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            // Its conversations end with it.
            let mut conversations = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let state = Arc::clone(&shared);
                conversations.spawn(async move {
                    state.connections.fetch_add(1, Ordering::SeqCst);
                    let open = state.open.fetch_add(1, Ordering::SeqCst) + 1;
                    state.most_open.fetch_max(open, Ordering::SeqCst);
                    state.serve(stream).await;
                    state.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { state, task, address, certificate: certified.cert.pem() }
    }

    /// Its URL, without TLS.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// Its URL by a name that its certificate has.
    pub fn named_url(&self, scheme: &str, user: &str, query: &str) -> String {
        let port = self.address.rsplit_once(':').unwrap().1;
        format!("{scheme}://{user}localhost:{port}{query}")
    }

    /// What it does with the next mails.
    pub fn then(&self, moods: impl IntoIterator<Item = Mood>) {
        self.state.moods.lock().unwrap().extend(moods);
    }

    /// From now on answers each MAIL with this line, as a server does that takes no more of a
    /// sender's mails today; with `None` it takes them again.
    pub fn refuse_sender(&self, line: Option<&'static str>) {
        *self.state.refusal.lock().unwrap() = line;
    }

    /// The mails that it has taken.
    pub fn mails(&self) -> Vec<Received> {
        self.state.mails.lock().unwrap().clone()
    }

    /// How many times a mail was begun.
    pub fn attempts(&self) -> usize {
        self.state.attempts.load(Ordering::SeqCst)
    }

    /// Waits until it has taken so many mails; gives all of them.
    pub async fn received(&self, count: usize) -> Vec<Received> {
        self.until(&format!("{count} mails"), || self.mails().len() >= count).await;
        self.mails()
    }

    /// Waits for the nth mail whose text holds some words; one that came again counts once.
    pub async fn nth(&self, nth: usize, words: &str) -> Received {
        let fitting = || {
            let mut fitting = self.mails();
            let mut seen = HashSet::new();
            fitting.retain(|mail| mail.text.contains(words) && seen.insert(mail.id.clone()));
            fitting
        };
        self.until(&format!("mail {nth} with `{words}`"), || fitting().len() >= nth).await;
        fitting().swap_remove(nth - 1)
    }

    /// Waits until so many mails were begun.
    pub async fn attempted(&self, count: usize) {
        self.until(&format!("{count} attempts"), || self.attempts() >= count).await;
    }

    /// How many times it has paused.
    pub fn pauses(&self) -> usize {
        self.state.paused.load(Ordering::SeqCst)
    }

    /// Waits until it has paused so many times.
    pub async fn paused(&self, count: usize) {
        self.until(&format!("{count} pauses"), || self.pauses() >= count).await;
    }

    /// Lets all conversations go on that it has paused.
    pub fn release(&self) {
        self.state.released.notify_waiters();
    }

    /// How many connections it had, one after the other and at once.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How many connections it had at once, at most.
    pub fn most_connections(&self) -> usize {
        self.state.most_open.load(Ordering::SeqCst)
    }

    async fn until(&self, what: &str, reached: impl Fn() -> bool) {
        let wait = async {
            loop {
                let changed = self.state.changed.notified();
                if reached() {
                    return;
                }
                changed.await;
            }
        };
        let waited = time::timeout(PATIENCE, wait).await;
        assert!(waited.is_ok(), "no {what} in time: {:?}", self.mails());
    }
}

impl State {
    async fn serve(&self, stream: TcpStream) {
        if self.abilities.implicit_tls {
            if let Ok(stream) = self.acceptor.accept(stream).await {
                self.converse(&mut BufReader::new(stream), true, true).await;
            }
            return;
        }
        let mut stream = BufReader::new(stream);
        if self.converse(&mut stream, true, false).await
            && let Ok(stream) = self.acceptor.accept(stream.into_inner()).await
        {
            self.converse(&mut BufReader::new(stream), false, true).await;
        }
    }

    fn next_mood(&self) -> Mood {
        self.moods.lock().unwrap().pop_front().unwrap_or(Mood::Accept)
    }

    /// What is to be done before a mail is spoken of, if that is next.
    fn mood_at_first(&self) -> Mood {
        let mut moods = self.moods.lock().unwrap();
        let next = moods.pop_front_if(|mood| match mood {
            Mood::Greet(_) => true,
            Mood::Pause(step) => matches!(step, Step::Greeting | Step::Ehlo),
            _ => false,
        });
        next.unwrap_or(Mood::Accept)
    }

    /// Waits to be released, if that is the mood at this step.
    async fn pause_at(&self, step: Step, mood: Mood) {
        if matches!(mood, Mood::Pause(at) if at == step) {
            let released = self.released.notified();
            self.paused.fetch_add(1, Ordering::SeqCst);
            self.changed.notify_waiters();
            released.await;
        }
    }

    /// Speaks until the client hangs up; `true` where it is to go on over TLS.
    async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut BufReader<S>,
        greets: bool,
        tls: bool,
    ) -> bool {
        let (mut mood, mut to) = (Mood::Accept, String::new());
        if greets {
            mood = self.mood_at_first();
            if let Mood::Greet(line) = mood {
                self.count();
                say(stream, line).await;
                return false;
            }
            self.pause_at(Step::Greeting, mood).await;
            say(stream, "220 sink ESMTP").await;
        }
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return false;
            }
            let line = line.trim_end();
            let verb = line.split(' ').next().unwrap().to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" => {
                    self.pause_at(Step::Ehlo, mood).await;
                    let mut answer = String::from("250-sink\r\n");
                    if self.abilities.starttls && !tls {
                        answer += "250-STARTTLS\r\n";
                    }
                    if self.abilities.auth.is_some() {
                        answer += "250-AUTH PLAIN\r\n";
                    }
                    say(stream, &(answer + "250 8BITMIME")).await;
                }
                "STARTTLS" => {
                    say(stream, "220 go on").await;
                    return true;
                }
                "AUTH" => {
                    let right = self.abilities.auth.is_some_and(|wanted| line.ends_with(wanted));
                    say(stream, if right { "235 welcome" } else { "535 5.7.8 wrong password" })
                        .await;
                }
                "MAIL" => {
                    let refusal = *self.refusal.lock().unwrap();
                    if let Some(line) = refusal {
                        self.count();
                        say(stream, line).await;
                        continue;
                    }
                    mood = self.next_mood();
                    self.count();
                    self.pause_at(Step::Mail, mood).await;
                    say(stream, "250 ok").await;
                }
                "RCPT" => {
                    to = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                    self.pause_at(Step::Rcpt, mood).await;
                    let answer = if let Mood::Rcpt(line) = mood { line } else { "250 ok" };
                    say(stream, answer).await;
                }
                "DATA" => {
                    self.pause_at(Step::Data, mood).await;
                    say(stream, "354 go on").await;
                    let Some(raw) = self.read_data(stream, mood).await else { return false };
                    if let Mood::Data(line) = mood {
                        say(stream, line).await;
                        continue;
                    }
                    self.take(&to, raw, tls);
                    self.pause_at(Step::Taken, mood).await;
                    say(stream, "250 taken").await;
                }
                "QUIT" => {
                    say(stream, "221 bye").await;
                    return false;
                }
                _ => say(stream, "250 ok").await,
            }
        }
    }

    async fn read_data<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut BufReader<S>,
        mood: Mood,
    ) -> Option<String> {
        let mut raw = String::new();
        loop {
            let start = raw.len();
            if stream.read_line(&mut raw).await.unwrap_or(0) == 0 {
                return None;
            }
            if matches!(mood, Mood::DropMidData) {
                return None;
            }
            if start == 0 {
                self.pause_at(Step::MidData, mood).await;
            }
            if &raw[start..] == ".\r\n" {
                raw.truncate(start);
                return Some(raw.replace("\r\n..", "\r\n."));
            }
        }
    }

    fn count(&self) {
        self.attempts.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    fn take(&self, to: &str, raw: String, tls: bool) {
        let mail = MessageParser::default().parse(raw.as_bytes()).expect("a mail");
        let ids = |header: &mail_parser::HeaderValue<'_>| -> Vec<String> {
            match header {
                mail_parser::HeaderValue::Text(id) => vec![id.to_string()],
                mail_parser::HeaderValue::TextList(ids) => {
                    ids.iter().map(ToString::to_string).collect()
                }
                _ => vec![],
            }
        };
        let received = Received {
            to: to.to_owned(),
            id: mail.message_id().unwrap_or_default().to_owned(),
            in_reply_to: ids(mail.in_reply_to()).pop(),
            references: ids(mail.references()),
            subject: mail.subject().unwrap_or_default().to_owned(),
            text: mail.body_text(0).unwrap_or_default().replace("\r\n", "\n"),
            html: mail.body_html(0).unwrap_or_default().into_owned(),
            raw: raw.clone(),
            tls,
        };
        self.mails.lock().unwrap().push(received);
        self.changed.notify_waiters();
    }
}

async fn say<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufReader<S>, line: &str) {
    let _ = stream.write_all(format!("{line}\r\n").as_bytes()).await;
    let _ = stream.flush().await;
}
