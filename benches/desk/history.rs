//! The history of the dataset: the order of its events, and the columns of tickets that derive from
//! it.

use super::shape::{Person, Shape};

/// The events of all tickets, oldest first. An event's id and its position in the feed are its index
/// plus 1.
pub struct History {
    shape: Shape,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    time: i64,
    ticket: u32,
    /// 0 stands for the creation of the ticket, which comes first.
    comment: u32,
}

/// An event.
pub struct Event {
    /// Its id and its position in the feed.
    pub id: u64,
    /// The row of its ticket.
    pub ticket: u64,
    /// The row of the comment that it added, or `None` if it created the ticket.
    pub comment: Option<u64>,
}

/// The latest events of a ticket that a reader may see.
#[derive(Clone, Copy, Default)]
pub struct Latest {
    /// The sequence number of the last event.
    pub seq: u32,
    /// Who caused it.
    pub actor: Option<Person>,
    /// The sequence number of the last event before it that another person caused.
    pub by_others: u32,
}

/// The latest events of a ticket.
#[derive(Clone, Copy, Default)]
pub struct TicketEvents {
    /// Those that customers see.
    pub public: Latest,
    /// All.
    pub any: Latest,
}

impl History {
    /// Sorts the events of a dataset by time.
    pub fn of(shape: Shape) -> Self {
        let created = (1..=shape.tickets).map(|row| Entry {
            time: shape.ticket_created_at(row),
            ticket: row as u32,
            comment: 0,
        });
        let commented = (1..=shape.comments).map(|row| Entry {
            time: shape.comment_created_at(row),
            ticket: shape.ticket_of(row) as u32,
            comment: row as u32,
        });
        let mut entries = created.chain(commented).collect::<Vec<_>>();
        entries.sort_unstable_by_key(|entry| (entry.time, entry.comment, entry.ticket));
        Self { shape, entries }
    }

    /// Returns the number of events.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the events, oldest first.
    pub fn events(&self) -> impl Iterator<Item = Event> {
        (1..).zip(&self.entries).map(|(id, entry)| Event {
            id,
            ticket: entry.ticket.into(),
            comment: (entry.comment > 0).then_some(entry.comment.into()),
        })
    }

    /// Returns the latest events of every ticket, in the order of their rows.
    pub fn latest(&self) -> Vec<TicketEvents> {
        let mut all = vec![TicketEvents::default(); self.shape.tickets as usize];
        for event in self.events() {
            let (actor, internal) = match event.comment.map(|row| self.shape.comment(row)) {
                Some(comment) => (comment.author, comment.internal),
                None => (self.shape.ticket(event.ticket).reporter, false),
            };
            let ticket = &mut all[event.ticket as usize - 1];
            let seq = ticket.any.seq + 1;
            ticket.any.follow(seq, actor);
            if !internal {
                ticket.public.follow(seq, actor);
            }
        }
        all
    }
}

impl Latest {
    fn follow(&mut self, seq: u32, actor: Person) {
        if self.actor != Some(actor) {
            self.by_others = self.seq;
        }
        (self.seq, self.actor) = (seq, Some(actor));
    }
}
