//! Figures of the support.

use std::{borrow::Cow, time::Duration};

use super::{ServiceError, Services, authorise};
use crate::{
    db::support_figures,
    domain::{
        account::Locale,
        actor::Actor,
        policy::{Action, Resource},
        support_figures::{FigureGroup, FigureRow, Period, Subject, SupportFigures, by_day},
    },
};

/// How long the figures may take. A year of a large installation takes some seconds.
const TIMEOUT: Duration = Duration::from_secs(10);
const ADVICE: &str = "Ask for a shorter period, or for a later one.";

/// Returns the figures of a period, by subject and of all tickets.
///
/// # Errors
/// Returns an error if the actor is not staff, or if the figures take too long.
pub async fn of_period(
    actor: &Actor,
    services: &Services,
    period: Period,
    group: FigureGroup,
) -> Result<SupportFigures, ServiceError> {
    authorise(actor, Action::ViewInternal, Resource::Desk)?;
    let read = async |db: &mut _| support_figures::of_period(db, period, group).await;
    let logged = services.database.read_within(TIMEOUT, read).await;
    let mut logged = logged.map_err(|error| ServiceError::slow(error, ADVICE))?;
    // The total comes first.
    let rows = logged.split_off(1.min(logged.len()));
    let total = logged.pop().map_or_else(|| FigureRow::empty(Subject::Total), |total| total.row);
    let rows = match group {
        FigureGroup::Day => by_day(period, rows, &total),
        FigureGroup::Category | FigureGroup::Agent => {
            rows.into_iter().map(|figures| figures.row).collect()
        }
    };
    Ok(SupportFigures { rows, total })
}

/// Returns figures as CSV, with the names of categories in a language.
pub fn csv(figures: &SupportFigures, group: FigureGroup, locale: Locale) -> String {
    figures.csv(group, |subject| match (subject, locale) {
        (Subject::Total, _) => Cow::Borrowed("total"),
        (Subject::Nobody, _) => Cow::Borrowed(""),
        (Subject::Day(day), _) => Cow::Owned(day.to_string()),
        (Subject::Category { name_en, .. }, Locale::En) => Cow::Borrowed(name_en),
        (Subject::Category { name_ru, .. }, Locale::Ru) => Cow::Borrowed(name_ru),
        (Subject::Agent { name, .. }, _) => Cow::Borrowed(name),
    })
}
