//! The checks of the running nodes: whether they agree with each other and with this process.

use super::check::{Check, LIMIT, Problem, Report};
use crate::{
    app::{self, ServerDatabase, nodes},
    cli::output::CliResult,
    config::Config,
    db::node,
    domain::node::{Difference, Node},
};

/// Checks the nodes that were seen lately, and returns how many there are. Checks nothing if the
/// database cannot tell.
pub(super) async fn check(
    config: &Config,
    database: &ServerDatabase,
    report: &mut Report,
) -> CliResult<usize> {
    let Some((this, live)) = read(config, database).await else { return Ok(0) };
    report.add("nodes", Ok(names(&live)))?;
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
    let storages = if this.report.storage.is_some() { storages.collect() } else { vec![] };
    report.add("node storage", check_storage(&storages))?;
    report.add("pool", check_pools(&live))?;
    Ok(live.len())
}

async fn read(config: &Config, database: &ServerDatabase) -> Option<(Node, Vec<Node>)> {
    let reading = async {
        let pool = database.connect(config).ok()?;
        let live = node::live(&mut *pool.read().await.ok()?).await.ok();
        pool.close();
        let storage = app::storage::set_up(config).ok().flatten();
        let this = nodes::this_node(config, &app::ambient(), storage.as_ref()).await.ok()?;
        Some((this, live?))
    };
    tokio::time::timeout(LIMIT, reading).await.ok().flatten()
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
    Err(Problem::new(format!("{others}; this is {}", this.version))
        .fix("install the same version on all nodes and restart them one after the other"))
}

fn check_configuration(others: &[String]) -> Check {
    if others.is_empty() {
        return Ok("all share the settings that must be equal".into());
    }
    let others = others.join("; ");
    Err(Problem::new(format!("these settings differ from those of this command: {others}"))
        .fix("give all nodes the same values, and restart those that still have the old ones"))
}

fn check_storage(others: &[String]) -> Check {
    if others.is_empty() {
        return Ok("all share one".into());
    }
    let others = others.join("; ");
    Err(Problem::new(format!("attachments are stored elsewhere by {others}")).fix(
        "have all nodes use one shared folder (`storage.folder`) or one bucket (`storage.s3.bucket`)",
    ))
}

fn check_pools(live: &[Node]) -> Check {
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
    Err(Problem::new(exhausted.join("; ")).fix(
        "find slow statements in `pg_stat_activity`; if there are none, raise `database.pool_size`",
    ))
}
