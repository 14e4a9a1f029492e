//! The checks of the running nodes: whether they agree with each other and with this process.

use tokio::time;

use super::{
    check::{Check, LATE, LIMIT, Problem, Report, cannot_tell, too_late},
    locks,
    machine::storage_fix,
};
use crate::{
    app::{self, ServerDatabase, StartError, StorageWatch, descriptors, nodes},
    cli::output::CliResult,
    config::Config,
    db::{DbError, installation, monitor::Blocker, node},
    domain::{
        attachment::OwnStorage,
        node::{Difference, Node},
    },
};

/// Checks the nodes that were seen lately, and returns them, or none if the database cannot tell.
/// `blockers` hold up sessions of the nodes.
pub(super) async fn check(
    config: &Config,
    database: &ServerDatabase,
    blockers: &[Blocker],
    report: &mut Report,
) -> CliResult<Vec<Node>> {
    let (live, own_storage) = match time::timeout(LIMIT, read(config, database)).await {
        Ok(Ok(read)) => read,
        Ok(Err(error)) => return report.add("nodes", Err(cannot_tell(error))).map(|()| vec![]),
        Err(_) => return report.add("nodes", Err(too_late(LATE.0, LATE.1))).map(|()| vec![]),
    };
    report.add("nodes", Ok(names(&live)))?;
    compare(config, &live, own_storage, report).await?;
    report.add("pool", check_pools(&live, blockers))?;
    Ok(live)
}

/// Compares the nodes, and the installation's storage, with this command.
async fn compare(
    config: &Config,
    live: &[Node],
    own_storage: OwnStorage,
    report: &mut Report,
) -> CliResult {
    let ambient = app::ambient();
    let compared = async {
        let storage = StorageWatch::for_command(config)?;
        storage.refresh(own_storage).await;
        Ok::<_, StartError>((nodes::this_node(config, &ambient, &storage)?, storage))
    };
    let (this, storage) = match compared.await {
        Ok(compared) => compared,
        Err(error) => {
            let problem = format!("cannot tell: {error}");
            let problem = Problem::new(problem, "correct the setting that the message names");
            return report.add("node configuration", Err(problem));
        }
    };
    let differences = live.iter().flat_map(|node| {
        this.differences_from(node).into_iter().map(move |difference| (node, difference))
    });
    let differences = differences.collect::<Vec<_>>();
    let of = |wanted: fn(&Difference) -> bool| {
        differences.iter().filter(move |(_, difference)| wanted(difference))
    };
    let versions = of(|difference| *difference == Difference::Version);
    let versions = versions.map(|(node, _)| format!("{} runs {}", name(node), node.version));
    report.add("node versions", check_versions(&this, &versions.collect::<Vec<_>>()))?;
    let settings = differences.iter().filter_map(|(node, difference)| match difference {
        Difference::Configuration(keys) => Some(format!("{}: {}", name(node), keys.join(", "))),
        _ => None,
    });
    report.add("node configuration", check_configuration(&settings.collect::<Vec<_>>()))?;
    let storages = of(|difference| *difference == Difference::Storage).map(|(node, _)| name(node));
    let failing = live.iter().filter(|node| node.report.storage_unreadable).map(name);
    let checked = check_storage(
        config,
        &storage,
        &storages.collect::<Vec<_>>(),
        &failing.collect::<Vec<_>>(),
    );
    report.add("node storage", checked)
}

/// Reads the nodes that were seen lately, and how the installation's storage is recognised.
async fn read(
    config: &Config,
    database: &ServerDatabase,
) -> Result<(Vec<Node>, OwnStorage), DbError> {
    let pool = database.connect(config)?;
    let read = async {
        let mut connection = pool.read().await?;
        let live = node::live(&mut connection).await?;
        // Older schemas do not say. The check of the migrations names them.
        let own_storage = installation::own_storage(&mut connection).await;
        Ok((live, own_storage.unwrap_or(OwnStorage::Holding(vec![]))))
    }
    .await;
    pool.close();
    read
}

fn name(node: &Node) -> String {
    format!("the node {} on {}", node.id, node.host)
}

fn names(live: &[Node]) -> String {
    if live.is_empty() {
        return "none is running".into();
    }
    let names = live.iter().map(|node| format!("{} on {}", node.id, node.host));
    names.collect::<Vec<_>>().join(", ")
}

fn check_versions(this: &Node, others: &[String]) -> Check {
    if others.is_empty() {
        return Ok(format!("all run {}", this.version));
    }
    let others = others.join("; ");
    Err(Problem::new(
        format!("{others}; this is {}", this.version),
        "install the same version on all nodes and restart them one after the other",
    ))
}

fn check_configuration(others: &[String]) -> Check {
    if others.is_empty() {
        return Ok("all share the settings that must be equal".into());
    }
    let others = others.join("; ");
    Err(Problem::new(
        format!("these settings differ from those of this command: {others}"),
        "give all nodes the same values, and restart those that still have the old ones",
    ))
}

/// Checks the storage of this command, and those of the nodes: `others` store attachments elsewhere,
/// and `failing` cannot read their storage.
fn check_storage(
    config: &Config,
    storage: &StorageWatch,
    others: &[String],
    failing: &[String],
) -> Check {
    if !storage.is_configured() {
        return Ok("not compared: this command has none".into());
    }
    if let Some(problem) = storage.problem() {
        let moved =
            "run `ticketwire accept-storage` only if all files have moved to another storage";
        return Err(Problem::new(problem, format!("{}; {moved}", storage_fix(config))));
    }
    let elsewhere = (!others.is_empty()).then(|| {
        Problem::new(
            format!("attachments are stored elsewhere by {}", others.join("; ")),
            "have all nodes use one shared folder (`storage.folder`) or one bucket (`storage.s3.bucket`)",
        )
    });
    let unread = (!failing.is_empty()).then(|| {
        Problem::new(
            format!("the attachment storage cannot be used by {}", failing.join("; ")),
            "see the log of that node for the reason, and run `ticketwire doctor` there",
        )
    });
    match elsewhere.into_iter().chain(unread).reduce(Problem::and) {
        Some(problem) => Err(problem),
        None => Ok("all share one".into()),
    }
}

/// Checks the limits on file descriptors: those of the nodes, or if none reports its own, that of this
/// command, which may differ from that of a server.
pub(super) fn check_descriptors(config: &Config, live: &[Node]) -> Check {
    let fix = "raise `LimitNOFILE=` of the unit, or lower `limits.connections`";
    if live.iter().all(|node| node.report.descriptors.is_none()) {
        let checked = descriptors::check(descriptors::of_this_process(config));
        return checked
            .map(|limit| format!("{limit} (of this command)"))
            .map_err(|problem| Problem::new(problem, fix));
    }
    let (mut states, mut problems) = (Vec::new(), Vec::new());
    for node in live {
        match node.report.descriptors.map(descriptors::check) {
            Some(Ok(state)) => states.push(format!("{}: {state}", name(node))),
            Some(Err(problem)) => problems.push(format!("{}: {problem}", name(node))),
            None => states.push(format!("{} does not report its limit", name(node))),
        }
    }
    if problems.is_empty() {
        Ok(states.join("; "))
    } else {
        Err(Problem::new(problems.join("; "), fix))
    }
}

fn check_pools(live: &[Node], blockers: &[Blocker]) -> Check {
    let exhausted = live.iter().filter(|node| node.report.pool.is_exhausted()).map(|node| {
        let pool = node.report.pool;
        format!(
            "{} uses all {} connections, and {} requests wait",
            name(node),
            pool.limit,
            pool.waiting
        )
    });
    let exhausted = exhausted.collect::<Vec<_>>();
    if exhausted.is_empty() {
        return Ok("no requests wait for connections".into());
    }
    let slow =
        "find slow statements in `pg_stat_activity`; if there are none, raise `database.pool_size`";
    // More connections would wait for the same lock.
    let fix = if blockers.is_empty() { slow.to_owned() } else { locks::remedy(blockers) };
    Err(Problem::new(exhausted.join("; "), fix))
}
