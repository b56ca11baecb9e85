//! What is measured is time on the processor, of all threads together: on a
//! machine with other work to do, time on the clock says little.

use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use nix::time::{ClockId, clock_gettime};

pub(crate) struct CpuTime;

impl CpuTime {
    /// Processor time of the process so far.
    pub(crate) fn now() -> Duration {
        let now = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID);
        now.expect("every Linux has this clock").into()
    }
}

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        CpuTime::now()
    }

    fn end(&self, began: Duration) -> Duration {
        CpuTime::now() - began
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}
