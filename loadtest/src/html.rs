//! The result as a page.

use crate::outcome::Outcome;

/// The page.
pub fn page(outcome: &Outcome) -> String {
    outcome.scenario.clone()
}
