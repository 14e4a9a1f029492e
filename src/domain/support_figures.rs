//! Figures of the support: how many tickets came and went, and how long customers waited.

use std::borrow::Cow;

use chrono::{Days, NaiveDate};

use super::ids::{AccountId, CategoryId};

/// The most days of a period.
pub const MAX_DAYS: i64 = 366;
/// The most rows of an answer.
pub const MAX_ROWS: i64 = 500;

/// What each row of figures is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FigureGroup {
    /// A category.
    Category,
    /// A member of staff.
    Agent,
    /// A day.
    Day,
}

/// Days in UTC, the first and the last one included: at most [`MAX_DAYS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    first: NaiveDate,
    last: NaiveDate,
}

/// Why days are not a period. Completes a sentence that begins with "The period".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    /// The last day is before the first one.
    #[error("ends before it begins")]
    Reversed,
    /// There are too many days.
    #[error("has {0} days, but at most {MAX_DAYS} are allowed")]
    TooLong(i64),
}

/// The subject of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// All tickets.
    Total,
    /// A day.
    Day(NaiveDate),
    /// A category.
    Category {
        /// The category.
        id: CategoryId,
        /// Its name in English.
        name_en: String,
        /// Its name in Russian.
        name_ru: String,
    },
    /// A member of staff, who may have left since.
    Agent {
        /// The account.
        id: AccountId,
        /// Its name.
        name: String,
    },
    /// Tickets without an agent.
    Nobody,
}

/// The figures of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FigureRow {
    /// What they are about.
    pub subject: Subject,
    /// How many tickets were opened.
    pub opened: i64,
    /// How many tickets were resolved.
    pub resolved: i64,
    /// How many tickets were open at the end.
    pub open: i64,
    /// How many of these were waiting for support.
    pub waiting: i64,
    /// The times until the first response.
    pub first_response: Times,
    /// The times until the resolution.
    pub resolution: Times,
}

/// A distribution of times, in seconds. `None` if there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Half of them are at most this long.
    pub median: Option<i64>,
    /// Nine of ten are at most this long.
    pub p90: Option<i64>,
}

/// Figures as they are read from the log. Those of a day have the changes of its numbers of open and
/// waiting tickets, and not yet the numbers.
#[derive(Clone, Debug)]
pub struct LoggedFigures {
    /// The figures.
    pub row: FigureRow,
    /// By how many the number of open tickets grew.
    pub more_open: i64,
    /// By how many the number of tickets that wait for support grew.
    pub more_waiting: i64,
}

/// Figures by subject, and of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupportFigures {
    /// One row for each subject that has any figures, or for each day.
    pub rows: Vec<FigureRow>,
    /// The figures of all subjects.
    pub total: FigureRow,
}

impl Period {
    /// Returns the days from `first` to `last`.
    ///
    /// # Errors
    /// They are too many, or in the wrong order.
    pub fn new(first: NaiveDate, last: NaiveDate) -> Result<Self, PeriodError> {
        match (last - first).num_days() + 1 {
            ..=0 => Err(PeriodError::Reversed),
            1..=MAX_DAYS => Ok(Self { first, last }),
            days => Err(PeriodError::TooLong(days)),
        }
    }

    /// Returns the first day.
    pub fn first(self) -> NaiveDate {
        self.first
    }

    /// Returns the day after the last one.
    pub fn end(self) -> NaiveDate {
        self.last + Days::new(1)
    }

    fn days(self) -> impl DoubleEndedIterator<Item = NaiveDate> {
        let count = (self.last - self.first).num_days();
        (0..=count.unsigned_abs()).map(move |day| self.first + Days::new(day))
    }
}

impl FigureRow {
    /// Returns the row of a subject without tickets.
    pub fn empty(subject: Subject) -> Self {
        let (first_response, resolution) = (Times::default(), Times::default());
        Self { subject, opened: 0, resolved: 0, open: 0, waiting: 0, first_response, resolution }
    }
}

/// Returns a row for each day of a period, oldest first. The numbers at the end of the last day are
/// those of the total, and the changes of each day lead back to the day before.
pub fn by_day(period: Period, logged: Vec<LoggedFigures>, total: &FigureRow) -> Vec<FigureRow> {
    let mut logged = logged
        .into_iter()
        .map(|figures| (figures.row.subject.clone(), figures))
        .collect::<Vec<_>>();
    let (mut open, mut waiting) = (total.open, total.waiting);
    let mut rows = Vec::new();
    for day in period.days().rev() {
        let subject = Subject::Day(day);
        let found = logged.iter().position(|(other, _)| *other == subject);
        let figures = found.map(|index| logged.swap_remove(index).1);
        let (more_open, more_waiting) =
            figures.as_ref().map_or((0, 0), |it| (it.more_open, it.more_waiting));
        let row = figures.map_or_else(|| FigureRow::empty(subject), |it| it.row);
        rows.push(FigureRow { open, waiting, ..row });
        open -= more_open;
        waiting -= more_waiting;
    }
    rows.reverse();
    rows
}

impl SupportFigures {
    /// Returns the figures as CSV (RFC 4180), in UTF-8: a header, the rows and the total. `name`
    /// returns the first cell of a row.
    pub fn csv<'a>(
        &'a self,
        group: FigureGroup,
        name: impl Fn(&'a Subject) -> Cow<'a, str>,
    ) -> String {
        let mut csv = format!("{},{COLUMNS}\r\n", group.heading());
        for row in self.rows.iter().chain([&self.total]) {
            csv += &cell(&name(&row.subject));
            let seconds = |time: Option<i64>| time.map(|time| time.to_string()).unwrap_or_default();
            for number in [row.opened, row.resolved, row.open, row.waiting] {
                csv += &format!(",{number}");
            }
            let Times { median, p90 } = row.first_response;
            csv += &format!(",{},{}", seconds(median), seconds(p90));
            let Times { median, p90 } = row.resolution;
            csv += &format!(",{},{}\r\n", seconds(median), seconds(p90));
        }
        csv
    }
}

const COLUMNS: &str = "opened,resolved,open,waiting,first_response_median_seconds,\
     first_response_p90_seconds,resolution_median_seconds,resolution_p90_seconds";

impl FigureGroup {
    fn heading(self) -> &'static str {
        match self {
            Self::Category => "category",
            Self::Agent => "agent",
            Self::Day => "day",
        }
    }
}

/// The characters with which spreadsheets begin a formula, also in full width (OWASP, CSV injection).
const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// Writes a cell. An apostrophe keeps a spreadsheet from running it as a formula. Spreadsheets in some
/// languages separate cells by semicolons, and some by tabs, so these are quoted too.
fn cell(text: &str) -> Cow<'_, str> {
    let is_formula = text.starts_with(FORMULA);
    let text = if is_formula { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) };
    if text.contains(['"', ',', ';', '\t', '\r', '\n']) {
        Cow::Owned(format!("\"{}\"", text.replace('"', "\"\"")))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 1, day).unwrap()
    }

    #[test]
    fn a_period_has_between_one_and_366_days() {
        assert_eq!(Period::new(day(2), day(1)), Err(PeriodError::Reversed));
        let one = Period::new(day(1), day(1)).unwrap();
        assert_eq!((one.first(), one.end()), (day(1), day(2)));
        assert!(Period::new(day(1), day(1) + Days::new(365)).is_ok());
        assert_eq!(Period::new(day(1), day(1) + Days::new(366)), Err(PeriodError::TooLong(367)));
        assert!(Period::new(NaiveDate::MIN, NaiveDate::MAX).is_err());
    }

    #[test]
    fn the_numbers_of_each_day_follow_from_those_at_the_end() {
        let total = FigureRow { open: 5, waiting: 2, ..FigureRow::empty(Subject::Total) };
        let logged = |on, more_open, more_waiting| LoggedFigures {
            row: FigureRow { opened: 7, ..FigureRow::empty(Subject::Day(day(on))) },
            more_open,
            more_waiting,
        };
        let period = Period::new(day(1), day(4)).unwrap();
        let rows = by_day(period, vec![logged(4, -1, 2), logged(2, 3, -4)], &total);
        let rows = rows.into_iter().map(|row| (row.subject, row.opened, row.open, row.waiting));
        assert_eq!(
            rows.collect::<Vec<_>>(),
            [
                (Subject::Day(day(1)), 0, 3, 4),
                (Subject::Day(day(2)), 7, 6, 0),
                (Subject::Day(day(3)), 0, 6, 0),
                (Subject::Day(day(4)), 7, 5, 2),
            ]
        );
    }

    #[test]
    fn csv_quotes_names_and_runs_no_formula() {
        for (name, written) in [
            ("Marta", "Marta"),
            ("a, b", "\"a, b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("=1+1", "'=1+1"),
            ("+7 (495), office", "\"'+7 (495), office\""),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("＝1", "'＝1"),
            ("\tx", "\"'\tx\""),
            ("a; b", "\"a; b\""),
            ("a\tb", "\"a\tb\""),
            ("a=b", "a=b"),
            ("a\r\nb", "\"a\r\nb\""),
        ] {
            assert_eq!(cell(name), written);
        }
        let times = Times { median: Some(60), p90: None };
        let row =
            FigureRow { opened: 1, first_response: times, ..FigureRow::empty(Subject::Nobody) };
        let figures = SupportFigures { rows: vec![row], total: FigureRow::empty(Subject::Total) };
        let name = |subject: &Subject| match subject {
            Subject::Total => Cow::Borrowed("total"),
            _ => Cow::Borrowed("-"),
        };
        assert_eq!(
            figures.csv(FigureGroup::Agent, name),
            format!("agent,{COLUMNS}\r\n'-,1,0,0,0,60,,,\r\ntotal,0,0,0,0,,,,\r\n")
        );
    }
}
