//! One figure of several runs.

use serde::Serialize;

use crate::number;

/// One figure of several runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Figure {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) values: Vec<f64>,
}

impl Figure {
    pub(crate) fn of(values: Vec<f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let (half, is_odd) = (sorted.len() / 2, sorted.len() % 2 == 1);
        let median = if is_odd { sorted[half] } else { f64::midpoint(sorted[half - 1], sorted[half]) };
        Some(Self { median, min, max, values })
    }

    pub(crate) fn shown(&self) -> String {
        match self.min == self.max {
            true => number::plain(self.median),
            false => format!(
                "{} ({} - {})",
                number::plain(self.median),
                number::plain(self.min),
                number::plain(self.max)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(values: &[f64]) -> Figure {
        Figure::of(values.to_vec()).unwrap()
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(figure(&[3.0, 1.0, 2.0]).median, 2.0);
        assert_eq!(figure(&[4.0, 1.0, 2.0, 3.0]).median, 2.5);
        let one = figure(&[7.0]);
        assert_eq!((one.median, one.min, one.max), (7.0, 7.0, 7.0));
        assert_eq!(Figure::of(vec![]), None);
        assert_eq!(Figure::of(vec![f64::NAN]), None);
    }
}
