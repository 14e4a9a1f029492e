//! Visits of the web app: scripts that drive a browser in front of a demo server.

use rustix::process::Signal;
use tokio::sync::Semaphore;

use super::{browser::Script, demo::Demo, proxy::Proxy};

/// A browser and a demo server keep a processor busy, so only two scripts run at a time.
static TURNS: Semaphore = Semaphore::const_new(2);

/// Runs a script with a browser, in front of a demo server that the script can kill and start again,
/// behind a proxy whose connections it can cut and stall.
pub async fn run(script: &str, arguments: &[&str]) {
    let _turn = TURNS.acquire().await.unwrap();
    let demo = Demo::new();
    let mut server = Some(demo.serve("127.0.0.1:0").await);
    let address = server.as_ref().unwrap().address.clone();
    let proxy = Proxy::start(&address).await;
    let origin = format!("http://{}/", proxy.address);
    let mut script = Script::start_with(script, &origin, arguments).await;
    while let Some(command) = script.command().await {
        match command.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["kill"] => server.take().expect("a running server").kill().await,
            ["start"] => server = Some(demo.serve(&address).await),
            ["cut"] => proxy.cut_next(0),
            ["stall"] => proxy.stall(true),
            ["resume"] => proxy.stall(false),
            ref other => panic!("the script asks for {other:?}"),
        }
        script.done().await;
    }
    assert!(script.succeeded().await, "see above");
    assert!(server.expect("a running server").terminate(Signal::TERM).await);
}
