//! Files with values for requests, for load generators other than this benchmark.

use std::{fs, path::Path};

use super::shape::{AGENTS, CATEGORIES, Person, Shape, category_id, global_id};

/// Writes the files into a folder, one value a line:
///
/// | file | values |
/// |---|---|
/// | `customer` | tokens of the customers with more than a page of tickets |
/// | `agent` | tokens of the agents |
/// | `hot` | global ids of the tickets with 100 comments |
/// | `ticket` | global ids of the tickets that are not closed |
/// | `category` | global ids of the categories |
pub fn write(folder: &Path, shape: Shape) {
    let ticket = |row| global_id("Ticket", shape.ticket_id(row));
    let open = (1..=shape.tickets).filter(|&row| shape.ticket(row).status != "closed");
    let customers = (2..=shape.regulars() as u32).map(|row| Person::Customer(row).token());
    let agents = (1..=AGENTS as u32).map(|row| Person::Agent(row).token());
    let categories = (1..=CATEGORIES.len() as u64).map(category_id);
    fs::create_dir_all(folder).expect("a folder");
    write_file(folder, "customer", customers);
    write_file(folder, "agent", agents);
    write_file(folder, "hot", (1..=shape.hot()).map(ticket));
    write_file(folder, "ticket", open.map(ticket));
    write_file(folder, "category", categories.map(|id| global_id("Category", id)));
}

fn write_file(folder: &Path, name: &str, values: impl Iterator<Item = String>) {
    let lines = values.map(|value| value + "\n").collect::<String>();
    fs::write(folder.join(name), lines).expect("a file");
}
