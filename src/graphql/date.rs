//! Dates without a time.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use chrono::NaiveDate;

/// A day of the calendar, without a time.
#[derive(Clone, Copy)]
pub struct Date(pub NaiveDate);

/// A day: `YYYY-MM-DD`, such as `2026-01-31`.
#[Scalar(specified_by_url = "https://scalars.graphql.org/andimarek/local-date")]
impl ScalarType for Date {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else { return Err(InputValueError::expected_type(value)) };
        let shape = text.bytes().enumerate().all(|(index, byte)| match index {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
        let day = if shape && text.len() == 10 { text.parse().ok() } else { None };
        day.map(Self).ok_or_else(|| {
            InputValueError::custom("A date must be a day of the calendar, like 2026-01-31.")
        })
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_a_day_of_the_calendar_in_ten_characters() {
        let parse = |text: &str| Date::parse(Value::String(text.to_owned())).ok();
        for text in ["2026-01-31", "2024-02-29", "0000-01-01", "9999-12-31"] {
            assert_eq!(parse(text).unwrap().to_value(), Value::String(text.to_owned()));
        }
        for text in [
            "",
            "2026-1-31",
            "2026-02-29",
            "+2026-01-01",
            "2026-01-31T",
            " 2026-01-1",
            "２026-01-1",
        ] {
            assert!(parse(text).is_none(), "{text}");
        }
        assert!(Date::parse(Value::Number(2026.into())).is_err());
    }
}
