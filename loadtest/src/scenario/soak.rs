//! A long run while clients come and go: does anything leak, drift or break?

use std::time::Duration;

use super::{Cast, Stage};
use crate::Error;
use crate::args::SoakArgs;
use crate::shared::{Command, Group, Pace};
use crate::stats::{Point, Run};
use crate::text::bytes;

/// The start, while the server's memory still fills, says nothing about leaks.
const SETTLED_SHARE: f64 = 0.2;
/// A growth per hour is not told from less than this.
const EXTRAPOLATED_S_MIN: f64 = 600.0;

pub(super) fn run(args: &SoakArgs) -> Result<Run, Error> {
    args.load
        .check(&args.common, args.subscribers)
        .map_err(Error::Arguments)?;
    let others = Some((Group::Coming, args.share));
    let cast = Cast::of_load("soak", &args.load, args.subscribers, others, args.duration);
    let mut stage = Stage::set(&args.common, cast)?;
    stage.open(Group::Steady)?;
    stage.open(Group::Coming)?;
    let threads = stage.fleet.threads_of(Group::Coming) as f64;
    let period_ns = (threads * 1e9 / args.churn) as u64;
    stage.fleet.order(&Command::Churn(Some(period_ns)));
    let pace = Pace::Rate(args.rate);
    stage
        .fleet
        .begin("soak", pace, Duration::from_secs(1), args.duration);
    let result = stage.fleet.end()?;
    stage.fleet.order(&Command::Churn(None));
    stage.find("clients that returned", result.handshakes.count.to_string());
    let result_s = result.until_s - result.from_s;
    stage.run.phases.push(result);
    let mut run = stage.conclude()?;
    if let Some(slope) = bytes_per_hour(&run.series) {
        let (value, name) = if result_s < EXTRAPOLATED_S_MIN {
            (slope * result_s / 3600.0, "server's memory grew by")
        } else {
            (slope, "server's memory grows per hour by")
        };
        run.findings.push((name.into(), bytes(value)));
        run.figures.insert(name.into(), value);
    }
    Ok(run)
}

/// The slope of the line of least squares through the server's memory.
fn bytes_per_hour(series: &[Point]) -> Option<f64> {
    let skip = (series.len() as f64 * SETTLED_SHARE) as usize;
    let points = series.iter().skip(skip);
    let points: Vec<(f64, f64)> = points
        .filter_map(|point| Some((point.t_s / 3600.0, point.server_resident_bytes? as f64)))
        .collect();
    if points.len() < 3 {
        return None;
    }
    let count = points.len() as f64;
    let mean_x = points.iter().map(|p| p.0).sum::<f64>() / count;
    let mean_y = points.iter().map(|p| p.1).sum::<f64>() / count;
    let above = points.iter().map(|p| (p.0 - mean_x) * (p.1 - mean_y));
    let below = points.iter().map(|p| (p.0 - mean_x).powi(2));
    Some(above.sum::<f64>() / below.sum::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_growth_is_found_and_the_filling_at_the_start_is_left_out() {
        let series: Vec<Point> = (0..100)
            .map(|minute| Point {
                t_s: f64::from(minute) * 60.0,
                server_resident_bytes: Some(if minute < 15 {
                    1_000
                } else {
                    1_000_000 + minute as u64 * 100
                }),
                ..Point::default()
            })
            .collect();
        let slope = bytes_per_hour(&series).unwrap();
        assert!((slope - 6_000.0).abs() < 1.0, "{slope}");
        assert_eq!(bytes_per_hour(&series[..2]), None);
    }
}
