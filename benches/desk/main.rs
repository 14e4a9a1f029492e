//! Measures the pages that people open all day on a large desk, and comments, in turns with pgbench,
//! which runs the same work as one SQL statement on the same rows.
//!
//! `cargo bench --bench desk` loads a dataset of 20,000 tickets and 100,000 comments, checks it,
//! and prints a table. Names after `--`, such as `w2` or `start`, select measurements; `--help`
//! lists the options. It starts its own durable Postgres. Clients, server and Postgres share the
//! cores of one machine: quote the ratios.
//!
//! `cargo bench --bench desk -- load` only loads the dataset, into the empty database
//! `DATABASE_URL`. For the load generators of others, it writes files with tokens and ids into the
//! folder `VARS`. `TICKETS` overrides `--tickets`, and `OURS_BINARY` is another program of the
//! server. The files and the sessions are known to everybody who reads this code: keep the
//! database private.

#[path = "../common/api.rs"]
mod api;
mod check;
mod client;
mod cluster;
mod copy;
#[path = "../common/cpu.rs"]
mod cpu;
mod database;
#[path = "../common/figures.rs"]
mod figures;
mod history;
mod indexes;
mod load;
mod measure;
#[path = "../common/postgres.rs"]
mod postgres;
#[path = "../common/process.rs"]
mod process;
mod shape;
#[path = "../common/transactions.rs"]
mod transactions;
mod values;
mod workloads;

use std::{path::PathBuf, time::Duration};

use check::Check;
use clap::{Parser, builder::PossibleValuesParser, value_parser};
use cluster::Cluster;
use measure::Measurement;
use process::{BINARY, Program};
use shape::Shape;
use workloads::WORKLOADS;

/// The limits of a customer and of a member of staff on requests at the same time, by default.
const CUSTOMER_REQUESTS: usize = 50;
const STAFF_REQUESTS: usize = 200;

/// Measures the pages that people open all day on a large desk.
#[derive(Parser)]
struct Options {
    /// The measurements; all by default. `load` loads the dataset into `DATABASE_URL` instead.
    #[arg(value_parser = PossibleValuesParser::new(["load", "w1", "w2", "w3", "w4", "start"]))]
    names: Vec<String>,
    /// The number of tickets.
    #[arg(long, default_value_t = 20_000, value_parser = value_parser!(u64).range(1_000..10_000_000))]
    tickets: u64,
    /// The number of comments, at least that of the tickets. Five per ticket by default.
    #[arg(long)]
    comments: Option<u64>,
    /// How many seconds each round takes.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// How many rounds the medians are from.
    #[arg(long, default_value_t = 5)]
    rounds: u64,
    /// How many clients send requests at the same time, and the server's database connections.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Keep the loaded database in this folder, and use the one that is there. For at most 13 days:
    /// then the server begins to close the resolved tickets.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Cargo passes this to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn shape(&self) -> Shape {
        let of_load = std::env::var("TICKETS").ok().filter(|_| self.loads_only());
        let tickets = of_load.map_or(self.tickets, |text| text.parse().expect("TICKETS, a number"));
        Shape { tickets, comments: self.comments.unwrap_or(5 * tickets).max(tickets) }
    }

    fn loads_only(&self) -> bool {
        self.names.iter().any(|name| name == "load")
    }

    fn selects(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|other| other == name)
    }

    /// Returns the server's settings: limits that many clients of few accounts would reach are
    /// raised.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let connections = self.connections.to_string();
        let unlimited = ["LIMITS_STAFF_COMMENTS_PER_MINUTE"].map(|limit| (limit, "0".to_owned()));
        let mut settings = vec![("DATABASE_POOL_SIZE", connections.clone())];
        settings.extend(unlimited.into_iter().filter(|_| self.selects("w4")));
        if self.connections > CUSTOMER_REQUESTS {
            settings.push(("LIMITS_CUSTOMER_REQUESTS", connections.clone()));
        }
        if self.connections > STAFF_REQUESTS {
            settings.push(("LIMITS_STAFF_REQUESTS", connections));
        }
        settings
    }
}

fn main() {
    let options = Options::parse();
    // reqwest cannot create a client without a TLS provider.
    rustls::crypto::ring::default_provider().install_default().expect("no other provider");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if options.loads_only() {
        runtime.block_on(load_only(options.shape()));
    } else {
        runtime.block_on(measure(&options));
    }
}

/// Loads the dataset into the database that the environment names.
async fn load_only(shape: Shape) {
    let url = std::env::var("DATABASE_URL").expect("DATABASE_URL, an empty database");
    let binary = std::env::var_os("OURS_BINARY").map_or_else(|| BINARY.into(), PathBuf::from);
    let program = Program { binary, url };
    load::load(&program, shape).await;
    let server = program.serve(&[]).await;
    let check = Check::new(&program, &server.address, shape).await;
    check.pages().await;
    check.search_and_feed().await;
    server.stop().await;
    program.run(&["doctor"], "").await;
    if let Some(folder) = std::env::var_os("VARS") {
        values::write(folder.as_ref(), shape);
    }
}

async fn measure(options: &Options) {
    let shape = options.shape();
    let cluster = Cluster::start(options.keep.as_deref(), options.connections).await;
    let database = format!("desk_{}_{}", shape.tickets, shape.comments);
    let must_load = cluster.create_unless_loaded(&database).await;
    let program = Program { binary: BINARY.into(), url: cluster.url(&database) };
    if must_load {
        load::load(&program, shape).await;
    } else {
        program.run(&["migrate"], "").await;
    }
    let settings = options.settings();
    let settings = settings.iter().map(|(key, value)| (*key, value.as_str())).collect::<Vec<_>>();
    let server = program.serve(&settings).await;
    let check = Check::new(&program, &server.address, shape).await;
    check.pages().await;
    if must_load {
        check.search_and_feed().await;
        check.writing().await;
        program.run(&["doctor"], "").await;
        cluster.mark_loaded(&database).await;
    }
    let shown = settings.iter().map(|(key, value)| format!("TICKETWIRE_{key}={value}"));
    println!("Settings of the server: {}\n", shown.collect::<Vec<_>>().join(" "));
    let measurement = Measurement {
        shape,
        cluster: &cluster,
        program: &program,
        time: Duration::from_secs(options.seconds),
        rounds: options.rounds,
        connections: options.connections,
    };
    measurement.print_head();
    for workload in WORKLOADS.iter().filter(|workload| options.selects(workload.name)) {
        measurement.workload(workload, &server).await;
    }
    server.stop().await;
    if options.selects("start") {
        println!();
        measurement.start(&settings).await;
    }
    cluster.stop().await;
}
